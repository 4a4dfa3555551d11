//! A machine that is a container: limits of memory and of processes, set by real control groups of both versions. They are
//! made in a guest, so that no machine is too small or too strict for this.

use std::path::Path;

use lvh_tests::{Finished, TestTarget, lvh};

/// `$1` is lvh, `$2` a test binary, `$3` a directory for programs. `limited CONTROLLER FILE VALUE COMMAND..` runs the
/// command in a group below one with this limit.
const LIMITED: &str = r#"
lvh=$1 tests=$2
limited() {
    place=$(where $1); mkdir -p $place/limited/inner; echo $3 > $place/limited/$2; shift 3
    sh -c 'place=$1; shift; echo $$ > $place/limited/inner/cgroup.procs; exec "$@"' sh $place "$@" 2>&1 && code=0 || code=$?
    echo "code $code"
    echo max > $place/limited/pids.max 2> /dev/null || :
}
qemu() { printf '#!/bin/sh\n%s\n' "$1" > /tmp/qemu-system-x86_64; chmod +x /tmp/qemu-system-x86_64; }
export LVH_ACCEL=tcg LVH_WARM_START=0 LVH_KERNELS=6.1 PATH=/tmp:$PATH
"#;

/// The unified hierarchy.
const VERSION_2: &str = r#"
where() { echo /sys/fs/cgroup; }
memory=memory.max
echo '+memory +pids' > /sys/fs/cgroup/cgroup.subtree_control
"#;

/// A hierarchy for each.
const VERSION_1: &str = r#"
where() { echo /tmp/$1; }
memory=memory.limit_in_bytes
for controller in memory pids; do mkdir /tmp/$controller; mount -t cgroup -o $controller none /tmp/$controller; done
echo 1 > /tmp/memory/memory.use_hierarchy 2> /dev/null || :
"#;

const MEMORY: &str = r#"
echo '== small'; limited memory $memory 512M "$lvh" exec true
echo '== tests'; limited memory $memory 512M "$tests" --exact ends::passes
echo '== doctor'; limited memory $memory 512M "$lvh" doctor
qemu 'echo QEMU "$@" >&2; exit 7'
echo '== smaller'; limited memory $memory 700M "$lvh" exec true
echo '== again'; limited memory $memory 700M "$tests" --exact ends::passes
qemu 'exec tail /dev/zero'
echo '== killed'; limited memory $memory 300M "$lvh" exec --memory 128M true
qemu 'kill -KILL $$'
echo '== not for memory'; limited memory $memory 300M "$lvh" exec --memory 128M true
"#;

/// From none to enough for us, and not for QEMU.
const TASKS: &str = r#"
[ $memory != memory.max ] || echo max > /sys/fs/cgroup/limited/memory.max
qemu 'echo "qemu: qemu_thread_create: Resource temporarily unavailable" >&2; kill -ABRT $$'
for tasks in 1 2 3 16; do
    echo "== exec $tasks"; limited pids pids.max $tasks "$lvh" exec true
    echo "== tests $tasks"; limited pids pids.max $tasks "$tests" --exact ends::passes
done
"#;

/// What the parts of a script wrote, by their titles.
struct Said(String);

impl Said {
    /// Runs a script in a guest.
    fn by(parts: &[&str]) -> Self {
        let tests = TestTarget::build("in_vms");
        let mut command = lvh();
        let program = command.get_program().to_owned();
        command.current_dir(env!("CARGO_MANIFEST_DIR"));
        command.args(["exec", "-q", "-k", "6.1", "--memory", "2G", "--timeout", "10m", "--", "sh", "-euc"]);
        command.arg(parts.concat()).arg("sh").arg(&program).arg(tests.executable());
        let Finished { code, stdout, stderr } = Finished::of(&mut command);
        assert_eq!(code, Some(0), "{stdout}\n{stderr}");
        Self(stdout)
    }

    /// Asserts that a part ended with `code` and said all of `texts`.
    #[track_caller]
    fn check(&self, title: &str, code: i32, texts: &[&str]) {
        let (_, part) = self.0.split_once(&format!("== {title}\n")).unwrap_or_else(|| panic!("{title}: {}", self.0));
        let part = part.split("\n== ").next().unwrap_or_default();
        assert!(part.trim_end().ends_with(&format!("code {code}")), "{title}:\n{part}");
        for text in texts {
            assert!(part.contains(text), "{title}: no `{text}` in:\n{part}");
        }
        assert!(!part.contains("panicked at"), "{title}:\n{part}");
    }
}

#[track_caller]
fn check_memory(said: &Said, file: &Path) {
    let is = |mib: u32| format!("the limit is {mib} MiB (`{}`)", file.display());
    let hint = "hint: set `memory = \"320M\"` in [vm] of lvh.toml, ";
    said.check("small", 125, &["error: a VM with `memory = \"1G\"` needs 1174 MiB", &is(512), hint]);
    said.check("tests", 101, &[": a VM with `memory = \"1G\"` needs 1174 MiB", &is(512), hint]);
    said.check("doctor", 1, &["MISSING  memory limit ", &format!("512 MiB (`{}`)", file.display())]);
    let less = format!("lvh: VMs have `memory = \"512M\"` by default, not 1G: {}\n", is(700));
    said.check("smaller", 125, &[&less, " -m 512M ", "QEMU ended (exit status: 7)"]);
    said.check("again", 101, &[" -m 512M "]);
    assert_eq!(said.0.matches(" by default, not 1G").count(), 1, "{}", said.0);
    let killed = format!("did not boot: the kernel killed QEMU for want of memory: {}", is(300));
    said.check("killed", 125, &[&killed, "\nhint: `memory` of [vm] in lvh.toml"]);
    said.check("not for memory", 125, &["did not boot: QEMU was killed (signal: 9 (SIGKILL))"]);
}

#[track_caller]
fn check_tasks(said: &Said, file: &Path) {
    let unavailable = "Resource temporarily unavailable";
    for tasks in [1, 2, 3] {
        let hint =
            format!("hint: the control group allows {tasks} (`{}`) processes and threads: raise", file.display());
        said.check(&format!("exec {tasks}"), 125, &["error: ", unavailable, &hint]);
        said.check(&format!("tests {tasks}"), 101, &[unavailable, &hint]);
    }
    let qemu =
        ["did not boot: QEMU could not start a thread (signal: 6 (SIGABRT)", "\nhint: `ulimit -u` and `pids.max`"];
    said.check("exec 16", 125, &qemu);
    said.check("tests 16", 101, &["test result: FAILED"]);
}

#[test]
fn limits_of_version_2() {
    let said = Said::by(&[LIMITED, VERSION_2, MEMORY, TASKS]);
    check_memory(&said, Path::new("/sys/fs/cgroup/limited/memory.max"));
    check_tasks(&said, Path::new("/sys/fs/cgroup/limited/pids.max"));
}

#[test]
fn limits_of_version_1() {
    let said = Said::by(&[LIMITED, VERSION_1, MEMORY, TASKS]);
    check_memory(&said, Path::new("/tmp/memory/limited/memory.limit_in_bytes"));
    check_tasks(&said, Path::new("/tmp/pids/limited/pids.max"));
}
