//! Tests in images. `tests/images.rs` makes the images and runs these, on the host, and compares.

#![expect(clippy::print_stdout, reason = "the driver reads it")]

use std::process::Command;
use std::{env, fs};

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The program is what it is on the host, and starts itself; its children are the image's.
#[lvh::test(images = ["older", "same"])]
fn a_program_of_the_host_is_itself() {
    assert_eq!(read("/etc/os-release"), "ID=of-the-disk\n");
    assert!(read(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).contains("lvh-tests"));
    let exe = env::current_exe().unwrap();
    println!("exe={}", exe.display());
    assert!(output(Command::new(&exe).arg("--list")).contains("a_program_of_the_host_is_itself::6.12+older: test\n"));
    assert_eq!(output(Command::new("sh").args(["-c", "cat /etc/os-release"])), "ID=of-the-disk\n");
    assert!(env::vars().all(|(name, _)| !name.starts_with("LD_")));
    let maps = read("/proc/self/maps");
    let library = maps.lines().filter_map(|line| line.split(' ').next_back()).find(|path| path.ends_with("/libc.so.6"));
    println!("library={}", library.unwrap());
    // Names and lines come from the program's own file.
    println!("{}", std::backtrace::Backtrace::force_capture());
}

#[lvh::test(image = "older")]
fn fails() {
    panic!("on purpose");
}

#[lvh::test(image = "oldr")]
fn nobody_has_such_an_image() {}

lvh::main!();
