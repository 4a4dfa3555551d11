#[lvh::test(cpus = 1, memory = "1G", cpus = 2)]
fn twice() {}

#[lvh::test(kernel = "6.12", kernels = ["5.10"])]
fn one_and_many() {}

#[lvh::test(image = "a", images = ["b"])]
fn image_and_images() {}

#[lvh::test(init = "systemd")]
fn init_of_the_host() {}

#[lvh::test(image = "a", init = "upstart")]
fn init_of_old() {}

fn main() {}
