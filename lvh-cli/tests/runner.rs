//! `lvh runner`: tests that know nothing of lvh, in VMs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Any crate: a unit test, an integration test, a documentation test, and one that fails.
const LIB: &str = r#"
/// ```
/// assert_eq!(anycrate::release().split('.').next(), Some("6"));
/// ```
pub fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap()
}

#[cfg(test)]
mod tests {
    #[test]
    fn in_the_guest() {
        assert!(super::release().starts_with(&std::env::var("RUST_TEST_RELEASE").unwrap()));
        assert!(std::fs::read_to_string("Cargo.toml").unwrap().contains("anycrate"));
        // A program that a test starts as cargo would needs no VM in this one.
        assert!(std::env::vars().all(|(name, _)| !name.starts_with("CARGO_TARGET_") || !name.ends_with("_RUNNER")));
        // Neither does one whose cargo finds the runner in a file.
        let mut runner = std::process::Command::new(std::env::var("RUST_TEST_LVH").unwrap());
        let ran = runner.args(["runner", "/bin/uname", "-r"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stdout), super::release(), "{ran:?}");
    }

    #[test]
    #[ignore]
    fn fails() {
        panic!("on {}", super::release());
    }
}
"#;

const INTEGRATION: &str = r#"
#[test]
fn writes_home() {
    println!("{}", anycrate::release());
    std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/written"), anycrate::release()).unwrap();
}
"#;

fn project(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    for (file, content) in [
        ("Cargo.toml", "[package]\nname = \"anycrate\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n"),
        // As our own.
        (".config/nextest.toml", include_str!("../../.config/nextest.toml")),
        ("src/lib.rs", LIB),
        ("tests/it.rs", INTEGRATION),
    ] {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

/// Cargo in `dir`, with the runner that a user would set.
fn cargo(dir: &Path, arguments: &[&str], kernels: &str) -> Output {
    let mut command = Command::new(env!("CARGO"));
    let target = host_target().to_uppercase().replace('-', "_");
    command
        .args(arguments)
        .current_dir(dir)
        .stdin(Stdio::null())
        .env("CARGO_TERM_COLOR", "never")
        .env("LVH_VERBOSE", "1");
    command.env(format!("CARGO_TARGET_{target}_RUNNER"), format!("{} runner", env!("CARGO_BIN_EXE_lvh")));
    command.env("RUST_TEST_LVH", env!("CARGO_BIN_EXE_lvh"));
    command.env("LVH_KERNELS", kernels).env("RUST_TEST_RELEASE", kernels.split(',').next().unwrap());
    for variable in ["CARGO_TARGET_DIR", "CARGO_MANIFEST_DIR", "NEXTEST", "RUSTFLAGS"] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

/// The target that cargo builds for here.
fn host_target() -> String {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    text(&version.stdout).lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn any_crates_tests_run_in_a_guest_unchanged() {
    let dir = project("runner-cargo");
    let output = cargo(&dir, &["test"], "6.1");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert_eq!(stdout.matches("test result: ok. 1 passed; 0 failed").count(), 3, "{stdout}");
    // A VM each for the library's tests and those of `tests/it.rs`; what documentation tests run by is cargo's affair.
    assert!(stderr.matches(" ready in ").count() >= 2, "{stderr}");
    assert!(fs::read_to_string(dir.join("target/tmp/written")).unwrap().starts_with("6.1."));

    let output = cargo(&dir, &["test", "--lib", "--", "--ignored"], "6.12,6.1");
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(101), "{stdout}\n{stderr}");
    assert!(stdout.contains("on 6.12.") && stdout.contains("on 6.1."), "{stdout}");
    assert!(stderr.contains("lvh: kernel `6.12`: exit code 101\n"), "{stderr}");
}

#[test]
fn nextest_runs_each_in_a_vm_and_lists_without_one() {
    let dir = project("runner-nextest");
    let output = cargo(&dir, &["nextest", "run", "--success-output=immediate"], "6.12");
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("2 tests run: 2 passed, 1 skipped") && !stderr.contains("LEAK"), "{stderr}");
    assert!(stderr.contains("6.12.") && stderr.matches(" ready in ").count() == 2, "{stderr}");
}
