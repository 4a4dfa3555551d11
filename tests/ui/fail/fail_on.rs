#[lvh::test(fail_on = ["oops", "warning"])]
fn slip() {}

#[lvh::test(fail_on = ["everything"])]
fn unknown() {}

#[lvh::test(fail_on = 3)]
fn no_list() {}

fn main() {}
