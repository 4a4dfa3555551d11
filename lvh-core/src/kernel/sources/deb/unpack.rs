use std::fs;
use std::path::{Path, PathBuf};

use crate::kernel::modules::depmod::depmod;
use crate::process::Tool;
use crate::{Error, ErrorKind, KernelRelease, Result};

/// Unpacks the `.deb` files in `scratch` and keeps what makes a kernel:
/// `vmlinuz`, `config`, `System.map`, `lib/modules/RELEASE`, and two notes, `release` and `identity`.
pub(super) fn unpack(scratch: &Path, entry: &Path, identity: &str) -> Result<()> {
    let unpacked = Unpacked::find(&extract(scratch)?)?;
    unpacked.move_to(entry)?;
    depmod(entry, &unpacked.release)?;
    for (name, text) in [("release", unpacked.release.as_str()), ("identity", identity)] {
        let path = entry.join(name);
        fs::write(&path, text).map_err(|e| Error::path("write", &path, e))?;
    }
    Ok(())
}

/// Unpacks the `.deb` files in `scratch`, and removes them; the directory with what they hold.
pub(super) fn extract(scratch: &Path) -> Result<PathBuf> {
    let tree = scratch.join("tree");
    for deb in debs(scratch)? {
        Tool::new("dpkg-deb", "dpkg")?.args([Path::new("-x"), &deb, &tree]).run()?;
        // Only one package at a time is on the disk twice.
        fs::remove_file(&deb).map_err(|e| Error::path("remove", &deb, e))?;
    }
    Ok(tree)
}

fn debs(dir: &Path) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(dir).map_err(|e| Error::path("read", dir, e))?.flatten().map(|found| found.path());
    let mut debs: Vec<_> = files.filter(|file| file.extension().is_some_and(|e| e == "deb")).collect();
    debs.sort();
    Ok(debs)
}

/// Where a kernel's files lie in an unpacked tree: `boot/*-RELEASE` up to 6.18, `usr/lib/modules/RELEASE` since. The
/// modules moved from `lib/modules/RELEASE` to there before the rest did.
#[derive(Debug)]
struct Unpacked {
    release: KernelRelease,
    image: PathBuf,
    config: PathBuf,
    system_map: PathBuf,
    modules: PathBuf,
}

impl Unpacked {
    fn find(tree: &Path) -> Result<Self> {
        Self::in_boot(tree).or_else(|| Self::in_modules(tree)).ok_or_else(|| {
            Error::new(ErrorKind::Artifact, "the downloaded packages do not hold a kernel image and its modules")
                .with_hint("name a package such as `linux-image-amd64` or `linux-image-cloud-amd64`")
        })
    }

    fn in_boot(tree: &Path) -> Option<Self> {
        let boot = tree.join("boot");
        let names = fs::read_dir(&boot).ok()?.flatten().filter_map(|found| found.file_name().into_string().ok());
        let release = names.filter_map(|name| Some(name.strip_prefix("vmlinuz-")?.to_owned())).next()?;
        let file = |name: &str| boot.join(format!("{name}-{release}"));
        let (image, config, system_map) = (file("vmlinuz"), file("config"), file("System.map"));
        let places = ["lib/modules", "usr/lib/modules"].map(|modules| tree.join(modules).join(&release));
        let modules = places.into_iter().find(|dir| dir.is_dir())?;
        Some(Self { release: KernelRelease::new(release), image, config, system_map, modules })
    }

    fn in_modules(tree: &Path) -> Option<Self> {
        let found = fs::read_dir(tree.join("usr/lib/modules")).ok()?.flatten().map(|found| found.path());
        let modules = found.into_iter().find(|dir| dir.join("vmlinuz").is_file())?;
        let release = KernelRelease::new(modules.file_name()?.to_str()?);
        let [image, config, system_map] = ["vmlinuz", "config", "System.map"].map(|name| modules.join(name));
        Some(Self { release, image, config, system_map, modules })
    }

    fn move_to(&self, entry: &Path) -> Result<()> {
        rename(&self.image, &entry.join("vmlinuz"))?;
        for (file, name) in [(&self.config, "config"), (&self.system_map, "System.map")] {
            if file.is_file() {
                rename(file, &entry.join(name))?;
            }
        }
        let all = entry.join("lib/modules");
        fs::create_dir_all(&all).map_err(|e| Error::path("create", &all, e))?;
        rename(&self.modules, &all.join(self.release.as_str()))
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|e| Error::path("move", from, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(test: &str, files: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let (tree, entry) = (dir.path().join("tree"), dir.path().join("entry"));
        for file in files {
            let file = tree.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        fs::create_dir_all(&entry).unwrap();
        let unpacked = Unpacked::find(&tree).unwrap();
        assert_eq!(unpacked.release.as_str(), "6.1-x");
        unpacked.move_to(&entry).unwrap();
        for kept in ["vmlinuz", "config", "lib/modules/6.1-x/kernel/fs/a.ko"] {
            assert!(entry.join(kept).is_file(), "{test}: {kept}");
        }
    }

    #[test]
    fn both_layouts_are_taken() {
        check(
            "old",
            &["boot/vmlinuz-6.1-x", "boot/config-6.1-x", "lib/modules/6.1-x/kernel/fs/a.ko", "usr/share/doc/x"],
        );
        check("mixed", &["boot/vmlinuz-6.1-x", "boot/config-6.1-x", "usr/lib/modules/6.1-x/kernel/fs/a.ko"]);
        let new = ["vmlinuz", "config", "kernel/fs/a.ko"].map(|file| format!("usr/lib/modules/6.1-x/{file}"));
        check("new", &new.each_ref().map(String::as_str));
    }

    #[test]
    fn a_tree_without_a_kernel_is_an_error() {
        assert!(Unpacked::find(Path::new("/nonexistent")).unwrap_err().hint().is_some());
    }
}
