//! `lvh ci`: shards of listings and reports that were kept, and the workflows.

mod project;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Output};

use project::{Project, check};
use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};

const KERNELS: [&str; 3] = ["5.10", "6.1", "6.12"];

/// What nextest would list: 40 tests on three kernels, and one on the host.
fn listing() -> Value {
    let names = (0..40).flat_map(|test| KERNELS.map(|kernel| format!("maps::t{test}::{kernel}")));
    let test = |name: String| (name, json!({"kind": "test", "ignored": false, "filter-match": {"status": "matches"}}));
    let suite =
        |tests: BTreeMap<String, Value>| json!({"binary-path": "/no/such", "cwd": "/no/such", "testcases": tests});
    json!({"test-count": 121, "rust-suites": {
        "p::it": suite(names.map(test).collect()),
        "p": suite(BTreeMap::from([test("unit".to_owned())])),
    }})
}

/// Times of all but the last tests: what runs on 6.12 takes ten times as long.
fn times() -> String {
    let case = |test: usize, kernel: &str| {
        let seconds = (1 + test % 7) * if kernel == "6.12" { 10 } else { 1 };
        format!("<testcase classname=\"p::it\" name=\"maps::t{test}::{kernel}\" time=\"{seconds}.5\"/>")
    };
    let cases: String = (0..38).flat_map(|test| KERNELS.map(|kernel| case(test, kernel))).collect();
    format!("<testsuites><testsuite name=\"p::it\">{cases}</testsuite></testsuites>")
}

fn project() -> Project {
    let project = Project::new("");
    fs::write(project.dir().join("tests.json"), listing().to_string()).unwrap();
    fs::write(project.dir().join("times.xml"), times()).unwrap();
    project
}

fn printed(project: &Project, arguments: &[&str]) -> Value {
    let output = project.lvh(&[&["ci", "matrix", "--list", "tests.json"], arguments].concat(), &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The shards' names; each test is in one, which has the filter that names it.
#[track_caller]
fn check_shards(project: &Project, arguments: &[&str], names: &[&str]) -> Vec<f64> {
    let plain = printed(project, arguments);
    let shards = plain["shards"].as_array().unwrap();
    let mut tests: Vec<(&str, &str)> = Vec::new();
    for shard in shards {
        let filter = shard["filter"].as_str().unwrap();
        for test in shard["test_names"].as_array().unwrap() {
            let [binary, name] = [0, 1].map(|part| test[part].as_str().unwrap());
            assert!(filter.contains(&format!("binary_id(={binary})")) && filter.contains(&format!("test(={name})")));
            tests.push((binary, name));
        }
        assert_eq!(filter.matches("test(=").count() as u64, shard["tests"].as_u64().unwrap(), "{filter}");
    }
    tests.sort_unstable();
    let count = tests.len();
    tests.dedup();
    assert_eq!((count, tests.len()), (121, 121));
    let found: Vec<&str> = shards.iter().map(|shard| shard["shard"].as_str().unwrap()).collect();
    assert_eq!(found, names);
    let github = printed(project, &[arguments, &["--format", "github"]].concat());
    let gitlab = printed(project, &[arguments, &["--format", "gitlab"]].concat());
    for (index, shard) in shards.iter().enumerate() {
        assert_eq!(github["include"][index]["filter"], shard["filter"]);
        assert_eq!(gitlab["parallel"]["matrix"][index]["SHARD_FILTER"], shard["filter"]);
        fs::write(project.dir().join("shards.json"), plain.to_string()).unwrap();
        let filter = project.lvh(&["ci", "filter", "shards.json", shard["shard"].as_str().unwrap()], &[]);
        assert_eq!(String::from_utf8(filter.stdout).unwrap().trim_end(), shard["filter"].as_str().unwrap());
    }
    shards.iter().map(|shard| shard["seconds"].as_f64().unwrap()).collect()
}

#[test]
fn each_test_is_in_one_shard() {
    let project = project();
    check_shards(&project, &["--by", "kernel"], &["5.10", "6.1", "6.12", "host"]);
    let divided = ["5.10", "6.1", "6.12-1", "6.12-2", "6.12-3", "host"];
    check_shards(&project, &["--by", "kernel", "--shards", "6", "--times", "times.xml"], &divided);
    check_shards(&project, &["--by", "image"], &["host", "no-image"]);
    for count in ["1", "4", "7"] {
        let names: Vec<String> = (1..=count.parse().unwrap()).map(|name: u32| name.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let seconds = check_shards(&project, &["--shards", count, "--times", "times.xml"], &names);
        let longest = seconds.iter().copied().fold(0.0, f64::max);
        assert!(longest <= seconds.iter().sum::<f64>() / seconds.len() as f64 * 1.1, "{seconds:?}");
    }
}

/// Times of some of lvh's own tests, as cargo-nextest wrote them.
#[test]
fn real_times_are_balanced() {
    let xml = include_str!("ci/times.xml");
    let field = |line: &str, name: &str| Some(line.split_once(&format!(" {name}=\""))?.1.split_once('"')?.0.to_owned());
    let cases = xml
        .lines()
        .filter(|line| line.contains("<testcase "))
        .map(|line| (field(line, "name").unwrap(), field(line, "time").unwrap().parse::<f64>().unwrap()));
    let cases: BTreeMap<String, f64> = cases.collect();
    assert!(cases.len() > 50, "{}", cases.len());
    let class = xml.lines().find_map(|line| field(line, "classname")).unwrap();
    let tests: BTreeMap<&String, Value> = cases.keys().map(|name| (name, json!({"ignored": false}))).collect();
    let listing = json!({"rust-suites": {class: {"binary-path": "/no/such", "cwd": "/", "testcases": tests}}});
    let project = project();
    fs::write(project.dir().join("tests.json"), listing.to_string()).unwrap();
    fs::write(project.dir().join("times.xml"), xml).unwrap();
    for count in [2, 3, 5, 8] {
        let plain = printed(&project, &["--shards", &count.to_string(), "--times", "times.xml"]);
        let seconds = plain["shards"].as_array().unwrap().iter().map(|shard| shard["seconds"].as_f64().unwrap());
        let (longest, total) = (seconds.clone().fold(0.0, f64::max), seconds.sum::<f64>());
        let bound = cases.values().copied().fold(total / f64::from(count), f64::max);
        assert!(longest <= bound * 1.1, "{count} shards: {longest} for {bound}");
    }
}

#[test]
fn mistakes_are_named() {
    let project = project();
    fs::write(project.dir().join("shards.json"), printed(&project, &["--by", "kernel"]).to_string()).unwrap();
    check(
        &project.lvh(&["ci", "filter", "shards.json", "7.x"], &[]),
        125,
        "no shard `7.x` (known: 5.10, 6.1, 6.12, host)",
    );
    let beyond = project.lvh(&["ci", "filter", "shards.json", "9"], &[]);
    assert_eq!(beyond.stdout, b"none()\n");
    let failed = "error: failed to read the tests of `absent.json`: ";
    check(&project.lvh(&["ci", "matrix", "--list", "absent.json"], &[]), 125, failed);
    fs::write(project.dir().join("none.json"), r#"{"rust-suites": {}}"#).unwrap();
    check(&project.lvh(&["ci", "matrix", "--list", "none.json"], &[]), 125, "error: there is no test to run");
}

/// What a job runs: GitHub's of each step, GitLab's as one.
fn scripts(workflow: &Yaml, job: &str) -> Vec<String> {
    if let Some(lines) = workflow[job]["script"].as_vec() {
        return vec![lines.iter().map(|line| line.as_str().unwrap().to_owned() + "\n").collect()];
    }
    let steps = workflow["jobs"][job]["steps"].as_vec().unwrap();
    steps.iter().filter_map(|step| step["run"].as_str().map(str::to_owned)).collect()
}

/// What runs of them is run by `lvh-tests`, in `archive`.
#[test]
fn workflows_are_yaml_and_their_scripts_are_bash() {
    let project = Project::new("");
    for system in ["github", "gitlab"] {
        let output = project.lvh(&["ci", "workflow", system, "--shards", "6", "--by", "kernel"], &[]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("--shards 6 --by kernel") && !text.contains("@SHARDS@"), "{text}");
        let workflow = YamlLoader::load_from_str(&text).unwrap().remove(0);
        let scripts: Vec<String> = ["build", "test", "report"].iter().flat_map(|job| scripts(&workflow, job)).collect();
        assert!(scripts.len() >= 3);
        for script in scripts {
            let output = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
            assert!(output.status.success(), "{output:?}\n{script}");
        }
    }
}

/// The job that merges the reports, where the jobs before left what they leave: `list` names two tests, one shard ran one of them.
fn merged(system: &str, list: &str, tools: &str) -> Output {
    let project = Project::new("");
    let shard = project.dir().join("shard-1");
    fs::create_dir_all(&shard).unwrap();
    fs::create_dir_all(project.dir().join(tools)).unwrap();
    symlink(env!("CARGO_BIN_EXE_lvh"), project.dir().join(tools).join("lvh")).unwrap();
    let test = json!({"ignored": false, "filter-match": {"status": "matches"}});
    let tests = json!({"rust-suites": {"p::it": {"testcases": {"ran": test, "lost": test}}}});
    fs::write(project.dir().join(list), tests.to_string()).unwrap();
    let case = r#"<testcase classname="p::it" name="ran" time="1.5"/>"#;
    let suites =
        format!("<testsuites name=\"n\">\n<testsuite name=\"p::it\" tests=\"1\">{case}</testsuite>\n</testsuites>\n");
    fs::write(shard.join("junit.xml"), suites).unwrap();
    let printed = project.lvh(&["ci", "workflow", system], &[]);
    let workflow = YamlLoader::load_from_str(&String::from_utf8(printed.stdout).unwrap()).unwrap().remove(0);
    let script = scripts(&workflow, "report").pop().unwrap();
    let mut bash = Command::new("bash");
    bash.args(["-eo", "pipefail", "-c", &script]).current_dir(project.dir());
    bash.env("GITHUB_STEP_SUMMARY", project.dir().join("summary.md")).output().unwrap()
}

/// As when a shard's machine died before it left a report.
#[test]
fn the_report_of_a_workflow_fails_where_no_shard_ran_a_test() {
    for (system, list, tools) in
        [("github", "tests/tests.json", "tests/tools/bin"), ("gitlab", "tests.json", "tools/bin")]
    {
        check(&merged(system, list, tools), 1, "lvh: 1 not run, 1 passed\n  p::it lost: not run");
    }
}
