//! The uncompressed kernel that a boot image carries.
//!
//! QEMU starts an ELF file with Xen's PVH note directly. That skips the decompressor in the image, which under
//! emulation takes as long as the rest of the boot.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use super::bzimage::BzImage;
use super::compression::Compression;
use super::elf::Elf;
use super::search::find;
use crate::store::{Entry, Key, Store};
use crate::{Error, Result};

/// The kind of the store's entries for what was taken out of images.
const KIND: &str = "vmlinux";
/// `XEN_ELFNOTE_PHYS32_ENTRY`, Xen's public/elfnote.h: the 32-bit entry of a PVH guest.
const PVH_NOTE: u32 = 18;

/// What an image turned out to hold.
#[derive(Debug)]
pub enum Payload {
    /// An ELF file with a PVH entry, and the kernel's config where it was built with `CONFIG_IKCONFIG`.
    Pvh {
        /// The uncompressed kernel.
        vmlinux: Vec<u8>,
        /// The text of the `.config`.
        config: Option<Vec<u8>>,
    },
    /// arm64's Image, which is not compressed: QEMU starts it as it is.
    Image {
        /// As of [`Payload::Pvh`].
        config: Option<Vec<u8>>,
    },
    /// Nothing that QEMU could start directly; says why.
    Unusable(String),
}

impl Payload {
    /// Takes the kernel out of the bytes of a bzImage; an ELF file and an Image are looked at as they are.
    pub fn extract(image: &[u8]) -> Self {
        if is_arm64(image) {
            return Self::Image { config: ikconfig(image) };
        }
        match unpack(image) {
            Ok(vmlinux) if Elf::parse(&vmlinux).is_some_and(|elf| elf.has_note("Xen", PVH_NOTE)) => {
                Self::Pvh { config: ikconfig(&vmlinux), vmlinux: vmlinux.into_owned() }
            }
            Ok(_) => Self::Unusable("it holds no ELF file with a PVH entry (CONFIG_PVH is off)".to_owned()),
            Err(reason) => Self::Unusable(reason),
        }
    }
}

/// Whether it is an Image, by the magic number of Documentation/arch/arm64/booting.rst.
pub(in crate::kernel) fn is_arm64(image: &[u8]) -> bool {
    image.get(0x38..0x3c) == Some(b"ARM\x64")
}

fn unpack(image: &[u8]) -> std::result::Result<Cow<'_, [u8]>, String> {
    if Elf::parse(image).is_some() {
        return Ok(Cow::Borrowed(image));
    }
    let bzimage = BzImage::parse(image).ok_or("it is no bzImage")?;
    let payload = bzimage.payload().ok_or("its header names no payload within the file")?;
    if Elf::parse(payload).is_some() {
        return Ok(Cow::Borrowed(payload));
    }
    let format = Compression::detect(payload).ok_or("its payload is in no known format")?;
    format.decompress(payload).map(Cow::Owned).map_err(|e| format!("its payload cannot be unpacked: {e}"))
}

/// The config that `CONFIG_IKCONFIG` builds into a kernel: gzip between two marks (kernel/configs.c).
fn ikconfig(vmlinux: &[u8]) -> Option<Vec<u8>> {
    let start = find(vmlinux, b"IKCFG_ST\x1f\x8b")? + b"IKCFG_ST".len();
    Compression::Gzip.decompress(&vmlinux[start..]).ok()
}

/// What the store keeps of an image.
#[derive(Debug, Default)]
pub(in crate::kernel) struct Extracted {
    pub(in crate::kernel) vmlinux: Option<PathBuf>,
    pub(in crate::kernel) config: Option<PathBuf>,
    /// Keeps them there.
    pub(in crate::kernel) entry: Option<Entry>,
}

/// [`Payload::extract`] of the file `image`, done once per `key`. `start` is called when there is work to do; a note
/// goes to `tell` where the kernel cannot be started directly.
pub(in crate::kernel) fn extracted(
    image: &Path,
    key: &Key,
    store: &Store,
    start: &dyn Fn(),
    tell: &dyn Fn(&str),
) -> Result<Extracted> {
    let entry = store.populate(KIND, key, start, |staging| {
        start();
        let bytes = fs::read(image).map_err(|e| Error::path("read", image, e))?;
        let payload = Payload::extract(&bytes);
        if let Payload::Unusable(reason) = &payload {
            tell(reason);
        }
        save(&staging.entry(), &payload)
    })?;
    Ok(look(entry))
}

fn save(dir: &Path, payload: &Payload) -> Result<()> {
    let files: &[(&str, Option<&[u8]>)] = match payload {
        Payload::Pvh { vmlinux, config } => &[("vmlinux", Some(vmlinux)), ("config", config.as_deref())],
        // An entry without a file is none.
        Payload::Image { config } => &[("reason", Some(b"it is started as it is")), ("config", config.as_deref())],
        Payload::Unusable(reason) => &[("reason", Some(reason.as_bytes()))],
    };
    for (name, bytes) in files.iter().filter_map(|(name, bytes)| Some((name, (*bytes)?))) {
        let path = dir.join(name);
        fs::write(&path, bytes).map_err(|e| Error::path("write", &path, e))?;
    }
    Ok(())
}

fn look(entry: Entry) -> Extracted {
    let file = |name| Some(entry.path().join(name)).filter(|path| path.is_file());
    Extracted { vmlinux: file("vmlinux"), config: file("config"), entry: Some(entry) }
}

#[cfg(test)]
mod tests {
    use super::super::{bzimage, elf};
    use super::*;

    const CONFIG: &[u8] = b"hello hello hello hello hello\n";
    /// `CONFIG` in gzip.
    const PACKED: &[u8] =
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x48\xcd\xc9\xc9\x57\xc8\xc0\x4e\x72\x01\0\x68\x02\x31\x66\x1e\0\0\0";

    fn kernel(owner: &str) -> Vec<u8> {
        let built_in = [b"IKCFG_ST".as_slice(), PACKED, b"IKCFG_ED"].concat();
        elf::tests::sample(".rodata", &built_in, owner, PVH_NOTE)
    }

    #[test]
    fn kernels_with_the_note_are_usable() {
        let kernel = kernel("Xen");
        for image in [kernel.clone(), bzimage::tests::sample("6.1", &kernel)] {
            let Payload::Pvh { vmlinux, config } = Payload::extract(&image) else { panic!("not usable") };
            assert_eq!(vmlinux, kernel);
            assert_eq!(config.as_deref(), Some(CONFIG));
        }
    }

    #[test]
    fn an_image_of_arm64_is_usable_as_it_is() {
        let plain = [&[0; 0x38], b"ARM\x64".as_slice()].concat();
        let config = |image: &[u8]| match Payload::extract(image) {
            Payload::Image { config } => config,
            other => panic!("{other:?}"),
        };
        assert_eq!(config(&plain), None);
        assert_eq!(config(&[plain, b"IKCFG_ST".to_vec(), PACKED.to_vec()].concat()).as_deref(), Some(CONFIG));
    }

    #[test]
    fn others_say_why_not() {
        let cases = [
            (kernel("GNU"), "PVH"),
            (bzimage::tests::sample("6.1", b"?"), "no known format"),
            (bzimage::tests::sample("6.1", b"BZh9"), "Bzip2"),
            (bzimage::tests::sample("6.1", &PACKED[..20]), "cannot be unpacked"),
            (bzimage::tests::sample("6.1", PACKED), "no ELF file"),
            (b"#!/bin/sh".to_vec(), "no bzImage"),
        ];
        for (image, why) in cases {
            let Payload::Unusable(reason) = Payload::extract(&image) else { panic!("usable: {why}") };
            assert!(reason.contains(why), "{reason}");
        }
    }
}
