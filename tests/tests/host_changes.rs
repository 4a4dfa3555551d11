//! What the host changes while a guest sees its files: the guest sees it too, on every share that shows them.

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lvh_tests::{TestTarget, empty_directory, lvh};

/// A shell in a guest that does one line after the other.
struct Shell {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start(kernel: &str, share: &str, cwd: &Path) -> Self {
        let mut command = lvh();
        command.args(["exec", "--quiet", "--kernel", kernel, "--", "bash"]).current_dir(cwd);
        command.env("LVH_SHARE", share).env_remove("LVH_KERNELS");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output }
    }

    /// What a line of the shell writes, with its errors, line breaks as blanks.
    fn says(&mut self, line: &str) -> String {
        writeln!(self.input.as_ref().unwrap(), "{{ {line}\n}} 2>&1\necho").unwrap();
        let mut said = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the guest is gone after {said:?}");
            if line.trim_end().is_empty() {
                return said.join(" ");
            }
            said.push(line.trim_end().to_owned());
        }
    }

    fn end(mut self) {
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

/// What the guest has seen in a directory of its own, what the host then does there, and what the guest sees.
struct Case {
    name: &'static str,
    look: &'static str,
    before: &'static str,
    change: fn(&Path),
    after: &'static str,
}

fn write(file: impl AsRef<Path>, content: &str) {
    fs::write(file, content).unwrap();
}

/// As editors and linkers do.
fn replace(file: &Path, content: impl AsRef<[u8]>) {
    let new = file.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, fs::metadata(file).unwrap().permissions()).unwrap();
    fs::rename(new, file).unwrap();
}

const CASES: [Case; 13] = [
    Case {
        name: "content of the same length",
        look: "cat file",
        before: "old",
        change: |dir| write(dir.join("file"), "new\n"),
        after: "new",
    },
    Case {
        name: "grown",
        look: "cat file; stat -c %s file",
        before: "old 4",
        change: |dir| write(dir.join("file"), "old and new\n"),
        after: "old and new 12",
    },
    Case {
        name: "truncated",
        look: "cat file; stat -c %s file",
        before: "old 4",
        change: |dir| write(dir.join("file"), ""),
        after: "0",
    },
    Case {
        name: "renamed over",
        look: "cat file",
        before: "old",
        change: |dir| replace(&dir.join("file"), "another\n"),
        after: "another",
    },
    Case {
        name: "removed and made again",
        look: "cat file",
        before: "old",
        change: |dir| {
            fs::remove_file(dir.join("file")).unwrap();
            write(dir.join("file"), "again\n");
        },
        after: "again",
    },
    Case {
        name: "removed",
        look: "test -e file; echo $?",
        before: "0",
        change: |dir| fs::remove_file(dir.join("file")).unwrap(),
        after: "1",
    },
    Case {
        name: "made",
        look: "cat made",
        before: "cat: made: No such file or directory",
        change: |dir| write(dir.join("made"), "made\n"),
        after: "made",
    },
    Case {
        name: "a directory in the place of another",
        look: "cat dir/file; cat dir/deep/file",
        before: "old old",
        change: |dir| {
            fs::rename(dir.join("dir"), dir.join("gone")).unwrap();
            fs::create_dir_all(dir.join("dir/deep")).unwrap();
            write(dir.join("dir/file"), "checked\n");
            write(dir.join("dir/deep/file"), "out\n");
        },
        after: "checked out",
    },
    Case {
        name: "a link",
        look: "cat link; readlink link",
        before: "old file",
        change: |dir| {
            fs::remove_file(dir.join("link")).unwrap();
            write(dir.join("other"), "other\n");
            symlink("other", dir.join("link")).unwrap();
        },
        after: "other other",
    },
    Case {
        name: "a listing",
        look: "ls",
        before: "dir file link program",
        change: |dir| {
            fs::remove_file(dir.join("link")).unwrap();
            write(dir.join("made"), "");
        },
        after: "dir file made program",
    },
    Case {
        name: "another kind of file",
        look: "cat file; ls file/x",
        before: "old ls: cannot access 'file/x': Not a directory",
        change: |dir| {
            fs::remove_file(dir.join("file")).unwrap();
            fs::create_dir(dir.join("file")).unwrap();
            write(dir.join("file/x"), "");
        },
        after: "cat: file: Is a directory file/x",
    },
    Case {
        name: "a program",
        look: "./program",
        before: "old",
        change: |dir| replace(&dir.join("program"), "#!/bin/sh\necho new\n"),
        after: "new",
    },
    Case {
        name: "permissions",
        look: "stat -c %a file",
        before: "644",
        change: |dir| fs::set_permissions(dir.join("file"), Permissions::from_mode(0o750)).unwrap(),
        after: "750",
    },
];

/// What each case begins with.
fn fill(dir: &Path) {
    fs::create_dir_all(dir.join("dir/deep")).unwrap();
    for file in ["file", "dir/file", "dir/deep/file"] {
        write(dir.join(file), "old\n");
        fs::set_permissions(dir.join(file), Permissions::from_mode(0o644)).unwrap();
    }
    symlink("file", dir.join("link")).unwrap();
    write(dir.join("program"), "#!/bin/sh\necho old\n");
    fs::set_permissions(dir.join("program"), Permissions::from_mode(0o755)).unwrap();
}

/// Looks until the guest sees `expected`; it must do so within a few seconds, and may see what was there before until then.
#[track_caller]
fn wait_for(shell: &mut Shell, name: &str, look: &str, expected: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let said = shell.says(look);
        if said == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{name}: {said}");
        thread::sleep(Duration::from_millis(100));
    }
}

#[track_caller]
fn check_changes(kernel: &str, share: &str) {
    let scratch = empty_directory(Path::new(env!("CARGO_TARGET_TMPDIR")), &format!("host-changes-{kernel}-{share}"));
    let held = scratch.join("held");
    CASES.iter().for_each(|case| fill(&scratch.join(case.name)));
    fs::create_dir_all(held.join("dir")).unwrap();
    write(held.join("dir/file"), "old\n");
    write(held.join("file"), "old\n");
    fs::copy("/bin/sleep", held.join("runs")).unwrap();

    let mut shell = Shell::start(kernel, share, &scratch);
    let in_its_own = |case: &Case| format!("cd '{}'; {}", scratch.join(case.name).display(), case.look);
    for case in &CASES {
        assert_eq!(shell.says(&in_its_own(case)), case.before, "{kernel} {share}: {}", case.name);
    }
    // Until then it is the shell.
    let until_runs = "while kill -0 $pid && [ \"$(cat /proc/$pid/comm)\" != runs ]; do sleep 0.1; done";
    let started = shell.says(&format!(
        "cd {}; exec 5<file; (cd dir && exec ../runs 1001) & ./runs 1000 & for pid in $(jobs -p); do {until_runs}; done; \
         kill -0 $!; echo $?",
        held.display()
    ));
    assert_eq!(started, "0");
    for case in &CASES {
        (case.change)(&scratch.join(case.name));
    }
    replace(&held.join("file"), "a new file\n");
    fs::remove_dir_all(held.join("dir")).unwrap();
    fs::create_dir(held.join("dir")).unwrap();
    write(held.join("dir/file"), "new\n");
    replace(&held.join("runs"), fs::read("/bin/echo").unwrap());
    for case in &CASES {
        wait_for(&mut shell, &format!("{kernel} {share}: {}", case.name), &in_its_own(case), case.after);
    }
    let name = format!("{kernel} {share}: what is open");
    wait_for(&mut shell, &name, &format!("cat {}", held.join("dir/file").display()), "new");
    assert_eq!(shell.says(&format!("cd {}; cat <&5; kill -0 $!; echo $?", held.display())), "old 0", "{name}");
    assert_eq!(shell.says("kill $(jobs -p); wait; exec 5<&-; echo $?"), "0", "{name}");
    write(scratch.join("one more"), "");
    wait_for(&mut shell, &name, "cat file; ./runs new", "a new file new");
    shell.end();
}

#[test]
fn changes_are_seen_over_9p() {
    check_changes("6.12", "9p");
    check_changes("5.10", "9p");
}

#[test]
fn changes_are_seen_over_virtiofs() {
    check_changes("6.12", "virtiofs");
}

/// A build while its tests run puts another program in the place of theirs.
#[test]
fn a_run_goes_on_with_the_test_binary_that_was_started() {
    let (parent, name) = (Path::new(env!("CARGO_TARGET_TMPDIR")), "host-changes-rebuilt");
    let (built, target) = (TestTarget::build("transport").apart(parent, name), parent.join(name));
    let mut command = built.command();
    command.env("LVH_KERNELS", "6.12").env_remove("LVH_SHARE");
    command.env("CARGO_TARGET_TMPDIR", target.join("tmp")).env("LVH_TEST_SCRATCH", target.join("tmp"));
    command.args([
        "--test-threads=1",
        "--exact",
        "files_change",
        "names_change",
        "programs_run_from_scratch",
        "writes",
    ]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first = lines.find(|line| line.starts_with("test ")).unwrap();
    replace(built.executable(), "not a program\n");
    let rest: Vec<_> = lines.collect();
    let finished = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(finished.stderr).unwrap();
    assert!(finished.status.success(), "{first}\n{}\n{stderr}", rest.join("\n"));
    assert_eq!(rest.iter().filter(|line| line.ends_with(" ... ok")).count(), 3, "{rest:?}");
    assert_eq!(stderr.matches("another test binary is in the place of this one").count(), 1, "{stderr}");
    assert!(!target.join("lvh").exists(), "the copy is gone");
}
