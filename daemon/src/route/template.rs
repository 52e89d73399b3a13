//! Templates for the names of topics, paths and headers: `kernel-{host.name}`.
//!
//! They take attributes from a short list, of which there are few values: a topic or file for every value that somebody watched can choose
//! would be a weapon. What a value has that its place can't have becomes `_`, a dot at its beginning, too: no value leaves its folder.

use std::{fmt, marker::PhantomData};

use crate::{
    event::Severity,
    record::{Record, Value, resource_attributes},
};

/// Text with attributes in braces; `{{` and `}}` are braces. What is not there is "unknown".
#[derive(Clone, PartialEq, Eq)]
pub struct Template<P> {
    parts: Vec<Part>,
    place: PhantomData<P>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Event,
    Severity,
    Named(&'static str),
}

/// Where a template's text is used.
pub trait Place {
    /// What it is called.
    const NAME: &'static str;
    /// The most bytes it can have.
    const LONGEST: usize;
    /// What the text around the attributes may have, for the reader of an error.
    const ALLOWED: &'static str;
    /// Whether text can have this character.
    fn fits(c: char) -> bool;
    /// Whether a value can.
    fn value_fits(c: char) -> bool {
        Self::fits(c)
    }
    /// Whether this is fit to be all of the text, were the attributes empty.
    fn whole_fits(_literals: &str) -> bool {
        true
    }
}

/// Name of a Kafka topic: org.apache.kafka.common.internals.Topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic;

/// Path of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Path;

/// Value of a header, of Kafka or HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header;

const fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

impl Place for Topic {
    const NAME: &'static str = "a topic";
    const LONGEST: usize = 249;
    const ALLOWED: &'static str = "a-z, A-Z, 0-9, dot, _ and -, at most 249, and not only dots";
    fn fits(c: char) -> bool {
        plain(c)
    }
    fn whole_fits(literals: &str) -> bool {
        !matches!(literals, "." | "..")
    }
}

impl Place for Path {
    const NAME: &'static str = "a path";
    const LONGEST: usize = 4095;
    const ALLOWED: &'static str = "a path without `..` in it";
    fn fits(c: char) -> bool {
        c != '\0'
    }
    fn value_fits(c: char) -> bool {
        plain(c)
    }
    fn whole_fits(literals: &str) -> bool {
        !literals.split('/').any(|name| name == "..")
    }
}

impl Place for Header {
    const NAME: &'static str = "a header";
    const LONGEST: usize = 4096;
    const ALLOWED: &'static str = "printable ASCII characters";
    fn fits(c: char) -> bool {
        matches!(c, ' '..='~')
    }
}

/// The attributes that a template can have.
const ATTRIBUTES: [(&str, Part); 13] = [
    ("event", Part::Event),
    ("severity", Part::Severity),
    ("outcome", Part::Named("linux.kernel_module.outcome")),
    ("signature", Part::Named("linux.kernel_module.signature.state")),
    ("host.name", Part::Named("host.name")),
    ("host.id", Part::Named("host.id")),
    ("host.arch", Part::Named("host.arch")),
    ("os.type", Part::Named("os.type")),
    ("os.version", Part::Named("os.version")),
    ("service.name", Part::Named("service.name")),
    ("service.namespace", Part::Named("service.namespace")),
    ("service.instance.id", Part::Named("service.instance.id")),
    ("deployment.environment.name", Part::Named("deployment.environment.name")),
];

/// What a value is cut to, in bytes.
const LONGEST_VALUE: usize = 100;

/// Text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no template of {place}: {why}; allowed: {allowed}")]
pub struct TemplateError {
    text: String,
    place: &'static str,
    /// What is wrong with it.
    pub why: String,
    /// What would be right.
    pub allowed: String,
}

impl<P: Place> Template<P> {
    /// What one may have in it, for the reader of an error.
    #[must_use]
    pub fn allowed() -> String {
        format!("{}; for attributes {}", P::ALLOWED, attributes())
    }

    /// # Errors
    /// Where it has an attribute that is not in the list, a brace without its other half, or what its place can't have.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let error =
            |why: String, allowed: String| TemplateError { text: text.to_owned(), place: P::NAME, why, allowed };
        let (mut parts, mut literal) = (Vec::new(), String::new());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            match c {
                '{' | '}' if rest.starts_with(c) => {
                    rest = &rest[1..];
                    literal.push(c);
                }
                '{' => {
                    let braces =
                        || error("a { has no }".to_owned(), "{NAME}, or {{ for the character itself".to_owned());
                    let (name, behind) = rest.split_once('}').ok_or_else(braces)?;
                    let found = ATTRIBUTES.into_iter().find(|(n, _)| *n == name);
                    let (_, part) = found.ok_or_else(|| error(format!("{{{name}}} can't be in it"), attributes()))?;
                    if !literal.is_empty() {
                        parts.push(Part::Literal(std::mem::take(&mut literal)));
                    }
                    parts.push(part);
                    rest = behind;
                }
                '}' => {
                    return Err(error("a } has no {".to_owned(), "{NAME}, or }} for the character itself".to_owned()));
                }
                c => literal.push(c),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        let literals = parts.iter().map(|part| match part {
            Part::Literal(text) => text.as_str(),
            // what no value is: none begins with a dot
            _ => "_",
        });
        let whole: String = literals.collect();
        let wrong = |why: &str| Err(error(why.to_owned(), P::ALLOWED.to_owned()));
        match whole.chars().find(|&c| !P::fits(c)) {
            Some(c) => wrong(&format!("{c:?} can't be in it")),
            None if whole.is_empty() => wrong("it is empty"),
            None if whole.len() > P::LONGEST => wrong("it is too long"),
            None if !P::whole_fits(&whole) => wrong("it leads elsewhere"),
            None => Ok(Self { parts, place: PhantomData }),
        }
    }

    /// It is the same for every record.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Literal(_)))
    }

    /// It depends on the resource only, which all records of a process share.
    #[must_use]
    pub fn is_of_resource(&self) -> bool {
        self.parts.iter().all(|part| match part {
            Part::Literal(_) => true,
            Part::Named(name) => !name.starts_with("linux."),
            Part::Event | Part::Severity => false,
        })
    }

    /// Appends the text for this record to `out`.
    pub fn render(&self, resource: &[u8], record: &Record<'_>, out: &mut String) {
        let begin = out.len();
        for part in &self.parts {
            match part {
                Part::Literal(text) => out.push_str(text),
                Part::Event => value::<P>(record.event_name, out),
                Part::Severity => {
                    let severity = Severity::at_most(record.severity.into()).map_or("", Severity::text);
                    value::<P>(severity, out);
                }
                Part::Named(name) => match record.get(name).or_else(|| resource_attributes(resource).get(name)) {
                    Some(Value::String(text)) => value::<P>(text, out),
                    _ => value::<P>("", out),
                },
            }
        }
        // every character of it is one byte, or it is not that long
        out.truncate(out.floor_char_boundary(begin + P::LONGEST));
    }
}

fn value<P: Place>(text: &str, out: &mut String) {
    let text = if text.is_empty() { "unknown" } else { text };
    let safe = |(i, c)| if P::value_fits(c) && (i, c) != (0, '.') { c } else { '_' };
    out.extend(text.chars().take(LONGEST_VALUE).enumerate().map(safe));
}

fn attributes() -> String {
    ATTRIBUTES.map(|(name, _)| format!("{{{name}}}")).join(", ")
}

impl<P> fmt::Display for Template<P> {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Literal(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}")),
            part => {
                let name = ATTRIBUTES.iter().find(|(_, p)| p == part).map_or("", |(name, _)| name);
                write!(f, "{{{name}}}")
            }
        })
    }
}

impl<P> fmt::Debug for Template<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{event::samples, record, resource::Resource};

    fn rendered<P: Place>(template: &str, host: &str) -> String {
        let mut resource = Resource::default();
        resource.set("host.name", host);
        let mut bytes = Vec::new();
        record::Writer::default().write(&samples::load(), &mut bytes);
        let template = Template::<P>::parse(template).unwrap_or_else(|e| panic!("{e}"));
        let mut out = "before ".to_owned();
        let record = Record::parse(&bytes).expect("we wrote it");
        template.render(&record::resource(&resource), &record, &mut out);
        out.strip_prefix("before ").expect("it is appended").to_owned()
    }

    #[test]
    fn attributes_stand_in_the_place_of_their_names() {
        assert_eq!(rendered::<Topic>("kernel-{host.name}", "web-1"), "kernel-web-1");
        assert_eq!(rendered::<Topic>("{event}.{severity}.{outcome}", "h"), "linux.kernel_module.load.WARN.success");
        assert_eq!(rendered::<Path>("/var/log/{host.name}/{signature}.jsonl", "h"), "/var/log/h/unsigned.jsonl");
        assert_eq!(rendered::<Header>("{{{host.name}}} {service.namespace}", "h"), "{h} unknown");
        assert_eq!(rendered::<Topic>("plain", "h"), "plain");
    }

    #[test]
    fn no_value_leaves_its_folder_or_breaks_its_place() {
        for hostile in [
            "..",
            ".",
            "../../etc/passwd",
            "/etc/passwd",
            "a/../b",
            "a\0b",
            "",
            "\n",
            "ä/ö",
            ".hidden",
            "a b\r\nX-Evil: 1",
        ] {
            let path = rendered::<Path>("/logs/{host.name}/x-{host.name}.jsonl", hostile);
            let names: Vec<_> = path.split('/').collect();
            assert_eq!(names.len(), 4, "{path:?}");
            assert!(names.iter().all(|n| !matches!(*n, "." | "..") && n.chars().all(plain)), "{path:?}");
            assert!(!names[2].is_empty(), "{path:?}");
            let topic = rendered::<Topic>("{host.name}", hostile);
            assert!(!topic.is_empty() && topic.chars().all(plain) && !matches!(&*topic, "." | ".."), "{topic:?}");
            let header = rendered::<Header>("h={host.name}", hostile);
            assert!(header.chars().all(|c| (' '..='~').contains(&c)), "{header:?}");
        }
        assert_eq!(rendered::<Topic>(&"{host.name}".repeat(3), &"x".repeat(5000)).len(), 249);
        assert!(rendered::<Path>("/{host.name}", &"x".repeat(5000)).len() < 255);
    }

    #[test]
    fn what_is_no_template_says_why_and_what_is_allowed() {
        let topic = |text| Template::<Topic>::parse(text).expect_err(text).to_string();
        let path = |text| Template::<Path>::parse(text).expect_err(text).to_string();
        assert!(
            topic("{process.user.name}").contains("{process.user.name} can't be in it; allowed: {event}, {severity}")
        );
        for (text, why) in [
            ("a{", "no }"),
            ("a}", "no {"),
            ("", "empty"),
            ("a b", "' '"),
            ("ä", "'ä'"),
            ("{}", "{}"),
            ("..", "elsewhere"),
        ] {
            assert!(topic(text).contains(why), "{}", topic(text));
        }
        assert!(topic(&"x".repeat(250)).contains("too long"));
        assert!(path("/var/../{host.name}").contains("`..`") && path("/a\0").contains("can't be in it"));
        Template::<Path>::parse("/var/{host.name}/a..b/...").unwrap_or_else(|e| panic!("{e}"));
        assert!(Template::<Header>::parse("a\nb").is_err());
    }

    #[test]
    fn a_template_is_shown_as_it_is_written() {
        for text in ["kernel-{host.name}", "{event}{severity}", "x"] {
            assert_eq!(Template::<Topic>::parse(text).unwrap_or_else(|e| panic!("{e}")).to_string(), text);
        }
        let braces = Template::<Header>::parse("{{{event}}}").unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(braces.to_string(), "{{{event}}}");
        assert!(Template::<Topic>::parse("a").is_ok_and(|t| t.is_constant() && t.is_of_resource()));
        assert!(Template::<Topic>::parse("{host.id}").is_ok_and(|t| !t.is_constant() && t.is_of_resource()));
        assert!(Template::<Topic>::parse("{outcome}").is_ok_and(|t| !t.is_of_resource()));
    }
}
