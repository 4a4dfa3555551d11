use tempfile::TempDir;

use super::*;
use crate::kernel::image::elf::tests::sample;
use crate::property::check_reader;

/// A module tree that goes with the test.
struct Tree(TempDir);

impl Tree {
    fn new(modules: &[(&str, &str)], lists: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (file, info) in modules {
            let path = dir.path().join("kernel").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, sample(".modinfo", info.replace('|', "\0").as_bytes(), "x", 0)).unwrap();
        }
        for (list, text) in lists {
            fs::write(dir.path().join(list), text).unwrap();
        }
        Self(dir)
    }

    fn closure(&self, wanted: &[&str]) -> Vec<String> {
        let modules = ModuleTree::open(self.0.path()).unwrap().closure(wanted).unwrap();
        modules.into_iter().map(|module| module.name).collect()
    }
}

const MODULES: &[(&str, &str)] = &[
    ("fs/ext4/ext4.ko", "license=GPL|softdep=pre: crypto-crc32c|depends=mbcache,jbd2|"),
    ("fs/mbcache.ko", "depends=|"),
    ("fs/jbd2/jbd2.ko", "depends=mbcache|"),
    ("crypto/crc32c_generic.ko", "alias=crypto-crc32c|depends=|"),
    ("arch/x86/crypto/crc32c-intel.ko", "alias=crypto-crc32c|depends=libcrc|"),
    ("drivers/odd.ko", "depends=nowhere|"),
    ("drivers/loop-a.ko", "softdep=pre: loop_b post: ext4|depends=virtio|"),
    ("drivers/loop-b.ko", "softdep=pre: loop_a|"),
];
const BUILT_IN: (&str, &str) = ("modules.builtin", "kernel/drivers/virtio/virtio.ko\nkernel/lib/libcrc.ko\n");

#[test]
fn closures_without_depmods_files() {
    let tree = Tree::new(MODULES, &[BUILT_IN]);
    let cases: &[(&[&str], &[&str])] = &[
        (&["virtio", "no-such"], &[]),
        (&["jbd2"], &["mbcache", "jbd2"]),
        (&["mbcache", "jbd2", "mbcache"], &["mbcache", "jbd2"]),
        (&["ext4"], &["crc32c_generic", "crc32c_intel", "mbcache", "jbd2", "ext4"]),
        (&["loop-a"], &["loop_b", "loop_a"]),
    ];
    for (wanted, loaded) in cases {
        assert_eq!(tree.closure(wanted), *loaded, "{wanted:?}");
    }
}

#[test]
fn depmods_files_are_used() {
    let dep = "kernel/fs/ext4/ext4.ko: kernel/fs/mbcache.ko\nkernel/fs/mbcache.ko:\nkernel/fs/jbd2/jbd2.ko:\n\
               kernel/crypto/crc32c_generic.ko:\n";
    let alias = "# Aliases\nalias crypto-crc32c crc32c_generic\n";
    let tree = Tree::new(MODULES, &[BUILT_IN, ("modules.dep", dep), ("modules.alias", alias)]);
    assert_eq!(tree.closure(&["ext4"]), ["crc32c_generic", "mbcache", "jbd2", "ext4"]);
}

#[test]
fn an_alias_may_be_built_in() {
    let info = ("modules.builtin.modinfo", "libcrc.alias=crypto-crc32c\0libcrc.license=GPL\0");
    let tree = Tree::new(&MODULES[..3], &[BUILT_IN, info, ("modules.alias", "# Aliases\n")]);
    assert_eq!(tree.closure(&["ext4"]), ["mbcache", "jbd2", "ext4"]);
}

#[test]
fn what_is_where() {
    let tree = Tree::new(MODULES, &[BUILT_IN]);
    let tree = ModuleTree::open(tree.0.path()).unwrap();
    let cases = [
        ("virtio", Availability::BuiltIn),
        ("crc32c-intel", Availability::Module),
        ("crc32c_intel", Availability::Module),
        ("9p", Availability::Absent),
    ];
    for (name, availability) in cases {
        assert_eq!(tree.availability(name), availability, "{name}");
    }
}

#[test]
fn a_missing_dependency_is_named() {
    let tree = Tree::new(MODULES, &[BUILT_IN]);
    let error = ModuleTree::open(tree.0.path()).unwrap().closure(&["odd"]).unwrap_err().to_string();
    assert!(error.contains("`odd` needs `nowhere`"), "{error}");
    assert!(ModuleTree::open(Path::new("/nonexistent")).is_err());
}

#[test]
fn information_of_any_module_is_read() {
    let info = b"license=GPL\0softdep=pre: crypto-crc32c post: x\0depends=mbcache,jbd2\0alias=a-b\0";
    check_reader(50_000, &[&sample(".modinfo", info, "x", 0)], (4096, 100), |bytes| {
        let info = ModInfo::parse(bytes);
        let _ = (info.dependencies(), info.soft_dependencies(), info.values("alias").count());
    });
}

#[test]
fn any_lists_make_a_tree() {
    let dir = tempfile::tempdir().unwrap();
    let lists = ["modules.dep", "modules.builtin", "modules.alias", "modules.builtin.modinfo"];
    let samples: [&[u8]; 3] =
        [b"kernel/a-b.ko.xz: kernel/c.ko\nkernel/c.ko:\n", b"alias a-b c\nalias x\n", b"a.alias=b\0c\0"];
    check_reader(500, &samples, (64 << 10, 500), |bytes| {
        for list in lists {
            fs::write(dir.path().join(list), bytes).unwrap();
        }
        let tree = ModuleTree::open(dir.path()).unwrap();
        let _ = (tree.availability("c"), tree.aliases().unwrap());
    });
}
