//! From files to an image in a registry.

pub(crate) mod pack;
pub(crate) mod push;
