//! Kernels that are built from git.

use super::from_source::{self, BuiltKernel, LAYOUT, Origin};
use super::local::{self, LocalKernel};
use crate::kernel::GitSource;
use crate::kernel::build::was_built_in_place;
use crate::kernel::git::{Checkouts, LocalWork};
use crate::kernel::pinning::refuse;
use crate::kernel::wanted::Wanted;
use crate::store::{Key, Named, Store};
use crate::{Error, ErrorKind, Result};

/// What precedes a commit in `lvh.lock`.
const COMMIT: &str = "commit ";

/// The question that the store remembers the answer to.
///
/// What `lvh kernels build` makes in a tree of people's is another answer, so that it counts as soon as it is there.
pub(crate) fn question(source: &GitSource, store: &Store) -> Key {
    let (strict, build) = (source.build.strict.to_string(), source.build.key());
    let url = source.url.to_string();
    let built = source.tree.as_ref().map(|tree| Checkouts::new(store.root()).last_build(tree));
    Key::of(["git", LAYOUT, &url, build.as_str(), &strict].into_iter().chain(built.as_deref()))
}

/// The same for one commit.
fn question_of_commit(source: &GitSource, commit: &str) -> Key {
    let (strict, build) = (source.build.strict.to_string(), source.build.key());
    Key::of(["git-commit", LAYOUT, &source.url.repository, commit, build.as_str(), &strict])
}

/// What `lvh.lock` says of a commit.
pub(crate) fn pin(commit: &str) -> Vec<String> {
    // What an earlier lvh built may not know its commit.
    if commit.is_empty() { Vec::new() } else { vec![format!("{COMMIT}{commit}")] }
}

/// The commit in what `lvh.lock` says.
fn pinned_commit(wanted: &Wanted<'_>) -> Result<Option<String>> {
    let Some(pin) = wanted.pin else { return Ok(None) };
    let commit = pin.first().and_then(|word| word.strip_prefix(COMMIT));
    match commit.filter(|commit| commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        Some(commit) if pin.len() == 1 => Ok(Some(commit.to_owned())),
        _ => {
            let message = format!("{}: `lvh.lock` names no commit: `{}`", wanted.subject, pin.join("`, `"));
            let hint = format!("`lvh update {}` writes it anew", wanted.name);
            Err(Error::new(ErrorKind::Usage, message).with_hint(hint))
        }
    }
}

/// The tree of people's that another tool built the kernel in, with what it found there.
pub(crate) fn built_in_place(source: &GitSource, store: &Store) -> Option<LocalKernel> {
    let tree = store.root().join("kernels").join(source.tree.as_ref()?);
    let in_place = was_built_in_place(&tree, source.build.arch);
    in_place.then(|| local::at(&tree).ok()).flatten()
}

/// The kernel that `source` was built to, from the store; else it is fetched and built. Blocks.
pub(crate) fn resolve(wanted: &Wanted<'_>, source: &GitSource) -> Result<BuiltKernel> {
    if let Some(commit) = pinned_commit(wanted)? {
        let source_at = GitSource { url: source.url.clone().with_reference(&commit)?, ..source.clone() };
        return from_source::resolve(wanted, &|| question_of_commit(source, &commit), &|| {
            make_pinned(wanted, source, &source_at, &commit)
        });
    }
    let tree = tree_of(wanted, source);
    let built =
        from_source::resolve(wanted, &|| question(source, wanted.store), &|| make(wanted, source, &tree, None, false))?;
    if wanted.records && !built.commit.is_empty() {
        wanted.store.remember(&question_of_commit(source, &built.commit), &built.key)?;
    }
    Ok(built)
}

/// The name of the tree that it is built in.
fn tree_of(wanted: &Wanted<'_>, source: &GitSource) -> String {
    // Another project may give the name to another repository.
    let own = || format!("{}-{}", wanted.name, &Key::of([source.url.to_string()]).as_str()[..8]);
    source.tree.clone().unwrap_or_else(own)
}

/// Takes the kernel of `commit` from the cache where its source was never here; else builds it from `source_at`.
fn make_pinned(wanted: &Wanted<'_>, source: &GitSource, source_at: &GitSource, commit: &str) -> Result<BuiltKernel> {
    let tree = tree_of(wanted, source);
    let is_new = !Checkouts::new(wanted.store.root()).dir(&tree)?.exists();
    let cached = is_new.then(|| origin(source_at, commit, false).cached(wanted, commit)).flatten();
    cached.map_or_else(|| make(wanted, source_at, &tree, Some(commit), is_new), Ok)
}

/// Where the source is from, and that it is known by its commit, unless people work in its tree.
fn origin(source: &GitSource, commit: &str, is_asked: bool) -> Origin {
    let reference = source.url.reference.as_ref().map(|reference| format!("#{reference}")).unwrap_or_default();
    let question = source.tree.is_none().then(|| question_of_commit(source, commit));
    Origin { source: format!("{}{reference}", source.url.repository), question, is_asked }
}

/// Brings `tree` to `source`, and builds what is there then.
fn make(
    wanted: &Wanted<'_>,
    source: &GitSource,
    tree: &str,
    commit: Option<&str>,
    is_asked: bool,
) -> Result<BuiltKernel> {
    let Wanted { name, subject, store, events, newest, .. } = *wanted;
    let checkouts = Checkouts::new(store.root()).called(subject);
    let there = checkouts.dir(tree)?.join(".git").exists() && checkouts.is_whole(tree)?;
    match store.is_offline() {
        // Its people say when their tree moves on.
        false if there && source.tree.is_some() && !newest => {}
        false if store.is_locked() && source.tree.is_some() => {
            return Err(refuse(Named::Kernel, name, "its source was never fetched"));
        }
        false => {
            let fetched = checkouts.fetch(tree, &source.url, LocalWork::Keep, events);
            drop(fetched.map_err(|error| if commit.is_some() { of_lock(error, name) } else { error })?);
        }
        true if !there => return Err(offline(source)),
        true => {}
    }
    let open = checkouts.open(tree, events)?;
    let found = open.checkout(events).map(|checkout| checkout.commit);
    if commit.is_some_and(|commit| found.as_ref().map_or(true, |found| found != commit)) {
        return Err(offline(source));
    }
    from_source::build(wanted, &open, &source.build, &origin(source, &found?, is_asked))
}

/// A branch that was rewritten leaves commits behind, which a server forgets.
fn of_lock(error: Error, name: &str) -> Error {
    match error.report().contains("not our ref") {
        true => error.with_hint(format!(
            "the source has no such commit any more, and lvh.lock names it: `lvh update {name}` pins one that there is"
        )),
        false => error,
    }
}

fn offline(source: &GitSource) -> Error {
    let message = format!("the source `{}` is not in the data directory, and lvh is offline", source.url);
    Error::new(ErrorKind::Artifact, message).with_hint("run once without LVH_OFFLINE=1")
}
