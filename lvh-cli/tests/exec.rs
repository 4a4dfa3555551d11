//! `lvh exec` in VMs: what comes out, with which code, and who hears a signal.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Output, Stdio};

fn lvh(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lvh"));
    command.arg("exec").args(args).stdin(Stdio::null());
    command
}

fn sh(script: &str) -> Command {
    lvh(&["--", "sh", "-c", script])
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asserts the code and what is on stdout; gives stderr.
#[track_caller]
fn check(output: &Output, code: i32, stdout: &str) -> String {
    let stderr = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(code), stdout), "{stderr}");
    stderr
}

fn spawn(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn streams_and_code_are_the_commands() {
    let stderr = check(&sh("echo out; echo err >&2; exit 7").output().unwrap(), 7, "out\n");
    assert!(stderr.ends_with("err\n"), "{stderr}");
    check(&sh("kill -SEGV $$").output().unwrap(), 128 + libc::SIGSEGV, "");
    let stderr = check(&lvh(&["no-such-program"]).output().unwrap(), 127, "");
    assert!(stderr.contains("the command did not start in the guest: No such file"), "{stderr}");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let script = dir.path().join("script");
    std::fs::write(&script, "#!/nowhere/sh\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let stderr = check(&lvh(&[script.to_str().unwrap()]).output().unwrap(), 127, "");
    let why = "No such file or directory (os error 2): the file is there, but not its interpreter or loader\n";
    assert!(stderr.ends_with(why), "{stderr}");
}

/// Nothing boots for it. The kernel is a beginning of one, for arm64.
#[test]
#[cfg(target_arch = "x86_64")]
fn this_machines_programs_run_on_no_kernel_of_another_architecture() {
    let dir = tempfile::tempdir().unwrap();
    let kernel = dir.path().join("Image");
    std::fs::write(&kernel, [&[0; 56], b"ARM\x64Linux version 6.1.0 (lvh)".as_slice()].concat()).unwrap();
    let mut command = lvh(&["--kernel", kernel.to_str().unwrap(), "--", "sh", "-c", "true"]);
    let stderr = check(&command.env("LVH_DATA_DIR", dir.path()).output().unwrap(), 2, "");
    assert!(stderr.contains("sh` is a program of x86_64, and the kernel of aarch64\n"), "{stderr}");
    assert!(stderr.contains("hint: build it for aarch64; or `--kernel` names a kernel of x86_64, or `--image` a disk with programs of aarch64"), "{stderr}");
    assert!(!stderr.contains("decompressor") && !stderr.contains("booting"), "{stderr}");
}

#[test]
fn quiet_says_nothing_of_the_vm() {
    let stderr = check(&lvh(&["-q", "--", "sh", "-c", "echo out; echo err >&2"]).output().unwrap(), 0, "out\n");
    assert_eq!(stderr, "err\n");
    let stderr = check(&lvh(&["--quiet", "--kernel-args", "-- foo", "true"]).output().unwrap(), 2, "");
    assert!(stderr.starts_with("error: the kernel arguments `-- foo` hold `--`: "), "{stderr}");
}

#[test]
fn flags_behind_the_command_are_its_own() {
    let output = lvh(&["--memory", "512M", "--cpus", "1", "echo", "-k", "--timeout", "6.7"]).output().unwrap();
    check(&output, 0, "-k --timeout 6.7\n");
}

#[test]
fn standard_input_arrives_as_it_is() {
    let sent: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let mut child = spawn(lvh(&["cat"]));
    let mut stdin = child.stdin.take().unwrap();
    let bytes = sent.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.stdout == sent, "{} bytes; {}", output.stdout.len(), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
}

/// Starts a command on two kernels and waits until it says `ready` on the first.
fn start_on_two(script: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = spawn(lvh(&["-k", "6.12", "-k", "6.1", "--", "sh", "-c", script]));
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, stdout)
}

#[test]
fn an_interrupt_reaches_the_command_and_ends_the_round() {
    let (child, mut stdout) = start_on_two("trap 'echo caught; exit 42' INT; echo ready; while :; do sleep 0.1; done");
    // SAFETY: kill takes plain numbers; the child is not reaped yet.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) }, 0);
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!((output.status.code(), rest.as_str()), (Some(42), "caught\n"), "{stderr}");
    assert!(stderr.contains("kernel `6.12`: exit code 42") && !stderr.contains("kernel `6.1`"), "{stderr}");
}

/// The first start takes the snapshot, where there is none yet; the next has nothing to tell.
#[test]
fn what_is_not_new_is_not_told() {
    let said = |options: &[&str]| {
        let output = lvh(&[options, &["true"]].concat()).env("LVH_SHARE", "9p").output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    said(&[]);
    assert_eq!(said(&[]), "");
    let told = said(&["--verbose"]);
    assert!(told.contains(" ready in ") && told.contains(", warm)\n") && told.lines().count() == 2, "{told}");
    assert!(told.contains(" started in ") && told.contains(" ms, root "), "{told}");
}

#[test]
fn a_signal_while_the_vm_boots_ends_us() {
    let mut command = lvh(&["true"]);
    command.env("LVH_WARM_START", "0");
    let mut child = spawn(command);
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(": booting (")));
    // SAFETY: as above.
    assert_eq!(unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) }, 0);
    assert_eq!(child.wait().unwrap().code(), Some(128 + libc::SIGTERM));
}

#[test]
fn several_kernels_with_a_summary() {
    let script = "case $(uname -r) in 6.1.*) exit 3;; *) echo passed;; esac";
    let output = lvh(&["-k", "6.1", "-k", "6.12", "--", "sh", "-c", script]).output().unwrap();
    let stderr = check(&output, 3, "passed\n");
    let (_, rest) = stderr.split_once("lvh: kernel `6.1`: exit code 3\n").expect(&stderr);
    assert!(rest.ends_with("lvh: kernel `6.12`: exit code 0\n"), "{stderr}");
}

#[test]
fn time_is_up() {
    let output =
        lvh(&["--timeout", "15s", "--", "sh", "-c", "trap '' TERM; echo so far; sleep 3600"]).output().unwrap();
    let stderr = check(&output, 124, "so far\n");
    assert!(stderr.ends_with("lvh: timed out after 15s\n"), "{stderr}");
}

#[test]
fn a_dead_guest_is_a_failure_of_the_setup() {
    let stderr = check(&sh("echo last words; echo c > /proc/sysrq-trigger").output().unwrap(), 125, "last words\n");
    let died = "error: the guest died: the kernel panicked: ";
    assert!(stderr.contains(died) && stderr.contains("---- output ----\n"), "{stderr}");
    assert!(stderr.contains("write_sysrq_trigger"), "{stderr}");
}

/// `kernel.panic` of 0 keeps a machine whose kernel died; words that look like a death are none.
#[test]
fn a_dead_guest_that_stays_is_noticed() {
    let forged = "echo '<0>Kernel panic - not syncing: not at all' > /dev/kmsg; sleep 3; echo alive; ";
    let die = "echo 0 > /proc/sys/kernel/panic; echo c > /proc/sysrq-trigger";
    let stderr = check(&sh(&format!("{forged}{die}")).output().unwrap(), 125, "alive\n");
    assert!(stderr.contains("error: the guest died: the kernel panicked: "), "{stderr}");
    assert!(stderr.contains("write_sysrq_trigger"), "{stderr}");
}

#[test]
fn a_reader_that_leaves_ends_the_command() {
    let mut child = spawn(lvh(&["yes"]));
    let mut line = [0; 2];
    child.stdout.take().unwrap().read_exact(&mut line).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(128 + libc::SIGPIPE), "{}", text(&output.stderr));
}

/// Nobody reads what it writes.
#[test]
fn a_reader_that_takes_nothing_keeps_nobody() {
    let mut child = lvh(&["--timeout", "2s", "yes"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (unread, mut stderr) = (child.stdout.take(), child.stderr.take().unwrap());
    assert_eq!(child.wait().unwrap().code(), Some(124));
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    assert!(text.contains("lvh: timed out after 2s\n"), "{text}");
    drop(unread);
}

/// Asks for its end until it has come: of two signals that come before it looks, it hears one.
fn end_by_signals(child: &mut Child) {
    while child.try_wait().unwrap().is_none() {
        // SAFETY: kill takes plain numbers; the child is not reaped yet.
        assert_eq!(unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) }, 0);
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
}

/// Not even what lvh has to say is read.
#[test]
fn two_signals_end_it_whoever_does_not_read() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut command = sh("echo ready >&2; exec yes");
    let mut child = command.stdout(writer.try_clone().unwrap()).stderr(writer).spawn().unwrap();
    drop(command);
    let mut lines = BufReader::new(&reader).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"));
    // Time for the pipe to fill.
    std::thread::sleep(std::time::Duration::from_secs(2));
    end_by_signals(&mut child);
    assert_eq!(child.wait().unwrap().code(), Some(128 + libc::SIGTERM));
}

/// A guest that sleeps hears of no signal, and cannot keep us.
#[test]
fn a_guest_that_sleeps_is_ended_with_its_command() {
    let output = lvh(&["--timeout", "15s", "--", "sh", "-c", "echo freeze > /sys/power/state"]).output().unwrap();
    let stderr = check(&output, 124, "");
    assert!(stderr.contains("lvh: timed out after 15s\n"), "{stderr}");
    assert!(stderr.ends_with("lvh: the command could not be killed within 10s; its VM is ended\n"), "{stderr}");
}

#[test]
fn two_signals_end_it_whatever_the_guest_does() {
    let mut child = spawn(sh("echo ready; echo freeze > /sys/power/state"));
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    std::thread::sleep(std::time::Duration::from_secs(2));
    end_by_signals(&mut child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(128 + libc::SIGTERM), "{}", text(&output.stderr));
}
