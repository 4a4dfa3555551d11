//! Processes that hold slots, and no VMs: in a network namespace of their own, which abstract sockets belong to.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use std::{env, thread};

use rustix::fs::{FlockOperation, fcntl_lock};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use super::claim::{Claim, State, Ticket};
use super::slot::Slot;
use crate::Events;
use crate::machine::room::Room;

/// How many VMs there is room for.
const ROOM: usize = 3;

/// Where holders do what, and what a holder is to do.
const DIR: &str = "LVH_SLOTS_DIR";
const ROLE: &str = "LVH_SLOTS_ROLE";

/// This test binary again, as the ignored test `role`.
fn this(role: &str, dir: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.arg(if geteuid().is_root() { "-n" } else { "-nr" });
    command.arg(env::current_exe().unwrap());
    with_role(command, role, dir)
}

fn with_role(mut command: Command, role: &str, dir: &Path) -> Command {
    command.args(["--exact", "machine::slots::tests::in_a_namespace", "--ignored", "--nocapture"]);
    command.env(DIR, dir).env(ROLE, role);
    command
}

/// One more process in this namespace.
fn start(role: &str, dir: &Path) -> Child {
    with_role(Command::new(env::current_exe().unwrap()), role, dir).stdout(std::process::Stdio::null()).spawn().unwrap()
}

#[track_caller]
fn check(role: &str) {
    let dir = tempfile::tempdir().unwrap();
    let output = this(role, dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn no_more_than_fit_whoever_is_killed_and_nobody_waits_for_ever() {
    check("crowd");
}

#[test]
fn first_come_first_served() {
    check("line");
}

#[test]
fn a_child_takes_its_parents_place() {
    check("parent");
}

#[test]
#[ignore = "the others start it"]
fn in_a_namespace() {
    let dir = PathBuf::from(env::var_os(DIR).unwrap());
    match env::var(ROLE).unwrap().as_str() {
        "crowd" => crowd(&dir),
        "line" => line(&dir),
        "parent" => parent(&dir),
        "often" => hold_often(&dir),
        "child" => hold_until_seen(&dir),
        "until killed" => {
            let _slot = take(1);
            thread::sleep(Duration::from_secs(60));
        }
        name => hold_once(&dir, name),
    }
}

fn take(vms: usize) -> Slot {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let room = Room { vms, memory_mib: u64::MAX };
    runtime.block_on(Slot::take(1, room, "test", &Events::silent()))
}

/// Twelve processes want a slot again and again; every few milliseconds one of them is killed and replaced.
fn crowd(dir: &Path) {
    let mut holders: Vec<Child> = (0..12).map(|_| start("often", dir)).collect();
    let mut odd = std::process::id() as usize;
    for _ in 0..60 {
        thread::sleep(Duration::from_millis(13));
        odd = odd.wrapping_mul(31).wrapping_add(7);
        let victim = odd % holders.len();
        let _ = holders[victim].kill();
        holders[victim].wait().unwrap();
        holders[victim] = start("often", dir);
    }
    let begin = Instant::now();
    for mut holder in holders {
        assert!(holder.wait().unwrap().success());
    }
    assert!(begin.elapsed() < Duration::from_secs(20));
    assert_eq!(Claim::all().unwrap(), []);
}

/// What is held beside each slot is one of as many locks. The kernel takes them from the dead before it closes their sockets.
fn hold_often(dir: &Path) {
    let locks: Vec<File> = (0..ROOM).map(|index| File::create(dir.join(index.to_string())).unwrap()).collect();
    for round in 0..10 {
        let slot = take(ROOM);
        let lock = locks.iter().find(|lock| fcntl_lock(lock, FlockOperation::NonBlockingLockExclusive).is_ok());
        let Some(lock) = lock else { panic!("more than {ROOM} hold slots") };
        thread::sleep(Duration::from_millis(round % 4));
        fcntl_lock(lock, FlockOperation::Unlock).unwrap();
        drop(slot);
    }
}

fn hold_once(dir: &Path, name: &str) {
    let slot = take(1);
    fs::write(dir.join(name), Ticket::take().time.to_string()).unwrap();
    thread::sleep(Duration::from_millis(20));
    drop(slot);
}

/// Names itself, and holds until its parent has seen that.
fn hold_until_seen(dir: &Path) {
    let slot = take(1);
    let name = std::process::id().to_string();
    fs::write(dir.join(&name), "").unwrap();
    wait_for(|| !dir.join(&name).exists());
    drop(slot);
}

#[track_caller]
fn wait_for(done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", Claim::all());
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until as many claims are in this state.
fn await_claims(count: usize, state: fn(&Claim) -> bool) {
    wait_for(|| count_claims(state) == count);
}

fn count_claims(state: fn(&Claim) -> bool) -> usize {
    Claim::all().unwrap().iter().filter(|claim| state(claim)).count()
}

/// One after the other waits in line, one of them stopped for a while; then there is room.
fn line(dir: &Path) {
    let mut holder = start("until killed", dir);
    await_claims(1, Claim::runs);
    let names = ["a", "b", "c", "d"];
    let mut holders = Vec::new();
    for name in names {
        holders.push(start(name, dir));
        await_claims(holders.len(), |claim| claim.state == State::Waiting);
    }
    let first = Pid::from_child(&holders[0]);
    kill_process(first, Signal::STOP).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    thread::sleep(Duration::from_millis(50));
    assert!(names.iter().all(|name| !dir.join(name).exists()), "somebody overtook");
    kill_process(first, Signal::CONT).unwrap();
    holders.iter_mut().for_each(|holder| assert!(holder.wait().unwrap().success()));
    let times = names.map(|name| fs::read_to_string(dir.join(name)).unwrap().parse::<u64>().unwrap());
    assert!(times.is_sorted(), "{times:?}");
}

/// The only slot is ours, and our children want one.
fn parent(dir: &Path) {
    let slot = take(1);
    let mut children: Vec<Child> = (0..3).map(|_| start("child", dir)).collect();
    for _ in 0..children.len() {
        wait_for(|| fs::read_dir(dir).unwrap().count() > 0);
        // The list may lack one for a moment, while others move.
        wait_for(|| count_claims(Claim::runs) == 2);
        let holders: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(holders.len(), 1, "{holders:?}");
        fs::remove_file(&holders[0]).unwrap();
    }
    children.iter_mut().for_each(|child| assert!(child.wait().unwrap().success()));
    drop(slot);
}
