//! The `[kernels.NAME]` and `[images.NAME]` tables.

use std::path::Path;

use super::document::Table;
use crate::kernel::{DebSource, KernelSource};
use crate::{Error, ErrorKind, Result};

const DEB_KEYS: &[&str] = &["deb", "suite", "mirror", "keyring", "version", "allow-expired"];
const PATH_KEYS: &[&str] = &["path"];
const OCI_KEYS: &[&str] = &["oci"];
const GIT_KEYS: &[&str] = &["git", "branch", "groups"];
const IMAGE_KEYS: &[&str] = &["packages", "actions", "parent", "image-size", "oci"];

/// One `[kernels.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KernelEntry {
    /// It can be resolved.
    Source(KernelSource),
    /// A way that this version recognises but cannot go, named by its key.
    Unsupported(&'static str),
}

impl KernelEntry {
    pub(super) fn read(name: &str, line: usize, table: &Table<'_>, base_dir: &Path) -> Result<Self> {
        check_name("kernel", name, line, table)?;
        match source_key(line, table)? {
            "deb" => deb(table, line, base_dir).map(|deb| Self::Source(KernelSource::Deb(deb))),
            "path" => path(table, base_dir).map(Self::Source),
            "oci" => unsupported(table, "oci", OCI_KEYS),
            _ => unsupported(table, "git", GIT_KEYS),
        }
    }

    /// Where the kernel called `name` comes from.
    pub(super) fn resolve(&self, name: &str) -> Result<KernelSource> {
        match self {
            Self::Source(source) => Ok(source.clone()),
            Self::Unsupported(key) => Err(unsupported_kernel(name, key)),
        }
    }
}

/// The error for a kernel that comes by a way which lvh cannot go yet.
pub(super) fn unsupported_kernel(name: &str, key: &str) -> Error {
    let message = format!("kernel `{name}` comes by `{key}`: not supported yet in this version");
    Error::new(ErrorKind::Usage, message).with_hint("use `deb` or `path`")
}

/// Names become parts of test names, which hold no spaces, brackets, slashes, colons or plus signs.
fn check_name(what: &str, name: &str, line: usize, table: &Table<'_>) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match !name.is_empty() && name.chars().all(allowed) {
        true => Ok(()),
        false => {
            let message = format!("the {what} name `{name}` may hold letters, digits, `.`, `_` and `-` only");
            Err(table.document().error(line, message))
        }
    }
}

/// The one key that says where the kernel comes from.
fn source_key(line: usize, table: &Table<'_>) -> Result<&'static str> {
    let present: Vec<&'static str> = ["deb", "path", "oci", "git"].into_iter().filter(|key| table.has(key)).collect();
    match present.as_slice() {
        [one] => Ok(one),
        [_, second, ..] => Err(table.error_at(
            second,
            format!("{} has both `{}` and `{second}` (expected one source)", table.name(), present[0]),
        )),
        [] => Err(no_source(line, table)),
    }
}

fn no_source(line: usize, table: &Table<'_>) -> Error {
    let all: Vec<&str> = [DEB_KEYS, PATH_KEYS, OCI_KEYS, GIT_KEYS].concat();
    match table.only(&all) {
        // TOML reads [kernels.6.12] as a table `12` in a table `6`.
        Err(error) if table.tables().is_ok() => {
            error.with_hint("a name with a dot needs quotes, as in [kernels.\"6.12\"]")
        }
        Err(error) => error,
        Ok(()) => table.document().error(line, format!("{} has no source (expected `deb` or `path`)", table.name())),
    }
}

fn deb(table: &Table<'_>, line: usize, base_dir: &Path) -> Result<DebSource> {
    table.only(DEB_KEYS)?;
    let text = |key| table.text(key).map(|text| text.map(str::to_owned));
    let source = DebSource {
        package: text("deb")?.expect("the table was chosen by this key"),
        suite: text("suite")?.ok_or_else(|| no_suite(table, line))?,
        mirror: text("mirror")?,
        keyring: table.text("keyring")?.map(|path| base_dir.join(path)),
        version: text("version")?,
        allow_expired: table.get("allow-expired").map_or(Ok(false), |value| value.boolean())?,
    };
    match faulty_field(&source) {
        None => Ok(source),
        Some((key, value, expected)) => {
            let message = format!("`{key}` in {} is `{value}` (expected {expected})", table.name());
            Err(table.error_at(key, message))
        }
    }
}

fn no_suite(table: &Table<'_>, line: usize) -> Error {
    let message = format!("{} has `deb` without `suite` (such as `suite = \"trixie\"`)", table.name());
    table.document().error(line, message)
}

/// The first field of `source` that cannot be what it should: its key, its value and what was expected.
///
/// The alphabets are those of Debian's policy manual, §5.6.1 and §5.6.12; they keep a name inside its URL and directory.
pub(super) fn faulty_field(source: &DebSource) -> Option<(&'static str, &str, &'static str)> {
    let version = source.version.as_deref().unwrap_or("0");
    let mirror = source.mirror.as_deref().unwrap_or("file:///");
    if !is_word(&source.package, "+-.") {
        return Some(("deb", &source.package, "a package's name such as `linux-image-amd64`"));
    }
    if !is_word(&source.suite, "-./") || source.suite.split('/').any(|part| part.trim_matches('.').is_empty()) {
        return Some(("suite", &source.suite, "a suite such as `trixie` or `trixie-backports`"));
    }
    if !is_word(version, "+-.~:") {
        return Some(("version", version, "a package's version such as `6.12.41-1`"));
    }
    let is_url = mirror.split_once("://").is_some_and(|(scheme, _)| matches!(scheme, "http" | "https" | "file"));
    (!is_url || mirror.contains(char::is_whitespace)).then_some(("mirror", mirror, "an `http`, `https` or `file` URL"))
}

/// Whether `text` starts with a letter or a digit and holds nothing but those and `marks`.
fn is_word(text: &str, marks: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || marks.contains(c))
}

fn path(table: &Table<'_>, base_dir: &Path) -> Result<KernelSource> {
    table.only(PATH_KEYS)?;
    let path = table.text("path")?.expect("the table was chosen by this key");
    Ok(KernelSource::Path(base_dir.join(path)))
}

fn unsupported(table: &Table<'_>, key: &'static str, keys: &[&str]) -> Result<KernelEntry> {
    table.only(keys)?;
    table.text(key)?;
    Ok(KernelEntry::Unsupported(key))
}

/// Where an image comes from. No way is supported yet, so there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageSource {}

/// One `[images.NAME]` table: recognised, not usable yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageEntry;

impl ImageEntry {
    pub(super) fn read(name: &str, line: usize, table: &Table<'_>) -> Result<Self> {
        check_name("image", name, line, table)?;
        table.only(IMAGE_KEYS)?;
        Ok(Self)
    }
}
