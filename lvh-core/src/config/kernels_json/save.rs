use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::Previous;
use crate::json::Value;
use crate::machine::local_time;
use crate::{Error, Events, Result};

/// Writes `document` to `path`, in whose directory nobody else writes meanwhile: at any moment there is the old file or the new
/// one, as a whole.
pub(super) fn save(path: &Path, document: &Value, previous: Previous, events: &Events) -> Result<()> {
    // What a symbolic link points to is replaced, not the link; a file's mode stays what it is.
    let target = if path.is_symlink() { fs::canonicalize(path).unwrap_or(path.into()) } else { path.to_owned() };
    let new = with_suffix(&target, "new");
    let written = write(&new, &target, &document.indented()).map_err(|error| Error::path("write", &new, error));
    let saved = written.and_then(|()| {
        if previous == Previous::Renamed && target.exists() {
            let old = keep(&target).map_err(|error| Error::path("rename", &target, error))?;
            events.note(format!("renamed {} to {}", target.display(), old.display()));
        }
        publish(&new, &target).map_err(|error| Error::path("write", &target, error))
    });
    saved.inspect_err(|_| drop(fs::remove_file(&new)))
}

fn write(new: &Path, target: &Path, text: &str) -> io::Result<()> {
    let mut file = File::create(new)?;
    if let Ok(metadata) = fs::metadata(target) {
        file.set_permissions(metadata.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// Gives the file a second name, with the date; the first passes to the new file when that is complete.
fn keep(target: &Path) -> io::Result<PathBuf> {
    let date = local_time()?;
    // The Go tool wrote six zeros: with a number in their place, a second file of one second does not replace the first.
    let mut names = (0..1_000_000).map(|count| with_suffix(target, &format!("{date}{count:06}")));
    let name = names.find(|name| !name.exists()).ok_or(io::ErrorKind::AlreadyExists)?;
    // Some file systems know no second names.
    fs::hard_link(target, &name).or_else(|_| fs::rename(target, &name))?;
    Ok(name)
}

fn publish(new: &Path, target: &Path) -> io::Result<()> {
    fs::rename(new, target)?;
    File::open(target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}
