#[lvh::test(host, kernel = "6.12", timeout = "5s", memory = "1G")]
fn on_host() {}

fn main() {}
