use cms::{
    cert::IssuerAndSerialNumber,
    content_info::CmsVersion,
    signed_data::{EncapsulatedContentInfo, SignerInfos},
};
use der::{
    Any,
    asn1::{OctetString, SetOfVec, UtcTime},
};
use proptest::prelude::*;
use x509_cert::{
    attr::Attribute, ext::pkix::SubjectKeyIdentifier, serial_number::SerialNumber, spki::AlgorithmIdentifierOwned,
};

use super::*;
use crate::event::{SignatureState, samples};

const INFO_BYTES: [u8; INFO] = [0, 0, PKCS7, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn algorithm(oid: ObjectIdentifier) -> AlgorithmIdentifierOwned {
    AlgorithmIdentifierOwned { oid, parameters: None }
}

fn issued_by(name: &str, serial: &[u8]) -> SignerIdentifier {
    SignerIdentifier::IssuerAndSerialNumber(IssuerAndSerialNumber {
        issuer: name.parse().expect("a name"),
        serial_number: SerialNumber::new(serial).expect("a serial number"),
    })
}

/// As scripts/sign-file writes it: detached, without certificates.
fn message(sid: SignerIdentifier, digest: ObjectIdentifier, time: Option<u64>) -> Vec<u8> {
    let signed_attrs = time.map(|seconds| {
        let time = UtcTime::from_unix_duration(std::time::Duration::from_secs(seconds)).expect("a time");
        let values = SetOfVec::try_from(vec![Any::encode_from(&time).expect("it can be written")]).expect("one value");
        SetOfVec::try_from(vec![Attribute { oid: db::rfc5911::ID_SIGNING_TIME, values }]).expect("one attribute")
    });
    let signer = SignerInfo {
        version: CmsVersion::V1,
        sid,
        digest_alg: algorithm(digest),
        signed_attrs,
        signature_algorithm: algorithm(db::rfc5912::RSA_ENCRYPTION),
        signature: OctetString::new(vec![7; 256]).expect("a signature"),
        unsigned_attrs: None,
    };
    let signed = SignedData {
        version: CmsVersion::V1,
        digest_algorithms: SetOfVec::try_from(vec![algorithm(digest)]).expect("one algorithm"),
        encap_content_info: EncapsulatedContentInfo { econtent_type: db::rfc5911::ID_DATA, econtent: None },
        certificates: None,
        crls: None,
        signer_infos: SignerInfos(SetOfVec::try_from(vec![signer]).expect("one signer")),
    };
    let content = Any::encode_from(&signed).expect("it can be written");
    let whole = ContentInfo { content_type: db::rfc5911::ID_SIGNED_DATA, content };
    [&INFO_BYTES[..], &whole.to_der().expect("it can be written")].concat()
}

#[test]
fn who_signed_with_which_key_and_hash_is_read() {
    let sid = issued_by("CN=Debian Secure Boot CA,O=Debian", &[0x75, 0x14, 0x59, 0xa6]);
    let expected = SignatureBlock {
        signer: Some("Debian Secure Boot CA".into()),
        key_id: "751459a6".to_owned(),
        hash_algorithm: "sha256".to_owned(),
        time: None,
    };
    assert_eq!(block(&message(sid, db::rfc5912::ID_SHA_256, None)), Ok(expected));

    let id = SubjectKeyIdentifier(OctetString::new(vec![0xab; 20]).expect("an identifier"));
    let read =
        block(&message(SignerIdentifier::SubjectKeyIdentifier(id), db::rfc5912::ID_SHA_512, Some(1_700_000_000)));
    let expected = SignatureBlock {
        signer: None,
        key_id: "ab".repeat(20),
        hash_algorithm: "sha512".to_owned(),
        time: Some(1_700_000_000_000_000_000),
    };
    assert_eq!(read, Ok(expected));
}

#[test]
fn a_name_without_a_common_name_is_shown_whole_and_an_unknown_hash_by_its_identifier() {
    let oid = ObjectIdentifier::new_unwrap("1.2.3.4");
    let read = block(&message(issued_by("O=Nobody,C=DE", &[1]), oid, None)).expect("it can be read");
    assert_eq!(
        (read.signer.as_ref().map(Text::as_str), read.hash_algorithm.as_str()),
        (Some("O=Nobody,C=DE"), "1.2.3.4")
    );
}

#[test]
fn what_can_not_be_read_says_why() {
    let good = message(issued_by("CN=x", &[1]), db::rfc5912::ID_SHA_256, None);
    let mut other_kind = good.clone();
    other_kind[ID_TYPE] = 1;
    assert_eq!(block(&other_kind), Err("it is of a kind that no kernel checks any more, not PKCS#7"));
    assert_eq!(block(&good[..5]), Err("it is cut"));
    assert_eq!(block(&good[..good.len() - 1]), Err("it is no PKCS#7 message"));
    let mut overwritten = good;
    overwritten[INFO..INFO + 8].fill(0xff);
    assert_eq!(block(&overwritten), Err("it is no PKCS#7 message"));
}

#[test]
fn a_length_that_is_not_there_is_not_believed() {
    let good = message(issued_by("CN=x,O=y", &[1, 2]), db::rfc5912::ID_SHA_256, Some(1));
    assert!(lengths_fit(&good[INFO..]));
    // SEQUENCE { OBJECT IDENTIFIER signedData, [0] { SEQUENCE of 0x0fffffff bytes
    let content = [0xa0, 0x06, 0x30, 0x84, 0x0f, 0xff, 0xff, 0xff];
    let of = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
    let claims = [&[0x30, 0x13][..], &of, &content].concat();
    assert!(!lengths_fit(&claims));
    assert_eq!(block(&[&INFO_BYTES[..], &claims].concat()), Err("it is no PKCS#7 message"));
    for broken in [&[0x30][..], &[0x30, 0x82, 1], &[0x04, 1], &[0x04, 0xff], &[0x30, 2, 0x04, 1]] {
        assert!(!lengths_fit(broken), "{broken:02x?}");
    }
}

#[test]
fn raw_signatures_of_loads_and_verifications_are_replaced_once_and_for_all() {
    let raw: Arc<[u8]> = message(issued_by("CN=x", &[1]), db::rfc5912::ID_SHA_256, None).into();
    let mut signatures = Signatures::default();
    for _ in 0..2 {
        let mut event = samples::load();
        let What::Load(load) = &mut event.what else { panic!("it is a load") };
        load.signature = Signature {
            state: SignatureState::Bad,
            enforced: None,
            appended: Appended::Raw(Arc::clone(&raw)),
            keyring: None,
        };
        signatures.read(&mut event, 0);
        let What::Load(load) = &event.what else { panic!("it is a load") };
        assert_eq!(load.signature.state, SignatureState::Bad, "what the kernel said stays");
        assert!(matches!(&load.signature.appended, Appended::Block(b) if b.key_id == "01"), "{:?}", load.signature);
    }
    assert_eq!(signatures.known.len(), 1);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0usize..400, bytes in prop::collection::vec(any::<u8>(), 0..16), cut in 0usize..400) {
        let mut message = message(issued_by("CN=x,O=y", &[1, 2]), db::rfc5912::ID_SHA_256, Some(1));
        for (to, from) in message.iter_mut().skip(INFO + at).zip(bytes) {
            *to = from;
        }
        message.truncate(message.len().saturating_sub(cut));
        let _ = block(&message);
        let _ = block(&message[..message.len().min(INFO)]);
    }
}
