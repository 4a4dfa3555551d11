use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::GitUrl;
use super::command::Git;
use super::places::Places;
use super::tree::{CREATING, Standing, Tree, UPDATING, rejoin, remove_dir};
use crate::kernel::stamp::stamp;
use crate::process::Tool;
use crate::store::{Key, Lock};
use crate::{Error, ErrorKind, Events, Result};

/// What a build notes at its end, in the directory that lvh keeps for a kernel.
pub(in crate::kernel) const BUILT: &str = "built";

/// The kernels of one data directory that have a source tree.
#[derive(Debug, Clone)]
pub struct Checkouts {
    kernels: PathBuf,
    /// What events and errors call a kernel; its name where there is none.
    title: Option<String>,
    /// The command that throws away what people did in a tree.
    discarded_by: Option<String>,
}

/// A kernel's source tree at a commit.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Checkout {
    /// The kernel's name.
    pub name: String,
    /// The tree.
    pub dir: PathBuf,
    /// The commit that is checked out, or the digest of the archive that was unpacked.
    pub commit: String,
    /// When that was made, as git's `%cI` has it.
    pub date: String,
    /// What differs from the commit: a digest of it; empty where nothing does.
    pub changes: String,
}

/// What becomes of changes and commits that people made in a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalWork {
    /// They stay; where they are in the way, it is an error.
    Keep,
    /// They go.
    Discard,
}

impl Checkouts {
    /// Those of the data directory `data_dir`, in its folder `kernels`.
    pub fn new(data_dir: &Path) -> Self {
        Self { kernels: data_dir.join("kernels"), title: None, discarded_by: None }
    }

    /// The same, where events and errors call each kernel `title`.
    pub(in crate::kernel) fn called(self, title: &str) -> Self {
        Self { title: Some(title.to_owned()), ..self }
    }

    /// The same, where errors about changes and commits that are in the way say that `command` throws them away.
    #[must_use]
    pub fn discarded_by(self, command: impl Into<String>) -> Self {
        Self { discarded_by: Some(command.into()), ..self }
    }

    fn subject(&self, name: &str) -> String {
        self.title.clone().unwrap_or_else(|| format!("kernel `{name}`"))
    }

    pub(in crate::kernel) fn places(&self, name: &str) -> Result<Places> {
        Places::of(&self.kernels, name)
    }

    /// Where the tree of the kernel `name` is, or would be.
    ///
    /// # Errors
    /// When `name` cannot be a kernel's.
    pub fn dir(&self, name: &str) -> Result<PathBuf> {
        Ok(self.places(name)?.tree())
    }

    /// Brings the tree of the kernel `name` to what `url` now stands for, making it where there is none.
    ///
    /// # Errors
    /// When git fails (its words are the error's output), when `url` stands for nothing, and when `local` is kept and
    /// in the way.
    pub fn fetch(&self, name: &str, url: &GitUrl, local: LocalWork, events: &Events) -> Result<Checkout> {
        let fetched = self.begin(name, Some(url), events).and_then(|work| {
            work.tree(events).bring_to(url, local)?;
            work.tree(events).checkout()
        });
        fetched.map_err(|error| error.about("kernel", name))
    }

    /// The tree of the kernel `name`, as it is.
    ///
    /// # Errors
    /// When git fails.
    pub fn existing(&self, name: &str, events: &Events) -> Result<Option<Checkout>> {
        let work = self.begin(name, None, events)?;
        match work.places.tree().join(".git").exists() {
            true => work.tree(events).checkout().map(Some),
            false => Ok(None),
        }
    }

    /// Whether the tree of the kernel `name` is there, and no fetch that made or changed it was broken off.
    ///
    /// # Errors
    /// When `name` cannot be a kernel's, or the tree cannot be looked at.
    pub fn is_whole(&self, name: &str) -> Result<bool> {
        let places = self.places(name)?;
        let tree = places.tree();
        if !tree.exists() || [CREATING, UPDATING].iter().any(|mark| places.broken_off(mark).is_some()) {
            return Ok(false);
        }
        // A clone begins as a repository without a commit.
        let (subject, events) = (self.subject(name), Events::silent());
        let git = Git { dir: &tree, locks: &[], subject: &subject, events: &events };
        Ok(Standing::of(&places)? != Standing::Clone || git.succeeds(&["rev-parse", "--verify", "--quiet", "HEAD"]))
    }

    /// Removes the tree of the kernel `name` and all that belongs to it; says whether there was anything.
    ///
    /// # Errors
    /// When `local` is kept and there is some, and when something cannot be removed.
    pub fn remove(&self, name: &str, local: LocalWork, events: &Events) -> Result<bool> {
        let work = self.begin(name, None, events)?;
        let removed = work.tree(events).remove(local)?;
        let own = work.places.own();
        let built = own.exists();
        remove_dir(&own)?;
        Ok(removed || built)
    }

    /// What changes when the kernel `name` is built; whether it can be a kernel's name is not asked.
    pub(in crate::kernel) fn last_build(&self, name: &str) -> String {
        self.places(name).map_or_else(|error| error.to_string(), |places| stamp(&places.own().join(BUILT)))
    }

    /// Takes the lock of the kernel `name`, for as long as the tree is worked in.
    ///
    /// # Errors
    /// When there is no tree.
    pub(in crate::kernel) fn open(&self, name: &str, events: &Events) -> Result<OpenTree> {
        let places = self.places(name)?;
        let subject = self.subject(name);
        let locks = vec![places.lock(name, &subject, events)?];
        rejoin(&places.shared(), &places.tree())?;
        let shared = match Standing::of(&places)? {
            Standing::Worktree => true,
            Standing::Clone => false,
            Standing::Missing => {
                let message = format!("{subject}: there is no source tree `{}`", places.tree().display());
                return Err(Error::new(ErrorKind::Usage, message).with_hint("fetch it first"));
            }
        };
        Ok(OpenTree { places, subject, discarded_by: self.discarded_by.clone(), locks, origin: Origin::Git { shared } })
    }

    /// The tree `name`, which is what the archive with the digest `sha256` holds: `fill` is given an empty directory for it,
    /// unless it is there already. The tree is under lock, as with [`Checkouts::open`].
    pub(in crate::kernel) fn unpacked(
        &self,
        name: &str,
        sha256: &Key,
        events: &Events,
        fill: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<OpenTree> {
        let places = self.places(name)?;
        let subject = self.subject(name);
        let locks = vec![places.lock(name, &subject, events)?];
        let (tree, new) = (places.tree(), places.make_own()?.join("unpacking"));
        if !tree.exists() {
            remove_dir(&new)?;
            fs::create_dir(&new).map_err(|e| Error::path("create", &new, e))?;
            // What it could not finish takes much room.
            fill(&new).inspect_err(|_| drop(remove_dir(&new)))?;
            fs::rename(&new, &tree).map_err(|e| Error::path("move", &new, e))?;
        }
        Ok(OpenTree {
            places,
            subject,
            discarded_by: self.discarded_by.clone(),
            locks,
            origin: Origin::Archive(sha256.clone()),
        })
    }

    /// Where the data directory was moved, git would forget the trees of all kernels, and not only of that which is worked on.
    fn rejoin_all(&self, shared: &Path) -> Result<()> {
        let trees = fs::read_dir(&self.kernels).into_iter().flatten().flatten();
        trees.into_iter().try_for_each(|tree| rejoin(shared, &tree.path()))
    }

    /// Takes the locks for git's work on the kernel `name`: its own and, for a worktree, that of what is shared.
    fn begin(&self, name: &str, url: Option<&GitUrl>, events: &Events) -> Result<OpenTree> {
        let places = self.places(name)?;
        let subject = self.subject(name);
        let mut locks = vec![places.lock(name, &subject, events)?];
        let shared = match Standing::of(&places)? {
            Standing::Worktree => true,
            Standing::Clone => false,
            Standing::Missing => url.map_or(places.shared().exists(), |url| url.depth.is_none()),
        };
        if shared {
            locks.push(places.lock("git", &subject, events)?);
            self.rejoin_all(&places.shared())?;
        }
        Ok(OpenTree { places, subject, discarded_by: self.discarded_by.clone(), locks, origin: Origin::Git { shared } })
    }
}

/// A kernel's tree, under lock.
#[derive(Debug)]
pub(in crate::kernel) struct OpenTree {
    pub(in crate::kernel) places: Places,
    /// What events and errors call it.
    pub(in crate::kernel) subject: String,
    discarded_by: Option<String>,
    locks: Vec<Lock>,
    origin: Origin,
}

/// What a tree was made from.
#[derive(Debug)]
enum Origin {
    /// A repository; with `shared`, that of all kernels.
    Git { shared: bool },
    /// An archive with this digest.
    Archive(Key),
}

impl OpenTree {
    /// What is checked out.
    pub(in crate::kernel) fn checkout(&self, events: &Events) -> Result<Checkout> {
        match &self.origin {
            Origin::Git { .. } => self.tree(events).checkout(),
            Origin::Archive(sha256) => Checkout::of_archive(&self.places, sha256),
        }
    }

    /// The lock of the tree, for programs that work in it to hold too.
    pub(in crate::kernel) fn lock(&self) -> &Lock {
        &self.locks[0]
    }

    fn tree<'w>(&'w self, events: &'w Events) -> Tree<'w> {
        let shared = matches!(self.origin, Origin::Git { shared: true });
        let (subject, discarded_by) = (self.subject.as_str(), self.discarded_by.as_deref());
        Tree { places: &self.places, subject, discarded_by, locks: &self.locks, shared, events }
    }
}

impl Checkout {
    /// Reads the state of the tree `dir`.
    pub(super) fn read(name: &str, dir: PathBuf, git: Git<'_>) -> Result<Self> {
        let head = git.run(&["log", "-1", "--format=%H %cI"])?;
        let (commit, date) = head.split_once(' ').unwrap_or((&head, ""));
        let (commit, date) = (commit.to_owned(), date.to_owned());
        let changes = changes(&dir, git)?;
        Ok(Self { name: name.to_owned(), dir, commit, date, changes })
    }

    /// A tree that an archive was unpacked to. What people change in it is not looked for.
    fn of_archive(places: &Places, sha256: &Key) -> Result<Self> {
        let (name, dir, commit) = (places.name().to_owned(), places.tree(), sha256.to_string());
        let date = date_of(&dir.join("Makefile"))?;
        Ok(Self { name, dir, commit, date, changes: String::new() })
    }
}

/// When the file was written last, as git's `%cI` has it.
fn date_of(file: &Path) -> Result<String> {
    let written = fs::metadata(file).and_then(|file| file.modified()).map_err(|e| Error::path("look at", file, e))?;
    let seconds = written.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let date = Tool::new("date", "coreutils")?.args(["--utc", "--iso-8601=seconds", &format!("--date=@{seconds}")]);
    Ok(date.run()?.trim_end().to_owned())
}

/// A digest of what in the tree is not as the commit has it.
fn changes(dir: &Path, git: Git<'_>) -> Result<String> {
    let status = git.run(&["status", "--porcelain", "-z"])?;
    if status.is_empty() {
        return Ok(String::new());
    }
    let untracked = git.run(&["ls-files", "-z", "--others", "--exclude-standard"])?;
    let untracked = untracked.split('\0').filter(|file| !file.is_empty()).map(|file| stamp(&dir.join(file)));
    let difference = git.run(&["diff", "--binary", "HEAD"])?;
    Ok(Key::of([status, difference].into_iter().chain(untracked)).to_string())
}

/// Lets git ignore what a build leaves in the trees for people to find.
pub(super) fn exclude_results(git_dir: &Path) -> Result<()> {
    const RESULTS: &str = "/.config\n/.config.old\n/vmlinux\n/arch/x86_64/\n/arch/x86/boot/bzImage\n/arch/arm64/boot/Image*\n/tar-install/\n/linux-*.tar\n";
    let file = git_dir.join("info/exclude");
    let text = match fs::read_to_string(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(Error::path("read", &file, error)),
        text => text.unwrap_or_default(),
    };
    if text.contains(RESULTS) {
        return Ok(());
    }
    let write = || {
        fs::create_dir_all(git_dir.join("info"))?;
        fs::write(&file, text + RESULTS)
    };
    write().map_err(|e| Error::path("write", &file, e))
}
