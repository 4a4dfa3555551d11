//! Bringing gdb to a guest's kernel.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use crate::kernel::Kernel;

/// What a user types to meet `kernel`, which waits at `socket`.
pub(crate) fn invitation(kernel: &Kernel, socket: &Path) -> String {
    let (symbols, remark) = match symbols(kernel) {
        Some(file) => (file, String::new()),
        None => {
            let release = &kernel.release;
            let remark = format!(" (no symbols: Debian's are in the package `linux-image-{release}-dbg`)");
            (kernel.vmlinux.clone().unwrap_or_else(|| kernel.image.clone()), remark)
        }
    };
    let (go, socket) = match socket.as_os_str().len() < SUN_PATH {
        true => (String::new(), socket),
        false => (format!("cd {} && ", parent(socket).display()), name(socket)),
    };
    let gdb = format!("{go}gdb {} -ex 'target remote {}'", symbols.display(), socket.display());
    format!("kernel `{}` waits for gdb{remark}:\n  {gdb}", kernel.name)
}

/// Room for a path in `sockaddr_un`, with the zero byte at its end: unix(7).
const SUN_PATH: usize = 108;

/// A socket at `path`, however long that is, in place of what an earlier VM left there.
pub(crate) fn listen(path: &Path) -> io::Result<UnixListener> {
    let _ = std::fs::remove_file(path);
    let dir = File::open(parent(path))?;
    UnixListener::bind(Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name(path)))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

fn name(path: &Path) -> &Path {
    Path::new(path.file_name().unwrap_or(OsStr::new("gdb")))
}

/// The kernel with its symbols: of a build tree, or of a package of debug symbols.
fn symbols(kernel: &Kernel) -> Option<PathBuf> {
    let of_tree = kernel.image.ancestors().skip(1).map(|dir| dir.join("vmlinux"));
    let of_package = Path::new("/usr/lib/debug/boot").join(format!("vmlinux-{}", kernel.release));
    of_tree.chain([of_package]).find(|file| file.is_file())
}
