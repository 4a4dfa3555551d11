//! What a kernel must and should have: its options, what their lack costs, and how to mend it.

use super::{Check, State};
use crate::Arch;
use crate::kernel::{Availability, KernelConfig, KernelRelease, ModuleTree, Value};

/// An option that something needs.
struct Need {
    /// The option, without `CONFIG_`.
    option: &'static str,
    /// The module that it builds, where it can be `m`.
    module: Option<&'static str>,
    /// The first release that has it; older kernels lack nothing.
    since: (u32, u32),
    /// What the kernel is without it.
    state: State,
    /// What its lack costs.
    cost: &'static str,
    /// What its Kconfig entry depends on: without these `make olddefconfig` drops it again.
    with: Option<&'static str>,
}

impl Need {
    const fn must(option: &'static str, cost: &'static str) -> Self {
        Self { option, module: None, since: (0, 0), state: State::Missing, cost, with: None }
    }

    const fn should(option: &'static str, cost: &'static str) -> Self {
        Self { state: State::Degraded, ..Self::must(option, cost) }
    }

    const fn can(option: &'static str, cost: &'static str) -> Self {
        Self { state: State::Optional, ..Self::must(option, cost) }
    }

    const fn module(self, module: &'static str) -> Self {
        Self { module: Some(module), ..self }
    }

    const fn since(self, major: u32, minor: u32) -> Self {
        Self { since: (major, minor), ..self }
    }

    const fn with(self, with: &'static str) -> Self {
        Self { with: Some(with), ..self }
    }
}

/// What lvh needs, beside the drivers of the transport.
const OWN: &[Need] = &[
    Need::must("BLK_DEV_INITRD", "the kernel does not unpack lvh's initramfs, and no guest comes up"),
    Need::must("BINFMT_ELF", "the kernel runs no program, so that no guest comes up"),
    Need::must("DEVTMPFS", "lvh-init finds no devices, and no guest comes up"),
    Need::must("PROC_FS", "lvh-init cannot mount /proc, and no guest comes up"),
    Need::must("SYSFS", "lvh-init cannot mount /sys, and no guest comes up"),
    Need::must("TMPFS", "lvh-init cannot mount /tmp and /run, and no guest comes up"),
    Need::must("PRINTK", "lvh-init cannot read the kernel's log, and no guest comes up"),
    // Rust's standard library hears by a pair of sockets whether `exec` failed.
    Need::must("UNIX", "lvh-init starts no command").with("NET"),
    Need::should("CGROUPS", "what a command leaves running when it ends is not ended with it"),
];

/// The console of a guest of `arch`: the machine decides what its serial ports are.
const fn console(arch: Arch) -> Need {
    let driver = match arch {
        Arch::X86_64 => "SERIAL_8250_CONSOLE",
        Arch::Aarch64 => "SERIAL_AMBA_PL011_CONSOLE",
    };
    Need::should(driver, "errors of a boot and of a guest that died do not have the console's last words")
}

const FPROBE_WITH: &str = "DYNAMIC_FTRACE; also FUNCTION_GRAPH_TRACER since Linux 6.14";

/// What BPF programs need. `since` is when the option came to the kernel, not when its subject did.
const BPF: &[Need] = &[
    Need::should("BPF_SYSCALL", "there is no bpf(2): no program and no map can be made"),
    Need::should("BPF_JIT", "programs are interpreted; fentry, fexit, LSM programs, struct_ops and kfuncs fail")
        .with("MODULES before Linux 6.10"),
    Need::should("DEBUG_INFO_BTF", "there is no /sys/kernel/btf/vmlinux: CO-RE, fentry, LSM programs and kfuncs fail")
        .since(5, 2)
        .with("debug information in DWARF, and the program `pahole` where the kernel is built"),
    Need::should("DEBUG_INFO_BTF_MODULES", "CO-RE, fentry and kfuncs do not reach what is in modules")
        .since(5, 11)
        .with("DEBUG_INFO_BTF, MODULES"),
    Need::should("BPF_EVENTS", "programs do not attach to kprobes, uprobes, tracepoints and perf events")
        .with("PERF_EVENTS, BPF_SYSCALL, and KPROBE_EVENTS or UPROBE_EVENTS"),
    Need::should("KPROBES", "there are no kprobes and kretprobes"),
    Need::should("KPROBE_EVENTS", "kprobe and kretprobe programs do not attach").with("KPROBES, FTRACE"),
    Need::should("UPROBES", "there are no uprobes and uretprobes").with("UPROBE_EVENTS, which selects it"),
    Need::should("UPROBE_EVENTS", "uprobe, uretprobe and USDT programs do not attach").with("FTRACE, PERF_EVENTS"),
    Need::should("FTRACE", "there are no tracers: the options that follow cannot be set"),
    Need::should("FTRACE_SYSCALLS", "there are no tracepoints `syscalls:sys_enter_…` and `sys_exit_…`").with("FTRACE"),
    Need::should("FUNCTION_TRACER", "fentry, fexit and kprobe.multi programs do not attach").with("FTRACE"),
    Need::should("DYNAMIC_FTRACE", "fentry, fexit and kprobe.multi programs do not attach").with("FUNCTION_TRACER"),
    Need::should("DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "fentry, fexit and LSM programs do not attach to functions")
        .since(5, 5)
        .with("DYNAMIC_FTRACE"),
    Need::should("FPROBE", "kprobe.multi programs do not attach").since(5, 18).with(FPROBE_WITH),
    Need::should("BPF_LSM", "LSM programs do not load").since(5, 7).with("BPF_EVENTS, BPF_SYSCALL, SECURITY, BPF_JIT"),
    Need::should("CGROUP_BPF", "programs do not attach to cgroups").with("CGROUPS, BPF_SYSCALL"),
    Need::should("NET_SCH_INGRESS", "there is no qdisc `clsact` for tc programs")
        .module("sch_ingress")
        .with("NET_SCHED, NET_CLS_ACT"),
    Need::should("NET_CLS_BPF", "tc has no filter `bpf`: programs attach by tcx alone, which Linux 6.6 brought")
        .module("cls_bpf")
        .with("NET_SCHED"),
    Need::should("NET_ACT_BPF", "tc has no action `bpf`").module("act_bpf").with("NET_CLS_ACT"),
    Need::should("XDP_SOCKETS", "there are no AF_XDP sockets, and XSKMAPs cannot be made").with("NET, BPF_SYSCALL"),
    Need::should("BPF_STREAM_PARSER", "`sk_skb/stream_parser` programs do not attach to sockmaps")
        .with("INET, CGROUP_BPF"),
    Need::should("KALLSYMS_ALL", "/proc/kallsyms has no data symbols: variables with `__ksym` are not found")
        .with("KALLSYMS"),
    Need::can("IKHEADERS", "tools that compile in the guest, as bcc does, find no kernel headers")
        .module("kheaders")
        .since(5, 2),
    Need::can("BPF_KPROBE_OVERRIDE", "`bpf_override_return` is not available")
        .with("BPF_EVENTS, FUNCTION_ERROR_INJECTION"),
    Need::can("LWTUNNEL_BPF", "LWT programs do not attach to routes").with("LWTUNNEL"),
    Need::can("SCHED_CLASS_EXT", "there is no sched_ext: schedulers cannot be programs")
        .since(6, 12)
        .with("DEBUG_INFO_BTF"),
];

/// A kernel as far as its files tell.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) arch: Arch,
    pub(super) release: &'a KernelRelease,
    pub(super) config: &'a KernelConfig,
    pub(super) tree: Option<&'a ModuleTree>,
    /// Modules that are loaded before anything runs.
    pub(super) loaded: &'a [String],
    /// The guest has the module tree and can load from it.
    pub(super) loads_modules: bool,
    /// What the user adds to the kernel's command line.
    pub(super) kernel_args: &'a str,
}

impl Known<'_> {
    /// What lvh needs of it.
    pub(super) fn own(&self) -> Vec<Check> {
        OWN.iter().chain([&console(self.arch)]).filter_map(|need| self.judge(need)).collect()
    }

    /// What BPF programs need of it.
    pub(super) fn bpf(&self) -> Vec<Check> {
        let mut checks: Vec<Check> = BPF.iter().filter_map(|need| self.judge(need)).collect();
        let after_lsm = checks.iter().position(|check| check.name == "BPF_LSM").map_or(checks.len(), |at| at + 1);
        checks.splice(after_lsm..after_lsm, self.active_lsm());
        checks
    }

    /// `None` where the kernel is older than the option.
    fn judge(&self, need: &Need) -> Option<Check> {
        let &Need { option, module, since, state, cost, .. } = need;
        if version(self.release).is_some_and(|version| version < since) {
            return None;
        }
        let lack = |found: &str, fix: String| Check::lack(option, state, found, cost, fix);
        Some(match (self.config.get(option), module) {
            (Some(Value::Yes), _) => Check::ok(option, "built in"),
            (Some(Value::Module), Some(module)) => match self.how_loaded(module) {
                Ok(how) => Check::ok(option, how),
                Err((found, fix)) => lack(&found, fix),
            },
            (Some(Value::Module), None) => Check::ok(option, "module"),
            _ => {
                let with = need.with.map(|with| format!(" (needs {with})")).unwrap_or_default();
                lack("off", format!("build the kernel with CONFIG_{option}=y{with}"))
            }
        })
    }

    /// How a guest gets the module; else what is wrong with it, and the fix.
    fn how_loaded(&self, module: &str) -> Result<String, (String, String)> {
        let in_tree = self.tree.is_some_and(|tree| tree.availability(module) != Availability::Absent);
        if !in_tree {
            let fix = "install all of the kernel's modules beside it".to_owned();
            return Err((format!("a module, but `{module}` is not in the module tree"), fix));
        }
        if self.loads_modules || self.loaded.iter().any(|loaded| loaded.replace('-', "_") == module) {
            return Ok(format!("module `{module}`"));
        }
        let fix = format!("`modules = [\"{module}\"]` on the test or in [vm] of lvh.toml");
        Err((format!("module `{module}`, which a packed guest does not load by itself"), fix))
    }

    /// Whether the BPF LSM is one of those that the kernel starts with.
    fn active_lsm(&self) -> Option<Check> {
        if !self.config.is_built_in("BPF_LSM") {
            return None;
        }
        let from_args = self.kernel_args.split_whitespace().filter_map(|word| word.strip_prefix("lsm=")).next_back();
        let (list, origin) = match (from_args, self.config.get("LSM")) {
            (Some(list), _) => (list, "lsm= of your kernel arguments"),
            (None, Some(Value::Text(list))) => (list.as_str(), "CONFIG_LSM"),
            (None, _) => ("", "CONFIG_LSM"),
        };
        if list.split(',').any(|lsm| lsm == "bpf") {
            return Some(Check::ok("LSM bpf", format!("`bpf` is in {origin}")));
        }
        let found = format!("`bpf` is not in {origin} (`{list}`)");
        let cost = "LSM programs load and attach, but the kernel never calls them";
        let fix = "`kernel_args = \"lsm=bpf\"` on the test, or `kernel-args = \"lsm=bpf\"` in [vm] of lvh.toml";
        Some(Check::lack("LSM bpf", State::Degraded, found, cost, fix.to_owned()))
    }
}

/// `6.12` of `6.12.117+deb13-amd64`.
fn version(release: &KernelRelease) -> Option<(u32, u32)> {
    let mut numbers = release.as_str().split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lacks of a kernel of `release`, as `state name: found | fix`.
    fn lacks(release: &str, config: &str, kernel_args: &str) -> Vec<String> {
        let config = KernelConfig::parse(config);
        let known = Known {
            arch: Arch::X86_64,
            release: &KernelRelease::new(release),
            config: &config,
            tree: None,
            loaded: &[],
            loads_modules: true,
            kernel_args,
        };
        let checks = known.own().into_iter().chain(known.bpf()).filter(|check| check.state != State::Ok);
        checks.map(|c| format!("{:?} {}: {} | {}", c.state, c.name, c.found, c.fix.unwrap_or_default())).collect()
    }

    /// A configuration that has everything but `off`.
    fn all_but(off: &[&str]) -> String {
        let console = console(Arch::X86_64);
        let needs = OWN.iter().chain([&console]).chain(BPF).filter(|need| !off.contains(&need.option));
        needs.map(|need| format!("CONFIG_{}=y\n", need.option)).collect::<String>() + "CONFIG_LSM=\"yama,bpf\"\n"
    }

    #[test]
    fn a_full_kernel_lacks_nothing() {
        assert_eq!(lacks("6.12.1", &all_but(&[]), ""), [""; 0]);
    }

    #[test]
    fn the_console_is_that_of_the_kernels_machine() {
        assert_eq!(console(Arch::X86_64).option, "SERIAL_8250_CONSOLE");
        assert_eq!(console(Arch::Aarch64).option, "SERIAL_AMBA_PL011_CONSOLE");
    }

    #[test]
    fn each_lack_has_its_weight_and_its_fix() {
        let check = |off: &str, expected: &str| assert_eq!(lacks("6.12.1", &all_but(&[off]), ""), [expected]);
        check("DEVTMPFS", "Missing DEVTMPFS: off | build the kernel with CONFIG_DEVTMPFS=y");
        check("CGROUPS", "Degraded CGROUPS: off | build the kernel with CONFIG_CGROUPS=y");
        let fprobe = format!("Degraded FPROBE: off | build the kernel with CONFIG_FPROBE=y (needs {FPROBE_WITH})");
        check("FPROBE", &fprobe);
        check("IKHEADERS", "Optional IKHEADERS: off | build the kernel with CONFIG_IKHEADERS=y");
    }

    #[test]
    fn what_a_release_cannot_have_it_does_not_lack() {
        let off = all_but(&["FPROBE", "DEBUG_INFO_BTF_MODULES", "SCHED_CLASS_EXT"]);
        assert_eq!(lacks("5.10.0-32-amd64", &off, ""), [""; 0]);
        assert_eq!(lacks("5.18.0", &off, "").len(), 2);
        assert_eq!(lacks("custom", &off, "").len(), 3, "a release without a version is taken for a new one");
    }

    #[test]
    fn modules_must_be_in_the_tree() {
        let config = all_but(&["NET_CLS_BPF"]) + "CONFIG_NET_CLS_BPF=m\n";
        let expected = "Degraded NET_CLS_BPF: a module, but `cls_bpf` is not in the module tree | install all of the \
                        kernel's modules beside it";
        assert_eq!(lacks("6.12", &config, ""), [expected]);
    }

    #[test]
    fn the_bpf_lsm_must_be_active() {
        let config = all_but(&[]).replace("yama,bpf", "yama,bpfx");
        let fix = "`kernel_args = \"lsm=bpf\"` on the test, or `kernel-args = \"lsm=bpf\"` in [vm] of lvh.toml";
        let lack = |origin: &str| format!("Degraded LSM bpf: `bpf` is not in {origin} | {fix}");
        assert_eq!(lacks("6.12", &config, ""), [lack("CONFIG_LSM (`yama,bpfx`)")]);
        assert_eq!(lacks("6.12", &config, "quiet lsm=yama lsm=landlock,bpf"), [""; 0]);
        assert_eq!(lacks("6.12", &all_but(&[]), "lsm=yama"), [lack("lsm= of your kernel arguments (`yama`)")]);
    }
}
