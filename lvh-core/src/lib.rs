//! The engine of lvh: Linux kernels, and throw-away VMs that run programs on them.
//!
//! Test authors want the crate `lvh-test`, people at a shell `lvh-cli`; this one is for tools.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lvh_core::vm::{Command, Vm, VmSpec};
//! use lvh_core::{Config, Events, kernel};
//!
//! let config = Config::for_process(&std::env::current_dir()?)?;
//! let (store, events) = (config.store()?, Events::silent());
//! let kernel = kernel::resolve("6.12", &config.kernel("6.12")?, &store, &events).await?;
//! let vm = Vm::boot(&VmSpec::new(kernel, &config), &store, &events).await?;
//!
//! let uname = vm.output(Command::new("uname").arg("-r")).await?;
//! print!("{}", String::from_utf8_lossy(&uname.stdout));
//! vm.shutdown().await?;
//! # Ok(()) }
//! ```
//!
//! # Phases
//!
//! ```text
//! lvh.toml, LVH_* ─► Config ─kernel─► KernelSource ─resolve─► Kernel ─► VmSpec ─boot─► Vm ─┬─ run ─► Process ─► exit
//!                      └────store───► Store                                                └─ shutdown (dropped: killed)
//! ```
//!
//! # How it works
//!
//! 1. [`Config`] reads `lvh.toml` and the environment, once, into checked values; a mistake names its line.
//! 2. [`kernel::resolve`] turns a name's source (Debian package, git repository, OCI image, tree or file, the running kernel) into
//!    files, kept in the [`Store`] by the digest of what they are made of.
//! 3. [`vm::Vm::boot`] reads which drivers the kernel brings, and chooses by them how host and guest will talk (the
//!    channel) and how the guest sees the host's files (the share).
//! 4. QEMU starts the kernel without firmware or disk. KVM is used where it really boots a guest; else its translator
//!    (TCG).
//! 5. Where QEMU can, a snapshot is taken at the point where the guest waits for its first order; the next equal VM resumes
//!    from that.
//! 6. lvh-init, PID 1 of the guest, is built by this crate and packed with the modules it needs. It connects back,
//!    makes a root of the host's, and runs commands.
//!
//! The crate never prints: it sends [`Event`]s, and [`Progress`] words them for front ends.
//!
//! # What is public
//!
//! | path | what |
//! |---|---|
//! | [`Config`], [`Overrides`], [`config`] | `lvh.toml`, `LVH_*`, and the types of their values |
//! | [`Kernel`], [`KernelSource`], [`kernel`] | kernels: [`kernel::resolve`], configuration, modules |
//! | [`Image`], [`ImageSource`], [`image`] | images: [`image::resolve`], their formats |
//! | [`Store`], [`store`] | the data directory |
//! | [`vm::VmSpec`], [`vm::RootFs`], [`vm::Vm`], [`vm::VmInfo`] | a VM before, and while it runs |
//! | [`vm::Command`], [`vm::Process`], [`vm::ProcessEvent`], [`vm::Exit`] | commands in it, as in [`std::process`] |
//! | [`vm::KernelRecord`], [`vm::KernelEvent`] | what its kernel says |
//! | [`vm::attach`] | the way into a VM of another process, or of [`run::Agent`] |
//! | [`vm::Candidates`], [`vm::Transport`] | how host and guest can be connected |
//! | [`run`] | the QEMU of `lvh run`, which boots an image by itself |
//! | [`HostContext`] | what a program finds around itself on the host |
//! | [`Event`], [`Events`], [`Progress`] | what front ends show |
//! | [`Error`], [`ErrorKind`], [`Result`] | errors |
//! | [`Arch`] | architectures |
//! | [`doctor`] | what a machine or a kernel lacks |
//!
//! All else is private, but for what is hidden from these pages: that belongs to `lvh-test` and changes without notice.
//!
//! # Features
//!
//! - `foreign`: guests of other architectures. For each that the toolchain has a musl target of, an lvh-init is built.
//!
//! # Limits
//!
//! Linux only. Hosts: tested on x86-64; an arm64 host is written but has never run. Guests of arm64 run under TCG.

mod arch;
mod build_place;
pub mod config;
pub mod doctor;
pub mod error;
pub mod event;
mod guest;
mod host_context;
pub mod image;
mod json;
pub mod kernel;
#[doc(hidden)]
pub mod machine;
#[doc(hidden)]
pub mod natural;
mod nearest;
#[doc(hidden)]
pub mod process;
mod program;
pub mod progress;
#[cfg(test)]
mod property;
pub mod run;
pub mod store;
mod vhost;
pub mod vm;

pub use arch::Arch;
pub use build_place::{BuildPlace, Moved};
pub use config::{Config, Overrides};
pub use error::{Error, ErrorKind, Result};
pub use event::{Event, Events};
pub use host_context::{HostContext, Watched};
pub use image::{Image, ImageSource};
pub use kernel::{Kernel, KernelRelease, KernelSource};
pub use progress::{Progress, columns_of_stderr};
pub use store::Store;
