//! A pull-through mirror of Debian's archive, for machines whose network goes no further than this one.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use super::traffic::Traffic;

/// A running mirror; it ends with the process.
#[derive(Debug)]
pub(crate) struct Mirror {
    address: SocketAddr,
    shelf: Arc<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    upstream: String,
    /// What was fetched stays for later runs.
    dir: PathBuf,
    served: Mutex<BTreeMap<IpAddr, Traffic>>,
    /// One file is fetched at a time, and once.
    turn: Mutex<()>,
}

impl Mirror {
    pub(crate) fn start(host: &str, dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let upstream = env::var("LVH_DEBIAN_MIRROR").unwrap_or_else(|_| "http://deb.debian.org/debian".to_owned());
        let shelf = Shelf { upstream, dir: dir.to_owned(), served: Mutex::default(), turn: Mutex::default() };
        let (listener, shelf) = (TcpListener::bind((host, 0)).unwrap(), Arc::new(shelf));
        let mirror = Self { address: listener.local_addr().unwrap(), shelf: Arc::clone(&shelf) };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shelf = Arc::clone(&shelf);
                // A client that goes away ends no more than its own connection.
                thread::spawn(move || shelf.serve(&stream));
            }
        });
        mirror
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn traffic(&self, client: IpAddr) -> Traffic {
        self.shelf.served.lock().unwrap().get(&client).copied().unwrap_or_default()
    }
}

impl Shelf {
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let (client, mut requests) = (stream.peer_addr()?.ip(), BufReader::new(stream));
        while let Some(path) = requested(&mut requests)? {
            let (status, body) = self.file(&path).map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
            self.served.lock().unwrap().entry(client).or_default().add(body.len() as u64);
            let mut stream = stream;
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len())?;
            stream.write_all(&body)?;
        }
        Ok(())
    }

    /// Files of packages, and indices under their digests, never change.
    fn file(&self, path: &str) -> Option<Vec<u8>> {
        let _turn = self.turn.lock().unwrap();
        let kept = self.dir.join(path.replace('/', "_"));
        if !(kept.is_file() && (path.starts_with("/pool/") || path.contains("/by-hash/"))) {
            let (part, url) = (kept.with_extension("part"), format!("{}{path}", self.upstream));
            let status = Command::new("curl").args(["-sfL", "-o"]).arg(&part).arg(url).status().unwrap();
            status.success().then(|| fs::rename(&part, &kept).unwrap())?;
        }
        Some(fs::read(kept).unwrap())
    }
}

/// The path of the next request; none where the client has no more.
fn requested(requests: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut lines = requests.lines();
    let Some(first) = lines.next().transpose()? else { return Ok(None) };
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    Ok(first.split(' ').nth(1).map(str::to_owned))
}
