//! What is done to make an image: its tree, actions in that, and the disk from it.

pub(crate) mod disk;
pub(crate) mod loader;
pub(crate) mod parent;
pub(crate) mod perform;
pub(crate) mod root;
pub(crate) mod size;
