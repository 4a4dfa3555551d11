//! A connected pair of sockets whose server end is still in a listener, as the vhost-user library wants it, without a
//! file.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Returns a listener in whose queue one peer waits, and that peer.
///
/// The name is random and abstract: it leaves nothing on disk and goes with the listener. Someone else on this machine
/// could read it from `/proc/net/unix` and connect first; a queue of one turns that into an error here instead of a
/// stranger's device.
pub(super) fn connected_listener() -> io::Result<(UnixListener, OwnedFd)> {
    let name = random_name()?;
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    // SAFETY: the socket is open; a second listen(2) only sets the length of the queue (0 leaves room for one,
    // unix(7)).
    if unsafe { libc::listen(listener.as_raw_fd(), 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let peer = connect_at_once(&name)?;
    Ok((listener, peer))
}

fn random_name() -> io::Result<Vec<u8>> {
    let mut bytes = [0_u8; 16];
    // SAFETY: the buffer is valid for its length.
    let filled = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if filled != bytes.len() as isize {
        return Err(io::Error::last_os_error());
    }
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("lvh-{digits}").into_bytes())
}

/// Like `UnixStream::connect_addr`, but fails where that would wait for room in the listener's queue.
fn connect_at_once(name: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: all zero is a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (to, &from) in address.sun_path[1..].iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    let length = mem::offset_of!(libc::sockaddr_un, sun_path) + 1 + name.len();
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: plain system calls; a new descriptor is owned by nobody else, the address is valid for `length` bytes.
    let peer = unsafe {
        let fd = libc::socket(libc::AF_UNIX, kind, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let peer = OwnedFd::from_raw_fd(fd);
        if libc::connect(fd, (&raw const address).cast(), length as libc::socklen_t) != 0 {
            return Err(io::Error::last_os_error());
        }
        peer
    };
    let peer = UnixStream::from(peer);
    peer.set_nonblocking(false)?;
    Ok(peer.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn the_peer_is_our_own() {
        let (listener, peer) = connected_listener().unwrap();
        let (mut served, _) = listener.accept().unwrap();
        UnixStream::from(peer).write_all(b"x").unwrap();
        let mut got = [0];
        served.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"x");
    }

    #[test]
    fn a_taken_place_is_an_error() {
        let name = random_name().unwrap();
        let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
        let _stranger = connect_at_once(&name).unwrap();
        assert_eq!(connect_at_once(&name).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
