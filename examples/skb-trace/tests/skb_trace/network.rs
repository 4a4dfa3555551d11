//! Two hosts in one kernel: network namespaces, and a pair of veth devices between them.

use std::fs::{self, File};
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::thread;

/// A host: a network namespace of iproute2.
pub struct Host(&'static str);

impl Host {
    fn new(name: &'static str) -> Self {
        ip(&format!("netns add {name}"));
        Self(name)
    }

    /// Makes it an end of the pair, without IPv6, which would send by itself.
    fn connect(&self, address: &str) {
        ip(&format!("-n {} address add {address}/24 dev eth0", self.0));
        ip(&format!("-n {} link set eth0 addrgenmode none up", self.0));
    }

    /// A socket of this host: it stays there, whoever uses it.
    fn socket(&self, address: &str) -> UdpSocket {
        let bind = || {
            let namespace = File::open(self.file()).unwrap();
            // SAFETY: the descriptor is open. Only this thread moves.
            let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(result, 0, "setns: {}", io::Error::last_os_error());
            UdpSocket::bind(address).unwrap()
        };
        thread::scope(|scope| scope.spawn(bind).join().unwrap())
    }

    /// The inode number of its namespace.
    pub fn netns(&self) -> u32 {
        fs::metadata(self.file()).unwrap().ino().try_into().unwrap()
    }

    fn file(&self) -> String {
        format!("/run/netns/{}", self.0)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        ip(&format!("netns delete {}", self.0));
    }
}

/// Two hosts that reach each other.
pub struct Network {
    pub left: Host,
    pub right: Host,
}

impl Network {
    /// Makes the hosts and connects them.
    pub fn new() -> Self {
        let [left, right] = ["left", "right"].map(Host::new);
        ip("link add eth0 netns left type veth peer name eth0 netns right");
        left.connect("10.0.0.1");
        right.connect("10.0.0.2");
        Self { left, right }
    }

    /// A socket on the left that sends to the server, whether there is one or not.
    pub fn client(&self) -> UdpSocket {
        let client = self.left.socket("10.0.0.1:0");
        client.connect("10.0.0.2:4000").unwrap();
        client
    }

    /// A socket on the right.
    pub fn server(&self) -> UdpSocket {
        self.right.socket("10.0.0.2:4000")
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("failed to run `ip` of iproute2");
    assert!(status.success(), "ip {arguments}: {status}");
}
