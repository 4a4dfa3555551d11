//! Builds lvh-init, the guest's PID 1, with one call of rustc: it depends on nothing but `std`, and the user's
//! RUSTFLAGS do not apply to it.
//!
//! Tried in this order: the musl target where it is installed (0.5 MB); a static glibc (1.5 MB; Debian and Ubuntu have
//! `libc.a`); a dynamic binary, whose loader and libraries the initramfs then carries.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn main() {
    println!("cargo::rerun-if-changed=init");
    println!("cargo::rerun-if-changed=src/guest/protocol.rs");
    println!("cargo::rerun-if-changed=src/guest/wire.rs");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        panic!("lvh-core runs on Linux only; for {target} there is no guest to build for");
    }
    for arch in ARCHS {
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join(format!("lvh-init-{arch}"));
        let linking = match target.starts_with(arch) {
            true => build(attempts(&target), &out).unwrap_or_else(|why| panic!("failed to build lvh-init:\n{why}")),
            // Without it no VM of that architecture starts, and says so.
            false => build(foreign_attempts(arch), &out).unwrap_or("absent"),
        };
        if linking == "absent" {
            fs::write(&out, "").expect("OUT_DIR can be written to");
        }
        let name = arch.to_uppercase();
        println!("cargo::rustc-env=LVH_INIT_{name}={}", out.display());
        println!("cargo::rustc-env=LVH_INIT_{name}_LINKING={linking}");
        println!("cargo::rustc-env=LVH_INIT_{name}_DIGEST={:016x}", digest(&out));
    }
}

/// The architectures that lvh knows: `lvh_core::Arch`.
const ARCHS: [&str; 2] = ["x86_64", "aarch64"];

/// How it is linked, for which target, with which options.
type Attempt = (&'static str, String, &'static [&'static str]);

/// Compiles by the first attempt that works: how it is linked, or what the compiler said of each.
fn build(attempts: Vec<Attempt>, out: &Path) -> Result<&'static str, String> {
    let mut complaints = String::new();
    for (name, target, flags) in attempts {
        let result = compile(&target, flags, out);
        if result.status.success() {
            return Ok(name);
        }
        complaints.push_str(&format!("{name} for {target}:\n{}\n", String::from_utf8_lossy(&result.stderr)));
    }
    Err(complaints)
}

fn attempts(target: &str) -> Vec<Attempt> {
    let musl = target.replace("-gnu", "-musl");
    let mut attempts = Vec::new();
    if has_std(&musl) {
        attempts.push(("static", musl, ["-Ctarget-feature=+crt-static"].as_slice()));
    }
    attempts.push(("static", target.to_owned(), ["-Ctarget-feature=+crt-static"].as_slice()));
    attempts.push(("dynamic", target.to_owned(), [].as_slice()));
    attempts
}

/// Another architecture's needs that target of the toolchain, and no compiler of C: Rust's linker has all of musl.
/// Tests, which run on their machine's architecture, do not pay for it.
fn foreign_attempts(arch: &str) -> Vec<Attempt> {
    if env::var_os("CARGO_FEATURE_FOREIGN").is_none() {
        return Vec::new();
    }
    let musl = format!("{arch}-unknown-linux-musl");
    let flags = ["-Ctarget-feature=+crt-static", "-Clinker=rust-lld", "-Clink-self-contained=yes"].as_slice();
    if has_std(&musl) { vec![("static", musl, flags)] } else { Vec::new() }
}

/// Whether the toolchain can compile for `target`: asking is cheaper than a failed build.
fn has_std(target: &str) -> bool {
    let output = run(rustc().args(["--print", "target-libdir", "--target", target]));
    output.status.success() && Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir()
}

fn compile(target: &str, flags: &[&str], out: &Path) -> Output {
    let mut command = rustc();
    command.args(["--edition", "2024", "--crate-name", "lvh_init", "--target", target]);
    // Optimising across the parts of it would take a third longer, and makes nothing faster.
    command.args(["-Copt-level=s", "-Clto=off", "-Cpanic=abort", "-Cstrip=symbols"]).args(flags);
    run(command.arg("-o").arg(out).arg("init/main.rs"))
}

/// Tells one lvh-init from another in the names of cached files; that is all it is for.
fn digest(file: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&fs::read(file).expect("rustc has just written it"));
    hasher.finish()
}

fn rustc() -> Command {
    Command::new(env::var_os("RUSTC").expect("cargo sets RUSTC"))
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("failed to run {command:?}: {error}"))
}
