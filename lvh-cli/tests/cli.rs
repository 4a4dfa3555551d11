//! The real binary: what it prints and how it exits.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory with an `lvh.toml`, removed at the end.
struct Project(PathBuf);

impl Project {
    fn new(name: &str, config: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("lvh.toml"), config).unwrap();
        Self(dir)
    }

    /// Runs `lvh` here with an environment of its own.
    fn lvh(&self, args: &[&str], vars: &[(&str, &str)]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
        command.args(args).current_dir(&self.0).env_clear().env("HOME", &self.0);
        command.envs(vars.iter().copied()).output().unwrap()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asserts the code, and that stderr holds `expected`.
fn check(output: &Output, code: i32, expected: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn usage_errors_exit_with_2() {
    let project = Project::new("usage", "[kernels.\"6.6\"]\npath = 'absent'");
    let exec = |args: &[&str]| project.lvh(&[&["exec"], args].concat(), &[]);
    check(&project.lvh(&[], &[]), 2, "Usage: lvh <COMMAND>");
    check(&exec(&[]), 2, "<CMD>...");
    check(&exec(&["--memory", "lots", "true"]), 2, "expected a size such as `512M` or `1G`");
    check(&exec(&["--timeout", "60", "true"]), 2, "expected a duration such as `500ms`, `60s` or `2m`");
    check(&exec(&["--cpus", "0", "true"]), 2, "0 is not in 1..=255");
    check(&exec(&["--kernel", "6.7", "true"]), 2, "error: kernel `6.7` is not in ");
    check(&exec(&["--kernel", "6.6", "true"]), 2, "error: kernel `6.6`: ");
    check(&project.lvh(&["doctor"], &[("LVH_ACCEL", "xen")]), 2, "`LVH_ACCEL` is `xen` (expected `auto`, ");
}

#[test]
fn a_mistake_in_the_file_names_its_line() {
    let project = Project::new("mistake", "[vm]\nmemmory = '1G'");
    check(&project.lvh(&["doctor"], &[]), 2, "lvh.toml:2: unknown key `memmory` in [vm] (expected `memory`, `cpus`");
}

#[test]
fn a_path_on_the_command_line_starts_at_the_working_directory() {
    let project = Project::new("paths", "");
    std::fs::create_dir_all(project.0.join("sub/tree")).unwrap();
    let lvh = Path::new(env!("CARGO_BIN_EXE_lvh"));
    let exec =
        |kernel| Command::new(lvh).args(["exec", "-k", kernel, "true"]).current_dir(project.0.join("sub")).output();
    check(&exec("./tree").unwrap(), 2, "/sub/tree`\n\nhint: ");
    check(&exec("./absent").unwrap(), 2, "does not exist");
}

#[test]
fn help_shows_examples_and_codes() {
    let project = Project::new("help", "");
    let stdout = |args: &[&str]| String::from_utf8(project.lvh(args, &[]).stdout).unwrap();
    assert!(stdout(&["exec", "--help"]).contains("lvh exec --kernel 5.10 --kernel 6.1 -- ./probe -v"));
    assert!(stdout(&["--help"]).contains("125  setup failed"));
}

#[cfg(target_os = "linux")]
#[test]
fn doctor_says_what_is_missing_and_how_to_mend_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let project = Project::new("doctor", "data-dir = 'data'");
    let output = project.lvh(&["doctor"], &[("PATH", "/nonexistent")]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{stdout}");
    assert!(stdout.starts_with("MISSING  QEMU"), "{stdout}");
    assert!(stdout.contains("cost: no VM can start"), "{stdout}");
    assert!(stdout.ends_with("\nlvh cannot run here: 1 thing missing\n"), "{stdout}");

    let qemu = project.0.join(format!("qemu-system-{}", std::env::consts::ARCH));
    std::fs::write(&qemu, "#!/bin/sh\necho 'QEMU emulator version 10.0.2'\n").unwrap();
    std::fs::set_permissions(&qemu, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = project.lvh(&["doctor"], &[("PATH", project.0.to_str().unwrap())]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{stdout}");
    assert!(stdout.contains("(version 10.0)"), "{stdout}");
    assert!(!project.0.join("data").exists(), "doctor changes nothing");
}
