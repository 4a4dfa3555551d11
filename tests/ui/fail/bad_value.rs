#[lvh::test(
    kernels = [],
    image = "",
    cpus = 0,
    memory = "16M",
    accel = "xen",
    timeout = "0s",
    boot_timeout = "1 fortnight",
    modules = ["two words"],
    kernel_args = "quiet\nlsm=bpf"
)]
fn bad() {}

#[lvh::test(kernels = ["6.12", "5.10", "6.12"], memory = "1.5G", timeout = "30", cpus = 99999999999)]
fn listed_twice() {}

#[lvh::test(kernel = " ", memory = "512", images = ["a", "b c", "a"])]
fn blank() {}

fn main() {}
