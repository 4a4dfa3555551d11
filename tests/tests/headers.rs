//! The headers of a kernel: a test builds a module, and loads it.

use std::fs;
use std::path::Path;
use std::process::Command;

const MODULE: &str = r#"
#include <linux/module.h>
static int __init hello(void) { pr_info("hello from a module of a test\n"); return 0; }
static void __exit goodbye(void) { }
module_init(hello);
module_exit(goodbye);
MODULE_LICENSE("GPL");
"#;

/// Runs a program that must succeed; what it printed.
#[track_caller]
fn succeed(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{program} {arguments:?}:\n{stdout}\n{stderr}");
    stdout
}

/// The first number of the compiler's version that built the kernel, Kconfig's `CONFIG_GCC_VERSION=120200`.
fn compiler_of(release: &str) -> String {
    let config = fs::read_to_string(format!("/boot/config-{release}")).unwrap();
    let version = config.lines().find_map(|line| line.strip_prefix("CONFIG_GCC_VERSION=")).unwrap();
    version[..version.len() - 4].to_owned()
}

#[lvh::test(kernels = ["6.1", "6.12"], headers)]
fn a_module_is_built_and_loaded() {
    let release = lvh::kernel_release().to_string();
    let build = format!("/lib/modules/{release}/build");
    let written = fs::read_to_string(format!("{build}/include/generated/utsrelease.h")).unwrap();
    assert!(written.contains(&format!("\"{release}\"")), "{written}");
    // Where the build files look for each other.
    assert!(Path::new(&format!("/usr/src/linux-headers-{release}/Makefile")).is_file());
    let (ours, theirs) = (succeed("gcc", &["-dumpversion"]), compiler_of(&release));
    if ours.trim().split('.').next() != Some(theirs.as_str()) {
        lvh::skip!("gcc {theirs} built the kernel, and this machine has gcc {}", ours.trim());
    }
    let dir = "/tmp/module";
    fs::create_dir(dir).unwrap();
    fs::write(format!("{dir}/hello.c"), MODULE).unwrap();
    fs::write(format!("{dir}/Makefile"), "obj-m := hello.o\n").unwrap();
    succeed("make", &["-C", &build, &format!("M={dir}"), "modules"]);
    succeed("insmod", &[&format!("{dir}/hello.ko")]);
    assert!(succeed("dmesg", &[]).contains("hello from a module of a test"));
    succeed("rmmod", &["hello"]);
}

#[lvh::test(kernel = "6.12")]
fn who_does_not_ask_has_none() {
    assert!(!Path::new(&format!("/lib/modules/{}/build", lvh::kernel_release())).exists());
}
