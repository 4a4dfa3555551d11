//! Forty tests for any kernel, short ones, of which some end otherwise than by passing. `tests/four_machines.rs` runs them.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

/// A test of each name, which does the same.
macro_rules! each {
    ($body:path: $($name:ident)*) => {
        $(
            #[lvh::test]
            fn $name() {
                $body(stringify!($name));
            }
        )*
    };
}

#[track_caller]
fn succeeds(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().unwrap();
    assert!(status.success(), "{program}: {status}");
}

mod files {
    use super::{Path, fs};

    each! { is_kept: bin boot dev etc home lib media opt root run srv usr var }

    fn is_kept(name: &str) {
        let file = Path::new("/tmp").join(name);
        fs::write(&file, name).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), name);
    }
}

mod mounts {
    use super::{Path, fs, succeeds};

    each! { is_mounted: amber blue coral dusk ebony fawn green hazel indigo jade }

    fn is_mounted(name: &str) {
        let dir = Path::new("/tmp").join(name);
        fs::create_dir(&dir).unwrap();
        let dir = dir.to_str().unwrap();
        succeeds("mount", &["-t", "tmpfs", name, dir]);
        assert!(fs::read_to_string("/proc/mounts").unwrap().contains(dir));
        succeeds("umount", &[dir]);
    }
}

mod processes {
    use super::Command;

    each! { says_its_name: ant bee cat dog elk fox gnu hen }

    fn says_its_name(name: &str) {
        assert_eq!(Command::new("echo").arg(name).output().unwrap().stdout, format!("{name}\n").as_bytes());
    }
}

mod endings {
    use super::{ExitCode, fs};
    use std::time::Duration;

    #[lvh::test]
    fn fails() {
        assert_eq!(1 + 1, 3, "sums on {}", lvh::kernel_release());
    }

    #[lvh::test]
    fn fails_on_one_kernel() {
        assert!(!lvh::kernel_release().starts_with("6.1."));
    }

    #[lvh::test]
    fn skips_itself_on_one_kernel() {
        lvh::require_kernel!(">= 6.2");
    }

    #[lvh::test]
    fn skips_itself() {
        lvh::skip!("it is not its day");
    }

    #[lvh::test]
    #[should_panic(expected = "boom")]
    fn panics_as_expected() {
        panic!("boom");
    }

    #[lvh::test]
    fn returns_a_code() -> ExitCode {
        ExitCode::from(7)
    }

    #[lvh::test]
    fn ends_its_process() {
        std::process::exit(3);
    }

    #[lvh::test]
    fn ends_its_guest() {
        fs::write("/proc/sysrq-trigger", "c").unwrap();
    }

    #[lvh::test]
    fn takes_a_second() {
        std::thread::sleep(Duration::from_secs(1));
    }
}

lvh::main!();
