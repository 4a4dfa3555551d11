//! The program of this process, whatever becomes of its file.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lvh_core::HostContext;

use super::log_dir::LogDir;

/// What leads to the running program, and to nothing that takes its name (proc(5)).
const RUNNING: &str = "/proc/self/exe";

/// The test binary as it was started. A build may put another one at its path, whose tests are not those that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Program {
    /// A copy, made when the file was found to be another; its directory goes with us.
    copy: OnceLock<(PathBuf, LogDir)>,
}

impl Program {
    /// Whether the file at its path is another one now.
    pub(super) fn is_replaced(&self, context: &HostContext) -> bool {
        if self.copy.get().is_some() {
            return true;
        }
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        match (fs::metadata(RUNNING), fs::metadata(&context.exe)) {
            (Ok(running), Ok(file)) => identity(running) != identity(file),
            (running, file) => running.is_ok() && file.is_err(),
        }
    }

    /// The copy; none where there is no target directory to put it in.
    ///
    /// # Errors
    /// It cannot be made.
    pub(super) fn copy(&self, context: &HostContext) -> io::Result<Option<&Path>> {
        if self.copy.get().is_none() {
            let Some(directory) = LogDir::claim(context, "program")? else { return Ok(None) };
            let copy = directory.path().join("program");
            fs::copy(RUNNING, &copy)?;
            // Two sessions may make one each: the first stays.
            let _ = self.copy.set((copy, directory));
        }
        Ok(self.copy.get().map(|(copy, _)| copy.as_path()))
    }
}
