//! What a guest's root is made of.

pub(crate) mod initramfs;
