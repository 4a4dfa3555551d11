//! The host's end of the channel, whichever it is: in the end always a stream socket.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use tokio::sync::oneshot;
use vsock::{VMADDR_CID_ANY, VsockAddr, VsockListener};

use crate::Arch;
use crate::config::Channel;
use crate::vm::qemu::device::Device;
use crate::vm::transport::served::{self, Served};

/// A port that the kernel chooses.
const VMADDR_PORT_ANY: u32 = u32::MAX;

/// How often a connection is looked for.
const ACCEPT_INTERVAL: std::time::Duration = std::time::Duration::from_millis(2);

/// A channel that waits for its guest.
#[derive(Debug)]
pub(crate) struct Link {
    /// The device that carries it.
    pub(crate) device: Device,
    /// QEMU's end, where it has one; ours to close once QEMU runs.
    pub(crate) inherited: Option<OwnedFd>,
    /// The threads that serve the device, where it is ours.
    pub(crate) served: Option<Served>,
    /// Our end, once the guest has connected.
    pub(crate) stream: oneshot::Receiver<UnixStream>,
}

/// Prepares a channel.
///
/// # Errors
/// Those of the operating system.
pub(crate) fn prepare(channel: Channel, arch: Arch) -> io::Result<Link> {
    match channel {
        Channel::VhostVsock => vhost_vsock(),
        Channel::VhostUserVsock => vhost_user_vsock(),
        Channel::VirtioSerial => socket_pair(|fd| Device::VirtioSerial { fd }),
        Channel::Serial => socket_pair(|fd| Device::Serial { fd, tty: second_serial(arch) }),
    }
}

/// The device of such a channel, as it is before it is connected to the host.
pub(crate) fn prototype(channel: Channel, arch: Arch) -> Device {
    match channel {
        Channel::VhostVsock => Device::VhostVsock { cid: 0, port: 0 },
        Channel::VhostUserVsock => Device::VhostUserVsock { fd: 0 },
        Channel::VirtioSerial => Device::VirtioSerial { fd: 0 },
        Channel::Serial => Device::Serial { fd: 0, tty: second_serial(arch) },
    }
}

/// Only machines that have one get the channel that needs it.
fn second_serial(arch: Arch) -> &'static str {
    arch.second_serial().unwrap_or("ttyAMA1")
}

fn socket_pair(device: impl FnOnce(RawFd) -> Device) -> io::Result<Link> {
    let (ours, theirs) = UnixStream::pair()?;
    let (sender, stream) = oneshot::channel();
    sender.send(ours).expect("the receiver is in our hands");
    Ok(Link { device: device(theirs.as_raw_fd()), inherited: Some(theirs.into()), served: None, stream })
}

fn vhost_user_vsock() -> io::Result<Link> {
    let (sender, stream) = oneshot::channel();
    let (socket, served) = served::vsock(sender)?;
    let device = Device::VhostUserVsock { fd: socket.as_raw_fd() };
    Ok(Link { device, inherited: Some(socket), served: Some(served), stream })
}

/// Guest addresses are the machine's own: one is chosen at random, and QEMU refuses it where it is taken.
fn vhost_vsock() -> io::Result<Link> {
    let listener = VsockListener::bind(&VsockAddr::new(VMADDR_CID_ANY, VMADDR_PORT_ANY))?;
    let port = listener.local_addr()?.port();
    listener.set_nonblocking(true)?;
    let cid = random_cid();
    let (sender, stream) = oneshot::channel();
    tokio::spawn(accept(listener, cid, sender));
    Ok(Link { device: Device::VhostVsock { cid, port }, inherited: None, served: None, stream })
}

/// Takes the first connection from our guest; other guests of this machine can reach the port too.
async fn accept(listener: VsockListener, cid: u32, mut sender: oneshot::Sender<UnixStream>) {
    // Polled: the guest connects once, some time within its boot, and the reactor knows no vsock.
    let mut turn = tokio::time::interval(ACCEPT_INTERVAL);
    loop {
        tokio::select! {
            _ = turn.tick() => {}
            () = sender.closed() => return,
        }
        match listener.accept() {
            Ok((stream, peer)) if peer.cid() == cid => {
                // A stream socket is a stream socket: nothing that we do with it depends on its family.
                let _ = sender.send(UnixStream::from(OwnedFd::from(stream)));
                return;
            }
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

/// 0 to 2 are reserved, and the highest is the wildcard.
fn random_cid() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(std::process::id()) as u32;
    3 + random % (u32::MAX - 4)
}
