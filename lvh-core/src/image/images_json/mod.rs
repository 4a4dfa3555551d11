//! `images.json`, the file in which people list the images of a data directory for `lvh images build`.
//!
//! It is read as Go's `encoding/json` does, and written as that writes it.

mod decode;
mod entry;
mod example;
mod file;
#[cfg(test)]
mod tests;

pub use entry::ImageEntry;
pub(crate) use entry::is_qcow2;
pub use example::example;
pub use file::ImagesFile;
