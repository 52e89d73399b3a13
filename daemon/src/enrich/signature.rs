//! What a module's signature says of itself, from the bytes that the kernel looked at.

use std::{num::NonZeroUsize, sync::Arc};

use cms::{
    content_info::ContentInfo,
    signed_data::{SignedData, SignerIdentifier, SignerInfo},
};
use const_oid::{ObjectIdentifier, db};
use der::{Decode as _, Encode as _};
use lru::LruCache;
use x509_cert::{name::Name, time::Time};

use super::keyrings::Keyrings;
use crate::event::{Appended, Event, Signature, SignatureBlock, SignatureState, Text, What};

/// Signatures that were read: a module that is loaded again has the same one.
#[derive(Debug)]
pub(super) struct Signatures {
    known: LruCache<Arc<[u8]>, Appended>,
    keyrings: Keyrings,
}

/// A signature has at most 4 KiB.
const MOST: NonZeroUsize = NonZeroUsize::new(64).expect("it is not zero");
/// No name that a certificate has is longer by X.520; whatever is there is kept up to this, bytes.
const LONGEST_NAME: usize = 256;
/// Serial numbers have at most 20 bytes (RFC 5280), key identifiers mostly 20.
const LONGEST_ID: usize = 64;

impl Default for Signatures {
    fn default() -> Self {
        Self { known: LruCache::new(MOST), keyrings: Keyrings::new("/proc/keys") }
    }
}

impl Signatures {
    /// Replaces raw signatures by what they say. `now` in nanoseconds.
    pub(super) fn read(&mut self, event: &mut Event, now: u64) {
        let signature = match &mut event.what {
            What::Load(load) => &mut load.signature,
            What::Verify(verify) => &mut verify.signature,
            _ => return,
        };
        let Signature { appended: Appended::Raw(raw), .. } = signature else { return };
        let read = match self.known.get(raw) {
            Some(known) => known.clone(),
            None => {
                let read = block(raw).map_or_else(Appended::Unreadable, |block| Appended::Block(Arc::new(block)));
                self.known.put(Arc::clone(raw), read.clone());
                read
            }
        };
        if let (SignatureState::Valid, Appended::Block(block)) = (signature.state, &read) {
            signature.keyring = self.keyrings.of(block, now);
        }
        signature.appended = read;
    }
}

/// `struct module_signature`, include/linux/module_signature.h: where it says what kind of signature this is, and PKEY_ID_PKCS7.
const ID_TYPE: usize = 2;
const PKCS7: u8 = 2;
const INFO: usize = 12;

fn block(raw: &[u8]) -> Result<SignatureBlock, &'static str> {
    let (info, message) = raw.split_at_checked(INFO).ok_or("it is cut")?;
    if info[ID_TYPE] != PKCS7 {
        return Err("it is of a kind that no kernel checks any more, not PKCS#7");
    }
    const BROKEN: &str = "it is no PKCS#7 message";
    if !lengths_fit(message) {
        return Err(BROKEN);
    }
    let content = ContentInfo::from_der(message).map_err(|_| BROKEN)?;
    let signed: SignedData = content.content.decode_as().map_err(|_| BROKEN)?;
    // the kernel takes several; modinfo shows the first
    let signer = signed.signer_infos.0.iter().next().ok_or("nobody has signed it")?;
    let (name, id) = match &signer.sid {
        SignerIdentifier::IssuerAndSerialNumber(sid) => (common_name(&sid.issuer), sid.serial_number.as_bytes()),
        SignerIdentifier::SubjectKeyIdentifier(id) => (None, id.0.as_bytes()),
    };
    Ok(SignatureBlock {
        signer: name,
        key_id: const_hex::encode(&id[..id.len().min(LONGEST_ID)]),
        hash_algorithm: hash(signer.digest_alg.oid),
        time: signing_time(signer),
    })
}

/// No element claims to be longer than what is there: up to 256 MiB would be allocated for it before anybody looks.
fn lengths_fit(message: &[u8]) -> bool {
    /// Of the tag: elements follow, not bytes.
    const CONSTRUCTED: u8 = 0x20;
    let mut rest = message;
    while let Some((&tag, behind)) = rest.split_first() {
        let Some((&first, behind)) = behind.split_first() else { return false };
        // below 0x80 the length itself, else how many bytes it has
        let of_length = if first < 0x80 { 0 } else { usize::from(first & 0x7f) };
        let Some((length, content)) = behind.split_at_checked(of_length) else { return false };
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            length.iter().fold(0usize, |sum, &byte| sum.saturating_mul(256).saturating_add(byte.into()))
        };
        let Some(behind) = content.get(length..) else { return false };
        rest = if tag & CONSTRUCTED == 0 { behind } else { content };
    }
    true
}

/// The issuer's common name, as modinfo shows it; the whole name where there is none.
fn common_name(name: &Name) -> Option<Text> {
    let attributes = || name.0.iter().flat_map(|set| set.0.iter());
    let bytes = match attributes().find(|attribute| attribute.oid == db::rfc4519::CN) {
        Some(cn) => cn.value.value().to_vec(),
        None => name.to_string().into_bytes(),
    };
    (!bytes.is_empty()).then(|| Text::from_bytes(&bytes[..bytes.len().min(LONGEST_NAME)]))
}

/// crypto/hash_info.c has the kernel's names.
fn hash(oid: ObjectIdentifier) -> String {
    let name = match oid {
        db::rfc5912::ID_MD_5 => "md5",
        db::rfc5912::ID_SHA_1 => "sha1",
        db::rfc5912::ID_SHA_224 => "sha224",
        db::rfc5912::ID_SHA_256 => "sha256",
        db::rfc5912::ID_SHA_384 => "sha384",
        db::rfc5912::ID_SHA_512 => "sha512",
        SHA3_256 => "sha3-256",
        SHA3_384 => "sha3-384",
        SHA3_512 => "sha3-512",
        SM3 => "sm3-256",
        STREEBOG_256 => "streebog256",
        STREEBOG_512 => "streebog512",
        _ => return oid.to_string(),
    };
    name.to_owned()
}

/// include/linux/oid_registry.h.
const SHA3_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.8");
const SHA3_384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.9");
const SHA3_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.10");
const SM3: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.156.10197.1.401");
const STREEBOG_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.643.7.1.1.2.2");
const STREEBOG_512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.643.7.1.1.2.3");

/// Nanoseconds since the epoch of Unix.
fn signing_time(signer: &SignerInfo) -> Option<u64> {
    let attributes = signer.signed_attrs.as_ref()?;
    let time = attributes.iter().find(|attribute| attribute.oid == db::rfc5911::ID_SIGNING_TIME)?;
    let time = Time::from_der(&time.values.iter().next()?.to_der().ok()?).ok()?;
    u64::try_from(time.to_unix_duration().as_nanos()).ok()
}

#[cfg(test)]
mod tests;
