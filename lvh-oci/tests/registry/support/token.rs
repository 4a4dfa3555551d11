use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use super::server::{Flavour, make_certificate};

/// Gives tokens for a registry, as those of public registries do (`spec/auth/token.md` of the distribution project): to `u` with the
/// password `secret`, and for the identity token `identity`. They hold for `lifetime` seconds.
pub(crate) struct TokenServer {
    port: u16,
    dir: tempfile::TempDir,
    requests: Arc<Mutex<Vec<String>>>,
}

impl TokenServer {
    /// Starts one; it lives as long as the test's process.
    pub(crate) fn start(lifetime: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        make_certificate(dir.path(), &["-newkey", "rsa:2048"]);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (path, log) = (dir.path().to_owned(), requests.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                serve(client, &path, lifetime, &log);
            }
        });
        Self { port, dir, requests }
    }

    /// A registry that takes its tokens.
    pub(crate) fn flavour(&self) -> Flavour {
        let certificate: PathBuf = self.dir.path().join("cert.pem");
        Flavour::Token { realm: format!("http://127.0.0.1:{}/token", self.port), certificate }
    }

    /// How many requests it has had.
    pub(crate) fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn serve(mut client: TcpStream, dir: &Path, lifetime: i64, log: &Mutex<Vec<String>>) {
    let request = read_request(&mut client);
    let basic = format!("basic {}", STANDARD.encode("u:secret")).to_lowercase();
    let known = request.to_lowercase().contains(&basic)
        || request.starts_with("POST ")
            && request.contains("refresh_token=identity")
            && request.contains("grant_type=refresh_token");
    let body = match known {
        true => json!({ "token": token(&request, dir, lifetime) }).to_string(),
        false => "bad credentials".to_owned(),
    };
    log.lock().unwrap().push(request);
    let status = if known { "200 OK" } else { "401 Unauthorized" };
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    client.write_all(answer.as_bytes()).unwrap();
}

fn read_request(client: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .to_lowercase()
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().trim().parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        let n = client.read(&mut buffer).unwrap();
        assert!(n > 0, "a whole request");
        bytes.extend_from_slice(&buffer[..n]);
    }
}

/// A JSON web token for the scope that the request names, signed with the server's key.
fn token(request: &str, dir: &Path, lifetime: i64) -> String {
    let scope = request.split_once("scope=").unwrap().1.split([' ', '&', '\r']).next().unwrap();
    let scope = scope.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
    let [kind, name, actions] = scope.split(':').collect::<Vec<_>>()[..] else { panic!("{scope}") };
    let now = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap();
    let access = json!([{ "type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>() }]);
    let claims = json!({
        "iss": "issuer", "sub": "u", "aud": "test", "jti": "1",
        "nbf": now - 10, "iat": now - 10, "exp": now + lifetime, "access": access,
    });
    let pem = std::fs::read_to_string(dir.join("cert.pem")).unwrap();
    let der: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [der] });
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let signature = sign(&signed, &dir.join("key.pem"));
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn sign(text: &str, key: &Path) -> Vec<u8> {
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-sign"]).arg(key).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = openssl.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}
