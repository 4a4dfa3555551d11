//! From an image's name to where it comes from.

use super::Config;
use super::file::document::bare_or_quoted;
use super::file::image_table::unsupported_image;
use crate::image::ImageSource;
use crate::nearest::nearest;
use crate::{Error, ErrorKind, Result};

impl Config {
    /// Where the image called `name` comes from.
    ///
    /// The first that knows the name wins: an `[images]` table, and a path (it holds a slash).
    ///
    /// # Errors
    ///
    /// Where nothing knows the name (the message lists what is known), its way is not supported yet, or its path does
    /// not exist.
    pub fn image(&self, name: &str) -> Result<ImageSource> {
        if let Some(table) = self.images.get(name) {
            return table.resolve(name).and_then(|source| existing(name, source));
        }
        if name.starts_with("oci:") {
            return Err(unsupported_image(name, "oci"));
        }
        if name.contains('/') {
            return existing(name, ImageSource::Path(self.base_dir.join(name)));
        }
        Err(self.unknown_image(name))
    }

    /// The names that [`Config::image`] knows by themselves, sorted.
    pub fn image_names(&self) -> Vec<String> {
        self.images.keys().cloned().collect()
    }

    fn unknown_image(&self, name: &str) -> Error {
        let names = self.image_names();
        let known = if names.is_empty() { "it has none".to_owned() } else { format!("known: {}", names.join(", ")) };
        let message = format!("image `{name}` is not in `{}` ({known})", self.file_name());
        let table = format!("write a table [images.{}] with path = \"…\"", bare_or_quoted(name));
        let meant = nearest(name, names.iter().map(String::as_str));
        let hint = meant.map_or_else(|| table.clone(), |meant| format!("did you mean `{meant}`? If not, {table}"));
        Error::new(ErrorKind::Usage, message).with_hint(hint)
    }
}

/// A path of the user's is never a guess.
fn existing(name: &str, source: ImageSource) -> Result<ImageSource> {
    let ImageSource::Path(path) = &source;
    match path.try_exists() {
        Ok(true) => Ok(source),
        Ok(false) => Err(Error::new(ErrorKind::Usage, format!("image `{name}`: `{}` does not exist", path.display()))),
        Err(error) => Err(Error::path("look at", path, error)),
    }
}
