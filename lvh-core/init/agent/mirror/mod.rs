//! Directories in guest memory that the host has too: what changed in them is sent home, and what the host changed is done
//! here.

mod applying;
mod collecting;
mod listing;
mod mirrors;

pub use mirrors::Mirrors;
