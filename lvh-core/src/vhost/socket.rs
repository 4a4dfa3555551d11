//! A connected pair of sockets whose server end is still in a listener, as the vhost-user library wants it, without a
//! file.

use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::rand::{GetRandomFlags, getrandom};

/// Returns a listener in whose queue one peer waits, and that peer.
///
/// The name is random and abstract: it leaves nothing on disk and goes with the listener. Someone else on this machine
/// could read it from `/proc/net/unix` and connect first; a queue of one turns that into an error here instead of a
/// stranger's device.
pub(super) fn connected_listener() -> io::Result<(UnixListener, OwnedFd)> {
    let name = random_name()?;
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    // A second listen(2) only sets the length of the queue (0 leaves room for one, unix(7)).
    net::listen(&listener, 0)?;
    let peer = connect_at_once(&name)?;
    Ok((listener, peer))
}

fn random_name() -> io::Result<Vec<u8>> {
    let mut bytes = [0_u8; 16];
    let filled = getrandom(&mut bytes, GetRandomFlags::empty())?;
    if filled != bytes.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("lvh-{digits}").into_bytes())
}

/// Like `UnixStream::connect_addr`, but fails where that would wait for room in the listener's queue.
fn connect_at_once(name: &[u8]) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let peer = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    net::connect(&peer, &SocketAddrUnix::new_abstract_name(name)?)?;
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
        net::listen(&listener, 0).unwrap();
        let _stranger = connect_at_once(&name).unwrap();
        assert_eq!(connect_at_once(&name).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
