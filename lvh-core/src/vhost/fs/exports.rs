//! What a guest may see of the host.

use std::path::PathBuf;

/// The directories that a virtiofs device shares.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub(crate) enum FsExports {
    /// One tree, read-only. The guest may cache it for good: what changes on the host meanwhile may stay unseen.
    ReadOnly {
        /// The top of the tree, `/` for the host's root.
        root: PathBuf,
        /// Directories below `root`, absolute or relative to it, that the guest sees empty, whether they exist or not:
        /// for the host's root `/proc`, `/sys`, `/dev` and `/run`, where the guest mounts its own.
        hidden: Vec<PathBuf>,
    },
    /// Directories that the guest may write, as the entries `0`, `1` and so on of an empty read-only directory. Nothing
    /// is cached, so each side sees at once what the other wrote. Files belong to the user of this process.
    Writable(Vec<PathBuf>),
}
