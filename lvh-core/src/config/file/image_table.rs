//! The `[images.NAME]` tables: recognised, not usable yet.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::document::Table;
use super::kernel_table::check_name;
use crate::Config;
use crate::{Error, ErrorKind, Result};

/// One table.
#[derive(Deserialize)]
struct Image {
    #[serde(rename = "packages")]
    _packages: Option<IgnoredAny>,
    #[serde(rename = "actions")]
    _actions: Option<IgnoredAny>,
    #[serde(rename = "parent")]
    _parent: Option<IgnoredAny>,
    #[serde(rename = "image-size")]
    _image_size: Option<IgnoredAny>,
    #[serde(rename = "oci")]
    _oci: Option<IgnoredAny>,
}

/// The names of the images.
pub(in crate::config) fn names(top: &Table<'_>) -> Result<BTreeSet<String>> {
    let Some(tables) = top.table("images")? else { return Ok(BTreeSet::new()) };
    let read = |(name, table): (String, Table<'_>)| {
        check_name("image", &name, &table)?;
        table.read::<Image>()?;
        Ok(name)
    };
    tables.tables()?.into_iter().map(read).collect()
}

impl Config {
    /// Why the image called `name` cannot be had: this version knows `[images]` tables but cannot use them.
    pub fn no_image(&self, name: &str) -> Error {
        let message = match self.images.contains(name) {
            true => format!("image `{name}`: images are not supported yet in this version"),
            false => format!("image `{name}` is not in `{}`", self.file_name()),
        };
        Error::new(ErrorKind::Usage, message).with_hint("leave `image` out: the test then sees the host's root")
    }
}
