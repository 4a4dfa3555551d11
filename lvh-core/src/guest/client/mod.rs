//! The host's side of the protocol.

pub(crate) mod command;
mod flow;
pub(crate) mod framing;
pub(crate) mod guest;
pub(crate) mod handshake;
pub(crate) mod knock;
pub(crate) mod process;
mod routes;
