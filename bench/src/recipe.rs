//! A command line, and how to see that it did what it was measured for.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

/// What is run for one sample.
#[derive(Debug, Clone, Default)]
pub(crate) struct Recipe {
    pub(crate) program: OsString,
    pub(crate) args: Vec<OsString>,
    /// Set on top of our own environment.
    pub(crate) env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub(crate) dir: PathBuf,
    /// Must be in what it prints: an exit code of 0 alone does not show that a guest ran.
    pub(crate) expect: String,
}

impl Recipe {
    /// `program`, in the directory `dir`.
    pub(crate) fn new(program: impl Into<OsString>, dir: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), dir: dir.into(), ..Self::default() }
    }

    /// What it must print.
    pub(crate) fn expecting(mut self, expect: &str) -> Self {
        self.expect = expect.to_owned();
        self
    }

    /// Adds arguments.
    pub(crate) fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Makes lvh boot.
    pub(crate) fn cold(self) -> Self {
        self.env("LVH_WARM_START", "0")
    }

    /// The command, without what cargo set for the benchmark itself.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        let ours = std::env::vars_os().map(|(name, _)| name).filter(|name| is_ours(&name.to_string_lossy()));
        for name in ours {
            command.env_remove(name);
        }
        command.args(&self.args).envs(self.env.iter().cloned()).current_dir(&self.dir);
        command
    }

    /// The line that a person would type.
    pub(crate) fn line(&self) -> String {
        let env = self.env.iter().map(|(name, value)| format!("{}={}", name.display(), value.display()));
        let words = [&self.program].into_iter().chain(&self.args).map(|word| word.display().to_string());
        env.chain(words).collect::<Vec<_>>().join(" ")
    }
}

/// `CARGO_HOME` and the like are the user's; the others are what `cargo run` tells the program that it runs.
fn is_ours(name: &str) -> bool {
    let of_run = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix));
    of_run
        || ["CARGO", "LVH_CHANNEL", "LVH_SHARE", "LVH_WARM_START", "LVH_KERNELS", "LVH_JUNIT", "LVH_MODE"]
            .contains(&name)
}
