#[lvh::test("6.12", cpus: 2, kernel = "6.12" "5.10", fresh_vm true)]
fn not_options() {}

fn main() {}
