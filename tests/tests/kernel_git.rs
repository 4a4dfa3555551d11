//! A kernel from git, from its source to its removal. Building one is what costs, so one is built, and all is tried on it.

#[expect(dead_code, reason = "of the registry's ways in, this needs the open one")]
#[path = "../../lvh-oci/tests/registry/support/server.rs"]
mod server;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime};

use lvh_core::config::Config;
use lvh_core::kernel::build::{BuildSpec, Products, build, configure_in_place};
use lvh_core::kernel::git::{Checkouts, GitUrl, LocalWork};
use lvh_core::kernel::options::{Base, KernelOption, group};
use lvh_core::{Arch, Events, KernelSource as Source};
use lvh_tests::{Finished, KernelSource, Project, Traces, lvh};
use server::{Flavour, Registry};

/// How long a busy machine may take until make has begun.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// A file of the source that few others include, and what `uname -s` says after the change.
const CHANGED: (&str, &str, &str) = ("include/linux/uts.h", "\"Linux\"", "\"Lvnux\"");

/// The configuration of the project: the smallest kernel that boots, and one option that it cannot have.
fn config(source: &Path, strict: bool) -> String {
    format!(
        "data-dir = \"data\"\n[kernels.mine]\ngit = \"{}\"\nbranch = \"test\"\ngroups = [\"lvh-boot\"]\n\
         options = [\"NET_CLS_BPF=y\"]\nstrict = {strict}\n",
        source.display()
    )
}

struct World {
    project: Project,
    source: KernelSource,
}

impl World {
    fn new() -> Self {
        let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let source = KernelSource::checked_out(scratch);
        let project = Project::new(scratch, "kernel-git", &config(&source.dir, true));
        Self { project, source }
    }

    fn lvh(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = lvh();
        self.project.own(&mut command);
        command.args(arguments).stdin(Stdio::null()).env_remove("LVH_DATA_DIR").env_remove("LVH_KERNELS");
        command
    }

    fn uname(&self) -> Finished {
        Finished::of(&mut self.lvh(&["exec", "-k", "mine", "--", "uname", "-s"]))
    }

    fn kernels(&self) -> PathBuf {
        self.project.dir.join("data/kernels")
    }

    /// The name of the one tree: the kernel's, and a digest of where it comes from.
    fn tree(&self) -> String {
        let names =
            fs::read_dir(self.kernels()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.into_iter().find(|name| name.starts_with("mine-")).expect("there is a tree")
    }

    fn own(&self, name: &str) -> PathBuf {
        self.kernels().join(".lvh").join(self.tree()).join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.own("build.log")).unwrap_or_default()
    }

    fn spec(&self) -> BuildSpec {
        let config = Config::load(&self.project.dir.join("lvh.toml")).unwrap();
        match config.kernel("mine").unwrap() {
            Source::Git(source) => source.build,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_kernel_is_built_booted_changed_and_removed() {
    let world = World::new();
    strict_options_are_errors(&world);
    fs::write(world.project.dir.join("lvh.toml"), config(&world.source.dir, false)).unwrap();
    a_killed_build_leaves_nothing_running(&world);
    two_processes_build_it_once(&world);
    nothing_changed_means_no_make(&world);
    a_changed_source_is_built_when_asked_for(&world);
    its_files_stand_in_the_tree(&world);
    pushed_it_boots_elsewhere(&world);
    changed_options_configure_anew(&world);
    a_tree_of_others_is_configured_in_its_place(&world);
    removed_it_still_boots(&world);
}

/// What the host cannot run it builds, and QEMU emulates: the kernel is heard on arm64's serial port, and finds neither a root on
/// a disk, for which `lvh-boot` has no driver, nor an init.
#[test]
#[ignore = "builds a kernel for arm64 and needs its compiler and QEMU; takes ten minutes"]
fn a_kernel_for_arm64_is_built_on_x86_64_and_starts() {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let source = KernelSource::checked_out_for(Arch::Aarch64.as_str(), scratch);
    let project = Project::new(scratch, "kernel-arm64", "");
    let checkouts = Checkouts::new(&project.dir.join("data"));
    let url = GitUrl::parse(&format!("file://{}?depth=1#test", source.dir.display()), &project.dir).unwrap();
    checkouts.fetch("arm64", &url, LocalWork::Keep, &Events::silent()).unwrap();
    let options = group("lvh-boot").unwrap();
    let spec = BuildSpec { base: Base::Nothing, options, arch: Arch::Aarch64, strict: true, ..BuildSpec::default() };
    let built = build(&checkouts, "arm64", &spec, Products::Packages, &Events::silent()).unwrap();
    let tree = checkouts.dir("arm64").unwrap();
    let installed = format!("tar-install/boot/vmlinuz-{}", built.release.as_str());
    for file in ["arch/arm64/boot/Image.gz", "arch/arm64/boot/Image", ".config", &installed] {
        assert!(tree.join(file).is_file(), "{file}");
    }
    let again = build(&checkouts, "arm64", &spec, Products::Packages, &Events::silent()).unwrap();
    assert_eq!((again.made, again.key), (false, built.key));

    File::create(project.dir.join("disk.img")).unwrap().set_len(1 << 20).unwrap();
    let mut run = lvh();
    project.own(&mut run);
    run.args(["run", "--image", "disk.img", "--qemu-arch", "arm64", "--mem", "512M", "--cpu", "1", "--kernel"]);
    let ran = Finished::of(run.arg(tree.join(installed)).stdin(Stdio::null()));
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    for words in [&format!("Linux version {}", built.release), "Machine model: linux,dummy-virt", "Kernel panic"] {
        assert!(ran.stdout.contains(words), "{words}: {}", ran.stdout);
    }
}

fn strict_options_are_errors(world: &World) {
    let refused = world.uname();
    assert_eq!(refused.stdout, "", "{}", refused.stderr);
    for words in ["kernel `mine`: 1 option was not honoured", "CONFIG_NET_CLS_BPF=y: needs NET_SCHED"] {
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
    }
    assert_eq!(world.log(), "", "a kernel that was refused is not built");
}

/// SIGKILL to lvh is all that make hears of too. What is then planted is what a compiler leaves that was killed itself.
fn a_killed_build_leaves_nothing_running(world: &World) {
    let mut command = world.lvh(&["exec", "-k", "mine", "--", "true"]);
    let traces = Traces::mark(&mut command);
    let mut build = command.stderr(Stdio::null()).spawn().unwrap();
    wait_until("make has compiled a file", &mut build, || world.log().matches("  CC ").count() > 30);
    build.kill().unwrap();
    build.wait().unwrap();
    let began = Instant::now();
    while !traces.processes().is_empty() {
        assert!(began.elapsed() < Duration::from_secs(120), "{:?}", traces.processes());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(world.own("building").exists(), "the next build knows that this one was broken off");
    let half = world.own("build/init/main.o");
    assert!(half.is_file(), "init/ is compiled first");
    let file = File::options().write(true).open(&half).unwrap();
    file.set_len(100).unwrap();
    file.set_modified(SystemTime::now()).unwrap();
}

fn two_processes_build_it_once(world: &World) {
    let begin = || {
        let mut command = world.lvh(&["exec", "-k", "mine", "--", "uname", "-s"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [begin(), begin()].map(|child| child.wait_with_output().unwrap());
    let errors: Vec<_> = both.iter().map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).collect();
    for (output, error) in both.iter().zip(&errors) {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "Linux\n", "{error}");
    }
    let said = |words: &str| errors.iter().filter(|error| error.contains(words)).count();
    assert_eq!(said("kernel `mine`: building"), 1, "{errors:?}");
    assert_eq!(said("waiting for another process that builds it"), 1, "{errors:?}");
    assert!(world.log().contains("  CC      init/main.o"), "the half file was made again");
    assert!(!world.own("building").exists());
}

fn nothing_changed_means_no_make(world: &World) {
    let written = || fs::metadata(world.own("build.log")).unwrap().modified().unwrap();
    let before = written();
    let again = world.uname();
    assert_eq!((again.code, again.stdout.as_str()), (Some(0), "Linux\n"), "{}", again.stderr);
    assert!(!again.stderr.contains("fetching") && !again.stderr.contains("configuring"), "{}", again.stderr);
    // Another question with the same answer: all is looked at, and nothing made.
    let updated = Finished::of(&mut world.lvh(&["update", "mine"]));
    assert_eq!(updated.code, Some(0), "{}", updated.stderr);
    assert!(!updated.stderr.contains("building"), "{}", updated.stderr);
    assert_eq!(written(), before);
}

/// The branch is replaced, as by a push with force.
fn a_changed_source_is_built_when_asked_for(world: &World) {
    let (file, old, new) = CHANGED;
    let text = fs::read_to_string(world.source.dir.join(file)).unwrap();
    world.source.change("README", "something that is replaced\n");
    world.source.change(file, &text.replace(old, new));
    assert_eq!(world.uname().stdout, "Linux\n", "what a branch stood for is remembered");
    let updated = Finished::of(&mut world.lvh(&["update", "mine"]));
    assert_eq!(updated.code, Some(0), "{}", updated.stderr);
    assert_eq!(world.uname().stdout, "Lvnux\n");
    let compiled = world.log().matches("  CC ").count();
    assert!((1..200).contains(&compiled), "{compiled} files were compiled for one that changed");
}

fn its_files_stand_in_the_tree(world: &World) {
    let checkouts = Checkouts::new(&world.project.dir.join("data"));
    let (name, spec) = (world.tree(), world.spec());
    let built = build(&checkouts, &name, &spec, Products::Packages, &Events::silent()).unwrap();
    assert!(!built.made, "it is only packed");
    let tree = checkouts.dir(&name).unwrap();
    let release = built.release.as_str();
    let image = if cfg!(target_arch = "aarch64") { "arch/arm64/boot/Image.gz" } else { "arch/x86_64/boot/bzImage" };
    for file in [image, ".config", &format!("tar-install/boot/vmlinuz-{release}"), "vmlinux"] {
        assert!(tree.join(file).is_file(), "{file}");
    }
    let is_tar = |name: &str| name.starts_with(&format!("linux-{release}")) && name.ends_with(".tar");
    assert!(fs::read_dir(&tree).unwrap().any(|entry| is_tar(&entry.unwrap().file_name().to_string_lossy())));
    assert_eq!(checkouts.existing(&name, &Events::silent()).unwrap().unwrap().changes, "", "and git sees none of it");
    let packed = File::open(tree.join(".config")).unwrap().metadata().unwrap().modified().unwrap();
    let again = build(&checkouts, &name, &spec, Products::Packages, &Events::silent()).unwrap();
    assert_eq!((again.made, again.key), (false, built.key));
    assert_eq!(fs::metadata(tree.join(".config")).unwrap().modified().unwrap(), packed);
}

/// A registry has it, and a fresh data directory gets it from there.
fn pushed_it_boots_elsewhere(world: &World) {
    let registry = Registry::start(&Flavour::Open);
    let name = registry.name("kernels:mine");
    let pushed = Finished::of(&mut world.lvh(&["kernels", "--dir", "data", "push", &world.tree(), &name]));
    assert_eq!(pushed.code, Some(0), "{}", pushed.stderr);
    let mut pulled = world.lvh(&["exec", "-k", &format!("oci:{name}"), "--", "uname", "-s"]);
    let pulled = Finished::of(pulled.env("LVH_DATA_DIR", world.project.dir.join("fresh")));
    assert_eq!(pulled.stdout, "Lvnux\n", "{}", pulled.stderr);
}

fn changed_options_configure_anew(world: &World) {
    let checkouts = Checkouts::new(&world.project.dir.join("data"));
    let mut spec = world.spec();
    spec.options.extend(KernelOption::parse("PRINTK_TIME=n").unwrap());
    let built = build(&checkouts, &world.tree(), &spec, Products::Kernel, &Events::silent()).unwrap();
    assert!(built.made && built.outcomes.is_some());
    let config = fs::read_to_string(built.config).unwrap();
    assert!(config.contains("# CONFIG_PRINTK_TIME is not set"));
    // Somebody edits it in the tree. That counts, until the options change.
    let standing = checkouts.dir(&world.tree()).unwrap().join(".config");
    let edited = config.replace("# CONFIG_PRINTK_TIME is not set", "CONFIG_PRINTK_TIME=y");
    fs::remove_file(&standing).unwrap();
    fs::write(&standing, edited).unwrap();
    let built = build(&checkouts, &world.tree(), &spec, Products::Kernel, &Events::silent()).unwrap();
    assert!(built.made && built.outcomes.is_none());
    assert!(fs::read_to_string(built.config).unwrap().contains("CONFIG_PRINTK_TIME=y"));
}

fn a_tree_of_others_is_configured_in_its_place(world: &World) {
    let entry = ["-e", "EXPERT", "--set-val", "LOG_BUF_SHIFT", "15", "-e", "NO_SUCH"];
    let spec = BuildSpec { options: KernelOption::parse_entry(&entry).unwrap(), ..BuildSpec::default() };
    let configured = configure_in_place(&world.source.dir, &spec, &Events::silent()).unwrap();
    assert_eq!(configured.config, world.source.dir.join(".config"));
    let outcomes: Vec<_> = configured.outcomes.iter().map(ToString::to_string).collect();
    let unknown = "CONFIG_NO_SUCH=y: this kernel has no such option";
    assert_eq!(outcomes, ["CONFIG_EXPERT=y: honoured", "CONFIG_LOG_BUF_SHIFT=15: honoured", unknown]);
}

fn removed_it_still_boots(world: &World) {
    let checkouts = Checkouts::new(&world.project.dir.join("data"));
    let name = world.tree();
    assert!(checkouts.remove(&name, LocalWork::Keep, &Events::silent()).unwrap());
    assert!(!world.kernels().join(&name).exists() && !world.kernels().join(".lvh").join(&name).exists());
    assert_eq!(world.uname().stdout, "Lvnux\n", "what was built is an artifact of its own");
}

fn wait_until(what: &str, build: &mut Child, done: impl Fn() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}: not in time");
        assert_eq!(build.try_wait().unwrap(), None, "{what}: lvh has ended before");
        std::thread::sleep(Duration::from_millis(100));
    }
}
