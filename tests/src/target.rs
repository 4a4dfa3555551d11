//! Test targets that other tests build and run, because they fail on purpose.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::{env, fs};

/// A built test target of this package that `cargo test` leaves alone.
#[derive(Debug)]
pub struct TestTarget {
    executable: PathBuf,
}

/// What a run left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The exit code.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl TestTarget {
    /// Builds the target called `name`.
    ///
    /// # Panics
    /// If it does not build.
    pub fn build(name: &str) -> Self {
        Self { executable: built(&["test", "--no-run", "--test", name], name) }
    }

    /// The same program in the target directory `name` of its own, below `parent`: what it leaves there no other run replaces.
    ///
    /// # Panics
    /// If that cannot be made.
    pub fn apart(&self, parent: &Path, name: &str) -> Self {
        let target = empty_directory(parent, name);
        let deps = target.join("debug/deps");
        fs::create_dir_all(&deps).expect("a new directory can be written to");
        // By that it is known as a target directory.
        fs::create_dir(target.join("tmp")).expect("a new directory can be written to");
        let executable = deps.join(self.executable.file_name().expect("cargo names a file"));
        fs::hard_link(&self.executable, &executable).expect("both are in cargo's target directory");
        Self { executable }
    }

    /// The built program.
    pub fn executable(&self) -> &Path {
        &self.executable
    }

    /// The target as a command: in this package's directory, without what the surrounding test run has set.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.executable);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null()).env("RUST_BACKTRACE", "0");
        // How many VMs there were is counted by what is told of each.
        command.env("LVH_VERBOSE", "1");
        for variable in ["NEXTEST", "LVH_MODE", "RUST_TEST_THREADS", "RUST_TEST_NOCAPTURE", "CARGO_PKG_NAME"] {
            command.env_remove(variable);
        }
        without_reports(&mut command);
        command
    }

    /// Runs the target with `arguments`.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Finished {
        Finished::of(self.command().args(arguments))
    }
}

impl Finished {
    /// Runs `command` to its end.
    ///
    /// # Panics
    /// If it does not start.
    pub fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }
}

/// The command `lvh`, built.
///
/// # Panics
/// If it does not build.
pub fn lvh() -> Command {
    static LVH: LazyLock<PathBuf> = LazyLock::new(|| built(&["build", "--package", "lvh-cli"], "lvh"));
    let mut command = Command::new(&*LVH);
    command.env("LVH_VERBOSE", "1");
    command
}

/// The executable of the target `name`, which cargo builds with `arguments`.
fn built(arguments: &[&str], name: &str) -> PathBuf {
    let mut command = cargo();
    command.args(arguments).args(["--offline", "--message-format=json"]).stderr(Stdio::inherit());
    let output = command.output().expect("cargo starts");
    assert!(output.status.success(), "`{name}` does not build");
    let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let executable = messages.lines().find_map(|line| executable_of(line, name));
    executable.expect("cargo names the executable")
}

/// Cargo, in this package.
pub fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env("LVH_VERBOSE", "1");
    // What cargo set for this test is no concern of the build: ring's build script runs again where it changes, and all that uses it
    // is compiled anew.
    let of_package = |name: &OsStr| name.as_encoded_bytes().starts_with(b"CARGO_PKG_") || name == "CARGO_MANIFEST_DIR";
    for (name, _) in env::vars_os().filter(|(name, _)| of_package(name)) {
        command.env_remove(name);
    }
    without_reports(&mut command);
    command
}

/// The program that `cargo nextest` is.
///
/// # Panics
/// If it is not installed.
pub fn nextest() -> PathBuf {
    let home = cargo_home();
    let path = env::var_os("PATH").expect("there is a PATH");
    let mut places = env::split_paths(&path).chain([home.join("bin")]).map(|dir| dir.join("cargo-nextest"));
    let found = places.find(|program| program.is_file());
    let found = found.expect("cargo-nextest is installed (cargo install --locked cargo-nextest)");
    found.canonicalize().expect("it was just there")
}

/// Where cargo keeps what is its own.
///
/// # Panics
/// If there is no `HOME`.
pub fn cargo_home() -> PathBuf {
    let default = || Path::new(&env::var_os("HOME").expect("there is a HOME")).join(".cargo");
    env::var_os("CARGO_HOME").map_or_else(default, PathBuf::from)
}

/// What fails on purpose belongs in no report of the surrounding run.
fn without_reports(command: &mut Command) {
    for variable in ["LVH_JUNIT", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"] {
        command.env_remove(variable);
    }
}

/// A directory for one test, empty.
///
/// # Panics
/// If it cannot be made.
pub fn empty_directory(parent: &Path, name: &str) -> PathBuf {
    let directory = parent.join(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("the directory can be made");
    directory
}

/// The executable in one of cargo's JSON messages, if it is the one of target `name`.
fn executable_of(message: &str, name: &str) -> Option<PathBuf> {
    let (_, rest) = message.split_once("\"executable\":\"")?;
    let of_target = message.contains(&format!("\"name\":\"{name}\""));
    of_target.then(|| rest.split('"').next().map(PathBuf::from))?
}
