//! Programs of the host on a root whose libraries may not suffice for them.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::guest::protocol::{KIT_LIBRARIES, KIT_NEEDS, Kit};
use crate::pid1::mounts;
use crate::pid1::root::{as_path, bind};

/// Where systems have libraries. One that has them elsewhere gets the host's.
const DIRECTORIES: [&str; 6] = ["/lib/TRIPLET", "/usr/lib/TRIPLET", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

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
    let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
    let places = DIRECTORIES.iter().map(|dir| Path::new(&dir.replace("TRIPLET", &triplet)).join(name));
    let found = places.into_iter().find_map(|path| File::open(path).ok());
    found.is_some_and(|library| versions.is_empty() || offers(&library, &versions).unwrap_or(false))
}

/// Whether a library names all these versions: they are among its dynamic symbols' strings (ELF-64, System V gABI).
fn offers(library: &File, versions: &[&str]) -> io::Result<bool> {
    const SHT_DYNSYM: u64 = 11;
    let mut header = [0; 64];
    library.read_exact_at(&mut header, 0)?;
    let (table, size, count) = (number(&header, 0x28, 8), number(&header, 0x3a, 2), number(&header, 0x3c, 2));
    let section = |index: u64| {
        let mut section = [0; 64];
        library.read_exact_at(&mut section, table + index * size).map(|()| section)
    };
    for index in 0..count {
        let symbols = section(index)?;
        if number(&symbols, 4, 4) != SHT_DYNSYM {
            continue;
        }
        let strings = section(number(&symbols, 0x28, 4))?;
        let mut text = vec![0; number(&strings, 0x20, 8).min(16 << 20) as usize];
        library.read_exact_at(&mut text, number(&strings, 0x18, 8))?;
        let mut names: Vec<&[u8]> = text.split(|byte| *byte == 0).collect();
        names.sort_unstable();
        return Ok(versions.iter().all(|version| names.binary_search(&version.as_bytes()).is_ok()));
    }
    Ok(false)
}

/// A little-endian number of `size` bytes.
fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
