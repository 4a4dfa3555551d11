//! The header of an x86 bzImage: Documentation/arch/x86/boot.rst in the kernel's sources.

use std::ops::Range;

use crate::kernel::KernelRelease;

/// Offset of the magic `HdrS`.
const MAGIC: usize = 0x202;
const SETUP_SECTS: usize = 0x1f1;
const VERSION: usize = 0x206;
const KERNEL_VERSION: usize = 0x20e;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
/// The first protocol version that knows the payload: 2.08, Linux 2.6.26.
const PROTOCOL: u16 = 0x0208;
const SECTOR: usize = 512;

/// A bzImage's bytes, its magic checked.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernel) struct BzImage<'a>(&'a [u8]);

impl<'a> BzImage<'a> {
    /// `None` if `image` is something else.
    pub(in crate::kernel) fn parse(image: &'a [u8]) -> Option<Self> {
        (image.get(MAGIC..MAGIC + 4)? == b"HdrS").then_some(Self(image))
    }

    /// The release that the header names.
    pub(in crate::kernel) fn release(&self) -> Option<KernelRelease> {
        let text = self.0.get(usize::from(self.u16(KERNEL_VERSION)?) + SECTOR..)?;
        let end = text.iter().take(256).position(|&byte| byte == b' ' || byte == 0)?;
        KernelRelease::parse(std::str::from_utf8(&text[..end]).ok()?)
    }

    /// The compressed kernel.
    pub(in crate::kernel) fn payload(&self) -> Option<&'a [u8]> {
        self.0.get(self.range()?)
    }

    /// How long the file must be at least.
    pub(in crate::kernel) fn end(&self) -> Option<usize> {
        self.range().map(|range| range.end)
    }

    /// Where the compressed kernel is.
    fn range(&self) -> Option<Range<usize>> {
        if self.u16(VERSION)? < PROTOCOL {
            return None;
        }
        // boot.rst: "if setup_sects is 0, the real value is 4".
        let setup = match *self.0.get(SETUP_SECTS)? {
            0 => 4,
            sectors => usize::from(sectors),
        };
        let start = (setup + 1) * SECTOR + self.u32(PAYLOAD_OFFSET)?;
        Some(start..start.checked_add(self.u32(PAYLOAD_LENGTH)?)?)
    }

    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.0.get(at..at + 2)?.try_into().ok()?))
    }

    fn u32(&self, at: usize) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(self.0.get(at..at + 4)?.try_into().ok()?)).ok()
    }
}

#[cfg(test)]
pub(in crate::kernel) mod tests {
    use super::*;

    /// A bzImage of one setup sector that holds `payload`.
    pub(in crate::kernel) fn sample(release: &str, payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 2 * SECTOR];
        image[SETUP_SECTS] = 1;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[VERSION..VERSION + 2].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[KERNEL_VERSION..KERNEL_VERSION + 2].copy_from_slice(&0x100_u16.to_le_bytes());
        image[0x300..0x300 + release.len()].copy_from_slice(release.as_bytes());
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&16_u32.to_le_bytes());
        let length = u32::try_from(payload.len()).unwrap();
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        image.extend([0; 16]);
        image.extend(payload);
        image
    }

    #[test]
    fn header_fields() {
        let image = sample("6.12.1-x (me@here) #1", b"payload");
        let parsed = BzImage::parse(&image).unwrap();
        assert_eq!(parsed.release(), Some(KernelRelease::new("6.12.1-x")));
        assert_eq!(parsed.payload(), Some(b"payload".as_slice()));
    }

    #[test]
    fn cut_and_foreign_files_are_refused() {
        let image = sample("6.12.1-x #1", b"payload");
        for length in 0..image.len() {
            let parsed = BzImage::parse(&image[..length]);
            assert_eq!(parsed.and_then(|parsed| parsed.payload()), None, "{length}");
            let _ = parsed.and_then(|parsed| parsed.release());
        }
        let mut wild = image;
        wild[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].fill(0xff);
        wild[KERNEL_VERSION..KERNEL_VERSION + 2].fill(0xff);
        let parsed = BzImage::parse(&wild).unwrap();
        assert_eq!((parsed.payload(), parsed.release()), (None, None));
        assert!(BzImage::parse(&[0; 4096]).is_none());
    }
}
