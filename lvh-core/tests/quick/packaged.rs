//! A source whose `make` gives a kernel that was packaged, with other words behind it: it boots, and costs no compiler.

use std::fs;
use std::path::Path;

use lvh_core::Kernel;

/// Options for which a kernel's build needs programs.
const COSTLY: [&str; 6] =
    ["DEBUG_INFO_BTF", "SYSTEM_TRUSTED_KEYRING", "MODULE_SIG", "IKHEADERS", "KERNEL_", "UNWINDER_ORC"];

/// Writes the source of `kernel` to `dir`; its `module-tree` has no modules but those that are built in.
pub(crate) fn write_packaged_source(dir: &Path, kernel: &Kernel) {
    fs::create_dir_all(dir.join("module-tree")).unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).unwrap();
    let config = fs::read_to_string(kernel.config.as_ref().unwrap()).unwrap();
    let cheap = |line: &&str| !COSTLY.iter().any(|option| line.contains(option));
    write("config", config.lines().filter(cheap).collect::<Vec<_>>().join("\n").as_bytes());
    write("image", &fs::read(&kernel.image).unwrap());
    let builtin = kernel.modules.as_ref().unwrap().join("modules.builtin");
    write("module-tree/modules.builtin", &fs::read(builtin).unwrap());
    write("release", kernel.release.as_str().as_bytes());
    let makefile = include_str!("packaged.mk");
    for (name, text) in
        [("Makefile", makefile), ("Kconfig", "config A\n\tbool \"A\"\n"), ("Kbuild", ""), ("version", "one")]
    {
        write(name, text.as_bytes());
    }
}
