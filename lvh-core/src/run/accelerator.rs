//! Whether KVM is worth a try: nobody watches this QEMU, and one whose guest hangs would do so for ever.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::config::Accel;
use crate::process::{self, Start};
use crate::vm::Hypervisor;
use crate::vm::qemu::accel::{KvmState, NO_KVM_HINT, Remembered, STATE, for_cpus, open_kvm, slow};
use crate::{Arch, Error, ErrorKind, Result, Store};

/// What QEMU's firmware says when it has done all that it does for a machine without a disk.
const FIRMWARE_IS_DONE: &[u8] = b"No bootable device";
/// How long the firmware may take, which is half a second under KVM and one under TCG.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often it is asked for.
const LOOK: Duration = Duration::from_millis(10);
/// The most that the firmware may say, in bytes; it says 4 KiB.
const MOST: usize = 64 << 10;

/// Who executes a guest of `arch` with so many CPUs, and a line that says why it is slow where the user cannot know.
/// What VMs of `data_dir` found out about KVM counts; where none did, the firmware is started under it.
///
/// # Errors
/// The user insists on KVM, and there is none.
pub fn accelerator(
    accel: Accel,
    arch: Arch,
    cpus: u32,
    data_dir: Option<&Path>,
) -> Result<(Hypervisor, Option<String>)> {
    let tcg = || for_cpus(Hypervisor::Tcg { single_thread: false }, cpus, arch);
    if accel == Accel::Tcg {
        return Ok((tcg(), None));
    }
    let usable = match arch == Arch::HOST {
        true => kvm(data_dir),
        false => Err(format!("KVM runs no guests of {arch} here")),
    };
    match (usable, accel) {
        (Ok(()), _) => Ok((Hypervisor::Kvm, None)),
        (Err(why), Accel::Kvm) => Err(Error::new(ErrorKind::Missing, why).with_hint(NO_KVM_HINT)),
        (Err(why), _) => Ok((tcg(), Some(slow(&why)))),
    }
}

fn kvm(data_dir: Option<&Path>) -> std::result::Result<(), String> {
    open_kvm()?;
    match data_dir.and_then(|dir| Remembered::open(&Store::state_in(dir, STATE)).recall()) {
        Some(KvmState::Works) => Ok(()),
        Some(KvmState::Broken(why)) => Err(why),
        // No verdict of ours is written down: that is for who has run a kernel.
        Some(KvmState::Closed(_)) | None => match (Arch::HOST, process::find(Arch::HOST.qemu())) {
            (Arch::X86_64, Some(qemu)) => firmware_runs(&qemu, "kvm"),
            // QEMU has no firmware that says anything by itself, or is not there, which is told later.
            _ => Ok(()),
        },
    }
}

/// Starts the firmware of x86 machines, and waits until it has found nothing to boot.
fn firmware_runs(qemu: &Path, accel: &str) -> std::result::Result<(), String> {
    let failed = |what: &str| format!("KVM does not work on this machine ({what})");
    let text = |error: io::Error| failed(&error.to_string());
    let ((said, to_said), (errors, to_errors)) = (io::pipe().map_err(text)?, io::pipe().map_err(text)?);
    let fd = to_said.as_raw_fd();
    let mut command = Command::new(qemu);
    command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "64M", "-accel", accel]);
    // SeaBIOS's messages go to this port (its docs/Debugging.md).
    command.args(["-device", "isa-debugcon,iobase=0x402,chardev=said", "-chardev"]);
    command.arg(format!("file,id=said,path=/proc/self/fd/{fd}")).stdout(std::process::Stdio::null()).stderr(to_errors);
    let start = Start::new(command).inherit([fd]).collect(said, MOST).collect(errors, MOST);
    let qemu = start.spawn().map_err(text)?;
    drop(to_said);
    let since = Instant::now();
    while since.elapsed() < DEADLINE {
        let ended = qemu.status().map_err(text)?;
        let said = qemu.output_so_far(0);
        if said.windows(FIRMWARE_IS_DONE.len()).any(|words| words == FIRMWARE_IS_DONE) {
            return Ok(());
        }
        if ended.is_some() {
            let errors = String::from_utf8_lossy(&qemu.output_so_far(1)).into_owned();
            return Err(failed(errors.lines().last().unwrap_or("QEMU ended at once")));
        }
        thread::sleep(LOOK);
    }
    Err(failed(&format!("its firmware was not done after {DEADLINE:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_firmware_runs_where_the_accelerator_does() {
        let Some(qemu) = process::find("qemu-system-x86_64") else { return };
        assert_eq!(firmware_runs(&qemu, "tcg"), Ok(()));
        let why = firmware_runs(&qemu, "nosuch").unwrap_err();
        assert!(why.starts_with("KVM does not work on this machine (") && why.contains("nosuch"), "{why}");
        let why = firmware_runs(Path::new("/bin/true"), "tcg").unwrap_err();
        assert_eq!(why, "KVM does not work on this machine (QEMU ended at once)");
    }

    #[test]
    fn a_verdict_counts_and_insisting_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (broken, foreign) =
            (|| "it hangs".to_owned(), if Arch::HOST == Arch::X86_64 { Arch::Aarch64 } else { Arch::X86_64 });
        Remembered::open(&Store::state_in(dir.path(), STATE)).keep(&KvmState::Broken(broken()));
        let (slow, why) = accelerator(Accel::Auto, Arch::HOST, 1, Some(dir.path())).unwrap();
        assert_eq!(slow, Hypervisor::Tcg { single_thread: false });
        assert!(why.is_some_and(|why| why.ends_with("; using TCG, about ten times slower")));
        let error = accelerator(Accel::Kvm, Arch::HOST, 1, Some(dir.path())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Missing);
        assert_eq!(accelerator(Accel::Tcg, Arch::HOST, 1, Some(dir.path())).unwrap().1, None);
        assert_ne!(accelerator(Accel::Auto, foreign, 1, Some(dir.path())).unwrap().0, Hypervisor::Kvm);
    }
}
