//! Under ours.

mod cases;

lvh::main!();
