//! Programs of the host on a root whose libraries may not suffice for them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::guest::protocol::{KIT_LIBRARIES, KIT_NEEDS, Kit};
use crate::pid1::libraries::Library;
use crate::pid1::mounts;
use crate::pid1::root::{as_path, bind};

/// Lets the copies in the directory `dir` take the places of the programs, unless the root has all that those need.
pub fn unpack(kit: &Kit, dir: PathBuf) -> io::Result<()> {
    match fs::read_to_string(dir.join(KIT_NEEDS)) {
        Ok(needs) if needs.lines().all(is_there) => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    mounts::make_dir(Path::new(KIT_LIBRARIES))?;
    bind(&dir.join("lib"), Path::new(KIT_LIBRARIES))?;
    kit.programs.iter().try_for_each(|(copy, program)| bind(&dir.join(as_path(copy)), as_path(program)))
}

/// Whether the root has what a line names: a loader by its path, or a library with its versions.
fn is_there(line: &str) -> bool {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let Some(name) = words.next() else { return true };
    if name.starts_with('/') {
        return Path::new(name).exists();
    }
    let versions: Vec<&str> = words.collect();
    Library::find(name).is_some_and(|library| versions.is_empty() || library.offers(&versions).unwrap_or(false))
}
