//! `lvh images`, in scripts: each command, what it prints and its exit code, all as the lvh that was written in Go had it.

#[expect(dead_code, reason = "scripts call `lvh` through a shell")]
mod project;
mod script;

#[test]
fn build() {
    script::check("images/build.txt");
}

#[test]
fn command_line() {
    script::check("images/command-line.txt");
}
