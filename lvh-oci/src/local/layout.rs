use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::manifest::{Descriptor, Document, Index, LARGEST_DOCUMENT, OCI_INDEX};
use crate::scratch::Scratch;
use crate::{Digest, Error, Result};

/// The annotation that names an image in a layout (OCI image specification, `annotations.md`).
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A directory of the OCI image layout: `oci-layout`, `index.json`, `blobs/sha256/HEX`.
#[derive(Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
    _scratch: Option<Scratch>,
}

impl Layout {
    /// Opens the layout in `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let layout = Self { dir: dir.to_owned(), _scratch: None };
        match dir.join("index.json").is_file() {
            true => Ok(layout),
            false => Err(Error::invalid(dir.display(), "it is no OCI layout: it has no `index.json`")),
        }
    }

    /// Makes the layout in `dir`, or opens the one that is there.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        let layout = Self { dir: dir.to_owned(), _scratch: None };
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(|e| Error::io("create", &blobs, e))?;
        layout.write("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        if !dir.join("index.json").exists() {
            layout.write_index(Vec::new())?;
        }
        Ok(layout)
    }

    /// The same, kept with the scratch directory that it lies in.
    pub(crate) fn with_scratch(self, scratch: Scratch) -> Self {
        Self { _scratch: Some(scratch), ..self }
    }

    /// The same place, for another thread; it does not keep the scratch directory.
    pub(crate) fn at(&self) -> Self {
        Self { dir: self.dir.clone(), _scratch: None }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What `tag` names: a manifest, an index, or several manifests of that name, which are an index. Without a tag, all there is.
    pub(crate) fn root(&self, tag: Option<&str>) -> Result<(Document, Digest)> {
        let index = self.index()?;
        let mut entries = index.manifests.clone();
        entries.retain(|entry| tag.is_none() || name_of(entry) == tag);
        let names: std::collections::BTreeSet<_> = entries.iter().map(name_of).collect();
        match entries.as_slice() {
            [] => Err(self.no_such_image(tag, &index)),
            [entry] => Ok((Document::parse(&self.document(entry)?, entry.digest.as_str())?, entry.digest.clone())),
            _ if names.len() > 1 => Err(self.no_such_image(tag, &index)),
            _ => {
                let index = Index { manifests: entries, ..index };
                let digest = Digest::of(&to_json(&index));
                Ok((Document::Index(index), digest))
            }
        }
    }

    /// The bytes of a manifest, index or configuration.
    pub(crate) fn document(&self, entry: &Descriptor) -> Result<Vec<u8>> {
        entry.check(LARGEST_DOCUMENT)?;
        let path = self.blob(entry)?;
        fs::read(&path).map_err(|e| Error::io("read", &path, e))
    }

    /// Where the blob lies, once its size and digest were looked at.
    pub(crate) fn blob(&self, blob: &Descriptor) -> Result<PathBuf> {
        blob.check(u64::MAX)?;
        let path = self.blob_path(&blob.digest);
        let metadata = fs::metadata(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::not_found_in(&blob.digest, self.dir.display(), String::new()),
            _ => Error::io("read", &path, e),
        })?;
        match metadata.len() {
            got if got < blob.size => {
                Err(Error::Truncated { what: path.display().to_string(), got, expected: blob.size })
            }
            got if got > blob.size => Err(Error::TooLarge { what: format!("`{}`", path.display()), limit: blob.size }),
            _ => {
                let actual = Digest::of_file(&path)?;
                let wrong = Error::WrongDigest { what: blob.digest.to_string(), actual: actual.hex().to_owned() };
                if actual == blob.digest { Ok(path) } else { Err(wrong) }
            }
        }
    }

    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    /// Stores `bytes` as a blob.
    pub(crate) fn add(&self, bytes: &[u8], media_type: &str) -> Result<Descriptor> {
        let digest = Digest::of(bytes);
        self.write(&format!("blobs/sha256/{}", digest.hex()), bytes)?;
        Ok(Descriptor::new(media_type, digest, bytes.len() as u64))
    }

    /// Names a manifest; one of that name for the same platform is no longer named.
    pub(crate) fn name(&self, mut entry: Descriptor, tag: Option<&str>) -> Result<()> {
        let mut entries = self.index()?.manifests;
        entries.retain(|other| name_of(other) != tag || other.platform != entry.platform);
        entry.annotations = tag.map(|tag| BTreeMap::from([(REF_NAME.to_owned(), tag.to_owned())]));
        entries.push(entry);
        self.write_index(entries)
    }

    fn index(&self) -> Result<Index> {
        let path = self.dir.join("index.json");
        let bytes = fs::read(&path).map_err(|e| Error::io("read", &path, e))?;
        match Document::parse(&bytes, &path.display().to_string())? {
            Document::Index(index) => Ok(index),
            Document::Manifest(_) => Err(Error::invalid(path.display(), "it is no index")),
        }
    }

    fn write_index(&self, manifests: Vec<Descriptor>) -> Result<()> {
        let index = Index { schema_version: 2, media_type: Some(OCI_INDEX.to_owned()), manifests, annotations: None };
        self.write("index.json", &to_json(&index))
    }

    /// Writes a file whole: under its name it is never half there.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.dir.join(name);
        let write = || {
            let mut temp = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(&self.dir))?;
            temp.write_all(bytes)?;
            publish(temp, &path)
        };
        write().map_err(|e| Error::io("write", &path, e))
    }

    fn no_such_image(&self, tag: Option<&str>, index: &Index) -> Error {
        let names: Vec<_> =
            index.manifests.iter().map(|entry| name_of(entry).unwrap_or("one without a name")).collect();
        let known =
            if names.is_empty() { " (it is empty)".to_owned() } else { format!(" (it has: {})", names.join(", ")) };
        let what = tag.map_or_else(|| "an image without a name".to_owned(), str::to_owned);
        Error::not_found_in(what, self.dir.display(), known)
    }
}

/// Gives a finished temporary file its name, readable for all.
pub(crate) fn publish(temp: tempfile::NamedTempFile, path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    temp.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    temp.as_file().sync_all()?;
    temp.persist(path).map(drop).map_err(|e| e.error)
}

pub(crate) fn to_json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("it has string keys and no other maps")
}

fn name_of(entry: &Descriptor) -> Option<&str> {
    entry.annotations.as_ref()?.get(REF_NAME).map(String::as_str)
}
