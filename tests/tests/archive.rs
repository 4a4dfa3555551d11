//! Built on one machine, run on another: there are no sources at the paths of the first, no toolchain in `PATH`, and another `HOME`.

#[path = "../../lvh-oci/tests/registry/support/program.rs"]
mod program;

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use lvh_core::Config;
use lvh_tests::{Finished, cargo, empty_directory, lvh, nextest};
use program::copy_program;
use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

/// In namespaces of its own, `$1` is an empty directory and `$2` the working directory; the rest is run.
const ELSEWHERE: &str = r#"mount -t tmpfs none "$1" && cd "$2" && shift 2 && exec "$@""#;

const CONFIG: &str = "[kernels.only-in-lvh-toml]\ndeb = 'linux-image-amd64'\nsuite = 'trixie'\n";

/// The other machine: a directory that is none of the workspace's, with what of the sources a checkout has at run time.
struct Machine {
    dir: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let dir = empty_directory(&env::temp_dir(), &format!("lvh-archive-{}", std::process::id()));
        let package = dir.join("project/tests/moved");
        fs::create_dir_all(package.join("tests")).unwrap();
        fs::create_dir_all(dir.join("bin")).unwrap();
        fs::write(dir.join("project/Cargo.toml"), "").unwrap();
        fs::write(package.join("lvh.toml"), CONFIG).unwrap();
        fs::copy("moved/tests/fixture", package.join("tests/fixture")).unwrap();
        symlink(nextest(), dir.join("bin/cargo-nextest")).unwrap();
        // The one that was built lies in the workspace.
        copy_program(Path::new(lvh().get_program()), &dir.join("bin/lvh"));
        Self { dir }
    }

    /// The program there, in a directory of the project.
    fn command(&self, cwd: &str, program: &str) -> Command {
        let data = Config::for_process(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap().data_dir().unwrap();
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut command = Command::new("unshare");
        // SAFETY: geteuid reads a number.
        command.arg(if unsafe { libc::geteuid() } == 0 { "-m" } else { "-mr" });
        command.args(["sh", "-c", ELSEWHERE, "sh"]).arg(workspace).arg(self.dir.join("project").join(cwd)).arg(program);
        command.env_clear().env("HOME", &self.dir).env("LVH_DATA_DIR", data).env("TMPDIR", &self.dir);
        command.env("PATH", format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", self.dir.join("bin").display()));
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// The jobs that `lvh ci workflow github` prints.
struct Workflow(Yaml);

impl Workflow {
    fn new(shards: &str) -> Self {
        let printed = Finished::of(lvh().args(["ci", "workflow", "github", "--shards", shards]));
        Self(YamlLoader::load_from_str(&printed.stdout).unwrap().remove(0))
    }

    /// Runs the script of a step as a runner would, on the other machine; what it wrote, and its outputs.
    fn run(&self, machine: &Machine, job: &str, step: &str, shard: Option<&Value>) -> (String, String) {
        let job = &self.0["jobs"][job];
        let step = job["steps"].as_vec().unwrap().iter().find(|known| known["name"].as_str() == Some(step)).unwrap();
        let filled = |text: &str| {
            ["filter", "kernels", "shard"].iter().fold(text.to_owned(), |text, name| {
                let value = shard.and_then(|shard| shard[*name].as_str()).unwrap_or_default();
                text.replace(&format!("${{{{ matrix.{name} }}}}"), value)
            })
        };
        let outputs = machine.dir.join("outputs");
        fs::write(&outputs, "").unwrap();
        let mut command = machine.command("", "bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", &filled(step["run"].as_str().unwrap())]);
        for (name, value) in [&job["env"], &step["env"]].into_iter().filter_map(Yaml::as_hash).flatten() {
            command.env(name.as_str().unwrap(), filled(value.as_str().unwrap()));
        }
        let Finished { code, stdout, stderr } = Finished::of(command.env("GITHUB_OUTPUT", &outputs));
        assert_eq!(code, Some(0), "{stdout}\n{stderr}");
        (stdout + &stderr, fs::read_to_string(&outputs).unwrap())
    }
}

#[test]
fn an_archive_runs_elsewhere_in_shards() {
    let machine = Machine::new();
    let archive = machine.dir.join("project/tests.tar.zst");
    let mut build = cargo();
    build.args(["nextest", "archive", "--offline", "-p", "lvh-tests-moved", "--test", "moved", "--archive-file"]);
    let built = Finished::of(build.arg(&archive));
    assert_eq!(built.code, Some(0), "{}", built.stderr);
    let workflow = Workflow::new("2");
    let matrix = workflow.run(&machine, "build", "Split the tests", None).1;
    let matrix: Value = serde_json::from_str(matrix.strip_prefix("matrix=").unwrap()).unwrap();
    let shards = matrix["include"].as_array().unwrap();
    assert_eq!(shards.len(), 2, "{matrix}");
    let mut ran = Vec::new();
    for shard in shards {
        let key = workflow.run(&machine, "test", "Find the key of the cache", Some(shard)).1;
        assert!(key.starts_with("key=lvh-"), "{key}");
        workflow.run(&machine, "test", "Fetch the kernels", Some(shard));
        let said = workflow.run(&machine, "test", "Run the tests", Some(shard)).0;
        let passed = said.lines().filter_map(|line| line.trim().strip_prefix("PASS "));
        ran.extend(passed.filter_map(|line| line.rsplit(' ').next().map(str::to_owned)));
        assert!(machine.dir.join("project/target/nextest/default/junit.xml").is_file());
    }
    ran.sort();
    assert_eq!(ran, ["the_configuration_is_found", "the_sources_are_found", "what_was_built_is_found"]);
    let locked = fs::read_to_string(machine.dir.join("project/tests/moved/lvh.lock")).unwrap();
    assert!(locked.contains("only-in-lvh-toml"), "{locked}");
    a_copied_binary_says_what_it_lacks(&machine, &archive);
}

fn a_copied_binary_says_what_it_lacks(machine: &Machine, archive: &Path) {
    let mut unpack = machine.command("", "cargo-nextest");
    unpack.args(["nextest", "list", "--workspace-remap", ".", "--extract-to"]).arg(&machine.dir);
    assert_eq!(Finished::of(unpack.arg("--archive-file").arg(archive)).code, Some(0));
    let binaries = fs::read_dir(machine.dir.join("target/debug/deps")).unwrap().map(|entry| entry.unwrap().path());
    let binary =
        binaries.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with("moved-")).unwrap();
    let copy = machine.dir.join("copied");
    copy_program(&binary, &copy);
    let Finished { code, stdout, stderr } =
        Finished::of(machine.command("tests/moved", copy.to_str().unwrap()).args([
            "--exact",
            "the_sources_are_found",
            "what_was_built_is_found",
        ]));
    assert_eq!(code, Some(101), "{stdout}\n{stderr}");
    assert!(stdout.contains("test the_sources_are_found ... ok"), "{stdout}");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let missing = format!("missing: {}, which this test binary was built in", target.display());
    assert!(stdout.contains(&missing), "{stdout}");
}
