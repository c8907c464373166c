//! The binary `daybook`, and the allocator it runs on.
//!
//! Not here: everything else; `api::cli` reads the arguments.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    api::cli::run()
}
