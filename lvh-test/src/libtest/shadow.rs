//! What a shadow `#[test]` does on the host.

use std::any::Any;
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::panic;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::{at_exit, guest, service};
use crate::case::TestCase;
use crate::guest_mode::Launch;
use crate::job::{Instance, Outcome, TestResult, Verdict};
use crate::run::{HostRun, Target, expand_case};
use crate::settings::Setup;
use crate::test_binary::under_nextest;
use crate::verdict::{Refusal, judge};

/// Runs the test of the shadow at `path` (the crate's name first), at one place where the attribute names several: in the guest the function itself, on the host a guest that does.
///
/// # Panics
/// If the test fails.
pub fn run(path: &str, place: Option<&str>) {
    guest::run();
    check_once(path);
    let setup = SETUP.as_ref().unwrap_or_else(|refusal| {
        let text = refusal.lock().unwrap_or_else(PoisonError::into_inner).text(without_crate(path));
        show(&text);
        panic::resume_unwind(failed())
    });
    let mut instances = expand_case(case(path, place), &Target::of(setup));
    instances.retain(|instance| instance.kernel.is_none() || place.is_none_or(|place| instance.is_at(place)));
    let only = instances.len() == 1 && place.is_some();
    for instance in &mut instances {
        instance.libtest = Some(without_crate(path).to_owned());
        if only {
            without_crate(path).clone_into(&mut instance.name);
        }
    }
    if !run_all(instances, path, setup) {
        panic::resume_unwind(failed())
    }
}

/// Fails the second of two tests that are one: an attribute above ours has made a `#[test]` of the function too.
///
/// The compiler does not tell our attribute of it, and without Rust's harness the function would be dropped in silence.
fn check_once(path: &str) {
    static SEEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let is_first = SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    if !is_first {
        fail(
            "the test is there twice, because an attribute above `#[lvh::test]` adds `#[test]`. Remove that attribute; \
             for cases, use `#[rstest]` with `#[test_attr(lvh::test)]` below it",
        );
    }
}

/// libtest has one test for all kernels of `lvh.toml`: its instances run one after the other, and all must pass.
fn run_all(instances: Vec<Instance>, path: &str, setup: &'static Setup) -> bool {
    let several = instances.len() > 1;
    service::announce(&instances, setup, nocapture());
    let (mut failed, mut others) = (Vec::new(), Vec::new());
    for instance in instances {
        let outcome = run_instance(&instance, path, setup);
        let heading = (several && outcome.failed()).then(|| format!("\n---- {} ----\n", instance.name));
        show(&(heading.unwrap_or_default() + &outcome.block()));
        let list = if outcome.failed() { &mut failed } else { &mut others };
        list.push(instance.place.clone().unwrap_or_default());
        at_exit::keep(TestResult { index: 0, instance, outcome }, &setup.settings, nocapture());
    }
    if several && !failed.is_empty() {
        let others = if others.is_empty() { String::new() } else { format!(", and not on {}", others.join(", ")) };
        show(&format!("\nfailed on {}{others}\n", failed.join(", ")));
    }
    failed.is_empty()
}

/// The case behind a shadow. The shadows of several places stand in a module of the function's name.
fn case(path: &str, place: Option<&str>) -> &'static TestCase {
    let function = match place {
        Some(_) => path.rsplit_once("::").map_or(path, |(function, _)| function),
        None => path,
    };
    let is_it = |case: &&TestCase| function.strip_suffix(case.name) == Some(&format!("{}::", case.module));
    let case = inventory::iter::<TestCase>().find(is_it);
    case.expect("the attribute registers the test that it makes this call for")
}

/// The configuration, or why there is none.
static SETUP: LazyLock<Result<Setup, Mutex<Refusal>>> =
    LazyLock::new(|| Setup::of_process().map_err(|error| Mutex::new(Refusal::of(&error))));

fn run_instance(instance: &Instance, path: &str, setup: &'static Setup) -> Outcome {
    let outcome = match instance.kernel {
        None => judge(instance, HostRun::new(&setup.config, nocapture()).run(instance, &launch(path))),
        Some(_) => service::run(instance, launch(path), setup, nocapture()),
    };
    if let Some(remark) = &outcome.remark {
        let _ = writeln!(io::stderr(), "lvh: test {} {remark}", instance.name);
    }
    // libtest knows no test that skips itself: it passes, and the reason is shown past the capture.
    if let Verdict::Ignored { reason } = &outcome.verdict {
        let _ = writeln!(io::stderr(), "lvh: test {} skipped: {reason}", instance.name);
    }
    outcome
}

/// libtest shows it only for a test that fails. nextest has libtest capture nothing, and shows standard error last: there the
/// panic is.
#[expect(clippy::print_stdout, reason = "libtest captures what is printed")]
fn show(text: &str) {
    match under_nextest() {
        true => drop(io::stderr().write_all(text.as_bytes())),
        false => print!("{text}"),
    }
}

fn fail(why: &str) -> ! {
    show(&format!("failed: {why}\n"));
    panic::resume_unwind(failed())
}

/// Everything has been said; a panic of ours would add our own place in the source.
fn failed() -> Box<dyn Any + Send> {
    Box::new("the test failed")
}

/// The arguments that lead libtest in the guest to the one function.
fn launch(path: &str) -> Launch {
    let options = ["--exact", "--nocapture", "--include-ignored", "--test-threads=1", "--quiet"];
    Launch {
        arguments: std::iter::once(without_crate(path)).chain(options).map(OsString::from).collect(),
        libtest: true,
    }
}

fn without_crate(path: &str) -> &str {
    path.split_once("::").map_or(path, |(_, path)| path)
}

/// Whether what tests write is to be seen at once.
fn nocapture() -> bool {
    env::args_os().any(|argument| argument == "--nocapture" || argument == "--no-capture")
        || env::var_os("RUST_TEST_NOCAPTURE").is_some_and(|value| value != "0")
}
