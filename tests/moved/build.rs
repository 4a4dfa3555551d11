//! Makes a file that a test looks for.

fn main() {
    let out = std::env::var_os("OUT_DIR").expect("cargo sets it");
    std::fs::write(std::path::Path::new(&out).join("made"), "by the build script").expect("it is ours");
    println!("cargo::rerun-if-changed=build.rs");
}
