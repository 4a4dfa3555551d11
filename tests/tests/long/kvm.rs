//! lvh under KVM, wherever this machine has none or one that works: in a VM whose processor is emulated, and which is
//! itself the host of others.
//!
//! It takes one VM under TCG of 4 GB, and some minutes: a boot under the KVM in it takes half a minute, a resume three
//! seconds.

use std::path::Path;

use lvh_core::{Config, Events, kernel};
use lvh_tests::{Finished, TestTarget, lvh};

/// The kernels of the VMs in the VM; its own is among them.
const KERNELS: [&str; 4] = ["5.10", "6.1", "6.12", "7.x"];

/// How many tests the target `nested` has.
const TESTS: usize = 9;

/// Fetches what is not there yet: the VM has no network.
fn fetch_kernels(config: &Config) {
    let store = config.store().unwrap();
    for name in KERNELS {
        kernel::resolve_blocking(name, &config.kernel(name).unwrap(), &store, &Events::silent()).unwrap();
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "shows how long each part took")]
fn under_kvm_in_a_vm() {
    let config = Config::for_process(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    fetch_kernels(&config);
    let mut command = TestTarget::build("nested").command();
    command.env("LVH_TEST_DATA_DIR", config.data_dir().unwrap()).env("LVH_TEST_LVH", lvh().get_program());
    let Finished { code, stdout, stderr } = Finished::of(command.args(["--nocapture", "--test-threads=1"]));
    println!("{stdout}\n{stderr}");
    assert_eq!(code, Some(0));
    assert!(stdout.contains(&format!("{TESTS} passed; 0 failed; 0 ignored")));
    assert_eq!(stderr.matches(" ready in ").count(), 1, "one VM for all");
}
