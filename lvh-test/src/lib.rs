//! Kernel tests as ordinary `cargo test`: a function with `#[lvh::test]` runs as root on a real Linux kernel, in a VM
//! that is thrown away.
//!
//! After `cargo add --dev lvh-test`, in `src/lib.rs` or any file under `tests/`:
//!
//! ```no_run
//! #[lvh::test]
//! fn bpf_file_system_is_there() {
//!     println!("on Linux {}", lvh::kernel_release());
//!     assert!(std::fs::read_dir("/sys/fs/bpf").is_ok());
//! }
//!
//! #[lvh::test(kernels = ["5.10", "6.12"])]
//! fn cgroups_can_be_killed() {
//!     lvh::require_kernel!(">= 5.14", "cgroup.kill");
//! }
//! ```
//!
//! `cargo test` runs them beside plain `#[test]`s, which stay on the host. QEMU must be installed; the kernels, which
//! are Debian's, are fetched once. The command `lvh doctor` (crate `lvh-cli`) says what a machine lacks.
//!
//! # With a harness of its own
//!
//! A test target may leave `main` to lvh: `harness = false` in its `[[test]]`, and [`main!`](crate::main) at the end of
//! its file. Then the kernels of `lvh.toml` are tests of their own, and a test that skips itself is ignored with its
//! reason rather than passed. Plain `#[test]`s in such a file are dropped by rustc; write `#[lvh::test(host)]`.
//!
//! # In the attribute
//!
//! `kernel` or `kernels`, `cpus`, `memory`, `timeout`, `boot_timeout`, `modules`, `kernel_args`, `fail_on`, `fresh_vm`, `fresh_boot`,
//! `host` and a few more: the table is at [`test`](macro@test). What it leaves out comes from the `[vm]` table of `lvh.toml`.
//!
//! # In the body
//!
//! - [`skip!`] ends the test as ignored, with a reason; [`require_kernel!`] does so where the kernel is too old.
//! - [`kernel_release`] is `uname -r`.
//! - All files of the host are there at their paths, read-only under an overlay in guest memory. What is written to
//!   `CARGO_TARGET_TMPDIR`, and coverage profiles, come home.
//!
//! # How it works
//!
//! 1. The attribute registers the function, and makes a `#[test]` for each kernel that it names.
//! 2. Whoever owns `main`, libtest or [`main!`](crate::main), runs it. Tests that need the same VM share one, one after the
//!    other, or several like it where that takes long; a VM starts from the snapshot of an equal one, in a fraction of a boot's time.
//! 3. In the VM the same binary runs that one function, as a process of its own, and reports how it ended.
//! 4. Output, kernel log and verdict are shown as libtest would. A guest that dies fails the test that ran; the rest
//!    goes on in a new VM.
//!
//! # Features
//!
//! - `tokio` (default): `async fn` tests. Without it name a `runtime` in the attribute.
//! - `vhost` (default): vsock and virtiofs devices in the test binary. Without it tests use a serial port and 9p, which
//!   is slower to run, but there is less to compile.
//!
//! # Limits
//!
//! - The guest has no network but loopback, unless a test asks for one.
//! - Linux hosts only, tested on x86-64. Without KVM everything takes about ten times as long.
//! - Under nextest each test has a VM of its own.

mod case;
mod guest_api;
mod guest_mode;
mod job;
mod kernel_requirement;
mod libtest;
mod libtest_ui;
mod places;
mod private;
mod record;
mod report;
mod run;
mod session;
mod settings;
mod test_binary;
mod test_events;
mod verdict;

pub use guest_api::kernel_release;
pub use lvh_test_macros::test;

// Not public API.
#[doc(hidden)]
pub mod __private {
    pub use crate::guest_api::{require_kernel, skip};
    pub use crate::libtest::run as under_libtest;
    #[cfg(not(feature = "tokio"))]
    pub use crate::private::AsyncTest;
    pub use crate::private::{Accel, BuildPlace, CargoTarget, Init, KernelEventKind, Options, TestCase};
    pub use crate::private::{block_on, build_place, cargo_target, cases, report, submit};
    pub use crate::run::main;
}
