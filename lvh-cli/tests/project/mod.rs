//! A directory to run `lvh` in.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory with an `lvh.toml`, removed at the end.
pub(crate) struct Project(pub(crate) PathBuf);

impl Project {
    /// `name` is the test's own.
    pub(crate) fn new(name: &str, config: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("lvh.toml"), config).unwrap();
        Self(dir)
    }

    /// Runs `lvh` here with an environment of its own.
    pub(crate) fn lvh(&self, args: &[&str], vars: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
        command.args(args).current_dir(&self.0).env_clear().env("HOME", &self.0);
        command.envs(vars.iter().copied()).output().unwrap()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asserts the code, and that stderr holds `expected`.
#[track_caller]
pub(crate) fn check(output: &Output, code: i32, expected: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
}
