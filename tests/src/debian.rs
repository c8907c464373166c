//! Programs that tests need and Debian has: found, or installed where that is allowed.
//!
//! Not here: which (`chromium`, `golang`).

use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The first of these programs on the path; where there is none, these packages are installed first, if that is allowed.
pub fn program(names: &[&str], packages: &[&str]) -> Option<PathBuf> {
    if let Some(found) = installed(names) {
        return Some(found);
    }
    install(packages);
    installed(names)
}

/// Installs packages; whether that was possible, whoever needs them sees.
pub fn install(packages: &[&str]) {
    // Root may install; others may where sudo asks nothing.
    let root = Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|out| out.stdout.trim_ascii() == b"0");
    let apt = |arguments: &[&str]| {
        let mut command = Command::new(if root { "apt-get" } else { "sudo" });
        if !root {
            command.args(["-n", "apt-get"]);
        }
        let done = command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status();
        done.is_ok_and(|status| status.success())
    };
    let install = ["install", "--yes", "--quiet", "--no-install-recommends"];
    let install = [&install[..], packages].concat();
    if !apt(&install) {
        apt(&["update", "--quiet"]);
        apt(&install);
    }
}

fn installed(names: &[&str]) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    names.iter().find_map(|name| {
        std::env::split_paths(&paths)
            .map(|dir| dir.join(name))
            .find(|path| path.is_file())
    })
}
