//! What the tests of this binary run on, for `lvh ci matrix` and `lvh prefetch`: a line of JSON for each test and place, in the file
//! that `LVH_PLACES` names, at the end of a process that lists its tests.
//!
//! Rust's own harness calls nothing of ours when it lists: before `main` we have the C library call us at the end.

use std::env;
use std::ffi::OsString;
use std::fmt::Write;
use std::fs;

use crate::case::TestCase;
use crate::job::Instance;
use crate::libtest_ui::json_text;
use crate::run::{Target, expand};
use crate::settings::Setup;

const VARIABLE: &str = "LVH_PLACES";

/// A function that is called before `main` (System V ABI, "Initialization and Termination Functions").
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = tell_at_the_end;

extern "C" fn tell_at_the_end() {
    if asked_for(env::var_os(VARIABLE), env::args_os()).is_some() {
        // SAFETY: a function that lives as long as the process.
        unsafe { libc::atexit(tell) };
    }
}

extern "C" fn tell() {
    if let Some(file) = asked_for(env::var_os(VARIABLE), env::args_os()) {
        // Who asked finds no file, and says so.
        let _ = fs::write(file, places());
    }
}

/// The file; none where tests run, which may list others.
fn asked_for(variable: Option<OsString>, mut arguments: impl Iterator<Item = OsString>) -> Option<OsString> {
    variable.filter(|file| !file.is_empty() && arguments.any(|argument| argument == "--list"))
}

fn places() -> String {
    match Setup::of_process() {
        Ok(setup) => expand(inventory::iter::<TestCase>(), &Target::of(&setup)).iter().map(line).collect(),
        Err(error) => format!("{{\"error\": \"{}\"}}\n", json_text(&error.report())),
    }
}

/// `name` is what our own harness calls it, `shadows` are what Rust's may, `path` is the case's.
fn line(instance: &Instance) -> String {
    let optional = |text: Option<&str>| text.map_or("null".to_owned(), |text| format!("\"{}\"", json_text(text)));
    let shadows: Vec<String> = instance.shadows().iter().map(|name| format!("\"{}\"", json_text(name))).collect();
    let mut line =
        format!("{{\"name\": \"{}\", \"path\": \"{}\"", json_text(&instance.name), json_text(&instance.path));
    let _ = write!(line, ", \"shadows\": [{}]", shadows.join(", "));
    let _ = write!(line, ", \"kernel\": {}", optional(instance.kernel.as_deref()));
    let _ = writeln!(line, ", \"image\": {}}}", optional(instance.vm.image.as_deref()));
    line
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{asked_for, line};
    use crate::case::Options;
    use crate::job::examples::instance;

    #[test]
    fn a_place_is_a_line() {
        let check = |kernel: Option<&str>, images: &'static [&'static str], expected: &str| {
            let instance = instance("m::t", "m::t::\"x", kernel, Options { images, ..Options::DEFAULT });
            assert_eq!(line(&instance), format!("{{\"name\": \"m::t::\\\"x\", \"path\": \"m::t\", {expected}}}\n"));
        };
        check(None, &[], r#""shadows": [], "kernel": null, "image": null"#);
        check(Some("6.12"), &[], r#""shadows": ["m::t::v6_12"], "kernel": "6.12", "image": null"#);
        let shadows = r#""shadows": ["m::t::mine_base", "m::t::on_base"]"#;
        check(Some("mine"), &["base"], &format!(r#"{shadows}, "kernel": "mine", "image": "base""#));
    }

    #[test]
    fn only_a_listing_tells() {
        let check = |file: Option<&str>, arguments: &[&str], expected: bool| {
            let arguments = arguments.iter().map(OsString::from);
            assert_eq!(asked_for(file.map(OsString::from), arguments).is_some(), expected);
        };
        check(Some("f"), &["t", "--list"], true);
        check(Some("f"), &["t", "--exact", "t"], false);
        check(Some(""), &["t", "--list"], false);
        check(None, &["t", "--list"], false);
    }
}
