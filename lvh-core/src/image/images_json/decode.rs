use super::ImageEntry;
use crate::image::action;
use crate::json::Value;
use crate::json::go::{expect_object, list, rename, text, text_of, wrong_kind};

const IMAGE: &[&str] = &["name", "parent", "image_size", "bootable", "packages", "actions", "variant"];

/// Gives the keys that we know their proper case, and drops all but the last of each.
pub(super) fn tidy(document: &mut Value) {
    let Value::Array(images) = document else { return };
    for image in images {
        rename(image, IMAGE);
        if let Some(Value::Array(actions)) = image.get_mut("actions") {
            actions.iter_mut().for_each(action::tidy);
        }
    }
}

/// Reads a tidy document; the error is a sentence about what is wrong.
pub(super) fn decode(document: &Value) -> Result<Vec<ImageEntry>, String> {
    match document {
        Value::Null | Value::Array(_) => list(Some(document), "images", image),
        other => Err(wrong_kind("the file", other, "an array")),
    }
}

fn image(value: &Value, place: &str) -> Result<ImageEntry, String> {
    expect_object(value, &format!("`{place}`"))?;
    let key = |key: &str| format!("{place}.{key}");
    Ok(ImageEntry {
        name: text_of(value, "name", place)?,
        parent: text_of(value, "parent", place)?,
        image_size: text_of(value, "image_size", place)?,
        bootable: boolean(value.get("bootable"), &key("bootable"))?,
        packages: list(value.get("packages"), &key("packages"), text)?,
        actions: list(value.get("actions"), &key("actions"), action::from_json)?,
        variant: text_of(value, "variant", place)?,
    })
}

fn boolean(value: Option<&Value>, place: &str) -> Result<Option<bool>, String> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(other) => Err(wrong_kind(&format!("`{place}`"), other, "a boolean")),
    }
}
