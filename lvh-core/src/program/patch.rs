//! Rewriting a dynamic program in place, so that it takes another loader and looks for its libraries elsewhere.
//!
//! Nothing weaker keeps a program what it is. Called as an argument of another loader, it would be that loader to the kernel:
//! `/proc/self/exe`, and with it a program that starts itself, would be wrong. `LD_LIBRARY_PATH` would reach its children,
//! which are the guest's own programs.

use object::LittleEndian;
use object::elf::{DT_DEBUG, DT_NULL, DT_RPATH, DT_RUNPATH, DT_STRTAB, FileHeader64, PT_DYNAMIC, PT_INTERP};
use object::read::elf::{Dyn, FileHeader, ProgramHeader};

/// Bytes of a file, and where they belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) at: u64,
    pub(crate) bytes: Vec<u8>,
}

/// The size of a dynamic section's entry.
const ENTRY: u64 = 16;

/// What makes the program `elf` take the loader at `loader`, and the libraries in the directory `libraries`; none where it is
/// not dynamic, or has no room.
///
/// Both paths go where the old loader's stands. The search path is an offset into the table of strings, which may lead out
/// of it: the loader adds it up modulo 2^64. Its entry takes the place of the program's own search path, or else of
/// the one that debuggers use.
pub(crate) fn edits(elf: &[u8], loader: &str, libraries: &str) -> Option<Vec<Edit>> {
    let header = FileHeader64::<LittleEndian>::parse(elf).ok()?;
    let segments = header.program_headers(LittleEndian, elf).ok()?;
    let segment = |kind| segments.iter().find(|segment| segment.p_type(LittleEndian) == kind);
    let (interp, dynamic) = (segment(PT_INTERP)?, segment(PT_DYNAMIC)?);
    let mut names = [loader, "\0", libraries, "\0"].concat().into_bytes();
    let room = usize::try_from(interp.p_filesz(LittleEndian)).ok()?;
    if names.len() > room {
        return None;
    }
    names.resize(room, 0);
    let entries = dynamic.dynamic(LittleEndian, elf).ok()??;
    let tag = |entry: &object::elf::Dyn64<LittleEndian>| entry.d_tag(LittleEndian);
    let used = entries.iter().take_while(|entry| tag(entry) != DT_NULL).count();
    let entries = &entries[..used];
    let strings = entries.iter().find(|entry| tag(entry) == DT_STRTAB)?.d_val(LittleEndian);
    let path = interp.p_vaddr(LittleEndian).wrapping_add(loader.len() as u64 + 1).wrapping_sub(strings);
    let of_tag = |wanted: i64| entries.iter().position(|entry| tag(entry) == wanted);
    let own = [of_tag(DT_RUNPATH), of_tag(DT_RPATH)];
    let mut places: Vec<usize> = own.into_iter().flatten().collect();
    if places.is_empty() {
        places.push(of_tag(DT_DEBUG)?);
    }
    let entry = [DT_RPATH.to_le_bytes(), path.to_le_bytes()].concat();
    let at = |index: usize| dynamic.p_offset(LittleEndian) + index as u64 * ENTRY;
    let entries = places.into_iter().map(|index| Edit { at: at(index), bytes: entry.clone() });
    Some(std::iter::once(Edit { at: interp.p_offset(LittleEndian), bytes: names }).chain(entries).collect())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::*;
    use crate::program::needs::Needs;

    /// Says which program it is and where its C library is, and starts itself once.
    const PROGRAM: &str = r#"fn main() {
        let exe = std::env::current_exe().unwrap();
        println!("{}", exe.display());
        if std::env::args().count() == 1 {
            assert!(std::process::Command::new(exe).arg("again").status().unwrap().success());
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            println!("{}", maps.lines().filter_map(|line| line.split(' ').last()).find(|path| path.contains("libc.so")).unwrap());
        }
    }"#;

    fn compile(dir: &Path, link: &str) -> PathBuf {
        let (source, program) = (dir.join("program.rs"), dir.join("program"));
        fs::write(&source, PROGRAM).unwrap();
        let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
        rustc.arg(format!("-Clink-arg={link}")).arg("-o").arg(&program).arg(&source);
        assert!(rustc.status().unwrap().success());
        program
    }

    /// By another process: while ours has a file open for writing, the child of any test's thread may have so too for a
    /// moment, and exec(2) would refuse it (ETXTBSY).
    fn copy(from: &Path, to: &Path) {
        assert!(Command::new("cp").arg(from).arg(to).status().unwrap().success());
    }

    #[test]
    fn a_patched_program_is_itself_and_has_other_libraries() {
        let dir = tempfile::tempdir().unwrap();
        // There is room for a short path only.
        let home = tempfile::Builder::new().prefix("").rand_bytes(5).tempdir_in("/tmp").unwrap();
        for link in ["-Wl,--as-needed", "-Wl,-rpath,/no/such"] {
            let program = compile(dir.path(), link);
            let needs = Needs::of(&program).unwrap().unwrap();
            let loader = home.path().join("l");
            copy(&needs.loader, &loader);
            for (library, path) in &needs.libraries {
                fs::copy(path, home.path().join(library)).unwrap();
            }
            let elf = fs::read(&program).unwrap();
            let edits = edits(&elf, loader.to_str().unwrap(), home.path().to_str().unwrap()).unwrap();
            let patched = dir.path().join("patched");
            fs::write(&patched, &elf).unwrap();
            let file = fs::File::options().write(true).open(&patched).unwrap();
            edits.iter().for_each(|edit| file.write_all_at(&edit.bytes, edit.at).unwrap());
            copy(&patched, &program);
            let said = Command::new(&program).output().unwrap();
            let (name, library) = (program.display(), home.path().join("libc.so.6"));
            assert_eq!(
                String::from_utf8_lossy(&said.stdout),
                format!("{name}\n{name}\n{}\n", library.display()),
                "{link}: {}",
                String::from_utf8_lossy(&said.stderr)
            );
            assert_eq!(fs::metadata(&program).unwrap().len(), elf.len() as u64);
        }
    }

    #[test]
    fn what_has_no_room_or_is_no_program_is_left_alone() {
        let elf = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(edits(&elf, "/run/.lvh/ld", "/run/.lvh").is_some());
        assert_eq!(edits(&elf, "/a/path/that/is/longer/than/that/of/a/loader", "/x"), None);
        assert_eq!(edits(b"#!/bin/sh\n", "/l", "/x"), None);
        for len in 0..1024 {
            let _ = edits(&elf[..len], "/l", "/x");
        }
    }
}
