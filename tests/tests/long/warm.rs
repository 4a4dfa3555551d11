//! Warm starts: VMs that resume from snapshots.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use lvh_core::{Config, Events, kernel};
use lvh_tests::{Finished, Project, TestTarget, lvh};

static TRANSPORT: LazyLock<TestTarget> = LazyLock::new(|| TestTarget::build("transport"));

/// A package with a data directory of its own, and a kernel of that name which it need not fetch.
fn project(name: &str, of: &str) -> Project {
    let config = Config::for_process(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap();
    let source = config.kernel(of).unwrap();
    let kernel = kernel::resolve_blocking(of, &source, &config.store().unwrap(), &Events::silent()).unwrap();
    let toml = "data-dir = 'data'\ndefault-kernels = ['it']\n[kernels.it]\npath = 'tree'\n";
    let project = Project::new(Path::new(env!("CARGO_TARGET_TMPDIR")), name, toml);
    let tree = project.dir.join("tree");
    fs::create_dir_all(tree.join("lib/modules")).unwrap();
    fs::create_dir_all(tree.join("boot")).unwrap();
    let release = kernel.release.as_str();
    std::os::unix::fs::symlink(kernel.modules.unwrap(), tree.join("lib/modules").join(release)).unwrap();
    fs::copy(kernel.config.unwrap(), tree.join("boot").join(format!("config-{release}"))).unwrap();
    fs::copy(kernel.image, tree.join("boot").join(format!("vmlinuz-{release}"))).unwrap();
    project
}

fn exec(project: &Project, script: &str) -> Finished {
    let mut command = lvh();
    command.args(["exec", "--", "sh", "-c", script]);
    run(project, &mut command)
}

fn run(project: &Project, command: &mut Command) -> Finished {
    project.own(command);
    for variable in ["LVH_DATA_DIR", "LVH_KERNELS", "LVH_CHANNEL", "LVH_SHARE", "LVH_WARM_START"] {
        command.env_remove(variable);
    }
    Finished::of(command)
}

/// The snapshots that there are.
fn snapshots(project: &Project) -> Vec<PathBuf> {
    let entries = fs::read_dir(project.dir.join("data/store/vm")).into_iter().flatten();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// What must not repeat: random numbers, and what the kernel and programs make of them.
const UNIQUE: &str =
    "head -c16 /dev/urandom | od -An -tx8; cat /proc/sys/kernel/random/uuid /proc/sys/kernel/random/boot_id";

#[test]
fn vms_that_resume_from_one_snapshot_are_not_the_same() {
    for of in ["5.10", "6.12"] {
        let project = project(&format!("warm-{of}"), of);
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            let Finished { code, stdout, stderr } = exec(&project, &format!("date +%s; {UNIQUE}"));
            assert_eq!(code, Some(0), "{stderr}");
            assert!(stderr.contains(", warm)"), "{stderr}");
            let mut lines = stdout.lines();
            let clock: u64 = lines.next().unwrap().parse().unwrap();
            let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
            assert!((before..=after).contains(&clock), "{before} {clock} {after}");
            seen.extend(lines.map(str::to_owned));
        }
        assert_eq!(seen.len(), 3 * 3, "{seen:?}");
        assert_eq!(snapshots(&project).len(), 1);
    }
}

#[test]
fn a_snapshot_that_does_not_resume_is_replaced() {
    let project = project("warm-broken", "6.12");
    assert_eq!(exec(&project, "true").code, Some(0));
    let [dir] = &snapshots(&project)[..] else { panic!("{:?}", snapshots(&project)) };
    // Not to be told from a sound one but by resuming.
    let (state, time) =
        (fs::read(dir.join("state")).unwrap(), fs::metadata(dir.join("state")).unwrap().modified().unwrap());
    let rubbish: Vec<u8> = state[..64].iter().copied().chain(state[64..].iter().map(|byte| !byte)).collect();
    fs::write(dir.join("state"), rubbish).unwrap();
    fs::File::options().write(true).open(dir.join("state")).unwrap().set_modified(time).unwrap();

    let Finished { code, stdout, stderr } = exec(&project, "echo passed");
    assert_eq!((code, stdout.as_str()), (Some(0), "passed\n"), "{stderr}");
    assert!(stderr.contains("the snapshot does not resume, a new VM is booted: ") && !stderr.contains(", warm)"));
    let Finished { code, stderr, .. } = exec(&project, "true");
    assert!(code == Some(0) && stderr.contains(", warm)") && !stderr.contains("does not resume"), "{stderr}");
}

/// Whatever of what is kept comes to harm: it is told once, and the next start is as ever.
#[test]
fn damage_to_what_is_kept_is_told_and_mended() {
    let project = project("warm-damaged", "6.12");
    let stderr = exec(&project, "true").stderr;
    assert!(
        stderr.contains(": booting (") && stderr.contains(" s of it for a snapshot that later starts "),
        "{stderr}"
    );
    let whole = exec(&project, "true").stderr;
    assert!(!whole.contains("booting") && !whole.contains("snapshot") && whole.contains(", warm)"), "{whole}");
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 7] = [
        ("vm", |entry| fs::remove_file(entry.join("release")).unwrap()),
        ("vm", |entry| fs::write(entry.join("release"), "").unwrap()),
        ("vm", |entry| fs::remove_file(entry.join("memory")).unwrap()),
        ("vm", |entry| {
            let state = fs::read(entry.join("state")).unwrap();
            fs::write(entry.join("state"), &state[..state.len() / 2]).unwrap();
        }),
        ("vm", |entry| fs::remove_file(entry.join(".manifest")).unwrap()),
        ("initramfs", |entry| {
            fs::read_dir(entry).unwrap().for_each(|file| fs::write(file.unwrap().path(), "x").unwrap());
        }),
        ("vmlinux", |entry| fs::remove_file(entry.join("vmlinux")).unwrap()),
    ];
    for (kind, harm) in harms {
        let entries = fs::read_dir(project.dir.join("data/store").join(kind)).unwrap();
        entries.for_each(|entry| harm(&entry.unwrap().path()));
        let Finished { code, stderr, .. } = exec(&project, "true");
        assert_eq!(code, Some(0), "{stderr}");
        assert_eq!(stderr.matches(" in the data directory is damaged (").count(), 1, "{kind}: {stderr}");
        assert!(stderr.contains(", warm)"), "{kind}: {stderr}");
    }
    assert!(!exec(&project, "true").stderr.contains("damaged"));
}

/// A kernel that is packed as a whole, which QEMU does not take.
#[test]
fn a_packed_kernel_is_unpacked() {
    let project = project("warm-packed", "6.12");
    let boot = project.dir.join("tree/boot");
    let image = fs::read_dir(&boot).unwrap().map(|file| file.unwrap().path());
    let image =
        image.into_iter().find(|file| file.file_name().unwrap().to_str().unwrap().starts_with("vmlinuz-")).unwrap();
    assert!(Command::new("gzip").arg("-n").arg(&image).status().unwrap().success());
    fs::rename(
        image.with_extension(format!("{}.gz", image.extension().unwrap().to_str().unwrap())),
        boot.join("packed"),
    )
    .unwrap();
    let mut command = lvh();
    command.args(["exec", "-k", "./tree/boot/packed", "--", "uname", "-r"]).env("LVH_WARM_START", "0");
    project.own(&mut command);
    let Finished { code, stdout, stderr } = Finished::of(command.env_remove("LVH_DATA_DIR"));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("6.12.") && stderr.contains("unpacking the kernel image"), "{stdout}{stderr}");
}

#[test]
fn who_wants_a_boot_gets_one() {
    let project = project("warm-not", "6.12");
    let mut command = lvh();
    project.own(command.args(["exec", "true"]).env("LVH_WARM_START", "0"));
    let Finished { code, stderr, .. } = Finished::of(command.env_remove("LVH_KERNELS").env_remove("LVH_DATA_DIR"));
    assert!(code == Some(0) && !stderr.contains(", warm)"), "{stderr}");
    assert!(snapshots(&project).is_empty());

    // One test of the attribute, one that shares nothing with it.
    let mut command = TRANSPORT.command();
    let Finished { code, stdout, stderr } = run(&project, command.args(["--exact", "boots_afresh", "tells"]));
    assert_eq!(code, Some(0), "{stdout}\n{stderr}");
    let ready: Vec<_> = stderr.lines().filter(|line| line.contains(" ready in ")).collect();
    assert_eq!(ready.iter().filter(|line| line.contains(", warm)")).count(), 1, "{stderr}");
    assert_eq!(ready.len(), 2, "{stderr}");

    // Only what took long is told, where nobody asks for more.
    let mut command = TRANSPORT.command();
    command.args(["--exact", "boots_afresh", "tells"]).env_remove("LVH_VERBOSE");
    let stderr = run(&project, &mut command).stderr;
    let told: Vec<_> = stderr.lines().filter(|line| line.contains(" ready in ")).collect();
    assert!(told.len() == 1 && !stderr.contains(", warm)"), "{stderr}");
}

/// On a disk with room for the kernel and not for a VM, in a mount namespace of our own.
#[test]
fn where_there_is_no_room_for_a_snapshot_vms_boot() {
    let project = project("warm-full", "6.12");
    let data = project.dir.join("data");
    fs::create_dir(&data).unwrap();
    let script = "mount -t tmpfs -o size=$1 tmpfs \"$2\" && exec \"$3\" exec -- echo passed";
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", script, "sh", "110m"]).arg(&data).arg(lvh().get_program());
    let Finished { code, stdout, stderr } = run(&project, &mut command);
    assert_eq!((code, stdout.as_str()), (Some(0), "passed\n"), "{stderr}");
    assert!(stderr.contains("lvh: no snapshot can be made for the next start: "), "{stderr}");
    assert!(stderr.contains(" ready in ") && !stderr.contains(", warm)"), "{stderr}");
}

/// Many at once: one takes a snapshot, the others do not wait for it.
#[test]
fn any_number_of_processes_may_begin_together() {
    let project = project("warm-many", "6.12");
    let runs: Vec<Finished> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| exec(&project, UNIQUE))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let lines: BTreeSet<&str> = runs.iter().flat_map(|run| run.stdout.lines()).collect();
    assert_eq!(lines.len(), 4 * 3, "{runs:?}");
    assert_eq!(snapshots(&project).len(), 1);
    assert_eq!(
        fs::read_dir(project.dir.join("data/store/tmp"))
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().is_dir())
            .count(),
        0
    );
}
