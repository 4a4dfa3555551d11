//! The files that are open for the guest.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use rustix::process::{Resource, getrlimit};

/// Files opened to be read by node, in a bounded number: what was used longest ago is closed first and opened again
/// when it is needed.
#[derive(Debug, Default)]
pub(super) struct Cache {
    files: HashMap<u64, (File, u64)>,
    clock: u64,
}

impl Cache {
    /// How many files a share keeps open to read them.
    pub(super) const SIZE: usize = 96;

    /// The open file of `node`, opened by `open` where it is not open.
    pub(super) fn get(&mut self, node: u64, open: impl FnOnce() -> io::Result<File>) -> io::Result<&mut File> {
        self.clock += 1;
        if !self.files.contains_key(&node) {
            let file = open()?;
            self.make_room();
            self.files.insert(node, (file, self.clock));
        }
        let (file, used) = self.files.get_mut(&node).expect("it was there or put there above");
        *used = self.clock;
        Ok(file)
    }

    pub(super) fn close(&mut self, node: u64) {
        self.files.remove(&node);
    }

    pub(super) fn clear(&mut self) {
        self.files.clear();
    }

    fn make_room(&mut self) {
        if self.files.len() >= Self::SIZE {
            let oldest = self.files.iter().min_by_key(|(_, (_, used))| *used).map(|(&node, _)| node);
            self.files.remove(&oldest.expect("a full cache is not empty"));
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }
}

/// Files that the guest holds open to write, each with its own descriptor since the name may go before the file does.
#[derive(Debug)]
pub(super) struct Handles {
    files: HashMap<u64, (u64, File)>,
    next: u64,
    limit: usize,
}

impl Handles {
    /// Room for a quarter of the descriptors that this process may open, so that a guest cannot take them all.
    pub(super) fn new() -> Self {
        // None: there is no limit.
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Self { files: HashMap::new(), next: 1, limit: (limit / 4).clamp(64, 4096) as usize }
    }

    /// Fails with `EMFILE` where the guest has as many files open as it may.
    pub(super) fn check_room(&self) -> io::Result<()> {
        if self.files.len() < self.limit { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EMFILE)) }
    }

    pub(super) fn add(&mut self, node: u64, file: File) -> u64 {
        let handle = self.next;
        self.next += 1;
        self.files.insert(handle, (node, file));
        handle
    }

    pub(super) fn get(&mut self, handle: u64) -> io::Result<&mut File> {
        let (_, file) = self.files.get_mut(&handle).ok_or_else(|| io::Error::from_raw_os_error(libc::EBADF))?;
        Ok(file)
    }

    /// Any file that the guest has open for `node`: the way to a file whose name is gone.
    pub(super) fn of_node(&self, node: u64) -> Option<&File> {
        self.files.values().find(|(of, _)| *of == node).map(|(_, file)| file)
    }

    pub(super) fn close(&mut self, handle: u64) {
        self.files.remove(&handle);
    }

    pub(super) fn clear(&mut self) {
        self.files.clear();
    }
}
