//! From JSON to entries, by the rules of Go's `encoding/json`.

use super::KernelEntry;
use crate::json::Value;
use crate::json::go::{expect_object, list, rename, text, text_of};

const TOP: &[&str] = &["kernels", "common_opts"];
const KERNEL: &[&str] = &["name", "url", "opts", "extra_make_args"];

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) kernels: Vec<KernelEntry>,
    pub(super) common_options: Vec<Vec<String>>,
}

/// Gives the keys that we know their proper case, drops all but the last of each, and sees that there is a list of kernels.
pub(super) fn tidy(document: &mut Value) {
    if *document == Value::Null {
        *document = Value::object([]);
    }
    rename(document, TOP);
    if let Value::Object(members) = document
        && member_is_empty(members, "kernels")
    {
        members.retain(|(name, _)| name != "kernels");
        members.insert(0, ("kernels".to_owned(), Value::Array(Vec::new())));
    }
    if let Some(Value::Array(kernels)) = document.get_mut("kernels") {
        kernels.iter_mut().for_each(|kernel| rename(kernel, KERNEL));
    }
}

/// Reads a tidy document; the error is a sentence about the value that is of the wrong kind.
pub(super) fn decode(document: &Value) -> Result<Decoded, String> {
    expect_object(document, "the file")?;
    Ok(Decoded {
        kernels: list(document.get("kernels"), "kernels", kernel)?,
        common_options: options(document, "common_opts", "common_opts")?,
    })
}

fn member_is_empty(members: &[(String, Value)], key: &str) -> bool {
    members.iter().all(|(name, value)| name != key || *value == Value::Null)
}

fn kernel(value: &Value, place: &str) -> Result<KernelEntry, String> {
    expect_object(value, &format!("`{place}`"))?;
    let args_place = format!("{place}.extra_make_args");
    Ok(KernelEntry {
        name: text_of(value, "name", place)?,
        url: text_of(value, "url", place)?,
        options: options(value, "opts", &format!("{place}.opts"))?,
        extra_make_args: list(value.get("extra_make_args"), &args_place, text)?,
    })
}

fn options(object: &Value, key: &str, place: &str) -> Result<Vec<Vec<String>>, String> {
    list(object.get(key), place, |option, place| list(Some(option), place, text))
}
