//! The plan: which tests there are, once each kernel is taken into account.

use crate::case::TestCase;
use crate::job::Instance;
use crate::settings::{Mode, Setup};

/// Where cases run that say nothing themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// In VMs, on these kernels.
    Kernels(Vec<String>),
    /// On the host, whatever kernels they name: `LVH_MODE=host`.
    Host,
}

impl Target {
    /// As the user has it.
    pub(crate) fn of(setup: &Setup) -> Self {
        match setup.settings.mode {
            Mode::Host => Self::Host,
            Mode::Vm => Self::Kernels(setup.config.default_kernels.clone()),
        }
    }
}

/// All instances of `cases`, sorted by name as libtest does.
pub(crate) fn expand(cases: impl IntoIterator<Item = &'static TestCase>, target: &Target) -> Vec<Instance> {
    let mut instances: Vec<_> = cases.into_iter().flat_map(|case| expand_case(case, target)).collect();
    instances.sort_by(|a, b| a.name.cmp(&b.name));
    instances
}

/// The instances of one case.
pub(crate) fn expand_case(case: &'static TestCase, target: &Target) -> Vec<Instance> {
    let path = case.path();
    let kernels = kernels_of(case, target);
    let alone = kernels.len() == 1;
    let instance = |kernel: Option<String>| {
        let name = match &kernel {
            Some(kernel) if !alone => format!("{path}::{}", name_suffix(kernel)),
            _ => path.clone(),
        };
        Instance::of(case, name, kernel)
    };
    kernels.into_iter().map(instance).collect()
}

/// The kernels of a case, each once; a single `None` for the host.
fn kernels_of(case: &TestCase, target: &Target) -> Vec<Option<String>> {
    let default = match target {
        Target::Kernels(kernels) if !case.options.host => kernels,
        _ => return vec![None],
    };
    let named = case.options.kernels.iter().map(|name| (*name).to_owned());
    let wanted: Vec<String> = if case.options.kernels.is_empty() { default.clone() } else { named.collect() };
    let mut kernels = Vec::with_capacity(wanted.len());
    for kernel in wanted.into_iter().map(Some) {
        if !kernels.contains(&kernel) {
            kernels.push(kernel);
        }
    }
    kernels
}

/// nextest's filters and shells choke on names with spaces and brackets.
fn name_suffix(kernel: &str) -> String {
    kernel.replace(|c: char| c.is_whitespace() || "()[]{}'\"".contains(c), "_")
}

#[cfg(test)]
mod tests {
    use super::{Instance, Target, expand};
    use crate::case::{Options, TestCase};

    const fn case(name: &'static str, options: Options) -> TestCase {
        TestCase { module: "crate_name::maps", name, file: "f.rs", line: 1, run: || true, options }
    }

    static CASES: [TestCase; 4] = [
        case("plain", Options::DEFAULT),
        case("matrix", Options { kernels: &["6.12", "bpf-next", "6.12"], ..Options::DEFAULT }),
        case("one", Options { kernels: &["../my linux"], ..Options::DEFAULT }),
        case("host", Options { host: true, ..Options::DEFAULT }),
    ];

    #[track_caller]
    fn check(target: Target, expected: &[(&str, Option<&str>)]) {
        let instances = expand(&CASES, &target);
        let got: Vec<_> = instances.iter().map(|i| (i.name.as_str(), i.kernel.as_deref())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn one_instance_keeps_the_bare_name() {
        check(
            Target::Kernels(vec!["6.1".into()]),
            &[
                ("maps::host", None),
                ("maps::matrix::6.12", Some("6.12")),
                ("maps::matrix::bpf-next", Some("bpf-next")),
                ("maps::one", Some("../my linux")),
                ("maps::plain", Some("6.1")),
            ],
        );
    }

    #[test]
    fn shadows_are_named_as_the_attribute_does() {
        let instances = expand(&CASES, &Target::Kernels(vec!["6.1".into()]));
        let names: Vec<_> = instances.iter().filter_map(Instance::shadow_name).collect();
        let expected = ["maps::matrix::v6_12", "maps::matrix::bpf_next", "maps::one::___my_linux", "maps::plain::v6_1"];
        assert_eq!(names, expected);
    }

    #[test]
    fn default_kernels_make_a_matrix_too() {
        let instances = expand(&CASES[..1], &Target::Kernels(vec!["b".into(), "a c".into()]));
        let names: Vec<_> = instances.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["maps::plain::a_c", "maps::plain::b"]);
    }

    #[test]
    fn on_the_host_every_case_runs_once() {
        let names = ["maps::host", "maps::matrix", "maps::one", "maps::plain"];
        check(Target::Host, &names.map(|name| (name, None)));
    }
}
