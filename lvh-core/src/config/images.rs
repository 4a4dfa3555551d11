//! From an image's name to where it comes from.

use super::Config;
use super::file::document::bare_or_quoted;
use super::file::image_table::unsupported_image;
use crate::image::ImageSource;
use crate::image::images_json::ImagesFile;
use crate::nearest::nearest;
use crate::{Error, ErrorKind, Result};

impl Config {
    /// Where the image called `name` comes from.
    ///
    /// The first that knows the name wins: an `[images]` table, a path (it holds a slash), and a file in `images/` of the data
    /// directory.
    ///
    /// # Errors
    ///
    /// Where nothing knows the name (the message lists what is known), its way is not supported yet, its path does
    /// not exist, or it stands in `images.json` but was not built.
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
        self.of_images(name)?.ok_or_else(|| self.unknown_image(name))
    }

    /// The names that [`Config::image`] knows by themselves, sorted.
    pub fn image_names(&self) -> Vec<String> {
        let file = self.images_json().ok().flatten();
        let of_file = file.iter().flat_map(|file| file.images().iter().map(|image| image.name.clone()));
        let mut names: Vec<String> = self.images.keys().cloned().chain(of_file).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The image in `images/` of the data directory, whoever made it.
    fn of_images(&self, name: &str) -> Result<Option<ImageSource>> {
        // Without a home directory there is no default data directory, and nothing in it.
        let Some(dir) = self.data_dir().ok().filter(|_| !name.is_empty() && !name.starts_with('.')) else {
            return Ok(None);
        };
        let path = dir.join("images").join(name);
        if path.is_file() {
            return Ok(Some(ImageSource::Path(path)));
        }
        match self.images_json()?.filter(|file| file.images().iter().any(|image| image.name == name)) {
            None => Ok(None),
            Some(file) => {
                let message = format!("image `{name}` of `{}` is not built", file.path().display());
                let hint = format!("`lvh images build --dir {} --image {name}` builds it", dir.display());
                Err(Error::new(ErrorKind::Usage, message).with_hint(hint))
            }
        }
    }

    fn images_json(&self) -> Result<Option<ImagesFile>> {
        self.data_dir().map_or(Ok(None), |dir| ImagesFile::find(&dir))
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
