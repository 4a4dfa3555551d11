//! `lvh kernels`, in scripts: each command, what it prints and its exit code, all as the lvh that was written in Go had it.

#[expect(dead_code, reason = "scripts call `lvh` through a shell")]
mod project;
mod script;

#[track_caller]
fn check(name: &str) {
    script::check(&format!("kernels/{name}"));
}

#[test]
fn command_line() {
    check("command-line.txt");
}

#[test]
fn init() {
    check("init.txt");
}

#[test]
fn add() {
    check("add.txt");
}

#[test]
fn files() {
    check("files.txt");
}

#[test]
fn remove() {
    check("remove.txt");
}

#[test]
fn work() {
    check("work.txt");
}
