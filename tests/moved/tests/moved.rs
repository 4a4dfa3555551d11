//! Tests that are built on one machine and run on another: by paths of the first, which the compiler put here, and by those that
//! cargo-nextest tells.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

#[lvh::test]
fn the_sources_are_found() {
    assert_eq!(text("tests/fixture"), "beside the sources\n");
    assert_eq!(text(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixture")), "beside the sources\n");
    assert_eq!(env::var("CARGO_MANIFEST_DIR").map_or(1, |dir| text(dir + "/tests/fixture").lines().count()), 1);
}

#[lvh::test]
fn what_was_built_is_found() {
    let output = |program: &str| Command::new(program).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    for program in [env!("CARGO_BIN_EXE_moved-tool"), &variable("NEXTEST_BIN_EXE_moved-tool")] {
        assert_eq!(output(program).stdout, b"a program of the package\n");
    }
    for out in [env!("OUT_DIR"), &variable("OUT_DIR")] {
        assert_eq!(text(Path::new(out).join("made")), "by the build script");
    }
    fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/scratch"), lvh::kernel_release()).unwrap();
}

#[lvh::test(kernel = "only-in-lvh-toml")]
fn the_configuration_is_found() {}

lvh::main!();
