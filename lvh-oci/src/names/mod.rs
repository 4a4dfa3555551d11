//! What images, blobs and platforms are called.

pub(crate) mod digest;
pub(crate) mod kernel_tag;
pub(crate) mod platform;
pub(crate) mod reference;
