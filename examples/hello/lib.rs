//! The smallest lvh example; see `tests/hello.rs`.
