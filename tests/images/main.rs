//! Tests in images. `tests/images.rs` makes the images and runs these, on the host, and compares.

#![expect(clippy::print_stdout, reason = "the driver reads it")]

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream, ToSocketAddrs};
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
    assert_eq!(interfaces(), ["lo"]);
    assert!(env::vars().all(|(name, _)| !name.starts_with("LD_")));
    let maps = read("/proc/self/maps");
    let library = maps.lines().filter_map(|line| line.split(' ').next_back()).find(|path| path.ends_with("/libc.so.6"));
    println!("library={}", library.unwrap());
    // Names and lines come from the program's own file.
    println!("{}", std::backtrace::Backtrace::force_capture());
}

/// Interfaces that are there without being asked for, such as `sit0`, aside.
fn interfaces() -> Vec<String> {
    let all = fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut wanted: Vec<String> = all.filter(|name| name == "lo" || name.starts_with('e')).collect();
    wanted.sort();
    wanted
}

/// The driver listens on the host's loopback, and says which name the host can look up.
#[lvh::test(image = "older", network)]
fn reaches_the_host() {
    assert_eq!(interfaces(), ["eth0", "lo"]);
    assert_eq!(read("/etc/resolv.conf"), "nameserver 10.0.2.3\n");
    let port: u16 = env::var("LVH_TEST_PORT").unwrap().parse().unwrap();
    let mut said = String::new();
    TcpStream::connect((Ipv4Addr::new(10, 0, 2, 2), port)).unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "of the host\n");
    match env::var("LVH_TEST_NAME") {
        Ok(name) => assert!((name.as_str(), 80).to_socket_addrs().unwrap().next().is_some()),
        Err(_) => println!("names are not looked up: the host cannot either"),
    }
}

/// On a Debian with systemd.
#[lvh::test(image = "debian", init = "systemd")]
fn runs_beside_systemd() {
    assert_eq!(read("/proc/1/comm"), "systemd\n");
    assert_eq!(output(Command::new("systemctl").arg("is-system-running")), "running\n");
    output(Command::new("systemctl").args(["stop", "systemd-logind"]));
    println!("{}", read("/etc/os-release"));
}

#[lvh::test(image = "broken", init = "systemd")]
fn never_runs() {}

#[lvh::test(image = "older")]
fn fails() {
    panic!("on purpose");
}

#[lvh::test(image = "oldr")]
fn nobody_has_such_an_image() {}

lvh::main!();
