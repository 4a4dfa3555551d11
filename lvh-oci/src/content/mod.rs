//! From an image in a registry to files.

pub(crate) mod disk_images;
pub(crate) mod image;
pub(crate) mod kernel;
