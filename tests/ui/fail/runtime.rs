#[lvh::test(runtime = my_block_on)]
fn not_async() {}

#[lvh::test(runtime = my_block_on)]
#[tokio::main(flavor = "current_thread")]
async fn two_runtimes() {}

fn main() {}
