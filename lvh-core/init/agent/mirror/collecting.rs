//! Sending what changed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::agent::channel::Sender;
use crate::agent::mirror::listing::{Kind, Listing, Stamp, list, modified, owner};
use crate::agent::window::Window;
use crate::guest::protocol::{Change, MAX_CHUNK, ToHost};
use crate::guest::wire::Bytes;
use crate::sys;

/// Room for the rest of a message: its names and numbers.
const HEADER: usize = 64;

/// How many problems are told: they travel in one message, each with a path.
pub const TOLD: usize = 6;

/// What is sent.
pub struct Content {
    pub top: PathBuf,
    /// It is the upper layer of an overlay.
    pub layered: bool,
    /// What the host has of it.
    pub known: Listing,
}

impl Content {
    /// All that is below `top`.
    pub fn of(top: PathBuf) -> Self {
        Self { top, layered: false, known: Listing::new() }
    }
}

/// One request of the host's.
pub struct Collection {
    pub id: u32,
    pub window: Arc<Window>,
    pub sender: Sender,
    pub take: bool,
    pub content: Content,
    pub problems: Vec<String>,
}

impl Collection {
    /// Sends what changed; what the host then knows. A name goes after what took its place on the host is there, so that
    /// nothing is lost if this is cut short, unless it is in the way.
    pub fn run(&mut self) -> Listing {
        let known = std::mem::take(&mut self.content.known);
        let (top, layered) = (self.content.top.clone(), self.content.layered);
        let mut now = list(&top, layered, &known, |path, error| self.unread(path, &error));
        now.retain(|_, stamp| stamp.kind.travels());
        let (in_the_way, gone): (Vec<&Path>, Vec<&Path>) =
            gone(&known, &now).partition(|path| is_in_the_way(path, &now));
        in_the_way.into_iter().for_each(|path| self.send(path, Change::Removed {}));

        let changed: Vec<(&PathBuf, &Stamp)> =
            now.iter().filter(|(path, stamp)| known.get(*path) != Some(stamp)).collect();
        let mut failed = Vec::new();
        for (path, stamp) in &changed {
            let before = known.get(*path).filter(|before| !stamp.is_another(before));
            if let Err(error) = self.send_name(path, stamp, before) {
                self.unread(path, &error);
                failed.push(path.to_path_buf());
            }
        }
        // Their times change with what is put in them.
        for (path, _) in changed.iter().rev().filter(|(_, stamp)| stamp.kind.is_directory()) {
            let _ = self.send_directory(path);
        }
        gone.into_iter().for_each(|path| self.send(path, Change::Removed {}));
        failed.iter().for_each(|path| drop(now.remove(path)));
        now
    }

    fn unread(&mut self, path: &Path, error: &io::Error) {
        if self.problems.len() < TOLD {
            self.problems.push(format!("`{}` could not be read in the guest: {error}", beginning(path)));
        }
    }

    fn send_name(&self, path: &Path, stamp: &Stamp, before: Option<&Stamp>) -> io::Result<()> {
        match stamp.kind {
            // Else once more is enough.
            Kind::Directory { opaque } if before.is_none() => {
                if opaque {
                    self.send(path, Change::Removed {});
                }
                self.send_directory(path)
            }
            Kind::Directory { .. } | Kind::Special => Ok(()),
            Kind::File => self.send_file(path),
            Kind::Link => {
                let target = fs::read_link(self.content.top.join(path))?;
                self.send(path, Change::Link { target: Bytes(target.as_os_str().as_bytes().to_vec()) });
                Ok(())
            }
            Kind::Whiteout => {
                self.send(path, Change::Removed {});
                Ok(())
            }
        }
    }

    fn send_directory(&self, path: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(self.content.top.join(path))?;
        self.send(path, Change::Directory { owner: owner(&metadata), modified: modified(&metadata) });
        Ok(())
    }

    fn send_file(&self, path: &Path) -> io::Result<()> {
        let there = self.content.top.join(path);
        let file = File::options().read(true).custom_flags(sys::O_NOFOLLOW | sys::O_NONBLOCK).open(&there)?;
        let metadata = file.metadata()?;
        let size = metadata.len();
        self.send(path, Change::File { size });
        let room = (MAX_CHUNK - HEADER).saturating_sub(path.as_os_str().len()).max(1024);
        let mut offset = 0;
        while let Some(start) = sys::data_from(&file, offset)?.filter(|start| *start < size) {
            let mut chunk = vec![0; room.min((size - start) as usize)];
            let len = file.read_at(&mut chunk, start)?;
            chunk.truncate(len);
            if chunk.is_empty() {
                break;
            }
            offset = start + len as u64;
            self.send(path, Change::Data { offset: start, data: Bytes(chunk) });
        }
        self.send(
            path,
            Change::Complete { owner: owner(&metadata), modified: modified(&metadata), capabilities: Bytes::default() },
        );
        if self.take { fs::remove_file(there) } else { Ok(()) }
    }

    fn send(&self, path: &Path, change: Change) {
        let path: &OsStr = path.as_os_str();
        let message = ToHost::Change { id: self.id, path: Bytes(path.as_bytes().to_vec()), change };
        self.window.take(message.cost());
        self.sender.send(&message);
    }
}

/// A path as people read it: one that is too long for a system call is so for a line.
fn beginning(path: &Path) -> String {
    const LENGTH: usize = 200;
    let text = path.to_string_lossy();
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// What the host has and the guest no more, the innermost first.
fn gone<'a>(known: &'a Listing, now: &'a Listing) -> impl Iterator<Item = &'a Path> {
    let is_gone = |path: &Path, stamp: &Stamp| match now.get(path) {
        None => stamp.kind != Kind::Whiteout,
        // Its content is gone, or must make way.
        Some(new) => stamp.kind.is_directory() && !new.kind.is_directory(),
    };
    known.iter().rev().filter(move |(path, stamp)| is_gone(path, stamp)).map(|(path, _)| path.as_path())
}

/// Whether it is, or is in, a directory whose name something else has now.
fn is_in_the_way(path: &Path, now: &Listing) -> bool {
    path.ancestors().any(|above| now.get(above).is_some_and(|stamp| !stamp.kind.is_directory()))
}
