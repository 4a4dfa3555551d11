//! Commands in one VM, side by side, as `lvh_core` runs them.

use std::path::Path;
use std::time::{Duration, Instant};

use lvh_core::vm::{Command, Exit, ProcessEvent, Stream, Vm, VmSpec};
use lvh_core::{Config, Events, kernel};

async fn boot() -> Vm {
    boot_as(|spec| spec).await
}

async fn boot_as(change: impl FnOnce(VmSpec) -> VmSpec) -> Vm {
    let config = Config::for_process(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (store, source) = (config.store().unwrap(), config.kernel("6.12").unwrap());
    let kernel = kernel::resolve("6.12", &source, &store, &Events::silent()).await.unwrap();
    let booted = Vm::boot(&change(VmSpec::new(kernel, &config)), &store, &Events::silent()).await;
    booted.unwrap_or_else(|error| panic!("{}", error.report()))
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// One that nobody listens to waits, alone; what it wrote is there for who comes late.
#[tokio::test]
async fn a_process_that_is_held_holds_up_nobody() {
    let vm = boot().await;
    let mut held = vm.spawn(&shell("head -c 20000000 /dev/zero; echo done >&2")).await.unwrap();
    let mut dropped = vm.spawn(&shell("head -c 20000000 /dev/zero; touch /tmp/dropped")).await.unwrap();
    // The kernel may have said something before that.
    while !matches!(dropped.next().await.expect("the guest is there"), ProcessEvent::Started) {}
    drop(dropped);
    // Long enough for the held one to fill all that there is on the way.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let started = Instant::now();
    let said = vm.output(&shell("echo out; echo err >&2; exit 3")).await.unwrap();
    assert_eq!((said.status.code(), &*said.stdout, &*said.stderr), (Some(3), &b"out\n"[..], &b"err\n"[..]));
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    let waits = shell("while [ ! -e /tmp/dropped ]; do sleep 0.1; done");
    assert!(tokio::time::timeout(Duration::from_secs(60), vm.status(&waits)).await.unwrap().unwrap().success());

    let (mut zeros, mut errors) = (0, Vec::new());
    loop {
        match held.next().await.expect("the guest is there") {
            ProcessEvent::Output(Stream::Stdout, data) => zeros += data.len(),
            ProcessEvent::Output(_, data) => errors.extend(data),
            ProcessEvent::Exited(exit) => break assert_eq!(exit, Exit::Code(0)),
            _ => {}
        }
    }
    assert_eq!((zeros, &*errors), (20_000_000, &b"done\n"[..]));
    vm.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_vm_shuts_down_with_a_process_that_is_held() {
    let vm = boot().await;
    let held = vm.spawn(&shell("yes")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // An error, where the guest did not answer in time.
    vm.shutdown().await.unwrap();
    drop(held);
}

#[tokio::test]
async fn commands_end_as_programs_of_the_host_do() {
    let vm = boot().await;
    let output = async |command: &mut Command| vm.output(command).await;
    let killed = output(&mut shell("kill -9 $$")).await.unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&killed.status), Some(9));
    let said = output(shell("echo $A; pwd").env("A", "b c").current_dir("/tmp")).await.unwrap();
    assert_eq!(said.stdout, b"b c\n/tmp\n");
    let absent = output(&mut Command::new("/no/such/program")).await.unwrap_err();
    assert_eq!(
        absent.to_string(),
        "failed to start `/no/such/program` in the guest: No such file or directory (os error 2)"
    );
    let error = output(&mut shell("echo b > /proc/sysrq-trigger; sleep 60")).await.unwrap_err();
    assert!(error.to_string().starts_with("the guest died: the machine was reset without a word"), "{error}");
    let gone = vm.spawn(&shell("true")).await.unwrap_err();
    assert_eq!(gone.to_string(), "the guest is gone");
}

/// Whatever the machine does beside us: what the guest says lies between the times before and after it was asked.
#[tokio::test]
async fn the_clock_is_the_hosts() {
    const TOLERANCE: Duration = Duration::from_millis(5);
    let since_1970 = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    for warm in [false, true] {
        let vm = boot_as(|spec| spec.warm_start(warm)).await;
        assert_eq!(vm.info().resumed, warm);
        let before = since_1970();
        let said = vm.output(Command::new("date").arg("+%s%N")).await.unwrap().stdout;
        let after = since_1970();
        let nanoseconds: u64 = String::from_utf8(said).unwrap().trim().parse().unwrap();
        let guest = Duration::from_nanos(nanoseconds);
        assert!(
            before <= guest + TOLERANCE && guest <= after + TOLERANCE,
            "{before:?} {guest:?} {after:?}, warm: {warm}"
        );
        vm.shutdown().await.unwrap();
    }
}

/// What programs of Linux take for granted.
#[tokio::test]
async fn the_guest_is_in_order() {
    let vm = boot().await;
    let output = async |script: &str| String::from_utf8(vm.output(&shell(script)).await.unwrap().stdout).unwrap();
    assert_eq!(output("cut -d' ' -f6 /proc/1/stat").await, "1\n", "PID 1 has no session of its own");
    let mounts = output("cat /proc/mounts").await;
    for target in ["/dev/mqueue", "/dev/hugepages", "/dev/shm", "/sys/fs/cgroup"] {
        assert!(mounts.lines().any(|line| line.split(' ').nth(1) == Some(target)), "{target}:\n{mounts}");
    }
    vm.shutdown().await.unwrap();
}
