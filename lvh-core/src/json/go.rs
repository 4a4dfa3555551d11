//! What Go's `encoding/json` makes of a document, for the files that it wrote: keys in any case, `null` for an empty value, the
//! last of two equal keys.

use std::fs;
use std::io;
use std::path::Path;

use super::Value;
use crate::{Error, ErrorKind};

/// The text of the file at `path`; none where there is none.
pub(crate) fn find(path: &Path) -> crate::Result<Option<String>> {
    match fs::read(path) {
        // Go takes bytes that are no UTF-8 as well.
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::path("read", path, error)),
    }
}

/// Reads the text of the file at `path`, in which `tidy` gives the known keys their proper case, and `decode` finds what it
/// says; its error is a sentence about the value that is of the wrong kind.
pub(crate) fn read<T>(
    path: &Path,
    text: &str,
    tidy: impl FnOnce(&mut Value),
    decode: impl FnOnce(&Value) -> Result<T, String>,
) -> crate::Result<(Value, T)> {
    let wrong = |place: &str, why: &dyn std::fmt::Display| {
        Error::new(ErrorKind::Usage, format!("{}{place}: {why}", path.display()))
    };
    let mut document =
        Value::parse(text).map_err(|error| wrong(&format!(":{}:{}", error.line, error.column), &error))?;
    tidy(&mut document);
    let decoded = decode(&document).map_err(|why| wrong("", &why))?;
    Ok((document, decoded))
}

/// Gives the keys of an object that are `known` their proper case, and drops all but the last of each.
pub(crate) fn rename(value: &mut Value, known: &[&str]) {
    let Value::Object(members) = value else { return };
    for (name, _) in members.iter_mut() {
        if let Some(key) = known.iter().find(|key| folded(name) == key.to_ascii_lowercase()) {
            (*key).clone_into(name);
        }
    }
    for key in known {
        let last = members.iter().rposition(|(name, _)| name == key);
        let mut index = 0;
        members.retain(|(name, _)| {
            index += 1;
            name != key || Some(index - 1) == last
        });
    }
}

/// Lower case, with the two letters beyond ASCII that Go takes for an `s` and a `k`.
fn folded(name: &str) -> String {
    name.replace('\u{17f}', "s").replace('\u{212a}', "k").to_ascii_lowercase()
}

/// The items of an array, each read by `item`, which is told its place. No array, or `null`, is an empty one.
pub(crate) fn list<T>(
    value: Option<&Value>,
    place: &str,
    item: impl Fn(&Value, &str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            items.iter().enumerate().map(|(index, value)| item(value, &format!("{place}[{index}]"))).collect()
        }
        Some(other) => Err(wrong_kind(&format!("`{place}`"), other, "an array")),
    }
}

/// A string; `null` is an empty one.
pub(crate) fn text(value: &Value, place: &str) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        other => Err(wrong_kind(&format!("`{place}`"), other, "a string")),
    }
}

/// The string `key` of the object at `place`.
pub(crate) fn text_of(object: &Value, key: &str, place: &str) -> Result<String, String> {
    text(object.get(key).unwrap_or(&Value::Null), &format!("{place}.{key}"))
}

/// Refuses what is no object, and not `null`.
pub(crate) fn expect_object(value: &Value, what: &str) -> Result<(), String> {
    match value {
        Value::Null | Value::Object(_) => Ok(()),
        other => Err(wrong_kind(what, other, "an object")),
    }
}

/// The sentence about a value of the wrong kind.
pub(crate) fn wrong_kind(what: &str, found: &Value, expected: &str) -> String {
    format!("{what} is {} (expected {expected})", found.kind())
}
