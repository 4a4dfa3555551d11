//! Whether a QEMU runs code at all, found out by running some: five instructions in place of a firmware.

use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::time::Duration;

use crate::Error;
use crate::guest::initramfs::memory_file;
use crate::process::Tool;

/// How long a QEMU may take to start and to run a handful of instructions; idle machines need less than a second.
const DEADLINE: Duration = Duration::from_secs(20);
/// The size of the image: QEMU takes multiples of 64 KiB and maps them so that they end at 4 GiB.
const SIZE: usize = 64 << 10;
/// Where an x86 CPU starts: 16 bytes before the end of the first 4 GiB (Intel SDM volume 3, "First Instruction
/// Executed").
const RESET_VECTOR: usize = SIZE - 16;
/// `mov al, 0x10; out 0xf4, al; hlt`
const CODE: [u8; 5] = [0xb0, 0x10, 0xe6, 0xf4, 0xf4];
/// QEMU's isa-debug-exit makes `value << 1 | 1` its exit code. No other way for QEMU to end has this one.
const SUCCESS: i32 = 0x10 << 1 | 1;

/// Runs the code on the CPU that VMs get under this accelerator, `kvm` or `tcg`.
///
/// # Errors
/// QEMU's own words, where it did not run.
pub(super) fn run(qemu: &Path, accel: &str) -> Result<(), String> {
    let mut image = vec![0; SIZE];
    image[RESET_VECTOR..RESET_VECTOR + CODE.len()].copy_from_slice(&CODE);
    let image = memory_file(&[image]).map_err(|error| error.to_string())?;
    // QEMU does not inherit the file, but it may open it where we have it.
    let bios = format!("/proc/{}/fd/{}", std::process::id(), image.as_raw_fd());
    let cpu = if accel == "kvm" { "host" } else { "max" };
    let quiet = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "q35", "-m", "16M"];
    let rest = ["-accel", accel, "-cpu", cpu, "-bios", &bios, "-device", "isa-debug-exit,iobase=0xf4,iosize=1"];
    // A QEMU that aborts leaves a core file in its directory, where that can be written.
    let nowhere = Path::new("/proc");
    let ran = Tool::at(qemu).dir(nowhere).args(quiet).args(rest).success(SUCCESS).deadline(DEADLINE).run();
    ran.map(drop).map_err(|error| {
        let said = error.output().and_then(|output| output.lines().find(|line| is_serious(line)));
        said.map_or_else(|| how_it_ended(&error), |line| without_name(qemu, line))
    })
}

/// `ended with exit code 1` of an error that begins with the call.
fn how_it_ended(error: &Error) -> String {
    let message = error.to_string();
    message.rsplit("` ").next().unwrap_or_default().to_owned()
}

/// TCG warns of each feature of the CPU that it does not have.
fn is_serious(line: &str) -> bool {
    !line.trim().is_empty() && !line.contains("warning:")
}

/// QEMU begins its lines with the name that it was called by.
fn without_name(qemu: &Path, line: &str) -> String {
    let name = qemu.file_name().unwrap_or_default().to_string_lossy();
    let line = line.trim_start_matches(&*qemu.to_string_lossy()).trim_start_matches(&*name);
    line.trim_start_matches(": ").to_owned()
}
