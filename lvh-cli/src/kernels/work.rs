//! What the commands have done for them: one call each, so that this is all that joins command lines and work.

use std::path::Path;

use lvh_core::config::{KernelEntry, KernelsFile};
use lvh_core::{Arch, Error, ErrorKind, Events, Result};

/// Brings the kernel's source to its tree, or the tree up to date.
pub(super) fn fetch(_data_dir: &Path, kernel: &KernelEntry, _events: &Events) -> Result<()> {
    Err(not_yet(&format!("fetch kernel `{}`", kernel.name)))
}

/// Configures the kernel's tree, which is fetched where it is missing.
pub(super) fn configure(
    _data_dir: &Path,
    _file: &KernelsFile,
    kernel: &KernelEntry,
    _arch: Arch,
    _events: &Events,
) -> Result<()> {
    Err(not_yet(&format!("configure kernel `{}`", kernel.name)))
}

/// Configures `tree`, whose `.config` is there, with the options of all kernels and those of `kernel`.
pub(super) fn raw_configure(
    tree: &Path,
    _file: &KernelsFile,
    _kernel: &KernelEntry,
    _arch: Arch,
    _events: &Events,
) -> Result<()> {
    if !tree.is_dir() {
        return Err(Error::new(ErrorKind::Usage, format!("the tree `{}` does not exist", tree.display())));
    }
    Err(not_yet(&format!("configure `{}`", tree.display())))
}

/// Builds the kernel.
pub(super) fn build(
    _data_dir: &Path,
    _file: &KernelsFile,
    kernel: &KernelEntry,
    _arch: Arch,
    _events: &Events,
) -> Result<()> {
    Err(not_yet(&format!("build kernel `{}`", kernel.name)))
}

/// Removes the kernel's tree and what belongs to it in the shared repository. Nothing outside `kernels/` is touched.
pub(super) fn remove_tree(data_dir: &Path, kernel: &KernelEntry, _events: &Events) -> Result<()> {
    let tree = kernel.tree(data_dir)?;
    match tree.exists() || data_dir.join("kernels/git").exists() {
        // It was never fetched.
        false => Ok(()),
        true => Err(not_yet(&format!("remove `{}`", tree.display()))),
    }
}

/// All tags of a repository.
pub(super) fn tags(repository: &str, _events: &Events) -> Result<Vec<String>> {
    Err(not_yet(&format!("list the tags of `{repository}`")))
}

/// A published kernel, and where it goes.
#[derive(Debug)]
pub(super) struct Pull<'a> {
    pub(super) repository: &'a str,
    pub(super) tag: &'a str,
    /// In the image it lies in `/data/kernels/VERSION`.
    pub(super) version: &'a str,
    /// Operating system and architecture.
    pub(super) platform: (&'a str, &'a str),
    /// A directory that gets `boot/` and `lib/`.
    pub(super) target: &'a Path,
}

/// Pulls it.
pub(super) fn pull(pull: &Pull<'_>, _events: &Events) -> Result<()> {
    let Pull { repository, tag, version, platform: (os, arch), target } = pull;
    let place = target.display();
    Err(not_yet(&format!("pull kernel {version} for {os}/{arch} from `{repository}:{tag}` to `{place}`")))
}

fn not_yet(what: &str) -> Error {
    Error::new(ErrorKind::Missing, format!("this build of lvh cannot {what} yet"))
}
