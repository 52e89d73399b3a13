//! What must hold of a module's file and signature, whatever their bytes are: see [`crate::fuzz`].

use std::sync::Arc;

use super::{
    module_file::{Compression, contents},
    signature::Signatures,
};
use crate::{
    event::{Appended, Event, Load, Modinfo, SignatureState, What, samples},
    fuzz::told,
};

/// What a compressed file may become here: no input is so large, and the bound must be met.
const MOST: u64 = 1 << 20;

/// A load by nobody: who it was has nothing to do with what was loaded, and is most of a record.
fn load(change: impl FnOnce(&mut Load)) -> Event {
    let mut event = Event { process: None, requester: None, ..samples::load() };
    if let What::Load(load) = &mut event.what {
        change(load);
    }
    event
}

/// A module file: its hashes, and what modinfo shows of it, or why that is not to be had.
pub fn module_file(bytes: &[u8]) -> bool {
    let file = contents(bytes.to_vec(), 0, MOST);
    let info = &file.info;
    let texts = [&info.name, &info.license, &info.author, &info.vermagic, &info.version, &info.srcversion];
    for text in texts.into_iter().flatten().chain(&info.depends) {
        assert!(text.bytes().len() <= 256, "{text}");
    }
    assert!(info.depends.len() <= 64 && info.aliases as usize <= bytes.len().max(MOST as usize));
    assert!(info.build_id.as_ref().is_none_or(|id| id.len() <= 128));
    assert_eq!(file.file_sha256.len(), 64);
    match (&file.compression, &file.sha256, &file.error) {
        (None, Some(image), _) => assert_eq!(*image, file.file_sha256),
        (Some(_), Some(image), _) => assert_eq!(image.len(), 64),
        (Some(_), None, why) => assert!(why.is_some(), "nothing says why it has no hash"),
        (None, None, _) => panic!("a file that is there has a hash"),
    }
    let readable = file.error.is_none();
    assert!(readable || file.info == Modinfo::default());
    told(&load(|load| load.contents = Some(Arc::new(file))));
    readable
}

/// A compressed module file: it becomes no more than it may.
pub fn compressed(bytes: &[u8]) -> bool {
    let Some(compression) = Compression::of(bytes) else { return false };
    match compression.decompress(bytes, MOST) {
        Ok(image) => assert!(image.len() as u64 <= MOST),
        Err(why) => assert!(!why.is_empty()),
    }
    module_file(bytes)
}

/// What is appended to a module: who has signed it, or why that is not to be had.
pub fn signature(bytes: &[u8]) -> bool {
    // of a valid one the kernel's keyrings are asked
    let mut event = load(|load| {
        (load.signature.state, load.signature.appended) = (SignatureState::Bad, Appended::Raw(bytes.into()));
    });
    Signatures::default().read(&mut event, 0);
    told(&event);
    let What::Load(load) = &event.what else { return false };
    match &load.signature.appended {
        Appended::Block(block) => {
            assert!(block.signer.as_ref().map_or(0, |name| name.bytes().len()) <= 256);
            assert!(block.key_id.len() <= 128 && block.hash_algorithm.len() <= 256, "{block:?}");
            true
        }
        Appended::Unreadable(why) => {
            assert!(!why.is_empty());
            false
        }
        other => panic!("{other:?} is what it was not made"),
    }
}
