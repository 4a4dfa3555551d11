//! The text of `lvh.toml`, until it is checked.

pub(in crate::config) mod document;
mod fields;
pub(in crate::config) mod image_table;
pub(in crate::config) mod kernel_table;
mod raw;
pub(in crate::config) mod schema;
