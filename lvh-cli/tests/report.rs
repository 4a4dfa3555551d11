//! `lvh report` on files of real runs: `report/shards` is one run of two fixtures of the end-to-end tests in two shards of
//! cargo-nextest, with `LVH_JUNIT=target/lvh/`, and `report/list.json` what should have run.

mod project;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use project::{Project, check};

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/report").join(name)
}

fn report(project: &Project, args: &[&str]) -> Output {
    let args: Vec<String> = args.iter().map(|arg| arg.replace("KEPT", kept("").to_str().unwrap())).collect();
    let args: Vec<&str> = std::iter::once("report").chain(args.iter().map(String::as_str)).collect();
    project.lvh(&args, &[])
}

#[test]
fn shards_make_one_summary() {
    let project = Project::new("");
    let output = report(&project, &["KEPT/shards", "--expect", "KEPT/list.json"]);
    check(&output, 1, "lvh: 6 failed, 1 skipped, 3 passed\n");
    let markdown = String::from_utf8(output.stdout).unwrap();
    let expected = fs::read_to_string(kept("summary.md")).unwrap();
    if markdown != expected {
        let went = Path::new(env!("CARGO_TARGET_TMPDIR")).join("summary.md");
        fs::write(&went, &markdown).unwrap();
        panic!("tests/report/summary.md is otherwise now: see {}", went.display());
    }
}

#[test]
fn what_no_shard_ran_or_two_did_is_named() {
    let project = Project::new("");
    let both = ["KEPT/shards/1", "KEPT/shards/2", "--expect", "KEPT/list.json"];
    check(&report(&project, &both), 1, "lvh: 6 failed, 1 skipped, 3 passed\n");
    let missing = "  lvh-tests::in_vms ends::passes on 6.12: not run\n";
    let one = ["KEPT/shards/1", "--expect", "KEPT/list.json"];
    check(&report(&project, &one), 1, missing);
    check(&report(&project, &["KEPT/shards/1", "--expect", "KEPT/list.txt"]), 1, missing);
    let passing = "<testsuites><testsuite name='p::it'><testcase classname='p::it' name='a::6.1' time='1'/></testsuite></testsuites>";
    let [a, b] = ["a.xml", "b.xml"].map(|name| project.dir().join(name).to_str().unwrap().to_owned());
    fs::write(&a, passing).unwrap();
    fs::write(&b, passing).unwrap();
    check(&report(&project, &[&a, &a]), 0, "lvh: 1 passed\n");
    check(
        &report(&project, &[&a, &b]),
        0,
        "lvh: 1 run more than once, 1 passed\n  p::it a on 6.1: passed (ran 2 times)\n",
    );
    fs::write(&b, passing.replace("/></testsuite>", "><failure message='no'>x</failure></testcase></testsuite>"))
        .unwrap();
    check(&report(&project, &[&a, &b]), 1, "  p::it a on 6.1: FAILED: no (ran 2 times)\n");
}

#[test]
fn what_is_no_result_is_refused() {
    let project = Project::new("");
    let file = |name: &str, text: &str| {
        let path = project.dir().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    check(&report(&project, &[]), 2, "error: failed to read `target/lvh`: No such file or directory");
    let cut = file("cut.xml", "<testsuites><testsuite>");
    check(&report(&project, &[&cut]), 2, "cut.xml`: it is no XML that can be read, or was cut: ");
    let other = file("some/coverage.xml", "<coverage/>");
    check(&report(&project, &[&other]), 2, "some/coverage.xml` is no JUnit file\n");
    check(
        &report(&project, &["some"]),
        2,
        "error: no test results in `some`\n\nhint: `LVH_JUNIT=target/lvh/ cargo test`",
    );
    let empty = file("empty.xml", "<testsuites/>");
    check(&report(&project, &[&empty]), 2, "error: no test ran: the reports are empty");
    check(
        &report(&project, &["KEPT/shards", "--expect", &cut]),
        2,
        "cut.xml`: line 1: expected a test binary and a test",
    );
    let doctype = file("doctype.xml", "<!DOCTYPE a [<!ENTITY b 'c'>]><testsuites>&b;</testsuites>");
    check(&report(&project, &[&doctype]), 2, "it is no XML that can be read");
}

#[test]
fn nothing_that_a_test_says_is_markup() {
    let project = Project::new("");
    let evil = "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;`````|&quot; onload=&quot;x\u{202e}";
    let case = format!(
        "<testcase classname=\"{evil}\" name=\"{evil}\"><failure message=\"{evil}\">{evil}</failure></testcase>"
    );
    fs::write(
        project.dir().join("j.xml"),
        format!("<testsuites><testsuite name=\"{evil}\">{case}</testsuite></testsuites>"),
    )
    .unwrap();
    let output = report(&project, &["j.xml", "-o", "r.html", "-o", "r.md"]);
    check(&output, 1, "lvh: 1 failed, 0 passed");
    let html = fs::read_to_string(project.dir().join("r.html")).unwrap();
    assert_eq!(
        (html.matches("<script>").count(), html.matches("</pre>").count(), html.matches("\" onload").count()),
        (1, 1, 0)
    );
    assert!(!html.contains('\u{202e}'));
    let markdown = fs::read_to_string(project.dir().join("r.md")).unwrap();
    // In fences longer than any of the test's, and with its markup escaped where Markdown takes some.
    assert!(markdown.contains("\n``````text\n") && markdown.contains("| `````` </pre>"), "{markdown}");
    assert!(markdown.contains("`````\\|") && !markdown.contains("<code></pre>"), "{markdown}");
}

/// A thousand of them with a flood: what is shown stays small.
#[test]
fn a_thousand_tests_on_five_kernels() {
    let project = Project::new("");
    let mut xml = "<testsuites name='nextest-run'>".to_owned();
    let block = format!("thread 't' panicked at a.rs:1:1:\nboom\n{}", "and a line of a flood\n".repeat(100));
    for test in 0..1000 {
        for kernel in ["5.10", "6.1", "6.6", "6.12", "7.x"] {
            let body = if test % 5 == 0 { format!("<failure message='m'>{block}</failure>") } else { String::new() };
            let _ = write!(
                xml,
                "<testcase classname='p::it' name='m::test_{test}::{kernel}' time='0.04'>{body}</testcase>"
            );
        }
    }
    fs::write(project.dir().join("j.xml"), xml + "</testsuites>").unwrap();
    check(&report(&project, &["j.xml", "-o", "r.html", "-o", "r.md"]), 1, "lvh: 1000 failed, 4000 passed\n");
    let size = |name: &str| fs::metadata(project.dir().join(name)).unwrap().len();
    assert!(size("r.html") < 4_000_000 && size("r.md") < 900_000, "{} {}", size("r.html"), size("r.md"));
}

/// The browser of Debian, or of GitHub's runners.
fn browser() -> Option<&'static str> {
    let runs = |name: &&str| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success());
    ["chromium", "google-chrome"].into_iter().find(runs)
}

/// What `report/browser.html` found on the page in that colour scheme.
fn seen(browser: &str, dir: &Path, scheme: &str) -> serde_json::Value {
    let profile = format!("--user-data-dir={}", dir.join("profile").display());
    let blink = format!("--blink-settings=preferredColorScheme={scheme}");
    let mut command = Command::new(browser);
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=3000",
        "--allow-file-access-from-files",
    ]);
    command.args([&profile, &blink]).arg("--dump-dom").arg(format!("file://{}", dir.join("browser.html").display()));
    let output = command.output().unwrap();
    let page = String::from_utf8_lossy(&output.stdout);
    let found =
        page.split_once("<pre id=\"seen\">").and_then(|(_, rest)| rest.split_once("</pre>")).map(|(found, _)| found);
    let found = found.unwrap_or_else(|| panic!("{output:?}"));
    serde_json::from_str(found)
        .unwrap_or_else(|error| panic!("{error}: {found:?}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// Fails where a continuous integration lacks a browser.
#[test]
#[expect(clippy::print_stderr, reason = "a test that skips itself says so")]
fn a_browser_shows_the_page() {
    let Some(browser) = browser() else {
        assert!(std::env::var_os("CI").is_none(), "this test needs `chromium`");
        eprintln!("skipped: no browser is installed (apt install chromium)");
        return;
    };
    let project = Project::new("");
    check(&report(&project, &["KEPT/shards", "-o", "report.html"]), 1, "lvh: 6 failed");
    fs::copy(kept("browser.html"), project.dir().join("browser.html")).unwrap();
    // Blink's numbers of the schemes.
    for (scheme, dark, background) in [("0", true, "rgb(13, 17, 23)"), ("1", false, "rgb(255, 255, 255)")] {
        let expected = serde_json::json!({
            "dark": dark, "background": background,
            // No text has less contrast than WCAG's 4.5, and the page is not wider than a phone.
            "faint": [], "wide": false, "unnamed": 0,
            "all": 7, "byWord": ["ends::segfaults"], "told": "1 test is shown", "blocks": 2, "byEnding": ["skips"],
            // A closed block opens for the cell that leads to it.
            "before": false, "after": true,
            "loaded": [], "plainForm": 0, "plainRows": 7,
        });
        assert_eq!(seen(browser, project.dir(), scheme), expected);
    }
}
