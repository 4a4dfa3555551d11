use tempfile::TempDir;

use super::*;
use crate::kernel::image::{bzimage, compression, elf};

/// A directory with these files; a `*` in front of a name makes it a bzImage of release `6.1-x`.
struct Tree(TempDir);

impl Tree {
    fn new(files: &[&str]) -> Self {
        let dir = tempfile::tempdir_in(std::env::temp_dir().canonicalize().unwrap()).unwrap();
        for name in files {
            let file = dir.path().join(name.trim_start_matches('*'));
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            let image = bzimage::tests::sample("6.1-x (me) #1", b"");
            fs::write(file, if name.starts_with('*') { image } else { b"6.1-x\n".to_vec() }).unwrap();
        }
        Self(dir)
    }

    /// Image, config and modules of what is found at `path`, all relative to this tree.
    fn find(&self, path: &str) -> Result<[String; 3]> {
        let kernel = at(&self.0.path().join(path))?;
        assert_eq!(kernel.release.as_str(), "6.1-x");
        let modules = match kernel.modules {
            LocalModules::None => None,
            LocalModules::Installed(dir) => Some(dir),
            LocalModules::Built(root) => Some(root.join("(built)")),
        };
        let relative = |path: PathBuf| path.strip_prefix(self.0.path()).unwrap().to_str().unwrap().to_owned();
        Ok([Some(kernel.image), kernel.config, modules].map(|path| path.map(relative).unwrap_or_default()))
    }
}

#[test]
fn every_layout_is_found() {
    let boot = ["*boot/vmlinuz-6.1-x", "boot/config-6.1-x", "lib/modules/6.1-x/modules.order"];
    let found = ["boot/vmlinuz-6.1-x", "boot/config-6.1-x", "lib/modules/6.1-x"];
    let usr = ["*usr/lib/modules/6.1-x/vmlinuz", "usr/lib/modules/6.1-x/config", "usr/lib/modules/6.1-x/modules.order"];
    let in_usr = ["usr/lib/modules/6.1-x/vmlinuz", "usr/lib/modules/6.1-x/config", "usr/lib/modules/6.1-x"];
    let build = ["*arch/x86/boot/bzImage", ".config", "include/config/kernel.release", "modules.order"];
    let built = ["arch/x86/boot/bzImage", ".config", "(built)"];
    let cases: &[(&str, &[&str], &str, [&str; 3])] = &[
        ("boot", &boot, "", found),
        ("boot-file", &boot, "boot/vmlinuz-6.1-x", found),
        ("usr", &usr, "", in_usr),
        ("usr-modules", &usr, "usr/lib/modules/6.1-x", in_usr),
        ("build", &build, "", built),
        ("build-file", &build, "arch/x86/boot/bzImage", built),
        ("lone", &["*bzImage"], "bzImage", ["bzImage", "", ""]),
    ];
    for (test, files, path, expected) in cases {
        assert_eq!(Tree::new(files).find(path).unwrap(), *expected, "{test}");
    }
}

#[test]
fn what_is_not_there_is_never_guessed() {
    let cases: &[(&str, &[&str], &str, &str)] = &[
        ("missing", &["x"], "no-such", "does not exist"),
        ("empty", &["x"], "", "no kernel in the directory"),
        ("several", &["*boot/vmlinuz-1", "*boot/vmlinuz-2"], "", "several kernels"),
        ("unbuilt", &["include/config/kernel.release"], "", "holds no kernel image"),
        ("text", &["README"], "README", "is no kernel"),
    ];
    for (test, files, path, message) in cases {
        let error = Tree::new(files).find(path).unwrap_err();
        assert!(error.to_string().contains(message), "{test}: {error}");
        assert_eq!(error.kind(), ErrorKind::Usage, "{test}");
    }
}

/// What is named as a kernel and is none, or not all of one.
#[test]
fn what_is_no_kernel_is_told_for_what_it_is() {
    let whole = bzimage::tests::sample("6.1-x #1", &[7; 4096]);
    let packed = |name: &str| -> Vec<u8> {
        let samples = compression::tests::samples();
        samples.into_iter().find(|sample| format!("{:?}", Compression::detect(sample).unwrap()) == name).unwrap()
    };
    let elf = |class: u8, machine: u16| {
        let mut elf = elf::tests::sample(".rodata", b"\0Linux version 6.1-x (x)\0", "Xen", 18);
        elf[4] = class;
        elf[18..20].copy_from_slice(&machine.to_le_bytes());
        elf
    };
    let program = elf::tests::sample(".rodata", b"hello", "GNU", 1);
    let cases: &[(&[u8], &str)] = &[
        (b"", "is empty"),
        (&whole[..whole.len() - 1], "is a kernel that is cut short: it has 5135 bytes of 5136"),
        (b"07070100000001000081a4", "is an initramfs, and no kernel"),
        (&elf(2, 243), "is an ELF file, but no kernel of x86-64 or arm64"),
        (&elf(1, 3), "is an ELF file of 32 bits"),
        (&program, "is an ELF file, but no kernel"),
        (b"#!/bin/sh", "neither bzImage, ELF nor arm64 Image"),
        (&packed("Gzip"), "neither bzImage, ELF nor arm64 Image"),
        (&packed("Gzip")[..20], "cannot be unpacked"),
        (b"BZh91AY&SY", "cannot be unpacked"),
        (b"\x89LZO\0\x0d\x0a\x1a\x0a", "cannot be unpacked"),
    ];
    for (content, expected) in cases {
        let tree = Tree::new(&[]);
        fs::write(tree.0.path().join("it"), content).unwrap();
        let error = at(&tree.0.path().join("it")).unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert_eq!(error.kind(), ErrorKind::Usage, "{expected}");
    }
    let error = at(Path::new("/dev/null")).unwrap_err();
    assert!(error.to_string().ends_with("is neither a file nor a directory"), "{error}");
}

#[test]
fn a_packed_kernel_is_known_as_such() {
    use std::io::Write;
    let tree = Tree::new(&["*plain"]);
    let plain = fs::read(tree.0.path().join("plain")).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let file = tree.0.path().join("packed");
    fs::write(&file, gzip.finish().unwrap()).unwrap();
    let kernel = at(&file).unwrap();
    assert!(kernel.packed && kernel.release.as_str() == "6.1-x");
    assert_eq!(unpacked(&file).unwrap(), plain);
    assert!(!at(&tree.0.path().join("plain")).unwrap().packed);
}

#[test]
fn elf_kernels_name_their_release() {
    let tree = Tree::new(&["x"]);
    let banner = b"\0Linux version 6.1-x (me@here) (gcc) #1\0";
    fs::write(tree.0.path().join("vmlinux"), elf::tests::sample(".rodata", banner, "Xen", 18)).unwrap();
    assert_eq!(tree.find("vmlinux").unwrap(), ["vmlinux", "", ""]);
}

#[test]
fn the_running_kernel_is_found_or_the_error_helps() {
    match running() {
        Ok(kernel) => assert_eq!(kernel.release, running_release()),
        Err(error) => assert!(error.hint().is_some() || error.kind() == ErrorKind::Usage, "{}", error.report()),
    }
}
