//! Fails on Linux 5.10, which has no `cgroup.kill`: that came with 5.14.

use std::fs;
use std::path::Path;

#[lvh::test(kernels = ["5.10", "6.12"])]
fn a_whole_group_can_be_killed() {
    let group = Path::new("/sys/fs/cgroup/maps");
    fs::create_dir(group).unwrap();
    println!("on Linux {}", lvh::kernel_release());
    fs::write(group.join("cgroup.kill"), "1").expect("cgroup.kill takes a 1");
}
