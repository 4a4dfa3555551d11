//! What is to be run.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Agent, Port};
use crate::vm::{DiskFormat, Hypervisor};
use crate::{Arch, Error, ErrorKind, Result};

/// A VM as `lvh run` starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunConfig {
    /// The guest's architecture.
    pub arch: Arch,
    /// Who executes the guest.
    pub hypervisor: Hypervisor,
    /// Virtual CPUs. Default: 2.
    pub cpus: u32,
    /// Guest memory, as QEMU's `-m` takes it. Default: `4G`.
    pub memory: String,
    /// QEMU's name of the CPU. Default: `kvm64` under KVM, `max` on arm64, else QEMU's own.
    pub cpu_kind: Option<String>,
    /// The disk.
    pub image: Image,
    /// What boots. Default: the boot loader on the disk.
    pub kernel: Option<BootKernel>,
    /// The guest has a network card. Default: true.
    pub network: bool,
    /// Ports of the host that lead into the guest.
    pub ports: Vec<Port>,
    /// A directory of the host that the guest can mount, by 9p and as `host_mount`. Default: none.
    pub host_mount: Option<PathBuf>,
    /// The directory that is `/lib/modules/RELEASE` of the kernel, which the guest can mount read-only, by 9p and as
    /// `kernel_modules`. Default: none.
    pub kernel_modules: Option<PathBuf>,
    /// A telnet port for the first serial console. Default: none.
    pub serial_port: Option<u16>,
    /// A file that the next serial console is written to. Default: none.
    pub console_log: Option<PathBuf>,
    /// A port for QEMU's monitor. Default: none.
    pub monitor_port: Option<u16>,
    /// The guest gets lvh's agent. Default: none.
    pub agent: Option<Agent>,
    /// QEMU goes to the background once the VM is set up. Default: false.
    pub daemonize: bool,
}

impl RunConfig {
    /// A VM of this machine's architecture with all defaults.
    pub fn new(image: Image, hypervisor: Hypervisor) -> Self {
        Self {
            arch: Arch::HOST,
            hypervisor,
            cpus: 2,
            memory: "4G".to_owned(),
            cpu_kind: None,
            image,
            kernel: None,
            network: true,
            ports: Vec::new(),
            host_mount: None,
            kernel_modules: None,
            serial_port: None,
            console_log: None,
            monitor_port: None,
            agent: None,
            daemonize: false,
        }
    }
}

/// The disk image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its file.
    pub path: PathBuf,
    /// How it is written.
    pub format: DiskFormat,
    /// What the guest writes stays in it. Default: it goes to a file that has no name, and is gone with QEMU.
    pub writable: bool,
    /// The disk's name in the guest. Default: `vda`.
    pub device: RootDevice,
}

impl Image {
    /// The image `path`, which no guest changes.
    ///
    /// # Errors
    /// It cannot be read, or is empty.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self::of(path, DiskFormat::of_file(path)?))
    }

    /// As [`Image::open`], for one that need not exist: then its name tells its format.
    pub fn named(path: &Path) -> Self {
        let is_qcow2 = path.extension().is_some_and(|extension| extension == "qcow2");
        let by_name = if is_qcow2 { DiskFormat::Qcow2 } else { DiskFormat::Raw };
        Self::of(path, DiskFormat::of_file(path).unwrap_or(by_name))
    }

    fn of(path: &Path, format: DiskFormat) -> Self {
        Self { path: path.to_owned(), format, writable: false, device: RootDevice::Vda }
    }
}

/// How the disk is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootDevice {
    /// As the machine's first ordinary disk.
    Hda,
    /// By virtio.
    Vda,
}

impl RootDevice {
    /// What it is called in the guest.
    pub(crate) fn in_guest(self) -> &'static str {
        match self {
            Self::Hda => "/dev/sda",
            Self::Vda => "/dev/vda",
        }
    }
}

impl FromStr for RootDevice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "hda" => Ok(Self::Hda),
            "vda" => Ok(Self::Vda),
            _ => Err(Error::new(ErrorKind::Usage, format!("invalid root device: {text} (expected hda or vda)"))),
        }
    }
}

/// A kernel that QEMU boots by itself, without the disk's boot loader.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BootKernel {
    /// Its file.
    pub file: PathBuf,
    /// Its initial RAM disk. Default: none.
    pub initrd: Option<PathBuf>,
    /// Words for it behind those that lead it to the disk and the console.
    pub append: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_is_only_shown_has_the_format_of_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str, content: Option<&[u8]>, expected: DiskFormat| {
            let path = dir.path().join(name);
            content.into_iter().for_each(|content| std::fs::write(&path, content).unwrap());
            assert_eq!(Image::named(&path).format, expected, "{name}");
        };
        check("base", Some(b"QFI\xfb\0\0\0\x03"), DiskFormat::Qcow2);
        check("raw.qcow2", Some(b"no qcow2"), DiskFormat::Raw);
        check("empty.qcow2", Some(b""), DiskFormat::Qcow2);
        check("nowhere.qcow2", None, DiskFormat::Qcow2);
        check("nowhere.img", None, DiskFormat::Raw);
        assert!(Image::open(&dir.path().join("nowhere.qcow2")).is_err());
    }
}
