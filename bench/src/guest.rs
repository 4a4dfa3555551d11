//! The initramfs of guests that are not lvh's.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use lvh_core::Kernel;
use lvh_core::kernel::ModuleTree;

// The writer that lvh-core packs its own guests with.
#[path = "../../lvh-core/src/guest/initramfs/cpio.rs"]
mod cpio;

/// The one that does nothing but power off.
pub(crate) fn floor(dir: &Path) -> anyhow::Result<PathBuf> {
    pack(&dir.join("floor.cpio"), &init(dir)?, |_| {})
}

/// The one that loads 9p and hands over to vmtest's init.
pub(crate) fn with_9p(dir: &Path, kernel: &Kernel) -> anyhow::Result<PathBuf> {
    let tree = kernel.modules.as_deref().context("the kernel has no module tree")?;
    let modules = ModuleTree::open(tree)?.closure(&["virtio_pci", "virtio_console", "9pnet_virtio", "9p"])?;
    pack(&dir.join("vmtest.cpio"), &init(dir)?, |archive| {
        archive.directory("/modules");
        archive.directory("/newroot");
        for (order, module) in modules.iter().enumerate() {
            archive.file(&format!("/modules/{order:03}-{}.ko", module.name), 0o644, &module.data);
        }
    })
}

fn pack(file: &Path, init: &[u8], add: impl Fn(&mut cpio::Archive)) -> anyhow::Result<PathBuf> {
    let mut archive = cpio::Archive::default();
    for directory in ["/dev", "/proc"] {
        archive.directory(directory);
    }
    archive.character_device("/dev/console", 5, 1);
    archive.character_device("/dev/kmsg", 1, 11);
    archive.file("/init", 0o755, init);
    add(&mut archive);
    fs::write(file, archive.finish()).with_context(|| format!("failed to write `{}`", file.display()))?;
    Ok(file.to_owned())
}

/// Compiles `guest/init.rs`, which depends on `std` alone, with one call of rustc.
fn init(dir: &Path) -> anyhow::Result<Vec<u8>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("guest/init.rs");
    let program = dir.join("init");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| OsString::from("rustc"));
    let mut command = Command::new(rustc);
    command.args(["--edition", "2024", "--crate-name", "bench_init", "-Copt-level=s", "-Cpanic=abort"]);
    command.args(["-Cstrip=symbols", "-Ctarget-feature=+crt-static", "-o"]).arg(&program).arg(source);
    let output = command.output().context("failed to run rustc")?;
    anyhow::ensure!(output.status.success(), "failed to build init:\n{}", String::from_utf8_lossy(&output.stderr));
    fs::read(&program).with_context(|| format!("failed to read `{}`", program.display()))
}
