#[lvh::test]
#[ignore]
#[ignore = "again"]
#[should_panic]
#[should_panic = "again"]
fn twice() {}

#[lvh::test]
#[ignore(reason = "list")]
#[should_panic(text = "wrong key")]
fn malformed() {}

#[lvh::test]
#[should_panic]
fn result() -> Result<(), String> {
    Ok(())
}

fn main() {}
