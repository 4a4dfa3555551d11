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
    let kernel = config.kernel.as_ref().filter(|_| config.arch == Arch::X86_64);
    kernel.map_or(Ok(()), |kernel| check_kernel(&kernel.file))
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

/// What QEMU boots on x86: bzImage, ELF, Multiboot.
fn check_kernel(path: &Path) -> Result<()> {
    let mut head = Vec::new();
    let read = File::open(path).and_then(|file| file.take(HEAD).read_to_end(&mut head));
    read.map_err(|error| Error::path("read the kernel", path, error))?;
    let multiboot = 0x1bad_b002_u32.to_le_bytes();
    let is_kernel = head.get(0x202..0x206) == Some(b"HdrS")
        || head.starts_with(b"\x7fELF")
        || head.as_chunks().0.contains(&multiboot);
    match is_kernel {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Usage, format!("`{}` is no kernel that QEMU boots", path.display()))
            .with_hint("a kernel is a bzImage, such as arch/x86/boot/bzImage of a build tree, or a vmlinux")),
    }
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
            assert_eq!(check_kernel(&path).is_ok(), expected, "{content:?}");
        };
        check(&[&[0; 0x202][..], b"HdrS"].concat(), true);
        check(b"\x7fELF\x02", true);
        check(&[&[0; 16][..], &[0x02, 0xb0, 0xad, 0x1b]].concat(), true);
        check(b"no kernel\n", false);
        check(b"", false);
        assert!(check_kernel(&dir.path().join("nowhere")).unwrap_err().report().contains("No such file"));
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
