//! What is to be run.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::Port;
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
    /// The image `path`, which no guest changes. Whether it is qcow2 shows at its beginning; all else is raw.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        let format = format_of(path).map_err(|error| Error::path("read the image", path, error))?;
        Ok(Self { path: path.to_owned(), format, writable: false, device: RootDevice::Vda })
    }

    /// As [`Image::open`], for one that need not exist: then its name tells.
    pub fn named(path: &Path) -> Self {
        let by_name =
            || if path.extension().is_some_and(|ext| ext == "qcow2") { DiskFormat::Qcow2 } else { DiskFormat::Raw };
        let format = format_of(path).unwrap_or_else(|_unread| by_name());
        Self { path: path.to_owned(), format, writable: false, device: RootDevice::Vda }
    }
}

/// `QFI\xfb` begins a qcow2 image (QEMU's docs/interop/qcow2.txt).
fn format_of(path: &Path) -> io::Result<DiskFormat> {
    let mut magic = Vec::new();
    File::open(path)?.take(4).read_to_end(&mut magic)?;
    Ok(if magic == *b"QFI\xfb" { DiskFormat::Qcow2 } else { DiskFormat::Raw })
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

    fn check(name: &str, content: &[u8], expected: DiskFormat) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        assert_eq!(Image::open(&path).unwrap().format, expected, "{name}");
        assert_eq!(Image::named(&path).format, expected, "{name}");
    }

    #[test]
    fn the_beginning_of_an_image_tells_its_format() {
        check("base", b"QFI\xfb\0\0\0\x03", DiskFormat::Qcow2);
        check("base.qcow2", b"no qcow2", DiskFormat::Raw);
        check("base.img", b"", DiskFormat::Raw);
        let nowhere = Path::new("/nowhere/k.qcow2");
        let error = Image::open(nowhere).unwrap_err().to_string();
        assert_eq!(error, "failed to read the image `/nowhere/k.qcow2`");
        assert_eq!(Image::named(nowhere).format, DiskFormat::Qcow2);
    }
}
