//! Where kernels come from, a file each.

pub(crate) mod deb;
pub(crate) mod download;
pub(crate) mod from_git;
pub(crate) mod from_source;
pub(crate) mod from_tarball;
pub(crate) mod from_web;
pub(crate) mod local;
pub(crate) mod oci;
