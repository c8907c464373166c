//! Packages of PyPI, in an environment that is made once and used again.
//!
//! Not here: what they are used for (`smtp`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// One at a time makes it.
static MAKING: Mutex<()> = Mutex::new(());

/// A Python that has these packages (`name==version`), in an environment named `name` below the target directory.
///
/// # Errors
/// Why there is none, and what to do.
pub fn with(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let _one = MAKING.lock().map_err(|_| "another test broke it".to_owned())?;
    let dir = target()?.join("python").join(name);
    let python = dir.join("bin/python");
    let made = dir.join("made");
    if std::fs::read_to_string(&made).is_ok_and(|there| there == packages.join(" ")) {
        return Ok(python);
    }
    run(
        Command::new("python3").args(["-m", "venv"]).arg(&dir),
        "python3-venv",
    )?;
    run(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet"])
            .args(packages),
        "a way to PyPI",
    )?;
    std::fs::write(&made, packages.join(" ")).map_err(|error| error.to_string())?;
    Ok(python)
}

/// Where Cargo builds: a test stands in <target>/<profile>/deps.
fn target() -> Result<PathBuf, String> {
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    let target = test.ancestors().nth(3).map(Path::to_owned);
    target.ok_or_else(|| "there is no target directory".to_owned())
}

fn run(command: &mut Command, needs: &str) -> Result<(), String> {
    let output = command
        .output()
        .map_err(|error| format!("{error}: {needs} is needed"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{needs} is needed: {}",
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// A script of `tests/python`.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(name)
}
