//! Machines that lack this or that: KVM, QEMU, root.
//!
//! What KVM is worth differs from machine to machine; what lvh says about it must fit what it then does.

#[path = "../../lvh-oci/tests/registry/support/program.rs"]
mod program;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use lvh_core::{Config, Events, Kernel, kernel};
use lvh_tests::{Finished, Project, Report, TestTarget, Trace, Traces, cargo};
use program::copy_program;

static IN_VMS: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("in_vms"));

/// Nobody, by the number that Debian and the kernel give them.
const NOBODY: u32 = 65534;

/// A kernel, fetched where that has not happened yet.
fn kernel() -> Kernel {
    let config = Config::for_process(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let (source, store) = (config.kernel("6.12").unwrap(), config.store().unwrap());
    kernel::resolve_blocking("6.12", &source, &store, &Events::silent()).unwrap()
}

/// A package with a data directory of its own, an installed kernel and a test binary, all of which any user can read.
struct Machine {
    project: Project,
    binary: PathBuf,
}

impl Machine {
    fn new(name: &str) -> Self {
        // Not below the target directory: that may be in a home that others cannot enter.
        let name = format!("lvh-machines-{}-{name}", std::process::id());
        let config = "default-kernels = ['./root']\ndata-dir = 'data'\n";
        let project = Project::new(&std::env::temp_dir(), &name, config);
        install(&kernel(), &project.dir.join("root"));
        let binary = project.dir.join("in_vms");
        copy_program(IN_VMS.executable(), &binary);
        Self { project, binary }
    }

    /// The test binary, to run two tests as whoever we are.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env("LVH_VERBOSE", "1");
        self.project.own(&mut command);
        command
            .args(["--exact", "--test-threads=1", "ends::passes", "ends::panics_as_expected"])
            .env("HOME", &self.project.dir);
        for variable in ["LVH_DATA_DIR", "LVH_ACCEL", "LVH_KERNELS", "LVH_MODE", "XDG_CACHE_HOME", "NEXTEST"] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs the tests, which pass.
    #[track_caller]
    fn passes(command: &mut Command) -> Report {
        let report = Report::of(command);
        let Finished { code, stdout, stderr } = report.finished();
        assert_eq!(*code, Some(0), "{stdout}\n{stderr}");
        assert!(stdout.contains("2 passed; 0 failed; 0 ignored"), "{stdout}");
        assert_eq!(report.count_stderr(" ready in "), 1, "{stderr}");
        report
    }
}

/// Lays out `kernel` as an installed tree.
fn install(kernel: &Kernel, root: &Path) {
    let release = kernel.release.as_str();
    let (boot, modules) = (root.join("boot"), root.join("lib/modules"));
    [&boot, &modules].into_iter().for_each(|dir| fs::create_dir_all(dir).unwrap());
    fs::copy(&kernel.image, boot.join(format!("vmlinuz-{release}"))).unwrap();
    fs::copy(kernel.config.as_ref().unwrap(), boot.join(format!("config-{release}"))).unwrap();
    let copied = Command::new("cp").arg("-r").arg(kernel.modules.as_ref().unwrap()).arg(modules).status().unwrap();
    assert!(copied.success());
}

/// Gives everything below `dir` to `user`.
fn give(dir: &Path, user: u32) {
    chown(dir, Some(user), Some(user)).unwrap();
    for entry in fs::read_dir(dir).unwrap().flatten().filter(|entry| entry.file_type().unwrap().is_dir()) {
        give(&entry.path(), user);
    }
}

/// What a run under `auto` says of KVM fits what it does.
#[track_caller]
fn check_consistent(report: &Report) {
    let stderr = &report.finished().stderr;
    let (slow, kvm) = (report.count_stderr("; using TCG, about ten times slower"), report.count_stderr(" s (kvm, "));
    assert_eq!(slow + kvm, 1, "{stderr}");
    assert_eq!(report.count_stderr(" s (tcg, "), slow, "{stderr}");
}

#[test]
fn what_executes_the_guest() {
    let machine = Machine::new("kvm");
    let first = Machine::passes(&mut machine.command());
    check_consistent(&first);
    let second = Machine::passes(&mut machine.command());
    let stderr = &second.finished().stderr;
    // What was found out is not said again, and a VM that resumes is not booted.
    assert_eq!((second.count_stderr("; using TCG"), second.count_stderr("booting (")), (0, 0), "{stderr}");
    assert_eq!(second.count_stderr(" s (kvm, "), first.count_stderr(" s (kvm, "), "{stderr}");
    tcg_on_demand(&machine);
    without_qemu(&machine);
}

fn tcg_on_demand(machine: &Machine) {
    let report = Machine::passes(machine.command().env("LVH_ACCEL", "tcg"));
    assert_eq!(report.count_stderr("KVM"), 0, "{}", report.finished().stderr);
    assert_eq!(report.count_stderr(" s (tcg, "), 1);
}

fn without_qemu(machine: &Machine) {
    let Finished { code, stdout, .. } = Finished::of(machine.command().env("PATH", &machine.project.dir));
    assert_eq!(code, Some(101));
    let program = format!("`qemu-system-{}` was not found in PATH", std::env::consts::ARCH);
    let package = "hint: sudo apt install qemu-system-";
    assert!(stdout.contains(&program) && stdout.contains(package), "{stdout}");
}

#[test]
fn a_user_without_root() {
    let machine = Machine::new("nobody");
    let mut command = machine.command();
    // SAFETY: geteuid reads a number.
    if unsafe { libc::geteuid() } == 0 {
        give(&machine.project.dir, NOBODY);
        command.uid(NOBODY).gid(NOBODY);
    }
    let report = Machine::passes(&mut command);
    check_consistent(&report);
    let open_to_all = fs::metadata("/dev/kvm").is_ok_and(|kvm| kvm.permissions().mode() & 0o6 == 0o6);
    // SAFETY: as above.
    if unsafe { libc::geteuid() } == 0 && !open_to_all {
        let why = "KVM is not usable: cannot open `/dev/kvm`: ";
        assert_eq!(report.count_stderr(why), 1, "{}", report.finished().stderr);
        let forced = Finished::of(command.env("LVH_ACCEL", "kvm"));
        assert_eq!(forced.code, Some(101));
        assert!(forced.stdout.contains(why) && forced.stdout.contains("\nhint: "), "{}", forced.stdout);
    }
}

/// Both find nothing and make everything; neither sees half of what the other makes.
#[test]
fn two_runs_share_a_new_data_directory() {
    let machine = Machine::new("two");
    let [one, two] = [(); 2].map(|()| {
        let mut command = machine.command();
        std::thread::spawn(move || Machine::passes(&mut command))
    });
    let told = [one, two].map(|run| run.join().unwrap().count_stderr("; using TCG, about ten times slower"));
    // Whoever is later knows it from the other.
    assert!(told.iter().all(|&times| times <= 1), "{told:?}");
    let halves = fs::read_dir(machine.project.dir.join("data/store/tmp")).unwrap().flatten();
    assert_eq!(halves.filter(|entry| entry.path().is_dir()).count(), 0);
}

/// nextest starts a process for each test, and as many at a time as it is told.
#[test]
fn one_vm_at_a_time_where_no_more_are_allowed() {
    let filter = "test(/^(ends::passes|ends::panics_as_expected|deaths::a_passes)/)";
    let mut nextest = cargo();
    nextest.args(["nextest", "run", "--offline", "--color=never", "--test=in_vms", "--test-threads=3", "-E", filter]);
    let traces = Traces::mark(nextest.env("LVH_KERNELS", "6.12").env("LVH_VMS", "1"));
    let run = thread::spawn(move || Finished::of(&mut nextest));
    let is_qemu = |trace: &Trace| trace.command_line.starts_with("qemu-system-x86_64 ");
    let mut most = 0;
    while !run.is_finished() {
        most = most.max(traces.processes().into_iter().filter(is_qemu).count());
        thread::sleep(Duration::from_millis(5));
    }
    let Finished { code, stderr, .. } = run.join().unwrap();
    assert!(stderr.contains("3 tests run: 3 passed"), "{stderr}");
    assert_eq!((code, most), (Some(0), 1), "{stderr}");
}
