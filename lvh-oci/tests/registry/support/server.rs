//! Debian's `docker-registry`, started by a test. Tests of other packages take this file too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How the registry lets people in.
#[derive(Debug, Clone)]
pub(crate) enum Flavour {
    Open,
    /// By name `u` and password `secret`.
    Password,
    Tls,
    /// By tokens of the server at this address, whose certificate is in this file.
    Token {
        realm: String,
        certificate: PathBuf,
    },
}

/// A running `docker-registry`; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Registry {
    child: Child,
    dir: TempDir,
    host: String,
    port: u16,
}

impl Registry {
    pub(crate) fn start(flavour: &Flavour) -> Self {
        Self::start_at("127.0.0.1", flavour)
    }

    /// At an address of this machine.
    pub(crate) fn start_at(host: &str, flavour: &Flavour) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.yml");
        fs::write(&file, config(flavour, dir.path(), host)).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(fs::File::create(dir.path().join("access")).unwrap())
            .stderr(fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .expect("docker-registry is installed (tests/setup)");
        let mut registry = Self { child, dir, host: host.to_owned(), port: 0 };
        registry.port = registry.wait_for_port();
        registry
    }

    /// The port that it listens on, which its log tells: it takes any that is free.
    fn wait_for_port(&mut self) -> u16 {
        let (log, before) = (self.dir.path().join("log"), format!("msg=\"listening on {}:", self.host));
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait().unwrap();
            let said = fs::read_to_string(&log).unwrap();
            let rest = said.split_once(&before).map(|(_, rest)| rest);
            // Of a line that is being written there may be a part.
            if let Some((port, _)) = rest.and_then(|rest| rest.split_once(|c: char| !c.is_ascii_digit())) {
                return port.parse().unwrap();
            }
            let patient = start.elapsed() < Duration::from_secs(60);
            assert!(ended.is_none() && patient, "docker-registry does not listen ({ended:?}): {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address())
    }

    /// The certificate of a [`Flavour::Tls`].
    pub(crate) fn certificate(&self) -> PathBuf {
        self.dir.path().join("cert.pem")
    }

    /// A line for each request, in the Combined Log Format of Apache's httpd.
    #[allow(dead_code, reason = "tests of other packages read it")]
    pub(crate) fn access_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("access")).unwrap()
    }

    /// Files below the registry's storage.
    pub(crate) fn storage(&self) -> PathBuf {
        self.dir.path().join("data/docker/registry/v2")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(flavour: &Flavour, dir: &Path, host: &str) -> String {
    let dir_text = dir.display();
    let mut http = format!("http:\n  addr: {host}:0\n");
    let mut auth = String::new();
    match flavour {
        Flavour::Open => {}
        Flavour::Password => {
            let line = run("htpasswd", &["-Bbn", "u", "secret"]);
            fs::write(dir.join("htpasswd"), line).unwrap();
            auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {dir_text}/htpasswd\n");
        }
        Flavour::Tls => {
            make_certificate(dir, &EC);
            http += &format!("  tls:\n    certificate: {dir_text}/cert.pem\n    key: {dir_text}/key.pem\n");
        }
        Flavour::Token { realm, certificate } => {
            let certificate = certificate.display();
            auth = format!(
                "auth:\n  token:\n    realm: {realm}\n    service: test\n    issuer: issuer\n    rootcertbundle: {certificate}\n"
            );
        }
    }
    format!(
        "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {dir_text}/data\n{http}{auth}"
    )
}

const EC: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

/// Makes `key.pem` and `cert.pem`, self-signed, for this machine.
pub(crate) fn make_certificate(dir: &Path, key_kind: &[&str]) {
    let (key, certificate) = (dir.join("key.pem"), dir.join("cert.pem"));
    let arguments = ["req", "-x509", "-nodes", "-days", "2"];
    // rustls takes no authority's certificate for a server's own.
    let subject = [
        "-subj",
        "/CN=test",
        "-addext",
        "subjectAltName=IP:127.0.0.1,DNS:localhost",
        "-addext",
        "basicConstraints=CA:FALSE",
    ];
    let files = ["-keyout", key.to_str().unwrap(), "-out", certificate.to_str().unwrap()];
    run("openssl", &[arguments.as_slice(), key_kind, &subject, &files].concat());
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).output();
    let output = output.unwrap_or_else(|e| panic!("{program} is installed (tests/setup): {e}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
