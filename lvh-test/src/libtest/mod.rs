//! Tests in VMs under Rust's own harness, where `harness = false` is not set.
//!
//! ```text
//! libtest ─► shadow #[test] ─► shadow::run ─► service (one thread, all VMs) ─► the same binary in the guest:
//!                                                        libtest ─► shadow #[test] ─► guest::run ─► exit
//! ```
//!
//! The VMs of a process are served by one thread that lives as long as it does, so they are gone when libtest exits,
//! however it exits.

mod at_exit;
mod guest;
mod service;
mod shadow;

pub use shadow::run;
