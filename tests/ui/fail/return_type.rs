#[lvh::test]
fn number() -> u32 {
    1
}

#[lvh::test]
async fn future_number() -> u32 {
    1
}

fn main() {}
