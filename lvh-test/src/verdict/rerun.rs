//! The command that runs a failed test again, and no other.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::process::parent_id;
use std::path::Path;

use crate::job::Instance;
use crate::test_binary::{TestBinary, shell_word};

/// Cargo and nextest name the package; else the binary itself is the shortest way. What the user set for lvh belongs to the
/// command: it may choose the kernel.
pub(super) fn rerun_command(instance: &Instance) -> String {
    let program = match TestBinary::of_process().cargo_arguments() {
        Some(target) => format!("cargo test {target}{} --", how_built()),
        None => shell_word(&env::args_os().next().unwrap_or_default().to_string_lossy()),
    };
    let variables: String = settings(instance, env::vars_os())
        .iter()
        .map(|(name, value)| format!("{name}={} ", shell_word(value)))
        .collect();
    let ignored = if instance.ignore.is_some() { " --ignored" } else { "" };
    let name = instance.libtest.as_deref().unwrap_or(&instance.name);
    format!("{variables}{program}{ignored} --exact {}", shell_word(name))
}

/// lvh's variables as they must be. Rust's own harness has one test for all kernels of `lvh.toml`.
fn settings(instance: &Instance, variables: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<String, String> {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned()));
    // Another run would replace this one's report, and who runs it once more may want something else of it.
    let belongs =
        |name: &str| name.starts_with("LVH_") && !["LVH_JUNIT", "LVH_KEEP", "LVH_GDB", "LVH_VERBOSE"].contains(&name);
    let mut settings: BTreeMap<_, _> = variables.filter_map(text).filter(|(name, _)| belongs(name)).collect();
    let one_of_several = instance.libtest.as_ref().is_some_and(|name| *name != instance.name);
    if let Some(kernel) = instance.kernel.clone().filter(|_| one_of_several) {
        settings.insert("LVH_KERNELS".to_owned(), kernel);
    }
    settings
}

/// Features and profile, in cargo's words with a blank before each. No variable tells them: they are read from the command
/// line of the cargo that runs us, or the profile from where the binary lies.
fn how_built() -> String {
    let command_line = fs::read(format!("/proc/{}/cmdline", parent_id())).unwrap_or_default();
    let words: Vec<String> =
        command_line.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let program = Path::new(&words[0]).file_name().unwrap_or_default().to_string_lossy();
    if program.starts_with("cargo") {
        return flags(words.iter().skip(1).map(String::as_str), program.contains("nextest"));
    }
    profile_of(&env::current_exe().unwrap_or_default())
}

/// The flags that say what is built, of those that follow `cargo`.
fn flags<'a>(words: impl Iterator<Item = &'a str>, nextest: bool) -> String {
    // nextest has profiles of its own.
    let profile = if nextest { "--cargo-profile" } else { "--profile" };
    let valued = ["--features", "-F", "--target", "--target-dir", "--manifest-path", "--config", "-Z", profile];
    let alone = ["--all-features", "--no-default-features", "--release", "-r"];
    let mut words = words.take_while(|word| *word != "--");
    let mut text = String::new();
    while let Some(word) = words.next() {
        let (flag, joined) = word.split_once('=').map_or((word, None), |(flag, value)| (flag, Some(value)));
        if alone.contains(&word) {
            text += &format!(" {word}");
        } else if valued.contains(&flag) {
            let Some(value) = joined.or_else(|| words.next()) else { break };
            text += &format!(" {} {}", flag.replace("--cargo-", "--"), shell_word(value));
        }
    }
    text
}

/// The profile by the directory: `target/[TRIPLE/]PROFILE/{deps,examples}`.
fn profile_of(exe: &Path) -> String {
    match exe.ancestors().nth(2).and_then(Path::file_name).and_then(OsStr::to_str) {
        None | Some("debug") => String::new(),
        Some("release") => " --release".to_owned(),
        Some(profile) => format!(" --profile {}", shell_word(profile)),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::path::Path;

    use super::{flags, profile_of, rerun_command, settings};
    use crate::case::Options;
    use crate::job::examples::instance;

    /// `NAME=VALUE` of each, given what is set, and the name that Rust's own harness has for `t::6.1`.
    #[track_caller]
    fn check_settings(set: &[(&str, &str)], libtest: Option<&str>, expected: &[&str]) {
        let variables = set.iter().map(|&(name, value)| (name.into(), value.into()));
        let test = instance("t", "t::6.1", Some("6.1"), Options::DEFAULT);
        let settings = settings(&crate::job::Instance { libtest: libtest.map(str::to_owned), ..test }, variables);
        assert_eq!(settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_chose_the_kernel_is_carried() {
        let set = [("LVH_SHARE", "9p"), ("LVH_KEEP", "1"), ("LVH_KERNELS", "a b"), ("LVH_JUNIT", "j/"), ("HOME", "/")];
        check_settings(&set, None, &["LVH_KERNELS=a b", "LVH_SHARE=9p"]);
        check_settings(&set, Some("t"), &["LVH_KERNELS=6.1", "LVH_SHARE=9p"]);
        check_settings(&[], Some("t"), &["LVH_KERNELS=6.1"]);
        check_settings(&[], Some("t::6.1"), &[]);
    }

    #[test]
    fn a_variable_that_is_no_text_does_no_harm() {
        let odd = OsString::from_vec(vec![b'a', 0xff]);
        let variables = [(odd.clone(), odd.clone()), ("LVH_KERNELS".into(), odd)];
        let test = instance("t", "t", Some("6.1"), Options::DEFAULT);
        assert_eq!(settings(&test, variables.into_iter()).into_values().collect::<Vec<_>>(), ["a\u{fffd}"]);
    }

    #[test]
    fn ignored_tests_and_odd_names_are_asked_for() {
        let ignored = Options { ignore: Some("slow"), ..Options::DEFAULT };
        let command = rerun_command(&instance("t", "t::a b", Some("a b"), ignored));
        assert!(command.ends_with(" --ignored --exact 't::a b'"), "{command}");
        let raw = crate::job::Instance {
            libtest: Some("r#t".into()),
            ..instance("r#t", "r#t", Some("6.1"), Options::DEFAULT)
        };
        assert!(rerun_command(&raw).ends_with(" --exact 'r#t'"));
    }

    #[test]
    fn cargos_flags_that_build_are_kept() {
        let check = |line: &str, expected: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(flags(words.into_iter(), line.starts_with("nextest")), expected);
        };
        check("test", "");
        check("test -p maps --features a,b x -- --features c", " --features a,b");
        check("t -F a -F=b --all-features --no-fail-fast", " -F a -F b --all-features");
        check(
            "test --release --manifest-path=../m.toml --profile x",
            " --release --manifest-path ../m.toml --profile x",
        );
        check("nextest run --profile ci --cargo-profile fast -r", " --profile fast -r");
        check("test --features", "");
    }

    #[test]
    fn a_directory_tells_the_profile() {
        let check = |exe: &str, expected: &str| assert_eq!(profile_of(Path::new(exe)), expected, "{exe}");
        check("/t/target/debug/deps/it-0", "");
        check("/t/target/release/examples/demo-0", " --release");
        check("/t/target/x86_64-unknown-linux-musl/ci/deps/it-0", " --profile ci");
        check("/it", "");
    }
}
