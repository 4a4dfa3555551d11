//! The `[images.NAME]` tables.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::document::Table;
use super::image_actions::Written;
use super::kernel_table::{check_name, faulty_image};
use super::raw::{List, Text};
use crate::image::images_json::ImageEntry;
use crate::image::{BuiltImage, ImageSource};
use crate::kernel::OciSource;
use crate::{Error, ErrorKind, Result};

/// One table, as it is written.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    path: Option<Text>,
    packages: Option<List<Text>>,
    actions: Option<Vec<Written>>,
    parent: Option<Text>,
    suite: Option<Text>,
    variant: Option<Text>,
    image_size: Option<Text>,
    oci: Option<Text>,
}

/// One `[images.NAME]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum ImageTable {
    /// It can be resolved.
    Source(ImageSource),
    /// It is built, as an image of its own name; the suite is of one without a parent.
    Built { entry: Box<ImageEntry>, suite: Option<String> },
}

/// The keys that say where an image comes from, or what it is built of.
const SOURCES: [&str; 5] = ["path", "oci", "packages", "actions", "parent"];
/// Those that go together: what an image is built of.
const BUILT: [&str; 3] = ["packages", "actions", "parent"];

impl ImageTable {
    fn read(name: &str, table: &Table<'_>, base_dir: &Path) -> Result<Self> {
        check_name("image", name, table)?;
        let image: Image = table.read()?;
        let sources: Vec<&'static str> = SOURCES.into_iter().filter(|key| table.has(key)).collect();
        if let [first, second, ..] = sources[..]
            && !BUILT.contains(&first)
        {
            let message = format!("{} has both `{first}` and `{second}` (expected one source)", table.name());
            return Err(table.error_at_key(second, message));
        }
        if let Some(Text(oci)) = &image.oci {
            if faulty_image(oci) {
                let expected = "an image such as `quay.io/lvh-images/root-images:main-bookworm`";
                let message = format!("`oci` in {} is `{oci}` (expected {expected})", table.name());
                return Err(table.error_at_key("oci", message));
            }
            return Ok(Self::Source(ImageSource::Oci(OciSource::new(oci).based_at(base_dir))));
        }
        match (&image.path, &sources[..]) {
            (Some(path), _) => Ok(Self::Source(ImageSource::Path(base_dir.join(&path.0)))),
            (None, []) => {
                let message =
                    format!("{} has no source (expected `path`, `oci`, `packages` or `parent`)", table.name());
                Err(table.error(message))
            }
            (None, _) if image.parent.is_some() && (image.suite.is_some() || image.variant.is_some()) => {
                Err(table.error(format!("{} has a `parent`, whose `suite` and `variant` it has too", table.name())))
            }
            (None, _) => Ok(image.built(name, base_dir)),
        }
    }
}

impl Image {
    /// The disk of a kernel under test: it brings none.
    fn built(self, name: &str, base_dir: &Path) -> ImageTable {
        let text = |text: Option<Text>| text.map(|text| text.0).unwrap_or_default();
        let entry = ImageEntry {
            name: file_name(name),
            parent: self.parent.map(|parent| file_name(&parent.0)).unwrap_or_default(),
            image_size: text(self.image_size),
            bootable: Some(false),
            packages: self.packages.map(|list| list.0.into_iter().map(|text| text.0).collect()).unwrap_or_default(),
            actions: self.actions.into_iter().flatten().map(|action| action.action(base_dir)).collect(),
            variant: text(self.variant),
        };
        ImageTable::Built { entry: Box::new(entry), suite: self.suite.map(|suite| suite.0) }
    }
}

/// What the disk of the image called `name` is called.
fn file_name(name: &str) -> String {
    format!("{name}.qcow2")
}

/// Where the image called `name` comes from, which `tables` have.
pub(in crate::config) fn source_of(name: &str, tables: &BTreeMap<String, ImageTable>) -> Result<ImageSource> {
    match &tables[name] {
        ImageTable::Source(source) => Ok(source.clone()),
        ImageTable::Built { .. } => {
            let built = tables.values().filter_map(|table| match table {
                ImageTable::Built { entry, suite } => Some((&**entry, suite.as_deref())),
                _ => None,
            });
            let built: Vec<_> = built.collect();
            let image = BuiltImage::of_family(&file_name(name), built.iter().map(|(entry, _)| *entry), &|_| false);
            let last = image.entries.last().expect("it is there itself");
            if !last.parent.is_empty() && !image.entries.iter().any(|entry| entry.name == last.parent) {
                let parent = last.parent.trim_end_matches(".qcow2");
                let message = format!("image `{name}` is made from `{parent}`, which no table builds");
                let hint = format!("write a table [images.{parent}] with packages = […]");
                return Err(Error::new(ErrorKind::Usage, message).with_hint(hint));
            }
            let suite = built.iter().find(|(entry, _)| entry.name == last.name).and_then(|(_, suite)| *suite);
            let suite = suite.unwrap_or(&image.suite).to_owned();
            Ok(ImageSource::Built(Box::new(BuiltImage { suite, ..image })))
        }
    }
}

/// All tables.
pub(in crate::config) fn read_all(top: &Table<'_>, base_dir: &Path) -> Result<BTreeMap<String, ImageTable>> {
    let Some(tables) = top.table("images")? else { return Ok(BTreeMap::new()) };
    let read = |(name, table): (String, Table<'_>)| Ok((name.clone(), ImageTable::read(&name, &table, base_dir)?));
    tables.tables()?.into_iter().map(read).collect()
}
