//! What the code made by `#[lvh::test]` calls.
//!
//! Not public API.

use std::process::{ExitCode, Termination};

pub use inventory::submit;
pub use lvh_core::BuildPlace;
pub use lvh_core::config::{Accel, Init, KernelEventKind};

pub use crate::case::{CargoTarget, Options, TestCase};

/// What cargo builds the crate that says this as.
#[doc(hidden)]
#[macro_export]
macro_rules! __cargo_target {
    () => {
        $crate::__private::CargoTarget::of(
            ::core::option_env!("CARGO_BIN_NAME"),
            ::core::option_env!("CARGO_TARGET_TMPDIR"),
        )
    };
}
pub use __cargo_target as cargo_target;

/// Where the crate that says this is built.
#[doc(hidden)]
#[macro_export]
macro_rules! __build_place {
    () => {
        $crate::__private::BuildPlace {
            package: ::core::option_env!("CARGO_MANIFEST_DIR"),
            scratch: ::core::option_env!("CARGO_TARGET_TMPDIR"),
            out_dir: ::core::option_env!("OUT_DIR"),
        }
    };
}
pub use __build_place as build_place;

/// Every test that is linked into this binary, in no particular order.
pub fn cases() -> impl Iterator<Item = &'static TestCase> {
    inventory::iter::<TestCase>.into_iter()
}

/// Runs a test and says whether what it returned means success; an `Err` is printed to stderr, as libtest does.
pub fn report<T: Termination>(test: impl FnOnce() -> T) -> bool {
    let code = __rust_begin_short_backtrace(test).report();
    crate::guest_mode::returned(code);
    code == ExitCode::SUCCESS
}

/// Calls `test`, below which a backtrace is none of the author's business: std ends one at a function of this name
/// (`_print_fmt` in library/std/src/sys/backtrace.rs), as it does in libtest.
#[inline(never)]
fn __rust_begin_short_backtrace<T>(test: impl FnOnce() -> T) -> T {
    let result = test();
    // Else the call might become a jump, and the function would not be found.
    std::hint::black_box(());
    result
}

/// Runs the future of an `async` test on a tokio runtime of its own.
#[cfg(feature = "tokio")]
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let mut future = std::pin::pin!(future);
    // The runtime's frames are as little the author's as ours.
    let future = std::future::poll_fn(|context| __rust_begin_short_backtrace_of_future(future.as_mut(), context));
    runtime.expect("a current-thread runtime needs nothing but an epoll descriptor").block_on(future)
}

/// The same for the future of a test. A closure would be a frame of its own.
#[cfg(feature = "tokio")]
#[inline(never)]
fn __rust_begin_short_backtrace_of_future<F: Future>(
    future: std::pin::Pin<&mut F>,
    context: &mut std::task::Context<'_>,
) -> std::task::Poll<F::Output> {
    let result = future.poll(context);
    std::hint::black_box(());
    result
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
