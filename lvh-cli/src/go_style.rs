//! Command lines as scripts write them for the lvh that came before, which was written in Go.
//!
//! Its parser found a sub-command behind flags: `lvh kernels --dir D build K` is `lvh kernels build --dir D K`. A flag takes the
//! word after it, unless it holds a `=`; which flags need no value was not known before the sub-command was.

use std::ffi::{OsStr, OsString};

/// Commands that keep the rules of the Go tool, among them that every error's exit code is 1.
const COMMANDS: &[&str] = &["kernels", "images", "run", "version"];

/// Flags that have another name now: of which command, the old one, the new one.
const DEPRECATED: &[(&str, &str, &str)] = &[("run", "--qemu-disable-kvm", "--no-hw-accel")];

/// A command line, in the order that clap takes.
#[derive(Debug)]
pub(crate) struct CommandLine {
    pub(crate) args: Vec<OsString>,
    /// It is for one of the commands that keep the rules of the Go tool.
    pub(crate) go_style: bool,
    /// Lines that the user should see.
    pub(crate) notes: Vec<String>,
}

impl CommandLine {
    /// Reads `args`, which begin with the program's own name, for `root`.
    pub(crate) fn new(args: impl IntoIterator<Item = OsString>, root: &clap::Command) -> Self {
        let mut args: Vec<OsString> = args.into_iter().collect();
        let command = first_word(&args, 1).and_then(|at| Some((at, root.find_subcommand(&args[at])?)));
        let Some((at, command)) = command.filter(|(_, command)| COMMANDS.contains(&command.get_name())) else {
            return Self { args, go_style: false, notes: Vec::new() };
        };
        move_to(&mut args, at, 1);
        if command.has_subcommands() {
            with_sub_command(&mut args, command);
        }
        let notes = rename_deprecated(&mut args, command.get_name());
        Self { args, go_style: true, notes }
    }
}

/// A switch as Go has them: alone, or with a value behind `=`.
pub(crate) fn as_switch(arg: clap::Arg) -> clap::Arg {
    if !matches!(arg.get_action(), clap::ArgAction::SetTrue) {
        return arg;
    }
    let arg = if arg.get_default_values().is_empty() { arg.default_value("false") } else { arg };
    let arg = arg.action(clap::ArgAction::Set).num_args(0..=1).require_equals(true).value_name("BOOL");
    arg.default_missing_value("true").hide_default_value(true).value_parser(parse_bool)
}

/// Reads the value of a flag such as `--force=false`.
fn parse_bool(text: &str) -> std::result::Result<bool, &'static str> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false"),
    }
}

/// Writes new names for old ones.
fn rename_deprecated(args: &mut [OsString], command: &str) -> Vec<String> {
    let mut notes = Vec::new();
    for (_, old, new) in DEPRECATED.iter().filter(|(of, ..)| *of == command) {
        for arg in args.iter_mut().take_while(|arg| *arg != "--") {
            let value = arg.to_str().and_then(|arg| arg.strip_prefix(old));
            if let Some(value) = value.filter(|value| value.is_empty() || value.starts_with('=')) {
                *arg = format!("{new}{value}").into();
                notes.push(format!("Flag {old} has been deprecated, use {new}"));
            }
        }
    }
    notes
}

/// Moves the sub-command in front. Without one a flag is wrong, and words get help.
fn with_sub_command(args: &mut Vec<OsString>, command: &clap::Command) {
    let known = |word: &OsStr| word == "help" || command.find_subcommand(word).is_some();
    match first_word(args, 2).filter(|at| known(&args[*at])) {
        Some(at) => move_to(args, at, 2),
        None => {
            let flag = args[2..].iter().take_while(|arg| *arg != "--").find(|arg| is_flag(arg)).cloned();
            args.truncate(2);
            args.push(flag.unwrap_or_else(|| "--help".into()));
        }
    }
}

/// Where the first word is, from `start`, that is neither a flag nor a flag's value.
fn first_word(args: &[OsString], start: usize) -> Option<usize> {
    let mut at = start;
    while at < args.len() && args[at] != "--" {
        if !is_flag(&args[at]) && !args[at].is_empty() {
            return Some(at);
        }
        at += if takes_next(&args[at]) { 2 } else { 1 };
    }
    None
}

fn is_flag(arg: &OsStr) -> bool {
    arg.as_encoded_bytes().starts_with(b"-")
}

/// `--dir` and `-d` do, `--dir=D` and `-dD` hold their value.
fn takes_next(arg: &OsStr) -> bool {
    let arg = arg.as_encoded_bytes();
    !arg.contains(&b'=') && (arg.starts_with(b"--") || arg.len() == 2 && arg.starts_with(b"-"))
}

fn move_to(args: &mut Vec<OsString>, from: usize, to: usize) {
    let word = args.remove(from);
    args.insert(to, word);
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// `expected` begins with `1` where errors exit with 1.
    fn check(line: &str, expected: &str) {
        let args = line.split(' ').filter(|word| !word.is_empty()).map(OsString::from);
        let line = CommandLine::new(args, &crate::Cli::command());
        let words: Vec<&str> = line.args.iter().map(|arg| arg.to_str().unwrap()).collect();
        assert_eq!(format!("{} {}", if line.go_style { 1 } else { 2 }, words.join(" ")), expected);
    }

    #[test]
    fn the_sub_command_comes_first() {
        check("lvh kernels build --dir D K", "1 lvh kernels build --dir D K");
        check("lvh kernels --dir D build K", "1 lvh kernels build --dir D K");
        check("lvh kernels --dir=D build K", "1 lvh kernels build --dir=D K");
        check("lvh kernels -d D pull T", "1 lvh kernels pull -d D T");
        check("lvh kernels -dD pull T", "1 lvh kernels pull -dD T");
        check("lvh kernels --dir build build K", "1 lvh kernels build --dir build K");
        check("lvh kernels --dir D --arch arm64 build K", "1 lvh kernels build --dir D --arch arm64 K");
        check("lvh --dir D kernels build K", "1 lvh kernels build --dir D K");
        check("lvh --dir D k --arch amd64 build K", "1 lvh k build --dir D --arch amd64 K");
        check("lvh images --dir D build --image I", "1 lvh images build --dir D --image I");
        check("lvh kernel pull T -- --dir", "1 lvh kernel pull T -- --dir");
    }

    #[test]
    fn old_names_of_flags_are_taken() {
        check("lvh run --image I", "1 lvh run --image I");
        check("lvh --image I run foo", "1 lvh run --image I foo");
        check("lvh run --qemu-disable-kvm --image I", "1 lvh run --no-hw-accel --image I");
        check("lvh run --qemu-disable-kvm=false", "1 lvh run --no-hw-accel=false");
        check("lvh run --qemu-disable-kvms", "1 lvh run --qemu-disable-kvms");
        check("lvh kernels list --qemu-disable-kvm", "1 lvh kernels list --qemu-disable-kvm");
        let line = ["lvh", "run", "--qemu-disable-kvm"].map(OsString::from);
        let notes = CommandLine::new(line, &crate::Cli::command()).notes;
        assert_eq!(notes, ["Flag --qemu-disable-kvm has been deprecated, use --no-hw-accel"]);
    }

    #[test]
    fn without_a_sub_command_there_is_help() {
        check("lvh kernels", "1 lvh kernels --help");
        check("lvh kernels nosuch", "1 lvh kernels --help");
        check("lvh kernels nosuch x", "1 lvh kernels --help");
        check("lvh kernels help build", "1 lvh kernels help build");
        check("lvh kernels -h list", "1 lvh kernels -h");
        check("lvh kernels -- list", "1 lvh kernels --help");
        check("lvh kernels --dir", "1 lvh kernels --dir");
        check("lvh kernels nosuch --dir D", "1 lvh kernels --dir");
        // A flag that needs no value takes the sub-command for one.
        check("lvh kernels --force init --dir D", "1 lvh kernels --force");
    }

    #[test]
    fn other_commands_are_left_alone() {
        check("lvh", "2 lvh");
        check("lvh nosuch kernels", "2 lvh nosuch kernels");
        check("lvh --help kernels list", "2 lvh --help kernels list");
        check("lvh exec --kernel k -- kernels", "2 lvh exec --kernel k -- kernels");
        check("lvh -- kernels", "2 lvh -- kernels");
        check("lvh version --x", "1 lvh version --x");
    }

    #[test]
    fn flags_are_true_or_false() {
        for (text, expected) in [("1", Ok(true)), ("t", Ok(true)), ("FALSE", Ok(false)), ("F", Ok(false))] {
            assert_eq!(parse_bool(text), expected, "{text}");
        }
        for text in ["", "yes", "tRUE", "2"] {
            assert!(parse_bool(text).is_err(), "{text}");
        }
    }
}
