//! Where `LVH_JUNIT` puts a report.
//!
//! A directory gets a file of each test binary or, under nextest, of each test, for each is a process. A file holds all the test binaries of one `cargo test`: the first
//! replaces what an earlier run left, the others add to it. Which run a file is of stands in its third line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{env, fs, io, process};

use crate::test_binary::{TestBinary, under_nextest};

const TAIL: &str = "</testsuites>\n";

/// Writes the `suites` of this binary to where `setting` says; whoever reads meanwhile sees a whole report.
pub(crate) fn write(setting: &Path, here: &TestBinary, suites: &str) -> Result<(), String> {
    let path = place(setting, here);
    put(&path, suites, run_id().as_deref())
        .map_err(|error| format!("failed to write the JUnit report `{}`: {error}", path.display()))
}

fn place(setting: &Path, here: &TestBinary) -> PathBuf {
    let path = here.workspace.join(setting);
    if is_directory(setting, here) { path.join(format!("TEST-{}.xml", here.run_id())) } else { path }
}

/// Whether `setting` means a directory.
pub(super) fn is_directory(setting: &Path, here: &TestBinary) -> bool {
    setting.as_os_str().as_bytes().ends_with(b"/") || here.workspace.join(setting).is_dir()
}

fn put(path: &Path, suites: &str, run: Option<&str>) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    fs::create_dir_all(directory)?;
    let old = run.and_then(|_| fs::read_to_string(path).ok());
    let name = path.file_name().unwrap_or(OsStr::new("junit")).to_string_lossy();
    let temporary = directory.join(format!(".{name}.{}", process::id()));
    let written = fs::write(&temporary, report(suites, run, old.as_deref()));
    let done = written.and_then(|()| fs::rename(&temporary, path));
    done.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// The whole file: `suites`, behind those of the `old` one if it is of the same run.
fn report(suites: &str, run: Option<&str>, old: Option<&str>) -> String {
    let head = head(run);
    let of_this_run = old.filter(|_| run.is_some()).and_then(|old| old.strip_prefix(&head)?.strip_suffix(TAIL));
    let others = of_this_run.unwrap_or_default();
    format!("{head}{others}{suites}{TAIL}")
}

fn head(run: Option<&str>) -> String {
    let run = run.map(|run| format!("  <!-- written by lvh for cargo's process {run} -->\n")).unwrap_or_default();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n{run}")
}

/// One `cargo test` is one process, which starts the test binaries one after the other: its number and start time. `None`
/// where nothing is added: under nextest, which may try a test again, the last time counts.
fn run_id() -> Option<String> {
    env::var_os("CARGO").filter(|_| !under_nextest())?;
    let parent = std::os::unix::process::parent_id();
    let stat = fs::read_to_string(format!("/proc/{parent}/stat")).ok()?;
    Some(format!("{parent}, started at tick {}", start_time(&stat)?))
}

/// Field 22 of proc_pid_stat(5). The second, the program's name, may hold anything, but ends with the last bracket.
fn start_time(stat: &str) -> Option<&str> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(22 - 3)
}

#[cfg(test)]
mod tests {
    use super::{place, report, start_time};
    use crate::test_binary::TestBinary;
    use std::path::Path;

    #[track_caller]
    fn check_place(setting: &str, expected: &str) {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
        let here = TestBinary {
            package: Some("p".into()),
            binary: "it".into(),
            workspace: workspace.to_owned(),
            target: crate::case::CargoTarget::Test,
            directory: "deps".into(),
        };
        assert_eq!(place(Path::new(setting), &here), workspace.join(expected));
    }

    #[test]
    fn a_directory_gets_a_file_per_binary() {
        check_place("new/", "new/TEST-p.it.xml");
        check_place("src", "src/TEST-p.it.xml");
        check_place("new/junit.xml", "new/junit.xml");
        check_place("/no/such/file", "/no/such/file");
    }

    #[test]
    fn a_file_holds_one_run() {
        let first = report("  <a/>\n", Some("1"), Some("garbage"));
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <!-- written by lvh for cargo's \
                        process 1 -->\n  <a/>\n</testsuites>\n";
        assert_eq!(first, expected);
        assert_eq!(report("  <b/>\n", Some("1"), Some(&first)), expected.replace("<a/>\n", "<a/>\n  <b/>\n"));
        assert_eq!(report("  <b/>\n", Some("2"), Some(&first)), report("  <b/>\n", Some("2"), None));
        let unknown = report("  <b/>\n", None, None);
        assert_eq!(report("  <b/>\n", None, Some(&unknown)), unknown);
    }

    #[test]
    fn a_program_may_have_brackets_in_its_name() {
        let stat = "7 (a) b) S 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 2222 23 24\n";
        assert_eq!(start_time(stat), Some("2222"));
        assert_eq!(start_time("7 (a) S 4"), None);
    }
}
