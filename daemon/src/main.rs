//! kmodtrail.

fn main() -> std::process::ExitCode {
    kmodtrail::cli::main()
}
