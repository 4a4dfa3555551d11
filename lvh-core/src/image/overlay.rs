//! Empty qcow2 files, which QEMU lays over a disk and fills with what a guest writes (docs/interop/qcow2.rst).

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::disk::{QCOW2, size};
use crate::{Error, Result};

/// The exponent of a cluster's size, QEMU's default.
const CLUSTER_BITS: u32 = 16;
const CLUSTER: u64 = 1 << CLUSTER_BITS;

/// How much of the disk one entry of the first table stands for: a cluster full of addresses of eight bytes.
const OF_ENTRY: u64 = CLUSTER / 8 * CLUSTER;

/// QEMU counts disks in sectors.
const SECTOR: u64 = 512;

/// Makes the file `over`, for the disk in the file `below`. Which that is it does not say.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn create(over: &Path, below: &Path) -> Result<()> {
    let (file, size) = (empty(size(below)?.next_multiple_of(SECTOR)), over);
    let written = File::create_new(size).and_then(|to| to.write_all_at(&file, 0));
    written.map_err(|error| Error::path("write", over, error))
}

/// A file for a disk of so many bytes: the header, the references (which are to clusters that are in use, and a table of such
/// tables), and the first table, a cluster or more.
fn empty(size: u64) -> Vec<u8> {
    let entries = size.div_ceil(OF_ENTRY);
    let clusters = 3 + (entries * 8).div_ceil(CLUSTER).max(1);
    let mut file = vec![0; (clusters * CLUSTER) as usize];
    let mut put = |at: u64, bytes: &[u8]| file[at as usize..][..bytes.len()].copy_from_slice(bytes);
    put(0, &QCOW2);
    put(4, &3_u32.to_be_bytes());
    put(20, &CLUSTER_BITS.to_be_bytes());
    put(24, &size.to_be_bytes());
    put(36, &(entries as u32).to_be_bytes());
    put(40, &(3 * CLUSTER).to_be_bytes());
    put(48, &CLUSTER.to_be_bytes());
    put(56, &1_u32.to_be_bytes());
    // References take 2 to the power of 4 bits, the header that many bytes.
    put(96, &4_u32.to_be_bytes());
    put(100, &104_u32.to_be_bytes());
    put(CLUSTER, &(2 * CLUSTER).to_be_bytes());
    (0..clusters).for_each(|cluster| put(2 * CLUSTER + 2 * cluster, &1_u16.to_be_bytes()));
    file
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// QEMU's own tool finds nothing wrong with one.
    #[test]
    fn an_empty_file_is_sound() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for bytes in [1000, 1 << 30, 5 << 40] {
            File::create(at("below")).unwrap().set_len(bytes).unwrap();
            let _ = std::fs::remove_file(at("over"));
            create(&at("over"), &at("below")).unwrap();
            let check = Command::new("qemu-img").args(["check", "-f", "qcow2"]).arg(at("over")).output().unwrap();
            assert!(check.status.success(), "{bytes}: {check:?}");
            assert_eq!(size(&at("over")).unwrap(), bytes.next_multiple_of(SECTOR));
        }
    }
}
