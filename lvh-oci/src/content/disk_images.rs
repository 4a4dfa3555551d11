use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::blob::blocking;
use crate::layer::{Wanted, is_zstd, open_compressed};
use crate::scratch::Scratch;
use crate::{BlobStore, Destination, Digest, Error, Image, Limits, Options, Platform, Progress, Result, Source, pull};

/// Where disk images lie in an image of a registry, compressed by zstd.
const IMAGES: &str = "data/images";

/// A run of zeroes that long is a hole of the file.
const HOLE: usize = 64 << 10;

/// What becomes of the compressed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compressed {
    /// It lies beside the image, with `.zst` at the end of its name.
    Kept,
    /// It is removed.
    Removed,
}

/// Disk images that were pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledImages {
    /// The digest of the manifest that they are of.
    pub digest: Digest,
    /// The digest of the index that this was chosen from, if the name was one of an index.
    pub index: Option<Digest>,
    /// The files, decompressed, by their names.
    pub files: Vec<PathBuf>,
}

/// Brings the disk images that an image holds into the directory `into`; files of their names are replaced.
///
/// `base.qcow2.zst` becomes `base.qcow2`, a file with holes where it has nothing but zeroes. Each gets its name when it is complete.
/// Blobs do not stay.
///
/// # Errors
/// Those of [`pull`] and of unpacking.
pub async fn pull_images(
    source: &Source,
    platform: Platform,
    into: &Path,
    compressed: Compressed,
    blobs: &BlobStore,
    options: &Options,
    show: &(dyn Fn(Progress) + Sync),
) -> Result<PulledImages> {
    let image = pull(source, platform, blobs, options, show).await?;
    fs::create_dir_all(into).map_err(|e| Error::io("create", into, e))?;
    let files = unpack(&image, into, compressed).await?;
    let (digest, index) = (image.digest.clone(), image.index.clone());
    drop(image);
    blobs.clear()?;
    Ok(PulledImages { digest, index, files })
}

async fn unpack(image: &Image, into: &Path, compressed: Compressed) -> Result<Vec<PathBuf>> {
    let scratch = Scratch::new_in(into)?;
    let tree = scratch.subdirectory("tree")?;
    image.unpack_wanted(IMAGES, Wanted::All, Destination::Staging(&tree), Limits::default()).await?;
    let into = into.to_owned();
    blocking(move || {
        let mut names = Vec::new();
        find_files(&tree, Path::new(""), &mut names)?;
        names.sort();
        let publish = |name: &PathBuf| publish(&tree, name, &into, compressed, scratch.path());
        names.iter().map(publish).collect()
    })
    .await
}

/// The regular files in `dir`, by their paths below it.
fn find_files(dir: &Path, below: &Path, names: &mut Vec<PathBuf>) -> Result<()> {
    let read = |e| Error::io("read", dir, e);
    for entry in fs::read_dir(dir.join(below)).map_err(read)? {
        let entry = entry.map_err(read)?;
        let (kind, name) = (entry.file_type().map_err(read)?, below.join(entry.file_name()));
        if kind.is_dir() {
            find_files(dir, &name, names)?;
        } else if kind.is_file() {
            names.push(name);
        }
    }
    Ok(())
}

/// Gives the file `name` of `tree` its place in `into`, decompressed; says where that is.
fn publish(tree: &Path, name: &Path, into: &Path, compressed: Compressed, scratch: &Path) -> Result<PathBuf> {
    let (from, target) = (tree.join(name), into.join(name));
    let parent = target.parent().unwrap_or(into);
    fs::create_dir_all(parent).map_err(|e| Error::io("create", parent, e))?;
    if name.extension().is_none_or(|extension| extension != "zst") {
        return rename(&from, &target).map(|()| target);
    }
    let (target, plain) = (target.with_extension(""), scratch.join("plain"));
    decompress(&from, &plain, &name.display().to_string())?;
    rename(&plain, &target)?;
    if compressed == Compressed::Kept {
        rename(&from, &into.join(name))?;
    }
    Ok(target)
}

/// Moves a file whose bytes are to be on the disk by then.
fn rename(from: &Path, to: &Path) -> Result<()> {
    let rename = || {
        File::open(from)?.sync_all()?;
        fs::rename(from, to)
    };
    rename().map_err(|e| Error::io("store", to, e))
}

fn decompress(from: &Path, to: &Path, what: &str) -> Result<()> {
    if !is_zstd(from).map_err(|e| Error::io("read", from, e))? {
        return Err(Error::invalid(what, "it is not compressed by zstd"));
    }
    let mut bytes = open_compressed(from).map_err(|e| Error::invalid(what, e))?;
    let mut file = File::create(to).map_err(|e| Error::io("create", to, e))?;
    let limit = Limits::default().layer;
    let (mut buffer, mut length) = (vec![0; HOLE], 0);
    loop {
        let got = read_full(&mut bytes, &mut buffer).map_err(|e| Error::invalid(what, e))?;
        length += got as u64;
        if length > limit {
            return Err(Error::TooLarge { what: format!("`{what}`"), limit });
        }
        append(&mut file, &buffer[..got]).map_err(|e| Error::io("write", to, e))?;
        if got < buffer.len() {
            return file.set_len(length).map_err(|e| Error::io("write", to, e));
        }
    }
}

/// Fills `buffer`, but for the end.
fn read_full(bytes: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match bytes.read(&mut buffer[got..])? {
            0 => break,
            n => got += n,
        }
    }
    Ok(got)
}

fn append(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    match bytes.iter().all(|byte| *byte == 0) {
        true => file.seek(SeekFrom::Current(i64::try_from(bytes.len()).expect("a small buffer"))).map(drop),
        false => file.write_all(bytes),
    }
}
