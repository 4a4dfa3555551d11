//! Under Rust's own harness.

mod cases;
