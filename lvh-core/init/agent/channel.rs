//! The channel to the host, whichever it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::guest::protocol::{self, MAGIC, ToHost, VERSION};
use crate::pid1::modules::once_there;
use crate::{lock, sys};

/// Opens a channel: `vsock:PORT`, `vsock:cid`, `port:NAME` or `tty:PATH`.
pub fn open(name: &str) -> io::Result<File> {
    let opened = match name.split_once(':') {
        Some(("vsock", port)) => connect_vsock(port),
        Some(("port", port)) => open_port(port),
        Some(("tty", path)) => open_tty(path),
        _ => Err(io::Error::other("lvh-init knows no such")),
    };
    opened.map_err(|error| io::Error::other(format!("failed to open the channel `{name}`: {error}")))
}

/// Whether what ended the channel is what QEMU does to every vsock connection of a guest that resumes from a snapshot.
pub fn is_reset(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::NotConnected)
}

/// Connects to a port of the host, `cid` for the one that is this guest's own number: the words on the kernel's command
/// line are part of a snapshot, the number is each VM's own.
fn connect_vsock(port: &str) -> io::Result<File> {
    if port == "cid" {
        return once_there(|| sys::connect_vsock(sys::vsock_cid()?).map(File::from));
    }
    let port = port.parse().map_err(io::Error::other)?;
    once_there(|| sys::connect_vsock(port).map(File::from))
}

/// Opens the virtio-serial port called `name`. There is no udev, so `/dev/virtio-ports` does not exist.
fn open_port(name: &str) -> io::Result<File> {
    once_there(|| OpenOptions::new().read(true).write(true).open(find_port(name)?))
}

fn find_port(name: &str) -> io::Result<PathBuf> {
    for entry in fs::read_dir("/sys/class/virtio-ports")? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("name")).is_ok_and(|found| found.trim_end() == name) {
            return Ok(PathBuf::from("/dev").join(entry.file_name()));
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("no virtio-serial port `{name}`")))
}

fn open_tty(path: &str) -> io::Result<File> {
    // It must not become our session's, whose processes end when it hangs up.
    let tty = OpenOptions::new().read(true).write(true).custom_flags(sys::O_NOCTTY).open(path)?;
    sys::make_raw(&tty)?;
    Ok(tty)
}

/// The sending side, shared by all threads.
#[derive(Clone)]
pub struct Sender(Arc<Mutex<File>>);

impl Sender {
    pub fn new(channel: File) -> Self {
        Self(Arc::new(Mutex::new(channel)))
    }

    /// Begins with the host.
    pub fn greet(&self) -> io::Result<()> {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease")?.trim_end().to_owned();
        lock(&self.0).write_all(MAGIC)?;
        self.send(&ToHost::Hello { version: VERSION, release });
        Ok(())
    }

    /// Sends one message. Without a host there is nobody to run for: a failure ends the VM.
    pub fn send(&self, message: &ToHost) {
        let mut channel = lock(&self.0);
        if let Err(error) = protocol::send(&mut *channel, message) {
            crate::complain(&format!("lost the channel to the host: {error}"));
            crate::power_off();
        }
    }
}
