//! The house's rules, read from `cargo metadata` and the tree.
//!
//! Source: docs/architecture.md. Not here: what rustfmt and clippy check.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

/// Every file that Git tracks or would track, relative to the workspace.
fn files() -> Vec<PathBuf> {
    let out = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git runs");
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(PathBuf::from)
        .filter(|p| root().join(p).is_file())
        .collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_default()
}

fn with_extension(extension: &str) -> Vec<PathBuf> {
    files()
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .collect()
}

#[test]
fn arrows_between_rooms_go_one_way() {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).expect("JSON");
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("domain", &[][..]),
        ("migrations", &[][..]),
        ("commands", &["domain", "migrations"][..]),
        ("projections", &["domain", "migrations"][..]),
        ("chain-publisher", &["domain"][..]),
        (
            "api",
            &[
                "domain",
                "commands",
                "projections",
                "chain-publisher",
                "migrations",
            ][..],
        ),
    ]);
    let rooms: BTreeSet<&str> = allowed.keys().copied().collect();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let Some(allowed) = allowed.get(name) else {
            continue;
        };
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("a name");
            let in_tests = dependency["kind"] == "dev";
            if rooms.contains(to) && !in_tests {
                assert!(allowed.contains(&to), "{name} must not depend on {to}");
            }
        }
    }
}

#[test]
fn domain_knows_no_clock_no_file_no_socket_and_no_runtime() {
    let forbidden = [
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "SystemTime",
        "Instant::now",
        "tokio",
        "rand::",
        "OsRng",
        "thread_rng",
        "println!",
        "eprintln!",
    ];
    for path in with_extension("rs")
        .iter()
        .filter(|p| p.starts_with("domain/src"))
    {
        let text = read(path);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in forbidden {
            let found = code
                .lines()
                .find(|l| l.contains(word) && !l.trim_start().starts_with("//"));
            assert!(found.is_none(), "{}: {word} in {:?}", path.display(), found);
        }
    }
}

#[test]
fn every_rust_file_says_what_it_is() {
    for path in with_extension("rs") {
        assert!(
            read(&path).starts_with("//!"),
            "{} does not open with //!",
            path.display()
        );
    }
}

#[test]
fn no_file_tells_how_the_work_is_organised() {
    // Put together here, so that this file does not hold what it looks for.
    let words: Vec<String> = [
        ("/wo", "rk/"),
        ("/ro", "ot/"),
        ("/ho", "me/"),
        ("crates", ".io/"),
        ("registry", ".npmjs"),
        ("py", "pi.org"),
        ("sub", "agent"),
        ("TO", "DO"),
        ("FIX", "ME"),
        ("as an ", "AI"),
        ("Clau", "de"),
    ]
    .iter()
    .map(|(a, b)| format!("{a}{b}"))
    .collect();
    let kept = |p: &Path| p.ends_with("Cargo.lock") || p.ends_with("LICENSE");
    for path in files().iter().filter(|p| !kept(p)) {
        let text = read(path);
        for word in &words {
            let line = text.lines().position(|l| l.contains(word.as_str()));
            assert!(
                line.is_none(),
                "{}:{}: {word}",
                path.display(),
                line.unwrap_or_default() + 1
            );
        }
    }
}

#[test]
fn every_decoder_has_fixtures() {
    for family in ["shelly", "lorawan", "efento", "native"] {
        let some = files().iter().any(|p| {
            p.starts_with("tests/fixtures")
                && p.extension().is_some_and(|e| e == "json")
                && p.to_string_lossy().contains(family)
        });
        assert!(some, "no fixture of {family}");
    }
}

#[test]
fn the_readme_names_every_room() {
    let readme = read(Path::new("README.md"));
    for room in [
        "domain",
        "commands",
        "projections",
        "chain-publisher",
        "api",
        "migrations",
        "tests",
    ] {
        assert!(
            readme.contains(&format!("`{room}/`")),
            "README.md does not name {room}/"
        );
        assert!(read(Path::new(room).join("Cargo.toml").as_path()).contains(&format!("name = \"{room}\"")));
    }
}

#[test]
fn every_dependency_says_why() {
    let text = read(Path::new("Cargo.toml"));
    let section = text
        .split("[workspace.dependencies]")
        .nth(1)
        .and_then(|s| s.split("\n[").next())
        .unwrap_or_default();
    for line in section
        .lines()
        .filter(|l| l.contains(" = ") && !l.contains("path = "))
    {
        assert!(line.contains(" # "), "no reason: {line}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in with_extension("md") {
        let text = read(&path);
        let dir = path.parent().unwrap_or(Path::new(""));
        for part in text.split("](").skip(1) {
            let target = part.split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty()
                || target.contains("://")
                || target.starts_with("mailto:")
                || target.starts_with('/')
            {
                continue;
            }
            assert!(
                root().join(dir).join(target).exists(),
                "{}: {target} does not exist",
                path.display()
            );
        }
    }
}
