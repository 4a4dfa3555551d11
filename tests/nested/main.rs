//! lvh under KVM: each test runs in a guest that has `/dev/kvm`, and starts guests of its own there. `tests/long/kvm.rs` runs
//! them, in one VM.
//!
//! QEMU's TCG emulates a processor of AMD's with SVM and nested paging (`-cpu max`), on which `kvm_amd` works. What runs
//! under that KVM takes about fifteen times as long as under TCG alone, so each combination is chosen, and the starts
//! that are needed anyway are looked at from several sides.
//!
//! `nohz=off highres=off`: QEMU's SVM changes the CPU's pending interrupts without a lock (`helper_vmrun` and `do_vmexit` of
//! `svm_helper.c`, seen with 7.2), and loses one now and then. With a timer that the kernel sets for each tick anew, the
//! lost one is the last: the guest sleeps until a device wakes it, and no deadline in it passes. One that ticks by itself
//! goes on. Later versions of QEMU change them by `cpu_set_interrupt()`.
//!
//! One CPU: with two in one thread, that thread's kick every 100 ms makes QEMU 7.2 deliver an injected interrupt once more, for
//! `helper_vmrun` leaves it in `exception_index`. A guest that has interrupts off then waits for a lock of its own.

#![expect(clippy::print_stdout, reason = "the driver reads it")]

mod clocks;
mod exec;
mod machine;

use exec::Exec;

/// Boots, or resumes where there can be a snapshot, and runs a program.
#[track_caller]
fn check(exec: Exec) {
    let took = |what: &str, seconds: f64| println!("{exec:?}: {what} in {seconds:.1} s");
    let (first, _) = exec.runs();
    took(if exec.can_resume() { "first" } else { "cold" }, first);
    if exec.can_resume() {
        let (second, booted) = exec.runs();
        took("warm", second);
        assert!(!booted, "{exec:?} boots again");
    }
}

/// Tests that share the VM with KVM: what they ask for must be the same.
macro_rules! with_kvm {
    ($(fn $name:ident() $body:block)*) => {
        $(#[lvh::test(
            kernel = "6.12", accel = "tcg", cpus = 1, memory = "4G",
            modules = ["kvm_amd", "vhost_vsock"], kernel_args = "nohz=off highres=off"
        )]
        fn $name() $body)*
    };
}

/// Has a shell return from a hundred signals.
const SIGNALS: [&str; 3] = ["bash", "-c", "trap : USR1; for _ in {1..100}; do kill -USR1 $$; done; echo survived"];

with_kvm! {
    // 5.10 believes the sizes of registers that the processor tells, and dies of wrong ones at the first signal.
    fn linux_5_10() {
        check(Exec { program: &SIGNALS, prints: "survived\n", ..Exec::new("5.10", "vhost-user-vsock", "virtiofs") });
    }

    fn linux_6_1() {
        check(Exec::new("6.1", "vhost-user-vsock", "virtiofs"));
        check(Exec::new("6.1", "virtio-serial", "9p"));
    }

    fn linux_6_12() {
        check(Exec::new("6.12", "vhost-user-vsock", "packed"));
    }

    fn linux_7_x() {
        check(Exec::new("7.x", "vhost-vsock", "virtiofs"));
        check(Exec::new("7.x", "virtio-serial", "packed"));
    }

    fn two_cpus() {
        check(Exec { cpus: 2, program: &["nproc"], prints: "2\n", ..Exec::new("6.1", "serial", "packed") });
    }

    fn clocks_are_right_after_a_resume() {
        clocks::check();
        machine::with_kvm_that_has_booted();
    }

    fn what_doctor_says_of_each_kvm() {
        machine::with_kvm_that_works();
        machine::without_kvm();
    }

    fn an_ordinary_user_may_not_open_it() {
        machine::as_nobody();
    }

    fn one_that_dies_beside_one_that_works() {
        machine::with_kvm_that_dies();
    }
}

lvh::main!();
