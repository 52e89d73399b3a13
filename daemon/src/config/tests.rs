mod examples;
mod otlp;

use std::{
    fs::{self, Permissions},
    num::NonZeroU64,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::Duration,
};

use super::*;

/// A folder with a configuration, as /etc/kmodtrail is one.
pub(super) struct Etc(tempfile::TempDir);

impl Etc {
    pub(super) fn with(main: &str) -> Self {
        let etc = Self(tempfile::tempdir().expect("a folder for the test"));
        etc.file("kmodtrail.toml", main);
        etc
    }

    /// `DIR` in the text becomes the folder.
    pub(super) fn file(&self, name: &str, text: &str) -> &Self {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("the test may make folders");
        fs::write(path, text.replace("DIR", &self.dir())).expect("the test may write files");
        self
    }

    fn dir(&self) -> String {
        self.0.path().display().to_string()
    }

    fn load(&self, variables: &[(&str, &str)]) -> Result<(Config, Problems), Problems> {
        let variables = variables.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        load_with(&self.0.path().join("kmodtrail.toml"), Some(variables))
    }

    pub(super) fn valid(&self, variables: &[(&str, &str)]) -> Config {
        self.load(variables).unwrap_or_else(|e| panic!("it is valid, but:\n{e}")).0
    }

    /// What is wrong, line by line, with the folder's name as DIR.
    pub(super) fn problems(&self, variables: &[(&str, &str)]) -> Vec<String> {
        let problems = match self.load(variables) {
            Ok((_, warnings)) => warnings,
            Err(problems) => problems,
        };
        problems.0.iter().map(|p| p.to_string().replace(&self.dir(), "DIR")).collect()
    }
}

pub(super) const SMALLEST: &str = r#"
[sinks.audit]
type = "file"
path = "DIR/events.jsonl"
[[routes]]
name = "everything"
to = ["audit"]
"#;

#[track_caller]
pub(super) fn one_problem(problems: &[String], parts: &[&str]) {
    assert_eq!(problems.len(), 1, "one problem is expected: {problems:#?}");
    for part in parts {
        assert!(problems[0].contains(part), "{part:?} is not in {:?}", problems[0]);
    }
}

#[test]
fn what_is_not_said_has_its_default() {
    let config = Etc::with(SMALLEST).valid(&[]);
    assert_eq!(config.sensor, Sensor::default());
    assert_eq!(config.sensor.bulk_ring_size.bytes(), 524_288);
    assert_eq!(config.log.level, LogLevel::Info);
    assert_eq!(config.resource.attributes, []);
    let [Sink { kind: SinkKind::File(file), encoding: Encoding::OtlpJson, .. }] = &config.sinks[..] else {
        panic!("one sink: {:?}", config.sinks)
    };
    assert_eq!(file.mode, FileMode(0o640));
    assert_eq!(config.routes[0].when, When::default());
}

#[test]
fn the_configuration_that_is_shipped_is_valid() {
    let text = include_str!("../../../config/kmodtrail.toml");
    assert!(text.contains("\"/var/log/kmodtrail/events.jsonl\""), "it writes where the service's log folder is");
    let etc = Etc::with(&text.replace("/var/log/kmodtrail", "DIR"));
    let (config, warnings) = etc.load(&[]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(warnings, Problems::default());
    // what it shows as commented-out defaults are the defaults
    let mut shown = String::new();
    for line in text.replace("/var/log/kmodtrail", "DIR").lines() {
        shown += line.strip_prefix("#").filter(|l| !l.starts_with(' ')).unwrap_or(line);
        shown += "\n";
    }
    let shown = Etc::with(&shown).valid(&[]);
    assert_eq!((shown.sensor, shown.log), (config.sensor, config.log));
}

#[test]
fn later_layers_win_and_routes_add_up() {
    let etc = Etc::with(SMALLEST);
    etc.file("conf.d/20-b.toml", "[sensor]\nbulk_ring_size = \"2MiB\"\n[[routes]]\nname = \"b\"\nto = [\"more\"]\n");
    etc.file(
        "conf.d/10-a.toml",
        "[sensor]\nbulk_ring_size = \"1MiB\"\ncritical_ring_size = 65536\n[sinks.more]\ntype = \"file\"\npath = \"DIR/more\"",
    );
    etc.file("conf.d/README", "not read");
    etc.file("conf.d/.30-swap.toml", "not = [read");
    let config = etc.valid(&[("KMODTRAIL__LOG__LEVEL", "debug"), ("KMODTRAIL__SENSOR__DISABLED_HOOKS", "a, b")]);
    assert_eq!(config.sensor.bulk_ring_size.bytes(), 2 << 20);
    assert_eq!(config.sensor.critical_ring_size.bytes(), 64 << 10);
    assert_eq!(config.sensor.disabled_hooks, ["a", "b"]);
    assert_eq!(config.log.level, LogLevel::Debug);
    assert_eq!(config.routes.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(), ["everything", "b"]);
    let over = etc.valid(&[("KMODTRAIL__SENSOR__BULK_RING_SIZE", "4MiB")]);
    assert_eq!(over.sensor.bulk_ring_size.bytes(), 4 << 20);
}

#[test]
fn what_is_added_to_records_can_be_chosen() {
    let etc = Etc::with(SMALLEST);
    assert_eq!(etc.valid(&[]).enrich, Enrich::default());
    etc.file("conf.d/1.toml", "[enrich]\nwait = \"1s\"\ncri_sockets = []\npod_labels = [\"app\"]\n");
    let enrich = Enrich { wait: Duration::from_secs(1), cri_sockets: vec![], pod_labels: vec!["app".to_owned()] };
    assert_eq!(etc.valid(&[]).enrich, enrich);
}

#[test]
fn every_problem_is_reported_at_once() {
    let etc = Etc::with(
        r#"
        sensors = 1
        [sensor]
        bulk_ring_sise = "1MiB"
        critical_ring_size = "100KiB"
        [enrich]
        wait = "1min"
        cri_sockets = ["run/crio/crio.sock"]
        pod_label = ["app"]
        [sinks.a]
        type = "file"
        path = "events.jsonl"
        [sinks.b]
        type = "fil"
        [sinks.c]
        type = "file"
        path = "DIR"
        mode = "0999"
        [[routes]]
        name = "one"
        when = { event = ["laod"] }
        to = ["a", "d"]
        [[routes]]
        name = "one"
        to = []
        [log]
        level = "verbose"
        "#,
    );
    etc.file("conf.d/2.toml", "[resource]\nattributes = { team = 5 }\n");
    let problems = etc.problems(&[("KMODTRAIL__SENSOR__DISABLED", "x")]).join("\n");
    for expected in [
        "DIR/kmodtrail.toml: sensors: there is no such key; did you mean \"sensor\"?; allowed: sensor, modules, enrich, spool, dead_letters, status, shutdown, sinks, log, telemetry, resource, routing, routes, tests",
        "DIR/kmodtrail.toml: sensor.bulk_ring_sise: there is no such key; did you mean \"bulk_ring_size\"?",
        "DIR/kmodtrail.toml: sensor.critical_ring_size: 102400 bytes are not a power of two; allowed: a power of two between 64.0 KiB",
        "DIR/kmodtrail.toml: enrich.wait: 1m is out of range; allowed: 1ms to 5s",
        "DIR/kmodtrail.toml: enrich.cri_sockets: run/crio/crio.sock is relative; allowed: absolute paths",
        "DIR/kmodtrail.toml: enrich.pod_label: there is no such key; did you mean \"pod_labels\"?",
        "DIR/kmodtrail.toml: sinks.a.path: events.jsonl: it is relative; allowed: an absolute path",
        "DIR/kmodtrail.toml: sinks.b.type: there is no type \"fil\"; did you mean \"file\"?; allowed: file",
        "DIR/kmodtrail.toml: sinks.c.path: DIR: it is a folder; allowed: the path of a file",
        "DIR/kmodtrail.toml: sinks.c.mode: \"0999\" is not a file mode; allowed:",
        "DIR/kmodtrail.toml: routes[0].when.event: item 1: there is no event \"laod\"; did you mean \"load\"?; allowed:",
        "DIR/kmodtrail.toml: routes[0].to: there is no sink \"d\"; allowed: \"a\", \"b\", \"c\"",
        "DIR/kmodtrail.toml: routes[1].name: another route is called \"one\" too",
        "DIR/kmodtrail.toml: routes[1].to: it is empty",
        "DIR/kmodtrail.toml: log.level: \"verbose\" is unknown; allowed: \"error\", \"warn\", \"info\", \"debug\", \"trace\"",
        "DIR/conf.d/2.toml: resource.attributes.team: it is the number 5; allowed: a string",
        "KMODTRAIL__SENSOR__DISABLED: sensor.disabled: there is no such key; did you mean \"disabled_hooks\"?",
        "warning: DIR/kmodtrail.toml: sinks.b: no route leads to it",
    ] {
        assert!(problems.contains(expected), "missing: {expected}\n--- found:\n{problems}");
    }
}

#[test]
fn where_a_file_can_not_be_read_nothing_is_called_missing_that_may_stand_in_it() {
    let etc = Etc::with("[log]\nlevel = \"loud\"\n");
    etc.file("conf.d/1.toml", "[sinks.audit\n");
    let problems = etc.problems(&[]);
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].contains("DIR/conf.d/1.toml: TOML parse error at line 1"), "{problems:#?}");
    assert!(problems[1].contains("log.level: \"loud\" is unknown"), "{problems:#?}");
}

#[test]
fn a_file_that_can_not_be_read_is_named() {
    let etc = Etc(tempfile::tempdir().expect("a folder for the test"));
    one_problem(&etc.problems(&[]), &["DIR/kmodtrail.toml: No such file or directory"]);
    fs::write(etc.0.path().join("kmodtrail.toml"), b"a = \"\xff\"").expect("the test may write");
    one_problem(&etc.problems(&[]), &["DIR/kmodtrail.toml: byte 5 is not UTF-8"]);
    fs::remove_file(etc.0.path().join("kmodtrail.toml")).expect("it is there");
    fs::create_dir(etc.0.path().join("kmodtrail.toml")).expect("the test may make folders");
    one_problem(&etc.problems(&[]), &["DIR/kmodtrail.toml: it is not a file"]);
}

#[test]
fn nothing_to_deliver_is_an_error() {
    let problems = Etc::with("").problems(&[]);
    assert_eq!(problems.len(), 2, "{problems:#?}");
    assert!(problems[0].contains("sinks: there is none; allowed: at least one [sinks.NAME]"), "{problems:#?}");
    assert!(problems[1].contains("routes: there is none"), "{problems:#?}");
    let no_to = SMALLEST.replace("to = [\"audit\"]", "");
    let etc = Etc::with(&no_to);
    assert!(etc.load(&[]).is_err());
    assert!(etc.problems(&[]).iter().any(|p| p.contains("routes[0].to: it is missing")), "{:?}", etc.problems(&[]));
}

#[test]
fn a_sink_that_no_route_uses_is_a_warning() {
    let etc = Etc::with(&format!("{SMALLEST}\n[sinks.idle]\ntype = \"file\"\npath = \"DIR/idle\"\n"));
    assert!(etc.load(&[]).is_ok());
    one_problem(&etc.problems(&[]), &["warning: DIR/kmodtrail.toml: sinks.idle: no route leads to it"]);
}

#[test]
fn two_sinks_do_not_write_to_one_place() {
    let more = |lines: &str| format!("{SMALLEST}\n{lines}\n[[routes]]\nname = \"2\"\nto = [\"again\"]\n");
    let etc = Etc::with(&more("[sinks.again]\ntype = \"file\"\npath = \"DIR/events.jsonl\""));
    one_problem(&etc.problems(&[]), &["sinks.audit.path: the sink \"again\" writes to DIR/events.jsonl too"]);
    let etc = Etc::with(&more("[sinks.again]\ntype = \"file\"\npath = \"DIR/link\""));
    etc.file("events.jsonl", "");
    std::os::unix::fs::symlink("events.jsonl", etc.0.path().join("link")).expect("the test may make links");
    one_problem(&etc.problems(&[]), &["sinks.audit.path: the sink \"again\" writes to DIR/events.jsonl too"]);
    let both = "[sinks.again]\ntype = \"stdout\"\n[sinks.more]\ntype = \"stdout\"\n";
    let etc = Etc::with(&more(both).replace("to = [\"again\"]", "to = [\"again\", \"more\"]"));
    one_problem(&etc.problems(&[]), &["sinks.more.type: the sink \"again\" writes to standard output too"]);
}

#[test]
fn everything_about_a_file_can_be_said() {
    let keys = "rotate_size = \"1MiB\"\nrotate_age = \"1d\"\ncompress = \"zstd\"\nkeep_files = 7\nkeep_age = \"30d\"\n\
                keep_size = \"1GiB\"\nfsync = \"none\"\nmode = \"0600\"\n";
    let config = Etc::with(&SMALLEST.replace("[[routes]]", &format!("{keys}[[routes]]"))).valid(&[]);
    let SinkKind::File(file) = &config.sinks[0].kind else { panic!("{config:?}") };
    let days = |days: u64| Some(Duration::from_secs(days * 24 * 3600));
    let expected = FileSink {
        mode: FileMode(0o600),
        fsync: FileFsync::None,
        rotate_size: Some(Size(1 << 20)),
        rotate_age: days(1),
        compress: FileCompression::Zstd,
        keep_files: NonZeroU64::new(7),
        keep_age: days(30),
        keep_size: Some(Size(1 << 30)),
        path: file.path.clone(),
    };
    assert_eq!(*file, expected);
    let keep = [("KMODTRAIL__SINKS__AUDIT__KEEP_FILES", "3"), ("KMODTRAIL__SINKS__AUDIT__ROTATE_SIZE", "64KiB")];
    let SinkKind::File(file) = &Etc::with(SMALLEST).valid(&keep).sinks[0].kind else { panic!("a file") };
    assert_eq!(
        *file,
        FileSink {
            keep_files: NonZeroU64::new(3),
            rotate_size: Some(Size(64 << 10)),
            path: file.path.clone(),
            ..FileSink::new(PathBuf::new())
        }
    );
}

#[test]
fn a_file_s_name_may_have_attributes_in_it_and_braces() {
    let path = |name: &str| {
        let etc = Etc::with(&SMALLEST.replace("events.jsonl", name));
        match etc.valid(&[]).sinks.remove(0).kind {
            SinkKind::File(file) => (file.path, etc.0),
            other => panic!("a file: {other:?}"),
        }
    };
    let (FilePath::Template(template), folder) = path("{severity}-{host.name}.jsonl") else { panic!("a template") };
    assert_eq!(template.to_string(), format!("{}/{{severity}}-{{host.name}}.jsonl", folder.path().display()));
    let (found, folder) = path("a{{b}}c");
    assert_eq!(found, FilePath::Constant(folder.path().join("a{b}c")));
    let etc = Etc::with(&SMALLEST.replace("events.jsonl", "{event}"));
    etc.file(
        "conf.d/1.toml",
        "[sinks.again]\ntype = \"file\"\npath = \"DIR/{event}\"\n[[routes]]\nname = \"2\"\nto = [\"again\"]\n",
    );
    one_problem(&etc.problems(&[]), &["sinks.audit.path: the sink \"again\" writes to DIR/{event} too"]);
}

#[test]
fn what_makes_no_sense_about_a_file_is_an_error() {
    for (keys, parts) in [
        ("fsync = \"always\"", ["fsync: \"always\" is unknown", "allowed: \"batch\", \"none\""]),
        ("rotate_size = \"1KiB\"", ["rotate_size: 1.0 KiB is too little", "at least 64.0 KiB"]),
        ("rotate_age = \"1s\"", ["rotate_age: 1s is too little", "at least \"1m\""]),
        ("rotate_age = 5", ["rotate_age: it is the number 5", "a length of time with its unit"]),
        ("rotate_size = \"1MiB\"\ncompress = \"xz\"", ["compress: \"xz\" is unknown", "\"none\", \"gzip\", \"zstd\""]),
        ("compress = \"gzip\"", ["compress: there will be no rotated files", "rotate_size or rotate_age beside it"]),
        ("keep_files = 5", ["keep_files: there will be no rotated files", "where logrotate rotates"]),
        ("rotate_age = \"1d\"\nkeep_files = 0", ["keep_files: it is the number 0", "a number, at least 1"]),
        ("rotate_age = \"1d\"\nkeep_age = \"0s\"", ["keep_age: it is no time at all", "such as"]),
        (
            "rotate_age = \"1d\"\nkeep_size = \"1GiB\"",
            ["keep_size: a file could grow over 1.0 GiB", "rotate_size beside it"],
        ),
        (
            "rotate_size = \"1MiB\"\nkeep_size = \"1KiB\"",
            ["keep_size: 1.0 KiB is less than one file", "at least rotate_size, 1.0 MiB"],
        ),
    ] {
        let etc = Etc::with(&SMALLEST.replace("[[routes]]", &format!("{keys}\n[[routes]]")));
        one_problem(&etc.problems(&[]), &[&["DIR/kmodtrail.toml: sinks.audit."], &parts[..]].concat());
    }
}

#[test]
fn a_folder_that_anybody_may_write_in_is_a_warning() {
    let etc = Etc::with(&SMALLEST.replace("DIR/events.jsonl", "DIR/open/events.jsonl"));
    etc.file("open/other", "");
    fs::set_permissions(etc.0.path().join("open"), Permissions::from_mode(0o1777)).expect("the test may do that");
    assert!(etc.load(&[]).is_ok());
    one_problem(&etc.problems(&[]), &["warning: ", "sinks.audit.path: anybody may write in the folder DIR/open"]);
}

#[test]
fn standard_output_gets_text_only() {
    let stdout =
        SMALLEST.replace("type = \"file\"\npath = \"DIR/events.jsonl\"", "type = \"stdout\"\nencoding = \"json\"");
    assert_eq!(Etc::with(&stdout).valid(&[]).sinks[0].kind, SinkKind::Stdout);
    let etc = Etc::with(&stdout.replace("\"json\"", "\"otlp_proto\""));
    one_problem(
        &etc.problems(&[]),
        &["sinks.audit.encoding: standard output gets lines", "allowed: \"otlp_json\", \"json\""],
    );
    let etc = Etc::with(&stdout.replace("encoding", "path"));
    one_problem(&etc.problems(&[]), &["sinks.audit.path: there is no such key", "allowed: type, encoding"]);
}

#[test]
fn impossible_paths_are_errors() {
    for (path, what) in [
        ("DIR/no/such", "there is no folder DIR/no"),
        ("DIR/kmodtrail.toml/x", "Not a directory"),
        ("DIR/new/", "it names a folder"),
        ("/dev/null", "it is a device, socket or pipe"),
        ("", "it is empty"),
        ("DIR/\\u0000", "it has a NUL in it"),
        ("DIR/{host.nam}.jsonl", "{host.nam} can't be in it"),
        ("DIR/{host.name", "a { has no }"),
        ("DIR/{host.name}/events.jsonl", "there is a brace in the folder's name"),
        ("DIR/../{host.name}.jsonl", "it leads elsewhere"),
        ("DIR/no/{host.name}.jsonl", "there is no folder DIR/no"),
        ("{host.name}.jsonl", "it is relative"),
    ] {
        let etc = Etc::with(&SMALLEST.replace("DIR/events.jsonl", path));
        one_problem(&etc.problems(&[]), &["DIR/kmodtrail.toml: sinks.audit.path: ", what, "; allowed: "]);
    }
}

#[test]
fn ring_sizes_have_bounds() {
    for (size, what) in [
        ("\"32KiB\"", "32.0 KiB is out of range"),
        ("\"32MiB\"", "32.0 MiB is out of range"),
        ("\"512KB\"", "512000 bytes are not a power of two"),
        ("\"lots\"", "is not a size"),
        ("-1", "it is the number -1"),
        ("0", "0 bytes are not a power of two"),
        ("true", "it is the truth value true"),
        ("[1]", "it is an array"),
    ] {
        let etc = Etc::with(&format!("{SMALLEST}\n[sensor]\nbulk_ring_size = {size}\n"));
        one_problem(
            &etc.problems(&[]),
            &["sensor.bulk_ring_size: ", what, "allowed: a power of two between 64.0 KiB and 16.0 MiB"],
        );
    }
}

#[test]
fn metrics_go_by_grpc_as_often_as_is_said() {
    let with = |lines: &str| Etc::with(&format!("{SMALLEST}\n[telemetry.otlp]\n{lines}\n"));
    assert_eq!(Etc::with(SMALLEST).valid(&[]).telemetry, None);
    let telemetry = with("endpoint = \"http://localhost:4317\"").valid(&[]).telemetry.expect("it is there");
    assert_eq!(telemetry.interval, Duration::from_secs(60));
    let endpoint = "endpoint = \"http://localhost:4317\"";
    let often = with(&format!("{endpoint}\ninterval = \"5s\"\nlogs = true")).valid(&[]).telemetry.expect("it is there");
    assert_eq!((often.interval, often.otlp), (Duration::from_secs(5), telemetry.otlp));
    assert!(often.logs && !telemetry.logs, "only where they are asked for");
    for (line, parts) in [
        ("protocol = \"http/protobuf\"", &["telemetry.otlp.protocol: ", "by gRPC", "allowed: \"grpc\""][..]),
        ("logs = \"yes\"", &["telemetry.otlp.logs: ", "allowed: true or false"]),
        ("interval = \"1ms\"", &["telemetry.otlp.interval: ", "out of range", "1s to 1h"]),
        ("type = \"otlp\"", &["telemetry.otlp.type: "]),
    ] {
        one_problem(&with(&format!("{endpoint}\n{line}")).problems(&[]), parts);
    }
    one_problem(&with("").problems(&[]), &["telemetry.otlp.endpoint: "]);
}

#[test]
fn an_environment_variable_is_named_in_its_error() {
    let etc = Etc::with(SMALLEST);
    one_problem(
        &etc.problems(&[("KMODTRAIL__LOG__LEVEL", "loud")]),
        &["KMODTRAIL__LOG__LEVEL: log.level: \"loud\" is unknown"],
    );
    let problems = etc.problems(&[("KMODTRAIL__ROUTES__0__NAME", "x")]).join("\n");
    assert!(problems.contains("an environment variable can't hold routes"), "{problems}");
    let problems = etc.problems(&[("KMODTRAIL__SINKS", "x")]).join("\n");
    assert!(problems.contains("sinks: it is the string \"x\"; allowed: a table"), "{problems}");
}

#[test]
fn resource_attributes_may_be_written_with_dots_or_as_tables() {
    let text = "[resource.attributes]\ndeployment.environment.name = \"prod\"\n\"service.namespace\" = \"sec\"\n";
    let config = Etc::with(&format!("{SMALLEST}{text}")).valid(&[]);
    let expected = [("deployment.environment.name", "prod"), ("service.namespace", "sec")];
    assert_eq!(config.resource.attributes, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
}

#[test]
fn wrong_types_everywhere_are_errors_and_no_panic() {
    for text in [
        "sensor = 1",
        "sinks = []",
        "routes = 5",
        "routes = [1, \"a\"]",
        "log = \"info\"",
        "resource = [{}]",
        "[[sensor]]\n",
        "[sinks]\na = 1",
        "[[sinks.a]]\n",
        "[routes]\nname = 1",
        "[[routes]]\nwhen = 1",
        "[[routes]]\nwhen.event = \"load\"",
        "[[routes]]\nto = [[]]",
        "[[routes]]\nto = [{}]",
        "[resource]\nattributes = 1",
        "[resource.attributes]\n\"\" = \"x\"",
        "[sinks.\"A b\"]\ntype = 1",
        "\"\" = 1",
        "[sinks.a]\ntype = \"file\"\npath = 1979-05-27",
    ] {
        let problems = Etc::with(text).load(&[]);
        assert!(problems.is_err(), "{text}: {problems:?}");
    }
}
