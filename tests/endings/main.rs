//! Tests that end in every way there is. `tests/harness.rs` runs them one by one.

#![expect(clippy::print_stdout, clippy::zombie_processes, reason = "what the harness makes of that is the point")]

use std::fs::File;
use std::io::Write;
use std::os::fd::FromRawFd;
use std::process::Command;
use std::time::Duration;
use std::{env, process, ptr, thread};

use lvh_tests::register;

register! {
    #[options(host = true)]
    fn passes() {
        println!("fine");
    }
}

register! {
    #[options(host = true)]
    fn skips() {
        fn deeper() {
            lvh::skip!("for {} reasons", 2);
        }
        println!("before");
        deeper();
        unreachable!("skipped");
    }
}

register! {
    #[options(host = true)]
    fn skips_on_another_thread() {
        let _ = thread::spawn(|| lvh::skip!("elsewhere")).join();
    }
}

register! {
    #[options(host = true)]
    #[should_panic]
    fn skips_though_it_should_panic() {
        lvh::require_kernel!(">= 5, < 5.0.1", "a {} thing", "new");
    }
}

register! {
    #[options(host = true)]
    fn has_the_kernel_it_needs() {
        lvh::require_kernel!(">= 3.0");
        lvh::require_kernel!(&format!("== {}", lvh::kernel_release().split('.').next().unwrap_or_default()), "itself");
    }
}

register! {
    #[options(host = true)]
    fn requires_nonsense() {
        lvh::require_kernel!("5.8+", "BPF ring buffer");
    }
}

register! {
    #[options(host = true)]
    fn fails_in_colour() {
        println!("\x1b[31m<red> & ]]>\0");
        panic!("is \"this\"\nit?");
    }
}

register! {
    #[options(host = true)]
    fn exits_with_zero() {
        println!("leaving");
        process::exit(0);
    }
}

register! {
    #[options(host = true)]
    fn exits_with_three() {
        process::exit(3);
    }
}

register! {
    #[options(host = true)]
    fn segfaults() {
        // SAFETY: none: the fault is the point.
        unsafe { ptr::null_mut::<u8>().write_volatile(1) };
    }
}

register! {
    #[options(host = true)]
    fn aborts() {
        process::abort();
    }
}

register! {
    #[options(host = true)]
    #[should_panic(expected = "first")]
    fn aborts_while_panicking() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("second");
            }
        }
        let _bomb = Bomb;
        panic!("first");
    }
}

register! {
    #[options(host = true, timeout_ms = Some(3000))]
    fn hangs() {
        println!("so far");
        thread::sleep(Duration::from_secs(3600));
    }
}

register! {
    #[options(host = true)]
    fn leaves_a_child_behind() {
        Command::new("sleep").arg("3600").spawn().unwrap();
    }
}

register! {
    #[options(host = true)]
    fn writes_to_every_descriptor() {
        for fd in 3..64 {
            // SAFETY: none: a test may do that by mistake.
            let mut file = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
            let _ = file.write_all(b"gar\\bage\x00\xff");
        }
    }
}

register! {
    #[options(host = true)]
    fn garbles_the_report_and_fails() {
        for fd in 3..64 {
            // SAFETY: none: a test may do that by mistake.
            let mut file = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(fd) });
            let _ = file.write_all(b"garbage");
        }
        panic!("all the same");
    }
}

register! {
    #[options(host = true)]
    fn closes_every_descriptor() {
        // SAFETY: none: a test may do that.
        unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
    }
}

register! {
    #[options(host = true)]
    fn catches_many_panics() {
        for number in 0..300 {
            let text = format!("caught {number} {}", "x".repeat(8 << 10));
            std::panic::catch_unwind(|| panic!("{text}")).unwrap_err();
        }
    }
}

register! {
    #[options(host = true)]
    fn panics_at_length() {
        panic!("begins {}", "x\n".repeat(1 << 20));
    }
}

register! {
    #[options(host = true)]
    fn forks_a_child_that_returns() {
        // SAFETY: the process has one other thread, which only waits.
        if unsafe { libc::fork() } == 0 {
            return;
        }
        panic!("the parent's verdict counts");
    }
}

register! {
    #[options(host = true)]
    fn sees_an_ordinary_process() {
        assert_eq!(thread::current().name(), Some("sees_an_ordinary_process"));
        assert!(env::vars().all(|(name, _)| !name.starts_with("LVH_GUEST_")));
        assert!(env::args().any(|argument| argument == "sees_an_ordinary_process"));
        assert!(env::current_dir().unwrap().join("Cargo.toml").exists());
        Command::new("ls").arg("/proc/self/fd").status().unwrap();
    }
}

register! {
    #[options(kernels = &["6.1", "bpf-next"])]
    fn matrix() {}
}

register! {
    #[options(kernels = &["6.1"])]
    fn one_kernel() {}
}

lvh::main!();
