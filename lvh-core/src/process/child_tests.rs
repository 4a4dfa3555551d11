use std::fs;
use std::io::{PipeReader, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Instant;

use super::*;
use crate::process::Start;

const LONG: Duration = Duration::from_secs(20);

fn sh(script: &str) -> (Start, PipeReader) {
    let (reader, writer) = io::pipe().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdout(writer).stderr(Stdio::null());
    (Start::new(command), reader)
}

fn spawn(script: &str, limit: usize) -> Child {
    let (start, output) = sh(script);
    start.collect(output, limit).spawn().unwrap()
}

/// Waits until the child has written a line, a process id.
fn pid_told(child: &Child) -> String {
    let start = Instant::now();
    while !child.output_so_far(0).ends_with(b"\n") {
        assert!(start.elapsed() < LONG, "nothing was told");
        thread::sleep(Duration::from_millis(2));
    }
    String::from_utf8(child.output_so_far(0)).unwrap().trim().to_owned()
}

fn runs(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

fn wait_for_end(pid: &str) {
    let start = Instant::now();
    while runs(pid) {
        assert!(start.elapsed() < LONG, "process {pid} still runs");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn output_is_complete_when_the_end_is_told_and_no_more_than_the_limit() {
    for _ in 0..20 {
        let child = spawn("printf 12345678", 4);
        assert_eq!(child.wait(LONG).unwrap().unwrap().code(), Some(0));
        assert_eq!(child.output_so_far(0), b"1234");
    }
    let child = spawn("head -c 1000000 /dev/zero; exit 7", usize::MAX);
    assert_eq!(child.wait(LONG).unwrap().unwrap().code(), Some(7));
    assert_eq!(child.output(0, LONG).len(), 1_000_000);
}

#[test]
fn a_child_outlives_the_thread_that_asked_for_it() {
    let child = thread::spawn(|| spawn("sleep 0.1; echo alive", 100)).join().unwrap();
    assert_eq!(child.output(0, LONG), b"alive\n");
}

#[test]
fn a_dropped_child_is_killed_with_what_it_started() {
    let child = spawn("sleep 60 & echo $!; wait", 100);
    let grandchild = pid_told(&child);
    assert!(runs(&grandchild));
    drop(child);
    wait_for_end(&grandchild);
}

#[test]
fn what_a_child_leaves_behind_is_ended() {
    let child = spawn("sleep 60 & echo $!", 100);
    assert!(child.wait(LONG).unwrap().unwrap().success());
    wait_for_end(&pid_told(&child));
}

#[test]
fn who_left_the_group_keeps_nobody_waiting() {
    let child = spawn("setsid sleep 3 & echo ended", 100);
    child.wait(LONG).unwrap().unwrap();
    let start = Instant::now();
    assert_eq!(child.output(0, Duration::from_millis(50)), b"ended\n");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn the_end_is_asked_for_before_it_is_forced() {
    use std::os::unix::process::ExitStatusExt;
    let willing = spawn("trap 'exit 3' TERM; echo $$; while :; do sleep 0.01; done", 100);
    pid_told(&willing);
    assert_eq!(willing.end(LONG).unwrap().code(), Some(3));
    let stubborn = spawn("trap '' TERM; echo $$; while :; do sleep 0.01; done", 100);
    pid_told(&stubborn);
    assert_eq!(stubborn.end(Duration::from_millis(50)).unwrap().signal(), Some(9));
    assert_eq!(stubborn.end(Duration::ZERO).unwrap().signal(), Some(9), "it ends once");
}

#[test]
fn only_named_descriptors_are_inherited() {
    let ((named, mut to_named), (other, _to_other)) = (io::pipe().unwrap(), io::pipe().unwrap());
    to_named.write_all(b"word\n").unwrap();
    let (named_fd, other_fd) = (named.as_raw_fd(), other.as_raw_fd());
    let script = format!("read word < /dev/fd/{named_fd}; echo $word; test -e /dev/fd/{other_fd} || echo none");
    let (start, output) = sh(&script);
    let child = start.inherit([named_fd]).collect(output, 100).spawn().unwrap();
    assert_eq!(child.output(0, LONG), b"word\nnone\n");
}

#[test]
fn many_at_once_each_have_their_end() {
    let children: Vec<Child> = (0..32).map(|code| spawn(&format!("sleep 0.05; exit {code}"), 0)).collect();
    for (code, child) in children.iter().enumerate() {
        assert_eq!(child.wait(LONG).unwrap().unwrap().code(), Some(code as i32));
    }
}

#[test]
fn what_does_not_start_says_why() {
    let error = Start::new(Command::new("/no/such/program")).spawn().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
