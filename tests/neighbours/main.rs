//! Tests that leave their VM in another state, each with a neighbour that must not see it. `tests/neighbours.rs` runs them.

mod harmless;
mod spoilers;

lvh::main!();
