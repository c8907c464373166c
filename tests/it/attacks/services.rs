//! Attacks on the directory of a service: what stands beside the entries changed, an older copy put back.
//!
//! The service is a real process, stopped while somebody is at its files.

use super::{Desk, option, verify};
use std::path::{Path, PathBuf};
use std::process::Command;
use tests::daybook::Daybook;

type Said = (i32, String);

/// Readings between the copy that is put back and what was signed since.
const READINGS: u32 = 12;

/// A service with a few readings, its key, and a device's token.
fn service() -> (Daybook, String, String) {
    let service = Daybook::with().set("rate_per_minute", 0).start();
    let (_, _, token) = service.device("fridge");
    ingest(&service, &token);
    let (code, keys, err) = service.cli(&["key", "show"]);
    assert_eq!(code, 0, "{err}");
    let key = keys.lines().next().expect("a key").to_owned();
    (service, key, token)
}

fn ingest(service: &Daybook, token: &str) {
    for n in 0..READINGS {
        service.send(token, "fridge", None, f64::from(n)).expect(200);
    }
    service.until_signed(service.size());
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp runs").success());
}

/// The service stopped, its directory the one that it had twelve readings ago; and what was signed since.
fn put_back(service: &mut Daybook, token: &str) -> Vec<u8> {
    let older = service.scratch().join("older");
    assert!(service.stop().success());
    copy(&service.data(), &older);
    service.restart();
    ingest(service, token);
    let signed = service.get("/log/checkpoint").text().into_bytes();
    assert!(service.stop().success());
    std::fs::remove_dir_all(service.data()).expect("removed");
    std::fs::rename(older, service.data()).expect("put back");
    signed
}

fn said((code, out, err): (i32, String, String)) -> Said {
    (code, out + &err)
}

pub fn index() -> Said {
    let (mut service, key, _) = service();
    assert!(service.stop().success());
    let index = service.data().join("ledger/segments/00000001.idx");
    let index = if index.exists() {
        index
    } else {
        find(&service.data(), "idx")
    };
    let mut bytes = std::fs::read(&index).expect("readable");
    bytes[20] ^= 1;
    std::fs::write(&index, bytes).expect("writable");
    let anchor = service.scratch().join("anchor");
    let anchor = anchor.to_str().expect("a path of ours");
    let (code, said) = said(service.cli(&["verify", "--key", &key, "--anchor", anchor]));
    // The entries are whole, and the index is made of them again: the verdict is theirs, the damage is named.
    assert!(code == 0 && said.starts_with("VERIFIED"), "{said}");
    (i32::from(said.contains("idx")), said)
}

/// The first file below with that ending.
fn find(dir: &Path, ending: &str) -> PathBuf {
    let mut all = vec![dir.to_owned()];
    while let Some(path) = all.pop() {
        if path.is_dir() {
            all.extend(
                std::fs::read_dir(&path)
                    .expect("a folder")
                    .flatten()
                    .map(|it| it.path()),
            );
        } else if path.extension().is_some_and(|it| it == ending) {
            return path;
        }
    }
    panic!("no .{ending} in {}", dir.display())
}

pub fn put_back_beside_its_anchor() -> Said {
    let (mut service, _, token) = service();
    put_back(&mut service, &token);
    match service.try_restart() {
        Ok(()) => (0, service.said()),
        Err(said) => (1, said),
    }
}

pub fn put_back_against_a_head() -> Said {
    let (mut service, key, token) = service();
    let signed = put_back(&mut service, &token);
    let desk = Desk::new();
    let (kept, to) = (
        desk.keep("kept.checkpoint", &signed),
        service.scratch().join("copy"),
    );
    let (code, said) = said(service.cli(&["export", "--to", to.to_str().expect("a path of ours")]));
    assert_eq!(code, 0, "{said}");
    verify(
        "log",
        &to,
        &[option("--key"), option(&key), option("--head"), &kept],
    )
}

pub fn put_back_with_its_anchor() -> Said {
    let (mut service, key, token) = service();
    let desk = Desk::new();
    let state = desk.keep("seen", b"");
    std::fs::remove_file(&state).expect("removed");
    let signed = put_back(&mut service, &token);
    // Somebody watched in between.
    std::fs::write(&state, signed).expect("writable");
    std::fs::remove_dir_all(service.scratch().join("anchor"))
        .or_else(|_| std::fs::remove_file(service.scratch().join("anchor")))
        .expect("the anchor goes too");
    service.restart();
    service.until_signed(service.size());
    let token = desk.keep("token", service.owner_token().as_bytes());
    verify(
        "watch",
        Path::new(service.url()),
        &[
            option("--key"),
            option(&key),
            option("--state"),
            &state,
            option("--token-file"),
            &token,
        ],
    )
}
