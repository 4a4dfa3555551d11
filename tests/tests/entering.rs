//! Getting into the VM of a test: `LVH_KEEP=1` and `lvh attach`, `LVH_GDB=1`, the core of a test that crashed.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use lvh_tests::{Finished, TestTarget, Traces, lvh, send_signal};

static IN_VMS: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("in_vms"));

/// A run in the background, whose standard error is being read.
struct Run {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    traces: Traces,
}

impl Run {
    fn start(mut command: Command, variable: &str) -> Self {
        command.env("LVH_KERNELS", "6.12").env(variable, "1").env_remove("CARGO");
        let traces = Traces::mark(&mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, traces }
    }

    /// What stands behind `before` in the next line that holds it.
    fn wait_for(&mut self, before: &str) -> String {
        let mut lines = self.stderr.by_ref().lines().map(Result::unwrap);
        let found = lines.find_map(|line| line.split_once(before).map(|(_, rest)| rest.to_owned()));
        found.unwrap_or_else(|| panic!("the run ended before it wrote `{before}`"))
    }

    /// Interrupts it: nothing is left.
    #[track_caller]
    fn interrupt(mut self) {
        send_signal(self.child.id().cast_signed(), libc::SIGINT);
        assert_eq!(self.child.wait().unwrap().signal(), Some(libc::SIGINT));
        self.traces.check_gone();
    }
}

fn attach(arguments: &[&str]) -> Finished {
    Finished::of(lvh().arg("attach").args(arguments).stdin(Stdio::null()))
}

/// The id at the begin of what follows `lvh attach`, and the title after it.
#[track_caller]
fn invited(run: &mut Run, test: &str) -> String {
    let line = run.wait_for("  lvh attach ");
    let (id, title) = line.split_once("  # ").unwrap();
    assert!(title.starts_with(&format!("{test} on 6.12.")), "{line}");
    id.trim_end().to_owned()
}

#[test]
fn the_vm_of_a_failed_test_can_be_entered() {
    let mut command = IN_VMS.command();
    command.args(["--exact", "ends::panics", "ends::passes"]);
    let mut run = Run::start(command, "LVH_KEEP");
    let id = invited(&mut run, "ends::panics");

    let Finished { code, stdout, .. } = attach(&["--list"]);
    assert!(code == Some(0) && stdout.contains(&format!("{id}  ends::panics on 6.12.")), "{stdout}");

    let script = "echo $PWD $LVH_X; uname -r; cat; echo err >&2; exit 3";
    let Finished { code, stdout, stderr } = attach(&[&id, "--", "sh", "-c", script]);
    let (directory, release) = (env!("CARGO_MANIFEST_DIR"), "6.12.");
    assert!(stdout.starts_with(&format!("{directory}\n{release}")), "{stdout}");
    assert_eq!((code, stderr.as_str()), (Some(3), "err\n"));

    // A shell that reads its script, at the same time as another command.
    let mut shell = lvh().args(["attach", &id]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut other = lvh().args(["attach", &id, "--", "sleep", "3600"]).spawn().unwrap();
    shell.stdin.take().unwrap().write_all(b"mount | grep -c ' on / '\n").unwrap();
    assert_eq!(shell.wait_with_output().unwrap().stdout, b"1\n");
    assert!(other.try_wait().unwrap().is_none());

    check_standstill(&run, &id);
    run.interrupt();
    let gone = other.wait().unwrap();
    assert_eq!(gone.code(), Some(125), "{gone}");
    let Finished { code, stderr, .. } = attach(&[&id]);
    assert_eq!(code, Some(2));
    assert!(stderr.starts_with(&format!("error: there is no VM `{id}` to enter: ")), "{stderr}");
    assert!(stderr.contains("\nhint: "), "{stderr}");
}

/// An owner that was stopped lets nobody in; a QEMU that was stopped keeps nobody who asks twice.
fn check_standstill(run: &Run, id: &str) {
    let mut inside =
        lvh().args(["attach", id, "--", "sh", "-c", "echo ready; sleep 3600"]).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(inside.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    let owner = run.child.id().cast_signed();
    send_signal(owner, libc::SIGSTOP);
    let Finished { code, stderr, .. } = attach(&[id, "--", "true"]);
    send_signal(owner, libc::SIGCONT);
    assert!(code == Some(2) && stderr.contains("its owner does not answer: is it stopped?"), "{code:?} {stderr}");

    send_signal(run.traces.qemu().pid, libc::SIGSTOP);
    // Of two that come before it looks, it hears one.
    while inside.try_wait().unwrap().is_none() {
        send_signal(inside.id().cast_signed(), libc::SIGTERM);
        std::thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(inside.wait().unwrap().code(), Some(128 + libc::SIGTERM));
}

/// libtest ends the process itself; it waits all the same.
#[test]
fn under_rusts_own_harness_too() {
    let mut command = TestTarget::build("libtest").command();
    command.args(["--exact", "failing::panics", "--include-ignored"]);
    let mut run = Run::start(command, "LVH_KEEP");
    let id = invited(&mut run, "failing::panics");
    assert_eq!(attach(&[&id, "--", "true"]).code, Some(0));
    // A guest that ends ends the wait, and the run is what it was.
    assert_eq!(attach(&[&id, "--", "sh", "-c", "echo o > /proc/sysrq-trigger; sleep 60"]).code, Some(125));
    assert_eq!(run.child.wait().unwrap().code(), Some(101));
    run.traces.check_gone();
}

#[test]
fn a_run_in_which_nothing_fails_does_not_wait() {
    let mut command = IN_VMS.command();
    command.args(["--exact", "ends::passes"]).env("LVH_KERNELS", "6.12").env("LVH_KEEP", "1");
    let Finished { code, stdout, stderr } = Finished::of(&mut command);
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    assert!(!stderr.contains("lvh attach"), "{stderr}");
}

/// One answer of a gdb stub: `$TEXT#SUM`, after the `+` that takes the question.
fn ask(stub: &mut UnixStream, question: &str) -> String {
    let sum = question.bytes().fold(0_u8, u8::wrapping_add);
    stub.write_all(format!("${question}#{sum:02x}").as_bytes()).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"#") {
        stub.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    stub.read_exact(&mut [0; 2]).unwrap();
    stub.write_all(b"+").unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn gdb_meets_the_kernel_before_its_first_instruction() {
    let mut command = IN_VMS.command();
    command.args(["--exact", "ends::passes"]).env("LVH_ACCEL", "tcg");
    let mut run = Run::start(command, "LVH_GDB");
    run.wait_for("kernel `6.12` waits for gdb");
    let line = run.wait_for("  gdb ");
    let socket = line.split_once("target remote ").unwrap().1.trim_end_matches('\'');
    assert!(Path::new(line.split_once(' ').unwrap().0).is_file(), "{line}");

    let mut stub = UnixStream::connect(socket).unwrap();
    stub.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert!(ask(&mut stub, "?").contains("$T05"), "the CPU has stopped");
    stub.write_all(b"$c#63").unwrap();
    assert_eq!(run.child.wait().unwrap().code(), Some(0));
    assert!(!Path::new(socket).exists());
    run.traces.check_gone();
}

/// A core file is an ELF file of type ET_CORE (4), elf(5).
fn is_core(file: &Path) -> bool {
    let head = fs::read(file).unwrap();
    head.starts_with(b"\x7fELF") && head[16..18] == [4, 0]
}

#[test]
fn a_crash_leaves_its_core_and_the_logs() {
    // What another test's run would take the place of.
    let target = IN_VMS.apart(Path::new(env!("CARGO_TARGET_TMPDIR")), "entering");
    for kernel in ["5.10", "6.12"] {
        let mut command = target.command();
        command.args(["--exact", "ends::segfaults"]).env("LVH_KERNELS", kernel);
        let Finished { code, stdout, stderr } = Finished::of(&mut command);
        assert_eq!(code, Some(101), "{stdout}\n{stderr}");
        let path = |before: &str| {
            let line = stdout.lines().find_map(|line| line.strip_prefix(before));
            PathBuf::from(line.unwrap_or_else(|| panic!("no `{before}` in:\n{stdout}")))
        };
        let core = path(&format!("core: gdb {} ", target.executable().display()));
        assert!(is_core(&core), "{}", core.display());
        let logs = path("log: ").parent().unwrap().to_owned();
        assert!(core.starts_with(&logs), "{}", core.display());
        let kernel_log = fs::read_to_string(logs.join("kernel.log")).unwrap();
        assert!(kernel_log.starts_with("[    0.000000] Linux version "), "{kernel_log}");
        assert!(kernel_log.contains("] ends::segfaults["), "{kernel_log}");
        assert!(logs.join("console.log").is_file());
    }
}
