//! Names of images.

use crate::event::{Details, Text};

/// What a reference such as `docker.io/library/busybox:1` or `busybox@sha256:...` says of an image. A bare digest is the image's id.
///
/// <https://distribution.github.io/distribution/spec/api/#content-digests>
pub(super) fn details(reference: &str) -> Details {
    let mut details = Details::default();
    let (name, digest) = reference.split_once('@').map_or((reference, None), |(name, digest)| (name, Some(digest)));
    if name.starts_with("sha256:") {
        details.image_id = Some(name.into());
        return details;
    }
    // a colon before the last slash is a port's
    let (name, tag) = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (name, None),
    };
    details.image_name = (!name.is_empty()).then(|| Text::from(name));
    details.image_tags = tag.into_iter().map(Text::from).collect();
    details.image_digests = digest.map(|digest| format!("{name}@{digest}").as_str().into()).into_iter().collect();
    details
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_in_all_forms() {
        let parts = |reference: &str| {
            let Details { image_name, image_tags, image_id, image_digests, .. } = details(reference);
            let text = |text: Option<&Text>| text.map_or_else(String::new, ToString::to_string);
            [text(image_name.as_ref()), text(image_tags.first()), text(image_id.as_ref()), text(image_digests.first())]
        };
        assert_eq!(parts("busybox"), ["busybox", "", "", ""]);
        assert_eq!(parts("docker.io/cilium/starwars:latest"), ["docker.io/cilium/starwars", "latest", "", ""]);
        assert_eq!(parts("localhost:5000/a/b"), ["localhost:5000/a/b", "", "", ""]);
        assert_eq!(parts("localhost:5000/a/b:1.2"), ["localhost:5000/a/b", "1.2", "", ""]);
        assert_eq!(parts("a/b@sha256:12"), ["a/b", "", "", "a/b@sha256:12"]);
        assert_eq!(parts("a/b:1@sha256:12"), ["a/b", "1", "", "a/b@sha256:12"]);
        assert_eq!(parts("sha256:0c2b"), ["", "", "sha256:0c2b", ""]);
        assert_eq!(parts(""), ["", "", "", ""]);
        assert_eq!(parts(":@:"), ["", "", "", "@:"]);
    }
}
