//! Whether a PC's firmware finds something to start on a disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::disk::{self, QCOW2};

const SECTOR: usize = 512;
/// Of an entry that leads to a cluster: where that is (docs/interop/qcow2.rst in QEMU, as all here).
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
const COMPRESSED: u64 = 1 << 62;
/// The incompatible features that this does not know: where data is elsewhere, is compressed otherwise, or is found otherwise.
const UNREADABLE: u64 = 0b1_1100;

/// Whether the disk at `path` begins with a boot sector. None where that cannot be told: it is not read further than it need be.
pub fn has_boot_sector(path: &Path) -> Option<bool> {
    let files = disk::chain(path).ok()?;
    for file in &files {
        if let Some(sector) = first_sector(file).ok()? {
            return Some(sector[SECTOR - 2..] == [0x55, 0xaa]);
        }
    }
    Some(false)
}

/// None where the file leaves it to the one that it lies over.
fn first_sector(path: &Path) -> io::Result<Option<[u8; SECTOR]>> {
    let (file, mut magic) = (File::open(path)?, [0; 4]);
    file.read_exact_at(&mut magic, 0)?;
    let at = if magic == QCOW2 { first_cluster(&file)? } else { Some(0) };
    let Some(at) = at else { return Ok(None) };
    let mut sector = [0; SECTOR];
    file.read_exact_at(&mut sector, at).map(|()| Some(sector))
}

/// Where a qcow2 file has the disk's first cluster; none where it has none.
fn first_cluster(file: &File) -> io::Result<Option<u64>> {
    let is_encrypted = number(file, 32)? >> 32 != 0;
    let is_v3 = number(file, 0)? & 0xffff_ffff >= 3;
    if is_encrypted || is_v3 && number(file, 72)? & UNREADABLE != 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let table = number(file, number(file, 40)?)? & OFFSET;
    if table == 0 {
        return Ok(None);
    }
    match number(file, table)? {
        entry if entry & COMPRESSED != 0 => Err(io::ErrorKind::Unsupported.into()),
        entry => Ok(Some(entry & OFFSET).filter(|offset| *offset != 0)),
    }
}

fn number(file: &File, at: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, at).map(|()| u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_boot_sector_is_found_in_every_format() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let qemu_img = |words: &str| {
            let status = Command::new("qemu-img").args(words.split(' ')).current_dir(dir.path()).status();
            assert!(status.expect("tests/setup installs qemu-img").success(), "{words}");
        };
        let mut disk = vec![1; 1 << 20];
        for (name, is_bootable) in [("boots", true), ("not", false)] {
            disk[510..512].copy_from_slice(if is_bootable { &[0x55, 0xaa] } else { &[0; 2] });
            std::fs::write(at(name), &disk).unwrap();
            qemu_img(&format!("convert -q -f raw -O qcow2 {name} {name}.qcow2"));
            qemu_img(&format!("convert -q -c -f raw -O qcow2 {name} {name}.small"));
            qemu_img(&format!("create -q -f qcow2 -F qcow2 -b {name}.qcow2 {name}.over"));
            let found = |end: &str| has_boot_sector(&at(&format!("{name}{end}")));
            assert_eq!([found(""), found(".qcow2"), found(".over")], [Some(is_bootable); 3], "{name}");
            assert_eq!(found(".small"), None, "compressed");
        }
        qemu_img("create -q -f qcow2 empty.qcow2 1M");
        assert_eq!(has_boot_sector(&at("empty.qcow2")), Some(false));
        std::fs::write(at("short"), "x").unwrap();
        assert_eq!([has_boot_sector(&at("short")), has_boot_sector(&at("nowhere"))], [None; 2]);
    }
}
