//! The `lvh` command as the one that talks to registries.
//!
//! This crate does not: what test authors link must not have `http`, `bytes` and `serde_json` in it, whose implementations would
//! break their type inference, nor should they compile all that. So `lvh fetch-kernel` does it, in a process of its own.
//!
//! ```text
//! lvh fetch-kernel resolve IMAGE BLOBS         standard output: `lvh-fetch 1`, then `digest HEX`
//! lvh fetch-kernel pull IMAGE BLOBS HEX INTO   the same; standard error: lines `DONE TOTAL`, in bytes
//! ```
//!
//! What fails is on standard output too, behind the first line: `error KIND WORDS`, and perhaps `hint WORDS`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kernel::OciSource;
use crate::process::{Tool, find};
use crate::store::{Key, Store};
use crate::{Error, ErrorKind, Result};

/// The first line of an answer: its number is raised when what follows means something else.
pub const PROTOCOL: &str = "lvh-fetch 1";

/// A large image over a slow line.
const DEADLINE: Duration = Duration::from_secs(4 * 60 * 60);

/// The program, and what it is to fetch.
#[derive(Debug)]
pub(super) struct Fetcher<'f> {
    program: PathBuf,
    blobs: PathBuf,
    source: &'f OciSource,
}

impl<'f> Fetcher<'f> {
    pub(super) fn new(name: &str, source: &'f OciSource, store: &Store) -> Result<Self> {
        let program = store.fetcher().map(Path::to_owned).or_else(|| find("lvh"));
        let program = program.ok_or_else(|| {
            let image = &source.image;
            Error::new(
                ErrorKind::Missing,
                format!("kernel `{name}`: the command `lvh`, which fetches the image `{image}`, was not found in PATH"),
            )
            .with_hint(format!(
                "cargo install lvh-cli; then tests fetch it by themselves, and so does: lvh update {name}"
            ))
        })?;
        Ok(Self { program, blobs: store.state("oci")?, source })
    }

    /// The digest of what the name leads to just now.
    pub(super) fn resolve(&self) -> Result<Key> {
        self.run(self.call("resolve"), &mut |_, _| {})
    }

    /// Brings the kernel of the image of that digest to `into`; `progress` hears of the bytes that have come, and of all.
    pub(super) fn pull(&self, digest: &Key, into: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let call = self.call("pull").args([digest.as_str()]).args([into]);
        self.run(call, progress).map(drop)
    }

    fn call(&self, verb: &str) -> Tool {
        let tool = Tool::at(&self.program).deadline(DEADLINE).args(["fetch-kernel", verb, &self.source.image]);
        tool.args([&self.blobs])
    }

    fn run(&self, call: Tool, progress: &mut dyn FnMut(u64, u64)) -> Result<Key> {
        let mut last = None;
        let answer = call.run_watching(&mut |stderr| {
            let now = stderr().lines().rev().find_map(progress_of);
            if now != last
                && let Some((done, total)) = now
            {
                last = now;
                progress(done, total);
            }
        });
        let answer = answer.map_err(|error| self.another().with_source(error))?;
        read(&answer).ok_or_else(|| self.another())?
    }

    /// There was another `lvh` before this one.
    fn another(&self) -> Error {
        let message = format!("`{}` cannot fetch kernels for this version of lvh", self.program.display());
        Error::new(ErrorKind::Missing, message).with_hint("cargo install lvh-cli, and have it first in PATH")
    }
}

fn progress_of(line: &str) -> Option<(u64, u64)> {
    let (done, total) = line.split_once(' ')?;
    Some((done.parse().ok()?, total.parse().ok()?))
}

/// The digest in an answer, or the error; none where it is no answer.
fn read(answer: &str) -> Option<Result<Key>> {
    let mut lines = answer.strip_prefix(PROTOCOL)?.strip_prefix('\n')?.lines();
    let (what, words) = lines.next()?.split_once(' ')?;
    match what {
        "digest" => Key::parse(words).map(Ok),
        "error" => {
            let (kind, words) = words.split_once(' ')?;
            let kind = match kind {
                "usage" => ErrorKind::Usage,
                "io" => ErrorKind::Io,
                _ => ErrorKind::Artifact,
            };
            let hint = lines.next().and_then(|line| line.strip_prefix("hint "));
            Some(Err(hint.into_iter().fold(Error::new(kind, words), Error::with_hint)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_digests_or_errors() {
        let check = |answer: &str, expected: Option<&str>| {
            let found = read(answer).map(|found| found.map_or_else(|error| error.report(), |key| key.to_string()));
            assert_eq!(found.as_deref(), expected, "{answer}");
        };
        let digest = "a".repeat(64);
        check(&format!("lvh-fetch 1\ndigest {digest}\n"), Some(&digest));
        check("lvh-fetch 1\nerror usage `x` was not found\n", Some("`x` was not found"));
        check("lvh-fetch 1\nerror artifact no way\nhint log in\n", Some("no way\n\nhint: log in"));
        check("lvh-fetch 1\ndigest ../x\n", None);
        check("lvh-fetch 10\nerror usage x\n", None);
        check("Error: unknown command \"fetch-kernel\" for \"lvh\"\n", None);
        check("", None);
    }
}
