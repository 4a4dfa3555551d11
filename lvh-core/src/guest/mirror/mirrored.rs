//! One such directory.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::incoming::Incoming;
use super::listing::{Listing, list};
use super::outgoing::{changes, owner};
use crate::guest::protocol::{Owner, ToGuest};

/// How much of a directory goes to a guest at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    /// Of disk space.
    pub(crate) bytes: u64,
    pub(crate) names: usize,
}

/// How the guest learns of what the host has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sight {
    /// It is told: it has all of it.
    Told,
    /// It sees the host's files, as they were when it started, in seconds and nanoseconds since 1970.
    Shown { since: (i64, i64) },
    /// It was told once; now there is too much.
    Forgotten,
}

/// A directory of the host whose changes a guest is told, and that takes the guest's.
#[derive(Debug)]
pub(crate) struct Mirror {
    directory: PathBuf,
    /// What host and guest agree upon.
    known: Listing,
    owner: Owner,
    budget: Budget,
    sight: Sight,
}

impl Mirror {
    /// The existing `directory`; one that is over the `budget` is to be shown, not told.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn of(directory: &Path, budget: Budget) -> io::Result<Self> {
        let (directory, known, owner) = (directory.to_owned(), Listing::new(), owner(&fs::metadata(directory)?).0);
        let mut mirror = Self { directory, known, owner, budget, sight: Sight::Told };
        if mirror.news()?.is_none() {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            mirror.sight = Sight::Shown { since: (now.as_secs() as i64, i64::from(now.subsec_nanos())) };
        }
        Ok(mirror)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether the guest sees the host's files, for want of being told.
    pub(crate) fn is_shown(&self) -> bool {
        matches!(self.sight, Sight::Shown { .. })
    }

    /// The guest neither sees nor is told what the host has.
    pub(crate) fn forget(&mut self) {
        self.sight = Sight::Forgotten;
    }

    /// Whose the directory itself is.
    pub(crate) fn owner(&self) -> Owner {
        self.owner
    }

    /// What to tell the guest, which then knows.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn outgoing(&mut self) -> io::Result<Vec<ToGuest>> {
        if self.sight != Sight::Told {
            return Ok(Vec::new());
        }
        let Some(now) = self.news()? else {
            self.sight = Sight::Forgotten;
            return Ok(Vec::new());
        };
        let messages = changes(&self.directory, &self.known, &now);
        self.known = now;
        Ok(messages)
    }

    /// Takes what the guest has changed.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub(crate) fn incoming(&mut self) -> io::Result<Incoming<'_>> {
        let since = match self.sight {
            Sight::Shown { since } => Some(since),
            Sight::Told | Sight::Forgotten => None,
        };
        Incoming::into(&self.directory, &mut self.known, since)
    }

    /// What is there now; none where what is new is over the budget.
    fn news(&self) -> io::Result<Option<Listing>> {
        let Some(now) = list(&self.directory, self.known.len() + self.budget.names)? else { return Ok(None) };
        let new = now.iter().filter(|(path, stamp)| self.known.get(*path) != Some(stamp));
        let bytes = |path: &Path| {
            fs::symlink_metadata(self.directory.join(path)).map(|metadata| metadata.blocks() * 512).unwrap_or_default()
        };
        let sum: u64 = new.map(|(path, _)| bytes(path)).sum();
        Ok((sum <= self.budget.bytes).then_some(now))
    }
}
