#[lvh::test(host, kernel = "6.12", timeout = "5s", memory = "1G", image = "base")]
fn on_host() {}

fn main() {}
