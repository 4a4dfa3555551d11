//! Half files of a build that was killed.

use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use crate::{Error, Result};

/// Removes what was being written below `out` when a build that began at `began` was killed; returns how many files.
///
/// kbuild writes `.NAME.cmd` after it has written `NAME` (scripts/Kbuild.include, `if_changed`), and believes in `NAME`
/// where that file has the same command. So a file that is newer than its command's, and was written in that build, may
/// be half. One without such a file kbuild makes anew by itself.
pub(super) fn remove_half_files(out: &Path, began: SystemTime) -> Result<usize> {
    let mut removed = 0;
    let entries = match fs::read_dir(out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries.map_err(|e| Error::path("read", out, e))?,
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            removed += remove_half_files(&path, began)?;
        } else if let Some(half) = half_file(&path, began) {
            fs::remove_file(&half).map_err(|e| Error::path("remove", &half, e))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// The file that the command file at `path` belongs to, if it may be half.
fn half_file(path: &Path, began: SystemTime) -> Option<std::path::PathBuf> {
    let name = path.file_name()?.to_str()?.strip_prefix('.')?.strip_suffix(".cmd")?;
    let file = path.with_file_name(name);
    let written = fs::metadata(&file).ok().filter(fs::Metadata::is_file)?.modified().ok()?;
    let command = fs::metadata(path).ok()?.modified().ok()?;
    (written > command && written >= began).then_some(file)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_half_files_go() {
        let dir = tempfile::tempdir().unwrap();
        let at = |seconds: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let write = |name: &str, seconds: u64| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            File::create(&path).unwrap().set_modified(at(seconds)).unwrap();
        };
        let cases = [
            ("kernel/done.o", 200, Some(201), true),
            ("kernel/same_moment.o", 200, Some(200), true),
            ("kernel/half.o", 200, Some(50), false),
            ("vmlinux", 200, Some(50), false),
            ("kernel/of_an_earlier_build.o", 90, Some(50), true),
            ("kernel/kbuild_knows.o", 200, None, true),
        ];
        for (name, written, command, _) in cases {
            write(name, written);
            let path = Path::new(name);
            let file = format!(".{}.cmd", path.file_name().unwrap().to_str().unwrap());
            command.into_iter().for_each(|seconds| write(path.with_file_name(&file).to_str().unwrap(), seconds));
        }
        assert_eq!(remove_half_files(dir.path(), at(100)).unwrap(), 2);
        for (name, .., stays) in cases {
            assert_eq!(dir.path().join(name).exists(), stays, "{name}");
        }
        assert_eq!(remove_half_files(&dir.path().join("none"), at(100)).unwrap(), 0);
    }
}
