use std::path::{Component, Path, PathBuf};

use super::url;
use crate::json::Value;
use crate::kernel::git::{Checkouts, GitUrl};
use crate::kernel::options::group_entries;
use crate::{Error, ErrorKind, Result};

/// One kernel of `kernels.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelEntry {
    /// What people call it, and the name of its tree in `kernels/` of the data directory.
    pub name: String,
    /// Where its source comes from. Default: empty, for a tree that was made by other means.
    pub url: String,
    /// Arguments of `scripts/config`, such as `["--enable", "CONFIG_BPF"]`, in their order. Default: none.
    pub options: Vec<Vec<String>>,
    /// Further arguments of each `make`. Default: none.
    pub extra_make_args: Vec<String>,
}

impl KernelEntry {
    /// An entry with the options of these groups. A URL that is a relative path starts at the working directory.
    ///
    /// # Errors
    ///
    /// Where lvh cannot fetch from the URL, does not know a group, or the name cannot be a directory's and a branch's.
    pub fn new(name: &str, url: &str, groups: &[String]) -> Result<Self> {
        let url = url::lasting(url)?;
        let options: Result<Vec<_>> = groups.iter().map(|group| group_entries(group)).collect();
        let options = options?.concat();
        let entry = Self { name: name.to_owned(), url, options, extra_make_args: Vec::new() };
        // Only its place counts, and that git takes the name for a branch.
        entry.tree(Path::new(""))?;
        Checkouts::new(Path::new("")).dir(name)?;
        Ok(entry)
    }

    /// Where its source comes from; a relative path starts at `base`.
    ///
    /// # Errors
    ///
    /// Where it has no URL, or one that lvh cannot fetch from.
    pub fn git_url(&self, base: &Path) -> Result<GitUrl> {
        if self.url.is_empty() {
            let message = format!("kernel `{}` has no `url`", self.name);
            let hint = "`lvh kernels raw_configure` takes a tree that was made by other means";
            return Err(Error::new(ErrorKind::Usage, message).with_hint(hint));
        }
        url::parse(&self.url, base).map_err(|error| {
            Error::new(error.kind(), format!("kernel `{}` cannot be fetched", self.name)).with_source(error)
        })
    }

    /// Where its source tree is, or will be: `kernels/NAME` of the data directory.
    ///
    /// # Errors
    ///
    /// Where the name would lead elsewhere, or is the directory of what all kernels share.
    pub fn tree(&self, data_dir: &Path) -> Result<PathBuf> {
        let refuse = |why: &str| Err(Error::new(ErrorKind::Usage, format!("the kernel name `{}` {why}", self.name)));
        let mut parts = Path::new(&self.name).components();
        match (parts.next(), parts.next()) {
            // A path that ends with a slash has the same parts.
            (Some(Component::Normal(_)), None) if !self.name.contains('/') => match self.name.as_str() {
                "git" => refuse("is not allowed: kernels share the repository of that name"),
                name if name.starts_with('-') => refuse("looks like an option"),
                name => Ok(data_dir.join("kernels").join(name)),
            },
            _ => refuse("cannot be the name of a directory"),
        }
    }

    /// As it stands in the file.
    pub fn to_json(&self) -> String {
        self.to_value().indented()
    }

    pub(super) fn to_value(&self) -> Value {
        let mut members = vec![("name", Value::text(&self.name)), ("url", Value::text(&self.url))];
        // Go leaves empty lists out.
        if !self.options.is_empty() {
            members.push(("opts", options(&self.options)));
        }
        if !self.extra_make_args.is_empty() {
            members.push(("extra_make_args", Value::texts(&self.extra_make_args)));
        }
        Value::object(members)
    }
}

/// A file without kernels.
pub(super) fn empty_file(common_options: &[Vec<String>]) -> Value {
    let mut members = vec![("kernels", Value::Array(Vec::new()))];
    if !common_options.is_empty() {
        members.push(("common_opts", options(common_options)));
    }
    Value::object(members)
}

fn options(options: &[Vec<String>]) -> Value {
    Value::Array(options.iter().map(|option| Value::texts(option)).collect())
}
