//! Files of the web, fetched by the program `curl`: test authors shall not compile an HTTP client.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kernel::wanted::Wanted;
use crate::process::Tool;
use crate::store::{Key, Lock};
use crate::{Error, ErrorKind, Event, Result};

/// A slow line and an archive of Linux.
const DEADLINE: Duration = Duration::from_secs(4 * 60 * 60);
/// How often a transfer that is cut is gone on with, while each time something more comes.
const CUTS: usize = 20;

/// A file that is all there and has the digest that was asked for, in a place that others keep away from.
#[derive(Debug)]
pub(crate) struct Downloaded {
    pub(crate) path: PathBuf,
    _alone: Lock,
}

/// Fetches `url`, whose SHA-256 is to be `expected`. What is there of it from an earlier time is gone on with.
///
/// Whoever has taken what is needed of the file removes it.
pub(crate) fn download(wanted: &Wanted<'_>, url: &str, expected: &Key) -> Result<Downloaded> {
    let downloaded = begin(wanted, expected)?;
    Transfer { wanted, url, path: &downloaded.path }.expect(expected)?;
    Ok(downloaded)
}

/// The error for a `url` whose digest nobody gave: it tells that of what is there now.
pub(crate) fn undeclared(wanted: &Wanted<'_>, url: &str) -> Error {
    let tell = || {
        let downloaded = begin(wanted, &Key::of(["download", url]))?;
        Transfer { wanted, url, path: &downloaded.path }.tell_digest()
    };
    tell().unwrap_or_else(|error| error)
}

/// The place of the file `name`, which may be there already or as far as it came.
fn begin(wanted: &Wanted<'_>, name: &Key) -> Result<Downloaded> {
    let Wanted { subject, store, events, .. } = *wanted;
    let waiting = || events.step(subject, "waiting for another process that downloads it");
    let alone = store.lock(&format!("download-{name}"), &waiting)?;
    Ok(Downloaded { path: store.state("downloads")?.join(name.as_str()), _alone: alone })
}

/// The way of one file.
struct Transfer<'t> {
    wanted: &'t Wanted<'t>,
    url: &'t str,
    /// The file, as far as it is there.
    path: &'t Path,
}

impl Transfer<'_> {
    fn expect(&self, expected: &Key) -> Result<()> {
        let is_there = self.path.is_file();
        if is_there && Key::of_file(self.path)? == *expected {
            return Ok(());
        }
        self.run()?;
        let mut found = Key::of_file(self.path)?;
        if found != *expected && is_there {
            // What was there before may have been another file's beginning.
            remove(self.path)?;
            self.run()?;
            found = Key::of_file(self.path)?;
        }
        if found == *expected {
            return Ok(());
        }
        remove(self.path)?;
        let message = format!("`{}` is not the file that `sha256` names: expected {expected}, found {found}", self.url);
        Err(Error::new(ErrorKind::Artifact, message)
            .with_hint(format!("where it was meant to change, write sha256 = \"{found}\"")))
    }

    /// The error for a file whose digest nobody gave. The file stays for the next call, which will know it.
    fn tell_digest(&self) -> Result<Error> {
        self.run()?;
        let found = Key::of_file(self.path)?;
        let known = self.path.with_file_name(found.as_str());
        fs::rename(self.path, &known).map_err(|e| Error::path("rename", self.path, e))?;
        Ok(no_digest(self.wanted.subject, self.url, &found))
    }

    /// Brings the rest of the file.
    fn run(&self) -> Result<()> {
        if self.wanted.store.is_offline() {
            let message = format!("`{}` is not in the data directory, and lvh is offline", self.url);
            return Err(Error::new(ErrorKind::Artifact, message).with_hint("run once without LVH_OFFLINE=1"));
        }
        self.wanted.events.step(self.wanted.subject, "downloading");
        let mut cuts = 0;
        loop {
            let before = size(self.path);
            let Err(error) = self.curl() else { return Ok(()) };
            let status = status_of(&self.headers());
            match status {
                // The server does not go on from the middle, or the file has become shorter.
                Some(200 | 416) if before > 0 && size(self.path) <= before => remove(self.path)?,
                _ if size(self.path) > before && cuts < CUTS => cuts += 1,
                _ => return Err(self.explain(error, status)),
            }
        }
    }

    fn curl(&self) -> Result<()> {
        let headers = self.path.with_extension("headers");
        let mut curl = Tool::new("curl", "curl")?.called("curl");
        curl = curl.args(["--fail", "--location", "--silent", "--show-error", "--globoff", "--disable"]);
        // Never another protocol than these, wherever a server leads.
        curl = curl.args(["--proto", "=http,https", "--proto-redir", "=http,https", "--max-redirs", "20"]);
        curl = curl.args(["--connect-timeout", "30", "--speed-limit", "1", "--speed-time", "60", "--retry", "3"]);
        // A `Retry-After` may be an hour.
        curl = curl.args(["--retry-max-time", "60"]);
        curl = curl.args(["--continue-at", "-", "--output"]).args([self.path]);
        curl = curl.args(["--dump-header"]).args([&headers]).args(["--url", self.url]).deadline(DEADLINE);
        let mut last = 0;
        let run = curl.run_with(&mut || self.tell(&mut last));
        run.map(drop)
    }

    fn tell(&self, last: &mut u64) {
        let done = size(self.path);
        if done == *last {
            return;
        }
        *last = done;
        let total = total_of(&self.headers());
        let (subject, step) = (self.wanted.subject.to_owned(), "downloading".to_owned());
        self.wanted.events.send(Event::Progress { subject, step, done, total });
    }

    /// What the server said before the file.
    fn headers(&self) -> String {
        fs::read(self.path.with_extension("headers"))
            .map(|text| String::from_utf8_lossy(&text).into())
            .unwrap_or_default()
    }

    fn explain(&self, cause: Error, status: Option<u16>) -> Error {
        // CURLE_WRITE_ERROR.
        if cause.output().is_some_and(|words| words.contains("curl: (23)")) {
            let dir = self.path.parent().unwrap_or(self.path).display();
            let message = format!("failed to write what came of `{}`", self.url);
            let hint = format!("make room on the disk of `{dir}`; what has arrived is kept, and gone on with");
            return Error::new(ErrorKind::Io, message).with_source(cause).with_hint(hint);
        }
        let answer = status.filter(|status| *status >= 400).map(|status| format!(": the server answers {status}"));
        let message = format!("failed to download `{}`{}", self.url, answer.unwrap_or_default());
        let hint = match status {
            Some(404 | 410) => "check the URL",
            Some(401 | 403) => "the file is not public: download it yourself and name it by its path",
            Some(429 | 500..) => "try again later",
            _ => "check the network; what has arrived is kept, and gone on with",
        };
        Error::new(ErrorKind::Artifact, message).with_source(cause).with_hint(hint)
    }
}

impl Drop for Transfer<'_> {
    fn drop(&mut self) {
        // Nothing is lost with it.
        let _ = fs::remove_file(self.path.with_extension("headers"));
    }
}

/// The error for a file without a digest, which has this one.
pub(crate) fn no_digest(subject: &str, file: &str, found: &Key) -> Error {
    let message = format!("{subject}: `{file}` has no `sha256` in `lvh.toml`");
    Error::new(ErrorKind::Usage, message).with_hint(format!("for what is there now, write sha256 = \"{found}\""))
}

/// The status of the last answer, after those that led elsewhere.
fn status_of(headers: &str) -> Option<u16> {
    let lines = headers.lines().rev();
    lines.filter_map(|line| line.strip_prefix("HTTP/")?.split_whitespace().nth(1)?.parse().ok()).next()
}

/// How long the whole file is, where the server says so.
fn total_of(headers: &str) -> Option<u64> {
    let field = |name: &str| {
        let of = |line: &str| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        headers.lines().rev().find_map(of)
    };
    match field("Content-Range") {
        Some(range) => range.rsplit_once('/')?.1.parse().ok(),
        None => field("Content-Length")?.parse().ok(),
    }
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn remove(path: &Path) -> Result<()> {
    fs::remove_file(path).map_err(|e| Error::path("remove", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_servers() {
        let check = |headers: &str, status: Option<u16>, total: Option<u64>| {
            assert_eq!((status_of(headers), total_of(headers)), (status, total), "{headers}");
        };
        check("", None, None);
        check("HTTP/1.0 404 File not found\r\nConnection: close\r\n\r\n", Some(404), None);
        check("HTTP/2 200 \r\ncontent-length: 12\r\n\r\n", Some(200), Some(12));
        let partial = "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nContent-Range: bytes 7-11/12\r\n";
        check(partial, Some(206), Some(12));
        check("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", Some(200), Some(0));
        check("HTTP/1.1 206 x\r\nContent-Range: bytes 7-11/*\r\n", Some(206), None);
    }
}
