//! Decoders of what kernels and modules are packed with.

use std::io::{self, Read};

/// The most that a kernel or a module may unpack to; a larger one is a bomb, not a kernel.
const LIMIT: u64 = 1 << 30;

/// The largest dictionary of an lzma or xz stream: four times what `xz -9` uses.
const DICTIONARY_KIB: u32 = 256 << 10;

/// A compressed format, told by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernel) enum Compression {
    Gzip,
    Xz,
    Zstd,
    /// The legacy frame, which is what the kernel's build calls `lz4 -l`.
    Lz4,
    /// What `lz4` writes by default.
    Lz4Frame,
    Lzma,
    Bzip2,
    Lzo,
}

const MAGICS: &[(&[u8], Compression)] = &[
    (b"\x1f\x8b", Compression::Gzip),
    (b"\xfd7zXZ\0", Compression::Xz),
    (b"\x28\xb5\x2f\xfd", Compression::Zstd),
    (b"\x02\x21\x4c\x18", Compression::Lz4),
    (b"\x04\x22\x4d\x18", Compression::Lz4Frame),
    (b"\x5d\0\0", Compression::Lzma),
    (b"BZh", Compression::Bzip2),
    (b"\x89LZO\0\x0d\x0a\x1a\x0a", Compression::Lzo),
];

impl Compression {
    /// `None` if `data` starts with none of the known magics.
    pub(in crate::kernel) fn detect(data: &[u8]) -> Option<Self> {
        MAGICS.iter().find(|(magic, _)| data.starts_with(magic)).map(|(_, format)| *format)
    }

    /// The contents of the first stream in `data`; what follows it is ignored.
    pub(in crate::kernel) fn decompress(self, data: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip => read(flate2::read::GzDecoder::new(data)),
            Self::Xz => read(lzma_rust2::XzReader::new_mem_limit(data, false, DICTIONARY_KIB)),
            Self::Zstd => read(ruzstd::decoding::StreamingDecoder::new(data).map_err(io::Error::other)?),
            Self::Lz4 => lz4(data),
            Self::Lz4Frame => lz4_frame(data),
            Self::Lzma => read(lzma_rust2::LzmaReader::new_mem_limit(data, DICTIONARY_KIB, None)?),
            Self::Bzip2 | Self::Lzo => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("lvh cannot decompress {self:?}: the kernel's config has other choices"),
            )),
        }
    }
}

fn read(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader.take(LIMIT + 1).read_to_end(&mut out)?;
    if out.len() as u64 > LIMIT { Err(bad("it unpacks to more than 1 GiB")) } else { Ok(out) }
}

/// A legacy lz4 frame: blocks with their compressed length in front. The kernel's build appends the uncompressed size,
/// which reads as the length of a block that is not there.
fn lz4(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = &data[4..];
    while let Some((length, blocks)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(io::Error::other)?;
        let Some((block, next)) = blocks.split_at_checked(length) else { break };
        let start = out.len();
        lz4_block(block, start, &mut out).ok_or_else(|| bad("broken lz4 block"))?;
        if out.len() as u64 > LIMIT {
            return Err(bad("it unpacks to more than 1 GiB"));
        }
        rest = next;
    }
    Ok(out)
}

/// doc/lz4_Frame_format.md of lz4: a descriptor, then blocks up to one of no length. Checksums are skipped.
fn lz4_frame(data: &[u8]) -> io::Result<Vec<u8>> {
    const DESCRIPTOR: usize = 4;
    let cut = || bad("it is cut short");
    let flags = *data.get(DESCRIPTOR).ok_or_else(cut)?;
    let [linked, block_sums, size, dictionary] = [flags & 0x20 == 0, flags & 0x10 != 0, flags & 8 != 0, flags & 1 != 0];
    let header = DESCRIPTOR + 3 + if size { 8 } else { 0 } + if dictionary { 4 } else { 0 };
    let (mut out, mut rest) = (Vec::new(), data.get(header..).ok_or_else(cut)?);
    loop {
        let (word, blocks) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let word = u32::from_le_bytes(*word);
        let length = usize::try_from(word & !(1 << 31)).map_err(io::Error::other)?;
        if length == 0 {
            return Ok(out);
        }
        let (block, next) = blocks.split_at_checked(length).ok_or_else(cut)?;
        let start = if linked { 0 } else { out.len() };
        match word >> 31 {
            0 => lz4_block(block, start, &mut out).ok_or_else(|| bad("broken lz4 block"))?,
            _ => out.extend_from_slice(block),
        }
        if out.len() as u64 > LIMIT {
            return Err(bad("it unpacks to more than 1 GiB"));
        }
        rest = next.get(if block_sums { 4 } else { 0 }..).ok_or_else(cut)?;
    }
}

/// doc/lz4_Block_format.md of lz4: a token, literals, and a match that may overlap what it writes.
/// Matches reach back to `start`.
fn lz4_block(mut block: &[u8], start: usize, out: &mut Vec<u8>) -> Option<()> {
    while let Some((token, rest)) = block.split_first() {
        block = rest;
        let literals = lz4_length(token >> 4, &mut block)?;
        let (literals, rest) = block.split_at_checked(literals)?;
        out.extend_from_slice(literals);
        // The last sequence has no match.
        let Some((offset, rest)) = rest.split_first_chunk::<2>() else { break };
        block = rest;
        let length = lz4_length(token & 15, &mut block)?.checked_add(4)?;
        let from = out.len().checked_sub(usize::from(u16::from_le_bytes(*offset)))?;
        if from < start || from == out.len() {
            return None;
        }
        copy_within(out, from, length);
    }
    Some(())
}

fn lz4_length(first: u8, block: &mut &[u8]) -> Option<usize> {
    let mut length = usize::from(first);
    let mut last = if first == 15 { 255 } else { 0 };
    while last == 255 {
        (last, *block) = block.split_first().map(|(byte, rest)| (*byte, rest))?;
        length = length.checked_add(usize::from(last))?;
    }
    Some(length)
}

/// Appends `length` bytes from offset `from`, which repeat where they run into what is being written.
fn copy_within(out: &mut Vec<u8>, from: usize, mut length: usize) {
    while length > 0 {
        let chunk = length.min(out.len() - from);
        out.extend_from_within(from..from + chunk);
        length -= chunk;
    }
}

fn bad(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
pub(in crate::kernel) mod tests {
    use super::*;

    /// What each tool makes of the text in the test below.
    const SAMPLES: &[(Compression, &str)] = &[
        (Compression::Gzip, "1f8b0800000000000003cb48cdc9c957c8c04e720100680231661e000000"),
        (
            Compression::Xz,
            "fd377a585a000004e6d6b4460200210116000000742fe5a3e0001d000d5d00341949ee8de9573ac7090c8000000000001c0578f9cd21b4\
             f80001291ea317cf9e1fb6f37d010000000004595a",
        ),
        (Compression::Zstd, "28b52ffd04586d00003868656c6c6f200a0100a94b111a4872ab"),
        (Compression::Lz4, "02214c18100000006f68656c6c6f2006000050656c6c6f0a"),
        (Compression::Lz4Frame, "04224d186440a7100000006f68656c6c6f2006000050656c6c6f0a000000002d820339"),
        (Compression::Lzma, "5d00008000ffffffffffffffff00341949ee8de9573ac70db003fffffdd1c000"),
    ];

    /// A stream of each format.
    pub(in crate::kernel) fn samples() -> Vec<Vec<u8>> {
        SAMPLES.iter().map(|(_, sample)| bytes(sample)).collect()
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        hex.as_bytes().chunks(2).map(digits).collect()
    }

    #[test]
    fn every_format_is_told_and_read() {
        for (format, sample) in SAMPLES {
            let mut sample = bytes(sample);
            assert_eq!(Compression::detect(&sample), Some(*format));
            // The kernel's build appends the uncompressed size.
            sample.extend(30_u32.to_le_bytes());
            let out = format.decompress(&sample).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), "hello hello hello hello hello\n", "{format:?}");
            if *format != Compression::Lz4 {
                assert!(format.decompress(&sample[..sample.len() - 20]).is_err(), "{format:?}");
            }
        }
        assert_eq!(Compression::detect(b"\x7fELF"), None);
        assert!(Compression::Bzip2.decompress(b"BZh9").is_err());
    }

    /// With sizes and checksums of blocks; one whose block is stored as it is; two that refer to each other.
    #[test]
    fn other_lz4_frames_are_read() {
        let check = |hex: &str, expected: &str| {
            let frame = bytes(hex);
            assert_eq!(Compression::detect(&frame), Some(Compression::Lz4Frame));
            let out = Compression::Lz4Frame.decompress(&frame).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
            for length in 4..frame.len() - 8 {
                assert!(Compression::Lz4Frame.decompress(&frame[..length]).is_err(), "{length} of {hex}");
            }
        };
        let hello = "hello hello hello hello hello\n";
        let checked = "04224d187c401e000000000000007b100000006f68656c6c6f2006000050656c6c6f0a8ff12d4f000000002d820339";
        check(checked, hello);
        check("04224d186440a70300008061620a0000000000000000", "ab\n");
        check("04224d184440000700000060616263646566090000000206005061626364650000000000000000", "abcdefabcdefabcde");
    }

    #[test]
    fn broken_lz4_is_an_error() {
        for block in [b"\x6fhello \x07\x00\x05".as_slice(), b"\x0f\x00\x00\x05", b"\xf0\xff", b"\x10a\x00\x00"] {
            let mut frame = b"\x02\x21\x4c\x18".to_vec();
            frame.extend(u32::try_from(block.len()).unwrap().to_le_bytes());
            frame.extend(block);
            assert!(Compression::Lz4.decompress(&frame).is_err(), "{block:x?}");
        }
    }
}
