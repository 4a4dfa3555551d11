//! A virtiofs device: the guest mounts a directory of the host, which it can only read.
//!
//! Every object the guest knows is a *node*: a name in another node, not an open descriptor, so a guest that
//! walks the whole tree costs no descriptors. A name is opened with `openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)`
//! below the shared directory whenever it is used: links are for the guest to follow, by its own view of the tree. A name that
//! leads to another file of the same kind has the same node; a file that the guest has open stays that file until it closes it.

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
mod wire;

pub(crate) use exports::FsExports;
pub(crate) use handler::serve_fs;
