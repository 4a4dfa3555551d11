//! Images from their configuration: packages, then actions, then a disk, all without root and without mounting.
//!
//! ```text
//!   request ─► forest ─► fresh? ──yes──► the file stays
//!                          │ no
//!                          ▼
//!   mmdebstrap, or the parent's disk ─► tree ─► packages, actions ─► boot loader, ext4 ─► raw or qcow2 ─► images/NAME
//!          all in a user namespace or a VM (`sandbox/`), in images/.NAME.build/space
//! ```

mod builder;
mod log;
mod made;
mod make;
mod places;
mod request;
mod sandbox;
mod steps;

pub use builder::build;
pub(super) use places::Places;
pub use request::{Builder, Outcome, Request, Stop};
