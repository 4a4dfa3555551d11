//! Tests that end in every way there is, in VMs. `tests/long/outcomes.rs` runs them.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what the harness makes of that is the point")]

mod broken_module;
mod channel;
mod floods;
mod signals;
mod slow;
mod stuck;

/// Ways to end that leave the VM alive.
mod ends {
    use std::io::{self, Write};
    use std::process::{self, Command, ExitCode};
    use std::sync::{Barrier, Mutex};
    use std::time::Duration;
    use std::{fs, hint, ptr, thread};

    #[lvh::test]
    fn passes() {
        println!("fine");
    }

    #[lvh::test]
    fn panics() {
        eprintln!("on stderr");
        assert_eq!(1 + 1, 3, "sums on {}", lvh::kernel_release());
    }

    #[lvh::test]
    fn returns_a_code() -> ExitCode {
        ExitCode::from(7)
    }

    #[lvh::test]
    fn returns_an_error() -> Result<(), Box<dyn std::error::Error>> {
        fs::read_to_string("/no/such/file")?;
        Ok(())
    }

    #[lvh::test]
    async fn panics_in_a_future() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        panic!("from a future");
    }

    #[lvh::test]
    fn segfaults() {
        // SAFETY: none: the fault is the point.
        unsafe { ptr::null_mut::<u8>().write_volatile(1) };
    }

    #[lvh::test]
    fn aborts() {
        process::abort();
    }

    #[lvh::test]
    fn overflows_its_stack() {
        fn deeper(depth: u64) -> u64 {
            if hint::black_box(depth) == u64::MAX { 0 } else { deeper(depth + 1) + 1 }
        }
        println!("{}", deeper(0));
    }

    #[lvh::test]
    fn exits_with_zero() {
        println!("leaving");
        process::exit(0);
    }

    #[lvh::test]
    fn exits_with_three() {
        process::exit(3);
    }

    #[lvh::test(timeout = "10s")]
    fn hangs() {
        println!("so far");
        let (first, second, both) = (Mutex::new(()), Mutex::new(()), Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| lock_both(&second, &first, &both));
            lock_both(&first, &second, &both);
        });
    }

    /// Two of these with the locks the other way round wait for each other.
    fn lock_both(one: &Mutex<()>, other: &Mutex<()>, both: &Barrier) {
        let _one = one.lock().unwrap();
        both.wait();
        let _other = other.lock().unwrap();
    }

    #[lvh::test(timeout = "10s")]
    fn hangs_and_ignores_sigterm() {
        // SAFETY: no handler runs.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        Command::new("sh").args(["-c", "trap '' TERM; while :; do sleep 3600; done"]).spawn().unwrap().wait().unwrap();
    }

    #[lvh::test]
    #[should_panic(expected = "boom")]
    fn panics_as_expected() {
        panic!("a boom");
    }

    #[lvh::test]
    #[should_panic(expected = "boom")]
    fn panics_otherwise() {
        panic!("a bang");
    }

    #[lvh::test]
    #[should_panic]
    fn does_not_panic() {}

    #[lvh::test]
    fn skips() {
        lvh::skip!("for {} reasons", 2);
    }

    #[lvh::test]
    fn needs_a_newer_kernel() {
        lvh::require_kernel!(">= 99.1", "time travel");
    }

    #[lvh::test]
    #[ignore = "not today"]
    fn is_ignored() {
        unreachable!("ignored");
    }

    #[lvh::test]
    fn floods() {
        let line = "x".repeat(1023);
        let mut stdout = io::stdout().lock();
        for _ in 0..1024 {
            writeln!(stdout, "{line}").unwrap();
        }
        drop(stdout);
        panic!("after the flood");
    }

    #[lvh::test]
    fn writes_no_newline() {
        print!("no newline");
        io::stdout().flush().unwrap();
        process::exit(1);
    }

    #[lvh::test]
    fn writes_to_both_streams() {
        for number in 0..20 {
            println!("out {number}");
            eprintln!("err {number}");
        }
        panic!("in order");
    }

    #[lvh::test]
    fn leaves_processes_behind() {
        Command::new("setsid").args(["-f", "sh", "-c", "sleep 3600 & exec sleep 3601"]).status().unwrap();
        Command::new("sleep").arg("3602").spawn().map(drop).unwrap();
    }

    /// Its name comes after `leaves_processes_behind`.
    #[lvh::test]
    fn sees_none_of_them() {
        let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let command_lines = processes.filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok());
        let sleepers: Vec<String> = command_lines.filter(|line| line.contains("sleep\u{0}360")).collect();
        assert_eq!(sleepers, [""; 0]);
    }

    /// Everything but PID 1 gets the signal, also what lvh may have started for itself.
    #[lvh::test]
    fn kills_everybody() {
        println!("before");
        // SAFETY: kill takes plain numbers. It spares the caller.
        assert_eq!(unsafe { libc::kill(-1, libc::SIGKILL) }, 0);
        // SAFETY: as before.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }

    #[lvh::test]
    fn logs_to_the_kernel() {
        fs::write("/dev/kmsg", "<4>lvh-tests: a word from the kernel\n").unwrap();
        panic!("look at the log");
    }
}

/// Ways to end that take the VM along. Every second test shows that there is a new one.
mod deaths {
    use std::{fs, thread};

    fn boot_id() -> String {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap()
    }

    fn park() -> ! {
        loop {
            thread::park();
        }
    }

    #[lvh::test]
    fn a_passes() {
        println!("boot {}", boot_id());
    }

    #[lvh::test]
    fn b_panics_the_kernel() {
        println!("pulling the trigger");
        fs::write("/proc/sysrq-trigger", "c").unwrap();
        park();
    }

    #[lvh::test]
    fn c_passes() {
        println!("boot {}", boot_id());
    }

    #[lvh::test]
    fn d_reboots() {
        println!("rebooting");
        // SAFETY: reboot takes plain numbers.
        unsafe { libc::reboot(libc::RB_AUTOBOOT) };
        park();
    }

    #[lvh::test]
    fn e_powers_off() {
        println!("powering off");
        // SAFETY: reboot takes plain numbers.
        unsafe { libc::reboot(libc::RB_POWER_OFF) };
        park();
    }

    #[lvh::test]
    fn f_passes() {
        println!("boot {}", boot_id());
    }
}

/// What the kernel says of tests. They share one small VM until one breaks it, but for those that need modules.
mod events {
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;
    use std::{fs, io, thread};

    use crate::broken_module::{Fault, load};

    /// The kernel kills the thread that broke it, and no other.
    fn in_a_thread(body: impl FnOnce() + Send + 'static) {
        // What became of it is the kernel's log's to tell: a dead thread leaves no result, and `join` would panic.
        let thread = thread::spawn(body);
        while !thread.is_finished() && thread_count() > 2 {
            thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    fn thread_count() -> usize {
        fs::read_dir("/proc/self/task").unwrap().count()
    }

    #[lvh::test(memory = "256M")]
    fn a_breaks_the_kernel() {
        println!("into the void");
        load("lib/test_static_key_base", Fault::Null).unwrap();
        println!("still here");
    }

    #[lvh::test(memory = "256M")]
    fn b_breaks_the_kernel_and_returns() {
        in_a_thread(|| load("lib/test_firmware", Fault::Undefined).unwrap());
    }

    #[lvh::test(memory = "256M", fail_on = ["warn", "lockup", "hung-task", "rcu-stall", "oom", "lockdep"])]
    fn c_allows_oopses() {
        in_a_thread(|| load("drivers/net/dummy", Fault::Protection).unwrap());
    }

    #[lvh::test(memory = "256M")]
    fn d_writes_what_the_kernel_would() {
        fs::write("/dev/kmsg", "<0>BUG: unable to handle page fault for address: 0\n").unwrap();
        fs::write("/dev/kmsg", "<0>Oops: 0002 [#1] SMP\n").unwrap();
    }

    #[lvh::test(memory = "256M", timeout = "60s")]
    fn e_keeps_the_cpu() {
        // A lockup is what takes twice as long as this, in seconds.
        fs::write("/proc/sys/kernel/watchdog_thresh", "1").unwrap();
        fs::write("/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", "3").unwrap();
        // One waits for the period that runs, the others for the next, so that there always is one.
        (0..8).for_each(|_| drop(thread::spawn(wait_for_rcu)));
        let mut log = KernelLog::from_now();
        // Between two periods there is none that could stall, and the CPU may be taken just then.
        (0..4).any(|_| {
            load("drivers/net/tun", Fault::Spins).unwrap_err();
            log.tells("rcu: INFO: ")
        });
        fs::write("/proc/sys/kernel/watchdog_thresh", "10").unwrap();
        fs::write("/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout", "21").unwrap();
    }

    /// What the kernel says from some moment on.
    struct KernelLog(fs::File);

    impl KernelLog {
        fn from_now() -> Self {
            let mut file = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").unwrap();
            file.seek(io::SeekFrom::End(0)).unwrap();
            Self(file)
        }

        /// Reads on until the kernel has said `words`, or nothing more.
        fn tells(&mut self, words: &str) -> bool {
            let mut record = [0; 8192];
            let records = std::iter::from_fn(|| self.0.read(&mut record).ok().map(|len| record[..len].to_vec()));
            records.into_iter().any(|record| String::from_utf8_lossy(&record).contains(words))
        }
    }

    /// Waits for one grace period of RCU after the other, as closing such a socket does.
    fn wait_for_rcu() {
        loop {
            // SAFETY: plain numbers, and a descriptor that is nobody else's.
            unsafe { libc::close(libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0)) };
        }
    }

    #[lvh::test(memory = "256M", timeout = "120s")]
    fn f_takes_all_memory() {
        println!("more and more");
        let mut all = Vec::new();
        loop {
            all.push(vec![1_u8; 4 << 20]);
        }
    }

    #[lvh::test(memory = "256M")]
    fn g_fills_the_disk() -> io::Result<()> {
        let path = std::env::temp_dir().join("filled");
        let mut file = fs::File::create(&path)?;
        let full = loop {
            if let Err(error) = file.write_all(&[1; 1 << 20]) {
                break error;
            }
        };
        fs::remove_file(path)?;
        Err(full)
    }

    /// An interface of a name that /proc/net/pktgen has already: `proc_register` warns.
    fn warn() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        // SAFETY: all zeros is a valid `ifreq`.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        let name = |text: &[u8]| std::array::from_fn(|index| text.get(index).map_or(0, |byte| *byte as libc::c_char));
        (request.ifr_name, request.ifr_ifru.ifru_newname) = (name(b"dummy0"), name(b"pgctrl"));
        // SAFETY: the request is what SIOCSIFNAME reads.
        assert_eq!(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFNAME as _, &raw mut request) }, 0);
        request.ifr_name = name(b"pgctrl");
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        // SAFETY: the request is what SIOCSIFFLAGS reads.
        assert_eq!(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw mut request) }, 0);
        fs::write("/proc/net/pktgen/kpktgend_0", "add_device pgctrl\n").unwrap_err();
    }

    #[lvh::test(modules = ["dummy", "pktgen"])]
    fn h_makes_it_warn() {
        warn();
    }

    #[lvh::test(modules = ["dummy", "pktgen"], fail_on = ["warn"])]
    fn i_must_not_make_it_warn() {
        warn();
    }
}

/// The driver kills QEMU when it reads the line.
mod killed {
    use std::thread;

    #[lvh::test(timeout = "60s")]
    fn a_waits() {
        println!("\nkill me");
        loop {
            thread::park();
        }
    }

    #[lvh::test]
    fn b_passes() {}
}

/// Not what the attribute lets through: the harness panics over it, while the VM runs.
mod broken_harness {
    lvh_tests::register! {
        #[options(breaks_harness = true)]
        fn a_has_an_impossible_option() {}
    }

    #[lvh::test]
    fn b_passes() {}
}

/// Nobody knows this kernel.
mod unknown {
    #[lvh::test(kernel = "6.x7")]
    fn a_wants_it() {}

    #[lvh::test(kernel = "6.x7")]
    fn b_too() {}
}

/// QEMU before 8.1 breaks guests with several CPUs under TCG now and then. This one breaks the first time.
mod int3 {
    use std::path::Path;
    use std::{fs, thread};

    /// In the memory of the first guest alone.
    const MARK: &str = "/run/int3";

    #[lvh::test(cpus = 2, accel = "tcg")]
    fn a_marks_its_guest() {
        assert_eq!(thread::available_parallelism().unwrap().get(), 2);
        fs::write(MARK, "").unwrap();
    }

    #[lvh::test(cpus = 2, accel = "tcg")]
    fn b_passes_the_second_time() {
        if !Path::new(MARK).exists() {
            return;
        }
        fs::write("/dev/kmsg", "<0>Oops: int3: 0000 [#1] PREEMPT SMP PTI\n").unwrap();
        fs::write("/proc/sysrq-trigger", "c").unwrap();
    }
}

lvh::main!();
