//! What the body of a test may ask of lvh.

use std::fmt;

use crate::guest_mode;
use crate::kernel_requirement::KernelRequirement;

/// The release of the kernel that the test runs on, as `uname -r` prints it.
///
/// ```
/// let release = lvh::kernel_release();
/// assert!(release.contains('.'), "{release}");
/// ```
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Ends the test as skipped, with a reason; it counts as ignored, not as passed.
///
/// It may be called from any function that the test calls. Called on the test's own thread it unwinds, so that
/// destructors run; called on another thread, or where panics abort, it ends the process.
///
/// ```no_run
/// # use std::path::Path;
/// if !Path::new("/sys/kernel/btf/vmlinux").exists() {
///     lvh::skip!("the kernel has no BTF");
/// }
/// ```
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {
        $crate::__private::skip(::core::format_args!($($reason)+))
    };
}

/// Skips the test unless the kernel's release meets the requirement; the second argument says what needs it.
///
/// Comparisons (`>=`, `>`, `<=`, `<`, `==`) are apart by commas and must all hold. Only the numbers of the release
/// count, and numbers left out are 0; but `== 5.15` means any 5.15.x. A requirement that cannot be read fails the test.
///
/// ```no_run
/// lvh::require_kernel!(">= 5.8", "BPF ring buffer");
/// lvh::require_kernel!(">= 5.15, < 6.12");
/// ```
#[macro_export]
macro_rules! require_kernel {
    ($requirement:expr $(,)?) => {
        $crate::__private::require_kernel($requirement, ::core::option::Option::None)
    };
    ($requirement:expr, $($what:tt)+) => {
        $crate::__private::require_kernel($requirement, ::core::option::Option::Some(::core::format_args!($($what)+)))
    };
}

/// What [`skip!`](crate::skip) expands to.
pub fn skip(reason: fmt::Arguments<'_>) -> ! {
    guest_mode::skip(reason.to_string())
}

/// What [`require_kernel!`](crate::require_kernel) expands to.
#[track_caller]
pub fn require_kernel(requirement: &str, what: Option<fmt::Arguments<'_>>) {
    let parsed = match KernelRequirement::parse(requirement) {
        Ok(parsed) => parsed,
        // Not in a closure: the panic's location is to be the caller's.
        Err(error) => panic!("{error}"),
    };
    let release = kernel_release();
    if !parsed.allows(&release) {
        let what = what.map(|what| format!(": {what}")).unwrap_or_default();
        guest_mode::skip(format!("needs kernel {requirement} (guest is {release}){what}"));
    }
}
