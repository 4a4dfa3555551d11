//! Programs are started in a VM, on each kernel of `lvh.toml`.

use std::process::{self, Command};

use bpf_aya::Execs;

#[lvh::test]
fn a_program_is_seen_with_its_parent() {
    let mut execs = Execs::attach().unwrap();
    let mut child = Command::new("sleep").arg("0").spawn().unwrap();
    child.wait().unwrap();
    let exec = execs.find(|exec| exec.parent == process::id()).unwrap();
    assert_eq!((exec.pid, exec.command().as_str()), (child.id(), "sleep"));
}

#[lvh::test]
fn a_program_that_is_not_there_is_not_seen() {
    let mut execs = Execs::attach().unwrap();
    Command::new("/nonexistent").spawn().unwrap_err();
    assert!(execs.all(|exec| exec.parent != process::id()));
}
