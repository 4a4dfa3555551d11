#[lvh::test(
    kernel = 6.12,
    image,
    cpus = "2",
    memory = 512,
    accel = true,
    timeout = 30,
    boot_timeout =,
    modules = ["a", 2],
    kernel_args = ["lsm=bpf"],
    fresh_vm = "yes",
    host = 1,
    crate = 5,
    runtime = [block_on]
)]
fn wrong() {}

#[lvh::test(kernels = { "6.12" })]
fn braces() {}

fn main() {}
