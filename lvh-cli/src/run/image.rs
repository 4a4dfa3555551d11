//! Which file the image is.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use anyhow::Context as _;
use lvh_core::run::Image;
use lvh_core::{Arch, Config, Error, ErrorKind, ImageSource, image};
use lvh_oci::{Compressed, Source};

use crate::images::pulled;
use crate::{oci, terminal};

/// What the image is looked for with.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// The data directory.
    pub(super) dir: &'a Path,
    /// The architecture of an image that is pulled.
    pub(super) arch: Arch,
    /// What is no file may be pulled.
    pub(super) pull: bool,
    /// Its call is only shown: it need not exist, unless it would be pulled.
    pub(super) shown_only: bool,
    /// What has images of its own.
    pub(super) config: &'a Config,
}

impl Wanted<'_> {
    /// The image called `name`: a file, one of the data directory or of `lvh.toml`, or one that is pulled to the former.
    pub(super) fn find(&self, name: &OsStr) -> anyhow::Result<Image> {
        let file = Path::new(name);
        let path = match self.at_hand(file)? {
            Some(path) => path,
            None if self.pull && is_reference(name) => self.pull(&name.to_string_lossy())?,
            None if self.shown_only && !self.pull => file.to_owned(),
            None => return Err(nowhere(file, self.dir).into()),
        };
        Ok(if self.shown_only { Image::named(&path) } else { Image::open(&path)? })
    }

    fn at_hand(&self, name: &Path) -> anyhow::Result<Option<PathBuf>> {
        if exists(name) {
            return Ok(Some(name.to_owned()));
        }
        let in_dir = in_data_dir(name, self.dir).filter(|in_dir| exists(in_dir));
        let known = name.to_str().filter(|name| self.config.image_names().iter().any(|known| known == name));
        match (in_dir, known) {
            (Some(in_dir), _) => Ok(Some(in_dir)),
            (None, None) => Ok(None),
            (None, Some(name)) => match self.config.image(name)? {
                ImageSource::Path(path) => Ok(Some(path)),
                // What is in the store is not for `--rw`.
                ImageSource::Oci(source) if self.pull => self.pull(&source.image).map(Some),
                source => {
                    let store = crate::fetch_kernel::store(self.config)?;
                    Ok(Some(image::resolve_blocking(name, &source, &store, &terminal::events())?.path))
                }
            },
        }
    }

    /// Pulls it, and says on standard output where it is, as the Go tool did.
    fn pull(&self, name: &str) -> anyhow::Result<PathBuf> {
        let platform = oci::platform(self.arch);
        let pull = |source: Source| pulled::pull(&source, platform, self.dir, Compressed::Removed, &terminal::events());
        let files = name.parse().map_err(oci::failed).and_then(pull);
        let files = files.map_err(|error| failed(name, error))?;
        let file = image_among(&files).ok_or_else(|| {
            Error::new(ErrorKind::Artifact, format!("`{name}` holds no disk image in `/data/images`"))
        })?;
        terminal::output(&format!("Autodetected image {} inside {name}\n", file.display()))
            .context("failed to write to stdout")?;
        Ok(file.clone())
    }
}

fn failed(name: &str, error: Error) -> Error {
    terminal::error(&format!("unable to find local file \"{name}\"\n"));
    Error::new(error.kind(), "unable to pull image").with_source(error)
}

/// The first that is called as an image is, else the first.
fn image_among(files: &[PathBuf]) -> Option<&PathBuf> {
    let is_qcow2 = |file: &&PathBuf| file.extension().is_some_and(|extension| extension == "qcow2");
    files.iter().find(is_qcow2).or(files.first())
}

/// Anything but a clear no is told by who opens it.
fn exists(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

/// A name is one word, no path.
fn in_data_dir(name: &Path, dir: &Path) -> Option<PathBuf> {
    let mut parts = name.components();
    let single = matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None));
    single.then(|| dir.join("images").join(name))
}

/// It says that it is in an archive or a layout, begins with a registry, or ends with a tag or a digest: what else does not
/// exist is a file that was misspelt.
fn is_reference(name: &OsStr) -> bool {
    let Some(text) = name.to_str().filter(|text| !text.starts_with(['/', '.'])) else { return false };
    let says_where = ["oci:", "oci-archive:", "docker-archive:"].iter().any(|kind| text.starts_with(kind));
    let has_a_tag = text.rsplit('/').next().is_some_and(|last| last.contains(':'));
    says_where || begins_with_a_registry(text) || has_a_tag
}

/// As Docker tells a registry from the rest of a name.
pub(super) fn begins_with_a_registry(text: &str) -> bool {
    let first = text.split_once('/').map_or("", |(first, _)| first);
    let is_host =
        first == "localhost" || first.contains('.') || first.split_once(':').is_some_and(|(_, port)| is_port(port));
    is_host && !first.starts_with('.')
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

fn nowhere(name: &Path, dir: &Path) -> Error {
    let images = dir.join("images");
    let message = format!("image `{}` is neither a file nor in `{}`", name.display(), images.display());
    Error::new(ErrorKind::Usage, message).with_hint(
        "--dir names the directory that has `images/`; what is pulled has its registry or its tag in its name",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_no_misspelt_files() {
        let check = |text: &str, expected| assert_eq!(is_reference(OsStr::new(text)), expected, "{text}");
        check("quay.io/lvh-images/kind:6.6-main", true);
        check("quay.io/lvh-images/kind", true);
        check("localhost/kind", true);
        check("lvh-images/kind:main", true);
        check("kind:main", true);
        check("quay.io/lvh-images/kind@sha256:00", true);
        check("oci:layout", true);
        check("oci:/some/layout", true);
        check("registry:5000/kind", true);
        check("docker-archive:kind.tar", true);
        for file in ["base", "base.qcow2", "images/base.qcow2", "/a:b/base", "./kind:main", "../quay.io/x:1"] {
            check(file, false);
        }
    }
}
