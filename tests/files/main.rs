//! What file calls say in a writable directory. `tests/files.rs` runs it, on the host and on each share, and compares.

#![expect(clippy::print_stdout, reason = "the driver reads it")]

mod attributes;
mod call;
mod data;
mod names;
mod special;

use std::env;
use std::fs;
use std::path::PathBuf;

use call::Case;

/// The directory that is mirrored.
fn shared() -> PathBuf {
    env::var_os("LVH_TEST_SCRATCH").unwrap_or(env!("CARGO_TARGET_TMPDIR").into()).into()
}

/// Each call in an empty directory of its own, a line each.
#[lvh::test]
fn calls() {
    let top = shared().join(env::var("LVH_TEST_RUN").unwrap_or_else(|_| "by-hand".to_owned()));
    let groups = [names::CASES, data::CASES, attributes::CASES, special::CASES];
    for (name, call) in groups.concat() {
        let directory = top.join(name.replace(' ', "-"));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        println!("call {name}: {}", call::said(call(&directory)));
        // As large as this program.
        let _ = fs::remove_file(directory.join("p"));
    }
}

/// What the host must find: see `tests/files.rs`.
#[lvh::test]
fn leaves_files() {
    special::leave_files(&shared());
}

/// On the host, and the next one in VMs.
#[lvh::test]
#[ignore = "run by tests/files.rs"]
fn gives_a_capability() {
    attributes::give_capability(&shared()).unwrap();
}

#[lvh::test]
#[ignore = "run by tests/files.rs"]
fn has_a_capability() {
    let said = attributes::read_by_capability(&shared()).unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "read", "{said:?}");
}

#[lvh::test]
#[ignore = "run by tests/files.rs"]
fn leaves_a_file_and_panics() {
    fs::write(shared().join("of-a-panic"), "1").unwrap();
    panic!("on purpose");
}

#[lvh::test]
#[ignore = "run by tests/files.rs"]
fn leaves_a_file_and_is_killed() {
    fs::write(shared().join("of-a-kill"), "1").unwrap();
    // SAFETY: no memory is involved.
    unsafe { libc::raise(libc::SIGKILL) };
}

/// Deeper than a path can say.
#[lvh::test]
#[ignore = "run by tests/files.rs"]
fn leaves_depths() {
    env::set_current_dir(shared()).unwrap();
    for _ in 0..30 {
        let name = "d".repeat(200);
        fs::create_dir(&name).unwrap();
        env::set_current_dir(&name).unwrap();
    }
}

#[lvh::test(timeout = "10s")]
#[ignore = "run by tests/files.rs"]
fn leaves_a_file_and_takes_too_long() {
    fs::write(shared().join("of-a-timeout"), "1").unwrap();
    std::thread::sleep(std::time::Duration::from_secs(600));
}

/// After the others in its VM, by its name.
#[lvh::test]
#[ignore = "run by tests/files.rs"]
fn zz_leaves_a_file_and_takes_the_kernel_down() {
    assert_eq!(fs::read_to_string(shared().join("of-a-panic")).unwrap(), "1", "tests see what earlier ones left");
    fs::write(shared().join("of-a-dead-kernel"), "1").unwrap();
    fs::write("/proc/sysrq-trigger", "c").unwrap();
}

lvh::main!();
