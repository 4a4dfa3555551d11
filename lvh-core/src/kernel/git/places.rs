//! Where the parts of a kernel lie in a data directory.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::store::Lock;
use crate::{Error, ErrorKind, Events, Result};

/// The directory of one kernel, and what is kept for it beside.
#[derive(Debug, Clone)]
pub(in crate::kernel) struct Places {
    kernels: PathBuf,
    name: String,
}

impl Places {
    /// Those of the kernel `name` in `kernels`.
    pub(in crate::kernel) fn of(kernels: &Path, name: &str) -> Result<Self> {
        check_name(name)?;
        Ok(Self { kernels: kernels.to_owned(), name: name.to_owned() })
    }

    pub(in crate::kernel) fn name(&self) -> &str {
        &self.name
    }

    /// The source tree.
    pub(in crate::kernel) fn tree(&self) -> PathBuf {
        self.kernels.join(&self.name)
    }

    /// The repository that all trees share.
    pub(super) fn shared(&self) -> PathBuf {
        self.kernels.join("git")
    }

    /// What lvh keeps for the kernel.
    pub(in crate::kernel) fn own(&self) -> PathBuf {
        self.kernels.join(".lvh").join(&self.name)
    }

    /// Makes the directory of [`Places::own`].
    pub(in crate::kernel) fn make_own(&self) -> Result<PathBuf> {
        let own = self.own();
        fs::create_dir_all(&own).map_err(|e| Error::path("create", &own, e))?;
        Ok(own)
    }

    /// Takes the lock `what` alone: `git` stands for the shared repository, a kernel's name for its tree.
    pub(in crate::kernel) fn lock(&self, what: &str, subject: &str, events: &Events) -> Result<Lock> {
        let locks = self.kernels.join(".lvh/locks");
        fs::create_dir_all(&locks).map_err(|e| Error::path("create", &locks, e))?;
        let waiting = || events.step(subject, "waiting for another process that works on it");
        Lock::exclusive(&locks.join(what), &waiting)
    }

    /// Notes that `what` is under way; whoever finds the mark knows that it was broken off.
    pub(in crate::kernel) fn mark(&self, what: &str) -> Result<Mark> {
        let path = self.make_own()?.join(what);
        let file = File::create(&path).map_err(|e| Error::path("create", &path, e))?;
        file.sync_all().map_err(|e| Error::path("write", &path, e))?;
        Ok(Mark(path))
    }

    /// The mark of `what` that was broken off, if there is one.
    pub(in crate::kernel) fn broken_off(&self, what: &str) -> Option<Mark> {
        let path = self.own().join(what);
        path.exists().then_some(Mark(path))
    }
}

/// A file that says what is under way. Dropped, it stays.
#[derive(Debug)]
#[must_use = "what it stands for is under way until it is cleared"]
pub(in crate::kernel) struct Mark(PathBuf);

impl Mark {
    pub(in crate::kernel) fn path(&self) -> &Path {
        &self.0
    }

    /// What it stands for has come to its end.
    pub(in crate::kernel) fn clear(self) -> Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::path("remove", &self.0, error)),
            _ => Ok(()),
        }
    }
}

/// Kernels' names become directories, branches and remotes.
fn check_name(name: &str) -> Result<()> {
    let usage = |message: String| Err(Error::new(ErrorKind::Usage, message));
    if name == "git" {
        return usage("id `git` is not allowed. Please use another.".to_owned());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
    let plain = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed);
    if !plain || name.contains("..") || name.ends_with(".lock") || name.ends_with('.') {
        return usage(format!(
            "the kernel name `{name}` may hold letters, digits, `.`, `_`, `-` and `+` only, starts with one of the first two, \
             and has neither `..` nor `.` or `.lock` at its end"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_directory() {
        for name in ["bpf-next", "6.12", "rhel8", "a_b+c"] {
            assert!(Places::of(Path::new("/d"), name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "../images", "a/b", ".lvh", "-x", "a..b", "a b", "x.lock", "a.", "ü"] {
            assert!(Places::of(Path::new("/d"), name).is_err(), "{name}");
        }
        let error = Places::of(Path::new("/d"), "git").unwrap_err().to_string();
        assert_eq!(error, "id `git` is not allowed. Please use another.");
    }
}
