//! The macro that makes a test binary's `main`.

/// Defines the test binary's `main`; stands at the end of a test file with `harness = false`.
///
/// ```no_run
/// lvh::main!();
/// ```
#[macro_export]
macro_rules! main {
    () => {
        fn main() -> ::std::process::ExitCode {
            $crate::__private::main()
        }
    };
}
