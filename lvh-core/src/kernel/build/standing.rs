//! What people look for in a kernel's tree after a build, from when it was built in its place.
//!
//! Files are hard links, not symbolic ones, so that they can be moved and copied elsewhere. While make runs they are
//! away: it searches the source tree too (VPATH), and refuses one that has a `.config`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::target::Target;
use crate::{Error, Result};

/// Removes them, also those of a build for another architecture: who looks for a kernel here would take that for the last one.
pub(super) fn hide(tree: &Path) -> Result<()> {
    let files = Target::ALL.iter().flat_map(|target| target.standing()).map(|(file, _)| *file).chain(["vmlinux"]);
    files.into_iter().try_for_each(|file| remove_file(&tree.join(file)))
}

/// Puts them there, as far as they are in the output directory `out`.
pub(super) fn show(tree: &Path, out: &Path, target: Target) -> Result<()> {
    let files = target.standing().iter().copied().chain([("vmlinux", "vmlinux"), (".config", ".config")]);
    for (file, made) in files.filter(|(_, made)| out.join(made).is_file()) {
        place(&out.join(made), &tree.join(file))?;
    }
    Ok(())
}

/// Takes a `.config` that stands in the tree away. Where somebody put another one there, it is the configuration now.
pub(super) fn take_config(tree: &Path, config: &Path) -> Result<()> {
    let standing = tree.join(".config");
    let theirs = match fs::read(&standing) {
        Ok(theirs) => theirs,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::path("read", &standing, error)),
    };
    if fs::read(config).is_ok_and(|ours| ours == theirs) {
        return remove_file(&standing);
    }
    let take = || {
        fs::write(config.with_extension("theirs"), &theirs)?;
        fs::rename(config.with_extension("theirs"), config)
    };
    take().map_err(|e| Error::path("take", &standing, e))?;
    remove_file(&standing)
}

/// Moves what `make tar-pkg` made to the tree, in place of what an earlier one made.
pub(super) fn move_packages(tree: &Path, out: &Path) -> Result<()> {
    for old in archives(tree) {
        remove_file(&old)?;
    }
    let installed = tree.join("tar-install");
    match fs::remove_dir_all(&installed) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(Error::path("remove", &installed, e)),
        _ => {}
    }
    let made = archives(out).into_iter().chain([out.join("tar-install")]);
    made.into_iter().try_for_each(|path| {
        let to = tree.join(path.file_name().unwrap_or_default());
        fs::rename(&path, &to).map_err(|e| Error::path("move", &path, e))
    })
}

/// The files `linux-*.tar` in `dir`.
pub(super) fn archives(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|file| file.path());
    let is_archive = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("linux-") && name.ends_with(".tar")
    };
    files.filter(is_archive).collect()
}

fn place(from: &Path, to: &Path) -> Result<()> {
    let parent = to.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(|e| Error::path("create", parent, e))?;
    remove_file(to)?;
    // On another file system there are no links between them.
    let placed = fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop));
    placed.map_err(|e| Error::path("write", to, e))
}

pub(super) fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(Error::path("remove", path, e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arch;

    #[test]
    fn results_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, out) = (dir.path().join("tree"), dir.path().join("out"));
        fs::create_dir_all(out.join("arch/x86/boot")).unwrap();
        fs::create_dir_all(tree.join("arch/x86/boot")).unwrap();
        for file in ["arch/x86/boot/bzImage", "vmlinux", ".config"] {
            fs::write(out.join(file), "1").unwrap();
        }
        let target = Target::of(Arch::X86_64);
        show(&tree, &out, target).unwrap();
        show(&tree, &out, target).unwrap();
        let all = ["arch/x86_64/boot/bzImage", "arch/x86/boot/bzImage", "vmlinux", ".config"];
        assert!(all.iter().all(|file| tree.join(file).is_file()));
        take_config(&tree, &out.join(".config")).unwrap();
        hide(&tree).unwrap();
        assert!(!all.iter().any(|file| tree.join(file).exists()));
        hide(&tree).unwrap();
    }

    #[test]
    fn a_configuration_of_peoples_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("out.config");
        fs::write(&config, "ours").unwrap();
        fs::write(dir.path().join(".config"), "theirs").unwrap();
        take_config(dir.path(), &config).unwrap();
        assert_eq!(fs::read_to_string(&config).unwrap(), "theirs");
        assert!(!dir.path().join(".config").exists());
    }

    #[test]
    fn packages_replace_older_ones() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, out) = (dir.path().join("tree"), dir.path().join("out"));
        for (dir, tar) in [(&tree, "linux-6.1-x86_64.tar"), (&out, "linux-6.2-x86_64.tar")] {
            fs::create_dir_all(dir.join("tar-install/boot")).unwrap();
            fs::write(dir.join(tar), "").unwrap();
            fs::write(dir.join("tar-install/boot").join(tar), "").unwrap();
        }
        move_packages(&tree, &out).unwrap();
        assert_eq!(archives(&tree), [tree.join("linux-6.2-x86_64.tar")]);
        assert!(tree.join("tar-install/boot/linux-6.2-x86_64.tar").is_file());
        assert!(!tree.join("tar-install/boot/linux-6.1-x86_64.tar").exists() && archives(&out).is_empty());
    }
}
