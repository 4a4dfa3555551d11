//! Talking to one registry: connection, tokens, retries, downloads.

mod client;
mod download;
mod fault;
mod pace;
mod remote;
mod upload;

pub(crate) use remote::{Operation, Remote};
