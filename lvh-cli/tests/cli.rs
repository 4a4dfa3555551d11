//! The real binary: what it prints and how it exits.

mod project;

use std::path::Path;
use std::process::Command;

use project::{Project, check};

#[test]
fn usage_errors_exit_with_2() {
    let project = Project::new("[kernels.\"6.6\"]\npath = 'absent'");
    let exec = |args: &[&str]| project.lvh(&[&["exec"], args].concat(), &[]);
    check(&project.lvh(&[], &[]), 2, "Usage: lvh <COMMAND>");
    check(&exec(&["--memory", "lots", "true"]), 2, "expected a size such as `512M` or `1G`");
    check(&exec(&["--timeout", "60", "true"]), 2, "expected a duration such as `500ms`, `60s` or `2m`");
    check(&exec(&["--cpus", "0", "true"]), 2, "0 is not in 1..=255");
    check(&exec(&["--kernel", "6.x7", "true"]), 2, "error: kernel `6.x7` is not in ");
    check(&exec(&["--kernel", "6.6", "true"]), 2, "error: kernel `6.6`: ");
    check(&project.lvh(&["doctor"], &[("LVH_ACCEL", "xen")]), 2, "`LVH_ACCEL` is `xen` (expected `auto`, ");
}

#[test]
fn locked_kernels_are_not_resolved() {
    let project = Project::new("");
    let refused = "error: kernel `6.12` is locked (`--locked`, LVH_LOCKED=1): it is not in `";
    let data = [("LVH_DATA_DIR", "data")];
    check(&project.lvh(&["exec", "--locked", "-k", "6.12", "true"], &data), 2, refused);
    check(&project.lvh(&["update", "--locked"], &data), 2, refused);
    let runner = ["runner", "--locked", "-k", "6.12", "/bin/true"];
    check(&project.lvh(&runner, &data), 2, refused);
    let doctor = project.lvh(&["doctor", "-k", "6.12"], &[data[0], ("LVH_LOCKED", "1")]);
    assert!(String::from_utf8_lossy(&doctor.stdout).contains("kernel `6.12` is locked"), "{doctor:?}");
}

#[test]
fn an_update_that_could_not_be_pinned_is_not_begun() {
    let project = Project::new("[kernels.k]\ngit = './absent'");
    std::fs::write(project.dir().join("lvh.lock"), "<<<<<<< HEAD\nversion = 1\n").unwrap();
    let update = |args: &[&str]| project.lvh(&[&["update"], args].concat(), &[("LVH_DATA_DIR", "data")]);
    check(&update(&["k"]), 2, "lvh.lock:1: the file is damaged: ");
    check(&update(&[]), 2, "lvh.lock:1: the file is damaged: ");
}

#[test]
fn a_mistake_in_the_file_names_its_line() {
    let project = Project::new("[vm]\nmemmory = '1G'");
    check(&project.lvh(&["doctor"], &[]), 2, "lvh.toml:2: unknown key `memmory` in [vm] (expected `memory`, `cpus`");
}

#[test]
fn a_path_on_the_command_line_starts_at_the_working_directory() {
    let project = Project::new("");
    std::fs::create_dir_all(project.dir().join("sub/tree")).unwrap();
    let lvh = Path::new(env!("CARGO_BIN_EXE_lvh"));
    let exec =
        |kernel| Command::new(lvh).args(["exec", "-k", kernel, "true"]).current_dir(project.dir().join("sub")).output();
    check(&exec("./tree").unwrap(), 2, "/sub/tree`\n\nhint: ");
    check(&exec("./absent").unwrap(), 2, "does not exist");
}

#[test]
fn help_shows_examples_and_codes() {
    let project = Project::new("");
    let stdout = |args: &[&str]| String::from_utf8(project.lvh(args, &[]).stdout).unwrap();
    assert!(stdout(&["exec", "--help"]).contains("lvh exec --kernel 5.10 --kernel 6.1 -- ./probe -v"));
    assert!(stdout(&["--help"]).contains("125  setup failed"));
    for command in commands(&stdout(&["--help"])) {
        let help = stdout(&[&command, "--help"]);
        assert!(help.contains("\nExamples:\n"), "{command} has no examples:\n{help}");
    }
}

/// The commands that `lvh --help` lists, but for `help`.
fn commands(help: &str) -> Vec<String> {
    let list = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

#[test]
fn shells_get_completions() {
    let project = Project::new("");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = project.lvh(&["completions", shell], &[]);
        let script = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(script.contains("--kernel") || script.contains("-l kernel"), "{shell}: {script}");
    }
    check(&project.lvh(&["completions", "tcsh"], &[]), 2, "possible values: bash, elvish, fish, powershell, zsh");
}

/// The shell itself says what it would complete.
#[test]
fn bash_completes_commands_and_options() {
    let project = Project::new("");
    let script = project.lvh(&["completions", "bash"], &[]).stdout;
    std::fs::write(project.dir().join("lvh.bash"), script).unwrap();
    let complete = |words: &str, position: usize| {
        let call = format!(
            "source ./lvh.bash; COMP_WORDS=({words}); COMP_CWORD={position}; \
             _lvh lvh \"${{COMP_WORDS[COMP_CWORD]}}\" lvh; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &call]).current_dir(project.dir()).output();
        String::from_utf8(output.expect("this test needs `bash`").stdout).unwrap()
    };
    assert_eq!(complete("lvh do", 1), "doctor\n");
    assert_eq!(complete("lvh doctor --k", 2), "--kernel\n");
}

#[test]
fn each_command_has_its_manual_page() {
    let project = Project::new("");
    let main = project.lvh(&["man"], &[]);
    assert_eq!(main.status.code(), Some(0));
    let text = String::from_utf8(main.stdout.clone()).unwrap();
    assert!(text.contains("\n.TH lvh 1 ") && !text.contains("help(1)") && !text.contains("EXTRA"), "{text}");

    assert_eq!(project.lvh(&["man", "share/man1"], &[]).status.code(), Some(0));
    let dir = project.dir().join("share/man1");
    assert_eq!(std::fs::read(dir.join("lvh.1")).unwrap(), main.stdout);
    let help = String::from_utf8(project.lvh(&["--help"], &[]).stdout).unwrap();
    let mut expected: Vec<String> = commands(&help).iter().map(|command| format!("lvh-{command}.1")).collect();
    expected.push("lvh.1".to_owned());
    for group in ["cache", "ci", "images", "kernels"] {
        let help = String::from_utf8(project.lvh(&[group, "--help"], &[]).stdout).unwrap();
        expected.extend(commands(&help).iter().map(|command| format!("lvh-{group}-{command}.1")));
    }
    expected.sort();
    let files = std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = files.collect();
    files.sort();
    assert_eq!(files, expected);
    let page = std::fs::read_to_string(dir.join("lvh-exec.1")).unwrap();
    assert!(page.contains("\n\\fBlvh exec\\fR "), "{page}");
    assert!(page.contains("\n.nf\nExamples:\n  lvh exec uname \\-r  "), "{page}");

    std::fs::write(project.dir().join("file"), "").unwrap();
    check(&project.lvh(&["man", "file"], &[]), 125, "error: failed to create `file`: ");
}
