//! The parity cases under lvh's harness.

macro_rules! case {
    ($($case:tt)*) => { ::lvh_tests::register! { $($case)* } };
}

mod cases;

lvh::main!();
