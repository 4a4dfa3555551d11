//! What host and guest agree upon.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::agent::channel::Sender;
use crate::agent::mirror::applying::Arrival;
use crate::agent::mirror::collecting::{Collection, Content, TOLD};
use crate::agent::mirror::listing::{Listing, list};
use crate::agent::window::Windows;
use crate::guest::protocol::{Change, ToHost};
use crate::guest::wire::Bytes;
use crate::lock;
use crate::pid1::layer::Layer;

/// The mirrored directories, by where commands see them.
#[derive(Clone)]
pub struct Mirrors(Arc<Mutex<HashMap<PathBuf, Mirror>>>);

/// One of them.
pub struct Mirror {
    /// Where what commands write is.
    pub layer: Layer,
    pub known: Listing,
    /// The file that the host is sending.
    pub arrival: Option<Arrival>,
    /// What of the host's could not be done.
    pub problems: Vec<String>,
}

impl Mirrors {
    /// What stands in `layers` before the first command is no news.
    pub fn new(layers: HashMap<PathBuf, Layer>) -> Self {
        let mirror = |layer: Layer| {
            let known = list(&layer.path(), layer.layered, &Listing::new(), |_, _| {});
            Mirror { layer, known, arrival: None, problems: Vec::new() }
        };
        Self(Arc::new(Mutex::new(layers.into_iter().map(|(target, layer)| (target, mirror(layer))).collect())))
    }

    /// Does what the host did in `dir`.
    pub fn apply(&self, dir: &Bytes, path: &Bytes, change: Change) {
        let mut mirrors = lock(&self.0);
        // The host knows which there are.
        let Some(mirror) = mirrors.get_mut(as_path(dir)) else { return };
        let path = as_path(path);
        if let Err(error) = mirror.apply(path, change) {
            mirror.problems.truncate(TOLD - 1);
            mirror.problems.push(format!("`{}` of the host is not in the guest: {error}", path.display()));
        }
    }

    /// Sends what changed below `dir`, then `Collected`, in a thread of its own: it may have to wait for the host. A
    /// directory that is no mirror is sent whole; its files are removed as they are sent where the host is to `take` them.
    pub fn collect(&self, id: u32, dir: Bytes, take: bool, sender: &Sender, windows: &Windows) {
        let (mirrors, sender, windows) = (self.clone(), sender.clone(), windows.clone());
        let window = windows.open(id);
        thread::spawn(move || {
            let dir = as_path(&dir);
            let content = mirrors.content(dir);
            let is_mirror = content.is_some();
            let content = content.unwrap_or_else(|| Content::of(dir.to_owned()));
            let mut collection = Collection { id, window, sender: sender.clone(), take, content, problems: Vec::new() };
            let now = collection.run();
            let mut problems = collection.problems;
            if is_mirror {
                problems.extend(mirrors.agree(dir, now));
            }
            windows.close(id);
            sender.send(&ToHost::Collected { id, problems });
        });
    }

    fn content(&self, dir: &Path) -> Option<Content> {
        let mirrors = lock(&self.0);
        let mirror = mirrors.get(dir)?;
        Some(Content { top: mirror.layer.path(), layered: mirror.layer.layered, known: mirror.known.clone() })
    }

    /// The host has what is listed; what it could not be told before.
    fn agree(&self, dir: &Path, now: Listing) -> Vec<String> {
        let mut mirrors = lock(&self.0);
        let Some(mirror) = mirrors.get_mut(dir) else { return Vec::new() };
        mirror.known = now;
        std::mem::take(&mut mirror.problems)
    }
}

fn as_path(bytes: &Bytes) -> &Path {
    Path::new(OsStr::from_bytes(&bytes.0))
}
