//! The peers, each run as its own documentation has it, on the kernel and under the accelerator that lvh uses.

use std::fs;
use std::path::{Path, PathBuf};

use crate::bench::{Bench, PACKAGE};
use crate::guest;
use crate::recipe::Recipe;
use crate::shim::{find, path_with, write_script};

/// vmtest takes the existence of `/dev/kvm` for KVM that works and cannot be told otherwise: what it adds to QEMU's
/// arguments for it becomes what it adds without.
const VMTEST_WITHOUT_KVM: &str = "#!/bin/sh
for word do
    shift
    case $word in
    -enable-kvm) ;;
    host) set -- \"$@\" qemu64 ;;
    *) set -- \"$@\" \"$word\" ;;
    esac
done
exec qemu-system-x86_64 \"$@\"
";

/// virtme-ng with a share over virtiofs, which needs the virtiofsd that is written in Rust, or over 9p.
pub(crate) fn virtme_ng(bench: &Bench, virtiofs: bool) -> Result<Recipe, String> {
    let vng = installed(bench.dir.join("venv/bin/vng"))?;
    find("busybox").ok_or("busybox, which its initramfs needs, is not installed")?;
    if virtiofs {
        installed(bench.dir.join("peers/bin/virtiofsd"))?;
    }
    let no_kvm = bench.tcg.then_some("--disable-kvm");
    let share = (!virtiofs).then_some("--force-9p");
    let path = path_with(&[&bench.dir.join("venv/bin"), &bench.dir.join("peers/bin")]);
    // It finds the modules in `lib/modules` beside the image.
    Ok(Recipe::new(vng, PACKAGE)
        .args(no_kvm.into_iter().chain(share))
        .args(["-r".into(), bench.kernel.image.clone().into_os_string()])
        .args(["--", "uname", "-r"])
        .env("PATH", path)
        .expecting(bench.kernel.release.as_str()))
}

/// vmtest, with an initramfs that loads 9p where the kernel has it as a module.
pub(crate) fn vmtest(bench: &Bench) -> Result<Recipe, String> {
    let vmtest = installed(bench.dir.join("peers/bin/vmtest"))?;
    find("qemu-ga").ok_or("qemu-ga, which runs in its guests, is not installed")?;
    let config = vmtest_config(bench).map_err(|error| format!("{error:#}"))?;
    Ok(Recipe::new(vmtest, PACKAGE)
        .args(["-c".into(), config.into_os_string()])
        .env("VMTEST_NO_UI", "1")
        .expecting(bench.kernel.release.as_str()))
}

fn vmtest_config(bench: &Bench) -> anyhow::Result<PathBuf> {
    let wrapper = bench.dir.join("vmtest-qemu");
    write_script(&wrapper, VMTEST_WITHOUT_KVM)?;
    let initrd = guest::with_9p(&bench.dir, &bench.kernel)?;
    let qemu = if bench.tcg { format!("qemu_command = {}\n", quoted(&wrapper)) } else { String::new() };
    let text = format!(
        "[[target]]\nname = \"lvh-bench\"\nkernel = {}\ncommand = \"uname -r\"\n{qemu}\n[target.vm]\nextra_args = [\"-initrd\", {}]\n",
        quoted(&bench.kernel.image),
        quoted(&initrd)
    );
    let file = bench.dir.join("vmtest.toml");
    fs::write(&file, text)?;
    Ok(file)
}

/// A path as TOML and JSON write it.
fn quoted(path: &Path) -> String {
    format!("{:?}", path.to_string_lossy())
}

fn installed(program: PathBuf) -> Result<PathBuf, String> {
    match program.is_file() {
        true => Ok(program),
        false => Err(format!("`{}` is not installed: run bench/run", program.display())),
    }
}
