//! The GitHub action: its steps' scripts run here as a runner would run them, on an image with an SSH server of its own.

mod port;

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lvh_oci::{Architecture, Content, Pack, Platform};
use port::free_port;
use yaml_rust2::{Yaml, YamlLoader};

/// What each use of the published action may give, and what it is otherwise.
const INPUTS: [(&str, Option<&str>); 23] = [
    ("test-name", None),
    ("image-repo", Some("quay.io/lvh-images")),
    ("image", Some("kind")),
    ("image-version", Some("5.10-main")),
    ("images-folder-parent", Some("")),
    ("lvh-version", Some("v0.0.30")),
    ("cmd", None),
    ("ssh-port", Some("2222")),
    ("ssh-connect-wait-retries", Some("300")),
    ("ssh-connect-wait-timeout", Some("1")),
    ("host-mount", None),
    ("provision", Some("true")),
    ("install-dependencies", Some("false")),
    ("serial-port", Some("0")),
    ("cpu", None),
    ("mem", None),
    ("cpu-kind", Some("host")),
    ("kernel-path", None),
    ("verbose", Some("false")),
    ("port-forward", None),
    ("arch", Some("amd64")),
    ("kernel-version", Some("")),
    ("additional-disk-size", Some("")),
];

/// `action.yml`, and what a runner knows of the uses of one job.
struct Runner {
    action: Yaml,
    dir: PathBuf,
}

/// How a use of the action ended.
#[derive(Debug)]
struct Used {
    /// The code of the first step that failed, else 0.
    code: i32,
    output: String,
}

impl Runner {
    fn new(dir: &Path) -> Self {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../action.yml")).unwrap();
        let mut documents = YamlLoader::load_from_str(&text).unwrap();
        fs::create_dir_all(dir.join("temp")).unwrap();
        Self { action: documents.remove(0), dir: dir.to_owned() }
    }

    fn steps(&self) -> &[Yaml] {
        self.action["runs"]["steps"].as_vec().unwrap()
    }

    /// The values of `${{ … }}`: of inputs, those given and the defaults.
    fn values(&self, given: &[(&str, &str)]) -> HashMap<String, String> {
        let mut values = HashMap::from([("github.action_path".to_owned(), "/nowhere".to_owned())]);
        for (name, input) in self.action["inputs"].as_hash().unwrap() {
            let name = name.as_str().unwrap();
            let given = given.iter().find(|(given, _)| *given == name).map(|(_, value)| *value);
            let value = given.unwrap_or(input["default"].as_str().unwrap_or_default());
            values.insert(format!("inputs.{name}"), value.to_owned());
        }
        values
    }

    /// Runs all steps whose condition holds.
    fn run(&self, given: &[(&str, &str)]) -> Used {
        let (mut values, mut used) = (self.values(given), Used { code: 0, output: String::new() });
        for step in self.steps() {
            if !holds(step["if"].as_str().unwrap_or("${{ true }}"), &values, used.code == 0) {
                continue;
            }
            let id = step["id"].as_str().unwrap_or_default();
            match step["uses"].as_str() {
                Some(cache) => {
                    assert!(cache.starts_with("actions/cache@"), "{cache}");
                    let path = filled(step["with"]["path"].as_str().unwrap(), &values);
                    values.insert(format!("steps.{id}.outputs.cache-hit"), Path::new(&path).exists().to_string());
                }
                None => self.run_script(step, id, &mut values, &mut used),
            }
        }
        used
    }

    fn run_script(&self, step: &Yaml, id: &str, values: &mut HashMap<String, String>, used: &mut Used) {
        let (script, outputs) = (self.dir.join("temp/step.sh"), self.dir.join("temp/outputs"));
        fs::write(&script, step["run"].as_str().unwrap()).unwrap();
        fs::write(&outputs, "").unwrap();
        let lvh = Path::new(env!("CARGO_BIN_EXE_lvh")).parent().unwrap();
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail"]).arg(&script).current_dir(&self.dir);
        command.env("PATH", format!("{}:{}", lvh.display(), std::env::var("PATH").unwrap()));
        command.env("GITHUB_OUTPUT", &outputs).env("RUNNER_TEMP", self.dir.join("temp"));
        command.env("TMPDIR", self.dir.join("temp"));
        for (name, value) in step["env"].as_hash().into_iter().flatten() {
            command.env(name.as_str().unwrap(), filled(value.as_str().unwrap(), values));
        }
        // The VM goes on, so there is no end of file to wait for.
        let said = self.dir.join("temp/said");
        let to = fs::File::create(&said).unwrap();
        command.stdin(Stdio::null()).stdout(to.try_clone().unwrap()).stderr(to);
        let code = command.status().unwrap().code().unwrap();
        used.output += &fs::read_to_string(&said).unwrap();
        used.code = if used.code == 0 { code } else { used.code };
        for (name, value) in fs::read_to_string(&outputs).unwrap().lines().filter_map(|line| line.split_once('=')) {
            values.insert(format!("steps.{id}.outputs.{name}"), value.to_owned());
        }
    }
}

/// Whether a condition of those that the action has holds.
fn holds(condition: &str, values: &HashMap<String, String>, well_so_far: bool) -> bool {
    let inner = condition.trim().trim_start_matches("${{").trim_end_matches("}}");
    let terms: Vec<&str> = inner.split("&&").map(str::trim).collect();
    let holds = |term: &str| match (term.split_once(" == "), term.split_once(" != ")) {
        (Some((left, right)), None) => value(left, values) == right.trim_matches('\''),
        (None, Some((left, right))) => value(left, values) != right.trim_matches('\''),
        _ => ["always()", "true"].contains(&term),
    };
    (well_so_far || terms.contains(&"always()")) && terms.iter().all(|term| holds(term))
}

fn value<'v>(name: &str, values: &'v HashMap<String, String>) -> &'v str {
    assert!(name.starts_with("steps.") || values.contains_key(name), "`{name}` is nothing");
    values.get(name).map(String::as_str).unwrap_or_default()
}

/// The text with the values of its expressions in their places.
fn filled(text: &str, values: &HashMap<String, String>) -> String {
    let mut parts = text.split("${{");
    let mut filled = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap();
        filled = filled + value(name.trim(), values) + rest;
    }
    filled
}

#[test]
fn the_inputs_are_those_of_the_published_action() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runner = Runner::new(dir.path());
    let inputs = &runner.action["inputs"];
    for (name, default) in INPUTS {
        assert_eq!(inputs[name]["default"].as_str(), default, "{name}");
        assert!(!inputs[name]["description"].is_badvalue(), "{name}");
    }
    assert!(!inputs["shutdown"].is_badvalue());
    assert_eq!(inputs.as_hash().unwrap().len(), INPUTS.len() + 1);
    // What is pasted into a script is code.
    let scripts = runner.steps().iter().filter_map(|step| step["run"].as_str());
    scripts.for_each(|script| assert!(!script.contains("${{"), "{script}"));
}

#[test]
fn images_have_the_names_of_their_files() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runner = Runner::new(dir.path());
    let step = runner.steps().iter().find(|step| step["id"].as_str() == Some("files")).unwrap();
    let check = |image: &str, version: &str, expected: &str| {
        let parent = dir.path().to_str().unwrap();
        let given = [("image", image), ("image-version", version), ("images-folder-parent", parent)];
        let (mut values, mut used) = (runner.values(&given), Used { code: 0, output: String::new() });
        runner.run_script(step, "files", &mut values, &mut used);
        let file = Path::new(&values["steps.files.outputs.image"]);
        assert_eq!(file.strip_prefix(parent).unwrap(), Path::new("images/amd64/images").join(expected), "{version}");
    };
    check("kind", "5.10-main", "kind_5.10.qcow2");
    check("kind-ci", "6.6-20240404.012646", "kind_6.6.qcow2");
    check("kind", "6.6-20240404.012646-amd64", "kind_6.6.qcow2");
    check("kind", &format!("6.6-main@sha256:{}", "0".repeat(64)), "kind_6.6.qcow2");
    check("complexity-test", "bpf-next-main", "complexity-test_bpf-next.qcow2");
    check("kind", "bpf-next-20240404.012646", "kind_bpf-next.qcow2");
    check("kind", "rhel8.9-20240404.012646", "kind_rhel8.9.qcow2");
    check("kind", "6.6", "kind_6.6.qcow2");
}

const INIT: &str = "#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t 9p -o trans=virtio host_mount /host
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
trap 'sync; poweroff -f' USR2
dropbear -R -E -B
while :; do sleep 1; done
";

/// Does with lvh's agent what systemd does.
const INIT_OF_AGENT: &str = "#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
value() { sed -n \"s/^$1=//p\" /run/systemd/system/multi-user.target.wants/lvh-agent.service; }
echo 'echo running' > /bin/systemctl; chmod 755 /bin/systemctl
cd $(value WorkingDirectory)
while :; do $(value ExecStart); sleep 0.1; done &
trap 'sync; poweroff -f' USR2
while :; do sleep 1; done
";

/// Runs a program of the host, which must succeed; what it printed.
fn do_run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Makes an image with busybox and an SSH server that lets root in, as those of Cilium do, at `image`.
fn make_image(dir: &Path, image: &Path, init: &str) {
    let (tree, raw) = (dir.join("tree"), dir.join("raw"));
    for name in ["bin", "sbin", "lib/systemd", "dev", "proc", "run", "host", "tmp", "root", "etc/dropbear"] {
        fs::create_dir_all(tree.join(name)).unwrap();
    }
    let program = if init == INIT_OF_AGENT { "lib/systemd/systemd" } else { "lib/init" };
    fs::write(tree.join(program), init).unwrap();
    fs::set_permissions(tree.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    symlink(Path::new("/").join(program), tree.join("sbin/init")).unwrap();
    fs::write(tree.join("etc/passwd"), "root::0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(tree.join("etc/shells"), "/bin/sh\n").unwrap();
    let which = |name| {
        PathBuf::from(
            do_run(Command::new("sh").args(["-c", &format!("PATH=$PATH:/usr/sbin command -v {name}")])).trim(),
        )
    };
    fs::copy(which("busybox"), tree.join("bin/busybox")).expect("tests/setup installs busybox");
    let dropbear = which("dropbear");
    fs::copy(&dropbear, tree.join("bin/dropbear")).expect("tests/setup installs dropbear");
    for library in do_run(Command::new("ldd").arg(dropbear)).split_whitespace().filter(|word| word.starts_with('/')) {
        let place = tree.join(&library[1..]);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::copy(library, place).unwrap();
    }
    let applets = "sh mount ip sleep sync poweroff mktemp cat rm touch true uname seq ls sed chmod timeout";
    for applet in applets.split(' ') {
        symlink("busybox", tree.join("bin").join(applet)).unwrap();
    }
    fs::File::create(&raw).unwrap().set_len(64 << 20).unwrap();
    do_run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&tree).arg(&raw));
    do_run(Command::new("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&raw).arg(image));
}

/// Publishes such an image as Cilium's are, as `tiny:1.0-main` below `published`.
fn publish_image(dir: &Path) {
    make_image(dir, &dir.join("tiny_1.0.qcow2"), INIT);
    do_run(Command::new("zstd").args(["-q", "--rm"]).arg(dir.join("tiny_1.0.qcow2")));
    let name = "tiny_1.0.qcow2.zst";
    let contents = vec![Content { from: dir.join(name), to: format!("data/images/{name}") }];
    let platform = Platform::linux(Architecture::Amd64);
    let pack = Pack { contents, platform, annotations: Default::default(), tag: Some("1.0-main".to_owned()) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(lvh_oci::pack(pack, &dir.join("published/tiny"))).unwrap();
}

/// A kernel file of Debian's.
fn kernel() -> String {
    let args = ["run", "--image", "none", "--pull-image=false", "--kernel", "6.12", "--qemu-cmd-print"];
    let shown = do_run(Command::new(env!("CARGO_BIN_EXE_lvh")).args(args));
    let modules = shown.split("id=kernel_modules_id,path=").nth(1).unwrap().split(',').next().unwrap();
    Path::new(modules).ancestors().nth(3).unwrap().join("vmlinuz").to_str().unwrap().to_owned()
}

/// Three uses in one job: a VM is provisioned, used again as it was left, and shut down at the end, though `cmd` fails.
#[test]
fn a_job_runs_commands_in_its_vm() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (runner, kernel) = (Runner::new(dir.path()), kernel());
    fs::create_dir_all(dir.path().join("a b")).unwrap();
    publish_image(dir.path());
    let repository = format!("oci:{}/published", dir.path().display());
    let port = free_port().to_string();
    let parent = dir.path().to_str().unwrap();
    let fixed = [("image-repo", &*repository), ("image", "tiny"), ("image-version", "1.0-main")];
    let fixed = [&fixed[..], &[("images-folder-parent", parent)]].concat();
    let fixed = [&fixed[..], &[("ssh-port", &port), ("host-mount", "a b"), ("mem", "512M"), ("cpu", "1")]].concat();
    let used = |more: &[(&str, &str)]| runner.run(&[&fixed[..], more].concat());

    let cmd = "x='a  b'\necho \"$x\" \\$x '\\\\n' > \"/host/c d\"\ntouch /stays; echo \"on $(uname -s)\"";
    let first = used(&[("cmd", cmd), ("kernel-path", &kernel)]);
    assert_eq!(first.code, 0, "{}", first.output);
    assert!(first.output.ends_with("on Linux\n"), "{}", first.output);
    assert_eq!(fs::read_to_string(dir.path().join("a b/c d")).unwrap(), "a  b a b \\n\n");

    // A command that reads gets nothing, and not the rest of the script.
    let again =
        used(&[("provision", "false"), ("cmd", "cat; ls /stays; for i in \\$(seq 2); do echo \"<\\$i>\"; done")]);
    assert_eq!((again.code, again.output.as_str()), (0, "/stays\n<1>\n<2>\n"));

    let pid = fs::read_to_string(dir.path().join(format!("temp/lvh-{port}.pid"))).unwrap();
    let vm = Path::new("/proc").join(pid.trim());
    assert!(vm.exists());
    let last = used(&[("provision", "false"), ("cmd", "echo so far; false; echo further"), ("shutdown", "true")]);
    assert_eq!((last.code, last.output.as_str()), (1, "so far\n"));
    wait_until("QEMU is gone", || !vm.exists());

    // The next job has the compressed image from the cache.
    let image = dir.path().join("images/amd64/images/tiny_1.0.qcow2");
    let (pulled, text) = (fs::read(&image).unwrap(), image.to_str().unwrap());
    fs::write(&image, "changed").unwrap();
    let step = runner.steps().iter().find(|step| step["name"].as_str() == Some("Decompress cached image")).unwrap();
    let mut values = HashMap::from([("steps.files.outputs.image".to_owned(), text.to_owned())]);
    let mut used = Used { code: 0, output: String::new() };
    runner.run_script(step, "", &mut values, &mut used);
    assert_eq!(used.code, 0, "{}", used.output);
    assert!(fs::read(&image).unwrap() == pulled);
}

/// lvh's agent in the image runs `cmd`, where systemd, or what does the same, starts it: there is no network and no SSH server.
#[test]
fn an_agent_runs_commands_in_its_vm() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (runner, kernel) = (Runner::new(dir.path()), kernel());
    let images = dir.path().join("images/amd64/images");
    fs::create_dir_all(&images).unwrap();
    make_image(dir.path(), &images.join("tiny_1.0.qcow2"), INIT_OF_AGENT);
    // As from the cache.
    do_run(Command::new("zstd").arg("-q").arg(images.join("tiny_1.0.qcow2")));
    let fixed =
        [("image", "tiny"), ("image-version", "1.0-main"), ("images-folder-parent", dir.path().to_str().unwrap())];
    // QEMU takes any port.
    let fixed = [&fixed[..], &[("ssh-port", "0"), ("host-mount", "."), ("mem", "512M"), ("cpu", "1")]].concat();
    let used = |more: &[(&str, &str)]| runner.run(&[&fixed[..], more].concat());

    let cmd = "x='a  b'\necho \"$x\" \\$x; pwd; cat; sleep 54321 > /dev/null 2>&1 &";
    let first = used(&[("cmd", cmd), ("kernel-path", &kernel)]);
    assert_eq!(first.code, 0, "{}", first.output);
    assert!(first.output.ends_with("a  b a b\n/root\n"), "{}", first.output);

    // A host that was killed in the middle of what it said is no hindrance, and its command is gone. What was left behind is not.
    let socket = dir.path().join("temp/lvh-0.agent");
    let attach = |command: &[&str]| {
        let mut attach = Command::new(env!("CARGO_BIN_EXE_lvh"));
        attach.args(["attach", "--wait", "60s"]).arg(&socket).arg("--").args(command);
        attach
    };
    let mut killed = attach(&["sh", "-c", "echo in; sleep 12345"])
        .stdin(fs::File::open("/dev/zero").unwrap())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Read::read_exact(killed.stdout.as_mut().unwrap(), &mut [0; 3]).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    killed.kill().unwrap();
    killed.wait().unwrap();
    // A process may end while it is looked at.
    let running = do_run(&mut attach(&["sh", "-c", "cat /proc/[0-9]*/cmdline 2> /dev/null; :"]));
    assert!(running.contains("sleep\x0054321\0") && !running.contains("sleep\x0012345\0"), "{running:?}");

    let last = used(&[("provision", "false"), ("cmd", "echo so far; false; echo further"), ("shutdown", "true")]);
    assert_eq!((last.code, last.output.as_str()), (1, "so far\n"));
    assert!(!socket.exists());
    let output = attach(&["true"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(125) && said.contains("`lvh run --agent SOCKET` starts one"), "{said}");
}

/// A VM that nobody shuts down ends with the process that ran the steps.
#[test]
fn a_vm_ends_with_its_job() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let runner = Runner::new(dir.path());
    let step = runner.steps().iter().find(|step| step["name"].as_str() == Some("Start VM")).unwrap();
    // A boot sector that waits: cli, hlt, and hlt again.
    let mut disk = [0; 4096];
    disk[..4].copy_from_slice(&[0xfa, 0xf4, 0xeb, 0xfd]);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    fs::write(dir.path().join("empty"), disk).unwrap();
    fs::write(dir.path().join("step.sh"), step["run"].as_str().unwrap()).unwrap();
    let given = [("cpu", "1"), ("mem", "64M"), ("host-mount", "."), ("ssh-port", "0"), ("images-folder-parent", "/")];
    let mut values = runner.values(&given);
    values.insert("steps.files.outputs.image".to_owned(), dir.path().join("empty").to_str().unwrap().to_owned());
    values.insert("steps.files.outputs.vm".to_owned(), dir.path().join("vm").to_str().unwrap().to_owned());
    // The job is a shell that runs one step and then waits for its standard input to end.
    let mut job = Command::new("sh");
    job.args(["-c", "bash --noprofile --norc -eo pipefail step.sh && echo started && read end"])
        .current_dir(dir.path());
    let lvh = Path::new(env!("CARGO_BIN_EXE_lvh")).parent().unwrap();
    job.env("PATH", format!("{}:{}", lvh.display(), std::env::var("PATH").unwrap()));
    for (name, value) in step["env"].as_hash().unwrap() {
        job.env(name.as_str().unwrap(), filled(value.as_str().unwrap(), &values));
    }
    let mut job = job.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 8];
    std::io::Read::read_exact(job.stdout.as_mut().unwrap(), &mut said).unwrap();
    assert_eq!(&said, b"started\n");
    let pid = fs::read_to_string(dir.path().join("vm.pid")).unwrap();
    let vm = Path::new("/proc").join(pid.trim());
    let is_qemu = || fs::read(vm.join("cmdline")).is_ok_and(|line| line.starts_with(b"qemu-system"));
    wait_until("lvh is QEMU", is_qemu);
    drop(job.stdin.take());
    job.wait().unwrap();
    wait_until("QEMU is gone", || !vm.exists());
}

#[track_caller]
fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: not after a minute");
        std::thread::sleep(Duration::from_millis(50));
    }
}
