//! The `prulong` program: a thin shell around the library's `cli` module.

fn main() -> std::process::ExitCode {
    prulong::cli::program::main()
}
