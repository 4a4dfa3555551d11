use std::path::PathBuf;
use std::time::Duration;

use crate::Credentials;

/// How registries are talked to.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long a connection, TLS included, may take to come about. Default: 10 s.
    pub connect_timeout: Duration,
    /// How long a registry may send nothing. Default: 30 s.
    pub read_timeout: Duration,
    /// How often one request is tried; a download that got further counts anew. Default: 5.
    pub attempts: u32,
    /// The pause after the first failure; it doubles up to half a minute. Default: 0.5 s.
    pub first_pause: Duration,
    /// The longest `Retry-After` that is waited for. Default: 60 s.
    pub longest_pause: Duration,
    /// Registries, `HOST[:PORT]`, that speak plain HTTP. Default: those of `LVH_OCI_PLAIN_HTTP`, separated by commas.
    pub plain_http: Vec<String>,
    /// Whether registries on this machine (`localhost`, `127.*`, `[::1]`) speak plain HTTP. Default: true.
    pub plain_loopback: bool,
    /// Files of certificates (PEM) that are trusted besides the system's; those can be replaced with `SSL_CERT_FILE`. Default: none.
    pub ca_files: Vec<PathBuf>,
    /// Credentials for all registries. Default: those of Docker's and Podman's files and helpers.
    pub credentials: Option<Credentials>,
    /// How long a credential helper may take. Default: 30 s.
    pub helper_timeout: Duration,
    /// The largest blob that is downloaded. Default: 64 GiB.
    pub largest_blob: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            attempts: 5,
            first_pause: Duration::from_millis(500),
            longest_pause: Duration::from_secs(60),
            plain_http: Vec::new(),
            plain_loopback: true,
            ca_files: Vec::new(),
            credentials: None,
            helper_timeout: Duration::from_secs(30),
            largest_blob: 64 << 30,
        }
    }
}

impl Options {
    /// The defaults, and the registries that `LVH_OCI_PLAIN_HTTP` names.
    pub fn from_env() -> Self {
        let list = std::env::var("LVH_OCI_PLAIN_HTTP").unwrap_or_default();
        let plain_http = list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self { plain_http, ..Self::default() }
    }

    pub(crate) fn is_plain(&self, host: &str) -> bool {
        self.plain_http.iter().any(|plain| plain == host) || (self.plain_loopback && is_loopback(host))
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or(host),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_and_the_named_speak_plain_http() {
        let options = Options { plain_http: vec!["r.test:5000".to_owned()], ..Options::default() };
        for (host, plain) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("r.test:5000", true),
            ("r.test", false),
            ("localhost.example", false),
            ("127.0.0.1.example:80", false),
            ("10.0.0.1:5000", false),
            ("quay.io", false),
        ] {
            assert_eq!(options.is_plain(host), plain, "{host}");
        }
        assert!(!Options { plain_loopback: false, ..Options::default() }.is_plain("localhost:5000"));
    }
}
