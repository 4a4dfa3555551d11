//! Tools that build and run tests their own way: nextest, coverage.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lvh_tests::{Finished, cargo, empty_directory};

/// How a raw profile begins on little-endian machines: `INSTR_PROF_RAW_MAGIC_64` in LLVM's `InstrProfData.inc`.
const PROFILE_MAGIC: [u8; 8] = [0x81, b'r', b'f', b'o', b'r', b'p', b'l', 0xff];

/// A function that runs nowhere but in guests.
const GUEST_FUNCTION: &str = "runs_as_root_on_the_kernel_under_test";

#[test]
fn nextest_runs_the_example() {
    let installed = cargo().args(["nextest", "--version"]).output().is_ok_and(|output| output.status.success());
    assert!(installed, "cargo-nextest is not installed (cargo install --locked cargo-nextest)");
    let Finished { code, stderr, .. } =
        Finished::of(cargo().args(["nextest", "run", "--offline", "--color=never", "-p", "hello"]));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("2 tests run: 2 passed, 0 skipped"), "{stderr}");
    assert!(!stderr.contains("LEAK"), "{stderr}");
}

/// What `cargo llvm-cov` does: flags for every crate, a name pattern for the profiles. The flags must not reach
/// lvh-init, which has no runtime for them.
#[test]
fn coverage_counts_what_runs_in_guests() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let profiles = empty_directory(scratch, "profiles");
    let mut command = cargo();
    command.args(["test", "--offline", "-p", "hello", "--test", "hello", "--target-dir"]).arg(scratch.join("coverage"));
    command.args(["--", "--exact", GUEST_FUNCTION]);
    command.env("RUSTFLAGS", "-C instrument-coverage").env("LLVM_PROFILE_FILE", profiles.join("%p-%m.profraw"));
    let Finished { code, stdout, stderr } = Finished::of(&mut command);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");

    let files: Vec<PathBuf> = fs::read_dir(&profiles).unwrap().map(|entry| entry.unwrap().path()).collect();
    let of_guests: Vec<&PathBuf> = files.iter().filter(|file| file.to_string_lossy().contains("-lvh")).collect();
    assert_eq!(of_guests.len(), 1, "{files:?}");
    let profile = fs::read(of_guests[0]).unwrap();
    assert!(profile.starts_with(&PROFILE_MAGIC), "{:?}", profile.get(..8));
    if let Some(tool) = llvm_profdata() {
        check_counted(&tool, of_guests[0]);
    }
}

/// The toolchain's own reader of profiles: others may know other versions of the format.
fn llvm_profdata() -> Option<PathBuf> {
    let output = Command::new("rustc").args(["--print", "target-libdir"]).output().unwrap();
    let libraries = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    let tool = libraries.parent()?.join("bin/llvm-profdata");
    tool.exists().then_some(tool)
}

fn check_counted(tool: &Path, profile: &Path) {
    let merged = profile.with_extension("profdata");
    let merge = Finished::of(Command::new(tool).args(["merge", "-sparse", "-o"]).args([&merged, &profile.to_owned()]));
    assert_eq!(merge.code, Some(0), "{}", merge.stderr);
    let shown = Finished::of(Command::new(tool).args(["show", "--counts", "--function", GUEST_FUNCTION]).arg(merged));
    let counts = shown.stdout.lines().find_map(|line| line.trim().strip_prefix("Function count: "));
    assert!(counts.is_some_and(|count| count != "0"), "{}", shown.stdout);
}
