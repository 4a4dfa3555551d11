//! A `rustc` that notes what each call costs: this program, in the real one's place.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, exit};
use std::{env, io, mem};

use crate::recipe::Recipe;

/// Names the file for the notes; set, this program is the compiler.
pub(crate) const LOG: &str = "LVH_BENCH_COMPILERS";
/// Names the real compiler.
const REAL: &str = "LVH_BENCH_RUSTC";

/// A call of the compiler.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    /// The package that it was for; empty: cargo asked for itself.
    pub(crate) package: String,
    /// `--crate-name`, or empty.
    pub(crate) name: String,
    /// User and system time, with the linker's, in seconds.
    pub(crate) cpu: f64,
}

/// Makes cargo, and the build scripts that it runs, call this program.
pub(crate) fn noting(recipe: Recipe, log: &Path) -> Result<Recipe, String> {
    let output =
        Command::new("rustc").args(["--print", "sysroot"]).output().map_err(|why| format!("`rustc`: {why}"))?;
    let real = Path::new(String::from_utf8_lossy(&output.stdout).trim()).join("bin/rustc");
    let this = env::current_exe().map_err(|why| why.to_string())?;
    Ok(recipe.env("RUSTC", this).env(LOG, log).env(REAL, real))
}

/// Is the compiler: runs the real one, and appends a line to `log`.
pub(crate) fn stand_in(log: &OsStr) -> ! {
    let real = env::var_os(REAL).unwrap_or_else(|| "rustc".into());
    let code = match Command::new(real).args(env::args_os().skip(1)).status() {
        Ok(status) => status.code().unwrap_or(1),
        Err(_) => 127,
    };
    // A call that is not noted counts as none of the compiler's.
    let _ = note(log);
    exit(code)
}

fn note(log: &OsStr) -> io::Result<()> {
    let package = env::var("CARGO_PKG_NAME").unwrap_or_default();
    let line = format!("{package}\t{}\t{:.3}\n", crate_name(env::args()), cpu_of_children());
    // One write to the end: several run at a time.
    OpenOptions::new().append(true).create(true).open(log)?.write_all(line.as_bytes())
}

fn crate_name(args: impl Iterator<Item = String>) -> String {
    args.skip_while(|arg| arg != "--crate-name").nth(1).unwrap_or_default()
}

fn cpu_of_children() -> f64 {
    // SAFETY: all zeroes is a valid rusage.
    let mut used: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: a pointer to a live variable.
    unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut used) };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(used.ru_utime) + seconds(used.ru_stime)
}

/// The calls that were noted.
pub(crate) fn calls(log: &str) -> Vec<Call> {
    log.lines().filter_map(call).collect()
}

fn call(line: &str) -> Option<Call> {
    let mut fields = line.split('\t').map(str::to_owned);
    let (package, name, cpu) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
    Some(Call { package, name, cpu })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_is_an_argument() {
        for (args, expected) in [
            ("rustc --crate-name lvh_core --edition=2024 src/lib.rs", "lvh_core"),
            ("rustc - --crate-name ___ --print=file-names", "___"),
            ("rustc -vV", ""),
            ("rustc --crate-name", ""),
        ] {
            assert_eq!(crate_name(args.split(' ').map(str::to_owned)), expected, "{args}");
        }
    }

    #[test]
    fn notes_are_read() {
        let call = |package: &str, name: &str, cpu| Call { package: package.into(), name: name.into(), cpu };
        let log = "\t___\t0.050\nlvh-core\tlvh_init\t1.500\nno note\nlibc\tlibc\tmuch\n";
        assert_eq!(calls(log), [call("", "___", 0.05), call("lvh-core", "lvh_init", 1.5)]);
    }
}
