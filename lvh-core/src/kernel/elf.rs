//! The little of ELF that kernels and their modules need: 64-bit, little-endian, every offset checked.

/// A section's file range, or a segment's.
type Bytes<'a> = &'a [u8];

const PT_NOTE: u32 = 4;

/// The bytes of an ELF file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elf<'a>(&'a [u8]);

impl<'a> Elf<'a> {
    /// `None` if `data` is no 64-bit little-endian ELF file.
    pub(super) fn parse(data: &'a [u8]) -> Option<Self> {
        // e_ident: magic, ELFCLASS64, ELFDATA2LSB. The rest of the header has 64 bytes in all.
        (data.len() >= 64 && data.starts_with(b"\x7fELF\x02\x01")).then_some(Self(data))
    }

    /// The contents of the first section called `name`.
    pub(super) fn section(&self, name: &str) -> Option<Bytes<'a>> {
        let names = self.section_bytes(self.section_header(usize::from(self.u16(62)?))?)?;
        (0..usize::from(self.u16(60)?)).map_while(|index| self.section_header(index)).find_map(|header| {
            let start = usize::try_from(self.u32(header)?).ok()?;
            let found = names.get(start..)?.split(|&byte| byte == 0).next()?;
            (found == name.as_bytes()).then(|| self.section_bytes(header))?
        })
    }

    /// Whether a note of this owner and type is in one of the note segments.
    pub(super) fn has_note(&self, owner: &str, kind: u32) -> bool {
        self.note_segments().any(|notes| find_note(notes, owner, kind).is_some())
    }

    fn note_segments(&self) -> impl Iterator<Item = Bytes<'a>> {
        let count = self.u16(56).unwrap_or(0);
        (0..usize::from(count)).filter_map(move |index| {
            let header = self.table_entry(32, 54, index)?;
            (self.u32(header)? == PT_NOTE).then(|| self.range(self.u64(header + 8)?, self.u64(header + 32)?))?
        })
    }

    fn section_header(&self, index: usize) -> Option<usize> {
        self.table_entry(40, 58, index)
    }

    /// The offset of an entry in the table whose offset is at `table` and whose entries' size is at `size`.
    fn table_entry(&self, table: usize, size: usize, index: usize) -> Option<usize> {
        let start = usize::try_from(self.u64(table)?).ok()?;
        start.checked_add(usize::from(self.u16(size)?).checked_mul(index)?)
    }

    fn section_bytes(&self, header: usize) -> Option<Bytes<'a>> {
        self.range(self.u64(header.checked_add(24)?)?, self.u64(header.checked_add(32)?)?)
    }

    fn range(&self, start: u64, length: u64) -> Option<Bytes<'a>> {
        let (start, length) = (usize::try_from(start).ok()?, usize::try_from(length).ok()?);
        self.0.get(start..start.checked_add(length)?)
    }

    fn u16(&self, at: usize) -> Option<u16> {
        array(self.0, at).map(u16::from_le_bytes)
    }

    fn u32(&self, at: usize) -> Option<u32> {
        array(self.0, at).map(u32::from_le_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        array(self.0, at).map(u64::from_le_bytes)
    }
}

fn array<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The contents of a note: three words, then name and contents, each padded to four bytes.
fn find_note<'a>(mut notes: &'a [u8], owner: &str, kind: u32) -> Option<&'a [u8]> {
    loop {
        let word = |at| array(notes, at).map(u32::from_le_bytes);
        let (name, contents, found) = (usize::try_from(word(0)?).ok()?, usize::try_from(word(4)?).ok()?, word(8)?);
        let start = 12_usize.checked_add(name.checked_next_multiple_of(4)?)?;
        let end = start.checked_add(contents)?;
        let (name, contents) = (notes.get(12..12 + name)?, notes.get(start..end)?);
        if found == kind && name.strip_suffix(b"\0") == Some(owner.as_bytes()) {
            return Some(contents);
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
}

#[cfg(test)]
pub(super) mod tests {
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
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
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
