//! The `#[lvh::test]` attribute: parse → validate → expand.
//!
//! Use it through the crate `lvh`, which re-exports it; the code it makes calls `::lvh::__private`.
//!
//! 1. `args` splits what stands in the attribute and reads each option by the table in `options`.
//! 2. `function` splits the function, `attributes` takes `#[ignore]` and `#[should_panic]` off it, and both refuse
//!    what would lose the test.
//! 3. `expand` registers the function, or hands the errors, all of them, back with the function.

mod args;
mod attributes;
mod errors;
mod expand;
mod function;
mod keyword;
mod options;
mod rstest;
mod suggest;
mod value;

use proc_macro::TokenStream;

/// Runs a function as a test inside a throw-away VM.
///
/// ```ignore
/// #[lvh::test(kernels = ["5.10", "6.12"], memory = "512M", timeout = "30s")]
/// fn loads_a_program() {
///     assert!(std::path::Path::new("/sys/fs/bpf").exists());
/// }
/// ```
///
/// The function takes no arguments and returns what a `#[test]` may return; it may be `async`. `#[ignore]`,
/// `#[should_panic]` and `#[cfg]` mean what they mean on a `#[test]`.
///
/// | option | value | meaning |
/// |---|---|---|
/// | `kernel`, `kernels` | `"6.12"` or `["5.10", "6.12"]` | kernels to run on, one after the other. Default: `default-kernels` of `lvh.toml` |
/// | `image`, `images` | `"base"` or `["base", "kind"]` | images whose disk is the root file system, each on every kernel. Default: the host's root |
/// | `init` | `"lvh"`, `"systemd"` | the guest's first process: lvh's own, or the image's systemd |
/// | `cpus` | `2` | virtual CPUs |
/// | `memory` | `"512M"` | guest memory; units `K`, `M`, `G`, at least `64M` |
/// | `accel` | `"auto"`, `"kvm"`, `"tcg"` | accelerator |
/// | `timeout` | `"30s"` | time for the test, without the boot; units `ms`, `s`, `m`, `h` |
/// | `boot_timeout` | `"2m"` | time for the boot |
/// | `modules` | `["nf_tables"]` | kernel modules to load before the test |
/// | `kernel_args` | `"lsm=bpf"` | appended to the kernel's command line |
/// | `network` | flag | a network through which the guest reaches the host and what the host reaches |
/// | `headers` | flag | the kernel's headers, for builds of modules: `/lib/modules/RELEASE/build` |
/// | `fail_on` | `["oops", "warn"]` | what fails the test if the kernel reports it: `oops`, `warn`, `lockup`, `hung-task`, `rcu-stall`, `oom`, `lockdep` |
/// | `fresh_vm` | flag | no other test runs in this test's VM |
/// | `fresh_boot` | flag | the test's VM boots, rather than resume from a snapshot |
/// | `host` | flag | the test runs on the host, not in a VM |
/// | `crate` | `path` or `"path"` | where `lvh` is. Default: `::lvh` |
/// | `runtime` | `path::to::block_on` | function that runs the future of an `async` test. Default: tokio, by the feature of that name |
///
/// A flag may also be written `fresh_vm = true`.
///
/// With `rstest`, write `#[test_attr(lvh::test)]` below `#[rstest]`; with `test-log`, `#[test_log::test(lvh::test)]`.
/// An attribute that makes a plain `#[test]`, such as `#[tokio::test]` or `#[test_case]`, is an error below this one;
/// above it, it hides the function from us and rustc drops both.
#[proc_macro_attribute]
pub fn test(args: TokenStream, item: TokenStream) -> TokenStream {
    expand::expand(args.into(), item.into()).into()
}
