//! What goes wrong around a service: a second one, a full disk, a secret that others may read, a token that is taken
//! away, a duplicate in flight, a stop under load.
//!
//! Not here: kills at random (`crash`), damaged bytes (`damage`), each write of the store (`commands`).

use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};
use tests::PATIENCE;
use tests::daybook::{Daybook, Options, Reply};
use tests::dice::Dice;
use tests::follower::{Claims, Follower};
use tests::load::{self, Answer, Device, NoAnswer, Sent};

fn unlimited() -> Options {
    Daybook::with()
        .set("rate_per_minute", 0)
        .set("user_rate_per_minute", 0)
        .set("log", "warn")
}

#[test]
fn a_second_service_on_the_same_directory_is_refused() {
    let daybook = unlimited().start();
    let (_, _, token) = daybook.device("probe-1");
    let second = daybook
        .command()
        .stderr(Stdio::piped())
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success(), "{said}");
    assert!(
        said.contains("in use by process") && said.contains(&daybook.pid().to_string()),
        "it names who holds the directory:\n{said}"
    );
    // The first one never noticed.
    daybook.send(&token, "probe-1", None, 4.2).expect(200);
    Follower::new()
        .advance(&daybook, &Claims::new())
        .expect("a whole ledger");
}

#[test]
fn a_secret_that_others_may_read_stops_the_start() {
    let mut daybook = unlimited().start();
    assert!(daybook.stop().success());
    let keys = files(&daybook.data().join("keys"));
    assert!(!keys.is_empty());
    for path in keys {
        chmod(&path, 0o640);
        let said = daybook.try_restart().expect_err("it must not start");
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        assert!(said.contains(&name) && said.contains("chmod"), "{name}:\n{said}");
        chmod(&path, 0o600);
    }
    chmod(&daybook.data(), 0o755);
    let said = daybook.try_restart().expect_err("it must not start");
    assert!(said.contains("chmod 0700"), "{said}");
    chmod(&daybook.data(), 0o700);
    daybook.restart();
    assert_eq!(daybook.get("/v1/sites").status, 200);
}

#[test]
fn secrets_are_made_for_nobody_else() {
    let daybook = unlimited().start();
    let mode = |path: &Path| {
        let mode = std::fs::metadata(path).expect("it is there").permissions().mode();
        mode & 0o777
    };
    assert_eq!(mode(&daybook.data()), 0o700);
    assert_eq!(mode(&daybook.data().join("owner-token")), 0o600);
    for path in files(&daybook.data().join("keys")) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

/// What was recorded with a token stands before the entry that takes the token away, and nothing after it.
#[test]
fn a_token_that_was_taken_away_is_refused_from_the_next_request_on() {
    let daybook = unlimited().start();
    let (site, device, token) = daybook.device("probe-1");
    let (other, other_token) = daybook.device_on(&site, "probe-2");
    let user = daybook.post("/v1/tokens", &json!({}));
    for (id, token, path) in [
        (&device, &token, format!("/v1/devices/{device}/rotate-token")),
        (&other, &other_token, format!("/v1/devices/{other}")),
    ] {
        let (gone, first_refused, last_taken) =
            (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let local_id = if id == &device { "probe-1" } else { "probe-2" };
        let (told, tell) = sync_channel(1 << 10);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                let told = told.clone();
                let (daybook, gone) = (&daybook, &gone);
                let (first_refused, last_taken) = (&first_refused, &last_taken);
                scope.spawn(move || {
                    loop {
                        let began_after = gone.load(Ordering::SeqCst);
                        let reply = daybook.send(token, local_id, None, 4.2);
                        match reply.status {
                            200 => {
                                assert!(!began_after, "a request after the answer was taken");
                                let at = reply.json()["first_position"].as_u64().unwrap_or_default();
                                last_taken.fetch_max(at, Ordering::SeqCst);
                                let _ = told.try_send(());
                            }
                            401 => {
                                assert_eq!(reply.refused(401), "token_invalid");
                                first_refused.fetch_add(1, Ordering::SeqCst);
                                return;
                            }
                            other => panic!("{other} {}", reply.text()),
                        }
                    }
                });
            }
            for _ in 0..20 {
                tell.recv_timeout(PATIENCE).expect("readings are taken");
            }
            let answer = match path.ends_with("rotate-token") {
                true => daybook.post(&path, &json!({})),
                false => daybook.delete(&path),
            };
            gone.store(true, Ordering::SeqCst);
            assert!(answer.status < 300, "{}", answer.text());
        });
        assert_eq!(first_refused.load(Ordering::SeqCst), 2);
        let revoked = entries(&daybook)
            .into_iter()
            .find(|entry| {
                entry["aggregate_id"] == id.as_str()
                    && (entry["event_type"] == "TokenRevoked" || entry["event_type"] == "DeviceRemoved")
            })
            .expect("it is an entry");
        assert!(
            last_taken.load(Ordering::SeqCst) < revoked["position"].as_u64().expect("a position"),
            "a reading stands behind {revoked}"
        );
    }
    // The same for a person's token.
    let user = user.expect(201);
    let secret = user["token"].as_str().expect("shown once");
    let ask = || daybook.call("GET", "/v1/sites").token(secret).send();
    assert_eq!(ask().status, 200);
    let id = user["id"].as_str().expect("an id");
    assert_eq!(daybook.delete(&format!("/v1/tokens/{id}")).status, 204);
    assert_eq!(ask().refused(401), "token_invalid");
}

/// The same request from eight places at once, and the kill between its commit and its answers: whoever got an answer
/// got the position of an entry that is there, everybody the same, and it is there once.
#[test]
fn a_duplicate_in_flight_is_never_answered_before_its_original_is_durable() {
    const PLACES: usize = 8;
    const ROUNDS: usize = 5;
    let mut dice = Dice::from_environment(77);
    let mut daybook = unlimited().start();
    let (_, device, token) = daybook.device("probe-1");
    let mut follower = Follower::new();
    let mut next = 1u64;
    let mut repeats = 0;
    for round in 0..ROUNDS {
        let url = daybook.url().to_owned();
        let from = next;
        let wanted = 20 + dice.below(200);
        let (told, tell) = sync_channel(1 << 12);
        let mut answers: BTreeMap<u64, Vec<Answer>> = BTreeMap::new();
        let furthest = AtomicU64::new(from);
        std::thread::scope(|scope| {
            let places: Vec<_> = (0..PLACES)
                .map(|_| {
                    let (url, token, told, furthest) = (&url, &token, told.clone(), &furthest);
                    scope.spawn(move || {
                        let agent = load::agent();
                        let mut answers = Vec::new();
                        for n in from.. {
                            furthest.fetch_max(n, Ordering::SeqCst);
                            match load::post(&agent, url, token, &same(n)) {
                                Ok(answer) => answers.push((n, answer)),
                                Err(NoAnswer::Unavailable(why)) => panic!("{why}"),
                                Err(NoAnswer::Gone(_)) => break,
                            }
                            let _ = told.try_send(());
                        }
                        answers
                    })
                })
                .collect();
            for _ in 0..wanted {
                tell.recv_timeout(PATIENCE).expect("readings are taken");
            }
            // The instant, and no waiting.
            std::thread::sleep(Duration::from_micros(dice.below(3_000)));
            daybook.kill9();
            for place in places {
                for (n, answer) in place.join().expect("it ends") {
                    answers.entry(n).or_default().push(answer);
                }
            }
        });
        next = furthest.load(Ordering::SeqCst) + 1;
        daybook.restart();
        follower
            .advance(&daybook, &Claims::new())
            .unwrap_or_else(|what| panic!("round {round}: {what}"));
        for (n, answers) in &answers {
            let place = follower
                .place(&device, *n)
                .unwrap_or_else(|| panic!("round {round}: {n} was answered {answers:?} and is lost"));
            for answer in answers {
                assert_eq!(answer.accepted + answer.deduplicated, 1, "{answer:?}");
                if !answer.positions.is_empty() {
                    assert!(
                        answer.positions.contains(&place.position),
                        "{n} at {place:?}: {answer:?}"
                    );
                }
            }
            let first = answers
                .iter()
                .filter(|a| a.deduplicated == 0 && !a.replayed)
                .count();
            assert!(first <= 1, "{n} was accepted {first} times");
            repeats += answers.len() - first;
        }
    }
    assert!(
        repeats > 100,
        "only {repeats} duplicates were answered: nothing was tried"
    );
}

/// Number `n`: with a key where it is even, to be told by its time where it is odd.
fn same(n: u64) -> Sent {
    let at = i64::try_from(n).expect("small") * 1_000_000 + 1_770_000_000_000_000;
    let at = domain::Timestamp::from_micros(at).expect("a time").to_string();
    let body = json!({"device": "probe-1", "ts": at, "measurements": [{"type": "power", "value": n}]});
    Sent {
        body: body.to_string().into_bytes(),
        key: n.is_multiple_of(2).then(|| format!("key-{n}")),
        values: vec![n],
        timed: true,
    }
}

#[test]
fn a_stop_under_load_keeps_everything_and_signs_the_last_position() {
    let mut dice = Dice::from_environment(5);
    let mut daybook = unlimited().start();
    let (site, id, token) = daybook.device("probe-0");
    let mut devices = vec![Device::new(&id, "probe-0", &token, dice.another())];
    for n in 1..3 {
        let local_id = format!("probe-{n}");
        let (id, token) = daybook.device_on(&site, &local_id);
        devices.push(Device::new(&id, &local_id, &token, dice.another()));
    }
    let url = daybook.url().to_owned();
    let (told, tell) = sync_channel(1 << 14);
    let status = std::thread::scope(|scope| {
        for device in &mut devices {
            let (url, told) = (url.clone(), told.clone());
            scope.spawn(move || device.send_until_gone(&url, &told));
        }
        let mut measurements = 0;
        while measurements < 500 {
            measurements += tell.recv_timeout(PATIENCE).expect("readings are taken");
        }
        daybook.stop()
    });
    assert!(status.success(), "{status}\n{}", daybook.said());
    let anchor = daybook.scratch().join("anchor").display().to_string();
    let (_, keys, _) = daybook.cli(&["key", "show"]);
    let key = keys
        .split_whitespace()
        .find(|word| word.contains('+'))
        .expect("a key");
    let (code, report, err) = daybook.cli(&["verify", "--json", "--key", key, "--anchor", &anchor]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!(
        (code, report["verdict"].as_str()),
        (0, Some("VERIFIED")),
        "{report:#}\n{err}"
    );
    assert_eq!(report["signed"], report["size"], "the last position is signed");
    let size = report["size"].as_u64().expect("a size");
    daybook.restart();
    let mut follower = Follower::new();
    let mut claims = Claims::new();
    for (_, answer) in devices.iter().flat_map(|device| &device.answered) {
        if let Some((size, root)) = answer.tree {
            assert_eq!(*claims.entry(size).or_insert(root), root);
        }
    }
    follower.advance(&daybook, &claims).expect("a whole ledger");
    for device in &devices {
        for (sent, answer) in &device.answered {
            for value in &sent.values {
                let place = follower.place(&device.id, *value).expect("what was acknowledged");
                assert!(place.position < size);
                assert!(answer.accepted == 0 || answer.positions.contains(&place.position));
            }
        }
    }
}

/// A file system of its own, small enough to fill.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    /// Loudly nothing where nobody may mount; in CI as root that is a failure.
    fn mount(bytes: u64) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let options = format!("size={bytes},mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "none"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if mounted {
            return Some(Self { dir });
        }
        let root = std::fs::metadata("/proc/self").is_ok_and(|own| {
            use std::os::unix::fs::MetadataExt;
            own.uid() == 0
        });
        let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!(root && ci), "root in CI, and no tmpfs can be mounted");
        eprintln!("SKIPPED: a full disk needs a small tmpfs, and that needs root");
        None
    }

    /// Writes until nothing goes on it any more.
    fn fill(&self) {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.filler())
            .expect("the filler");
        for piece in [1 << 20, 64 << 10, 4 << 10, 512] {
            let zeros = vec![0; piece];
            while file.write_all(&zeros).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).expect("the filler is there");
    }

    fn filler(&self) -> PathBuf {
        self.dir.path().join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there is being killed.
        let _ = Command::new("umount").arg("-l").arg(self.dir.path()).status();
    }
}

#[test]
fn a_full_disk_is_503_reads_go_on_and_writing_recovers_by_itself() {
    let Some(disk) = SmallDisk::mount(48 << 20) else {
        return;
    };
    let mut daybook = unlimited().ready();
    std::os::unix::fs::symlink(disk.dir.path(), daybook.data()).expect("a link");
    daybook.restart();
    let (_, id, token) = daybook.device("probe-0");
    let mut device = Device::new(&id, "probe-0", &token, Dice::new(9));
    let url = daybook.url().to_owned();
    for _ in 0..20 {
        take(&mut device, &url);
    }
    for fill in 0..2 {
        disk.fill();
        // What was written ahead still holds some; then it says so.
        let why = until(|| {
            let sent = device.next();
            match device.post(&url, &sent) {
                Ok(answer) => {
                    device.answered.push((sent, answer));
                    None
                }
                Err(NoAnswer::Unavailable(why)) => {
                    device.unanswered.push(sent);
                    Some(why)
                }
                Err(NoAnswer::Gone(why)) => {
                    panic!("fill {fill}: the service is gone: {why}\n{}", daybook.said())
                }
            }
        });
        assert!(why.contains("\"disk\""), "fill {fill}: {why}");
        // What the read models give back while they fold is room again, and the service finds it.
        let refused = until(|| {
            disk.fill();
            let sent = daybook.send(&token, "probe-0", None, 4.2);
            let ready = daybook.call("GET", "/readyz").send();
            (sent.status == 503 && ready.status == 503).then_some(sent)
        });
        assert_eq!(refused.refused(503), "disk");
        let again_s = refused.header("retry-after").and_then(|s| s.parse::<u32>().ok());
        assert!(
            again_s.is_some_and(|s| s > 0),
            "{:?}",
            refused.header("retry-after")
        );
        reads_go_on(&daybook);
        disk.free();
        // No restart, no hint: it finds out.
        until(|| {
            daybook
                .send(&token, "probe-0", None, 4.3)
                .status
                .eq(&200)
                .then_some(())
        });
        device.settle(&url);
        for _ in 0..20 {
            take(&mut device, &url);
        }
        until(|| {
            daybook
                .call("GET", "/readyz")
                .send()
                .status
                .eq(&200)
                .then_some(())
        });
    }
    everything_is_there(&daybook, &device);
    assert!(daybook.stop().success());
    let (code, report, err) = daybook.cli(&["verify", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    assert!(matches!(code, 0 | 3), "{report:#}\n{err}");
    assert_eq!(report["derived_damage"], json!([]));
    drop(daybook);
}

fn take(device: &mut Device, url: &str) {
    let sent = device.next();
    match device.post(url, &sent) {
        Ok(answer) => device.answered.push((sent, answer)),
        Err(why) => panic!("{why:?}"),
    }
}

fn reads_go_on(daybook: &Daybook) {
    for path in [
        "/v1/sites",
        "/v1/devices?account_id=own",
        "/v1/entries?limit=10",
        "/log/checkpoint",
        "/healthz",
        "/metrics",
        "/ledger",
    ] {
        let reply = daybook.get(path);
        assert!(reply.status < 500, "{path}: {} {}", reply.status, reply.text());
    }
}

/// Everything acknowledged, once; the values of the test's own single readings may repeat.
fn everything_is_there(daybook: &Daybook, device: &Device) {
    let mut places: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for entry in entries(daybook) {
        if entry["event_type"] == "ReadingRecorded" {
            for (key, value) in entry["payload"]["values"].as_object().expect("values") {
                if key.starts_with("power") {
                    let position = entry["position"].as_u64().expect("a position");
                    places
                        .entry(value.as_u64().expect("a number"))
                        .or_default()
                        .push(position);
                }
            }
        }
    }
    for (sent, answer) in &device.answered {
        for value in &sent.values {
            let there = places.get(value).map(Vec::as_slice).unwrap_or_default();
            assert_eq!(there.len(), 1, "{value} stands at {there:?}: {answer:?}");
            assert!(
                answer.accepted == 0 || answer.positions.contains(&there[0]),
                "{answer:?}"
            );
        }
    }
}

/// Asks again until there is an answer.
fn until<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "it does not happen");
    }
}

/// Every entry that the owner may see.
fn entries(daybook: &Daybook) -> Vec<serde_json::Value> {
    let mut all = Vec::new();
    loop {
        let reply: Reply = daybook.get(&format!("/v1/entries?limit=10000&from={}", all.len()));
        let page = reply.ndjson();
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

/// Files below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder").flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found.sort();
    found
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("it is ours");
}
