//! A `qemu-system-x86_64` that stands before the real one in `PATH`: it notes how it was called, and may add to that.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::recipe::Recipe;

/// The program's name.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// The directory that holds the stand-in.
#[derive(Debug)]
pub(crate) struct Shim {
    dir: PathBuf,
}

impl Shim {
    /// Writes the stand-in below `dir`.
    pub(crate) fn new(dir: &Path) -> anyhow::Result<Self> {
        let qemu = find(QEMU).with_context(|| format!("`{QEMU}` was not found in PATH"))?;
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$@\" >\"$LVH_BENCH_ARGV\"\nexec '{}' \"$@\" ${{LVH_BENCH_ARGS-}}\n",
            qemu.display()
        );
        let dir = dir.join("shim");
        write_script(&dir.join(QEMU), &script)?;
        Ok(Self { dir })
    }

    /// Makes what `recipe` starts use the stand-in, with more arguments for QEMU.
    pub(crate) fn before(&self, recipe: Recipe, more: &str) -> Recipe {
        let argv = self.dir.join("argv");
        recipe.env("PATH", path_with(&[&self.dir])).env("LVH_BENCH_ARGV", argv).env("LVH_BENCH_ARGS", more)
    }

    /// What QEMU was called with last.
    pub(crate) fn recorded(&self) -> anyhow::Result<Vec<String>> {
        let argv = fs::read_to_string(self.dir.join("argv")).context("lvh has not started QEMU")?;
        Ok(argv.lines().map(str::to_owned).collect())
    }
}

/// Writes an executable file and the directories above it.
pub(crate) fn write_script(file: &Path, text: &str) -> anyhow::Result<()> {
    let written = || {
        fs::create_dir_all(file.parent().unwrap_or(Path::new("/")))?;
        fs::write(file, text)?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o755))
    };
    written().with_context(|| format!("failed to write `{}`", file.display()))
}

/// `PATH` with `first` before it.
pub(crate) fn path_with(first: &[&Path]) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = first.iter().map(|dir| dir.to_path_buf()).chain(std::env::split_paths(&path));
    std::env::join_paths(dirs).expect("no directory of ours has a colon in its name")
}

/// A program in `PATH`.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
