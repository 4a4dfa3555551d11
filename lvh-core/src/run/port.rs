//! Ports of the host that lead into the guest.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::{Error, ErrorKind};

/// A port of the host that leads to one of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Where the host listens.
    pub address: Ipv4Addr,
    /// The host's port.
    pub host: u16,
    /// The guest's port.
    pub guest: u16,
    /// `tcp` or `udp`.
    protocol: &'static str,
}

impl Port {
    pub(super) fn is_udp(&self) -> bool {
        self.protocol == "udp"
    }
}

impl FromStr for Port {
    type Err = Error;

    /// Reads `[ADDRESS:]HOST[:GUEST[:PROTOCOL]]`. Without an address nobody but this machine can connect: guests have roots
    /// without a password.
    fn from_str(text: &str) -> Result<Self, Error> {
        let address = text.split_once(':').and_then(|(first, rest)| Some((first.parse().ok()?, rest)));
        let (address, ports) = address.unwrap_or((Ipv4Addr::LOCALHOST, text));
        let mut parts = ports.splitn(3, ':');
        let host = number(parts.next().unwrap_or_default())?;
        let guest = parts.next().map_or(Ok(host), number)?;
        let protocol = match parts.next().map(str::to_lowercase).as_deref() {
            None | Some("tcp") => "tcp",
            Some("udp") => "udp",
            Some(_) => return Err(usage("port forward protocol must be tcp or udp".to_owned())),
        };
        Ok(Self { address, host, guest, protocol })
    }
}

impl fmt::Display for Port {
    /// QEMU's rule for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hostfwd={}:{}:{}-:{}", self.protocol, self.address, self.host, self.guest)
    }
}

fn number(text: &str) -> Result<u16, Error> {
    text.parse().map_err(|_not_one| usage(format!("'{text}' is not a valid port number")))
}

fn usage(message: String) -> Error {
    Error::new(ErrorKind::Usage, message).with_hint("a port is [ADDRESS:]HOST[:GUEST[:tcp|udp]]")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = text.parse::<Port>().map_or_else(|error| error.to_string(), |port| port.to_string());
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn ports_are_read() {
        check("2222", "hostfwd=tcp:127.0.0.1:2222-:2222");
        check("2222:22", "hostfwd=tcp:127.0.0.1:2222-:22");
        check("2222:22:tcp", "hostfwd=tcp:127.0.0.1:2222-:22");
        check("53:53:UDP", "hostfwd=udp:127.0.0.1:53-:53");
        check("0:22", "hostfwd=tcp:127.0.0.1:0-:22");
    }

    #[test]
    fn an_address_opens_them_to_others() {
        check("0.0.0.0:2222:22", "hostfwd=tcp:0.0.0.0:2222-:22");
        check("192.0.2.1:2222:22:udp", "hostfwd=udp:192.0.2.1:2222-:22");
        check("127.0.0.2:8080", "hostfwd=tcp:127.0.0.2:8080-:8080");
    }

    #[test]
    fn what_is_no_port_is_named() {
        for (text, part) in [("x", "x"), ("", ""), (":22", ""), ("1:", ""), ("1:x", "x"), ("1:x:tcp", "x")] {
            check(text, &format!("'{part}' is not a valid port number"));
        }
        check("localhost:22", "'localhost' is not a valid port number");
        check("65536:22", "'65536' is not a valid port number");
        check("22:-1", "'-1' is not a valid port number");
        check("0.0.0.0", "'0.0.0.0' is not a valid port number");
        for text in ["1:2:sctp", "1:2:", "1:2:3", "1:2:tcp:4"] {
            check(text, "port forward protocol must be tcp or udp");
        }
    }
}
