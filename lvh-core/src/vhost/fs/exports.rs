//! What a guest may see of the host.

use std::path::PathBuf;

/// The tree that a virtiofs device shares, read-only. The guest sees what changes in files after a second, and what changes of
/// names when it is told to forget those that it knows.
#[derive(Debug, Clone)]
pub(crate) struct FsExports {
    /// The top of the tree, `/` for the host's root.
    pub(crate) root: PathBuf,
    /// Directories below `root`, absolute or relative to it, that the guest sees empty, whether they exist or not:
    /// for the host's root `/proc`, `/sys`, `/dev` and `/run`, where the guest mounts its own.
    pub(crate) hidden: Vec<PathBuf>,
}
