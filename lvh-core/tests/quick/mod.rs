//! What stands for kernels where only the way to them counts.

use std::fs;
use std::path::Path;

/// The Makefile of a source whose `make` takes no time.
pub(crate) const MAKEFILE: &str = include_str!("kernel.mk");
/// make's goals for a whole kernel.
#[allow(dead_code, reason = "not every test asks what make did")]
pub(crate) const ALL: &str = if cfg!(target_arch = "aarch64") { "Image.gz modules" } else { "bzImage modules" };

/// Writes the file, and makes its directory.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Writes a source of a kernel to `dir`.
pub(crate) fn write_source(dir: &Path) {
    for (file, text) in
        [("Makefile", MAKEFILE), ("Kconfig", "config A\n\tbool \"A\"\n"), ("Kbuild", ""), ("version", "one\n")]
    {
        write(&dir.join(file), text.as_bytes());
    }
}

/// A header without a kernel: one setup sector, and version 2.15 of the boot protocol.
pub(crate) fn bzimage() -> Vec<u8> {
    let mut image = vec![0; 1040];
    image[0x1f1] = 1;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    image[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
    image[0x300..0x306].copy_from_slice(b"6.1-x ");
    image
}
