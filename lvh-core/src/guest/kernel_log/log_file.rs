//! What a VM said from its first byte on, in files for people to read.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::record::KernelRecord;

/// The console's file.
pub(crate) const CONSOLE: &str = "console.log";
/// The kernel log's file.
pub(crate) const KERNEL: &str = "kernel.log";

/// The most that a file holds, in bytes: a guest may say things for ever.
const LIMIT: usize = 64 << 20;

/// A file that only grows, up to a limit.
#[derive(Debug)]
pub(crate) struct LogFile {
    file: File,
    room: usize,
}

impl LogFile {
    /// Begins an empty file at `path`.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::create(path)?, room: LIMIT })
    }

    /// Appends records of the kernel's log, as `dmesg` shows them.
    pub(crate) fn append_records(&mut self, records: &[KernelRecord]) {
        let lines: String = records.iter().map(|record| format!("{record}\n")).collect();
        self.append(lines.as_bytes());
    }

    /// Appends what there is room for. A full disk must not stop the guest: what cannot be written is dropped.
    pub(crate) fn append(&mut self, bytes: &[u8]) {
        if self.room == 0 {
            return;
        }
        let fitting = &bytes[..bytes.len().min(self.room)];
        self.room -= fitting.len();
        let _ = self.file.write_all(fitting);
        if self.room == 0 {
            let _ = write!(self.file, "\n[lvh: cut after {} MiB]\n", LIMIT >> 20);
        }
    }
}
