use proptest::prelude::*;

use super::*;
use crate::event::{QosClass, Runtime};

/// As two runtimes draw them.
const ID: &str = "1e910d5cc8d8d68c894934170b162ef93aea5652867ed6bd7c620c7e3f9a10f1";
const OTHER: &str = "0000000000000000000000000000000000000000000000000000000000000001";
const UID: &str = "9e6c1b4f-6f5d-4a57-8f5e-2d3a0d5c7b11";

fn place(path: &str) -> Place {
    of(&path
        .replace("<id>", ID)
        .replace("<other>", OTHER)
        .replace("<uid_>", &UID.replace('-', "_"))
        .replace("<uid>", UID))
}

/// Unit, slice, user unit, session.
fn systemd(path: &str) -> [String; 4] {
    let Place { unit, slice, user_unit, session, .. } = place(path);
    [unit, slice, user_unit, session].map(|name| name.map_or_else(String::new, |name| name.to_string()))
}

/// Id, runtime, pod uid.
fn container(path: &str) -> Option<(String, Option<Runtime>, String)> {
    let Place { container, pod, .. } = place(path);
    let uid = pod.map_or_else(String::new, |pod| pod.uid.to_string());
    container.map(|container| (container.id.to_string(), container.runtime, uid))
}

#[test]
fn units_slices_and_sessions_are_those_that_systemd_shows() {
    for (path, expected) in [
        ("/", ["", "", "", ""]),
        ("/init.scope", ["init.scope", "", "", ""]),
        ("/system.slice/foo.service", ["foo.service", "system.slice", "", ""]),
        ("/system.slice/foo.service/child/grandchild", ["foo.service", "system.slice", "", ""]),
        (r"/system.slice/we\x2dird.service", [r"we\x2dird.service", "system.slice", "", ""]),
        ("/system.slice/system-tmpl.slice/tmpl@inst-1.service", ["tmpl@inst-1.service", "system-tmpl.slice", "", ""]),
        (r"/system.slice/system-t.slice/t@a\x2db\x20c.service", [r"t@a\x2db\x20c.service", "system-t.slice", "", ""]),
        ("/system.slice/_cpu.service", ["cpu.service", "system.slice", "", ""]),
        ("/system.slice/dev-hugepages.mount", ["dev-hugepages.mount", "system.slice", "", ""]),
        ("/user.slice/user-1000.slice/session-c1.scope", ["session-c1.scope", "user-1000.slice", "", "c1"]),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/uapp.service",
            ["user@1000.service", "user-1000.slice", "uapp.service", ""],
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/init.scope",
            ["user@1000.service", "user-1000.slice", "init.scope", ""],
        ),
        ("/user.slice/user-1000.slice/user@1000.service", ["user@1000.service", "user-1000.slice", "", ""]),
        // no units
        ("/system.slice", ["", "system.slice", "", ""]),
        ("/system.slice/plain/foo.service", ["", "system.slice", "", ""]),
        ("/system.slice/foo@.service", ["", "system.slice", "", ""]),
        ("/system.slice/foo.servicex", ["", "system.slice", "", ""]),
        ("/system.slice/foo bar.service", ["", "system.slice", "", ""]),
        ("/system.slice/.service", ["", "system.slice", "", ""]),
        ("/user.slice/session-.scope", ["session-.scope", "user.slice", "", ""]),
        ("/user.slice/session-a b.scope", ["", "user.slice", "", ""]),
        // its beginning is missing
        ("system.slice/foo.service", ["", "", "", ""]),
    ] {
        assert_eq!(systemd(path), expected, "{path}");
    }
    let long = "a".repeat(300);
    assert_eq!(systemd(&format!("/system.slice/{long}.service"))[0], "");
}

#[test]
fn every_form_of_a_containers_path_is_known() {
    use Runtime::*;
    let pods = "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod<uid_>.slice";
    for (path, runtime) in [
        (format!("{pods}/cri-containerd-<id>.scope"), Some(Containerd)),
        (format!("{pods}/cri-containerd-<id>.scope/below/it"), Some(Containerd)),
        (format!("{pods}/crio-<id>.scope"), Some(CriO)),
        (format!("{pods}/docker-<id>.scope"), Some(Docker)),
        ("/kubepods.slice/kubepods-pod<uid_>.slice/cri-containerd-<id>.scope".to_owned(), Some(Containerd)),
        (
            "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod<uid_>.slice/cri-containerd-<id>.scope"
                .to_owned(),
            Some(Containerd),
        ),
        ("/kubepods/besteffort/pod<uid>/<id>".to_owned(), None),
        ("/kubepods/burstable/pod<uid>/<id>/below".to_owned(), None),
        ("/kubepods/pod<uid>/<id>".to_owned(), None),
        ("/kubepods/besteffort/pod<uid>/crio-<id>".to_owned(), Some(CriO)),
    ] {
        assert_eq!(container(&path), Some((ID.to_owned(), runtime, UID.to_owned())), "{path}");
    }
    for (path, id, runtime) in [
        ("/k8s.io/<id>", ID, Containerd),
        ("/default/web-1", "web-1", Containerd),
        ("/system.slice/ctr-web-1.scope", "web-1", Containerd),
        ("/system.slice/nerdctl-<id>.scope", ID, Containerd),
        ("/system.slice/docker-<id>.scope", ID, Docker),
        ("/system.slice/docker-<id>.scope/init.scope", ID, Docker),
        ("/own-group.slice/docker-<id>.scope", ID, Docker),
        ("/docker/<id>", ID, Docker),
        ("/machine.slice/libpod-<id>.scope", ID, Podman),
        ("/machine.slice/libpod-<id>.scope/container", ID, Podman),
        ("/libpod_parent/libpod-<id>", ID, Podman),
        ("/system.slice/web.service/libpod-payload-<id>", ID, Podman),
        ("/system.slice/runc-job.7.scope", "job.7", Runc),
        ("/machine.slice/machine-debian.scope/payload", "debian", Nspawn),
        (r"/machine.slice/machine-my\x2ddebian.scope/payload", "my-debian", Nspawn),
        ("/machine.slice/systemd-nspawn@debian.service/payload", "debian", Nspawn),
    ] {
        assert_eq!(container(path), Some((id.to_owned(), Some(runtime), String::new())), "{path}");
    }
}

#[test]
fn the_qos_class_is_a_level_of_the_path() {
    for (path, qos) in [
        ("/kubepods.slice/kubepods-pod<uid_>.slice/cri-containerd-<id>.scope", QosClass::Guaranteed),
        ("/kubepods.slice/x.slice/kubepods-burstable-pod<uid_>.slice/cri-containerd-<id>.scope", QosClass::Burstable),
        ("/kubepods.slice/x.slice/kubepods-besteffort-pod<uid_>.slice/cri-containerd-<id>.scope", QosClass::BestEffort),
        ("/kubepods/pod<uid>/<id>", QosClass::Guaranteed),
        ("/kubepods/burstable/pod<uid>/<id>", QosClass::Burstable),
        ("/kubepods/besteffort/pod<uid>/<id>", QosClass::BestEffort),
    ] {
        assert_eq!(place(path).pod.and_then(|pod| pod.qos), Some(qos), "{path}");
    }
    // a static pod has a hash in the place of a uid
    let hash = "0123456789abcdef0123456789abcdef";
    let of_static = container(&format!("/kubepods/burstable/pod{hash}/<id>"));
    assert_eq!(of_static.map(|(_, _, uid)| uid).as_deref(), Some(hash));
}

#[test]
fn what_no_runtime_makes_is_no_container() {
    for path in [
        "/",
        "//",
        "/system.slice/containerd.service",
        "/system.slice/docker.service/docker-<id>.scope.d",
        "/system.slice/docker-short.scope",
        "/system.slice/docker-<id>x.scope",
        // what watches a container
        "/machine.slice/libpod-conmon-<id>.scope",
        "/kubepods.slice/kubepods-pod<uid_>.slice/crio-conmon-<id>.scope",
        // a virtual machine is none
        r"/machine.slice/machine-qemu\x2d1\x2ddebian.scope",
        // names that would leave their folder
        "/machine.slice/machine-...scope",
        "/system.slice/runc-...scope",
        r"/machine.slice/machine-a\x2fb.scope",
        r"/machine.slice/machine-a-b.scope",
        "/default/..",
        "/default",
        "/kubepods/burstable/pod<uid>",
        "/kubepods/burstable/podx/<id>",
        "/kubepods/pod<uid>/short",
    ] {
        assert_eq!(container(path), None, "{path}");
    }
}

#[test]
fn a_container_that_calls_itself_another_stays_what_it_is() {
    let inside =
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid_>.slice/cri-containerd-<other>.scope";
    for (path, id) in [
        // made inside of a container
        (format!("/system.slice/docker-<id>.scope{inside}"), ID),
        ("/system.slice/docker-<id>.scope/docker-<other>.scope".to_owned(), ID),
        ("/kubepods/besteffort/pod<uid>/<id>/cri-containerd-<other>.scope".to_owned(), ID),
        ("/default/mine/system.slice/docker-<other>.scope".to_owned(), "mine"),
    ] {
        assert_eq!(container(&path).map(|(id, ..)| id).as_deref(), Some(id), "{path}");
    }
    for path in [
        // by a user in his own manager, by a service in its own group
        format!("/user.slice/user-1000.slice/user@1000.service{inside}"),
        "/user.slice/user-1000.slice/user@1000.service/machine-other.scope".to_owned(),
        "/user.slice/user-1000.slice/session-1.scope/docker-<other>.scope".to_owned(),
        format!("/system.slice/mine.service{inside}"),
        format!("/mine{inside}"),
        "/mine/docker/<other>".to_owned(),
        "/system.slice/docker/<other>".to_owned(),
        "/system.slice/mine.service/other.service/docker-<other>.scope".to_owned(),
    ] {
        assert_eq!(container(&path), None, "{path}");
    }
}

#[test]
fn nothing_is_looked_up_by_an_id_that_a_user_may_have_made_up() {
    for path in [
        "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-<id>.scope/container",
        "/user.slice/user-1000.slice/user@1000.service/app.slice/docker-<id>.scope",
        "/system.slice/web.service/libpod-payload-<id>",
    ] {
        let container = place(path).container.unwrap_or_else(|| panic!("{path} is none"));
        assert!(container.delegated && container.id.as_str() == ID, "{path}: {container:?}");
    }
    assert!(place("/machine.slice/libpod-<id>.scope").container.is_some_and(|container| !container.delegated));
}

/// Paths of parts that mean something, in any order.
fn paths() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("kubepods".to_owned()),
        Just("kubepods.slice".to_owned()),
        Just(format!("kubepods-burstable-pod{}.slice", UID.replace('-', "_"))),
        Just(format!("pod{UID}")),
        Just(ID.to_owned()),
        Just(format!("docker-{ID}.scope")),
        Just(format!("libpod-{OTHER}.scope")),
        Just("docker".to_owned()),
        Just("default".to_owned()),
        Just("user@1000.service".to_owned()),
        Just(r"machine-\x2d.scope".to_owned()),
        Just(r"machine-\xé1.scope".to_owned()),
        Just("session-1.scope".to_owned()),
        ".*",
    ];
    prop::collection::vec(part, 0..7).prop_map(|parts| format!("/{}", parts.join("/")))
}

proptest! {
    #[test]
    fn any_bytes_give_a_place_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        of(crate::event::Text::from_bytes(&bytes).as_str());
    }

    #[test]
    fn what_is_made_below_a_container_changes_nothing_of_it(path in paths(), below in paths()) {
        let outer = of(&path);
        prop_assume!(outer.container.is_some());
        let inner = of(&format!("{path}{below}"));
        prop_assert_eq!(&inner.container, &outer.container);
        prop_assert_eq!(&inner.pod, &outer.pod);
        prop_assert_eq!(&inner.unit, &outer.unit);
    }
}
