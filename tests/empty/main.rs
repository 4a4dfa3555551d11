//! A test binary to which nothing was registered.

lvh::main!();
