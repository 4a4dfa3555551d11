//! From JSON to entries, by the rules of Go's `encoding/json`.

use super::KernelEntry;
use crate::json::Value;

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

fn rename(value: &mut Value, known: &[&str]) {
    let Value::Object(members) = value else { return };
    for (name, _) in members.iter_mut() {
        if let Some(key) = known.iter().find(|key| folded(name) == **key) {
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

fn kernel(value: &Value, place: &str) -> Result<KernelEntry, String> {
    expect_object(value, &format!("`{place}`"))?;
    let text_of = |key: &str| text(value.get(key).unwrap_or(&Value::Null), &format!("{place}.{key}"));
    let args_place = format!("{place}.extra_make_args");
    Ok(KernelEntry {
        name: text_of("name")?,
        url: text_of("url")?,
        options: options(value, "opts", &format!("{place}.opts"))?,
        extra_make_args: list(value.get("extra_make_args"), &args_place, text)?,
    })
}

fn options(object: &Value, key: &str, place: &str) -> Result<Vec<Vec<String>>, String> {
    list(object.get(key), place, |option, place| list(Some(option), place, text))
}

fn list<T>(
    value: Option<&Value>,
    place: &str,
    item: impl Fn(&Value, &str) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            items.iter().enumerate().map(|(index, value)| item(value, &format!("{place}[{index}]"))).collect()
        }
        Some(other) => Err(format!("`{place}` is {} (expected an array)", other.kind())),
    }
}

fn text(value: &Value, place: &str) -> Result<String, String> {
    match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("`{place}` is {} (expected a string)", other.kind())),
    }
}

fn expect_object(value: &Value, what: &str) -> Result<(), String> {
    match value {
        Value::Null | Value::Object(_) => Ok(()),
        other => Err(format!("{what} is {} (expected an object)", other.kind())),
    }
}
