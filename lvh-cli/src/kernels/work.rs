//! What the commands have done for them: one call each, so that this is all that joins command lines and work.

use std::path::{Path, PathBuf};

use lvh_core::config::{KernelEntry, KernelsFile};
use lvh_core::kernel::build::{self, BuildSpec, Products};
use lvh_core::kernel::git::{Checkouts, LocalWork};
use lvh_core::kernel::options::OptionOutcome;
use lvh_core::{Arch, Error, ErrorKind, Events, Overrides, Result};

/// Brings the kernel's source to its tree, or the tree up to date; `local` is what becomes of what people did in it.
pub(super) fn fetch(data_dir: &Path, kernel: &KernelEntry, local: LocalWork, events: &Events) -> Result<()> {
    let command = format!("lvh kernels fetch --discard-local --dir {} {}", data_dir.display(), kernel.name);
    let (checkouts, data_dir) = checkouts(data_dir)?;
    let url = kernel.git_url(&data_dir)?;
    if url.is_remote() && Overrides::from_process()?.offline == Some(true) {
        let message = format!("kernel `{}`: `{}` is on the network, and lvh is offline", kernel.name, url.repository);
        return Err(Error::new(ErrorKind::Artifact, message).with_hint("run it without LVH_OFFLINE=1"));
    }
    checkouts.discarded_by(command).fetch(&kernel.name, &url, local, events).map(drop)
}

/// Configures the kernel's tree, which is fetched where it is missing.
pub(super) fn configure(data_dir: &Path, kernel: &KernelEntry, spec: &BuildSpec, events: &Events) -> Result<()> {
    let checkouts = fetched(data_dir, kernel, || build::check_for_configuring(spec), events)?;
    let configured = build::configure(&checkouts, &kernel.name, spec, events)?;
    warn(&kernel.name, &configured.outcomes, events);
    Ok(())
}

/// Configures `tree`, whose `.config` is there, to `spec`.
pub(super) fn raw_configure(tree: &Path, spec: &BuildSpec, events: &Events) -> Result<()> {
    let configured = build::configure_in_place(tree, spec, events)?;
    warn(&tree.display().to_string(), &configured.outcomes, events);
    Ok(())
}

/// Builds the kernel, which is fetched and configured where that was not done.
pub(super) fn build(
    data_dir: &Path,
    file: &KernelsFile,
    kernel: &KernelEntry,
    arch: Arch,
    events: &Events,
) -> Result<()> {
    // Also where the tree is there.
    kernel.git_url(data_dir)?;
    let spec = file.build_spec(kernel, arch)?;
    let checkouts = fetched(data_dir, kernel, || build::check_tools(&spec), events)?;
    let built = build::build(&checkouts, &kernel.name, &spec, Products::Packages, events)?;
    warn(&kernel.name, &built.outcomes.unwrap_or_default(), events);
    Ok(())
}

/// Whether the kernel has a tree from git.
pub(super) fn is_there(data_dir: &Path, name: &str) -> bool {
    Checkouts::new(data_dir).dir(name).is_ok_and(|tree| tree.join(".git").exists())
}

/// Removes the kernel's tree and what belongs to it in the shared repository. Nothing outside `kernels/` is touched.
pub(super) fn remove_tree(data_dir: &Path, kernel: &KernelEntry, events: &Events) -> Result<()> {
    kernel.tree(data_dir)?;
    match data_dir.join("kernels").exists() {
        // Nothing was ever fetched.
        false => Ok(()),
        true => checkouts(data_dir)?.0.remove(&kernel.name, LocalWork::Keep, events).map(drop),
    }
}

/// The trees of the data directory, and where that is whatever the working directory.
fn checkouts(data_dir: &Path) -> Result<(Checkouts, PathBuf)> {
    let data_dir = std::path::absolute(data_dir).map_err(|error| Error::path("find", data_dir, error))?;
    Ok((Checkouts::new(&data_dir), data_dir))
}

/// The trees, that of the kernel among them. It is fetched only where `check` finds that something can be made of it.
fn fetched(
    data_dir: &Path,
    kernel: &KernelEntry,
    check: impl FnOnce() -> Result<()>,
    events: &Events,
) -> Result<Checkouts> {
    let (checkouts, _) = checkouts(data_dir)?;
    kernel.tree(data_dir)?;
    if !checkouts.is_whole(&kernel.name)? {
        check()?;
        fetch(data_dir, kernel, LocalWork::Keep, events)?;
    }
    Ok(checkouts)
}

/// Options that are not honoured are no error: not every kernel has all.
fn warn(what: &str, outcomes: &[OptionOutcome], events: &Events) {
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_honoured()) {
        events.note(format!("{what}: {outcome}"));
    }
}
