//! Where the commands that make an image run.

pub(crate) mod chroot;
pub(crate) mod namespace;
pub(crate) mod place;
pub(crate) mod vm;
