//! The files that are open for the guest.

use std::collections::HashMap;
use std::fs::File;
use std::io;

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

    /// The file of `node`, where it is open.
    pub(super) fn open_one(&self, node: u64) -> Option<&File> {
        self.files.get(&node).map(|(file, _)| file)
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
