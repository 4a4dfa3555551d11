//! Where the logs of one VM go, and the cores of its tests.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lvh_core::HostContext;

use crate::test_binary::{TestBinary, file_word};

/// The directory of one VM: `target/lvh/BINARY/KERNEL[+IMAGE]`, with a number behind it where another VM has that. It stays
/// where somebody will look into it, until a later run takes its place.
#[derive(Debug)]
pub(crate) struct LogDir {
    path: PathBuf,
    /// Held while the directory is ours: for as long as the process lives where it stays.
    lock: Option<File>,
    stays: bool,
}

impl LogDir {
    /// An empty directory for a VM of that kernel, and image; none where there is no target directory.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn claim(context: &HostContext, place: &str) -> io::Result<Option<Self>> {
        let Some(target) = context.kept_dir() else { return Ok(None) };
        let dir = target.join("lvh").join(TestBinary::of_process().run_id());
        fs::create_dir_all(&dir)?;
        for number in 1.. {
            let suffix = if number == 1 { String::new() } else { format!("-{number}") };
            if let Some(claimed) = Self::try_claim(&dir.join(file_word(place) + &suffix))? {
                return Ok(Some(claimed));
            }
        }
        unreachable!("some number is free")
    }

    /// Takes the directory at `path` unless another VM has it.
    fn try_claim(path: &Path) -> io::Result<Option<Self>> {
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let lock = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        // Whoever had it may have removed it since.
        let is_still_there =
            fs::metadata(path).is_ok_and(|there| lock.metadata().is_ok_and(|ours| ours.ino() == there.ino()));
        if lock.try_lock().is_err() || !is_still_there {
            return Ok(None);
        }
        empty(path)?;
        Ok(Some(Self { path: path.to_owned(), lock: Some(lock), stays: false }))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it for people to read.
    pub(crate) fn keep(&mut self) {
        self.stays = true;
    }

    /// A directory in it for what `test` leaves: cores, output.
    pub(super) fn for_test(&self, test: &str) -> io::Result<PathBuf> {
        let dir = self.path.join(file_word(test));
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }
}

impl Drop for LogDir {
    fn drop(&mut self) {
        match self.stays {
            // Locked until the process ends: another VM of this run must not take it.
            true => std::mem::forget(self.lock.take()),
            false => {
                let _ = fs::remove_dir_all(&self.path);
                // The last VM removes what the first one made.
                let dirs =
                    self.path.ancestors().skip(1).take_while(|dir| dir.file_name() != Some(OsStr::new("target")));
                dirs.take(2).for_each(|dir| drop(fs::remove_dir(dir)));
            }
        }
    }
}

fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// A target directory, and what runs in it.
    fn project() -> (TempDir, HostContext) {
        let target = tempfile::tempdir().unwrap();
        fs::create_dir(target.path().join("tmp")).unwrap();
        let exe = target.path().join("debug/deps/it-0123456789abcdef");
        (target, HostContext { exe, cwd: "/".into(), env: Vec::new() })
    }

    fn name(dir: &LogDir) -> &str {
        dir.path().file_name().unwrap().to_str().unwrap()
    }

    #[test]
    fn what_nobody_reads_is_gone() {
        let (target, context) = project();
        let (first, second) =
            (LogDir::claim(&context, "../6.1").unwrap().unwrap(), LogDir::claim(&context, "../6.1").unwrap().unwrap());
        assert_eq!((name(&first), name(&second)), ("..-6.1", "..-6.1-2"));
        drop((first, second));
        assert!(!target.path().join("lvh").exists());
    }

    #[test]
    fn what_stays_is_replaced_by_a_later_run() {
        let (_target, context) = project();
        let mut first = LogDir::claim(&context, "6.1").unwrap().unwrap();
        fs::write(first.path().join("console.log"), "x").unwrap();
        first.keep();
        drop(first);
        let second = LogDir::claim(&context, "6.1").unwrap().unwrap();
        assert_eq!(name(&second), "6.1-2");
        let old = second.path().with_file_name("6.1");
        assert_eq!(fs::read_to_string(old.join("console.log")).unwrap(), "x");
        // As a later run finds it: without our lock.
        empty(&old).unwrap();
    }
}
