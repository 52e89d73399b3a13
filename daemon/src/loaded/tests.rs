use std::path::PathBuf;

use super::*;
use crate::event::{Lost, Taints, Unload, samples};

const SECOND: u64 = 1_000_000_000;

/// A kernel's lists in a folder.
struct Kernel {
    root: tempfile::TempDir,
}

impl Kernel {
    fn new() -> Self {
        let kernel = Self { root: tempfile::tempdir().expect("a folder for the test") };
        kernel.proc(&[]);
        kernel.sysfs(&["module/parameters/sig_enforce", "nf_tables_builtin/uevent"]);
        kernel
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("the test may write");
        fs::write(path, text).expect("the test may write");
    }

    fn proc(&self, names: &[&str]) {
        let line = |name: &&str| format!("{name} 16384 0 - Live 0x0000000000000000 (OE)\n");
        self.write("proc/modules", &names.iter().map(line).collect::<String>());
    }

    fn sysfs(&self, files: &[&str]) {
        files.iter().for_each(|file| self.write(&format!("sys/module/{file}"), "live\n"));
    }

    /// In all lists.
    fn load(&self, names: &[&str]) {
        self.proc(names);
        names.iter().for_each(|name| self.sysfs(&[&format!("{name}/initstate")]));
    }

    fn no_sysfs(&self, name: &str) {
        fs::remove_dir_all(self.root.path().join("sys/module").join(name)).expect("it is there");
    }

    fn loaded(&self) -> Loaded {
        let config = config::Modules { check_interval: Duration::from_secs(60), ..config::Modules::default() };
        let mut loaded = Loaded::with(Lists::below(self.root.path()), &config, "6.1.0-test");
        loaded.inventory(0);
        loaded
    }
}

fn load_of(name: &str, at: u64) -> Event {
    let mut event = samples::load();
    event.time.boot = at;
    if let What::Load(load) = &mut event.what
        && let Some(module) = &mut load.module
    {
        module.name = name.into();
    }
    event
}

fn unload_of(name: &str, at: u64) -> Event {
    let mut event = samples::load();
    event.time.boot = at;
    event.what = What::Unload(Unload {
        name: name.into(),
        flags: Default::default(),
        outcome: Outcome::Success,
        module: None,
        references: None,
        holders: vec![],
        duration: None,
    });
    event
}

/// What a tick of each of these seconds tells.
fn ticks(loaded: &mut Loaded, seconds: std::ops::Range<u64>) -> Vec<Finding> {
    seconds.flat_map(|second| loaded.tick(second * SECOND, 0, Totals::default())).collect()
}

fn hidden(findings: &[Finding]) -> Vec<(&str, String, String)> {
    let mut hidden = Vec::new();
    for finding in findings {
        if let What::Hidden(h) = &finding.what {
            hidden.push((h.name.as_str(), h.listed.join(" "), h.missing.join(" ")));
        }
    }
    hidden
}

#[test]
fn what_was_there_before_is_told_with_what_the_kernel_says_of_it() {
    let kernel = Kernel::new();
    kernel.load(&["xfs", "evil"]);
    kernel.write("sys/module/xfs/srcversion", "ABC\n");
    kernel.write("sys/module/xfs/taint", "\n");
    kernel.write("sys/module/evil/taint", "OE\n");
    let mut loaded = Loaded::with(Lists::below(kernel.root.path()), &config::Modules::default(), "6.1.0-test");
    let mut found: Vec<_> = loaded
        .inventory(0)
        .into_iter()
        .filter_map(|w| if let What::Inventory(i) = w { Some(i) } else { None })
        .collect();
    let xfs = found.pop().expect("there are two");
    assert_eq!((xfs.name.as_str(), xfs.srcversion.as_ref().map(Text::as_str)), ("xfs", Some("ABC")));
    assert_eq!((xfs.taints, xfs.signature, xfs.before_start), (Some(Taints(0)), SignatureState::Valid, true));
    assert_eq!((xfs.size, xfs.references, xfs.count), (16384, Some(0), Some(2)));
    let evil = found.pop().expect("there are two");
    assert_eq!(
        (evil.name.as_str(), evil.taints, evil.signature),
        ("evil", Some(Taints(12288)), SignatureState::Unknown)
    );
    assert!(found.is_empty());
    assert_eq!(ticks(&mut loaded, 1..200), []);
}

#[test]
fn a_daemon_that_stood_still_and_reads_of_an_unload_late_accuses_nobody() {
    let kernel = Kernel::new();
    let mut loaded = kernel.loaded();
    kernel.load(&["xfs"]);
    loaded.observe(&[load_of("xfs", SECOND)]);
    kernel.proc(&[]);
    kernel.no_sysfs("xfs");
    assert_eq!(ticks(&mut loaded, 2..5), []);
    // and then some for which nobody had time
    assert_eq!(ticks(&mut loaded, 20..21), []);
    loaded.observe(&[unload_of("xfs", 2 * SECOND)]);
    assert_eq!(ticks(&mut loaded, 21..100), []);
}

#[test]
fn a_module_that_takes_itself_out_of_a_list_is_told_once_with_who_loaded_it() {
    let kernel = Kernel::new();
    let mut loaded = kernel.loaded();
    kernel.load(&["evil"]);
    loaded.observe(&[load_of("evil", SECOND)]);
    assert_eq!(ticks(&mut loaded, 2..100), []);
    kernel.proc(&[]);
    let findings = ticks(&mut loaded, 100..400);
    assert_eq!(hidden(&findings), [("evil", "records /sys/module".to_owned(), "/proc/modules".to_owned())]);
    let loader = &findings[0].loader;
    assert_eq!(*loader, Loader::from(&samples::load()));
    assert!(loader.process.is_some() && loader.requester.is_some() && loader.load.is_some());
    kernel.no_sysfs("evil");
    let findings = ticks(&mut loaded, 400..600);
    assert_eq!(hidden(&findings), [("evil", "records".to_owned(), "/proc/modules /sys/module".to_owned())]);
    // it comes back, goes for good, and is no longer missed
    kernel.load(&["evil"]);
    assert_eq!(hidden(&ticks(&mut loaded, 600..700)), []);
    kernel.proc(&[]);
    kernel.no_sysfs("evil");
    loaded.observe(&[unload_of("evil", 700 * SECOND)]);
    assert_eq!(hidden(&ticks(&mut loaded, 701..900)), []);
}

#[test]
fn one_that_was_hidden_before_is_seen_where_lists_differ() {
    let kernel = Kernel::new();
    kernel.load(&["old", "open"]);
    kernel.proc(&["open"]);
    kernel.write("sys/kernel/btf/older", "");
    kernel.write("sys/kernel/btf/vmlinux", "");
    let mut loaded = kernel.loaded();
    let findings = ticks(&mut loaded, 60..200);
    let expected = [
        ("old", "/sys/module".to_owned(), "/proc/modules".to_owned()),
        ("older", "/sys/kernel/btf".to_owned(), "/proc/modules /sys/module".to_owned()),
    ];
    assert_eq!(hidden(&findings), expected);
}

#[test]
fn a_module_on_its_way_is_not_taken_for_hidden() {
    let kernel = Kernel::new();
    let mut loaded = kernel.loaded();
    // each second it is loaded and unloaded, and the lists are read in the middle of it
    for second in 60..300 {
        match second % 3 {
            0 => kernel.load(&["busy"]),
            1 => kernel.proc(&[]),
            _ => {
                kernel.no_sysfs("busy");
                kernel.proc(&["busy"]);
            }
        }
        assert_eq!(ticks(&mut loaded, second..second + 1), [], "{second}");
        loaded.observe(&[load_of("busy", second * SECOND), unload_of("busy", second * SECOND + 1)]);
    }
    kernel.proc(&[]);
    kernel.write("proc/modules", "slow 16384 1 - Unloading 0x0\nslower 16384 1 - Loading 0x0\n");
    assert_eq!(ticks(&mut loaded, 60..200), [], "the kernel says that they are on their way");
}

#[test]
fn after_a_loss_what_has_gone_is_not_missed_and_what_has_come_is_told() {
    let kernel = Kernel::new();
    kernel.load(&["gone"]);
    let mut loaded = kernel.loaded();
    kernel.no_sysfs("gone");
    kernel.load(&["come"]);
    let mut lost = samples::load();
    lost.what = What::Lost(Lost { event: "linux.kernel_module.unload", record: "free_module", count: 1 });
    loaded.observe(&[lost]);
    let findings = ticks(&mut loaded, 60..200);
    let [Finding { what: What::Inventory(come), .. }] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((come.name.as_str(), come.before_start, come.count), ("come", false, None));
    assert_eq!(ticks(&mut loaded, 200..290), [], "once");
}

#[test]
fn a_heartbeat_comes_as_often_as_it_should_and_its_digest_is_that_of_the_set() {
    let kernel = Kernel::new();
    kernel.load(&["b", "a"]);
    let mut loaded = kernel.loaded();
    let beats = |findings: Vec<Finding>| -> Vec<_> {
        findings
            .into_iter()
            .filter_map(|f| if let What::Heartbeat(h) = f.what { Some((h.modules, h.digest)) } else { None })
            .collect()
    };
    let first = beats(ticks(&mut loaded, 1..901));
    assert_eq!(first.len(), 3);
    assert!(first.iter().all(|beat| *beat == first[0]) && first[0].0 == 2);
    let expected: String = Sha256::digest("a\nb\n").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(first[0].1, expected);
    kernel.load(&["b", "a", "c"]);
    loaded.observe(&[load_of("c", 901 * SECOND)]);
    assert_ne!(beats(ticks(&mut loaded, 902..1202))[0], first[0]);
}

#[test]
fn lists_that_can_not_be_read_are_no_reason_to_stop() {
    let config = config::Modules::default();
    let mut loaded = Loaded::with(Lists::below(&PathBuf::from("/nowhere")), &config, "6.1.0-test");
    assert_eq!(loaded.inventory(0), []);
    assert_eq!(ticks(&mut loaded, 1..400), []);
}

#[test]
fn any_bytes_in_the_list_are_read() {
    let kernel = Kernel::new();
    let text = b"caf\xe9 1 0 - Live 0x0\n\n \nshort 1\nnumber x 0 - Live 0x0\npermanent 9 - - Live 0x0\n";
    fs::write(kernel.root.path().join("proc/modules"), text).expect("the test may write");
    let snapshot = Lists::below(kernel.root.path()).read().expect("it is there");
    let names: Vec<_> = snapshot.listed.iter().map(|(name, module)| (name.as_str(), module.references)).collect();
    assert_eq!(names, [("caf\\351", Some(0)), ("permanent", None)]);
}
