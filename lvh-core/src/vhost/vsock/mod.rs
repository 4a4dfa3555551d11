//! A vsock device: the guest connects to a port of the host (CID 2), a closure says who that is.
//!
//! Kernels from 6.17 on, and stable ones with the same change, spread a packet over any number of descriptors; so they
//! are read as one stream of bytes here. What a guest may hold in our memory is bounded by its credit (256 KiB a
//! connection) and by the number of connections; a host that does not read holds the guest up, not us.

mod connection;
mod handler;
mod packet;
mod relay;
#[cfg(test)]
mod tests;

pub(crate) use handler::serve_vsock;
