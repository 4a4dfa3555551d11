//! The `[images.NAME]` tables.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::document::Table;
use super::kernel_table::check_name;
use super::raw::Text;
use crate::image::ImageSource;
use crate::{Error, ErrorKind, Result};

/// One table, as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    path: Option<Text>,
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

/// One `[images.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum ImageTable {
    /// It can be resolved.
    Source(ImageSource),
    /// A way that this version recognises but cannot go, named by its key.
    Unsupported(&'static str),
}

/// The keys that say where an image comes from, or what it is built of.
const SOURCES: [&str; 5] = ["path", "oci", "packages", "actions", "parent"];

impl ImageTable {
    fn read(name: &str, table: &Table<'_>, base_dir: &Path) -> Result<Self> {
        check_name("image", name, table)?;
        let image: Image = table.read()?;
        let sources: Vec<&'static str> = SOURCES.into_iter().filter(|key| table.has(key)).collect();
        match (image.path, &sources[..]) {
            (Some(_), [first, second, ..]) => {
                let message = format!("{} has both `{first}` and `{second}` (expected one source)", table.name());
                Err(table.error_at_key(second, message))
            }
            (Some(path), _) => Ok(Self::Source(ImageSource::Path(base_dir.join(path.0)))),
            (None, [key, ..]) => Ok(Self::Unsupported(key)),
            (None, []) => Err(table.error(format!("{} has no source (expected `path`)", table.name()))),
        }
    }

    /// Where the image called `name` comes from.
    pub(in crate::config) fn resolve(&self, name: &str) -> Result<ImageSource> {
        match self {
            Self::Source(source) => Ok(source.clone()),
            Self::Unsupported(key) => Err(unsupported_image(name, key)),
        }
    }
}

/// The error for an image that comes by a way which lvh cannot go yet.
pub(in crate::config) fn unsupported_image(name: &str, key: &str) -> Error {
    let message = format!("image `{name}` comes by `{key}`: not supported yet in this version");
    Error::new(ErrorKind::Usage, message).with_hint("use `path`")
}

/// All tables.
pub(in crate::config) fn read_all(top: &Table<'_>, base_dir: &Path) -> Result<BTreeMap<String, ImageTable>> {
    let Some(tables) = top.table("images")? else { return Ok(BTreeMap::new()) };
    let read = |(name, table): (String, Table<'_>)| Ok((name.clone(), ImageTable::read(&name, &table, base_dir)?));
    tables.tables()?.into_iter().map(read).collect()
}
