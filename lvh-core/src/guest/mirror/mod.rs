//! Directories that host and guest both have: in the guest they are its own memory, on the host files.
//!
//! What is new on the host goes to the guest before a command starts, what is new in the guest comes home when it has ended.

mod incoming;
mod listing;
mod mirrored;
mod newcomer;
mod outgoing;
mod place;

pub(crate) use incoming::{Arrived, Incoming};
pub(crate) use mirrored::{Budget, Mirror};
