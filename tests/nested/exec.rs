//! `lvh exec` in the guest, under its KVM.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Once;
use std::time::Instant;

use lvh_tests::Finished;

/// A VM in the VM, and what runs there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exec {
    pub(crate) kernel: &'static str,
    pub(crate) channel: &'static str,
    pub(crate) share: &'static str,
    pub(crate) cpus: u32,
    pub(crate) program: &'static [&'static str],
    /// What that begins to write.
    pub(crate) prints: &'static str,
}

impl Exec {
    pub(crate) fn new(kernel: &'static str, channel: &'static str, share: &'static str) -> Self {
        let prints = kernel.trim_end_matches('x');
        Self { kernel, channel, share, cpus: 1, program: &["/bin/uname", "-r"], prints }
    }

    /// Whether QEMU can save all devices of such a VM.
    pub(crate) fn can_resume(self) -> bool {
        ["vhost-vsock", "virtio-serial"].contains(&self.channel) && self.share != "virtiofs"
    }

    /// Runs the program; how many seconds that took, and whether its VM was booted for it.
    #[track_caller]
    pub(crate) fn runs(self) -> (f64, bool) {
        let mut command = lvh();
        command.args(["exec", "--kernel", self.kernel, "--cpus", &self.cpus.to_string()]);
        command.args(self.program);
        command.env("LVH_ACCEL", "kvm").env("LVH_CHANNEL", self.channel).env("LVH_SHARE", self.share);
        let start = Instant::now();
        let Finished { code, stdout, stderr } = Finished::of(&mut command);
        assert!(code == Some(0) && stdout.starts_with(self.prints), "{self:?}: {code:?}\n{stdout}\n{stderr}");
        let start_of = if self.can_resume() { ", warm" } else { "" };
        let ready = format!(" s (kvm, {}, {}{start_of})", self.channel, self.share);
        assert!(stderr.contains(&ready), "{self:?}: {stderr}");
        (start.elapsed().as_secs_f64(), stderr.contains(": booting ("))
    }
}

/// The command `lvh`, which the driver built, with the kernels that it fetched.
pub(crate) fn lvh() -> Command {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(prepare);
    let mut command = Command::new(program());
    command.env("LVH_DATA_DIR", data_dir()).env("LVH_OFFLINE", "1").env("LVH_VERBOSE", "1");
    command
}

pub(crate) fn program() -> PathBuf {
    env::var_os("LVH_TEST_LVH").expect("the driver says where it is").into()
}

/// The host's, under an overlay in this guest's memory.
pub(crate) fn data_dir() -> PathBuf {
    env::var_os("LVH_TEST_DATA_DIR").expect("the driver says where it is").into()
}

/// Has the only CPU run one thread for a while before the next: to enter a guest takes longer here than the 0.7 ms that a
/// thread gets by default, and two CPUs of a guest then get nowhere.
fn prepare() {
    assert!(fs::exists("/dev/kvm").unwrap() && fs::exists("/dev/vhost-vsock").unwrap(), "the guest has no KVM");
    fs::write("/sys/kernel/debug/sched/base_slice_ns", "60000000").unwrap();
    fs::write("/sys/module/kvm/parameters/halt_poll_ns", "0").unwrap();
}
