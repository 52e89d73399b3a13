use super::{
    super::tests::{Etc, SMALLEST, one_problem},
    *,
};

/// The conditions that a `when` comes to, as they are shown.
fn conditions(when: &str) -> Vec<String> {
    let text = format!("{SMALLEST}[[routes]]\nname = \"tested\"\nto = [\"audit\"]\nwhen = {{ {when} }}\n");
    let config = Etc::with(&text).valid(&[]);
    config.routes[1].when.0.iter().map(ToString::to_string).collect()
}

/// What is wrong with a route that has this in it.
fn problems(keys: &str) -> Vec<String> {
    Etc::with(&format!("{SMALLEST}[[routes]]\nname = \"tested\"\nto = [\"audit\"]\n{keys}\n")).problems(&[])
}

#[test]
fn every_way_to_compare_can_be_said() {
    for (when, shown) in [
        (r#"event = ["load", "kmodtrail.lost"]"#, r#"event = ["kmodtrail.lost", "linux.kernel_module.load"]"#),
        (r#"event = "load""#, r#"event = ["linux.kernel_module.load"]"#),
        (r#"event_not_glob = "kmodtrail.*""#, r#"event_not_glob = ["kmodtrail.*"]"#),
        (r#"severity_min = "WARN""#, r#"severity_min = "WARN""#),
        (r#"severity_not = ["ERROR", "FATAL"]"#, r#"severity_not = ["ERROR", "FATAL"]"#),
        (r#"signature_not = ["valid"]"#, r#"linux.kernel_module.signature.state_not = ["valid"]"#),
        (r#"signature.ok = false"#, r#"linux.kernel_module.signature.ok = [false]"#),
        (
            r#"taints_any = ["bit_27", "unsigned_module"]"#,
            r#"linux.kernel_module.taints.names = ["bit_27", "unsigned_module"]"#,
        ),
        (r#"taints_all = "unsigned_module""#, r#"linux.kernel_module.taints.names_all = ["unsigned_module"]"#),
        (r#"module_glob = "nf_*""#, r#"linux.kernel_module.name_glob = ["nf_*"]"#),
        (r#"process.user.name = "root""#, r#"process.user.name = ["root"]"#),
        (r#""process.user.id_max" = 999"#, "process.user.id_max = 999"),
        (r#""process.pid_not" = [1, 2]"#, "process.pid_not = [1, 2]"),
        (r#""process.command_args_regex" = "^-f""#, r#"process.command_args_regex = ["^-f"]"#),
        (r#""linux.kernel_module.alias_present" = false"#, "linux.kernel_module.alias_present = false"),
        (r#"host.name = "web-1""#, r#"host.name = ["web-1"]"#),
        (r#"linux.process.ancestors_present = true"#, "linux.process.ancestors_present = true"),
    ] {
        assert_eq!(conditions(when), [shown], "{when}");
    }
    assert_eq!(conditions(r#"errno_min = 1, errno_max = 5"#).len(), 2);
}

#[test]
fn attributes_that_the_configuration_adds_are_known() {
    let resource = "[resource.attributes]\n\"deployment.environment.name\" = \"prod\"\n";
    let route = "[[routes]]\nname = \"r\"\nto = [\"audit\"]\nwhen = { deployment.environment.name_glob = \"pr*\" }\n";
    Etc::with(&format!("{SMALLEST}{resource}{route}")).valid(&[]);
    one_problem(
        &Etc::with(&format!("{SMALLEST}{route}")).problems(&[]),
        &["routes[1].when.deployment.environment.name_glob: there is no attribute \"deployment.environment.name\""],
    );
}

#[test]
fn what_is_wrong_with_a_condition_is_said() {
    for (when, parts) in [
        (
            r#"signatur = "valid""#,
            &["when.signatur: there is no attribute \"signatur\"; did you mean \"signature\"?"][..],
        ),
        (r#""process.usr.name_not" = "x""#, &["did you mean \"process.user.name\"?"]),
        (r#"signature_nto = "valid""#, &["when.signature_nto: nothing can be compared with \"_nto\"", "signature_not"]),
        (
            r#"signature = "vaild""#,
            &["\"vaild\" is no value of it; did you mean \"valid\"?; its values are valid, unsigned"],
        ),
        (
            r#"taints = ["out_of_tree"]"#,
            &["item 1: \"out_of_tree\" is no value of it; did you mean \"out_of_tree_module\"?"],
        ),
        (r#"taints = ["bit_64"]"#, &["\"bit_64\" is no value of it"]),
        (r#"event = ["laod"]"#, &["there is no event \"laod\"; did you mean \"load\"?", "allowed: \"request\""]),
        (r#"severity_min = "BAD""#, &["\"BAD\" is unknown", "\"WARN\""]),
        (r#"process.pid = "1""#, &["when.process.pid: it is the string \"1\"; allowed: a whole number"]),
        (r#"process.pid = 1.5"#, &["it is the number 1.5; allowed: a whole number"]),
        (r#"process.pid_min = [1]"#, &["it is an array; allowed: a whole number"]),
        (r#"process.user.name = 0"#, &["it is the number 0; allowed: a string, or an array of them"]),
        (r#"process.user.name = ["a", 0]"#, &["item 2: it is the number 0"]),
        (r#"signature.ok = "yes""#, &["it is the string \"yes\"; allowed: true or false"]),
        (r#"alias_present = "yes""#, &["it is the string \"yes\"; allowed: true or false"]),
        (
            r#"process.pid_glob = "1*""#,
            &["process.pid is a number, which can't be compared like that; allowed: process.pid, process.pid_not"],
        ),
        (r#"process.user.name_all = ["a"]"#, &["process.user.name is a string, which can't be compared like that"]),
        (
            r#"linux.process.ancestors = "bash""#,
            &["is a list of tables, which can't be compared like that; allowed: linux.process.ancestors_present"],
        ),
        (
            r#"module_regex = "(""#,
            &["\"(\" is no regular expression: unclosed group; allowed: regular expressions such as"],
        ),
        (r#"module_glob = "[""#, &["\"[\" is no glob: "]),
        (r#"module_glob = [""]"#, &["item 1: it is empty"]),
        (r#"module = []"#, &["when.module: it is empty"]),
        (r#"errno_min = 5, errno_max = 4"#, &["it can never hold together with linux.kernel_module.errno_max = 4"]),
        (
            r#"severity_min = "ERROR", severity_max = "WARN""#,
            &["it can never hold together with severity_max = \"WARN\""],
        ),
        (r#"signature = "valid", signature_not = ["valid", "unsigned"]"#, &["it can never hold together with"]),
        (r#"module = "x", module_present = false"#, &["it can never hold together with"]),
        (
            r#"signature = "valid", linux.kernel_module.signature.state = "bad""#,
            &["says it already; allowed: one of the two"],
        ),
    ] {
        one_problem(&problems(&format!("when = {{ {when} }}")), parts);
    }
    one_problem(&problems("when = 1"), &["routes[1].when: it is the number 1; allowed: a table"]);
}

#[test]
fn what_is_wrong_with_a_change_is_said() {
    for (keys, parts) in [
        (
            r#"drop_attributes = ["proces.pid"]"#,
            &["routes[1].drop_attributes: there is no attribute \"proces.pid\"; did you mean \"process.pid\"?"][..],
        ),
        (r#"drop_attributes = ["proces.*"]"#, &["\"proces.*\" matches no attribute of records"]),
        (
            r#"drop_attributes = ["process.pid", "process.p?d"]"#,
            &["matches no attribute of records that is not there already"],
        ),
        (r#"drop_attributes = ["log.record.uid"]"#, &["log.record.uid tells a record that comes twice"]),
        (r#"drop_attributes = ["*"]"#, &["log.record.uid tells a record that comes twice"]),
        (r#"drop_attributes = ["[a"]"#, &["is no glob"]),
        (r#"drop_attributes = []"#, &["it is empty"]),
        (r#"drop_attributes = ["host.name"]"#, &["host.name is part of the resource"]),
        (
            r#"redact = { mask = ["log.record.uid"] }"#,
            &["routes[1].redact.mask: log.record.uid tells a record that comes twice"],
        ),
        (
            r#"redact = { mask = ["signature.ok"] }"#,
            &["is neither a string nor a number: drop_attributes takes it away"],
        ),
        (r#"redact = { mask = ["nonsense"] }"#, &["there is no attribute \"nonsense\""]),
        (
            r#"redact = { hash = ["process.user.name"] }"#,
            &["redact.key: it is missing: a hash without a key can be found by trying; allowed: { credential"],
        ),
        (
            r#"redact = { mask = ["process.pid"], key = { credential = "k" } }"#,
            &["redact.key: there is nothing to `hash` with it"],
        ),
        (
            r#"redact = { hash = ["process.pid"], key = { file = "DIR/none" } }"#,
            &["redact.key: the secret DIR/none can't be read: No such file"],
        ),
        (
            r#"redact = { hash = ["process.pid"], mask = ["process.pid"], key = { credential = "k" } }"#,
            &["process.pid is in `hash`, too"],
        ),
        (r#"redact = {}"#, &["there is nothing to redact"]),
        (
            r#"redact = { hsah = ["process.pid"], mask = ["process.pid"] }"#,
            &["redact.hsah: there is no such key; did you mean \"hash\"?"],
        ),
        (r#"sample = 0"#, &["routes[1].sample: it is the number 0; allowed: a number between 0 and 1"]),
        (r#"sample = 1.0"#, &["it is the number 1"]),
        (r#"sample = -0.5"#, &["it is the number -0.5"]),
        (r#"sample = nan"#, &["it is the number NaN"]),
        (r#"rate_limit = { interval = "1min" }"#, &["routes[1].rate_limit.count: it is missing"]),
        (r#"rate_limit = { count = 0, interval = "1min" }"#, &["rate_limit.count: it is the number 0"]),
        (r#"rate_limit = { count = 1, interval = "1x" }"#, &["rate_limit.interval: "]),
        (
            r#"rate_limit = { count = 1, interval = "1ms" }"#,
            &["interval: 1ms is out of range; allowed: \"1s\" to \"1day\""],
        ),
        (r#"rate_limit = { count = 1, interval = "1s", by = ["x"] }"#, &["rate_limit.by: there is no attribute \"x\""]),
        (r#"rate_limit = { count = 1, interval = "1s", by = ["linux.process.ancestors"] }"#, &["is a list of tables"]),
        (r#"dedupe = { interval = "1s" }"#, &["routes[1].dedupe.by: it is missing"]),
        (r#"dedupe = { interval = "1s", by = [] }"#, &["dedupe.by: it is empty: nothing makes two records alike"]),
        (r#"dedupe = { interval = "1s", by = ["alias", "linux.kernel_module.alias"] }"#, &["is there twice"]),
    ] {
        one_problem(&problems(keys), parts);
    }
}

#[test]
fn globs_of_attributes_stand_for_those_that_there_are() {
    let text = "drop_attributes = [\"kmodtrail.*\", \"errno\"]\nredact = { mask = [\"module\"] }";
    let config = Etc::with(&format!("{SMALLEST}[[routes]]\nname = \"r\"\nto = [\"audit\"]\n{text}\n")).valid(&[]);
    let drop = config.routes[1].drop_attributes.as_ref().expect("it is there");
    assert!(
        drop.names.contains("kmodtrail.cpu") && drop.names.contains("linux.kernel_module.errno"),
        "{:?}",
        drop.names
    );
    let redact = config.routes[1].redact.as_ref().expect("it is there");
    assert_eq!(redact.mask.iter().copied().collect::<Vec<_>>(), ["linux.kernel_module.name"]);
}

#[test]
fn routes_that_can_never_come_to_anything_are_errors() {
    let route = |name: &str, keys: &str| format!("[[routes]]\nname = \"{name}\"\nto = [\"audit\"]\n{keys}\n");
    let all = |routing: &str, routes: &[String]| {
        Etc::with(&format!("{SMALLEST}{routing}\n{}", routes.concat())).problems(&[])
    };
    one_problem(
        &all("[routing]\nmatch = \"first\"", &[route("late", "when = { event = \"load\" }")]),
        &["routes[1]: it is never reached: the route \"everything\" before it takes what it would take"],
    );
    let same = "when = { event = \"load\" }\n";
    one_problem(
        &all(
            "",
            &[route("a", &format!("{same}severity = \"WARN\"")), route("b", &format!("{same}severity = \"ERROR\""))],
        ),
        &["routes[2].severity: it never decides: the route \"a\" before it"],
    );
    one_problem(
        &all(
            "",
            &[
                route("a", "redact = { mask = [\"process.pid\"] }"),
                route("b", &format!("{same}redact = {{ hash = [\"process.pid\"], key = {{ credential = \"k\" }} }}")),
            ],
        ),
        &["routes[2].redact: the route \"a\" redacts process.pid in another way"],
    );
    one_problem(
        &all("[routing]\nmatch = \"frist\"", &[]),
        &["routing.match: \"frist\" is unknown; did you mean \"first\"?"],
    );
    assert_eq!(
        all("", &[route("a", &format!("{same}severity = \"WARN\"")), route("b", "severity = \"ERROR\"")]),
        [""; 0]
    );
}

#[test]
fn tests_are_read_and_what_is_wrong_with_them_is_said() {
    let with = |keys: &str| Etc::with(&format!("{SMALLEST}[[tests]]\n{keys}\n"));
    let config = with("name = \"t\"\nrecord = { event = \"load\", signature = \"bad\", taints = [\"bit_27\"], host.name = \"h\" }\nexpect = []").valid(&[]);
    let TestRecord::Attributes(attributes) = &config.tests[0].record else { panic!("{:?}", config.tests) };
    assert_eq!(attributes.len(), 4);
    let config =
        with("name = \"t\"\nrecord = \"records/one.jsonl\"\nexpect = [\"audit\"]\nseverity = \"WARN\"").valid(&[]);
    let TestRecord::File(path) = &config.tests[0].record else { panic!("{:?}", config.tests) };
    assert!(path.is_absolute() && path.ends_with("records/one.jsonl"), "{}", path.display());
    for (keys, parts) in [
        ("record = { event = \"load\" }\nexpect = []", &["tests[0].name: it is missing"][..]),
        ("name = \"t\"\nexpect = []", &["tests[0].record: it is missing; allowed: a table"]),
        ("name = \"t\"\nrecord = 1\nexpect = []", &["tests[0].record: it is the number 1"]),
        ("name = \"t\"\nrecord = { signature = \"bad\" }\nexpect = []", &["`event` is missing"]),
        (
            "name = \"t\"\nrecord = { event = \"load\", process.pid = \"x\" }\nexpect = []",
            &["tests[0].record.process.pid: it is the string \"x\"; allowed: a number"],
        ),
        (
            "name = \"t\"\nrecord = { event = \"load\", signatur = \"x\" }\nexpect = []",
            &["tests[0].record.signatur: there is no attribute"],
        ),
        ("name = \"t\"\nrecord = { event = \"load\" }", &["tests[0].expect: it is missing"]),
        (
            "name = \"t\"\nrecord = { event = \"load\" }\nexpect = [\"aduit\"]",
            &["tests[0].expect: there is no sink \"aduit\"; did you mean \"audit\"?"],
        ),
        (
            "name = \"t\"\nrecord = { event = \"load\" }\nexpect = []\nsink = 1",
            &["tests[0].sink: there is no such key"],
        ),
    ] {
        one_problem(&with(keys).problems(&[]), parts);
    }
    let twice = "name = \"t\"\nrecord = { event = \"load\" }\nexpect = []\n";
    one_problem(
        &with(&format!("{twice}[[tests]]\n{twice}")).problems(&[]),
        &["tests[1].name: another test is called \"t\" too"],
    );
    let etc = Etc::with(&format!("{SMALLEST}[[tests]]\n{}", twice.replace("\"t\"", "\"first\"")));
    etc.file("conf.d/a.toml", &format!("[[tests]]\n{twice}"));
    assert_eq!(etc.valid(&[]).tests.len(), 2, "tests of all files add up");
}

#[test]
fn the_examples_in_the_configuration_that_is_shipped_are_valid_and_pass_their_own_tests() {
    let text = include_str!("../../../../config/kmodtrail.toml");
    // a block begins with a table's header and ends with an empty comment
    let mut examples = String::new();
    for line in text.lines() {
        let inside = line.starts_with("# [[") || (!examples.ends_with("\n\n") && !examples.is_empty());
        match line.strip_prefix("# ") {
            Some(line) if inside => examples += &format!("{line}\n"),
            _ if inside => examples += "\n",
            _ => {}
        }
    }
    let etc = Etc::with(&format!("{}\n{examples}", text.replace("/var/log/kmodtrail", "DIR")));
    assert_eq!(etc.problems(&[]), [""; 0], "{examples}");
    let config = etc.valid(&[]);
    assert_eq!((config.routes.len(), config.tests.len()), (4, 1), "{examples}");
    let failures: Vec<_> = crate::route::trial::run(&config).into_iter().flat_map(|outcome| outcome.failures).collect();
    assert!(failures.is_empty(), "{failures:?}");
}
