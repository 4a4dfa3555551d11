//! Compiles `src/skb_trace.bpf.c` with clang, and makes its skeleton.

use std::env;
use std::path::Path;
use std::process::Command;

use libbpf_cargo::SkeletonBuilder;

const SOURCE: &str = "src/skb_trace.bpf.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    if let Err(error) = Command::new("clang").arg("--version").output() {
        fail(&format!("failed to run clang: {error}. To install it: apt install clang"));
    }
    let skeleton = Path::new(&env::var("OUT_DIR").unwrap()).join("skb_trace.skel.rs");
    // Debian keeps asm/types.h in a directory that clang searches for its own target only.
    let headers = format!("/usr/include/{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH").unwrap());
    SkeletonBuilder::new()
        .source(SOURCE)
        .clang_args(["-idirafter", &headers])
        .build_and_generate(skeleton)
        .unwrap_or_else(|error| fail(&format!("{error:#}")));
}

fn fail(why: &str) -> ! {
    for line in why.lines() {
        println!("cargo::error={line}");
    }
    std::process::exit(1)
}
