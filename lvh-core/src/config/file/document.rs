//! A TOML text under reading: every error names the file and the line.
//!
//! What a table may hold is a struct that derives [`Deserialize`](serde::Deserialize); its fields are the known keys.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::fields::fields_of;
use crate::config::value::alternatives;
use crate::nearest::edit_distance;
use crate::{Error, ErrorKind, Result};

/// The text of one file and its path.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Document<'d> {
    path: &'d Path,
    text: &'d str,
}

impl<'d> Document<'d> {
    pub(in crate::config) fn new(path: &'d Path, text: &'d str) -> Self {
        Self { path, text }
    }

    /// Parses the whole text.
    pub(in crate::config) fn parse(&self) -> Result<Table<'d>> {
        let parsed = DeTable::parse(self.text).map_err(|error| {
            let line = self.line(error.span().unwrap_or(0..0));
            self.error(line, error.message())
        })?;
        Ok(Table { document: *self, name: String::new(), line: 1, entries: parsed.into_inner() })
    }

    /// The line, counted from 1, on which `span` starts.
    fn line(&self, span: Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// The file and the line where `span` starts.
    pub(in crate::config) fn place<T>(&self, spanned: &Spanned<T>) -> String {
        format!("{}:{}", self.path.display(), self.line(spanned.span()))
    }

    /// An error on `line`.
    pub(in crate::config) fn error(&self, line: usize, message: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Usage, format!("{}:{line}: {message}", self.path.display()))
    }

    /// An error on the line where `span` starts.
    pub(in crate::config) fn error_at<T>(&self, spanned: &Spanned<T>, message: impl fmt::Display) -> Error {
        self.error(self.line(spanned.span()), message)
    }
}

/// One table of the document, with the name that people know it by.
#[derive(Debug, Clone)]
pub(in crate::config) struct Table<'d> {
    document: Document<'d>,
    /// Such as `[vm]`; empty for the top of the file.
    name: String,
    line: usize,
    entries: DeTable<'d>,
}

impl<'d> Table<'d> {
    /// Such as `[vm]`.
    pub(in crate::config) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::config) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Refuses every key that is not one of `known`.
    pub(in crate::config) fn only(&self, known: &[&str]) -> Result<()> {
        match self.entries.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
            None => Ok(()),
            Some(key) => {
                let expected = alternatives(&nearest_first(key.get_ref(), known));
                let message = format!("unknown key `{}`{} (expected {expected})", key.get_ref(), self.place());
                Err(self.document.error_at(key, message))
            }
        }
    }

    /// Reads the table as a `T`, whose fields are all that it may hold.
    pub(in crate::config) fn read<T: DeserializeOwned>(&self) -> Result<T> {
        self.only(fields_of::<T>())?;
        T::deserialize(Deserializer::from(Spanned::new(0..0, self.entries.clone()))).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let within =
                |value: &Spanned<DeValue<'_>>| value.span().start <= span.start && span.end <= value.span().end;
            let key = self.entries.iter().find(|(_, value)| within(value)).map(|(key, _)| key.get_ref().as_ref());
            let label = key.map(|key| format!("`{key}`{} ", self.place())).unwrap_or_default();
            self.document.error(self.document.line(span), format!("{label}{}", error.message()))
        })
    }

    /// ` in [vm]`, or nothing at the top of the file.
    fn place(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!(" in {}", self.name) }
    }

    /// The table under `key`, known to people as `[key]`.
    pub(in crate::config) fn table(&self, key: &str) -> Result<Option<Self>> {
        let Some((found, value)) = self.entries.get_key_value(key) else { return Ok(None) };
        self.child(found, value, format!("[{key}]")).map(Some)
    }

    /// The tables under this one, each with its key.
    pub(in crate::config) fn tables(&self) -> Result<Vec<(String, Self)>> {
        let parent = self.name.trim_matches(['[', ']']);
        let child = |(key, value): (&Spanned<_>, &Spanned<_>)| {
            let text: &str = AsRef::<str>::as_ref(key.get_ref());
            Ok((text.to_owned(), self.child(key, value, format!("[{parent}.{}]", bare_or_quoted(text)))?))
        };
        self.entries.iter().map(child).collect()
    }

    fn child(&self, key: &Spanned<impl AsRef<str>>, value: &Spanned<DeValue<'d>>, name: String) -> Result<Self> {
        let line = self.document.line(key.span());
        match value.get_ref() {
            DeValue::Table(entries) => Ok(Self { document: self.document, name, line, entries: entries.clone() }),
            other => {
                let (key, place) = (key.get_ref().as_ref(), self.place());
                let found = describe!(other, DeValue);
                Err(self.document.error_at(value, format!("`{key}`{place} is {found} (expected a table: {name})")))
            }
        }
    }

    /// An error on the line of the table's own name.
    pub(in crate::config) fn error(&self, message: impl fmt::Display) -> Error {
        self.document.error(self.line, message)
    }

    /// An error on the line where `key` stands.
    pub(in crate::config) fn error_at_key(&self, key: &str, message: impl fmt::Display) -> Error {
        self.entries
            .get_key_value(key)
            .map_or_else(|| self.error(&message), |(key, _)| self.document.error_at(key, &message))
    }

    pub(in crate::config) fn document(&self) -> Document<'d> {
        self.document
    }
}

/// A key as TOML wants it written.
pub(in crate::config) fn bare_or_quoted(key: &str) -> String {
    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if bare { key.to_owned() } else { format!("\"{key}\"") }
}

/// `known` with the names most like `key` in front.
fn nearest_first<'k>(key: &str, known: &[&'k str]) -> Vec<&'k str> {
    // Beyond a slip of the keyboard the distance says nothing: keep the order of the documentation.
    let slip = 2.min(key.len() / 2);
    let mut names = known.to_vec();
    names.sort_by_key(|name| edit_distance(key, name).min(slip + 1));
    names
}
