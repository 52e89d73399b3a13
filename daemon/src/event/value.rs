//! Values of attributes: what OpenTelemetry knows, borrowed from the event.

use std::fmt;

use super::Text;

/// Where attributes go.
pub type Attributes<'v> = &'v mut dyn FnMut(&'static str, Value<'_>);

/// Where the items of an array go.
pub type Items<'v> = &'v mut dyn FnMut(Value<'_>);

/// An attribute's value: what OpenTelemetry's AnyValue can hold of what we need. It borrows everything: an event has some fifty
/// attributes, and a tree of them would be built only to be thrown away.
#[derive(Clone, Copy)]
pub enum Value<'a> {
    /// A string.
    String(&'a str),
    /// A string that is made where it is needed.
    Format(fmt::Arguments<'a>),
    /// An integer.
    Int(i64),
    /// A truth.
    Bool(bool),
    /// Several: calls back with each.
    Array(&'a dyn Fn(Items<'_>)),
    /// Names and values: calls back with each.
    Map(&'a dyn Fn(Attributes<'_>)),
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => text.fmt(f),
            Self::Format(text) => text.to_string().fmt(f),
            Self::Int(int) => int.fmt(f),
            Self::Bool(truth) => truth.fmt(f),
            Self::Array(each) => {
                let mut list = f.debug_list();
                each(&mut |value| {
                    list.entry(&value);
                });
                list.finish()
            }
            Self::Map(each) => {
                let mut map = f.debug_map();
                each(&mut |name, value| {
                    map.entry(&name, &value);
                });
                map.finish()
            }
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(v: &'a str) -> Self {
        Self::String(v)
    }
}
impl<'a> From<&'a String> for Value<'a> {
    fn from(v: &'a String) -> Self {
        Self::String(v)
    }
}
impl<'a> From<&'a Text> for Value<'a> {
    fn from(v: &'a Text) -> Self {
        Self::String(v.as_str())
    }
}
impl<'a> From<fmt::Arguments<'a>> for Value<'a> {
    fn from(v: fmt::Arguments<'a>) -> Self {
        Self::Format(v)
    }
}
impl From<bool> for Value<'_> {
    fn from(v: bool) -> Self {
        Self::Bool(v)
    }
}
impl From<u32> for Value<'_> {
    fn from(v: u32) -> Self {
        Self::Int(v.into())
    }
}
impl From<i32> for Value<'_> {
    fn from(v: i32) -> Self {
        Self::Int(v.into())
    }
}
impl From<u64> for Value<'_> {
    /// OpenTelemetry has signed integers only; the bits of a mask stay as they are.
    fn from(v: u64) -> Self {
        Self::Int(v.cast_signed())
    }
}
