//! What the code made by `#[lvh::test]` calls.
//!
//! Not public API.

use std::process::{ExitCode, Termination};

pub use inventory::submit;
pub use lvh_core::BuildPlace;
pub use lvh_core::config::{Accel, Init, KernelEventKind};

pub use crate::case::{Options, TestCase};

/// Every test that is linked into this binary, in no particular order.
pub fn cases() -> impl Iterator<Item = &'static TestCase> {
    inventory::iter::<TestCase>.into_iter()
}

/// Runs a test and says whether what it returned means success; an `Err` is printed to stderr, as libtest does.
pub fn report<T: Termination>(test: impl FnOnce() -> T) -> bool {
    test().report() == ExitCode::SUCCESS
}

/// Runs the future of an `async` test on a tokio runtime of its own.
#[cfg(feature = "tokio")]
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a current-thread runtime needs nothing but an epoll descriptor").block_on(future)
}

/// Refuses to compile: nothing implements [`AsyncTest`].
#[cfg(not(feature = "tokio"))]
pub fn block_on<F: AsyncTest>(future: F) -> F::Output {
    future.never()
}

/// Implemented by nothing, so that an `async` test without a runtime is an error in words.
#[cfg(not(feature = "tokio"))]
#[diagnostic::on_unimplemented(
    message = "an `async` test needs a runtime",
    label = "no runtime for this test",
    note = "enable the feature `tokio` of `lvh-test`, or write `#[lvh::test(runtime = path::to::block_on)]`"
)]
pub trait AsyncTest: Future + Sized {
    /// Never called.
    fn never(self) -> Self::Output;
}
