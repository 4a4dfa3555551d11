#[lvh::test]
fn arguments(_a: u32, _b: &str) {}

#[lvh::test]
fn generics<T, const N: usize>() {}

#[lvh::test]
const fn constant() {}

#[lvh::test]
unsafe fn not_safe() {}

#[lvh::test]
extern "C" fn foreign() {}

struct Suite;

impl Suite {
    #[lvh::test]
    fn method(&self) {}
}

trait Suites {
    #[lvh::test]
    fn without_body();
}

fn main() {}
