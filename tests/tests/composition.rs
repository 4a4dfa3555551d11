//! `#[lvh::test]` beside other people's attributes: what is registered, and does it run?
//!
//! It has a `main` of its own that walks the registry, so it needs no VM.

#![deny(warnings, missing_docs, unreachable_pub, unused, clippy::pedantic)]
#![forbid(unsafe_code)]

use std::panic::catch_unwind;
use std::process::ExitCode;

use lvh::__private::{Options, TestCase, cases};

/// A case: its path, whether its body succeeds (`None`: it panics), what it asks for.
type Expected = (&'static str, Option<bool>, Options);

const PLAIN: Options = Options::DEFAULT;

#[rustfmt::skip] // one row per case
const EXPECTED: &[Expected] = &[
    ("asynchronous::asks_the_runtime_for_time", Some(true), PLAIN),
    ("asynchronous::fails", Some(false), PLAIN),
    ("asynchronous::has_its_own_block_on", Some(true), PLAIN),
    ("asynchronous::has_tokio_main", Some(true), PLAIN),
    ("asynchronous::logs_and_has_tokio_main", Some(true), PLAIN),
    ("logging::asks_by_argument", Some(true), Options { cpus: Some(3), ..PLAIN }),
    ("logging::stands_above", Some(true), PLAIN),
    ("parametrized::aya_style::case_1", Some(true), PLAIN),
    ("parametrized::aya_style::case_2_named", Some(true), PLAIN),
    ("parametrized::below_the_cases::case_1", Some(true), PLAIN),
    ("parametrized::below_the_cases::case_2", Some(true), PLAIN),
    ("parametrized::fixture", Some(true), PLAIN),
    ("parametrized::ignored_cases::case_1", Some(true), Options { ignore: Some("slow"), ..PLAIN }),
    ("parametrized::ignored_cases::case_2", Some(true), Options { ignore: Some("slow"), ..PLAIN }),
    ("parametrized::test_attr::case_1", Some(true), Options { kernels: &["6.12"], ..PLAIN }),
    ("parametrized::test_attr::case_2", Some(false), Options { kernels: &["6.12"], ..PLAIN }),
    ("parametrized::values::x_1_1", Some(true), PLAIN),
    ("parametrized::values::x_2_2", Some(true), PLAIN),
    ("plain::conditional", Some(true), Options { ignore: Some("by cfg_attr"), ..PLAIN }),
    ("plain::documented", Some(true), PLAIN),
    ("plain::everything", Some(true), EVERYTHING),
    ("plain::fails", Some(false), PLAIN),
    ("plain::ignored", Some(true), Options { ignore: Some(""), ..PLAIN }),
    ("plain::ignored_with_reason", Some(true), Options { ignore: Some("too slow"), ..PLAIN }),
    ("plain::oddNames", Some(true), PLAIN),
    ("plain::on_host", Some(true), Options { host: true, timeout_ms: Some(500), ..PLAIN }),
    ("plain::panics", None, Options { should_panic: Some(""), ..PLAIN }),
    ("plain::panics_with_list", None, Options { should_panic: Some("on purpose"), ..PLAIN }),
    ("plain::panics_with_text", None, Options { should_panic: Some("on purpose"), ..PLAIN }),
    ("plain::public", Some(true), PLAIN),
    ("plain::r#type", Some(true), PLAIN),
    ("plain::switched_off", Some(true), PLAIN),
    ("root", Some(true), PLAIN),
];

const EVERYTHING: Options = Options {
    kernels: &["5.10", "bpf-next"],
    images: &["base"],
    cpus: Some(2),
    memory_mib: Some(512),
    accel: Some(lvh::__private::Accel::Tcg),
    timeout_ms: Some(30_000),
    boot_timeout_ms: Some(120_000),
    modules: &["nf_tables"],
    kernel_args: "lsm=bpf quiet",
    fresh_vm: true,
    ..PLAIN
};

fn main() -> ExitCode {
    let mut found: Vec<&TestCase> = cases().collect();
    found.sort_by_key(|case| case.path());
    let paths: Vec<String> = found.iter().map(|case| case.path()).collect();
    let expected: Vec<&str> = EXPECTED.iter().map(|(path, ..)| *path).collect();
    assert_eq!(paths, expected, "registered cases");
    std::panic::set_hook(Box::new(|_| {}));
    let outcomes: Vec<_> = found.iter().map(|case| (catch_unwind(case.run).ok(), case.options)).collect();
    let _default = std::panic::take_hook();
    for (case, (outcome, (path, result, options))) in found.iter().zip(outcomes.iter().zip(EXPECTED)) {
        assert_eq!(*outcome, (*result, *options), "{path}");
        assert_eq!(case.file, file!(), "{path}");
        assert!(case.line > line!(), "{path} stands below");
    }
    ExitCode::SUCCESS
}

#[lvh::test]
fn root() {}

mod plain {
    use std::io;

    /// Docs, `cfg` and lint attributes stay with the function.
    #[cfg(not(doc))]
    #[lvh::test]
    #[allow(unused_mut, reason = "to see that it stays")]
    #[expect(unused_variables, reason = "to see that it stays")]
    fn documented() {
        let mut unused = 1;
    }

    #[lvh::test]
    #[expect(non_snake_case, reason = "the shadow has the same name")]
    fn oddNames() {}

    #[lvh::test]
    pub fn public() {}

    #[lvh::test]
    fn r#type() {}

    #[lvh::test]
    fn fails() -> Result<(), io::Error> {
        Err(io::Error::other("on purpose"))
    }

    #[lvh::test]
    #[ignore]
    fn ignored() {}

    #[ignore = "too slow"]
    #[lvh::test]
    fn ignored_with_reason() {}

    #[lvh::test]
    #[cfg_attr(not(doc), ignore = "by cfg_attr")]
    fn conditional() {}

    #[lvh::test]
    #[should_panic]
    fn panics() {
        panic!("on purpose");
    }

    #[lvh::test]
    #[should_panic = "on purpose"]
    fn panics_with_text() {
        panic!("on purpose");
    }

    #[lvh::test()]
    #[should_panic(expected = "on purpose")]
    fn panics_with_list() -> ! {
        panic!("on purpose");
    }

    #[lvh::test(
        kernels = ["5.10", "bpf-next"],
        image = "base",
        cpus = 2,
        memory = "512M",
        accel = "tcg",
        timeout = "30s",
        boot_timeout = "2m",
        modules = "nf_tables",
        kernel_args = "lsm=bpf quiet",
        fresh_vm,
        crate = "::lvh",
    )]
    fn everything() {}

    #[lvh::test(host, timeout = "500ms", crate = ::lvh)]
    fn on_host() {}

    #[lvh::test(host = false, fresh_vm = false)]
    fn switched_off() {}

    #[cfg(doc)]
    #[lvh::test]
    fn not_there() {}
}

mod asynchronous {
    use std::future::Future;
    use std::io;
    use std::time::Duration;

    #[lvh::test]
    async fn asks_the_runtime_for_time() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    #[lvh::test]
    async fn fails() -> io::Result<()> {
        tokio::task::yield_now().await;
        Err(io::Error::other("on purpose"))
    }

    #[lvh::test(runtime = my_block_on)]
    async fn has_its_own_block_on() -> Result<(), io::Error> {
        std::future::ready(Ok(())).await
    }

    fn my_block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(future)
    }

    #[lvh::test]
    #[tokio::main(flavor = "current_thread")]
    async fn has_tokio_main() {
        tokio::task::yield_now().await;
    }

    #[test_log::test(lvh::test)]
    #[tokio::main(flavor = "current_thread")]
    async fn logs_and_has_tokio_main() {
        tokio::task::yield_now().await;
    }
}

mod logging {
    #[test_log::test(lvh::test(cpus = 3))]
    fn asks_by_argument() {}

    #[test_log::test]
    #[lvh::test]
    fn stands_above() {}
}

mod parametrized {
    use rstest::{fixture, rstest};

    #[rstest]
    #[case(1)]
    #[case(2)]
    #[test_attr(lvh::test(kernel = "6.12"))]
    fn test_attr(#[case] x: u32) -> Result<(), String> {
        if x == 1 { Ok(()) } else { Err("on purpose".to_owned()) }
    }

    #[rstest]
    #[case(1)]
    #[case::named(2)]
    #[test_attr(test_log::test(lvh::test))]
    fn aya_style(#[case] x: u32) {
        assert!(x > 0);
    }

    #[rstest]
    #[case(1)]
    #[case(2)]
    #[lvh::test]
    fn below_the_cases(#[case] x: u32) {
        assert!(x > 0);
    }

    #[rstest]
    #[case(1)]
    #[case(2)]
    #[test_attr(lvh::test)]
    #[ignore = "slow"]
    fn ignored_cases(#[case] x: u32) {
        assert!(x > 0);
    }

    #[rstest]
    #[lvh::test]
    fn values(#[values(1, 2)] x: u32) {
        assert!(x > 0);
    }

    #[fixture]
    fn seven() -> u32 {
        7
    }

    #[rstest]
    #[lvh::test]
    fn fixture(seven: u32) {
        assert_eq!(seven, 7);
    }
}
