//! Compiles `src/execs.bpf.c` with clang.

use std::env;
use std::path::Path;
use std::process::Command;

const SOURCE: &str = "src/execs.bpf.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let object = Path::new(&env::var("OUT_DIR").unwrap()).join("execs.bpf.o");
    // Debian keeps asm/types.h in a directory that clang searches for its own target only.
    let headers = format!("/usr/include/{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH").unwrap());
    let clang = Command::new("clang")
        .args(["-target", "bpf", "-g", "-O2", "-fno-stack-protector", "-idirafter", &headers])
        .args(["-c", SOURCE, "-o"])
        .arg(object)
        .status();
    match clang {
        Ok(status) if status.success() => {}
        Ok(_) => fail("clang failed; its words are below. If it misses a header: apt install libbpf-dev"),
        Err(error) => fail(&format!("failed to run clang: {error}. To install it: apt install clang libbpf-dev")),
    }
}

fn fail(why: &str) -> ! {
    println!("cargo::error={why}");
    std::process::exit(1)
}
