#[lvh::test(kernal = "6.12", memmory = "1G", retries = 3, fresh_vms, cpus = 2)]
fn all_are_reported() {}

fn main() {}
