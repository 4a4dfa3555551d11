//! The network card on QEMU's own network (docs/system/devices/net.rst), without any program of the root.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::pid1::modules::once_there;
use crate::pid1::mounts;
use crate::sys;

const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// The host, and the way to all else.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// QEMU passes on to the host's name server what it is asked.
const NAMES: &str = "nameserver 10.0.2.3\n";

/// Gives the card its address and routes, and the root a name server.
pub fn bring_up() -> io::Result<()> {
    let card = once_there(find_card)?;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    sys::set_interface_address(socket.as_raw_fd(), &card, ADDRESS, MASK)?;
    sys::interface_up(socket.as_raw_fd(), &card)?;
    sys::add_default_route(socket.as_raw_fd(), GATEWAY)?;
    write_names(Path::new("/etc/resolv.conf"))
}

/// The name of the only interface that has a device.
fn find_card() -> io::Result<OsString> {
    for entry in fs::read_dir("/sys/class/net")? {
        let entry = entry?;
        if entry.path().join("device").exists() {
            return Ok(entry.file_name());
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "there is no network card"))
}

/// It may be a link to what a program of the root would make, which does not run here.
fn write_names(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), mounts::make_dir)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::write(path, NAMES)
}
