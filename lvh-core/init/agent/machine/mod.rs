//! What commands that share a guest find: how it is before the first of them, and what of that a command changed.

mod calls;
mod facts;
mod leftovers;
mod mounts;
mod netlink;
mod network;
mod room;
mod settings;
mod state;

pub use state::Machine;
