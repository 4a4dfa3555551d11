//! The plan: which tests there are, once each kernel and image is taken into account.

use crate::case::TestCase;
use crate::job::{Instance, place};
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
    let images = images_of(case);
    let alone = kernels.len() * images.len() == 1;
    let instance = |kernel: Option<&String>, image: Option<&str>| {
        let name = match kernel {
            Some(kernel) if !alone => format!("{path}::{}", name_suffix(&place(kernel, image))),
            _ => path.clone(),
        };
        Instance::of(case, name, kernel.cloned(), image)
    };
    let on_each_image = |kernel: &Option<String>| {
        let images = if kernel.is_some() { &images[..] } else { &[None] };
        images.iter().map(|image| instance(kernel.as_ref(), *image)).collect::<Vec<_>>()
    };
    kernels.iter().flat_map(on_each_image).collect()
}

/// The images of a case, which the attribute lists once each; a single `None` for the host's root.
fn images_of(case: &TestCase) -> Vec<Option<&'static str>> {
    match case.options.images {
        [] => vec![None],
        images => images.iter().copied().map(Some).collect(),
    }
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
    use lvh_core::BuildPlace;

    use super::{Target, expand};
    use crate::case::{CargoTarget, Options, TestCase};

    const fn case(name: &'static str, options: Options) -> TestCase {
        let (module, target) = ("crate_name::maps", CargoTarget::Test);
        let built = BuildPlace { package: None, scratch: None, out_dir: None };
        TestCase { module, name, file: "f.rs", line: 1, target, built, run: || true, options }
    }

    static CASES: [TestCase; 6] = [
        case("plain", Options::DEFAULT),
        case("matrix", Options { kernels: &["6.12", "bpf-next", "6.12"], ..Options::DEFAULT }),
        case("one", Options { kernels: &["../my linux"], ..Options::DEFAULT }),
        case("host", Options { host: true, ..Options::DEFAULT }),
        case("image", Options { images: &["base"], ..Options::DEFAULT }),
        case("images", Options { kernels: &["6.12"], images: &["base", "./my disk"], ..Options::DEFAULT }),
    ];

    #[track_caller]
    fn check(target: Target, expected: &[(&str, Option<&str>)]) {
        let instances = expand(&CASES, &target);
        let got: Vec<_> = instances.iter().map(|i| (i.name.as_str(), i.place.as_deref())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn one_instance_keeps_the_bare_name() {
        check(
            Target::Kernels(vec!["6.1".into()]),
            &[
                ("maps::host", None),
                ("maps::image", Some("6.1+base")),
                ("maps::images::6.12+./my_disk", Some("6.12+./my disk")),
                ("maps::images::6.12+base", Some("6.12+base")),
                ("maps::matrix::6.12", Some("6.12")),
                ("maps::matrix::bpf-next", Some("bpf-next")),
                ("maps::one", Some("../my linux")),
                ("maps::plain", Some("6.1")),
            ],
        );
    }

    #[test]
    fn shadows_are_named_as_the_attribute_does() {
        let instances = expand(&CASES, &Target::Kernels(vec!["6.1".into(), "6.12".into()]));
        let check = |shadow: &str, expected: &[&str]| {
            let found = instances.iter().filter(|instance| instance.has_shadow(shadow));
            assert_eq!(found.map(|instance| instance.name.as_str()).collect::<Vec<_>>(), expected, "{shadow}");
        };
        check("maps::matrix::v6_12", &["maps::matrix::6.12"]);
        check("maps::matrix::bpf_next", &["maps::matrix::bpf-next"]);
        check("maps::one::___my_linux", &["maps::one"]);
        check("maps::plain::v6_1", &["maps::plain::6.1"]);
        check("maps::images::v6_12_base", &["maps::images::6.12+base"]);
        check("maps::image::on_base", &["maps::image::6.1+base", "maps::image::6.12+base"]);
        check("maps::plain::v6_2", &[]);
        check("maps::plain", &[]);
    }

    #[test]
    fn several_images_make_a_matrix() {
        let instances = expand(&CASES[4..], &Target::Kernels(vec!["a".into(), "b".into()]));
        let names: Vec<_> = instances.iter().map(|i| i.name.as_str()).collect();
        let images = ["maps::images::6.12+./my_disk", "maps::images::6.12+base"];
        assert_eq!(names, [["maps::image::a+base", "maps::image::b+base"], images].concat());
    }

    #[test]
    fn default_kernels_make_a_matrix_too() {
        let instances = expand(&CASES[..1], &Target::Kernels(vec!["b".into(), "a c".into()]));
        let names: Vec<_> = instances.iter().map(|i| i.name.as_str()).collect();
        assert_eq!(names, ["maps::plain::a_c", "maps::plain::b"]);
    }

    #[test]
    fn on_the_host_every_case_runs_once() {
        let names = ["host", "image", "images", "matrix", "one", "plain"].map(|name| format!("maps::{name}"));
        check(Target::Host, &names.each_ref().map(|name| (name.as_str(), None)));
    }
}
