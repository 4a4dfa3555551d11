//! What stands beside an image, and tells what it was made of.

use std::fs;
use std::io;
use std::path::Path;

use crate::json::Value;
use crate::store::Key;
use crate::store::whole_file::replace;
use crate::{Error, Result};

/// What an image was made of. An image without a record is one of the Go tool, or from elsewhere: it counts as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The digest of all that was asked for.
    pub(crate) inputs: Key,
    /// The digest of that and of the versions of packages that came: another one for images that are made from it.
    pub(crate) content: Key,
    /// The packages, each with its version.
    pub(crate) packages: Vec<String>,
}

impl Record {
    pub(crate) fn new(inputs: Key, packages: Vec<String>) -> Self {
        let content =
            Key::of(["image-content", inputs.as_str()].into_iter().chain(packages.iter().map(String::as_str)));
        Self { inputs, content, packages }
    }

    /// The record of an image that is being replaced: it fits nothing.
    pub(crate) fn unfinished() -> Self {
        Self::new(Key::of(["image-unfinished"]), Vec::new())
    }

    /// Reads the record at `path`; none where there is none, or one that says nothing.
    pub(crate) fn load(path: &Path) -> Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::path("read", path, error)),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let value = Value::parse(text).ok()?;
        let key = |name| Key::parse(value.str_at(&[name])?);
        let Some(Value::Array(packages)) = value.get("packages") else { return None };
        let packages = packages.iter().filter_map(|package| package.str_at(&[]).map(str::to_owned)).collect();
        Some(Self { inputs: key("inputs")?, content: key("content")?, packages })
    }

    /// Writes it to `path`, as a whole or not at all.
    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let replaced = replace(path, &path.with_extension("new"), &self.to_json());
        replaced.map_err(|error| Error::path("write", path, error))
    }

    fn to_json(&self) -> String {
        let members = [
            ("inputs", Value::text(self.inputs.as_str())),
            ("content", Value::text(self.content.as_str())),
            ("packages", Value::texts(&self.packages)),
        ];
        Value::object(members).indented()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".a.made");
        assert_eq!(Record::load(&path).unwrap(), None);
        let record = Record::new(Key::of(["x"]), vec!["bash 5.2".to_owned(), "dash 0.5".to_owned()]);
        record.save(&path).unwrap();
        assert_eq!(Record::load(&path).unwrap(), Some(record.clone()));
        assert_ne!(record.content, Record::new(Key::of(["x"]), vec!["bash 5.3".to_owned()]).content);
        for wrong in ["", "{}", "[]", r#"{"inputs": "x", "content": "y", "packages": []}"#] {
            assert_eq!(Record::parse(wrong), None, "{wrong}");
        }
    }
}
