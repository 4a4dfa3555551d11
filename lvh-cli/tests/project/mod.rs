//! A directory to run `lvh` in.

use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A directory with an `lvh.toml` that goes with the test.
pub(crate) struct Project(TempDir);

impl Project {
    pub(crate) fn new(config: &str) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(dir.path().join("lvh.toml"), config).unwrap();
        Self(dir)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.0.path()
    }

    /// Runs `lvh` here with an environment of its own.
    pub(crate) fn lvh(&self, args: &[&str], vars: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
        command.args(args).current_dir(self.dir()).env_clear().env("HOME", self.dir());
        command.envs(vars.iter().copied()).output().unwrap()
    }
}

/// Asserts the code, and that stderr holds `expected`.
#[track_caller]
pub(crate) fn check(output: &Output, code: i32, expected: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
}
