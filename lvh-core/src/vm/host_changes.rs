//! What changes on the host while a guest sees its files.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;

use crate::guest::client::guest::{Guest, Refresher};
use crate::host_context::Watched;

/// How many directories are watched, the outer ones first: looking for them may not take longer than a start.
const LIMIT: usize = 2000;

/// How long changes may go on before the guest is told of the first.
const SETTLE: Duration = Duration::from_millis(50);

/// How seldom a guest that runs commands is told: it forgets what else it knows, too.
const INTERVAL: Duration = Duration::from_secs(1);

/// What marks directories of files that can be made again, such as cargo's target directory.
const CACHE_TAG: &str = "CACHEDIR.TAG";

/// Watches directories.
#[derive(Debug)]
pub(crate) struct Watch {
    /// None: everything may have changed at any time.
    inotify: Option<OwnedFd>,
    /// What is watched, by inotify's number, and whether what is made in it is watched too.
    directories: HashMap<i32, (PathBuf, bool)>,
}

impl Watch {
    /// Begins to watch: what changes from now on is noticed.
    pub(crate) fn begin(watched: &Watched) -> Self {
        // There may be no more of them for this user.
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).ok();
        let mut watch = Self { inotify, directories: HashMap::new() };
        for directory in &watched.directories {
            watch.add(directory, false);
        }
        watch.add_trees(watched.trees.iter().cloned().collect());
        watch
    }

    /// Watches directories and what is below them.
    fn add_trees(&mut self, mut waiting: VecDeque<PathBuf>) {
        while let Some(directory) = waiting.pop_front() {
            if self.directories.len() >= LIMIT || !self.add(&directory, true) {
                continue;
            }
            // Watched first: what is made meanwhile is found in one way or the other.
            waiting.extend(below(&directory));
        }
    }

    fn add(&mut self, directory: &Path, deep: bool) -> bool {
        let Some(inotify) = &self.inotify else { return false };
        let flags = WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVE
            | WatchFlags::ONLYDIR;
        // One that is gone or forbidden, or one too many for this user.
        let Ok(number) = inotify::add_watch(inotify, directory, flags) else { return false };
        let known = self.directories.insert(number, (directory.to_owned(), deep));
        known.is_none_or(|(_, was_deep)| deep && !was_deep)
    }

    /// Whether something changed since it was last asked.
    pub(crate) fn take(&mut self) -> bool {
        let Some(inotify) = &self.inotify else { return true };
        let (mut changed, mut made) = (false, VecDeque::new());
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(inotify, &mut buffer);
        // The end is an error: there are no more now.
        while let Ok(event) = events.next() {
            let name = event.file_name().map(|name| Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())));
            if event.events().contains(ReadFlags::IGNORED) {
                self.directories.remove(&event.wd());
                continue;
            }
            changed |= !name.is_some_and(is_ours);
            let is_new = event.events().intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            if is_new
                && event.events().contains(ReadFlags::ISDIR)
                && let (Some((parent, true)), Some(name)) = (self.directories.get(&event.wd()), name)
            {
                made.push_back(parent.join(name));
            }
        }
        self.add_trees(made.into_iter().filter(|directory| is_watched(directory)).collect());
        changed
    }
}

/// What lvh itself brings home from guests.
fn is_ours(name: &Path) -> bool {
    name.extension().is_some_and(|extension| extension == "profraw")
}

/// The directories in a directory that are watched with it.
fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).filter(|path| is_watched(path)).collect()
}

fn is_watched(directory: &Path) -> bool {
    !directory.ends_with(".git") && !directory.join(CACHE_TAG).exists()
}

/// Tells one guest of the changes, from when it is made until it is dropped.
#[derive(Debug)]
pub(crate) struct HostChanges {
    watch: Arc<Mutex<Watch>>,
    /// The guest was told while it ran a command, which may have held on to what it knew.
    told: Arc<AtomicBool>,
    /// Ends when dropped.
    _follower: JoinSet<()>,
}

impl HostChanges {
    /// Passes on to `guest` what `watch` finds.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn tell(guest: &Guest, watch: Watch) -> io::Result<Self> {
        let inotify = watch.inotify.as_ref().map(OwnedFd::try_clone).transpose()?;
        let watch = Arc::new(Mutex::new(watch));
        let told = Arc::new(AtomicBool::new(false));
        let mut follower = JoinSet::new();
        if let Some(inotify) = inotify {
            #[allow(deprecated, reason = "what replaces it is newer than the tokio that we ask for")]
            let inotify = AsyncFd::new(inotify)?;
            follower.spawn(follow(inotify, Arc::clone(&watch), Arc::clone(&told), guest.refresher()));
        }
        Ok(Self { watch, told, _follower: follower })
    }

    /// Whether something changed since the last command was started.
    pub(crate) fn take(&self) -> bool {
        take(&self.watch) | self.told.swap(false, Ordering::Relaxed)
    }
}

fn take(watch: &Mutex<Watch>) -> bool {
    // A panic may leave a directory unwatched; nothing worse.
    watch.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Tells a guest of changes while it runs commands.
async fn follow(inotify: AsyncFd<OwnedFd>, watch: Arc<Mutex<Watch>>, told: Arc<AtomicBool>, guest: Refresher) {
    while let Ok(mut ready) = inotify.readable().await {
        tokio::time::sleep(SETTLE).await;
        ready.clear_ready();
        if take(&watch) {
            told.store(true, Ordering::Relaxed);
            if guest.refresh().is_err() {
                return;
            }
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn changes_are_noticed_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["tree/deep/er", "tree/.git", "tree/cache", "flat/below"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        fs::write(at("tree/cache/CACHEDIR.TAG"), "").unwrap();
        for name in ["tree/file", "tree/deep/er/file", "flat/file"] {
            fs::write(at(name), "1").unwrap();
        }
        let watched = Watched { trees: vec![at("tree"), at("tree"), at("none")], directories: vec![at("flat")] };
        let mut watch = Watch::begin(&watched);
        let mut check = |what: &str, change: &dyn Fn(), expected| {
            change();
            assert_eq!((watch.take(), watch.take()), (expected, false), "{what}");
        };
        check("nothing", &|| {}, false);
        check("read", &|| drop(fs::read(at("tree/file"))), false);
        check("written in place", &|| fs::write(at("tree/file"), "2").unwrap(), true);
        check("far below", &|| fs::write(at("tree/deep/er/file"), "2").unwrap(), true);
        check("renamed over", &|| fs::rename(at("tree/file"), at("tree/deep/er/file")).unwrap(), true);
        check("removed", &|| fs::remove_file(at("tree/deep/er/file")).unwrap(), true);
        check("a link", &|| symlink("x", at("tree/link")).unwrap(), true);
        check("directories", &|| fs::create_dir_all(at("tree/new/and/deep")).unwrap(), true);
        check("in a new one", &|| fs::write(at("tree/new/and/deep/file"), "").unwrap(), true);
        check("a directory that went and came", &|| fs::rename(at("tree/deep"), at("tree/other")).unwrap(), true);
        check("in that", &|| fs::write(at("tree/other/er/file"), "").unwrap(), true);
        check("cargo's and git's", &|| fs::write(at("tree/cache/x"), "").unwrap(), false);
        check("git's", &|| fs::write(at("tree/.git/x"), "").unwrap(), false);
        check("a profile", &|| fs::write(at("tree/a.profraw"), "").unwrap(), false);
        check("in a directory", &|| fs::write(at("flat/file"), "2").unwrap(), true);
        check("below one", &|| fs::write(at("flat/below/file"), "2").unwrap(), false);
        check(
            "permissions",
            &|| fs::set_permissions(at("flat/file"), fs::metadata(at("tree")).unwrap().permissions()).unwrap(),
            true,
        );
        check("many", &|| (0..1000).for_each(|n| fs::write(at("tree").join(n.to_string()), "").unwrap()), true);
    }
}
