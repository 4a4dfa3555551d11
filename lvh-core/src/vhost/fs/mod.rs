//! A virtiofs device: the guest mounts directories of the host.
//!
//! One small file system serves two shares: a tree that can only be read, and a list of directories that can be
//! written. Every object the guest knows is a *node*: a name in another node, not an open descriptor, so a guest that
//! walks the whole tree costs no descriptors. A name is opened with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`
//! below the shared directory whenever it is used: links are for the guest to follow, by its own view of the tree.

mod calls;
mod exports;
mod files;
mod filesystem;
mod handler;
mod names;
mod nodes;
mod share;
#[cfg(test)]
mod tests;
mod writing;

pub(crate) use exports::FsExports;
pub(crate) use handler::serve_fs;
