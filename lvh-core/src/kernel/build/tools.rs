//! What must be installed to build a kernel.

use std::path::Path;

use super::BuildSpec;
use super::target::Target;
use crate::kernel::KernelConfig;
use crate::kernel::options::{KernelOption, Setting};
use crate::process::install::Family;
use crate::process::{self, Tool};
use crate::{Arch, Error, ErrorKind, Result};

/// A program or header, and the Debian package that brings it.
struct Need {
    thing: String,
    package: &'static str,
    there: bool,
}

/// Looks for what [`build`](super::build) needs whatever the configuration turns out to be: before a source is fetched, which takes long.
///
/// # Errors
/// Programs and headers that are missing, all at once; the hint names the packages that bring them.
pub fn check_tools(spec: &BuildSpec) -> Result<()> {
    refuse(for_configuring(spec).into_iter().chain(for_building(spec)).collect(), Family::of_machine(Path::new("/")))
}

/// As [`check_tools`], for [`configure`](super::configure).
///
/// # Errors
/// As [`check_tools`].
pub fn check_for_configuring(spec: &BuildSpec) -> Result<()> {
    refuse(for_configuring(spec), Family::of_machine(Path::new("/")))
}

/// What the build of a kernel with `config` needs beside.
pub(super) fn check_for_building(spec: &BuildSpec, config: &KernelConfig) -> Result<()> {
    let mut needs = compilers(spec);
    needs.push(program("make", "make"));
    needs.extend(for_building(spec));
    // certs/extract-cert and scripts/sign-file.
    if ["SYSTEM_TRUSTED_KEYRING", "MODULE_SIG_FORMAT"].iter().any(|option| config.is_on(option)) {
        needs.push(header("openssl/opensslv.h", "libssl-dev"));
        needs.push(program("openssl", "openssl"));
    }
    let with_program = [
        ("MODULES", "depmod", "kmod"),
        ("DEBUG_INFO_BTF", "pahole", "dwarves"),
        ("IKHEADERS", "cpio", "cpio"),
        ("KERNEL_XZ", "xz", "xz-utils"),
        ("KERNEL_ZSTD", "zstd", "zstd"),
        ("KERNEL_LZ4", "lz4", "lz4"),
    ];
    needs.extend(
        with_program.iter().filter(|(option, ..)| config.is_on(option)).map(|(_, name, from)| program(name, from)),
    );
    refuse(needs, Family::of_machine(Path::new("/")))
}

/// Among it `pahole` where BTF is asked for: a kernel would come out without.
fn for_configuring(spec: &BuildSpec) -> Vec<Need> {
    let mut needs = compilers(spec);
    needs.extend([program("make", "make"), program("flex", "flex"), program("bison", "bison")]);
    needs.push(header("stdio.h", "libc6-dev"));
    if wants_btf(&spec.options) {
        needs.push(program("pahole", "dwarves"));
    }
    needs
}

fn for_building(spec: &BuildSpec) -> Vec<Need> {
    let mut needs = vec![program("bc", "bc"), program("ld", "binutils"), program("tar", "tar")];
    if spec.arch == Arch::X86_64 {
        needs.push(header("gelf.h", "libelf-dev"));
    }
    needs
}

/// The first line of what the compiler says of itself.
pub(super) fn compiler_version(spec: &BuildSpec) -> Result<String> {
    let words = compiler(spec);
    let mut words = words.split_whitespace();
    let name = words.next().unwrap_or("gcc");
    let text = Tool::new(name, Target::of(spec.arch).gcc_package())?.args(words).args(["--version"]).run()?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Whether the user chose a compiler, which then has no ccache put before it.
pub(super) fn names_compiler(spec: &BuildSpec) -> bool {
    let in_args = spec.make_args.iter().any(|arg| arg.starts_with("CC=") || arg.starts_with("LLVM="));
    in_args || std::env::var_os("LLVM").is_some()
}

fn compiler(spec: &BuildSpec) -> String {
    let from_args = |name: &str| spec.make_args.iter().rev().find_map(|arg| arg.strip_prefix(name)).map(str::to_owned);
    let llvm = from_args("LLVM=").or_else(|| std::env::var("LLVM").ok()).map(|llvm| match llvm {
        suffix if suffix.starts_with('-') => format!("clang{suffix}"),
        prefix if prefix.ends_with('/') => format!("{prefix}clang"),
        _ => "clang".to_owned(),
    });
    from_args("CC=").or(llvm).unwrap_or_else(|| Target::of(spec.arch).gcc())
}

fn compilers(spec: &BuildSpec) -> Vec<Need> {
    let cc = compiler(spec);
    let name = cc.split_whitespace().next().unwrap_or("gcc");
    let package = if name.contains("clang") { "clang" } else { Target::of(spec.arch).gcc_package() };
    // Programs that run during the build are compiled for this machine.
    vec![program("gcc", "gcc"), program(name, package)]
}

fn program(name: &str, package: &'static str) -> Need {
    let there = if name.contains('/') { Path::new(name).is_file() } else { process::find(name).is_some() };
    Need { thing: format!("`{name}`"), package, there }
}

/// Asks the compiler of this machine, which knows where headers are.
fn header(name: &str, package: &'static str) -> Need {
    let asked =
        Tool::new("gcc", "gcc").and_then(|gcc| gcc.args(["-E", "-include", name, "-x", "c", "/dev/null"]).run());
    Need { thing: format!("the header `{name}`"), package, there: asked.is_ok() }
}

fn wants_btf(options: &[KernelOption]) -> bool {
    let last = options.iter().rev().find(|option| option.symbol == "DEBUG_INFO_BTF");
    last.is_some_and(|option| option.setting == Setting::Yes)
}

/// One error for all that lacks.
fn refuse(needs: Vec<Need>, family: Family) -> Result<()> {
    let lacks: Vec<Need> = needs.into_iter().filter(|need| !need.there).collect();
    if lacks.is_empty() {
        return Ok(());
    }
    let mut things: Vec<&str> = lacks.iter().map(|need| need.thing.as_str()).collect();
    things.dedup();
    let mut packages: Vec<&str> = Vec::new();
    lacks.iter().for_each(|need| {
        if !packages.contains(&need.package) {
            packages.push(need.package)
        }
    });
    let hint = match family {
        Family::Debian => format!("sudo apt install {}", packages.join(" ")),
        _ => format!("install what Debian calls {}", packages.join(", ")),
    };
    let message = format!("to build kernels, this machine lacks {}", things.join(", "));
    Err(Error::new(ErrorKind::Missing, message).with_hint(hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_lacks_is_one_error() {
        let need = |thing: &str, package, there| Need { thing: thing.to_owned(), package, there };
        let needs =
            || vec![need("`flex`", "flex", false), need("`gcc`", "gcc", true), need("`gelf.h`", "libelf-dev", false)];
        let error = refuse(needs(), Family::Debian).unwrap_err();
        assert_eq!(error.to_string(), "to build kernels, this machine lacks `flex`, `gelf.h`");
        assert_eq!(error.hint(), Some("sudo apt install flex libelf-dev"));
        let error = refuse(needs(), Family::Fedora).unwrap_err();
        assert_eq!(error.hint(), Some("install what Debian calls flex, libelf-dev"));
        assert!(refuse(vec![need("`gcc`", "gcc", true)], Family::Debian).is_ok());
    }

    #[test]
    fn the_compiler_is_the_one_that_make_takes() {
        let check = |args: &[&str], expected: &str| {
            let make_args = args.iter().map(ToString::to_string).collect();
            assert_eq!(compiler(&BuildSpec { make_args, ..BuildSpec::default() }), expected, "{args:?}");
        };
        check(&[], "gcc");
        check(&["CC=gcc-13 -m64"], "gcc-13 -m64");
        check(&["LLVM=1"], "clang");
        check(&["LLVM=-19"], "clang-19");
        check(&["LLVM=/opt/llvm/bin/"], "/opt/llvm/bin/clang");
    }

    #[test]
    fn btf_is_wanted_where_its_last_setting_says_so() {
        let check = |entry: &[&str], expected| {
            assert_eq!(wants_btf(&KernelOption::parse_entry(entry).unwrap()), expected, "{entry:?}");
        };
        check(&["-e", "DEBUG_INFO_BTF"], true);
        check(&["-e", "DEBUG_INFO_BTF", "-d", "DEBUG_INFO_BTF"], false);
        check(&["-e", "BPF"], false);
    }
}
