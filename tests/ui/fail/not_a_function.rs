#[lvh::test]
mod tests {}

#[lvh::test(cpus = 0)]
struct Suite;

#[lvh::test]
impl Suite {}

#[lvh::test]
const COUNT: u32 = 1;

#[lvh::test]
use std::fs;

fn main() {}
