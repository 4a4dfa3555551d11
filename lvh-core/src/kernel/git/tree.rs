//! The steps that bring one source tree to a commit, each of which may be done again.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::GitUrl;
use super::checkouts::{Checkout, LocalWork, exclude_results};
use super::command::Git;
use super::places::Places;
use crate::store::Lock;
use crate::{Error, ErrorKind, Events, Result};

/// The mark of a tree that is being made: nothing in it is anybody's yet.
pub(super) const CREATING: &str = "creating";
/// The mark of a tree that is on its way from one commit to another.
pub(super) const UPDATING: &str = "updating";
/// The mark of any work of git's.
const FETCHING: &str = "fetching";

/// What is in a kernel's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Missing,
    Worktree,
    Clone,
}

impl Standing {
    pub(super) fn of(places: &Places) -> Result<Self> {
        let tree = places.tree();
        match fs::symlink_metadata(tree.join(".git")) {
            Ok(git) if git.is_dir() => Ok(Self::Clone),
            Ok(_) => Ok(Self::Worktree),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Self::Missing),
            Err(e) => Err(Error::path("look at", &tree, e)),
        }
    }
}

/// One tree, under lock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tree<'t> {
    pub(super) places: &'t Places,
    pub(super) subject: &'t str,
    /// The command that throws away what is in the way.
    pub(super) discarded_by: Option<&'t str>,
    pub(super) locks: &'t [Lock],
    /// It is a worktree of the shared repository.
    pub(super) shared: bool,
    pub(super) events: &'t Events,
}

/// What is fetched: the remote's name for it, and the local one.
struct Source {
    remote: String,
    local: String,
}

impl Tree<'_> {
    /// See [`super::Checkouts::fetch`].
    pub(super) fn bring_to(&self, url: &GitUrl, local: LocalWork) -> Result<()> {
        self.clean_up_after_death()?;
        let fetching = self.places.mark(FETCHING)?;
        self.prepare(url)?;
        // Before the remote's branch moves: where lvh did not make the tree, that is what it was made from.
        let base = self.base(url);
        let target = self.target(url)?;
        match Standing::of(self.places)? {
            Standing::Missing => self.create(&target, base.as_deref(), local)?,
            _ => self.update(&target, base.as_deref(), local)?,
        }
        self.repository(|git| git.run(&["update-ref", &self.base_ref(), &target]))?;
        fetching.clear()
    }

    /// See [`super::Checkouts::existing`].
    pub(super) fn checkout(&self) -> Result<Checkout> {
        let dir = self.places.tree();
        Checkout::read(self.places.name(), dir.clone(), self.git(&dir))
    }

    /// See [`super::Checkouts::remove`].
    pub(super) fn remove(&self, local: LocalWork) -> Result<bool> {
        self.clean_up_after_death()?;
        let tree = self.places.tree();
        let there = fs::symlink_metadata(&tree).is_ok();
        if there && local == LocalWork::Keep {
            self.refuse_to_lose()?;
        }
        remove_dir(&tree)?;
        Ok(self.forget_in_shared()? || there)
    }

    fn git<'g>(&'g self, dir: &'g Path) -> Git<'g> {
        Git { dir, locks: self.locks, subject: self.subject, events: self.events }
    }

    /// git, called where the repository is, tree or no tree.
    fn repository<T>(&self, call: impl FnOnce(Git<'_>) -> Result<T>) -> Result<T> {
        let dir = if self.shared { self.places.shared() } else { self.places.tree() };
        call(self.git(&dir))
    }

    fn git_dir(&self) -> PathBuf {
        if self.shared { self.places.shared() } else { self.places.tree().join(".git") }
    }

    fn remote(&self) -> &str {
        if self.shared { self.places.name() } else { "origin" }
    }

    fn branch(&self) -> String {
        format!("lvh-{}", self.places.name())
    }

    /// The ref of the commit that lvh brought the tree to last.
    fn base_ref(&self) -> String {
        format!("refs/lvh/{}", self.places.name())
    }

    /// Removes what a git that was killed left behind. Nobody else works here: we have the locks.
    fn clean_up_after_death(&self) -> Result<()> {
        if let Some(creating) = self.places.broken_off(CREATING) {
            remove_dir(&self.places.tree())?;
            creating.clear()?;
        }
        let Some(fetching) = self.places.broken_off(FETCHING) else { return Ok(()) };
        let git_dir = self.git_dir();
        let own = [git_dir.join("worktrees").join(self.places.name()), git_dir.join("refs"), git_dir.clone()];
        own.iter().enumerate().try_for_each(|(at, dir)| remove_locks(dir, at == 1))?;
        fetching.clear()
    }

    /// Makes the repository, and the remote in it, what they should be.
    fn prepare(&self, url: &GitUrl) -> Result<()> {
        let tree = self.places.tree();
        let parent = tree.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(|e| Error::path("create", parent, e))?;
        self.refuse_foreign(&tree)?;
        let here = self.git(parent);
        if self.shared {
            here.run(&["init", "--quiet", "--bare", "git"])?;
        } else if Standing::of(self.places)? == Standing::Missing {
            // An empty repository is not a tree yet: `create` makes it one.
            let creating = self.places.mark(CREATING)?;
            here.run(&["init", "--quiet", self.places.name()])?;
            creating.clear()?;
        }
        exclude_results(&self.git_dir())?;
        self.repository(|git| {
            git.run(&["worktree", "prune"])?;
            let key = format!("remote.{}.url", self.remote());
            git.run(&["config", "--replace-all", &key, &url.repository])?;
            Ok(())
        })
    }

    /// What people put there is not ours to replace.
    fn refuse_foreign(&self, tree: &Path) -> Result<()> {
        let empty = |dir: &Path| fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
        if Standing::of(self.places)? != Standing::Missing || fs::symlink_metadata(tree).is_err() || empty(tree) {
            return Ok(());
        }
        let message = format!("{}: `{}` exists, but is no git tree", self.subject, tree.display());
        Err(Error::new(ErrorKind::Usage, message).with_hint("move it away, or give the kernel another name"))
    }

    /// The commit that the tree had from lvh, or from its remote where that is not known.
    fn base(&self, url: &GitUrl) -> Option<String> {
        let tracked = url.reference.as_deref().unwrap_or("master");
        let candidates = [self.base_ref(), format!("refs/remotes/{}/{tracked}", self.remote())];
        candidates.iter().find_map(|name| self.repository(|git| commit(git, name)).ok())
    }

    /// Fetches what `url` stands for, and returns its commit.
    fn target(&self, url: &GitUrl) -> Result<String> {
        self.repository(|git| {
            let whole = url.reference.as_deref().filter(|text| is_commit(text) && text.len() == 40);
            if let Some(known) = whole.filter(|text| commit(git, text).is_ok()) {
                return Ok(known.to_owned());
            }
            let source = self.source(git, url)?;
            self.drop_other_refs(git, &source.local)?;
            let depth = url.depth.map(|depth| format!("--depth={depth}"));
            let spec = format!("+{}:{}", source.remote, source.local);
            self.track(git, &source, &spec)?;
            let mut args = vec!["fetch", "--progress", "--no-tags"];
            args.push(depth.as_deref().unwrap_or("--update-shallow"));
            args.extend([self.remote(), &spec]);
            git.run_long("fetching", &args)?;
            match url.reference.as_deref().filter(|_| spec.contains('*')) {
                Some(short) => commit(git, short),
                None => commit(git, &source.local),
            }
        })
    }

    /// What the remote calls what `url` names.
    fn source(&self, git: Git<'_>, url: &GitUrl) -> Result<Source> {
        let local = |name: &str| format!("refs/remotes/{}/{name}", self.remote());
        let named = |kind: &str, name: &str| Source { remote: format!("refs/{kind}/{name}"), local: local(name) };
        self.events.step(self.subject, format!("asking `{}`", url.repository));
        let name = url.reference.as_deref().unwrap_or("master");
        let (head, tag) = (format!("refs/heads/{name}"), format!("refs/tags/{name}"));
        let listed = git.run(&["ls-remote", "--symref", self.remote(), &head, &tag, "HEAD"])?;
        let refs: Vec<(&str, &str)> = listed.lines().filter_map(|line| line.split_once('\t')).collect();
        let has = |wanted: &str| refs.iter().any(|(_, name)| *name == wanted);
        let default =
            refs.iter().find_map(|(to, name)| to.strip_prefix("ref: refs/heads/").filter(|_| *name == "HEAD"));
        match (has(&head), has(&tag), default) {
            (true, ..) => Ok(named("heads", name)),
            (_, true, _) => Ok(named("tags", name)),
            (.., Some(default)) if url.reference.is_none() => Ok(named("heads", default)),
            _ if is_commit(name) && name.len() == 40 => Ok(Source { remote: name.to_owned(), local: local(name) }),
            _ if is_commit(name) && url.depth.is_none() => Ok(named("heads", "*")),
            _ => Err(self.nothing_named(url, name)),
        }
    }

    fn nothing_named(&self, url: &GitUrl, name: &str) -> Error {
        let message = format!("{}: `{}` has no branch or tag `{name}`", self.subject, url.repository);
        let error = Error::new(ErrorKind::Usage, message);
        match is_commit(name) {
            true => error.with_hint("with a depth, a commit must be named by all of its 40 digits"),
            false => error,
        }
    }

    /// Lets people's own `git pull` in the tree do what they expect.
    fn track(&self, git: Git<'_>, source: &Source, spec: &str) -> Result<()> {
        let fetch = format!("remote.{}.fetch", self.remote());
        git.run(&["config", "--replace-all", &fetch, spec])?;
        let (branch, remote) = (self.branch(), self.remote());
        for (key, value) in [("remote", remote), ("merge", &source.remote)] {
            git.run(&["config", "--replace-all", &format!("branch.{branch}.{key}"), value])?;
        }
        Ok(())
    }

    /// A ref `a` stands in the way of `a/b`.
    fn drop_other_refs(&self, git: Git<'_>, keep: &str) -> Result<()> {
        let all = git.run(&["for-each-ref", "--format=%(refname)", &format!("refs/remotes/{}", self.remote())])?;
        let others = all.lines().filter(|name| *name != keep && !keep.ends_with('*'));
        others.into_iter().try_for_each(|name| git.run(&["update-ref", "--no-deref", "-d", name]).map(drop))
    }

    /// Makes the tree.
    fn create(&self, target: &str, base: Option<&str>, local: LocalWork) -> Result<()> {
        let branch = self.branch();
        // The directory may be gone, but not what was committed in it.
        if local == LocalWork::Keep {
            let lost = self.repository(|git| local_commits(git, &[&format!("refs/heads/{branch}")], base, target))?;
            self.refuse_commits(lost)?;
        }
        let creating = self.places.mark(CREATING)?;
        // Seen from the shared repository: the path of the data directory need not be UTF-8.
        let path = format!("../{}", self.places.name());
        self.repository(|git| {
            git.run_long("checking out", &["worktree", "add", "--force", "-B", &branch, &path, target])
        })?;
        creating.clear()
    }

    /// Brings the tree that is there to `target`.
    fn update(&self, target: &str, base: Option<&str>, local: LocalWork) -> Result<()> {
        let tree = self.places.tree();
        let git = self.usable(&tree)?;
        let interrupted = self.places.broken_off(UPDATING);
        let head = commit(git, "HEAD").ok();
        if head.as_deref() == Some(target) && interrupted.is_none() {
            return Ok(());
        }
        if head.is_some() && local == LocalWork::Keep {
            let lost = local_commits(git, &["HEAD", &format!("refs/heads/{}", self.branch())], base, target)?;
            // What people committed on top of what the remote still has is not in anybody's way.
            if lost > 0 && git.succeeds(&["merge-base", "--is-ancestor", target, "HEAD"]) {
                return Ok(());
            }
            self.refuse_commits(lost)?;
            match &interrupted {
                None => self.refuse_changes(&git.run(&["status", "--porcelain", "--untracked-files=no"])?)?,
                Some(_) => self.save_changes(git)?,
            }
        }
        let updating = self.places.mark(UPDATING)?;
        let branch = self.branch();
        let mut args = vec!["checkout", "--progress", "--no-track", "-B", &branch, target];
        if local == LocalWork::Discard || interrupted.is_some() {
            args.insert(1, "--force");
        }
        let done = git.run_long("checking out", &args);
        if let (Err(_), None) = (&done, &interrupted) {
            // git refuses before it changes anything.
            updating.clear()?;
            return done.map(drop);
        }
        done?;
        updating.clear()
    }

    /// git in the tree, where that has a repository.
    fn usable<'g>(&'g self, tree: &'g Path) -> Result<Git<'g>> {
        let git = self.git(tree);
        git.run(&["rev-parse", "--git-dir"]).map(|_| git)
    }

    /// Where a checkout was broken off, half of it looks like changes of people's. It is kept in case some are.
    fn save_changes(&self, git: Git<'_>) -> Result<()> {
        let saved = git.run(&["stash", "create"])?;
        if !saved.is_empty() {
            let name = format!("refs/lvh-saved/{}", self.places.name());
            git.run(&["update-ref", &name, &saved])?;
        }
        Ok(())
    }

    fn refuse_to_lose(&self) -> Result<()> {
        let tree = self.places.tree();
        if Standing::of(self.places)? == Standing::Missing {
            let message = format!("{}: `{}` is no git tree", self.subject, tree.display());
            return Err(Error::new(ErrorKind::Usage, message).with_hint("remove it by hand if nobody needs it"));
        }
        let git = self.usable(&tree)?;
        let branch = format!("refs/heads/{}", self.branch());
        let heads: Vec<&str> = ["HEAD", &branch].into_iter().filter(|name| commit(git, name).is_ok()).collect();
        let mut args = vec!["rev-list", "--count"];
        args.extend(&heads);
        args.extend(["--not", "--remotes", "--glob=refs/lvh/*"]);
        let lost = if heads.is_empty() { 0 } else { git.run(&args)?.parse().unwrap_or(1) };
        self.refuse_commits(lost)?;
        self.refuse_changes(&git.run(&["status", "--porcelain"])?)
    }

    fn refuse_commits(&self, count: u64) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let noun = if count == 1 { "commit" } else { "commits" };
        let message = format!("{}: the branch `{}` has {count} {noun} of its own", self.subject, self.branch());
        Err(Error::new(ErrorKind::Usage, message)
            .with_hint(format!("push or move them elsewhere; {}", self.discard_hint())))
    }

    fn refuse_changes(&self, status: &str) -> Result<()> {
        if status.is_empty() {
            return Ok(());
        }
        let tree = self.places.tree();
        let message = format!("{}: there are changes in `{}` that are not committed", self.subject, tree.display());
        let files: Vec<&str> = status.lines().take(10).collect();
        let hint = match status.lines().any(|line| line.starts_with("??")) {
            // Neither a stash nor a reset touches files that git does not know.
            true => {
                let (dir, base) = (tree.display(), self.base_ref());
                format!(
                    "commit or move them; `git -C {dir} reset --hard {base} && git -C {dir} clean -d --force` throws them away"
                )
            }
            false => format!("commit or stash them; {}", self.discard_hint()),
        };
        Err(Error::new(ErrorKind::Usage, message).with_output(files.join("\n")).with_hint(hint))
    }

    /// How people let lvh lose what they did.
    fn discard_hint(&self) -> String {
        let own = || format!("git -C {} reset --hard {}", self.places.tree().display(), self.base_ref());
        format!("`{}` throws them away", self.discarded_by.map_or_else(own, str::to_owned))
    }

    /// Removes remote, branch and refs of the tree from the shared repository; says whether there were any.
    fn forget_in_shared(&self) -> Result<bool> {
        if !self.shared || !self.places.shared().join("HEAD").exists() {
            return Ok(false);
        }
        self.repository(|git| {
            git.run(&["worktree", "prune"])?;
            let remote = git.succeeds(&["config", &format!("remote.{}.url", self.remote())]);
            if remote {
                self.drop_other_refs(git, "")?;
                git.run(&["config", "--remove-section", &format!("remote.{}", self.remote())])?;
            }
            for name in [format!("refs/heads/{}", self.branch()), self.base_ref()] {
                git.run(&["update-ref", "-d", &name])?;
            }
            git.succeeds(&["config", "--remove-section", &format!("branch.{}", self.branch())]);
            Ok(remote)
        })
    }
}

/// Whether `text` is a commit by its digits, all or some.
fn is_commit(text: &str) -> bool {
    (7..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The commit that `name` stands for.
fn commit(git: Git<'_>, name: &str) -> Result<String> {
    git.run(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")])
}

/// How many commits are in `heads`, as far as those exist, and neither in `base` nor in `target`.
fn local_commits(git: Git<'_>, heads: &[&str], base: Option<&str>, target: &str) -> Result<u64> {
    let heads: Vec<String> = heads.iter().filter_map(|name| commit(git, name).ok()).collect();
    if heads.is_empty() {
        return Ok(0);
    }
    let mut args = vec!["rev-list", "--count"];
    args.extend(heads.iter().map(String::as_str));
    args.extend(["--not", target]);
    args.extend(base);
    let count = git.run(&args)?;
    count.parse().map_err(|e| Error::new(ErrorKind::Artifact, format!("git counts `{count}` commits")).with_source(e))
}

/// Joins a worktree and the repository `shared` again: each names the other by its path, and their directory may have been moved
/// or copied. `git worktree prune` would forget the worktree.
pub(super) fn rejoin(shared: &Path, tree: &Path) -> Result<()> {
    let link = tree.join(".git");
    // A clone has a directory there.
    let Some(named) = gitdir_of(&link) else { return Ok(()) };
    let own = shared.join("worktrees").join(named.file_name().unwrap_or_default());
    let back = own.join("gitdir");
    let Ok(backwards) = fs::read(&back) else { return Ok(()) };
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    let name = |file: &Path, before: &[u8], path: &Path| {
        let path = std::path::absolute(path).map_err(|e| Error::path("find", path, e))?;
        let line = [before, path.as_os_str().as_bytes(), b"\n"].concat();
        fs::write(file, line).map_err(|e| Error::path("write", file, e))
    };
    if !same(&named, &own) {
        name(&link, b"gitdir: ", &own)?;
    }
    // Where somebody copied a tree alone, its original stays the worktree.
    let other = own.join(path_of(&backwards));
    match gitdir_of(&other).is_some_and(|named| same(&named, &own)) {
        true => Ok(()),
        false => name(&back, b"", &link),
    }
}

/// Where a worktree's file `.git` says that git keeps what belongs to it.
fn gitdir_of(link: &Path) -> Option<PathBuf> {
    let text = fs::read(link).ok()?;
    Some(link.parent()?.join(path_of(text.strip_prefix(b"gitdir: ")?)))
}

fn path_of(line: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(line.trim_ascii_end()))
}

fn remove_locks(dir: &Path, below: bool) -> Result<()> {
    for found in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = found.path();
        if path.extension().is_some_and(|extension| extension == "lock") {
            fs::remove_file(&path).map_err(|e| Error::path("remove", &path, e))?;
        } else if below && found.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_locks(&path, true)?;
        }
    }
    Ok(())
}

/// Removes the directory `dir`; of a link, the link alone.
pub(super) fn remove_dir(dir: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(dir) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(dir),
        Ok(_) => fs::remove_file(dir),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::path("remove", dir, error)),
        _ => Ok(()),
    }
}
