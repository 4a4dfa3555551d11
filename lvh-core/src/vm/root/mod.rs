//! What a guest's root is made of, and what of the host appears on it.

pub(crate) mod files;
pub(crate) mod initramfs;
pub(crate) mod kit;
pub(crate) mod modules_disk;
pub(crate) mod rootfs;
