//! Values of `lvh.toml` as serde reads them: what is wrong is told as the rest of an error's sentence, such as
//! ``is `0` (expected a whole number from 1 to 255)``.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use toml::Value;

use crate::config::value::{Expected, parse_duration};
use crate::store::Key;

/// A string that means a `T`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Word<T>(pub(in crate::config) T);

impl<'de, T: FromStr<Err = Expected>> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, |value| {
            let text = text_of(value)?;
            T::from_str(&text).map(Self).map_err(|Expected(expected)| wrong(text, &expected))
        })
    }
}

/// Any string.
#[derive(Debug, Clone)]
pub(in crate::config) struct Text(pub(in crate::config) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, |value| text_of(value).map(Self))
    }
}

fn text_of(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong_type(&other, "a string")),
    }
}

/// `true` or `false`.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Switch(pub(in crate::config) bool);

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, |value| match value {
            Value::Boolean(on) => Ok(Self(on)),
            other => Err(wrong_type(&other, "`true` or `false`")),
        })
    }
}

/// How many virtual CPUs.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Cpus(pub(in crate::config) u32);

impl<'de> Deserialize<'de> for Cpus {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a whole number from 1 to 255";
        read(deserializer, |value| match value {
            Value::Integer(number @ 1..=255) => Ok(Self(number as u32)),
            Value::Integer(number) => Err(wrong(number, EXPECTED)),
            other => Err(wrong_type(&other, EXPECTED)),
        })
    }
}

/// A time to wait.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Time(pub(in crate::config) Duration);

impl FromStr for Time {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        parse_duration(text).map(Self)
    }
}

/// A module's name as `modprobe` takes it: never a path.
#[derive(Debug, Clone)]
pub(in crate::config) struct ModuleName(pub(in crate::config) String);

impl FromStr for ModuleName {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let is_name = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        is_name.then(|| Self(text.to_owned())).ok_or_else(|| Expected("a module's name such as `tun`".to_owned()))
    }
}

/// The SHA-256 of a file, in hex.
#[derive(Debug, Clone)]
pub(in crate::config) struct Sha256(pub(in crate::config) Key);

impl FromStr for Sha256 {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        Key::parse(&text.to_ascii_lowercase())
            .map(Self)
            .ok_or_else(|| Expected("64 hex digits, as `sha256sum` prints".to_owned()))
    }
}

/// An array of strings that each are a `T`.
#[derive(Debug, Clone)]
pub(in crate::config) struct List<T>(pub(in crate::config) Vec<T>);

impl<T> List<T> {
    /// The items, each as `value` has it; none where there is no list.
    pub(in crate::config) fn values<V>(list: Option<Self>, value: impl Fn(T) -> V) -> Vec<V> {
        list.map_or_else(Vec::new, |list| list.0.into_iter().map(value).collect())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let none = |value: Value| Err(wrong_type(&value, "an array of strings"));
        deserializer.deserialize_any(Reader { value: none, items: |items| Ok(Self(items)), item: PhantomData::<T> })
    }
}

/// Reads one value with `convert`, which says what is wrong with it.
fn read<'de, D: Deserializer<'de>, V>(
    deserializer: D,
    convert: impl Fn(Value) -> Result<V, String>,
) -> Result<V, D::Error> {
    let items = |items| convert(Value::Array(items));
    deserializer.deserialize_any(Reader { value: &convert, items, item: PhantomData::<Value> })
}

/// Takes what there is. It fails within the visit, so that the format knows where; items of an array are visits of their
/// own.
struct Reader<F, I, T> {
    value: F,
    items: I,
    item: PhantomData<T>,
}

impl<'de, V, F, I, T> Visitor<'de> for Reader<F, I, T>
where
    F: FnOnce(Value) -> Result<V, String>,
    I: FnOnce(Vec<T>) -> Result<V, String>,
    T: Deserialize<'de>,
{
    type Value = V;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<V, E> {
        (self.value)(text.into()).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<V, E> {
        (self.value)(number.into()).map_err(E::custom)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<V, E> {
        (self.value)(number.into()).map_err(E::custom)
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<V, E> {
        (self.value)(on.into()).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<V, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        (self.items)(list).map_err(A::Error::custom)
    }

    /// A table, or a date, which is one with a name that TOML does not have.
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V, A::Error> {
        let value = Value::deserialize(MapAccessDeserializer::new(map))?;
        (self.value)(value).map_err(A::Error::custom)
    }
}

fn wrong(found: impl fmt::Display, expected: &str) -> String {
    format!("is `{found}` (expected {expected})")
}

fn wrong_type(found: &Value, expected: &str) -> String {
    format!("is {} (expected {expected})", describe!(found, Value))
}
