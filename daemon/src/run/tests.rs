use std::{
    fs,
    path::{Path, PathBuf},
};

use super::*;
use crate::{config, event::samples};

/// Names of the events in a file, in order; every line must be whole.
fn names(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let name = |line: &str| {
        let json: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let name = &json["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["eventName"];
        name.as_str().unwrap_or_else(|| panic!("no event name: {line}")).to_owned()
    };
    assert!(text.is_empty() || text.ends_with('\n'), "a torn line: {text}");
    text.lines().map(name).collect()
}

struct House {
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder for the test") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn pipeline(&self, text: &str) -> Pipeline {
        let file = self.path("kmodtrail.toml");
        let text = text.replace("DIR", &self.folder.path().display().to_string());
        fs::write(&file, text).expect("the test may write");
        let (config, _) = config::load_with(&file, Some(config::no_environment())).unwrap_or_else(|e| panic!("{e}"));
        Pipeline::open(config, "6.1.0-test", None).expect("the sinks can be opened")
    }
}

const ONE_FILE: &str = r#"
[spool]
path = "DIR/spool"
[sinks.audit]
type = "file"
path = "DIR/events.jsonl"
[[routes]]
name = "everything"
to = ["audit"]
"#;

#[test]
fn each_sink_gets_its_records_as_severe_as_its_routes_say() {
    let house = House::new();
    let mut pipeline = house.pipeline(&format!(
        "{ONE_FILE}\n[sinks.alarm]\ntype = \"file\"\npath = \"DIR/alarm.jsonl\"\n\
         [[routes]]\nname = \"alarm\"\nwhen = {{ event = [\"load\"] }}\nto = [\"alarm\"]\nseverity = \"FATAL\"\n"
    ));
    let mut events = samples::all();
    let expected: Vec<_> = events.iter().map(|e| e.what.name().to_owned()).collect();
    assert_eq!(pipeline.push(&mut events).len(), expected.len());
    pipeline.commit();
    assert_eq!(pipeline.events(), expected.len() as u64);
    pipeline.stop().expect("everything could be delivered");
    assert_eq!(names(&house.path("events.jsonl")), expected);
    let alarms = names(&house.path("alarm.jsonl"));
    assert!(!alarms.is_empty() && alarms.iter().all(|n| n == "linux.kernel_module.load"), "{alarms:?}");
    let severe = |name| fs::read_to_string(house.path(name)).expect("it is there").matches("\"FATAL\"").count();
    assert_eq!((severe("alarm.jsonl"), severe("events.jsonl")), (alarms.len(), 0));
}
