//! A port for a VM to forward.

use std::net::TcpListener;

/// One that is free, and below those that Linux gives to whoever asks for any, `ip_local_port_range` of ip(7): nobody else gets it.
pub(crate) fn free_port() -> u16 {
    let first = 10_000 + (std::process::id() % 20_000) as u16;
    (first..32_768).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}
