//! What QEMU would refuse in words of its own, or not at all.

use std::fs::{self, File};
use std::io::Read as _;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use super::{Port, RunConfig};
use crate::{Arch, Error, ErrorKind, Result};

/// How much of a file QEMU looks at to find out what kernel it is, in bytes: that of the Multiboot Specification.
const HEAD: u64 = 8192;

/// Looks at what the host is to give the VM: its ports, its directory, the kernel's file.
///
/// # Errors
/// The first that it cannot give.
pub fn check(config: &RunConfig) -> Result<()> {
    config.ports.iter().try_for_each(check_port)?;
    config.host_mount.iter().try_for_each(|dir| check_directory(dir))?;
    config.kernel.iter().try_for_each(|kernel| check_kernel(&kernel.file, config.arch))
}

fn check_port(port: &Port) -> Result<()> {
    let address = (port.address, port.host);
    let listened = match port.is_udp() {
        true => UdpSocket::bind(address).map(drop),
        false => TcpListener::bind(address).map(drop),
    };
    listened.map_err(|error| {
        let what = format!("listen on port {} of {}, which is to lead into the guest", port.host, port.address);
        Error::io(what, error).with_hint("`--port` names another: [ADDRESS:]HOST:GUEST")
    })
}

fn check_directory(dir: &Path) -> Result<()> {
    fs::read_dir(dir).map(drop).map_err(|error| Error::path("share", dir, error))
}

fn check_kernel(path: &Path, arch: Arch) -> Result<()> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    read.map_err(|error| Error::path("read the kernel", path, error))?;
    let (boots, hint) = match arch {
        Arch::X86_64 => {
            (boots_on_x86(&head), "a kernel is a bzImage, such as arch/x86/boot/bzImage of a build tree, or a vmlinux")
        }
        Arch::Aarch64 => {
            (!is_virtual_elf(&head), "a kernel is an Image, such as arch/arm64/boot/Image or Image.gz of a build tree")
        }
    };
    match boots {
        true => Ok(()),
        false => {
            Err(Error::new(ErrorKind::Usage, format!("`{}` is no kernel that QEMU boots", path.display()))
                .with_hint(hint))
        }
    }
}

/// bzImage, ELF, Multiboot.
fn boots_on_x86(head: &[u8]) -> bool {
    let multiboot = 0x1bad_b002_u32.to_le_bytes();
    head.get(0x202..0x206) == Some(b"HdrS") || head.starts_with(b"\x7fELF") || head.as_chunks().0.contains(&multiboot)
}

/// Whether it is a vmlinux of arm64, whose addresses, that of its entry among them, are virtual ones of the kernel: QEMU starts it where no
/// memory is.
fn is_virtual_elf(head: &[u8]) -> bool {
    let top = head.get(31).filter(|_| head.starts_with(b"\x7fELF\x02\x01"));
    top.is_some_and(|byte| byte & 0x80 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_told_by_their_heads() {
        let dir = tempfile::tempdir().unwrap();
        let check = |content: &[u8], expected: bool| {
            let path = dir.path().join("kernel");
            fs::write(&path, content).unwrap();
            assert_eq!(check_kernel(&path, Arch::X86_64).is_ok(), expected, "{content:?}");
        };
        check(&[&[0; 0x202][..], b"HdrS"].concat(), true);
        check(b"\x7fELF\x02", true);
        check(&[&[0; 16][..], &[0x02, 0xb0, 0xad, 0x1b]].concat(), true);
        check(b"no kernel\n", false);
        check(b"", false);
        let nowhere = check_kernel(&dir.path().join("nowhere"), Arch::X86_64);
        assert!(nowhere.unwrap_err().report().contains("No such file"));
    }

    #[test]
    fn a_vmlinux_of_arm64_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kernel");
        let elf = |entry: u64| [b"\x7fELF\x02\x01".as_slice(), &[0; 18], &entry.to_le_bytes()].concat();
        for (content, expected) in
            [(elf(0xffff_8000_0800_0000), false), (elf(0x4008_0000), true), (b"\x1f\x8b".to_vec(), true)]
        {
            fs::write(&path, &content).unwrap();
            assert_eq!(check_kernel(&path, Arch::Aarch64).is_ok(), expected, "{content:?}");
        }
    }

    #[test]
    fn a_port_that_another_has_is_named() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = other.local_addr().unwrap().port();
        let port = |text: &str| check_port(&format!("{number}:22{text}").parse().unwrap());
        let report = port("").unwrap_err().report();
        let expected = format!("failed to listen on port {number} of 127.0.0.1, which is to lead into the guest: ");
        assert!(report.starts_with(&expected), "{report}");
        assert!(port(":udp").is_ok());
    }
}
