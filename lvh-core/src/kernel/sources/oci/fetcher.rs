//! The `lvh` command as the one that talks to registries.
//!
//! This crate does not: what test authors link must not have `http`, `bytes` and `serde_json` in it, whose implementations would
//! break their type inference, nor should they compile all that. So `lvh fetch-kernel` does it, in a process of its own.
//!
//! ```text
//! lvh fetch-kernel resolve IMAGE BLOBS         standard output: `lvh-fetch 1`, then `digest HEX`
//! lvh fetch-kernel pull IMAGE BLOBS HEX INTO   the same; standard error: lines `DONE TOTAL`, in bytes
//! lvh fetch-kernel pull-disks IMAGE BLOBS HEX INTO                 the same, of the disks in an image
//! lvh fetch-kernel cached REPOSITORY BLOBS ASKED COMMIT INTO       the same, of the kernel; or `absent -`
//! lvh fetch-kernel store REPOSITORY BLOBS KEY ENTRY ASKED…         `digest HEX` of the image
//! lvh fetch-kernel cached-image REPOSITORY BLOBS ASKED INTO        as pull-disks, of what `store-image` stored; or `absent -`
//! lvh fetch-kernel store-image REPOSITORY BLOBS DIR ASKED…         `digest HEX`; DIR becomes /data/images
//! ```
//!
//! `cached` fills INTO as an entry of the store. What fails is on standard output too, behind the first line: `error KIND WORDS`, and perhaps `hint WORDS`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{Tool, find};
use crate::store::{Key, Store};
use crate::{Error, ErrorKind, Result};

/// The first line of an answer: its number is raised when what follows means something else.
pub const PROTOCOL: &str = "lvh-fetch 1";

/// A large image over a slow line.
const DEADLINE: Duration = Duration::from_secs(4 * 60 * 60);

/// What is wanted of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The kernel in `/data/kernels`.
    Kernel,
    /// The disks in `/data/images`.
    Disks,
}

impl What {
    fn verb(self) -> &'static str {
        match self {
            Self::Kernel => "pull",
            Self::Disks => "pull-disks",
        }
    }

    /// The kind of the store's entries for it.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::Kernel => "oci-kernel",
            Self::Disks => "oci-disks",
        }
    }
}

/// The program, and what it is to fetch.
#[derive(Debug)]
pub(super) struct Fetcher<'f> {
    program: PathBuf,
    blobs: PathBuf,
    /// Or a repository.
    image: &'f str,
}

impl<'f> Fetcher<'f> {
    pub(super) fn new(subject: &str, name: &str, image: &'f str, store: &Store) -> Result<Self> {
        let program = store.fetcher().map(Path::to_owned).or_else(|| find("lvh"));
        let program = program.ok_or_else(|| {
            Error::new(
                ErrorKind::Missing,
                format!("{subject}: the command `lvh`, which fetches the image `{image}`, was not found in PATH"),
            )
            .with_hint(format!(
                "cargo install lvh-cli; then tests fetch it by themselves, and so does: lvh update {name}"
            ))
        })?;
        Ok(Self { program, blobs: store.state("oci")?, image })
    }

    /// The digest of what the name leads to just now.
    pub(super) fn resolve(&self) -> Result<Key> {
        self.run(self.call("resolve"), &mut |_, _| {})?.ok_or_else(|| self.another())
    }

    /// Brings what is wanted of the image of that digest to `into`; `progress` hears of the bytes that have come, and of all.
    pub(super) fn pull(&self, what: What, digest: &Key, into: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<()> {
        let call = self.call(what.verb()).args([digest.as_str()]).args([into]);
        self.run(call, progress).map(drop)
    }

    /// Brings the kernel that the repository has as `asked`, and that is made from `commit`, to `into`; tells its digest.
    pub(super) fn cached(
        &self,
        asked: &Key,
        commit: &str,
        into: &Path,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Option<Key>> {
        self.run(self.call("cached").args([asked.as_str(), commit]).args([into]), progress)
    }

    /// Stores the kernel `key` of the directory `entry` in the repository, as each of `asked`.
    pub(super) fn store(&self, key: &Key, entry: &Path, asked: &[Key]) -> Result<()> {
        let call = self.call("store").args([key.as_str()]).args([entry]).args(asked.iter().map(Key::as_str));
        self.run(call, &mut |_, _| {}).map(drop)
    }

    /// Brings the files of the image that the repository has as `asked` to `into`; says whether it has it.
    pub(super) fn cached_image(&self, asked: &Key, into: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<bool> {
        let call = self.call("cached-image").args([asked.as_str()]).args([into]);
        self.run(call, progress).map(|found| found.is_some())
    }

    /// Stores the directory `dir` in the repository, as each of `asked`.
    pub(super) fn store_image(&self, dir: &Path, asked: &[Key]) -> Result<()> {
        let call = self.call("store-image").args([dir]).args(asked.iter().map(Key::as_str));
        self.run(call, &mut |_, _| {}).map(drop)
    }

    fn call(&self, verb: &str) -> Tool {
        let tool = Tool::at(&self.program).deadline(DEADLINE).args(["fetch-kernel", verb, self.image]);
        tool.args([&self.blobs])
    }

    fn run(&self, call: Tool, progress: &mut dyn FnMut(u64, u64)) -> Result<Option<Key>> {
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
        let message = format!("`{}` cannot fetch images for this version of lvh", self.program.display());
        Error::new(ErrorKind::Missing, message).with_hint("cargo install lvh-cli, and have it first in PATH")
    }
}

fn progress_of(line: &str) -> Option<(u64, u64)> {
    let (done, total) = line.split_once(' ')?;
    Some((done.parse().ok()?, total.parse().ok()?))
}

/// The digest in an answer, if there is what was asked for, or the error; none where it is no answer.
fn read(answer: &str) -> Option<Result<Option<Key>>> {
    let mut lines = answer.strip_prefix(PROTOCOL)?.strip_prefix('\n')?.lines();
    let (what, words) = lines.next()?.split_once(' ')?;
    match what {
        "digest" => Key::parse(words).map(|key| Ok(Some(key))),
        "absent" => Some(Ok(None)),
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
            let words = |key: Option<Key>| key.map_or_else(|| "absent".to_owned(), |key| key.to_string());
            let found = read(answer).map(|found| found.map_or_else(|error| error.report(), words));
            assert_eq!(found.as_deref(), expected, "{answer}");
        };
        let digest = "a".repeat(64);
        check(&format!("lvh-fetch 1\ndigest {digest}\n"), Some(&digest));
        check("lvh-fetch 1\nerror usage `x` was not found\n", Some("`x` was not found"));
        check("lvh-fetch 1\nerror artifact no way\nhint log in\n", Some("no way\n\nhint: log in"));
        check("lvh-fetch 1\nabsent -\n", Some("absent"));
        check("lvh-fetch 1\ndigest ../x\n", None);
        check("lvh-fetch 10\nerror usage x\n", None);
        check("Error: unknown command \"fetch-kernel\" for \"lvh\"\n", None);
        check("", None);
    }
}
