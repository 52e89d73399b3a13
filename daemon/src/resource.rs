//! Where all records come from: this host, this kernel, this daemon.

use std::{fs, path::Path};

use opentelemetry_semantic_conventions::attribute as otel;
use uuid::Uuid;

use crate::host::Host;

/// Names of the attributes and their values, in a fixed order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resource {
    attributes: Vec<(String, String)>,
}

/// The namespace that the semantic conventions give for a service.instance.id made of what identifies the host.
const INSTANCE_NAMESPACE: Uuid = Uuid::from_u128(0x4d63_009a_8d0f_11ee_aad7_4c79_6ed8_e320);

/// What uname(2) says where nobody has set a name.
const UNSET: &str = "(none)";

impl Resource {
    /// Looks at this host. What can't be found out is left out.
    #[must_use]
    pub fn detect(kernel_release: &str) -> Self {
        let host =
            nix::unistd::gethostname().ok().and_then(|n| n.into_string().ok()).filter(|n| !n.is_empty() && n != UNSET);
        let root = Host::find();
        let files = ["/etc/machine-id", "/var/lib/dbus/machine-id"].map(|path| root.path(Path::new(path)));
        let machine = files.iter().find_map(|file| machine_id(file));
        Self::of(host.as_deref(), machine.as_deref(), kernel_release)
    }

    fn of(host: Option<&str>, machine: Option<&str>, kernel_release: &str) -> Self {
        let mut resource = Self::default();
        let mut set = |name: &str, value: &str| {
            if !value.is_empty() {
                resource.set(name, value);
            }
        };
        set(otel::HOST_NAME, host.unwrap_or_default());
        set(otel::HOST_ID, machine.unwrap_or_default());
        set(otel::HOST_ARCH, architecture());
        set(otel::OS_TYPE, "linux");
        set(otel::OS_VERSION, kernel_release);
        set(otel::SERVICE_NAME, "kmodtrail");
        set(otel::SERVICE_VERSION, env!("CARGO_PKG_VERSION"));
        // one daemon per host: the same after every restart
        if let Some(identity) = machine.or(host) {
            let id = Uuid::new_v5(&INSTANCE_NAMESPACE, identity.as_bytes());
            set(otel::SERVICE_INSTANCE_ID, &id.hyphenated().to_string());
        }
        resource
    }

    /// Adds an attribute, or takes the place of the one of that name.
    pub fn set(&mut self, name: &str, value: &str) {
        match self.attributes.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.attributes.push((name.to_owned(), value.to_owned())),
        }
    }

    /// All of them.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// machine-id(5): 32 hexadecimal digits, or "uninitialized" on the first boot.
fn machine_id(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let id = text.trim();
    (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// `host.arch`, by the semantic conventions' names.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "arm32",
        "powerpc64" => "ppc64",
        "powerpc" => "ppc32",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get<'r>(resource: &'r Resource, name: &str) -> Option<&'r str> {
        resource.attributes().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    #[test]
    fn the_instance_is_the_same_after_every_start_and_another_on_another_host() {
        let of = |machine| Resource::of(Some("h"), Some(machine), "6.1");
        let (a, again, b) = (of("0123"), of("0123"), of("4567"));
        assert!(get(&a, "service.instance.id").is_some_and(|id| Uuid::try_parse(id).is_ok()));
        assert_eq!(a, again);
        assert_ne!(get(&a, "service.instance.id"), get(&b, "service.instance.id"));
    }

    #[test]
    fn the_schema_has_what_is_found_out_and_nothing_else() {
        let resource = Resource::of(Some("h"), Some("0123"), "6.1");
        let names: Vec<_> = resource.attributes().map(|(name, _)| name).collect();
        assert_eq!(names, crate::event::schema::OF_RESOURCE);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let resource = Resource::of(None, None, "6.1");
        assert_eq!((get(&resource, "host.id"), get(&resource, "service.instance.id")), (None, None));
        assert_eq!(get(&resource, "os.version"), Some("6.1"));
    }

    #[test]
    fn a_configured_attribute_takes_the_place_of_a_detected_one() {
        let mut resource = Resource::of(Some("h"), None, "6.1");
        resource.set("host.name", "web-1");
        assert_eq!(
            resource.attributes().filter(|(n, _)| *n == "host.name").collect::<Vec<_>>(),
            [("host.name", "web-1")]
        );
    }
}
