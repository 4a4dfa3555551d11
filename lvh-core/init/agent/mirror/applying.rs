//! Doing what the host did.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, fchown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::agent::mirror::listing::Stamp;
use crate::agent::mirror::mirrors::Mirror;
use crate::guest::protocol::{Change, Owner};
use crate::sys;

/// A file that the host is sending.
pub struct Arrival {
    path: PathBuf,
    file: File,
}

impl Mirror {
    /// Does what became of `path` on the host.
    pub fn apply(&mut self, path: &Path, change: Change) -> io::Result<()> {
        let there = self.layer.path().join(path);
        match change {
            Change::Directory { owner, modified } => {
                if !fs::symlink_metadata(&there).is_ok_and(|metadata| metadata.is_dir()) {
                    clear(&there)?;
                    fs::create_dir(&there)?;
                }
                chown(&there, Some(owner.uid), Some(owner.gid))?;
                finish(&File::open(&there)?, owner, modified)?;
                self.agree(path, &there)
            }
            Change::File { size } => {
                self.arrival = None;
                clear(&there)?;
                let file = File::options().write(true).create_new(true).open(&there)?;
                file.set_len(size)?;
                self.arrival = Some(Arrival { path: path.to_owned(), file });
                Ok(())
            }
            Change::Data { offset, data } => match self.arrival.as_ref().filter(|arrival| arrival.path == path) {
                Some(arrival) => arrival.file.write_all_at(&data.0, offset).inspect_err(|_| self.arrival = None),
                // Of a file that could not be made, which was noted.
                None => Ok(()),
            },
            Change::Complete { owner, modified, capabilities } => {
                match self.arrival.take_if(|arrival| arrival.path == path) {
                    Some(Arrival { file, .. }) => {
                        // A change of the owner clears capabilities.
                        fchown(&file, Some(owner.uid), Some(owner.gid))?;
                        finish(&file, owner, modified)?;
                        if !capabilities.0.is_empty() {
                            sys::set_attribute(&file, c"security.capability", &capabilities.0)?;
                        }
                        self.agree(path, &there)
                    }
                    None => Ok(()),
                }
            }
            Change::Link { target } => {
                clear(&there)?;
                symlink(OsStr::from_bytes(&target.0), &there)?;
                lchown(&there, Some(0), Some(0))?;
                self.agree(path, &there)
            }
            Change::Removed {} => self.remove(path, &there),
        }
    }

    /// Removes what is as the host knows it: what a command changed meanwhile comes home instead.
    fn remove(&mut self, path: &Path, there: &Path) -> io::Result<()> {
        let Ok(metadata) = fs::symlink_metadata(there) else {
            self.known.remove(path);
            return Ok(());
        };
        if self.known.remove(path) != Some(Stamp::of(there, &metadata, false)) {
            return Ok(());
        }
        match if metadata.is_dir() { fs::remove_dir(there) } else { fs::remove_file(there) } {
            // What a command put in it comes home, and it with that.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            removed => removed,
        }
    }

    fn agree(&mut self, path: &Path, there: &Path) -> io::Result<()> {
        let stamp = Stamp::of(there, &fs::symlink_metadata(there)?, false);
        self.known.insert(path.to_owned(), stamp);
        Ok(())
    }
}

/// Makes room for a name.
fn clear(there: &Path) -> io::Result<()> {
    match fs::symlink_metadata(there) {
        Err(_) => Ok(()),
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(there),
        Ok(_) => fs::remove_file(there),
    }
}

/// The mode after the owner: a change of that clears set-user-id. The time last.
fn finish(file: &File, owner: Owner, modified: u64) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(owner.mode))?;
    file.set_modified(time(modified.cast_signed()))
}

fn time(modified: i64) -> SystemTime {
    let distance = Duration::from_nanos(modified.unsigned_abs());
    if modified < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}
