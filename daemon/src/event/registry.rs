//! Holds config/registry/ and the code together: tests only.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::{What, names, samples, schema};
use crate::event::{Items, Value};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registry<G> {
    groups: Vec<G>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the fields hold the files to the form that weaver reads")]
struct AttributeGroup {
    id: String,
    r#type: String,
    display_name: String,
    brief: String,
    attributes: Vec<Attribute>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Attribute {
    id: String,
    r#type: Type,
    stability: String,
    brief: String,
    #[serde(rename = "note")]
    _note: Option<String>,
    #[serde(default)]
    examples: Vec<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Type {
    Simple(String),
    Members { members: Vec<Member> },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    id: String,
    value: String,
    #[serde(rename = "brief")]
    _brief: String,
    #[serde(rename = "stability")]
    _stability: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventGroup {
    id: String,
    r#type: String,
    name: Option<String>,
    #[serde(rename = "stability")]
    _stability: Option<String>,
    #[serde(rename = "brief")]
    _brief: String,
    extends: Option<String>,
    attributes: Vec<Reference>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference {
    r#ref: String,
    requirement_level: String,
}

fn own() -> BTreeMap<String, Attribute> {
    let text = include_str!("../../../config/registry/attributes.yaml");
    let registry: Registry<AttributeGroup> = serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}"));
    let mut own = BTreeMap::new();
    for attribute in registry.groups.into_iter().flat_map(|g| g.attributes) {
        let id = attribute.id.clone();
        assert!(own.insert(id.clone(), attribute).is_none(), "{id} is there twice");
    }
    own
}

/// Attributes of every event, those that it extends among them: name, and whether it is required.
fn events() -> BTreeMap<String, BTreeMap<String, bool>> {
    let text = include_str!("../../../config/registry/events.yaml");
    let registry: Registry<EventGroup> = serde_saphyr::from_str(text).unwrap_or_else(|e| panic!("{e}"));
    let groups: BTreeMap<_, _> = registry.groups.iter().map(|g| (g.id.as_str(), g)).collect();
    let mut events = BTreeMap::new();
    for group in registry.groups.iter().filter(|g| g.r#type == "event") {
        let name = group.name.clone().unwrap_or_else(|| panic!("{} has no name", group.id));
        assert_eq!(group.id, format!("event.{name}"));
        let mut attributes = BTreeMap::new();
        let mut next = Some(group);
        while let Some(group) = next {
            attributes.extend(group.attributes.iter().map(|a| (a.r#ref.clone(), a.requirement_level == "required")));
            next =
                group.extends.as_deref().map(|id| groups.get(id).copied().unwrap_or_else(|| panic!("no group {id}")));
        }
        events.insert(name, attributes);
    }
    events
}

/// Whether the registry means this type.
fn is(r#type: &Type, code: schema::Type) -> bool {
    match (r#type, code) {
        (Type::Members { members }, schema::Type::Word(words)) => {
            members.iter().map(|m| m.value.as_str()).eq(words.iter().copied())
        }
        (Type::Simple(name), code) => match code {
            schema::Type::Text => name == "string",
            schema::Type::Int => name == "int",
            schema::Type::Bool => name == "boolean",
            schema::Type::Texts | schema::Type::Taints => name == "string[]",
            // OpenTelemetry's complex attributes have no other type
            schema::Type::Maps => name == "any",
            schema::Type::Word(_) => false,
        },
        (Type::Members { .. }, _) => false,
    }
}

fn fits(r#type: schema::Type, value: &Value<'_>) -> bool {
    let every = |each: &dyn Fn(Items<'_>), fits: fn(&Value<'_>) -> bool| {
        let mut all = true;
        each(&mut |value| all &= fits(&value));
        all
    };
    let is_text = |value: &Value<'_>| matches!(value, Value::String(_) | Value::Format(_));
    match (r#type, value) {
        (schema::Type::Word(words), Value::String(text)) => words.contains(text),
        (schema::Type::Text, value) => is_text(value),
        (schema::Type::Int, Value::Int(_)) | (schema::Type::Bool, Value::Bool(_)) => true,
        (schema::Type::Texts | schema::Type::Taints, Value::Array(items)) => every(*items, is_text),
        (schema::Type::Maps, Value::Array(items)) => every(*items, |value| matches!(value, Value::Map(_))),
        _ => false,
    }
}

#[test]
fn every_name_in_the_code_is_in_the_registry_and_the_other_way_round() {
    let code: BTreeSet<_> = names::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    let own = own();
    for (name, code) in names::ALL {
        let registered = own.get(*name).map(|attribute| &attribute.r#type);
        assert!(
            registered.is_none_or(|r#type| is(r#type, *code)),
            "{name}: {code:?}, attributes.yaml says {registered:?}"
        );
    }
    let registry: BTreeSet<_> = own.into_keys().filter(|id| id != names::REQUESTER).collect();
    assert_eq!(code.difference(&registry).collect::<Vec<_>>(), Vec::<&String>::new(), "not in attributes.yaml");
    assert_eq!(registry.difference(&code).collect::<Vec<_>>(), Vec::<&String>::new(), "not in names.rs");
    let events: BTreeSet<_> = events().into_keys().collect();
    assert_eq!(events, What::NAMES.into_iter().map(str::to_owned).collect());
}

#[test]
fn every_event_has_what_the_registry_says_and_nothing_else() {
    let type_of = |name: &str| schema::of_record(name).unwrap_or_else(|| panic!("{name} is in no registry"));
    let mut emitted: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let registered = events();
    for event in samples::all() {
        let event_name = event.what.name();
        let attributes = &registered[event_name];
        let mut here = BTreeSet::new();
        event.attributes(&mut |name, value| {
            // a template stands for all that its name begins
            let registered = if name.starts_with(names::REQUESTER) { names::REQUESTER } else { name };
            assert!(attributes.contains_key(registered), "{event_name} has {name}, events.yaml does not say so");
            assert!(
                fits(type_of(name), &value),
                "{event_name}: {name} = {value:?}, the registry says {:?}",
                type_of(name)
            );
            assert!(here.insert(name.to_owned()), "{event_name} has {name} twice");
        });
        if here.iter().any(|name| name.starts_with(names::REQUESTER)) {
            here.insert(names::REQUESTER.to_owned());
        }
        for (name, _) in attributes.iter().filter(|(_, required)| **required) {
            assert!(
                here.contains(name),
                "{event_name} is there without {name}, which events.yaml says is required: {event:?}"
            );
        }
        emitted.entry(event_name).or_default().extend(here);
    }
    for (event, attributes) in &registered {
        let attributes: BTreeSet<_> = attributes.keys().cloned().collect();
        let never: Vec<_> = attributes.difference(&emitted[event.as_str()]).collect();
        assert!(never.is_empty(), "events.yaml says that {event} has {never:?}; no sample has it");
    }
}

#[test]
fn every_attribute_of_a_process_has_a_twin_of_the_requester() {
    let event = samples::load();
    let (mut of_process, mut of_requester) = (Vec::new(), Vec::new());
    let prefix = format!("{}.", names::REQUESTER);
    event.process_attributes(&mut |name, _| match name.strip_prefix(&prefix) {
        Some(name) => of_requester.push(name),
        None => of_process.push(name),
    });
    assert!(!of_process.is_empty());
    assert_eq!(of_requester, of_process);
}

#[test]
fn every_attribute_is_explained() {
    for (id, attribute) in own() {
        assert!(!attribute.brief.is_empty() && attribute.stability == "development", "{id}");
        let Type::Simple(name) = &attribute.r#type else {
            let Type::Members { members } = attribute.r#type else { continue };
            assert!(members.iter().all(|m| m.id == m.value), "{id}");
            continue;
        };
        let fits = |example: &serde_json::Value| match name.as_str() {
            "string" => example.is_string(),
            "int" => example.is_i64(),
            "boolean" => example.is_boolean(),
            "string[]" => example.as_array().is_some_and(|a| a.iter().all(serde_json::Value::is_string)),
            _ => false,
        };
        assert!(
            ["any", "template[any]"].contains(&name.as_str()) || !attribute.examples.is_empty(),
            "{id} has no example"
        );
        assert!(attribute.examples.iter().all(fits), "{id}: an example is no {name}: {:?}", attribute.examples);
    }
}

#[test]
fn every_member_of_an_enumeration_is_a_value_that_the_code_has() {
    use super::{LoadSource, Outcome, QosClass, Refusal, SignatureState, Syscall, WorkloadKind};
    let own = own();
    let members = |id: &str| match &own[id].r#type {
        Type::Members { members } => members.iter().map(|m| m.value.clone()).collect::<Vec<_>>(),
        Type::Simple(name) => panic!("{id} is {name}"),
    };
    let outcomes = [Outcome::Success, Outcome::Failure(None), Outcome::Refused(1, None), Outcome::Unknown];
    assert_eq!(members(names::MODULE_OUTCOME), outcomes.map(Outcome::name));
    let refusals = {
        use Refusal::*;
        [Capability, ModulesDisabled, Signature, Lockdown, Blacklist, SecurityModule]
    };
    assert_eq!(members(names::MODULE_REFUSAL), refusals.map(Refusal::name));
    let syscalls = [Syscall::InitModule, Syscall::FinitModule, Syscall::DeleteModule];
    assert_eq!(members(names::MODULE_SYSCALL), syscalls.map(Syscall::name));
    let sources = {
        use LoadSource::*;
        [File, Memory, Memfd, DeletedFile, ContainerFile]
    };
    assert_eq!(members(names::MODULE_SOURCE), sources.map(LoadSource::name));
    let helper = {
        use super::HelperOutcome::*;
        [Loaded, Failed, NothingFound, NotStarted, Unknown]
    };
    assert_eq!(members(names::HELPER_OUTCOME), helper.map(super::HelperOutcome::name));
    let states = {
        use SignatureState::*;
        [Valid, Unsigned, UntrustedKey, Bad, Unsupported, NotChecked, Unknown]
    };
    assert_eq!(members(names::MODULE_SIGNATURE_STATE), states.map(SignatureState::name));
    let classes = [QosClass::Guaranteed, QosClass::Burstable, QosClass::BestEffort];
    assert_eq!(members(names::POD_QOS_CLASS), classes.map(QosClass::name));
    let kinds = {
        use WorkloadKind::*;
        [Deployment, DaemonSet, StatefulSet, Job]
    };
    assert_eq!(members(names::WORKLOAD_KIND), kinds.map(WorkloadKind::name));
}
