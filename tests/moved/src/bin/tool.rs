//! A program that a test starts.

#[expect(clippy::print_stdout, reason = "it is what the program is for")]
fn main() {
    println!("a program of the package");
}
