mod runtime;

use std::{
    fs,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::atomic::Ordering::Relaxed,
};

use self::runtime::{Odd, Runtime as Scripted};
use super::*;
use crate::event::{QosClass, WorkloadKind};

const ID: &str = "1e910d5cc8d8d68c894934170b162ef93aea5652867ed6bd7c620c7e3f9a10f1";
const UID: &str = "9e6c1b4f-6f5d-4a57-8f5e-2d3a0d5c7b11";
/// A minute, on CLOCK_BOOTTIME.
const NOW: u64 = 60_000_000_000;

/// A host with nothing on it yet.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder for the test"))
    }

    fn file(&self, path: &str, content: &str) -> &Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the test may write");
        fs::write(path, content).expect("the test may write");
        self
    }

    /// As containerd writes it for a container of a pod.
    fn bundle(&self, id: &str) -> &Self {
        let folder = format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}");
        self.file(&format!("{folder}/init.pid"), "4100\n").file(&format!("{folder}/config.json"), BUNDLE)
    }

    /// As docker writes it.
    fn docker(&self, pid: u32) -> &Self {
        let config = serde_json::json!({
            "State": { "Pid": pid, "StartedAt": "2023-09-09T22:46:09.000000001Z" },
            "Image": "sha256:0c", "Name": "/web", "Config": { "Image": "a/b:1" },
        });
        self.file(&format!("var/lib/docker/containers/{ID}/config.v2.json"), &config.to_string())
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("cri.sock")
    }

    fn asked(&self, config: &config::Enrich) -> Containers {
        Containers::new(config, &crate::host::Host::at(self.0.path()))
    }

    /// Asks at the socket.
    fn containers(&self, wait: Duration) -> Containers {
        let config =
            config::Enrich { wait, cri_sockets: vec!["/cri.sock".into()], pod_labels: vec!["app".into(), "x".into()] };
        self.asked(&config)
    }

    /// Asks nobody.
    fn files(&self) -> Containers {
        let config = config::Enrich { cri_sockets: vec![], ..config::Enrich::default() };
        self.asked(&config)
    }
}

const BUNDLE: &str = r#"{"ociVersion": "1.0.2", "process": {"args": ["sh"]}, "annotations": {
    "io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.container-name": "test",
    "io.kubernetes.cri.image-name": "docker.io/cilium/starwars:latest", "io.kubernetes.cri.sandbox-name": "test-pod",
    "io.kubernetes.cri.sandbox-namespace": "demo-app", "io.kubernetes.cri.sandbox-uid": "of-the-bundle"}}"#;

fn place(id: &str, runtime: Option<Runtime>) -> Place {
    let container = Container { id: id.into(), runtime, delegated: false, details: Details::default() };
    Place { container: Some(container), ..Place::default() }
}

fn in_pod(id: &str) -> Place {
    let pod = Pod { uid: UID.into(), qos: Some(QosClass::Burstable), ..Pod::default() };
    Place { pod: Some(pod), ..place(id, Some(Runtime::Containerd)) }
}

/// The place afterwards, and what is missing.
fn add(containers: &mut Containers, mut place: Place, now: u64) -> (Place, Vec<String>) {
    let mut missing = Vec::new();
    containers.add(&mut place, now, &mut missing);
    (place, missing)
}

fn details(place: Place) -> Details {
    place.container.expect("a container").details
}

/// Name, image with tag, id of the image, process.
fn shown(details: Details) -> String {
    let text = |text: Option<Text>| text.map_or_else(String::new, |text| text.to_string());
    let Details { name, image_name, image_tags, image_id, pid, .. } = details;
    let tag = image_tags.first().cloned();
    format!("{} {}:{} {} {}", text(name), text(image_name), text(tag), text(image_id), pid.unwrap_or_default())
}

#[test]
fn containerds_bundle_names_pod_container_and_image() {
    let host = Host::new();
    host.bundle(ID);
    let (place, missing) = add(&mut host.files(), in_pod(ID), NOW);
    let pod = place.pod.clone().expect("a pod");
    let names = [pod.namespace, pod.name, pod.container].map(|name| name.expect("a name").to_string());
    assert_eq!(names, ["demo-app", "test-pod", "test"]);
    assert_eq!((pod.uid.as_str(), pod.qos), (UID, Some(QosClass::Burstable)), "the path counts");
    assert_eq!(shown(details(place)), "test docker.io/cilium/starwars:latest  4100");
    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn a_pod_without_a_parent_of_its_own_is_known_by_its_bundle() {
    let host = Host::new();
    host.bundle(ID);
    let (place, _) = add(&mut host.files(), place(ID, None), NOW);
    assert_eq!(place.pod.map(|pod| pod.uid.to_string()).as_deref(), Some("of-the-bundle"));
}

#[test]
fn docker_podman_and_machined_have_files() {
    let host = Host::new();
    host.docker(77).file(
        "var/lib/containers/storage/overlay-containers/containers.json",
        &format!(r#"[{{"id": "x"}}, {{"id": "{ID}", "names": ["web"], "image": "0c", "metadata": "{{\"image-name\": \"a/b:1\", \"name\": \"web\"}}"}}]"#),
    )
    .file("run/systemd/machines/debian", "# private\nNAME=debian\nLEADER=77\nREALTIME=1694299569000001\n");
    let mut containers = host.files();
    for (runtime, id, expected, started) in [
        (Runtime::Docker, ID, "web a/b:1 sha256:0c 77", Some(1_694_299_569_000_000_001)),
        (Runtime::Podman, ID, "web a/b:1 0c 0", None),
        (Runtime::Nspawn, "debian", "debian :  77", Some(1_694_299_569_000_001_000)),
    ] {
        let (place, missing) = add(&mut containers, place(id, Some(runtime)), NOW);
        let found = details(place);
        assert_eq!(found.started, started, "{runtime:?}");
        assert_eq!((shown(found).as_str(), missing.len()), (expected, 0), "{runtime:?}: {missing:?}");
    }
}

#[test]
fn what_can_not_be_read_is_missing_and_no_panic() {
    let host = Host::new();
    let bundle = |id: usize| format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{id:064}/config.json");
    let contents = [
        "",
        "{",
        "[]",
        "null",
        "{\"annotations\": 5}",
        "{\"annotations\": {\"io.kubernetes.cri.sandbox-name\": 7}}",
        "\u{0}",
    ];
    for (id, content) in contents.into_iter().enumerate() {
        host.file(&bundle(id), content);
    }
    // a folder, a fifo and a link in the place of the file
    fs::create_dir_all(host.0.path().join(bundle(100))).expect("the test may write");
    host.file(&bundle(101), "");
    fs::remove_file(host.0.path().join(bundle(101))).expect("it is there");
    nix::unistd::mkfifo(&host.0.path().join(bundle(101)), nix::sys::stat::Mode::S_IRUSR).expect("a fifo");
    host.bundle(ID).file(&bundle(102), "");
    fs::remove_file(host.0.path().join(bundle(102))).expect("it is there");
    let target = host.0.path().join(format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"));
    std::os::unix::fs::symlink(target, host.0.path().join(bundle(102))).expect("a link");
    let mut containers = host.files();
    for id in (0..contents.len()).chain(100..104) {
        let (place, missing) = add(&mut containers, in_pod(&format!("{id:064}")), NOW);
        assert_eq!(details(place), Details::default(), "{id}");
        assert!(missing.iter().any(|why| why.starts_with("k8s.pod.name: ")), "{id}: {missing:?}");
    }
}

#[test]
fn an_id_of_a_users_making_is_not_looked_up() {
    let host = Host::new();
    host.bundle(ID);
    let mut place = in_pod(ID);
    place.container.as_mut().expect("a container").delegated = true;
    let (place, missing) = add(&mut host.files(), place, NOW);
    assert_eq!((details(place), missing.len()), (Details::default(), 1));
}

#[test]
fn what_is_gone_is_still_known_by_its_id() {
    let host = Host::new();
    host.bundle(ID).docker(1).file("run/systemd/machines/debian", "LEADER=77\n");
    let mut containers = host.files();
    let all = |containers: &mut Containers, now| {
        let places = [in_pod(ID), place(ID, Some(Runtime::Docker)), place("debian", Some(Runtime::Nspawn))];
        places.map(|place| details(add(containers, place, now).0)).map(|details| (details.name, details.pid))
    };
    let before = all(&mut containers, NOW);
    assert!(before.iter().all(|(name, _)| name.is_some()) && before[2].1 == Some(77), "{before:?}");
    fs::remove_dir_all(host.0.path().join("run")).expect("it is there");
    fs::remove_dir_all(host.0.path().join("var")).expect("it is there");
    let [pod, docker, _] = before;
    let machine = (Some("debian".into()), None);
    assert_eq!(all(&mut containers, NOW + 100 * AGAIN), [pod, docker, machine], "a name says nothing of the next one");
}

#[test]
fn a_container_may_be_started_again_and_a_name_be_anothers() {
    let host = Host::new();
    let mut containers = host.files();
    let mut pids = |pid: u32, now| {
        host.docker(pid).file("run/systemd/machines/debian", &format!("LEADER={pid}\n"));
        let places = [place(ID, Some(Runtime::Docker)), place("debian", Some(Runtime::Nspawn))];
        places.map(|place| details(add(&mut containers, place, now).0).pid.unwrap_or_default())
    };
    assert_eq!(pids(77, NOW), [77; 2]);
    assert_eq!((pids(78, NOW + FRESH / 2), pids(78, NOW + FRESH)), ([77; 2], [78; 2]));
}

#[test]
fn a_thousand_containers_are_known_at_once_and_no_more_are_kept() {
    let host = Host::new();
    let ids: Vec<_> = (0..MOST.get() + 10).map(|id| format!("{id:064}")).collect();
    ids.iter().for_each(|id| _ = host.bundle(id));
    let mut containers = host.files();
    for id in &ids {
        assert_eq!(
            shown(details(add(&mut containers, in_pod(id), NOW).0)),
            "test docker.io/cilium/starwars:latest  4100"
        );
    }
    assert_eq!(containers.known.len(), MOST.get());
    fs::remove_dir_all(host.0.path().join("run")).expect("it is there");
    for id in &ids[10..] {
        assert!(details(add(&mut containers, in_pod(id), NOW).0).name.is_some(), "{id} was forgotten");
    }
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn the_runtime_adds_what_the_files_lack() {
    let host = Host::new();
    host.bundle(ID);
    let runtime = Scripted::start(&host.socket());
    let mut containers = host.containers(LONG);
    let (place, missing) = add(&mut containers, in_pod(ID), NOW);
    assert_eq!(missing, Vec::<String>::new());
    let pod = place.pod.clone().expect("a pod");
    assert_eq!(pod.labels, [Text::from("app=web")], "others are not allowed");
    let workload = pod.workload.expect("a workload");
    assert_eq!((workload.kind, workload.name.as_str()), (WorkloadKind::Deployment, "web"));
    let details = details(place);
    assert_eq!((details.pid, details.started), (Some(4100), Some(1_694_299_569_000_000_000)));
    assert_eq!(details.image_digests, [Text::from("docker.io/cilium/starwars@sha256:f92c")]);
    // it is asked once
    for round in 0..5 {
        add(&mut containers, in_pod(ID), NOW + round * 10 * AGAIN);
    }
    assert_eq!(runtime.calls.load(Relaxed), 3);
}

#[test]
fn the_runtime_is_enough_where_there_are_no_files() {
    let host = Host::new();
    let _runtime = Scripted::start(&host.socket());
    let (place, missing) = add(&mut host.containers(LONG), in_pod(ID), NOW);
    assert_eq!(missing, Vec::<String>::new());
    assert_eq!(place.pod.and_then(|pod| pod.name), Some("web-6d4cf56db6-x7k2p".into()));
}

#[test]
fn who_is_no_pod_is_not_asked_about() {
    let host = Host::new();
    let runtime = Scripted::start(&host.socket());
    let mut containers = host.containers(LONG);
    add(&mut containers, place(ID, Some(Runtime::Docker)), NOW);
    add(&mut containers, place("web", Some(Runtime::Runc)), NOW);
    assert!(containers.cri.as_ref().is_some_and(Cri::is_idle));
    assert_eq!(runtime.calls.load(Relaxed), 0);
}

/// What the record of a container says that the runtime told nothing about, but the files did.
fn expect_files_only(containers: &mut Containers, id: &str, now: u64, why: &str) {
    let (place, missing) = add(containers, in_pod(id), now);
    assert!(place.pod.is_some_and(|pod| pod.name.is_some()), "{id}");
    assert!(missing.len() == 1 && missing[0].starts_with(DIGESTS) && missing[0].contains(why), "{missing:?}");
}

#[test]
fn a_runtime_that_hangs_costs_the_wait_once() {
    let host = Host::new();
    let listener = UnixListener::bind(host.socket()).expect("a socket");
    let mut containers = host.containers(Duration::from_millis(50));
    host.bundle(ID);
    expect_files_only(&mut containers, ID, NOW, "not answered");
    // were the others to wait, they would wait for as long as this test may run
    containers.wait = LONG;
    containers.patience = LONG;
    for id in 0..100 {
        let id = format!("{id:064}");
        host.bundle(&id);
        let busy = ["not answered", "too many"];
        let (_, missing) = add(&mut containers, in_pod(&id), NOW);
        assert!(busy.iter().any(|why| missing[0].contains(why)), "{missing:?}");
    }
    drop(listener);
}

#[test]
fn many_containers_of_a_slow_runtime_share_the_wait() {
    let host = Host::new();
    host.bundle(ID);
    let _listener = UnixListener::bind(host.socket()).expect("a socket");
    let mut containers = host.containers(Duration::from_millis(50));
    expect_files_only(&mut containers, ID, NOW, "not answered");
    assert_eq!(containers.patience, Duration::ZERO, "it was waited in vain");
    let waited = containers.waited;
    expect_files_only(&mut containers, ID, NOW + 2 * AGAIN, "not answered");
    assert!(containers.patience <= (containers.waited - waited) / SHARE, "it grows by its share of the time");
    containers.patience = LONG;
    containers.wait = LONG;
    expect_files_only(&mut containers, ID, NOW + 4 * AGAIN, "not answered");
}

#[test]
fn a_late_answer_is_there_for_the_next_record() {
    let host = Host::new();
    host.bundle(ID);
    let _runtime = Scripted::start(&host.socket());
    let mut containers = host.containers(Duration::ZERO);
    containers.patience = Duration::ZERO;
    let digests = loop {
        let (place, missing) = add(&mut containers, in_pod(ID), NOW);
        if missing.is_empty() {
            break details(place).image_digests;
        }
        std::thread::yield_now();
    };
    assert_eq!(digests.len(), 1);
}

#[test]
fn nonsense_is_no_answer() {
    for nonsense in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"", &[0; 1000], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let host = Host::new();
        host.bundle(ID);
        let listener = UnixListener::bind(host.socket()).expect("a socket");
        let said = nonsense.to_vec();
        std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                _ = std::io::Write::write_all(&mut stream, &said);
            }
        });
        expect_files_only(&mut host.containers(LONG), ID, NOW, "cri.sock: ");
    }
}

#[test]
fn a_runtime_that_says_something_odd_is_believed_nothing() {
    for odd in [Odd::Refuses, Odd::IsNoMessage, Odd::IsAnother, Odd::IsEndless] {
        let host = Host::new();
        host.bundle(ID);
        let _runtime = Scripted::odd(&host.socket(), odd);
        expect_files_only(&mut host.containers(LONG), ID, NOW, "cri.sock");
    }
}

#[test]
fn no_socket_a_link_or_a_file_in_its_place_is_said() {
    let expect = |prepare: &dyn Fn(&Host, &Path), why: &str| {
        let host = Host::new();
        host.bundle(ID);
        prepare(&host, &host.socket());
        expect_files_only(&mut host.containers(LONG), ID, NOW, why);
    };
    expect(&|_, _| {}, "no runtime has a CRI socket");
    expect(&|_, socket| fs::write(socket, "").expect("the test may write"), "it is no socket");
    expect(&|_, socket| drop(UnixListener::bind(socket).expect("a socket")), "refused");
    let linked = |host: &Host, socket: &Path| {
        let other = host.0.path().join("other.sock");
        drop(Scripted::start(&other));
        std::os::unix::fs::symlink(other, socket).expect("a link");
    };
    expect(&linked, "it is no socket");
}

#[test]
fn a_very_long_annotation_does_no_harm() {
    let host = Host::new();
    let _runtime = Scripted::odd(&host.socket(), Odd::IsLong);
    let (place, missing) = add(&mut host.containers(LONG), in_pod(ID), NOW);
    assert_eq!(missing, Vec::<String>::new());
    assert!(place.pod.is_some_and(|pod| pod.name.is_some()));
}
