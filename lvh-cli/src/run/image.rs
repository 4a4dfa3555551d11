//! Which file the image is.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use lvh_core::run::Image;
use lvh_core::{Error, ErrorKind, Result};

/// The image called `name`: a file, or one of the data directory `dir`. Where its call is only shown it need not exist, unless
/// it would be pulled.
pub(super) fn find(name: &OsStr, dir: &Path, pull: bool, shown_only: bool) -> Result<Image> {
    let file = Path::new(name);
    let in_dir = in_data_dir(file, dir);
    match in_dir.filter(|in_dir| !exists(file) && exists(in_dir)) {
        Some(in_dir) => Image::open(&in_dir),
        None if exists(file) => Image::open(file),
        None if pull => Err(nowhere(file, dir)),
        None if shown_only => Ok(Image::named(file)),
        None => Err(nowhere(file, dir)),
    }
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

fn nowhere(name: &Path, dir: &Path) -> Error {
    let images = dir.join("images");
    let message = format!("image `{}` is neither a file nor in `{}`", name.display(), images.display());
    Error::new(ErrorKind::Usage, message).with_hint("--dir names the directory that has `images/`")
}
