//! kmodtrail.
fn main() {}
