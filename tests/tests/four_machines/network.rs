//! A bridge of this machine, with a cable to each of the others.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

const BRIDGE: &str = "lvh-four";

/// The bridge, and this machine on it; gone when dropped. Of these addresses no network makes use (RFC 2544, section C.2.2).
#[derive(Debug)]
pub(crate) struct Network {
    next: AtomicU8,
}

impl Network {
    pub(crate) fn new() -> Self {
        // What a run left that was killed.
        let _ = ip().args(["link", "delete", BRIDGE]).output();
        succeed(ip().args(["link", "add", BRIDGE, "type", "bridge"]));
        succeed(ip().args(["address", "add", &format!("{}/24", address(1)), "dev", BRIDGE]));
        succeed(ip().args(["link", "set", BRIDGE, "up"]));
        Self { next: AtomicU8::new(2) }
    }

    /// This machine's address.
    pub(crate) fn host(&self) -> String {
        address(1).to_string()
    }

    /// Connects the network namespace of a process; its address.
    pub(crate) fn connect(&self, pid: u32) -> IpAddr {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (own, pid, address) = (format!("{BRIDGE}-{number}"), pid.to_string(), address(number));
        succeed(ip().args(["link", "add", &own, "type", "veth", "peer", "name", "uplink", "netns", &pid]));
        succeed(ip().args(["link", "set", &own, "master", BRIDGE, "up"]));
        let inside = ["--target", &pid, "--net", "ip"];
        succeed(Command::new("nsenter").args(inside).args([
            "address",
            "add",
            &format!("{address}/24"),
            "dev",
            "uplink",
        ]));
        succeed(Command::new("nsenter").args(inside).args(["link", "set", "uplink", "up"]));
        address.into()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = ip().args(["link", "delete", BRIDGE]).status();
    }
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(198, 18, 0, number)
}

fn ip() -> Command {
    Command::new("ip")
}

#[track_caller]
fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?} (as root?): {}", String::from_utf8_lossy(&output.stderr));
}
