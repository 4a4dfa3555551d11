//! Kernels that are built from git.

use super::GitSource;
use super::build::was_built_in_place;
use super::from_source::{self, BuiltKernel, LAYOUT};
use super::git::{Checkouts, LocalWork};
use super::local::{self, LocalKernel};
use super::wanted::Wanted;
use crate::store::{Key, Store};
use crate::{Error, ErrorKind, Result};

/// The question that the store remembers the answer to.
///
/// What `lvh kernels build` makes in a tree of people's is another answer, so that it counts as soon as it is there.
pub(super) fn question(source: &GitSource, store: &Store) -> Key {
    let (strict, build) = (source.build.strict.to_string(), source.build.key());
    let url = source.url.to_string();
    let built = source.tree.as_ref().map(|tree| Checkouts::new(store.root()).last_build(tree));
    Key::of(["git", LAYOUT, &url, build.as_str(), &strict].into_iter().chain(built.as_deref()))
}

/// The tree of people's that another tool built the kernel in, with what it found there.
pub(super) fn built_in_place(source: &GitSource, store: &Store) -> Option<LocalKernel> {
    let tree = store.root().join("kernels").join(source.tree.as_ref()?);
    let in_place = was_built_in_place(&tree, source.build.arch);
    in_place.then(|| local::at(&tree).ok()).flatten()
}

/// The kernel that `source` was built to, from the store; else it is fetched and built. Blocks.
pub(super) fn resolve(wanted: &Wanted<'_>, source: &GitSource) -> Result<BuiltKernel> {
    from_source::resolve(wanted, &|| question(source, wanted.store), &|| make(wanted, source))
}

fn make(wanted: &Wanted<'_>, source: &GitSource) -> Result<BuiltKernel> {
    let Wanted { name, subject, store, events, newest } = *wanted;
    // Another project may give the name to another repository.
    let own = || format!("{name}-{}", &Key::of([source.url.to_string()]).as_str()[..8]);
    let tree = source.tree.clone().unwrap_or_else(own);
    let checkouts = Checkouts::new(store.root()).called(subject);
    let there = checkouts.dir(&tree)?.join(".git").exists();
    match store.is_offline() {
        // Its people say when their tree moves on.
        false if there && source.tree.is_some() && !newest => {}
        false => drop(checkouts.fetch(&tree, &source.url, LocalWork::Keep, events)?),
        true if !there => return Err(offline(source)),
        true => {}
    }
    let open = checkouts.open(&tree, events)?;
    let reference = source.url.reference.as_ref().map(|reference| format!("#{reference}")).unwrap_or_default();
    from_source::build(wanted, &open, &source.build, &format!("{}{reference}", source.url.repository))
}

fn offline(source: &GitSource) -> Error {
    let message = format!("the source `{}` is not in the data directory, and lvh is offline", source.url);
    Error::new(ErrorKind::Artifact, message).with_hint("run once without LVH_OFFLINE=1")
}
