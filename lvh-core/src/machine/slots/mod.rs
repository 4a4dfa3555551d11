//! Room for VMs, shared by all processes of lvh on a machine, whoever's they are and whatever their data directory is.
//!
//! Each VM that runs or wants to is a [`claim`](claim::Claim): a socket in Linux's abstract namespace, whose name tells when it came,
//! whose it is and how much memory it takes. `/proc/net/unix` lists all. There is no daemon and no file, and the kernel takes a
//! claim away when its process is gone, however it went. [`rule`] says who may go on, [`slot`] waits for that.

mod ancestors;
mod claim;
mod rule;
mod slot;
#[cfg(test)]
mod tests;

pub(crate) use slot::Slot;
pub use slot::{has_room, room_is_wanted};
