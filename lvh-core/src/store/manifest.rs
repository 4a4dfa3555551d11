//! What an entry was made of, so that damage to it shows: the size and the time of each file.
//!
//! Modules of a kernel are not looked at, for there are thousands; who reads one finds out.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The file of an entry that holds it.
const NAME: &str = ".manifest";

/// Writes down what is in `dir`, to the disk.
pub(super) fn write(dir: &Path) -> io::Result<()> {
    let mut files = Vec::new();
    collect(dir, &mut files)?;
    files.sort();
    let line = |file: &PathBuf| Ok(format!("{} {}\n", stamp(file)?, file.strip_prefix(dir).unwrap_or(file).display()));
    let text: io::Result<String> = files.iter().map(line).collect();
    let mut manifest = fs::File::create(dir.join(NAME))?;
    manifest.write_all(text?.as_bytes())?;
    manifest.sync_all()?;
    fs::File::open(dir)?.sync_all()
}

/// Whether an entry has one. Those of earlier versions have none.
pub(crate) fn exists(dir: &Path) -> bool {
    dir.join(NAME).is_file()
}

/// What is wrong with the entry `dir`, where something is.
pub(super) fn damage(dir: &Path) -> Option<String> {
    if !exists(dir) {
        return None;
    }
    match fs::read_to_string(dir.join(NAME)) {
        Ok(text) if text.ends_with('\n') => text.lines().find_map(|line| damage_of(dir, line)),
        _ => Some(format!("`{NAME}` cannot be read")),
    }
}

fn damage_of(dir: &Path, line: &str) -> Option<String> {
    let Some((expected, name)) = line.match_indices(' ').nth(1).map(|(at, _)| (&line[..at], &line[at + 1..])) else {
        return Some(format!("`{NAME}` makes no sense"));
    };
    match stamp(&dir.join(name)) {
        Ok(stamp) if stamp == expected => fs::File::open(dir.join(name)).err().map(|why| format!("`{name}`: {why}")),
        Ok(_) => Some(format!("`{name}` has changed")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!("`{name}` is missing")),
        Err(error) => Some(format!("`{name}`: {error}")),
    }
}

/// Size and time; archives keep times to the second.
fn stamp(file: &Path) -> io::Result<String> {
    let metadata = fs::symlink_metadata(file)?;
    let size = if metadata.is_file() { metadata.size().to_string() } else { "-".to_owned() };
    Ok(format!("{size} {}", metadata.mtime()))
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for found in fs::read_dir(dir)? {
        let (path, kind) = found.and_then(|found| Ok((found.path(), found.file_type()?)))?;
        match path.file_name() {
            Some(name) if kind.is_dir() && name != "kernel" => collect(&path, files)?,
            Some(name) if kind.is_file() && name != NAME => files.push(path),
            _ => {}
        }
    }
    Ok(())
}
