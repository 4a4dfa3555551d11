//! The same functions on four kernels: what is missing on one of them shows by name.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

/// One test, four results: `landlock::5.10`, `landlock::6.1`, …
#[lvh::test(kernels = ["5.10", "6.1", "6.12", "7.x"])]
fn landlock() {
    let release = lvh::kernel_release();
    let abi = matrix::landlock_abi();
    println!("Linux {release}: Landlock ABI {abi:?}");
    match abi {
        None => assert!(release.starts_with("5.10."), "Landlock came with Linux 5.13"),
        Some(abi) => assert!(abi >= 2, "Linux 6.1 has ABI 2 already, not {abi}"),
    }
}

/// Skipped, with its reason, where the kernel is too old.
#[lvh::test(kernels = ["5.10", "6.1", "6.12", "7.x"])]
fn kills_a_cgroup() -> io::Result<()> {
    lvh::require_kernel!(">= 5.14", "cgroup.kill");
    // Each test has a VM's root to itself: what it makes there is gone with the VM.
    let cgroup = Path::new("/sys/fs/cgroup/matrix");
    fs::create_dir(cgroup)?;
    let mut child = Command::new("sleep").arg("60").spawn()?;
    fs::write(cgroup.join("cgroup.procs"), child.id().to_string())?;
    matrix::kill_cgroup(cgroup)?;
    assert_eq!(child.wait()?.signal(), Some(libc::SIGKILL));
    fs::remove_dir(cgroup)
}

lvh::main!();
