//! Device nodes that are there before their drivers: the kernel loads the module when a program opens one, where the root
//! has a modprobe. Devtmpfs makes the others, and udev would make these.

use std::ffi::c_uint;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use crate::pid1::mounts;
use crate::sys;

/// Where the initramfs brings the kernel's `modules.devname`.
const LIST: &str = "/lvh/devices";

/// Nodes that everybody may open, as udev has it, whoever made them; the others are root's.
const FOR_ALL: [&str; 2] = ["/dev/fuse", "/dev/net/tun"];

/// A line of the list: `tun net/tun c10:200`, or a comment.
struct Node<'a> {
    name: &'a str,
    kind: c_uint,
    major: c_uint,
    minor: c_uint,
}

/// Makes all nodes of the list below `/dev`; one that cannot be made is missed by whoever opens it.
pub fn make_nodes() {
    let list = fs::read_to_string(LIST).unwrap_or_default();
    for node in list.lines().filter_map(Node::parse) {
        if let Err(error) = node.make() {
            crate::complain(&format!("failed to make `/dev/{}`: {error}", node.name));
        }
    }
    for node in FOR_ALL {
        // The kernel may lack its driver.
        let _ = fs::set_permissions(node, Permissions::from_mode(0o666));
    }
    // As udev does.
    let _ = symlink("/proc/kcore", "/dev/core");
}

impl<'a> Node<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        let (name, device) = (words.next()?, words.next()?);
        let kind = match device.get(..1)? {
            "c" => sys::S_IFCHR,
            "b" => sys::S_IFBLK,
            _ => return None,
        };
        let (major, minor) = device[1..].split_once(':')?;
        Some(Self { name, kind, major: major.parse().ok()?, minor: minor.parse().ok()? })
    }

    fn make(&self) -> io::Result<()> {
        let path = Path::new("/dev").join(self.name);
        path.parent().map_or(Ok(()), mounts::make_dir)?;
        match sys::make_node(&path, self.kind | 0o600, self.major, self.minor) {
            // The driver is built in, or loaded already.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }
}
