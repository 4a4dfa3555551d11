//! The little of ELF that kernels, their modules and programs need: 64-bit, little-endian.

use object::LittleEndian;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

type Header = FileHeader64<LittleEndian>;

/// The bytes of an ELF file, and its header. They may be any: what they do not hold is not found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Elf<'a> {
    data: &'a [u8],
    header: &'a Header,
}

impl<'a> Elf<'a> {
    /// `None` if `data` is no 64-bit little-endian ELF file.
    pub(crate) fn parse(data: &'a [u8]) -> Option<Self> {
        let header = Header::parse(data).ok()?;
        header.endian().ok()?;
        Some(Self { data, header })
    }

    /// The contents of the first section called `name`.
    pub(in crate::kernel) fn section(&self, name: &str) -> Option<&'a [u8]> {
        let sections = self.header.sections(LittleEndian, self.data).ok()?;
        let (_, section) = sections.section_by_name(LittleEndian, name.as_bytes())?;
        section.data(LittleEndian, self.data).ok()
    }

    /// Whether a note of this owner and type is in one of the note segments.
    pub(in crate::kernel) fn has_note(&self, owner: &str, kind: u32) -> bool {
        let found = |segment: &<Header as FileHeader>::ProgramHeader| {
            let mut notes = segment.notes(LittleEndian, self.data).ok()??;
            let mut notes = std::iter::from_fn(|| notes.next().ok()?);
            notes.find(|note| note.n_type(LittleEndian) == kind && note.name() == owner.as_bytes())
        };
        self.segments().iter().any(|segment| found(segment).is_some())
    }

    /// The program that has to load this one.
    pub(crate) fn interpreter(&self) -> Option<&'a [u8]> {
        self.segments().iter().find_map(|segment| segment.interpreter(LittleEndian, self.data).ok()?)
    }

    fn segments(&self) -> &'a [<Header as FileHeader>::ProgramHeader] {
        self.header.program_headers(LittleEndian, self.data).unwrap_or_default()
    }
}

#[cfg(test)]
pub(in crate::kernel) mod tests {
    use object::elf::PT_NOTE;

    use super::*;

    /// An ELF file with one section and one note segment.
    pub(in crate::kernel) fn sample(section: &str, contents: &[u8], owner: &str, kind: u32) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [u32::try_from(owner.len() + 1).unwrap(), 4, kind] {
            note.extend(word.to_le_bytes());
        }
        note.extend(owner.as_bytes());
        note.resize((12 + owner.len() + 1).next_multiple_of(4), 0);
        note.extend([0; 4]);
        let names = format!("\0{section}\0").into_bytes();
        let (contents_at, names_at) = (64, 64 + contents.len());
        let note_at = names_at + names.len();
        let segments_at = note_at + note.len();
        let sections_at = segments_at + 56;

        let mut elf = vec![0; 64];
        elf[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        put(&mut elf, 32, &(segments_at as u64).to_le_bytes());
        put(&mut elf, 40, &(sections_at as u64).to_le_bytes());
        for (at, value) in [(18, 62_u16), (54, 56), (56, 1), (58, 64), (60, 2), (62, 1)] {
            put(&mut elf, at, &value.to_le_bytes());
        }
        elf.extend([contents, &names, &note].concat());
        elf.extend(segment(note_at, note.len()));
        elf.extend(header(1, contents_at, contents.len()));
        elf.extend(header(0, names_at, names.len()));
        elf
    }

    fn segment(at: usize, length: usize) -> [u8; 56] {
        let mut segment = [0; 56];
        put(&mut segment, 0, &PT_NOTE.to_le_bytes());
        put(&mut segment, 8, &(at as u64).to_le_bytes());
        put(&mut segment, 32, &(length as u64).to_le_bytes());
        segment
    }

    fn header(name: u32, at: usize, length: usize) -> [u8; 64] {
        let mut header = [0; 64];
        put(&mut header, 0, &name.to_le_bytes());
        put(&mut header, 24, &(at as u64).to_le_bytes());
        put(&mut header, 32, &(length as u64).to_le_bytes());
        header
    }

    fn put(into: &mut [u8], at: usize, bytes: &[u8]) {
        into[at..at + bytes.len()].copy_from_slice(bytes);
    }

    #[test]
    fn sections_and_notes_are_found() {
        let data = sample(".modinfo", b"depends=\0", "Xen", 18);
        let elf = Elf::parse(&data).unwrap();
        assert_eq!(elf.section(".modinfo"), Some(b"depends=\0".as_slice()));
        assert_eq!(elf.section(".text"), None);
        assert!(elf.has_note("Xen", 18));
        assert!(!elf.has_note("Xen", 17) && !elf.has_note("GNU", 18));
    }

    #[test]
    fn hostile_files_are_survived() {
        let data = sample(".modinfo", b"depends=\0", "Xen", 18);
        let look = |data: &[u8]| {
            Elf::parse(data).is_some_and(|elf| elf.section(".modinfo").is_some() | elf.has_note("Xen", 18))
        };
        for length in 0..data.len() {
            let _ = look(&data[..length]);
        }
        for at in 6..data.len() {
            for value in [0x00, 0x7f, 0xff] {
                let mut wild = data.clone();
                let end = (at + 8).min(wild.len());
                wild[at..end].fill(value);
                let _ = look(&wild);
            }
        }
    }
}
