use std::fs;

use super::*;
use crate::event::{Lost, Origin, Timestamps};

fn settings(settings: &mut Settings) -> Vec<Setting> {
    let changes = settings.tick().into_iter();
    changes
        .map(|change| match change {
            Change::Found(What::Setting(setting)) => setting,
            other => panic!("not found by a look: {other:?}"),
        })
        .collect()
}

fn value(path: &Path, before: Option<&str>, after: Option<&str>) -> Setting {
    let path = path.display().to_string().as_str().into();
    Setting::Value { path, before: before.map(Text::from), after: after.map(Text::from) }
}

/// As the sensor tells that somebody begins to write.
fn write(path: &Path, text: Option<&str>) -> Event {
    let time = Timestamps { wall: 1, boot: 1, observed: 1 };
    let origin = Origin { boot_id: "boot".into(), epoch: 1, cpu: 0, sequence: 1 };
    Event::of_daemon(time, origin, What::Setting(value(path, None, text)))
}

/// Those whose writer was seen.
fn seen(settings: &mut Settings) -> Vec<Setting> {
    let changes = settings.tick().into_iter();
    changes
        .map(|change| match change {
            Change::Seen(Event { what: What::Setting(setting), .. }) => setting,
            other => panic!("nobody was seen: {other:?}"),
        })
        .collect()
}

#[test]
fn a_value_that_changes_is_told_with_what_it_was() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("modprobe");
    let late = folder.path().join("late");
    fs::write(&path, "/sbin/modprobe\n").expect("the test may write");
    let mut watched = Settings::with(&[path.clone(), late.clone()], vec![]);
    assert_eq!(settings(&mut watched), []);
    fs::write(&path, "/tmp/x\n").expect("the test may write");
    assert_eq!(settings(&mut watched), [], "the kernel may tell who it was");
    assert_eq!(settings(&mut watched), [value(&path, Some("/sbin/modprobe"), Some("/tmp/x"))]);
    assert_eq!(settings(&mut watched), []);
    fs::write(&late, "1\n").expect("the test may write");
    assert_eq!(settings(&mut watched), []);
    assert_eq!(settings(&mut watched), [value(&late, None, Some("1"))]);
}

#[test]
fn who_wrote_a_value_is_told_also_where_it_was_written_back() {
    let folder = tempfile::tempdir().expect("a folder for the test");
    let path = folder.path().join("modprobe");
    fs::write(&path, "/sbin/modprobe\n").expect("the test may write");
    let mut watched = Settings::with(std::slice::from_ref(&path), vec![]);
    let other = Path::new("/other");
    let lost = Event { what: What::Lost(Lost { event: "", record: "", count: 1 }), ..write(other, None) };
    let mut events = vec![write(&path, Some("/tmp/x")), write(other, None), lost.clone()];
    fs::write(&path, "/tmp/x\n").expect("the test may write");
    watched.observe(&mut events);
    assert_eq!(events, [lost], "what is no setting stays");
    assert_eq!(seen(&mut watched), [value(&path, Some("/sbin/modprobe"), Some("/tmp/x"))]);
    assert_eq!(settings(&mut watched), []);

    // away and back between two looks
    watched.observe(&mut vec![write(&path, Some("/tmp/y")), write(&path, Some("/tmp/x"))]);
    let told = [value(&path, Some("/tmp/x"), Some("/tmp/y")), value(&path, Some("/tmp/y"), Some("/tmp/x"))];
    assert_eq!(seen(&mut watched), told);

    // the same again is no change; nor is what the kernel refuses
    watched.observe(&mut vec![write(&path, Some("/tmp/x"))]);
    assert_eq!(settings(&mut watched), []);

    // what takes effect only after a look, and what a look finds before the kernel has told it
    watched.observe(&mut vec![write(&path, None)]);
    assert_eq!(settings(&mut watched), []);
    fs::write(&path, "1\n").expect("the test may write");
    assert_eq!(seen(&mut watched), [value(&path, Some("/tmp/x"), Some("1"))]);
    fs::write(&path, "2\n").expect("the test may write");
    assert_eq!(settings(&mut watched), []);
    watched.observe(&mut vec![write(&path, None)]);
    assert_eq!(seen(&mut watched), [value(&path, Some("1"), Some("2"))]);
}

#[test]
fn what_happens_in_a_folder_is_told_also_in_one_that_comes_later() {
    let root = tempfile::tempdir().expect("a folder for the test");
    let (there, later) = (root.path().join("there"), root.path().join("later"));
    fs::create_dir(&there).expect("the test may write");
    let folder = |path: &str, place: &Path| Folder { path: path.into(), place: place.to_owned() };
    let folders = vec![folder("/etc/modprobe.d", &there), folder("/etc/modules-load.d", &later)];
    let mut watched = Settings::with(&[], folders);
    fs::write(there.join("a.conf"), "install usb-storage /bin/false\n").expect("the test may write");
    fs::rename(there.join("a.conf"), there.join("b.conf")).expect("the test may rename");
    fs::remove_file(there.join("b.conf")).expect("the test may delete");
    let file = |path: &str, change| Setting::File { path: path.into(), change };
    assert_eq!(
        settings(&mut watched),
        [
            file("/etc/modprobe.d/a.conf", FileChange::Created),
            file("/etc/modprobe.d/a.conf", FileChange::Written),
            file("/etc/modprobe.d/a.conf", FileChange::Removed),
            file("/etc/modprobe.d/b.conf", FileChange::Created),
            file("/etc/modprobe.d/b.conf", FileChange::Removed),
        ]
    );
    fs::create_dir(&later).expect("the test may write");
    for _ in 0..RETRY {
        assert_eq!(settings(&mut watched), []);
    }
    fs::write(later.join("c.conf"), "dummy\n").expect("the test may write");
    let told = settings(&mut watched);
    assert_eq!(told.last(), Some(&file("/etc/modules-load.d/c.conf", FileChange::Written)), "{told:?}");
    // it goes, and comes again
    fs::remove_dir_all(&later).expect("the test may delete");
    settings(&mut watched);
    fs::create_dir(&later).expect("the test may write");
    for _ in 0..RETRY {
        settings(&mut watched);
    }
    fs::write(later.join("d.conf"), "dummy\n").expect("the test may write");
    let told = settings(&mut watched);
    assert_eq!(told.last(), Some(&file("/etc/modules-load.d/d.conf", FileChange::Written)), "{told:?}");
}
