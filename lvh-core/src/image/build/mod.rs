//! Images from their configuration: packages, then actions, then a disk, all without root and without mounting.
//!
//! ```text
//!   request ─► forest ─► fresh? ──yes──► the file stays
//!                          │ no
//!                          ▼
//!   mmdebstrap, or the parent's disk ─► tree ─► packages, actions ─► boot loader, ext4 ─► raw or qcow2 ─► images/NAME
//!          all in a user namespace (`namespace.rs`) or a VM (`vm.rs`), in images/.NAME.build/space
//! ```

mod builder;
mod chroot;
mod disk;
mod foreign;
mod fresh;
mod key;
mod loader;
mod log;
mod make;
mod namespace;
mod parent;
mod perform;
mod place;
mod places;
mod product;
mod record;
mod request;
mod root;
mod shared;
mod size;
mod vm;

pub use builder::build;
pub(super) use places::Places;
pub use request::{Builder, Outcome, Request, Stop};
