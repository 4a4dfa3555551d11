use std::path::{Path, PathBuf};

use super::{ImageEntry, decode};
use crate::json::{Value, go};
use crate::{Error, ErrorKind, Result};

/// An `images.json`.
#[derive(Debug)]
pub struct ImagesFile {
    path: PathBuf,
    images: Vec<ImageEntry>,
}

impl ImagesFile {
    /// Its name in the data directory.
    pub const NAME: &str = "images.json";

    /// Reads the file of the data directory.
    ///
    /// # Errors
    ///
    /// Where there is none, or it is not what it should be; the message names the place.
    pub fn load(data_dir: &Path) -> Result<Self> {
        Self::find(data_dir)?.ok_or_else(|| {
            let message = format!("`{}` does not exist", data_dir.join(Self::NAME).display());
            let hint = format!("`lvh images example-config > {}` makes one", data_dir.join(Self::NAME).display());
            Error::new(ErrorKind::Usage, message).with_hint(hint)
        })
    }

    /// As [`ImagesFile::load`]: none where there is none.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read, or is not what it should be.
    pub fn find(data_dir: &Path) -> Result<Option<Self>> {
        let path = data_dir.join(Self::NAME);
        go::find(&path)?.map(|text| Self::parse(path, &text)).transpose()
    }

    pub(super) fn parse(path: PathBuf, text: &str) -> Result<Self> {
        let (_, images) = go::read(&path, text, decode::tidy, decode::decode)?;
        Ok(Self { path, images })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The images, in their order.
    pub fn images(&self) -> &[ImageEntry] {
        &self.images
    }
}

/// The text of a file of these images, as Go writes it.
pub(super) fn text_of(images: &[ImageEntry]) -> String {
    Value::Array(images.iter().map(ImageEntry::to_value).collect()).indented()
}
