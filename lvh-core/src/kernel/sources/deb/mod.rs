//! Kernels from Debian packages, by apt-get with a private state directory: no root, no change to the machine.
//!
//! 1. `mirror`: the archive's address, from the machine's own apt configuration unless it is given.
//! 2. `apt`: a private apt that knows one suite of it; apt checks signatures and digests.
//! 3. `package`: from the package asked for to the packages that hold a kernel's files.
//! 4. `unpack`: from `.deb` files to an entry of the store.
//! 5. `headers`: the same for what the modules of others are built with.

mod apt;
mod headers;
mod mirror;
mod package;
mod resolve;
mod unpack;

pub(in crate::kernel) use headers::headers;
pub(crate) use mirror::{in_configuration as mirror_in, is_suite, of_this_machine as mirror_of_this_machine};
pub(crate) use resolve::KEYRINGS;
pub(in crate::kernel) use resolve::{question, resolve};
