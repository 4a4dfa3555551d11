//! A TOML text under reading: every error names the file and the line.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::value::{Expected, alternatives};
use crate::{Error, ErrorKind, Result};

/// The text of one file and its path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document<'d> {
    path: &'d Path,
    text: &'d str,
}

impl<'d> Document<'d> {
    pub(super) fn new(path: &'d Path, text: &'d str) -> Self {
        Self { path, text }
    }

    /// Parses the whole text.
    pub(super) fn parse(&self) -> Result<DeTable<'d>> {
        DeTable::parse(self.text).map(Spanned::into_inner).map_err(|error| {
            let line = self.line(error.span().unwrap_or(0..0));
            self.error(line, error.message())
        })
    }

    /// The line, counted from 1, on which `span` starts.
    pub(super) fn line(&self, span: Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// An error on `line`.
    pub(super) fn error(&self, line: usize, message: impl fmt::Display) -> Error {
        Error::new(ErrorKind::Usage, format!("{}:{line}: {message}", self.path.display()))
    }
}

/// One table of the document, with the name that people know it by.
#[derive(Debug, Clone)]
pub(super) struct Table<'d> {
    document: Document<'d>,
    /// Such as `[vm]`; empty for the top of the file.
    name: String,
    entries: &'d DeTable<'d>,
}

impl<'d> Table<'d> {
    pub(super) fn root(document: Document<'d>, entries: &'d DeTable<'d>) -> Self {
        Self { document, name: String::new(), entries }
    }

    /// Such as `[vm]`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Refuses every key that is not one of `known`.
    pub(super) fn only(&self, known: &[&str]) -> Result<()> {
        match self.entries.keys().find(|key| !known.contains(&key.get_ref().as_ref())) {
            None => Ok(()),
            Some(key) => Err(self.unknown(key.get_ref(), key.span(), known)),
        }
    }

    fn unknown(&self, key: &str, span: Range<usize>, known: &[&str]) -> Error {
        let expected = alternatives(&nearest_first(key, known));
        let place = self.place();
        let message = format!("unknown key `{key}`{place} (expected {expected})");
        self.document.error(self.document.line(span), message)
    }

    /// ` in [vm]`, or nothing at the top of the file.
    fn place(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!(" in {}", self.name) }
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub(super) fn get(&self, key: &str) -> Option<Value<'d>> {
        let value = self.entries.get(key)?;
        Some(Value { document: self.document, label: format!("`{key}`{}", self.place()), value })
    }

    /// The string under `key`.
    pub(super) fn text(&self, key: &str) -> Result<Option<&'d str>> {
        self.get(key).map(|value| value.text()).transpose()
    }

    /// The strings of the array under `key`, each parsed.
    pub(super) fn list<T: FromStr<Err = Expected>>(&self, key: &str) -> Result<Vec<T>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        value.items()?.iter().map(|item| item.parse(T::from_str)).collect()
    }

    /// The table under `key`, known to people as `[key]`.
    pub(super) fn table(&self, key: &str) -> Result<Option<Self>> {
        self.get(key).map(|value| value.table(format!("[{key}]"))).transpose()
    }

    /// The tables under this one, each with its key and the line of that key.
    pub(super) fn tables(&self) -> Result<Vec<(&'d str, usize, Self)>> {
        let parent = self.name.trim_matches(['[', ']']);
        let child = |key: &'d Spanned<_>| -> Result<_> {
            let key_text: &'d str = AsRef::<str>::as_ref(key.get_ref());
            let value = self.get(key_text).expect("the key was listed by the same table");
            let table = value.table(format!("[{parent}.{}]", bare_or_quoted(key_text)))?;
            Ok((key_text, self.document.line(key.span()), table))
        };
        self.entries.keys().map(child).collect()
    }

    /// An error on the line where `key` stands.
    pub(super) fn error_at(&self, key: &str, message: impl fmt::Display) -> Error {
        let span = self.entries.get_key_value(key).map_or(0..0, |(key, _)| key.span());
        self.document.error(self.document.line(span), message)
    }

    pub(super) fn document(&self) -> Document<'d> {
        self.document
    }
}

/// One value and the words that name it, such as `` `cpus` in [vm] ``.
#[derive(Debug)]
pub(super) struct Value<'d> {
    document: Document<'d>,
    label: String,
    value: &'d Spanned<DeValue<'d>>,
}

impl<'d> Value<'d> {
    pub(super) fn line(&self) -> usize {
        self.document.line(self.value.span())
    }

    pub(super) fn text(&self) -> Result<&'d str> {
        self.value.get_ref().as_str().ok_or_else(|| self.wrong_type("a string"))
    }

    pub(super) fn boolean(&self) -> Result<bool> {
        self.value.get_ref().as_bool().ok_or_else(|| self.wrong_type("`true` or `false`"))
    }

    pub(super) fn integer(&self, allowed: std::ops::RangeInclusive<u32>) -> Result<u32> {
        let expected = format!("a whole number from {} to {}", allowed.start(), allowed.end());
        let Some(integer) = self.value.get_ref().as_integer() else { return Err(self.wrong_type(&expected)) };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        number.filter(|number| allowed.contains(number)).ok_or_else(|| self.wrong(integer, &expected))
    }

    /// The string, parsed by `parse`.
    pub(super) fn parse<T>(&self, parse: impl Fn(&str) -> std::result::Result<T, Expected>) -> Result<T> {
        let text = self.text()?;
        parse(text).map_err(|Expected(expected)| self.wrong(text, &expected))
    }

    pub(super) fn items(&self) -> Result<Vec<Self>> {
        let array = self.value.get_ref().as_array().ok_or_else(|| self.wrong_type("an array of strings"))?;
        let item = |value| Self { document: self.document, label: self.label.clone(), value };
        Ok(array.iter().map(item).collect())
    }

    fn table(&self, name: String) -> Result<Table<'d>> {
        let entries = self.value.get_ref().as_table().ok_or_else(|| self.wrong_type(&format!("a table: {name}")))?;
        Ok(Table { document: self.document, name, entries })
    }

    fn wrong(&self, found: impl fmt::Display, expected: &str) -> Error {
        self.document.error(self.line(), format!("{} is `{found}` (expected {expected})", self.label))
    }

    fn wrong_type(&self, expected: &str) -> Error {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.document.error(self.line(), format!("{} is {found} (expected {expected})", self.label))
    }
}

/// A key as TOML wants it written.
pub(super) fn bare_or_quoted(key: &str) -> String {
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

/// Levenshtein's distance of two short names, in bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
