//! Libraries of a root, as far as lvh-init looks into them (ELF-64, System V gABI).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where systems have libraries.
const DIRECTORIES: [&str; 6] = ["/lib/TRIPLET", "/usr/lib/TRIPLET", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

const SHT_NOTE: u64 = 7;
const SHT_DYNSYM: u64 = 11;

/// The most that is read of a section, in bytes.
const LONGEST: u64 = 16 << 20;

/// A library of the root.
pub struct Library(File);

impl Library {
    /// The one of this file name.
    pub fn find(name: &str) -> Option<Self> {
        let triplet = format!("{}-linux-gnu", std::env::consts::ARCH);
        let places = DIRECTORIES.iter().map(|dir| Path::new(&dir.replace("TRIPLET", &triplet)).join(name));
        places.into_iter().find_map(|path| File::open(path).ok()).map(Self)
    }

    /// Whether it names all these versions: they are among its dynamic symbols' strings.
    pub fn offers(&self, versions: &[&str]) -> io::Result<bool> {
        let sections = self.sections()?;
        let Some(symbols) = sections.iter().find(|section| section.kind() == SHT_DYNSYM) else { return Ok(false) };
        let text =
            sections.get(symbols.link() as usize).map_or_else(|| Ok(Vec::new()), |strings| self.read(strings))?;
        let mut names: Vec<&[u8]> = text.split(|byte| *byte == 0).collect();
        names.sort_unstable();
        Ok(versions.iter().all(|version| names.binary_search(&version.as_bytes()).is_ok()))
    }

    /// The oldest kernel that it says it runs on, such as `[3, 2, 0]`: the note of the ABI (Linux Standard Base, "Note Section").
    pub fn oldest_kernel(&self) -> io::Result<Option<[u64; 3]>> {
        // The sizes of the name and of what follows it, the kind, the name, and the system, which is Linux.
        const ABI_OF_LINUX: [u8; 20] = *b"\x04\0\0\0\x10\0\0\0\x01\0\0\0GNU\0\0\0\0\0";
        for notes in self.sections()?.iter().filter(|section| section.kind() == SHT_NOTE) {
            let notes = self.read(notes)?;
            if let Some(version) = notes.strip_prefix(&ABI_OF_LINUX).filter(|version| version.len() >= 12) {
                return Ok(Some([0, 4, 8].map(|at| number(version, at, 4))));
            }
        }
        Ok(None)
    }

    fn sections(&self) -> io::Result<Vec<Section>> {
        let mut header = [0; 64];
        self.0.read_exact_at(&mut header, 0)?;
        let (table, size, count) = (number(&header, 0x28, 8), number(&header, 0x3a, 2), number(&header, 0x3c, 2));
        let section = |index: u64| {
            let mut section = Section([0; 64]);
            self.0.read_exact_at(&mut section.0, table.wrapping_add(index * size)).map(|()| section)
        };
        (0..count).map(section).collect()
    }

    fn read(&self, section: &Section) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; number(&section.0, 0x20, 8).min(LONGEST) as usize];
        self.0.read_exact_at(&mut bytes, number(&section.0, 0x18, 8)).map(|()| bytes)
    }
}

/// What an ELF file says of a section.
struct Section([u8; 64]);

impl Section {
    fn kind(&self) -> u64 {
        number(&self.0, 4, 4)
    }

    /// The section with its strings.
    fn link(&self) -> u64 {
        number(&self.0, 0x28, 4)
    }
}

/// A little-endian number of `size` bytes.
fn number(bytes: &[u8], at: usize, size: usize) -> u64 {
    bytes[at..at + size].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
