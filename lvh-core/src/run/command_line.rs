//! QEMU's command line, as a pure function, and how a shell takes it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use super::initramfs::MODULES;
use super::{BootKernel, Image, RootDevice, RunConfig};
use crate::Arch;
use crate::vm::Hypervisor;

/// QEMU's program for guests of `arch`.
pub fn program(arch: Arch) -> &'static str {
    arch.qemu()
}

/// QEMU's arguments, without the program. Scripts and people read them: their order is that of the lvh in Go.
pub fn arguments(config: &RunConfig) -> Vec<OsString> {
    let mut args: Vec<OsString> = ["-nodefaults", "-display", "none", "-no-reboot"].map(Into::into).into();
    let cpus = config.cpus.to_string();
    args.extend(["-smp", &cpus, "-m", &config.memory].map(Into::into));
    if config.arch == Arch::Aarch64 {
        args.extend(pair("-machine", "virt"));
    }
    args.extend(executor(config));
    args.extend(config.serial_port.iter().flat_map(|port| pair("-serial", telnet("telnet", *port))));
    // A file's name may have commas here.
    args.extend(config.console_log.iter().flat_map(|log| pair("-serial", around("file:", log.as_os_str(), ""))));
    args.extend(disk(&config.image));
    args.extend(config.kernel.iter().flat_map(|kernel| boot(config, kernel)));
    args.extend(config.network.then(|| network(config)).into_iter().flatten());
    args.extend(match config.daemonize {
        true => vec!["-daemonize".into()],
        false => [pair("-serial", "mon:stdio"), pair("-device", "virtio-serial-pci")].concat(),
    });
    args.extend(config.monitor_port.iter().flat_map(|port| pair("-monitor", telnet("tcp", *port))));
    args.extend(config.host_mount.iter().flat_map(|dir| share("host_id", dir, "", "host_mount")));
    let modules = config.kernel_modules.iter();
    args.extend(modules.flat_map(|dir| share("kernel_modules_id", dir, ",readonly=on", MODULES)));
    args.extend(config.agent.iter().flat_map(|agent| agent.arguments(config)));
    args
}

/// What executes the guest, on which processor.
fn executor(config: &RunConfig) -> Vec<OsString> {
    let accel = match config.hypervisor {
        Hypervisor::Kvm => vec!["-enable-kvm".into()],
        Hypervisor::Tcg { single_thread: true } => pair("-accel", "tcg,thread=single"),
        Hypervisor::Tcg { single_thread: false } => Vec::new(),
    };
    let cpu = match (&config.cpu_kind, config.arch, config.hypervisor) {
        (Some(kind), ..) => Some(kind.as_str()),
        (None, Arch::X86_64, Hypervisor::Kvm) => Some("kvm64"),
        (None, Arch::X86_64, Hypervisor::Tcg { .. }) => None,
        (None, Arch::Aarch64, _) => Some("max"),
    };
    accel.into_iter().chain(cpu.into_iter().flat_map(|cpu| pair("-cpu", cpu))).collect()
}

fn disk(image: &Image) -> Vec<OsString> {
    let interface = match image.device {
        // As QEMU's `-hda`, which cannot be given a format.
        RootDevice::Hda => "",
        RootDevice::Vda => "if=virtio,",
    };
    let snapshot = if image.writable { "" } else { ",snapshot=on" };
    let rest = format!(",{interface}index=0,media=disk,format={}{snapshot}", image.format);
    pair("-drive", around("file=", &escaped(&file_name(&image.path)), &rest))
}

/// The name by which QEMU takes the path for a file: what stands before a colon would be a protocol.
fn file_name(path: &Path) -> OsString {
    match path.is_relative() && path.as_os_str().as_bytes().contains(&b':') {
        true => Path::new(".").join(path).into(),
        false => path.into(),
    }
}

fn boot(config: &RunConfig, kernel: &BootKernel) -> Vec<OsString> {
    let root = config.image.device.in_guest();
    // `panic=-1` with `-no-reboot` ends QEMU. Without `rw` a root that no fstab speaks of would stay read-only.
    let mut words = format!("root={root} console={} earlyprintk=ttyS0 panic=-1 rw", config.arch.console());
    for more in kernel.append.iter().filter(|more| !more.is_empty()) {
        words = format!("{words} {more}");
    }
    let initrd = kernel.initrd.iter().flat_map(|initrd| pair("-initrd", initrd));
    pair("-kernel", &kernel.file).into_iter().chain(initrd).chain(pair("-append", words)).collect()
}

fn network(config: &RunConfig) -> Vec<OsString> {
    let ports: String = config.ports.iter().map(|port| format!(",{port}")).collect();
    [pair("-netdev", format!("user,id=user.0{ports}")), pair("-device", "virtio-net-pci,netdev=user.0")].concat()
}

fn telnet(protocol: &str, port: u16) -> String {
    format!("{protocol}:localhost:{port},server,nowait")
}

fn share(id: &str, dir: &Path, access: &str, tag: &str) -> Vec<OsString> {
    let (local, rest) = (format!("local,id={id},path="), format!(",security_model=none{access}"));
    let fsdev = around(&local, &escaped(dir.as_os_str()), &rest);
    [pair("-fsdev", fsdev), pair("-device", format!("virtio-9p-pci,fsdev={id},mount_tag={tag}"))].concat()
}

pub(super) fn pair(option: &str, value: impl Into<OsString>) -> Vec<OsString> {
    vec![option.into(), value.into()]
}

pub(super) fn around(before: &str, value: &OsStr, behind: &str) -> OsString {
    let mut whole = OsString::from(before);
    whole.push(value);
    whole.push(behind);
    whole
}

/// QEMU takes a doubled comma for a comma in a value.
pub(super) fn escaped(value: &OsStr) -> OsString {
    let commas = value.as_bytes().iter().flat_map(|&byte| std::iter::repeat_n(byte, 1 + usize::from(byte == b',')));
    OsString::from_vec(commas.collect())
}

/// The call in a shell's words, each option on a line of its own.
pub fn for_a_shell(program: &str, args: &[OsString]) -> OsString {
    let mut text = OsString::from(program);
    for arg in args {
        text.push(if arg.as_bytes().starts_with(b"-") { " \\\n\t" } else { " " });
        text.push(quoted(arg));
    }
    text
}

/// A word that a shell takes as it is written, else in quotes.
fn quoted(word: &OsStr) -> OsString {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"%+,-./:=@_".contains(byte);
    if !word.is_empty() && word.as_bytes().iter().all(plain) {
        return word.to_owned();
    }
    let escape = |&byte: &u8| if byte == b'\'' { b"'\\''".to_vec() } else { vec![byte] };
    let inner = word.as_bytes().iter().flat_map(escape);
    OsString::from_vec([b'\''].into_iter().chain(inner).chain([b'\'']).collect())
}

#[cfg(test)]
#[path = "command_line_tests.rs"]
mod tests;
