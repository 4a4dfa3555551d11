//! The data directory: content-addressed entries that many processes fill and read at once.
//!
//! ```text
//! <root>/store/
//!   <kind>/<key>/     complete entries: a name here means that everything below it is there
//!   resolved/<key>    what a mutable name (a suite, a tag) was resolved to
//!   locks/<name>      lock files, never removed; the time of an entry's is when it was taken last
//!   state/<name>/     private directories of tools, such as apt's lists
//!   tmp/<name>/       work in progress, locked by its owner; leftovers of killed processes are swept
//! ```

use std::io;
use std::path::Path;

use crate::Error;

mod cache;
mod entry;
mod gc;
mod key;
mod lock;
pub(crate) mod manifest;
mod pins;
mod staging;
pub(crate) mod whole_file;

pub use cache::Cache;
pub use entry::{Entry, Store};
pub(crate) use gc::size;
pub use gc::{Collected, Limits, StoredEntry};
pub use key::Key;
pub use lock::Lock;
pub use pins::{Named, Pin, Pins};
pub use staging::Staging;

/// Why something of the data directory cannot be written.
fn unwritable(verb: &str, path: &Path, error: io::Error) -> Error {
    Error::path(verb, path, error)
        .with_hint("lvh writes to its data directory; `LVH_DATA_DIR`, or `data-dir` in `lvh.toml`, names another")
}
