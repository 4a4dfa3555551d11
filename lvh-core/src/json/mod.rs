//! JSON, as QEMU's monitor speaks it and as the Go tool wrote `kernels.json` and `images.json`.
//!
//! No crate's: those implement `PartialEq` and `From` of their value for integers and strings. A test crate that links us would
//! have these implementations too, and `1 == x.into()` would no longer compile there.
//!
//! Objects keep their order and numbers their digits, so that a text that was read can be written as it was.

pub(crate) mod go;
mod read;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub(crate) use value::Value;
