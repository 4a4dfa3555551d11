//! Scripts of commands: what each prints, and its exit code.
//!
//! ```text
//! Prose.
//!
//! $ command
//! what goes to standard output
//! 2> what goes to standard error
//! [1]                                  the exit code, where it is not 0
//! ```

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::project::Project;

/// What the script would be if all went as it does.
fn replay(script: &str, dir: &Path) -> String {
    let mut replayed = String::new();
    let mut within = false;
    for line in script.lines() {
        let command = line.strip_prefix("$ ");
        if command.is_some() || line.is_empty() || !within {
            writeln!(replayed, "{line}").unwrap();
        }
        within = command.is_some() || within && !line.is_empty();
        if let Some(command) = command {
            replayed += &run(command, dir);
        }
    }
    replayed
}

fn run(command: &str, dir: &Path) -> String {
    let lvh = Path::new(env!("CARGO_BIN_EXE_lvh")).parent().unwrap();
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(dir).env_clear().env("HOME", dir).env("LVH_OFFLINE", "1");
    let output = shell.env("PATH", format!("{}:/usr/bin:/bin", lvh.display())).output().unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    if !text.is_empty() && !text.ends_with('\n') {
        text += "\n(no line break)\n";
    }
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        writeln!(text, "{}", format!("2> {line}").trim_end()).unwrap();
    }
    match output.status.code() {
        Some(0) => text,
        code => text + &format!("[{}]\n", code.expect("an exit code")),
    }
}

/// The script `name` goes as it says, in an empty directory.
#[track_caller]
pub(crate) fn check(name: &str) {
    let project = Project::new("");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let script = std::fs::read_to_string(script).unwrap();
    let replayed = replay(&script, project.dir());
    if replayed != script {
        let went = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name.replace('/', "-"));
        std::fs::write(&went, &replayed).unwrap();
        let differs = script.lines().zip(replayed.lines()).position(|(said, went)| said != went);
        let line = differs.unwrap_or(script.lines().count().min(replayed.lines().count()));
        let at = |text: &str| text.lines().nth(line).unwrap_or("(the end)").to_owned();
        let (said, is) = (at(&script), at(&replayed));
        panic!("{name}:{}: expected\n{said}\ngot\n{is}\nall of it is in {}", line + 1, went.display());
    }
}
