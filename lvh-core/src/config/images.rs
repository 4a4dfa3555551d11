//! From an image's name to where it comes from.

use super::Config;
use super::file::document::bare_or_quoted;
use super::file::image_table::source_of;
use super::file::kernel_table::faulty_image;
use crate::image::images_json::{ImageEntry, ImagesFile};
use crate::image::{BuiltImage, ImageSource};
use crate::kernel::OciSource;
use crate::nearest::nearest;
use crate::{Error, ErrorKind, Result};

impl Config {
    /// Where the image called `name` comes from.
    ///
    /// The first that knows the name wins: an `[images]` table, `oci:IMAGE`, a path (it holds a slash), and a file in `images/` of the data
    /// directory.
    ///
    /// # Errors
    ///
    /// Where nothing knows the name (the message lists what is known), or its path does not exist.
    pub fn image(&self, name: &str) -> Result<ImageSource> {
        if self.images.contains_key(name) {
            return source_of(name, &self.images).and_then(|source| existing(name, self.at_home(source)));
        }
        if let Some(image) = name.strip_prefix("oci:") {
            return match faulty_image(image) {
                false => Ok(ImageSource::Oci(OciSource::new(image).based_at(&self.base_dir))),
                true => Err(Error::new(ErrorKind::Usage, format!("image `{name}`: expected `oci:` and an image"))),
            };
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
                // A parent that is there stays as it is, whatever suite it was built of.
                let stays = |entry: &ImageEntry| dir.join("images").join(&entry.name).is_file();
                let built = BuiltImage::of_family(name, file.images().iter(), &stays);
                let (suite, mirror) = ("sid".to_owned(), self.debian_mirror.clone());
                Ok(Some(ImageSource::Built(Box::new(BuiltImage { suite, data_dir: Some(dir), mirror, ..built }))))
            }
        }
    }

    /// An image that is built, with what this configuration says of its making.
    fn at_home(&self, source: ImageSource) -> ImageSource {
        match source {
            ImageSource::Built(built) => {
                let (base_dir, mirror) = (self.base_dir.clone(), self.debian_mirror.clone());
                ImageSource::Built(Box::new(BuiltImage { base_dir, mirror, ..*built }))
            }
            other => other,
        }
    }

    fn images_json(&self) -> Result<Option<ImagesFile>> {
        self.data_dir().map_or(Ok(None), |dir| ImagesFile::find(&dir))
    }

    fn unknown_image(&self, name: &str) -> Error {
        let names = self.image_names();
        let known = if names.is_empty() { "it has none".to_owned() } else { format!("known: {}", names.join(", ")) };
        let message = match &self.file {
            Some(file) => format!("image `{name}` is not in `{}` ({known})", file.display()),
            None if names.is_empty() => format!("there is no image `{name}`, and no `lvh.toml`"),
            None => format!("there is no image `{name}` ({known}), and no `lvh.toml`"),
        };
        let table =
            format!("write a table [images.{}] with path = \"…\"{}", bare_or_quoted(name), self.where_to_write());
        let meant = nearest(name, names.iter().map(String::as_str));
        let hint = meant.map_or_else(|| table.clone(), |meant| format!("did you mean `{meant}`? If not, {table}"));
        Error::new(ErrorKind::Usage, message).with_hint(hint)
    }
}

/// A path of the user's is never a guess.
fn existing(name: &str, source: ImageSource) -> Result<ImageSource> {
    let ImageSource::Path(path) = &source else { return Ok(source) };
    match path.try_exists() {
        Ok(true) => Ok(source),
        Ok(false) => Err(Error::new(ErrorKind::Usage, format!("image `{name}`: `{}` does not exist", path.display()))),
        Err(error) => Err(Error::path("look at", path, error)),
    }
}
