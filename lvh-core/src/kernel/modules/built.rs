//! The module tree of a kernel that was built but not installed.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use super::depmod::depmod;
use crate::kernel::KernelRelease;
use crate::kernel::stamp::stamp;
use crate::store::{Entry, Key, Store};
use crate::{Error, Result};

/// The kind of the store's entries for such trees.
const KIND: &str = "built-modules";
/// What a build leaves in its root and an installed tree has too; modules.order is written anew.
const LISTS: &[&str] = &["modules.builtin", "modules.builtin.modinfo"];

/// The modules of the build tree `root` as `lib/modules/RELEASE` of an entry of the store: links to where they lie.
///
/// The key covers size and time of each module, so that a rebuilt module makes a new tree. `None` where the kernel
/// was built without modules.
pub(in crate::kernel) fn gather(
    root: &Path,
    release: &KernelRelease,
    store: &Store,
) -> Result<Option<(Key, PathBuf, Entry)>> {
    let modules = listed(root);
    if modules.is_empty() && !root.join("modules.builtin").is_file() {
        return Ok(None);
    }
    let stamps =
        modules.iter().map(PathBuf::as_path).chain(LISTS.iter().map(Path::new)).map(|file| stamp(&root.join(file)));
    let names = [KIND, release.as_str()].map(str::to_owned);
    let key = Key::of(names.into_iter().chain(stamps));
    let below = Path::new("lib/modules").join(release.as_str());
    let entry = store.populate(KIND, &key, &|| {}, |staging| {
        let tree = staging.entry().join(&below);
        link_all(root, &modules, &tree).map_err(|e| Error::path("link the modules of", root, e))?;
        depmod(&staging.entry(), release)
    })?;
    Ok(Some((key, entry.path().join(below), entry)))
}

/// The modules that were built, relative to `root`.
fn listed(root: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(root.join("modules.order")).unwrap_or_default();
    let modules = text.lines().map(|line| {
        // `kernel/fs/a.ko` before 5.3, `fs/a.ko` since, `fs/a.o` since 6.3.
        Path::new(line.strip_prefix("kernel/").unwrap_or(line)).with_extension("ko")
    });
    let inside = |module: &Path| module.components().all(|part| matches!(part, Component::Normal(_)));
    modules.filter(|module| inside(module) && root.join(module).is_file()).collect()
}

fn link_all(root: &Path, modules: &[PathBuf], tree: &Path) -> io::Result<()> {
    fs::create_dir_all(tree)?;
    for module in modules {
        let link = tree.join("kernel").join(module);
        fs::create_dir_all(link.parent().unwrap_or(tree))?;
        symlink(root.join(module), link)?;
    }
    let order: String = modules.iter().map(|module| format!("kernel/{}\n", module.display())).collect();
    fs::write(tree.join("modules.order"), order)?;
    for list in LISTS.iter().filter(|list| root.join(list).is_file()) {
        fs::copy(root.join(list), tree.join(list))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::image::elf::tests::sample;
    use crate::kernel::{Availability, ModuleTree};

    #[test]
    fn a_build_tree_becomes_a_module_tree() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("linux");
        for module in ["fs/a.ko", "fs/b.ko", "drivers/c.ko"] {
            let file = root.join(module);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, sample(".modinfo", b"depends=\0", "x", 0)).unwrap();
        }
        fs::write(root.join("modules.order"), "kernel/fs/a.ko\nfs/b.o\ndrivers/c.ko\nfs/not_built.o\nfs/../fs/a.o\n")
            .unwrap();
        fs::write(root.join("modules.builtin"), "kernel/fs/d.ko\n").unwrap();
        let store = Store::open(dir.path().join("data")).unwrap();
        let release = KernelRelease::new("6.1-x");

        let (key, tree, _entry) = gather(&root, &release, &store).unwrap().unwrap();
        assert!(tree.ends_with("lib/modules/6.1-x"));
        let modules = ModuleTree::open(&tree).unwrap();
        let expected = [("a", Availability::Module), ("b", Availability::Module), ("c", Availability::Module)];
        for (name, availability) in
            expected.into_iter().chain([("d", Availability::BuiltIn), ("not_built", Availability::Absent)])
        {
            assert_eq!(modules.availability(name), availability, "{name}");
        }
        if crate::process::find("depmod").is_some() {
            let list = fs::read_to_string(tree.join("modules.dep")).unwrap();
            assert_eq!(list.lines().count(), 3, "depmod did not follow the links: {list}");
        }
        assert_eq!(modules.closure(&["a", "b"]).unwrap().len(), 2);

        assert_eq!(gather(&root, &release, &store).unwrap().unwrap().0, key);
        fs::write(root.join("fs/a.ko"), "changed").unwrap();
        assert_ne!(gather(&root, &release, &store).unwrap().unwrap().0, key);
    }
}
