//! The QEMU command line: a pure function of what is decided before.

use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use crate::Arch;
use crate::error::{Error, ErrorKind, Result};
use crate::vm::qemu::device::{Device, escape};

/// What QEMU is started with.
#[derive(Debug, Clone)]
pub(crate) struct Invocation {
    /// Architecture of the guest.
    pub arch: Arch,
    /// Who executes the guest.
    pub accel: Hypervisor,
    /// Whether this machine is itself a guest of TCG.
    pub on_tcg: bool,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Guest memory in MiB.
    pub memory_mib: u32,
    /// Where it is.
    pub memory: GuestMemory,
    /// The kernel file.
    pub kernel: PathBuf,
    /// An inherited descriptor that holds the initramfs.
    pub initrd: RawFd,
    /// More kernel arguments, from the user.
    pub kernel_args: String,
    /// The devices.
    pub devices: Vec<Device>,
}

/// Where guest memory is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GuestMemory {
    /// QEMU's own, which our devices can map where there are some.
    Own,
    /// A new file, for a snapshot that is being taken.
    Snapshot(PathBuf),
    /// That of a snapshot; what the guest writes goes to memory of its own. The VM waits for the rest of its state.
    Resumed(PathBuf),
}

/// Who executes the guest's instructions, once that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hypervisor {
    /// Linux's KVM.
    Kvm,
    /// QEMU's translator.
    Tcg {
        /// All virtual CPUs in one thread: QEMU before 8.1 corrupts guests that patch their own code on several.
        single_thread: bool,
    },
}

impl Hypervisor {
    /// Its name in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg { .. } => "tcg",
        }
    }
}

/// QEMU's arguments, without the program.
pub(crate) fn arguments(invocation: &Invocation) -> Vec<String> {
    let mut args: Vec<String> =
        ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"].map(Into::into).into();
    let mut push = |option: &str, value: String| args.extend([option.to_owned(), value]);
    push("-machine", machine(invocation));
    push("-accel", accel(invocation.accel));
    push("-cpu", cpu(invocation));
    push("-smp", invocation.cpus.to_string());
    push("-m", format!("{}M", invocation.memory_mib));
    if let Some(backend) = memory(invocation) {
        push("-object", backend);
    }
    if matches!(invocation.memory, GuestMemory::Resumed(_)) {
        push("-incoming", "defer".to_owned());
    }
    push("-kernel", path(&invocation.kernel));
    push("-initrd", format!("/proc/self/fd/{}", invocation.initrd));
    push("-append", append(invocation));
    args.extend(invocation.devices.iter().flat_map(Device::qemu));
    args
}

/// The object that holds guest memory, where it is not QEMU's own affair.
fn memory(invocation: &Invocation) -> Option<String> {
    let size = invocation.memory_mib;
    let file = |path: &Path, share: &str| {
        format!("memory-backend-file,id=memory,size={size}M,mem-path={},share={share}", escape(&path.to_string_lossy()))
    };
    match &invocation.memory {
        GuestMemory::Snapshot(path) => Some(file(path, "on")),
        GuestMemory::Resumed(path) => Some(file(path, "off")),
        GuestMemory::Own => invocation
            .devices
            .iter()
            .any(Device::shares_memory)
            .then(|| format!("memory-backend-memfd,id=memory,size={size}M,share=on")),
    }
}

fn machine(invocation: &Invocation) -> String {
    let memory = if memory(invocation).is_some() { ",memory-backend=memory" } else { "" };
    match invocation.arch {
        // No disk controller, no SMBus, no emulated mouse back door: each costs the guest a probe.
        Arch::X86_64 => format!("{}{memory},sata=off,smbus=off,vmport=off", invocation.arch.machine()),
        Arch::Aarch64 => format!("{}{memory},gic-version=max", invocation.arch.machine()),
    }
}

fn accel(accel: Hypervisor) -> String {
    match accel {
        Hypervisor::Tcg { single_thread: true } => "tcg,thread=single".to_owned(),
        other => other.as_str().to_owned(),
    }
}

fn cpu(invocation: &Invocation) -> String {
    match invocation.accel {
        Hypervisor::Tcg { .. } => invocation.arch.tcg_cpu(),
        Hypervisor::Kvm => "host",
    }
    .to_owned()
}

/// Below this, in MiB, a kernel may find too little memory before it can say so: it breaks over an initramfs that lies where
/// no memory is.
pub(crate) const LITTLE_MEMORY: u32 = 128;

/// The kernel's command line. What is off here saves boot time and nothing that tests use: the self-tests of the
/// crypto API (a third of a boot under TCG), the check that the timer works, the jitter entropy source (the CPU's
/// random numbers are trusted instead). Warnings are on the console: they have the stacks of lockups, after which nobody can be asked for
/// the log. Nothing that BPF users need is off: BTF, kfuncs, tracing, module signatures.
fn append(invocation: &Invocation) -> String {
    let mut words: Vec<String> = invocation.devices.iter().filter_map(Device::kernel).collect();
    words.push("quiet loglevel=5 panic=-1 cryptomgr.notests no_timer_check random.trust_cpu=on".to_owned());
    // What kills a kernel before it has its console is said all the same; `quiet` stands before it. It takes a sixth of a boot.
    if invocation.arch == Arch::X86_64 && invocation.memory_mib < LITTLE_MEMORY {
        words.push("earlyprintk=ttyS0".to_owned());
    }
    words.push("initcall_blacklist=jent_mod_init".to_owned());
    // A further test takes 40 ms of CPU instead of 105, probably because QEMU's translations outlive a program only where
    // the next one lies at the same addresses. Tests may turn it on again, in /proc/sys/kernel/randomize_va_space.
    if matches!(invocation.accel, Hypervisor::Tcg { .. }) {
        words.push("norandmaps".to_owned());
        words.extend(emulated_alone(invocation).map(ToOwned::to_owned));
    }
    // TCG lets `xsetbv` of such a guest pass by KVM, which at each entry puts back the value that it knows
    // of (`helper_xsetbv` of QEMU 7.2 looks for no intercept). XSAVE then saves no vector registers.
    if invocation.accel == Hypervisor::Kvm && invocation.on_tcg {
        words.push("noxsave".to_owned());
    }
    if !invocation.kernel_args.is_empty() {
        words.push(invocation.kernel_args.clone());
    }
    words.push("rdinit=/init --".to_owned());
    words.extend(invocation.devices.iter().filter_map(Device::init));
    words.join(" ")
}

/// What shortens the boot of a translated x86 that is alone: else it patches each `lock` prefix of its code away
/// (alternatives_smp_unlock): thousands of writes, before and after each of which QEMU has to forget what it knows of addresses.
fn emulated_alone(invocation: &Invocation) -> Option<&'static str> {
    (invocation.arch == Arch::X86_64 && invocation.cpus == 1).then_some("noreplace-smp")
}

/// Whether all words are for the kernel.
///
/// # Errors
/// What stands behind `--` is init's (Documentation/admin-guide/kernel-parameters.rst), and that is lvh's own.
pub(crate) fn check_words(kernel_args: &str) -> Result<()> {
    let mut quoted = false;
    let ends_word = |c: char| {
        quoted ^= c == '"';
        c.is_ascii_whitespace() && !quoted
    };
    if kernel_args.split(ends_word).all(|word| word != "--") {
        return Ok(());
    }
    let message =
        format!("the kernel arguments `{kernel_args}` hold `--`: what follows is not for the kernel but for init");
    Err(Error::new(ErrorKind::Usage, message)
        .with_hint("leave `--` out; the guest's init is lvh's own and takes no words"))
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(accel: Hypervisor, devices: Vec<Device>) -> Invocation {
        Invocation {
            arch: Arch::X86_64,
            accel,
            on_tcg: false,
            cpus: 1,
            memory_mib: 512,
            memory: GuestMemory::Own,
            kernel: "/store/vmlinux".into(),
            initrd: 9,
            kernel_args: String::new(),
            devices: [vec![Device::Console { fd: 3, tty: "ttyS0" }, Device::Qmp { fd: 4 }], devices].concat(),
        }
    }

    /// The arguments a line each, as a person would write them.
    fn lines(invocation: &Invocation) -> String {
        arguments(invocation).join(" ").replace(" -", "\n-")
    }

    #[test]
    fn words_for_init_are_refused() {
        for fine in ["", "lsm=bpf", "a=-- b", "x=\"a -- b\" c", "---"] {
            assert!(check_words(fine).is_ok(), "{fine}");
        }
        for wrong in ["--", "-- foo", "a  -- foo", "x=\"a b\"\t--"] {
            assert!(check_words(wrong).unwrap_err().to_string().contains("but for init"), "{wrong}");
        }
    }

    const TCG: Hypervisor = Hypervisor::Tcg { single_thread: false };

    #[test]
    fn the_best_transport_under_tcg() {
        let devices = vec![Device::VhostUserVsock { fd: 5 }, Device::Virtiofs { tag: "host".to_owned(), fd: 6 }];
        assert_eq!(lines(&invocation(TCG, devices)), include_str!("snapshots/vsock-virtiofs.txt").trim_end());
    }

    #[test]
    fn the_plainest_transport_under_kvm() {
        let devices = vec![Device::Serial { fd: 5, tty: "ttyS1" }];
        assert_eq!(
            lines(&invocation(Hypervisor::Kvm, devices)),
            include_str!("snapshots/serial-packed.txt").trim_end()
        );
    }

    #[test]
    fn no_xsave_under_kvm_on_a_processor_that_tcg_emulates() {
        let without =
            |accel, on_tcg| append(&Invocation { on_tcg, ..invocation(accel, Vec::new()) }).contains(" noxsave ");
        assert!(without(Hypervisor::Kvm, true) && !without(Hypervisor::Kvm, false) && !without(TCG, true));
    }

    #[test]
    fn only_a_translated_processor_that_is_alone_keeps_its_locks() {
        let has = |accel, cpus, arch| {
            append(&Invocation { cpus, arch, ..invocation(accel, Vec::new()) }).contains("noreplace-smp")
        };
        assert!(has(TCG, 1, Arch::X86_64));
        assert!(!has(TCG, 2, Arch::X86_64) && !has(TCG, 1, Arch::Aarch64) && !has(Hypervisor::Kvm, 1, Arch::X86_64));
    }

    #[test]
    fn a_kernel_with_little_memory_may_speak_early() {
        let words = |memory_mib| append(&Invocation { memory_mib, ..invocation(TCG, Vec::new()) });
        assert!(words(LITTLE_MEMORY - 1).contains(" quiet ") && words(64).contains(" earlyprintk=ttyS0 "));
        assert!(!words(LITTLE_MEMORY).contains("earlyprintk"));
    }

    #[test]
    fn virtio_serial_and_9p_with_what_the_user_adds() {
        let devices = vec![Device::VirtioSerial { fd: 5 }, Device::NineP { tag: "host".to_owned(), path: "/".into() }];
        let mut invocation = invocation(Hypervisor::Tcg { single_thread: true }, devices);
        invocation.kernel_args = "lsm=bpf".to_owned();
        invocation.memory = GuestMemory::Resumed("/store/a,b".into());
        assert_eq!(lines(&invocation), include_str!("snapshots/virtio-serial-9p.txt").trim_end());
    }
}
