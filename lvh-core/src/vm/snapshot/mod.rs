//! Warm starts.

pub(crate) mod start;
