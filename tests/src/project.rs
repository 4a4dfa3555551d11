//! A package's directory as the harness sees it: an `lvh.toml`, and a temporary directory of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{TestTarget, empty_directory};

/// A directory with an `lvh.toml`; gone when dropped.
#[derive(Debug)]
pub struct Project {
    /// Where it is.
    pub dir: PathBuf,
}

impl Project {
    /// Makes one below `parent`.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(parent: &Path, name: &str, config: &str) -> Self {
        let dir = empty_directory(parent, name);
        fs::create_dir(dir.join("temporary")).expect("a new directory can be written to");
        fs::write(dir.join("lvh.toml"), config).expect("a new directory can be written to");
        Self { dir }
    }

    /// `target` as if this were its package.
    pub fn command(&self, target: &TestTarget) -> Command {
        let mut command = target.command();
        self.own(&mut command);
        command
    }

    /// Makes `command` one of this package.
    pub fn own(&self, command: &mut Command) {
        command.current_dir(&self.dir).env("CARGO_MANIFEST_DIR", &self.dir).env("TMPDIR", self.temporary());
    }

    /// The temporary directory of its commands.
    pub fn temporary(&self) -> PathBuf {
        self.dir.join("temporary")
    }

    /// Asserts that the temporary directory is empty, and that no socket below it is open.
    ///
    /// # Panics
    /// If not.
    #[track_caller]
    pub fn check_clean(&self) {
        let left: Vec<_> = fs::read_dir(self.temporary()).expect("it is there").flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        let sockets = fs::read_to_string("/proc/net/unix").expect("this is Linux");
        assert!(!sockets.contains(self.temporary().to_str().expect("UTF-8")), "{sockets}");
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
