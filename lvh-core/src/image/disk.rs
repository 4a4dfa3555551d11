//! The files that a disk is in.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::kernel::stamp;
use crate::{Error, ErrorKind, Result};

/// How a disk image is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiskFormat {
    /// The bytes of the disk, one after the other.
    Raw,
    /// QEMU's own format.
    Qcow2,
}

/// What a qcow2 file begins with (docs/interop/qcow2.rst, as all below).
pub(crate) const QCOW2: [u8; 4] = *b"QFI\xfb";

/// The longest name of a file that a qcow2 file lies over.
const LONGEST: u32 = 1023;

/// How many files may lie over one another.
const DEEPEST: usize = 32;

impl DiskFormat {
    /// QEMU's name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
        }
    }

    /// The format of the file at `path`, by what it begins with.
    ///
    /// # Errors
    /// It cannot be read, or is empty.
    pub fn of_file(path: &Path) -> Result<Self> {
        let mut magic = Vec::new();
        let file = File::open(path).map_err(|error| Error::path("open the disk", path, error))?;
        file.take(4).read_to_end(&mut magic).map_err(|error| Error::path("read the disk", path, error))?;
        match magic[..] {
            [] => Err(Error::new(ErrorKind::Usage, format!("the disk `{}` is empty", path.display()))),
            _ if magic == QCOW2 => Ok(Self::Qcow2),
            _ => Ok(Self::Raw),
        }
    }
}

impl fmt::Display for DiskFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The file at `path`, the file that it lies over where it is a qcow2 file that does, and so on.
///
/// # Errors
/// One of them cannot be read.
pub(crate) fn chain(path: &Path) -> Result<Vec<PathBuf>> {
    let mut files = vec![path.to_owned()];
    while let Some(below) = backing_file(&files[files.len() - 1])? {
        if files.len() == DEEPEST {
            let message = format!("the disk `{}` lies over more than {DEEPEST} files", path.display());
            return Err(Error::new(ErrorKind::Usage, message));
        }
        files.push(below);
    }
    Ok(files)
}

/// The size of the disk in the file at `path`, in bytes; that of a qcow2 file is in its header.
///
/// # Errors
/// It cannot be read.
pub(crate) fn size(path: &Path) -> Result<u64> {
    let failed = |error| Error::path("read the disk", path, error);
    let mut header = [0; 32];
    let mut file = File::open(path).map_err(failed)?;
    match file.read_exact(&mut header) {
        Ok(()) if header.starts_with(&QCOW2) => Ok(u64::from_be_bytes(header[24..].try_into().expect("eight bytes"))),
        _ => Ok(file.metadata().map_err(failed)?.len()),
    }
}

/// What changes when one of the files does that the disk at `path` is in.
pub(crate) fn stamp_of_all(path: &Path) -> String {
    let files = chain(path).unwrap_or_else(|_error| vec![path.to_owned()]);
    files.iter().map(|file| stamp(file)).collect::<Vec<_>>().join("\n")
}

/// The file that the qcow2 file at `path` lies over; none where it is none, or lies over none.
fn backing_file(path: &Path) -> Result<Option<PathBuf>> {
    let failed = |error| Error::path("read the disk", path, error);
    let file = File::open(path).map_err(|error| Error::path("open the disk", path, error))?;
    // The magic, the version, where the name is, and how long.
    let mut header = [0; 20];
    match file.read_exact_at(&mut header, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read.map_err(failed)?,
    }
    let (offset, length) = (&header[8..16], &header[16..]);
    let offset = u64::from_be_bytes(offset.try_into().expect("eight bytes"));
    let length = u32::from_be_bytes(length.try_into().expect("four bytes"));
    if header[..4] != QCOW2 || offset == 0 {
        return Ok(None);
    }
    let mut name = vec![0; length.min(LONGEST) as usize];
    file.read_exact_at(&mut name, offset).map_err(failed)?;
    // A relative name starts where the file is.
    Ok(Some(path.parent().unwrap_or(Path::new("")).join(OsStr::from_bytes(&name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A qcow2 file's header with this name behind it.
    fn qcow2(below: &str) -> Vec<u8> {
        let mut header = [&QCOW2[..], &3_u32.to_be_bytes()].concat();
        let offset: u64 = if below.is_empty() { 0 } else { 20 };
        header.extend(offset.to_be_bytes());
        header.extend((below.len() as u32).to_be_bytes());
        header.extend(below.as_bytes());
        header
    }

    #[test]
    fn a_format_is_told_by_what_the_file_begins_with() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk.img");
        let format = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            DiskFormat::of_file(&path).map_err(|error| error.to_string())
        };
        assert_eq!(format(&qcow2("")), Ok(DiskFormat::Qcow2));
        assert_eq!(format(b"QFI"), Ok(DiskFormat::Raw));
        assert_eq!(format(&[0; 4096]), Ok(DiskFormat::Raw));
        assert_eq!(format(b""), Err(format!("the disk `{}` is empty", path.display())));
    }

    #[test]
    fn a_disk_tells_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        std::fs::write(&path, [0; 100]).unwrap();
        assert_eq!(size(&path).unwrap(), 100);
        let mut header = [0; 40];
        header[..4].copy_from_slice(&QCOW2);
        header[24..32].copy_from_slice(&(8_u64 << 30).to_be_bytes());
        std::fs::write(&path, header).unwrap();
        assert_eq!(size(&path).unwrap(), 8 << 30);
    }

    #[test]
    fn a_disk_changes_with_what_it_lies_over() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("top"), qcow2("middle")).unwrap();
        std::fs::write(at("middle"), qcow2(at("base").to_str().unwrap())).unwrap();
        assert!(chain(&at("top")).unwrap_err().to_string().contains("base"), "the last is not there");
        std::fs::write(at("base"), b"raw").unwrap();
        assert_eq!(chain(&at("top")).unwrap(), [at("top"), at("middle"), at("base")]);
        let before = stamp_of_all(&at("top"));
        std::fs::write(at("base"), b"other").unwrap();
        assert_ne!(stamp_of_all(&at("top")), before);
        std::fs::write(at("base"), qcow2("top")).unwrap();
        assert!(chain(&at("top")).unwrap_err().to_string().contains("lies over more than 32 files"));
    }

    /// A file may say anything of what it lies over.
    #[test]
    fn cut_headers_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let (path, whole) = (dir.path().join("disk"), qcow2("below"));
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let _ = backing_file(&path);
        }
    }
}
