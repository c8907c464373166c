//! Programs in Go (`tests/go`), built with what Debian ships and nothing from the network.
//!
//! Debian installs the sources of Go libraries as a GOPATH; so programs are built in that mode, without modules.
//! Not here: what they check (the programs), what is given to them (`it`).

use crate::debian;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Compiler, and the library with signed notes and transparency logs.
const PACKAGES: &[&str] = &["golang-go", "golang-golang-x-mod-dev"];
/// Where Debian puts libraries.
const GOPATH: &str = "/usr/share/gocode";
/// What is needed of them.
const LIBRARY: &str = "src/golang.org/x/mod/sumdb/tlog";

/// Builds `tests/go/<name>` into `dir`, where Go keeps what it compiled too, and gives the program.
///
/// # Errors
/// Why it could not be built, and what to do.
pub fn build(name: &str, dir: &Path) -> Result<PathBuf, String> {
    let missing = || {
        format!(
            "there is no Go here and it could not be installed: apt-get install {}",
            PACKAGES.join(" ")
        )
    };
    let go = debian::program(&["go"], PACKAGES).ok_or_else(missing)?;
    let library = Path::new(GOPATH).join(LIBRARY);
    if !library.is_dir() {
        debian::install(PACKAGES);
    }
    if !library.is_dir() {
        return Err(missing());
    }
    let program = dir.join(name);
    let built = Command::new(go)
        .arg("build")
        .arg("-o")
        .arg(&program)
        .arg(
            Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("go")
                .join(name)
                .join("main.go"),
        )
        .env("GO111MODULE", "off")
        .env("GOPATH", GOPATH)
        .env("GOCACHE", dir.join("cache"))
        .env_remove("GOFLAGS")
        .output()
        .map_err(|error| format!("go does not run: {error}"))?;
    if built.status.success() {
        Ok(program)
    } else {
        Err(format!(
            "{name} does not build:\n{}",
            String::from_utf8_lossy(&built.stderr)
        ))
    }
}
