//! Attributes and their values, read in place.

use super::{
    Malformed, number,
    wire::{self, Field, Fields},
};

/// An attribute's value: AnyValue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Empty,
    /// A string.
    String(&'a str),
    /// A truth.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A number.
    Double(f64),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Several.
    Array(List<'a>),
    /// Names and values.
    Map(Attributes<'a>),
}

impl<'a> Value<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        use number::any_value as any;
        if let Some((bytes, [])) = wire::short(bytes, any::STRING) {
            return wire::text(bytes).map(Self::String);
        }
        let mut value = Self::Empty;
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next()? {
            value = match field {
                (any::STRING, Field::Bytes(bytes)) => Self::String(wire::text(bytes)?),
                (any::BOOL, Field::Varint(truth)) => Self::Bool(truth != 0),
                (any::INT, Field::Varint(int)) => Self::Int(int.cast_signed()),
                (any::DOUBLE, Field::Fixed64(bits)) => Self::Double(f64::from_bits(bits)),
                (any::ARRAY, Field::Bytes(bytes)) => Self::Array(List(bytes)),
                (any::MAP, Field::Bytes(bytes)) => Self::Map(Attributes::new(bytes, number::VALUES)),
                (any::BYTES, Field::Bytes(bytes)) => Self::Bytes(bytes),
                _ => value,
            };
        }
        Ok(value)
    }
}

/// Several values, in their order. What is malformed in it ends it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct List<'a>(&'a [u8]);

impl<'a> IntoIterator for List<'a> {
    type Item = Value<'a>;
    type IntoIter = Values<'a>;
    fn into_iter(self) -> Values<'a> {
        Values(Fields::new(self.0))
    }
}

/// Iterates over a [`List`].
#[derive(Debug, Clone)]
pub struct Values<'a>(Fields<'a>);

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;
    fn next(&mut self) -> Option<Value<'a>> {
        loop {
            if let (number::VALUES, Field::Bytes(value)) = self.0.next().ok()?? {
                return Value::parse(value).ok();
            }
        }
    }
}

/// Names and values, in their order. What is malformed in it ends it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attributes<'a> {
    rest: &'a [u8],
    number: u32,
}

impl<'a> Attributes<'a> {
    /// The key-value pairs that `message` has in its fields of that number.
    pub(super) const fn new(message: &'a [u8], number: u32) -> Self {
        Self { rest: message, number }
    }

    /// The next ones as they are encoded, and all that follows them in the message.
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The value of that name. The others are not parsed.
    #[must_use]
    pub fn get(mut self, name: &str) -> Option<Value<'a>> {
        while let Some(pair) = self.next_encoded() {
            if pair.leading_name() == Some(name.as_bytes()) {
                return pair.parse().ok().map(|(_, value)| value);
            }
        }
        None
    }

    /// The next one as it is encoded, for those who look at few of them.
    #[inline]
    pub(crate) fn next_encoded(&mut self) -> Option<KeyValue<'a>> {
        loop {
            if let Some((pair, rest)) = wire::short(self.rest, self.number) {
                self.rest = rest;
                return Some(KeyValue(pair));
            }
            let mut fields = Fields::new(self.rest);
            let (number, field) = fields.next().ok()??;
            self.rest = fields.rest();
            if let Field::Bytes(pair) = field
                && number == self.number
            {
                return Some(KeyValue(pair));
            }
        }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (&'a str, Value<'a>);
    fn next(&mut self) -> Option<Self::Item> {
        self.next_encoded()?.parse().ok()
    }
}

/// One attribute, as it is encoded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyValue<'a>(&'a [u8]);

impl<'a> KeyValue<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Its name, which comes first: fields are written in the order of their numbers.
    #[inline]
    pub(crate) fn leading_name(self) -> Option<&'a [u8]> {
        match Fields::new(self.0).next() {
            Ok(Some((number::KEY, Field::Bytes(name)))) => Some(name),
            _ => None,
        }
    }

    /// Name and value.
    pub(crate) fn parse(self) -> Result<(&'a str, Value<'a>), Malformed> {
        if let Some((name, rest)) = wire::short(self.0, number::KEY)
            && let Some((value, [])) = wire::short(rest, number::VALUE)
        {
            return Ok((wire::text(name)?, Value::parse(value)?));
        }
        let (mut key, mut value): (&[u8], _) = (&[], Value::Empty);
        let mut fields = Fields::new(self.0);
        while let Some(field) = fields.next()? {
            match field {
                (number::KEY, Field::Bytes(bytes)) => key = bytes,
                (number::VALUE, Field::Bytes(bytes)) => value = Value::parse(bytes)?,
                _ => {}
            }
        }
        Ok((wire::text(key)?, value))
    }
}
