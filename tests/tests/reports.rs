//! What a run leaves for other programs, as they meet it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex, PoisonError};

use lvh_tests::{Finished, TestTarget, cargo, empty_directory, lvh};
use roxmltree::{Document, Node};

static ENDINGS: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("endings"));

fn directory(name: &str) -> PathBuf {
    empty_directory(Path::new(env!("CARGO_TARGET_TMPDIR")), name)
}

/// Held by who needs the logs of `IN_VMS`, which its next run replaces.
static LOGS: Mutex<()> = Mutex::new(());

static IN_VMS: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("in_vms"));

/// These tests of the fixture, on the host.
fn endings(names: &[&str]) -> Command {
    let mut command = ENDINGS.command();
    command.arg("--exact").args(names).env("LVH_MODE", "host").env_remove("CARGO");
    command
}

fn elements<'d>(document: &'d Document<'_>, tag: &str) -> Vec<Node<'d, 'd>> {
    document.descendants().filter(|node| node.has_tag_name(tag)).collect()
}

#[track_caller]
fn check_attributes(node: &Node<'_, '_>, expected: &[(&str, &str)]) {
    for (name, value) in expected {
        assert_eq!(node.attribute(*name), Some(*value), "{name} of {node:?}");
    }
}

#[test]
fn junit_says_what_the_terminal_says() {
    let directory = directory("junit");
    let mut command = endings(&["passes", "skips", "fails_in_colour", "segfaults"]);
    let Finished { code, stdout, stderr } = Finished::of(command.env("LVH_JUNIT", directory.join("new/")));
    assert_eq!((code, stderr.as_str()), (Some(101), ""));
    let text = fs::read_to_string(directory.join("new/TEST-endings.xml")).unwrap();
    let document = Document::parse(&text).unwrap();
    let suites = elements(&document, "testsuite");
    check_attributes(&suites[0], &[("name", "endings"), ("tests", "4"), ("failures", "2"), ("skipped", "1")]);
    let names: Vec<_> = elements(&document, "testcase").iter().filter_map(|case| case.attribute("name")).collect();
    assert_eq!((suites.len(), names), (1, vec!["fails_in_colour", "passes", "segfaults", "skips"]));
    check_attributes(&elements(&document, "skipped")[0], &[("message", "for 2 reasons")]);
    let failures = elements(&document, "failure");
    check_attributes(&failures[0], &[("message", "is \"this\"\nit?")]);
    check_attributes(&failures[1], &[("message", "killed by SIGSEGV")]);
    for failure in failures {
        let block = failure.text().unwrap();
        let shown = stdout.replace(['\0', '\x1b'], "\u{fffd}");
        assert!(shown.contains(&format!(" stdout ----\n{block}\n")), "{block}\n{shown}");
    }
    let output = elements(&document, "system-out");
    assert_eq!(output.len(), 1, "only one failed test wrote anything");
    assert!(output[0].text().unwrap().starts_with("\u{fffd}[31m<red> & ]]>\u{fffd}\n"), "{output:?}");
    assert_eq!(fs::read_dir(directory.join("new")).unwrap().count(), 1, "nothing temporary is left");
}

#[test]
fn junit_of_a_run_that_was_cut_short() {
    let file = directory("junit_cut").join("junit.xml");
    let mut command = endings(&["exits_with_three", "passes", "segfaults", "skips"]);
    command.args(["--test-threads=1", "--fail-fast"]).env("LVH_JUNIT", &file);
    assert_eq!(Finished::of(&mut command).code, Some(101));
    let text = fs::read_to_string(&file).unwrap();
    let document = Document::parse(&text).unwrap();
    check_attributes(&elements(&document, "testsuite")[0], &[("tests", "1"), ("failures", "1")]);
    check_attributes(&elements(&document, "testcase")[0], &[("name", "exits_with_three")]);
}

#[test]
fn a_file_holds_the_binaries_of_one_cargo_run() {
    let file = directory("junit_cargo").join("junit.xml");
    let suites = |targets: &[&str], filter: &str| {
        let targets = targets.iter().map(|name| format!("--test={name}"));
        let mut command = cargo();
        command.args(["test", "--offline", "--no-fail-fast"]).args(targets).args(["--", filter]);
        command.env("LVH_MODE", "host").env("LVH_JUNIT", &file).env_remove("NEXTEST");
        let Finished { stdout, stderr, .. } = Finished::of(&mut command);
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{error}\n{stdout}\n{stderr}"));
        let document = Document::parse(&text).unwrap();
        let suites = elements(&document, "testsuite");
        suites.iter().map(|suite| suite.attribute("name").unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(suites(&["endings", "parity_lvh"], "passes"), ["lvh-tests::endings", "lvh-tests::parity_lvh"]);
    assert_eq!(suites(&["endings"], "passes"), ["lvh-tests::endings"]);
}

#[test]
fn a_report_that_cannot_be_written_fails_the_run() {
    let file = directory("junit_blocked").join("file");
    fs::write(&file, "").unwrap();
    let path = file.join("junit.xml");
    let Finished { code, stdout, stderr } = Finished::of(endings(&["passes"]).env("LVH_JUNIT", &path));
    assert_eq!(code, Some(101), "{stdout}");
    let error = format!("error: failed to write the JUnit report `{}`: ", path.display());
    assert!(stderr.starts_with(&error) && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn nextest_has_a_report_of_its_own() {
    let file = directory("junit_nextest").join("junit.xml");
    let mut command = endings(&["passes"]);
    let Finished { code, stderr, .. } = Finished::of(command.env("NEXTEST", "1").env("LVH_JUNIT", &file));
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(!file.exists());
}

#[test]
fn under_nextest_a_directory_gets_a_file_per_test() {
    let directory = directory("junit_nextest_each");
    let mut command = endings(&["skips"]);
    command.env("NEXTEST", "1").env("NEXTEST_TEST_NAME", "a::skips").env("LVH_JUNIT", &directory).env("CARGO", "x");
    for _attempt in 1..=2 {
        assert_eq!(Finished::of(&mut command).code, Some(0));
        let text = fs::read_to_string(directory.join("TEST-endings.a.skips.xml")).unwrap();
        let document = Document::parse(&text).unwrap();
        let skipped = elements(&document, "skipped");
        check_attributes(&skipped[0], &[("message", "for 2 reasons")]);
        assert_eq!(skipped.len(), 1);
    }
}

/// The lines of standard error on GitHub, where `checkout` holds the workspace.
fn on_github(command: &mut Command, checkout: &Path, summary: &Path) -> Vec<String> {
    command.env("GITHUB_ACTIONS", "true").env("GITHUB_WORKSPACE", checkout).env("GITHUB_STEP_SUMMARY", summary);
    Finished::of(command).stderr.lines().map(str::to_owned).collect()
}

/// The directory above the workspace, and the workspace in it.
fn above_workspace() -> (&'static Path, &'static str) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    (workspace.parent().unwrap(), workspace.file_name().unwrap().to_str().unwrap())
}

/// The line of the fixture that holds `text`, counted from 1, and where the registration around it begins.
fn lines_of(text: &str) -> (usize, usize) {
    let lines: Vec<_> = include_str!("../endings/main.rs").lines().collect();
    let line = lines.iter().position(|line| line.contains(text)).unwrap();
    let head = lines[..line].iter().rposition(|line| line.starts_with("register!")).unwrap();
    (line + 1, head + 1)
}

#[test]
fn github_shows_failures_at_their_source() {
    let summary = directory("github").join("summary.md");
    fs::write(&summary, "before\n").unwrap();
    let (checkout, workspace) = above_workspace();
    let mut command = endings(&["passes", "skips", "fails_in_colour", "segfaults"]);
    let annotations = on_github(&mut command, checkout, &summary);
    let ((panic, _), (_, case)) = (lines_of("is \\\"this\\\""), lines_of("fn segfaults"));
    let file = format!("::error file={workspace}/tests/endings/main.rs,line=");
    let expected = [
        format!("{file}{panic},title=fails_in_colour failed::is \"this\"%0Ait?"),
        format!("{file}{case},title=segfaults failed::killed by SIGSEGV"),
    ];
    assert_eq!(annotations, expected);
    let expected = "\
before
### `endings`: 1 passed, 2 failed, 1 skipped

| test | host |
| --- | --- |
| `fails_in_colour` | ❌ |
| `passes` | ✅ |
| `segfaults` | ❌ |
| `skips` | ⏭ |

- ❌ `fails_in_colour`: `is \"this\"`
- ❌ `segfaults`: `killed by SIGSEGV`
- ⏭ `skips`: `for 2 reasons`

";
    assert_eq!(fs::read_to_string(&summary).unwrap(), expected);
}

#[test]
fn under_nextest_github_gets_annotations_alone() {
    let summary = directory("github_nextest").join("summary.md");
    let mut command = endings(&["segfaults"]);
    let annotations = on_github(command.env("NEXTEST", "1"), above_workspace().0, &summary);
    assert!(annotations.len() == 1 && annotations[0].starts_with("::error file="), "{annotations:?}");
    assert!(!summary.exists());
}

/// These tests on two kernels.
fn in_vms(names: &[&str]) -> Command {
    let mut command = IN_VMS.command();
    command.arg("--exact").args(names).env("LVH_KERNELS", "6.1,6.12").env_remove("CARGO");
    command
}

#[test]
fn two_kernels_make_a_table() {
    let _logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = directory("two_kernels");
    let mut command = in_vms(&["ends::passes", "ends::panics"]);
    let Finished { code, stdout, stderr } = Finished::of(command.env("LVH_JUNIT", &directory));
    assert_eq!(code, Some(101), "{stdout}\n{stderr}");
    let table = "\
test          6.1     6.12
ends::panics  FAILED  FAILED
ends::passes  ok      ok

ends::panics on 6.1: assertion `left == right` failed: sums on 6.1.";
    assert!(stderr.contains(&format!("\n{table}")), "{stderr}");
    assert!(stderr.lines().last().unwrap().starts_with("ends::panics on 6.12: assertion "), "{stderr}");
    let text = fs::read_to_string(directory.join("TEST-in_vms.xml")).unwrap();
    let document = Document::parse(&text).unwrap();
    let suites = elements(&document, "testsuite");
    check_attributes(&suites[0], &[("name", "in_vms@6.1"), ("tests", "2"), ("failures", "1")]);
    check_attributes(&suites[1], &[("name", "in_vms@6.12"), ("tests", "2"), ("failures", "1")]);
    for (release, kernel) in elements(&document, "property").chunks(2).map(|pair| (&pair[1], &pair[0])) {
        let (release, kernel) = (release.attribute("value").unwrap(), kernel.attribute("value").unwrap());
        assert!(release.starts_with(&format!("{kernel}.")), "{release}");
    }
    for (failure, kernel) in elements(&document, "failure").iter().zip(["6.1", "6.12"]) {
        let block = failure.text().unwrap();
        assert!(block.contains(&format!("\nkernel: {kernel}.")) && !block.contains("LVH_JUNIT"), "{block}");
    }
    check_report(&directory, elements(&document, "failure")[0].text().unwrap());
}

/// `lvh report` of that run; `block` is that of its first failure.
fn check_report(junit: &Path, block: &str) {
    let logs = block.lines().find_map(|line| line.strip_prefix("log: ")?.strip_suffix("/kernel.log")).unwrap();
    let mut command = lvh();
    command.arg("report").arg(junit).arg(Path::new(logs).parent().unwrap()).current_dir(junit);
    let Finished { code, stderr, .. } = Finished::of(command.args(["-o", "report.html", "-o", "summary.md"]));
    assert!(code == Some(1) && stderr.starts_with("lvh: 2 failed, 2 passed\n"), "{stderr}");
    let summary = fs::read_to_string(junit.join("summary.md")).unwrap();
    for text in [
        "| `ends::panics` | ❌ ",
        "<br>`6.1.",
        "- logs: `",
        "- run it again: `LVH_KERNELS=6.1,6.12 ",
        " --exact ends::panics::6.12`",
    ] {
        assert!(summary.contains(text), "no `{text}` in {summary}");
    }
    let page = fs::read_to_string(junit.join("report.html")).unwrap();
    assert!(page.contains("<a href=\"#l1\">") && page.contains("<div id=\"l2\">"), "{page}");
    let kernel_log = fs::read_to_string(Path::new(logs).join("kernel.log")).unwrap();
    let line = kernel_log.lines().last().unwrap().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    assert!(!line.is_empty() && page.contains(&line.replace('\'', "&#39;").replace('"', "&quot;")), "{line}");
}

#[test]
fn programs_and_the_hurried_get_no_table() {
    let _logs = LOGS.lock().unwrap_or_else(PoisonError::into_inner);
    for arguments in [["--format", "json"], ["-q", "--show-output"]] {
        let Finished { code, stdout, stderr } = Finished::of(in_vms(&["ends::passes"]).args(arguments));
        assert_eq!(code, Some(0), "{stdout}\n{stderr}");
        assert!(!stderr.contains("ends::passes"), "{stderr}");
    }
}
