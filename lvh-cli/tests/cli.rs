//! The real binary: what it prints and how it exits.

mod project;

use std::path::Path;
use std::process::Command;

use project::{Project, check};

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
