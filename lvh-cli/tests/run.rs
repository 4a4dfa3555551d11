//! `lvh run`, in scripts: its flags, what it prints and its exit code.

#[expect(dead_code, reason = "scripts call `lvh` through a shell")]
mod project;
mod script;

#[test]
fn command_line() {
    script::check("run/command-line.txt");
}

#[test]
fn errors() {
    script::check("run/errors.txt");
}
