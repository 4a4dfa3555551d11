//! The host's end of the channel, whichever it is: in the end always a stream socket.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use tokio::io::Interest;
use tokio::sync::oneshot;
use vsock::{VMADDR_CID_ANY, VsockAddr, VsockListener, VsockStream};

use crate::Arch;
use crate::config::Channel;
use crate::vm::qemu::device::Device;
use crate::vm::transport::served::{self, Served};

/// How many numbers are tried for a guest. That even the first is taken is unlikely.
const TRIES: usize = 8;

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
        Channel::VhostVsock => Device::VhostVsock { cid: 0 },
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
    let (cid, listener) = listen()?;
    listener.set_nonblocking(true)?;
    let (sender, stream) = oneshot::channel();
    tokio::spawn(async move {
        let mut sender = sender;
        tokio::select! {
            // A stream socket is a stream socket: nothing that we do with it depends on its family.
            Ok(stream) = accept(&listener, cid) => drop(sender.send(UnixStream::from(OwnedFd::from(stream)))),
            () = sender.closed() => {}
        }
    });
    Ok(Link { device: Device::VhostVsock { cid }, inherited: None, served: None, stream })
}

/// Listens on the port that has the number of a guest: a guest that resumes from another's snapshot knows it.
fn listen() -> io::Result<(u32, VsockListener)> {
    let mut tries = 0..TRIES;
    loop {
        let cid = random_cid();
        match VsockListener::bind(&VsockAddr::new(VMADDR_CID_ANY, cid)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries.next().is_some() => {}
            bound => return Ok((cid, bound?)),
        }
    }
}

/// The first connection from our guest; other guests of this machine can reach the port too.
async fn accept(listener: &VsockListener, cid: u32) -> io::Result<VsockStream> {
    // The reactor knows no vsock, but any socket tells in the same way that there is something to read.
    let socket = UnixStream::from(listener.as_fd().try_clone_to_owned()?);
    let socket = tokio::net::UnixStream::from_std(socket)?;
    loop {
        let (stream, peer) = socket.async_io(Interest::READABLE, || listener.accept()).await?;
        if peer.cid() == cid {
            return Ok(stream);
        }
    }
}

/// Those that are no reserved port either (below 1024), and not the wildcard, which is the highest.
fn random_cid() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(std::process::id()) as u32;
    1024 + random % (u32::MAX - 1024)
}
