//! The file system of an image, read without mounting it.

use std::error::Error as StdError;
use std::fs::File;
use std::path::Path;

use ext4_view::{Ext4, Ext4Read};
use imago::file::File as ImageFile;
use imago::qcow2::Qcow2;
use imago::{FormatAccess, FormatDriverBuilder as _, PermissiveImplicitOpenGate};
use lvh_core::run::Image;
use lvh_core::vm::DiskFormat;
use lvh_core::{Error, ErrorKind, Result};

/// More than any file of a kernel has: an image may lie about sizes.
const LARGEST: u64 = 512 << 20;

/// An ext4 file system that takes the whole disk, as in the images that lvh and the lvh in Go build.
#[derive(Debug)]
pub(super) struct FileSystem(Ext4);

impl FileSystem {
    /// That of `image`; none where there is another one, or partitions.
    ///
    /// # Errors
    /// The image cannot be read.
    pub(super) fn open(image: &Image) -> Result<Option<Self>> {
        let failed = |error: Box<dyn StdError>| unreadable(&image.path, &error.to_string());
        let disk: Box<dyn Ext4Read> = match image.format {
            DiskFormat::Qcow2 => {
                let opened = Qcow2::<ImageFile>::builder_path(&image.path).open(PermissiveImplicitOpenGate::default());
                Box::new(Clusters(FormatAccess::new(opened.map_err(|error| failed(error.into()))?)))
            }
            _ => Box::new(File::open(&image.path).map_err(|error| failed(error.into()))?),
        };
        Ok(Ext4::load(disk).ok().map(Self))
    }

    /// The bytes of a file, behind all links.
    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>> {
        let failed = |error: ext4_view::Ext4Error| unreadable(Path::new(path), &error.to_string());
        let length = self.0.metadata(path).map_err(failed)?.len();
        if length > LARGEST {
            return Err(unreadable(Path::new(path), &format!("it says that it has {length} bytes")));
        }
        self.0.read(path).map_err(failed)
    }

    /// The path that `path` leads to.
    pub(super) fn canonical(&self, path: &str) -> Option<String> {
        self.0.canonicalize(path).ok()?.to_str().ok().map(str::to_owned)
    }

    /// The names of the files and of the directories in a directory; none where there is none.
    pub(super) fn list(&self, dir: &str) -> (Vec<String>, Vec<String>) {
        let (mut files, mut dirs) = (Vec::new(), Vec::new());
        for entry in self.0.read_dir(dir).into_iter().flatten().flatten() {
            let name = entry.file_name().as_str().map(str::to_owned);
            match (name, entry.file_type()) {
                (Ok(name), Ok(kind)) if kind.is_regular_file() => files.push(name),
                (Ok(name), Ok(kind)) if kind.is_dir() && name != "." && name != ".." => dirs.push(name),
                _ => {}
            }
        }
        (files, dirs)
    }
}

/// What a qcow2 image holds.
struct Clusters(FormatAccess<ImageFile>);

impl Ext4Read for Clusters {
    fn read(&mut self, start: u64, bytes: &mut [u8]) -> std::result::Result<(), Box<dyn StdError + Send + Sync>> {
        Ok(self.0.read(bytes, start)?)
    }
}

fn unreadable(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Artifact, format!("failed to read `{}`: {why}", path.display()))
}
