//! Sending files back where no share can carry them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::agent::channel::Sender;
use crate::agent::window::{Window, Windows};
use crate::guest::protocol::{MAX_CHUNK, ToHost};
use crate::guest::wire::Bytes;
use crate::lock;

/// What was sent: the host asks after every test, and a serial line takes seconds for a megabyte.
#[derive(Clone, Default)]
pub struct Collector {
    sent: Arc<Mutex<HashMap<PathBuf, Stamp>>>,
}

/// What changes when a file does: inode, size, time of change in seconds and nanoseconds.
type Stamp = (u64, u64, i64, i64);

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec())
}

impl Collector {
    /// Sends every regular file below `dir` that is not as it was sent before, then `Collected`, in a thread of its own:
    /// it may have to wait for the host. What cannot be read is left out.
    pub fn start(&self, id: u32, dir: Bytes, sender: &Sender, windows: &Windows) {
        let (window, windows) = (windows.open(id), windows.clone());
        let collection = Collection { id, window, sender: sender.clone(), collector: self.clone() };
        thread::spawn(move || {
            let root = Path::new(OsStr::from_bytes(&dir.0));
            // A command may be writing there at this moment: what vanishes meanwhile is no error.
            let _ = collection.send_tree(root, root);
            windows.close(id);
            collection.sender.send(&ToHost::Collected { id });
        });
    }
}

/// One request of the host's.
struct Collection {
    id: u32,
    window: Arc<Window>,
    sender: Sender,
    collector: Collector,
}

impl Collection {
    fn send_tree(&self, root: &Path, dir: &Path) -> io::Result<()> {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() {
                self.send_tree(root, &path)?;
            } else if metadata.is_file() && lock(&self.collector.sent).get(&path) != Some(&stamp(&metadata)) {
                self.send_file(root, &path)?;
                lock(&self.collector.sent).insert(path, stamp(&metadata));
            }
        }
        Ok(())
    }

    fn send_file(&self, root: &Path, path: &Path) -> io::Result<()> {
        let name = path.strip_prefix(root).map_err(io::Error::other)?.as_os_str().as_bytes();
        let mut file = File::open(path)?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        let mut chunk = vec![0; MAX_CHUNK - name.len().min(MAX_CHUNK / 2)];
        loop {
            let len = file.read(&mut chunk)?;
            let (path, data) = (Bytes(name.to_vec()), Bytes(chunk[..len].to_vec()));
            let part = ToHost::File { id: self.id, path, mode, data, last: len == 0 };
            self.window.take(part.cost());
            self.sender.send(&part);
            if len == 0 {
                return Ok(());
            }
        }
    }
}
