use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::members::{Member, Members};
use super::name::{clean, is_link_to_sources, link_stays};
use super::tree::{Tree, refused};
use super::unpack::Limits;
use crate::{Error, Result};

/// How layers hide what lower ones have (OCI image specification, `layer.md`).
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// Applies layers, the lowest first, to a tree; takes what lies below one directory.
pub(super) struct Applier {
    tree: Tree,
    prefix: PathBuf,
    /// What may still be written.
    left: Limits,
    limits: Limits,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) left_out: Vec<PathBuf>,
    /// What there is beside the prefix, for the error where nothing is below it.
    pub(super) beside: BTreeSet<PathBuf>,
}

impl Applier {
    pub(super) fn new(root: PathBuf, prefix: PathBuf, limits: Limits) -> Self {
        let (left_out, beside) = (Vec::new(), BTreeSet::new());
        Self { tree: Tree::new(root), prefix, left: limits, limits, files: 0, bytes: 0, left_out, beside }
    }

    pub(super) fn layer<R: Read>(&mut self, members: &mut Members<R>) -> Result<()> {
        self.tree.next_layer();
        while let Some(member) = members.next()? {
            let limit = self.limits.members;
            let left = self.left.members.checked_sub(1);
            self.left.members = left.ok_or(Error::TooLarge { what: "the number of members".to_owned(), limit })?;
            let path = clean(&member.name).map_err(|why| refused(Path::new(&member.name), why))?;
            self.member(&path, &member, members)?;
        }
        Ok(())
    }

    fn member<R: Read>(&mut self, path: &Path, member: &Member, members: &mut Members<R>) -> Result<()> {
        if let Some(name) = path.file_name().filter(|name| name.as_bytes().starts_with(WHITEOUT)) {
            return self.whiteout(path.parent().unwrap_or(Path::new("")), name);
        }
        match path.strip_prefix(&self.prefix) {
            Ok(below) if !below.as_os_str().is_empty() => self.place(below, member, members),
            _ if self.prefix.starts_with(path) => match member.kind.is_dir() {
                true => Ok(()),
                false => Err(refused(path, "it is no directory")),
            },
            _ => {
                self.note(path);
                Ok(())
            }
        }
    }

    fn whiteout(&self, dir: &Path, name: &OsStr) -> Result<()> {
        if name.as_bytes() == OPAQUE {
            return match dir.strip_prefix(&self.prefix) {
                Ok(below) => self.tree.hide_children(below),
                Err(_) if self.prefix.starts_with(dir) => self.tree.hide_children(Path::new("")),
                Err(_) => Ok(()),
            };
        }
        let hidden = dir.join(OsStr::from_bytes(&name.as_bytes()[WHITEOUT.len()..]));
        match hidden.strip_prefix(&self.prefix) {
            // `.wh...` hides nothing that has a name.
            _ if clean(hidden.as_os_str()).is_err() => Err(refused(&dir.join(name), "it hides no name")),
            Ok(below) => self.tree.hide(below),
            Err(_) if self.prefix.starts_with(&hidden) => self.tree.hide(Path::new("")),
            Err(_) => Ok(()),
        }
    }

    fn place<R: Read>(&mut self, path: &Path, member: &Member, members: &mut Members<R>) -> Result<()> {
        if member.sparse {
            return Err(refused(path, "it is a sparse file"));
        }
        match member.kind {
            EntryType::Directory => self.tree.directory(path, member.mode),
            EntryType::Regular | EntryType::Continuous => {
                let what = format!("what is unpacked (`{}`)", path.display());
                let left = self.left.bytes.checked_sub(member.size);
                self.left.bytes = left.ok_or(Error::TooLarge { what, limit: self.limits.bytes })?;
                self.files += 1;
                self.bytes += member.size;
                self.tree.file(path, member.mode, member.size, members)
            }
            EntryType::Link => {
                let to = clean(&member.link).map_err(|why| refused(path, format!("as a hard link, {why}")))?;
                let to = to.strip_prefix(&self.prefix);
                self.tree
                    .hard_link(path, to.map_err(|_elsewhere| refused(path, "it is a hard link to a file elsewhere"))?)
            }
            EntryType::Symlink => self.symlink(path, Path::new(&member.link)),
            EntryType::Block | EntryType::Char => Err(refused(path, "it is a device")),
            EntryType::Fifo => Err(refused(path, "it is a pipe")),
            kind => Err(refused(path, format!("it is of an unknown kind ({:?})", char::from(kind.as_byte())))),
        }
    }

    fn symlink(&mut self, path: &Path, target: &Path) -> Result<()> {
        if link_stays(path, target) {
            return self.tree.symlink(path, target);
        }
        if is_link_to_sources(path) {
            self.left_out.push(path.to_owned());
            return Ok(());
        }
        Err(refused(path, format!("it is a symlink to `{}`, which leads out", target.display())))
    }

    fn note(&mut self, path: &Path) {
        let above = self.prefix.parent().unwrap_or(Path::new(""));
        let next = path.strip_prefix(above).ok().and_then(|rest| rest.iter().next());
        if let Some(next) = next.filter(|_| self.beside.len() < 50) {
            self.beside.insert(above.join(next));
        }
    }
}
