use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use crate::blob::blocking;
use crate::layer::{clean, is_link_to_sources, link_stays};
use crate::local::{Layout, publish, to_json};
use crate::manifest::{Descriptor, Document, Manifest, OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, PlatformWords};
use crate::{Digest, Error, Platform, Result};

/// A directory or file, and where it goes in the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The directory or file.
    pub from: PathBuf,
    /// Its path in the image, such as `data/kernels/6.12` or `data/images/base.qcow2.zst`.
    pub to: String,
}

/// What an image is made of.
#[derive(Debug, Clone)]
pub struct Pack {
    /// What is in it.
    pub contents: Vec<Content>,
    /// What it is for.
    pub platform: Platform,
    /// What is noted of it.
    pub annotations: BTreeMap<String, String>,
    /// Its name in the layout; none where it needs none.
    pub tag: Option<String>,
}

/// An image in a layout directory.
#[derive(Debug, Clone)]
pub struct Packed {
    /// The manifest's digest.
    pub digest: Digest,
    /// Links that were left out: `build` and `source` of a module tree, where they lead out of it.
    pub left_out: Vec<PathBuf>,
    pub(crate) dir: PathBuf,
    pub(crate) entry: Descriptor,
    pub(crate) manifest: Manifest,
}

impl Packed {
    /// The image of that name and platform in the layout `dir`, as [`pack`] has left it.
    ///
    /// # Errors
    /// When there is none, or it is damaged.
    pub fn find(dir: &Path, tag: Option<&str>, platform: Platform) -> Result<Self> {
        let layout = Layout::open(dir)?;
        let name = dir.display().to_string();
        let (entry, manifest) = match layout.root(tag)? {
            (Document::Manifest(manifest), digest) => {
                let size = to_len(&layout.blob_path(&digest))?;
                (Descriptor::new(OCI_MANIFEST, digest, size), manifest)
            }
            (Document::Index(index), _) => {
                let entry = index.select(platform, &name)?.clone();
                match Document::parse(&layout.document(&entry)?, &name)? {
                    Document::Manifest(manifest) => (entry, manifest),
                    Document::Index(_) => return Err(Error::invalid(name, "an index within an index")),
                }
            }
        };
        let entry = Descriptor { platform: Some(PlatformWords::of(platform)), annotations: None, ..entry };
        Ok(Self { digest: entry.digest.clone(), left_out: Vec::new(), dir: dir.to_owned(), entry, manifest })
    }
}

/// Writes an image into the layout directory `into`, which is made where it is missing.
///
/// The same files give the same bytes: members are sorted, times are 0, owners are root, modes are 755 or 644.
///
/// # Errors
/// When a file cannot be read or changes meanwhile, is neither file, directory nor link, or is a link that leads out.
pub async fn pack(pack: Pack, into: &Path) -> Result<Packed> {
    let into = into.to_owned();
    blocking(move || pack_blocking(&pack, &into)).await
}

fn pack_blocking(pack: &Pack, into: &Path) -> Result<Packed> {
    let layout = Layout::create(into)?;
    let mut found = Found::default();
    pack.contents.iter().try_for_each(|content| found.add(content))?;
    let (layer, diff_id) = write_layer(&layout, &found.members)?;
    let config = layout.add(&config(pack.platform, &diff_id), OCI_CONFIG)?;
    let annotations = Some(pack.annotations.clone()).filter(|all| !all.is_empty());
    let media_type = Some(OCI_MANIFEST.to_owned());
    let manifest = Manifest { schema_version: 2, media_type, config, layers: vec![layer], annotations };
    let mut entry = layout.add(&to_json(&manifest), OCI_MANIFEST)?;
    entry.platform = Some(PlatformWords::of(pack.platform));
    layout.name(entry.clone(), pack.tag.as_deref())?;
    Ok(Packed { digest: entry.digest.clone(), left_out: found.left_out, dir: into.to_owned(), entry, manifest })
}

/// The configuration. Docker creates no container without a command, and lvh's Go tool takes images by way of one.
fn config(platform: Platform, diff_id: &Digest) -> Vec<u8> {
    to_json(&json!({
        "architecture": platform.architecture().as_str(),
        "config": { "Cmd": ["/lvh"] },
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [diff_id] },
    }))
}

/// What goes into the layer, by its path there: sorted, a directory before what is in it.
#[derive(Default)]
struct Found {
    members: BTreeMap<PathBuf, Kind>,
    left_out: Vec<PathBuf>,
}

enum Kind {
    Directory,
    File(PathBuf),
    Link(PathBuf),
}

impl Found {
    fn add(&mut self, content: &Content) -> Result<()> {
        let to = clean(content.to.as_ref()).map_err(|why| Error::invalid(&content.to, why))?;
        for parent in to.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
            self.members.insert(parent.to_owned(), Kind::Directory);
        }
        self.walk(&content.from, &to, Path::new(""))
    }

    /// Adds the file at `from`, which is `below` the content's own root, as `to`.
    fn walk(&mut self, from: &Path, to: &Path, below: &Path) -> Result<()> {
        let kind = fs::symlink_metadata(from).map_err(|e| Error::io("read", from, e))?.file_type();
        if kind.is_dir() {
            self.members.insert(to.to_owned(), Kind::Directory);
            for name in names(from)? {
                self.walk(&from.join(&name), &to.join(&name), &below.join(&name))?;
            }
        } else if kind.is_file() {
            self.members.insert(to.to_owned(), Kind::File(from.to_owned()));
        } else if kind.is_symlink() {
            self.link(from, to, below)?;
        } else {
            return Err(Error::invalid(from.display(), "it is neither a file nor a directory nor a link"));
        }
        Ok(())
    }

    fn link(&mut self, from: &Path, to: &Path, below: &Path) -> Result<()> {
        let target = fs::read_link(from).map_err(|e| Error::io("read", from, e))?;
        if link_stays(below, &target) {
            self.members.insert(to.to_owned(), Kind::Link(target));
        } else if is_link_to_sources(below) {
            self.left_out.push(from.to_owned());
        } else {
            return Err(Error::invalid(
                from.display(),
                format!("it is a link to `{}`, which is not packed", target.display()),
            ));
        }
        Ok(())
    }
}

fn names(dir: &Path) -> Result<BTreeSet<std::ffi::OsString>> {
    let read = || fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<_>>();
    read().map_err(|e| Error::io("read", dir, e))
}

/// Writes the layer's blob; gives its descriptor and the digest of the tar file in it.
fn write_layer(layout: &Layout, members: &BTreeMap<PathBuf, Kind>) -> Result<(Descriptor, Digest)> {
    let dir = layout.dir().join("blobs/sha256");
    let temp = tempfile::NamedTempFile::new_in(&dir).map_err(|e| Error::io("create a file in", &dir, e))?;
    let packed = Hashing::new(io::BufWriter::new(temp));
    let plain = Hashing::new(GzBuilder::new().write(packed, Compression::default()));
    let mut tar = Builder::new(plain);
    for (path, kind) in members {
        append(&mut tar, path, kind)?;
    }
    let finish = || {
        let plain = tar.into_inner()?;
        let diff_id = Digest::finish(plain.hash);
        let packed = plain.inner.finish()?;
        let (digest, size) = (Digest::finish(packed.hash), packed.length);
        let temp = packed.inner.into_inner().map_err(io::IntoInnerError::into_error)?;
        publish(temp, &dir.join(digest.hex()))?;
        io::Result::Ok((Descriptor::new(OCI_LAYER_GZIP, digest, size), diff_id))
    };
    finish().map_err(|e| Error::io("write a layer in", &dir, e))
}

type Tar = Builder<Hashing<GzEncoder<Hashing<io::BufWriter<tempfile::NamedTempFile>>>>>;

fn append(tar: &mut Tar, path: &Path, kind: &Kind) -> Result<()> {
    let mut header = Header::new_gnu();
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mode(0o755);
    header.set_size(0);
    let done = match kind {
        Kind::Directory => {
            header.set_entry_type(EntryType::Directory);
            // By custom a directory's name ends with a slash.
            tar.append_data(&mut header, path.join(""), io::empty())
        }
        Kind::Link(target) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            tar.append_link(&mut header, path, target)
        }
        Kind::File(from) => append_file(tar, header, path, from),
    };
    done.map_err(|e| Error::io("pack", path, e))
}

fn append_file(tar: &mut Tar, mut header: Header, path: &Path, from: &Path) -> io::Result<()> {
    let file = File::open(from)?;
    let metadata = file.metadata()?;
    header.set_entry_type(EntryType::Regular);
    header.set_mode(if metadata.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 });
    header.set_size(metadata.len());
    tar.append_data(&mut header, path, Exactly { file, left: metadata.len() })
}

/// The bytes that the header has promised, though the file may shrink or grow.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        match self.file.read(&mut buffer[..most])? {
            0 if most > 0 => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was being packed"))
            }
            n => {
                self.left -= n as u64;
                Ok(n)
            }
        }
    }
}

/// Hashes and counts what is written.
struct Hashing<W> {
    inner: W,
    hash: Sha256,
    length: u64,
}

impl<W> Hashing<W> {
    fn new(inner: W) -> Self {
        Self { inner, hash: Sha256::new(), length: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hash.update(&bytes[..n]);
        self.length += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn to_len(path: &Path) -> Result<u64> {
    fs::metadata(path).map(|metadata| metadata.len()).map_err(|e| Error::io("read", path, e))
}
