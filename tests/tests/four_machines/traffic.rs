//! What a server sent to a machine.

use std::fmt;
use std::net::IpAddr;

/// Answers to requests.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) requests: u64,
    /// Of bodies.
    pub(crate) bytes: u64,
}

impl Traffic {
    /// What a log in the Combined Log Format has of `client`: `CLIENT - - [TIME] "GET / HTTP/1.1" 200 BYTES …`.
    pub(crate) fn of_log(log: &str, client: IpAddr) -> Self {
        let own = format!("{client} ");
        let mut traffic = Self::default();
        for line in log.lines().filter(|line| line.starts_with(&own)) {
            let bytes = line.split('"').nth(2).and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
            traffic.add(bytes.unwrap_or_default());
        }
        traffic
    }

    pub(crate) fn add(&mut self, bytes: u64) {
        self.requests += 1;
        self.bytes += bytes;
    }

    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { requests: self.requests - earlier.requests, bytes: self.bytes - earlier.bytes }
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} requests, {:.1} MB", self.requests, self.bytes as f64 / 1e6)
    }
}
