//! A ledger that continues another with its configuration: the same people and devices go on, in a ledger that says
//! where each of its entries comes from; a first start that is killed on the way goes on at the next one.
//!
//! Everything by the binary, on real directories. Not here: rotations and recovery (`keys`), what `continues` is worth to
//! an auditor (`keys`), each sealed value (`commands::carry_over`).

use crate::api::access::use_link;
use domain::Timestamp;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tests::PATIENCE;
use tests::daybook::{Daybook, Options, Reply, binary};

const NEW_ORIGIN: &str = "log.example/main-2";

fn unlimited() -> Options {
    Daybook::with()
        .set("rate_per_minute", 0)
        .set("user_rate_per_minute", 0)
}

fn id(value: &Value) -> String {
    value["id"].as_str().expect("an id").to_owned()
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of ours").to_owned()
}

fn run(args: &[&str]) -> (i32, String) {
    let output = Command::new(binary())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

fn copy_dir(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(copied.expect("cp runs").success());
}

/// `daybook continue` into a directory that is then the data of a service of its own.
fn continued(old: &Daybook, more: &[&str]) -> (Daybook, String) {
    let begun = unlimited().ready();
    let (from, to) = (text(&old.data()), text(&begun.data()));
    let (code, said) = run(&[&["continue", &from, &to, "--origin", NEW_ORIGIN], more].concat());
    assert_eq!(code, 0, "{said}");
    (begun, said)
}

/// A whole configuration, and what else there is to know of it.
struct Old {
    daybook: Daybook,
    device: String,
    token: String,
    webhook_token: String,
    channel: String,
    rule: String,
    erased: String,
    /// What the API answers of what is carried over.
    paths: Vec<String>,
}

impl Old {
    fn new() -> Self {
        let daybook = unlimited().start();
        let (site, device, token) = daybook.device("hut01");
        daybook.send(&token, "hut01", None, 4.0).expect(200);
        let sensors = daybook.get(&format!("/v1/devices/{device}/sensors")).expect(200);
        let (sensor, channel) = (
            id(&sensors["data"][0]),
            sensors["data"][0]["channel_id"]
                .as_str()
                .expect("an id")
                .to_owned(),
        );
        daybook
            .patch(
                &format!("/v1/devices/{device}"),
                &json!({"name": "The big fridge", "notes": "left of the door", "reason": "it was moved there"}),
            )
            .expect(200);
        daybook
            .patch(
                &format!("/v1/sensors/{sensor}"),
                &json!({"ok_max": 6.5, "reason": "stricter"}),
            )
            .expect(200);
        let rule = daybook
            .post(
                &format!("/v1/channels/{channel}/rules"),
                &json!({"kind": "range", "ok_max": 5.0, "grace_min": 10, "severity": "warn", "name": "stricter"}),
            )
            .expect(201);
        let from = now().plus_micros(-3_600_000_000).to_string();
        daybook
            .post(
                &format!("/v1/channels/{channel}/calibrations"),
                &json!({"offset": 0.5, "valid_from": from, "certificate": "K-17", "reason": "yearly"}),
            )
            .expect(201);
        let silence = |minutes: i64| {
            let to = now().plus_micros(minutes * 60_000_000).to_string();
            daybook
                .post(
                    &format!("/v1/sensors/{sensor}/silence"),
                    &json!({"to": to, "reason": "defrosting by hand"}),
                )
                .expect(201)
        };
        let (ended, _) = (silence(600), silence(900));
        assert_eq!(
            daybook.delete(&format!("/v1/silences/{}", id(&ended))).status,
            204
        );
        let person = |email: &str| {
            daybook
                .post(
                    "/v1/users",
                    &json!({"email": email, "name": "Kim", "role": "operator"}),
                )
                .expect(201)
        };
        person("kim@example.eu");
        let erased = person("jana@example.eu");
        daybook
            .post(
                "/v1/contacts",
                &json!({"kind": "email", "name": "On call", "address": "night@example.eu",
                    "preferences": {"after_min": 5}}),
            )
            .expect(201);
        daybook
            .post(
                "/v1/webhooks",
                &json!({"name": "hook", "url": "https://127.0.0.1:9/x?k=s3cret"}),
            )
            .expect(201);
        let gateway = daybook
            .post(
                "/v1/integrations",
                &json!({"kind": "gateway", "name": "in the cellar"}),
            )
            .expect(201);
        let (gone, _) = daybook.device_on(&site, "gone");
        assert_eq!(daybook.delete(&format!("/v1/devices/{gone}")).status, 204);
        let paths = [
            "/v1/account".to_owned(),
            "/v1/users".to_owned(),
            "/v1/sites".to_owned(),
            format!("/v1/devices?site_id={site}"),
            "/v1/contacts".to_owned(),
            "/v1/integrations".to_owned(),
            "/v1/tokens".to_owned(),
            "/v1/silences?active=true".to_owned(),
            format!("/v1/devices/{device}"),
            format!("/v1/devices/{device}/sensors"),
            format!("/v1/channels/{channel}/rules"),
            format!("/v1/channels/{channel}/calibrations"),
            format!("/v1/rules/{}", id(&rule)),
        ];
        Self {
            device,
            token,
            webhook_token: gateway["token"].as_str().expect("a token").to_owned(),
            channel,
            rule: id(&rule),
            erased: id(&erased),
            paths: paths.to_vec(),
            daybook,
        }
    }

    /// What is the same in both ledgers.
    fn answers(&self, of: &Daybook) -> Vec<(String, Value)> {
        let answer = |path: &String| (path.clone(), lasting(of.get(path).expect(200)));
        self.paths.iter().map(answer).collect()
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_micros(since.expect("after 1970").as_micros() as i64).expect("now")
}

/// An answer without what is of the ledger (its name, who recorded it there and when), of the process, or of what was
/// measured and used.
fn lasting(value: Value) -> Value {
    const PASSING: [&str; 16] = [
        "state",
        "last_value",
        "origin",
        "position",
        "actor",
        "recorded_at",
        "url",
        "last_seen_at",
        "last_seen",
        "online",
        "last_raw",
        "last_ts",
        "channel_state",
        "state_since",
        "outside_limits",
        "last_used_at",
    ];
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(name, _)| !PASSING.contains(&name.as_str()))
            .map(|(name, member)| (name, lasting(member)))
            .collect(),
        Value::Array(values) => values.into_iter().map(lasting).collect(),
        plain => plain,
    }
}

/// Every entry that the owner may read, as JSON.
fn entries(daybook: &Daybook) -> Vec<Value> {
    let mut all = Vec::new();
    let mut from = 0;
    loop {
        let reply: Reply = daybook.get(&format!("/v1/entries?from={from}&limit=10000"));
        let next = reply.header("daybook-next").and_then(|next| next.parse().ok());
        let lines = reply.text();
        all.extend(
            lines
                .lines()
                .map(|line| serde_json::from_str(line).expect("JSON")),
        );
        match next {
            Some(next) if next > from && !lines.is_empty() => from = next,
            _ => return all,
        }
    }
}

#[test]
fn the_same_people_devices_and_rules_go_on_in_a_ledger_that_says_where_they_come_from() {
    let mut old = Old::new();
    let (old_owner, before) = (old.daybook.owner_token(), entries(&old.daybook));
    old.daybook.until_projected();
    let expected = old.answers(&old.daybook);
    assert!(old.daybook.stop().success());
    // Somebody was erased: their key is not there any more.
    fs::remove_file(old.daybook.data().join("keys/subjects").join(&old.erased)).expect("erased");
    let (mut new, said) = continued(&old.daybook, &[]);
    assert!(
        said.contains("carried over") && said.contains("stay erased"),
        "{said}"
    );
    let file = new.data().join("carry-over");
    let sealed = fs::read_to_string(&file).expect("readable");
    for clear in [
        "fridge", "kim@", "jana@", "night@", "s3cret", "K-17", "by hand", "cellar", "whsec",
    ] {
        assert!(!sealed.contains(clear), "{clear} in the clear");
    }
    for (path, right) in [(&file, 0o600), (&new.data().join("keys/server-secret"), 0o600)] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode, right, "{}", path.display());
    }
    // The old directory is not needed any more.
    let away = old.daybook.scratch().join("away");
    fs::rename(old.daybook.data(), &away).expect("renamed");
    new.restart();
    assert!(!file.exists(), "it is done");
    assert_eq!(new.owner_token(), old_owner);
    new.until_projected();
    let found = old.answers(&new);
    let erased = |answers: &[(String, Value)]| {
        let mut answers = answers.to_vec();
        for (_, answer) in &mut answers {
            let users = answer.get_mut("data").and_then(Value::as_array_mut);
            for user in users
                .into_iter()
                .flatten()
                .filter(|user| user["id"] == old.erased)
            {
                for member in ["email", "name"] {
                    user[member] = Value::from("(erased)");
                }
            }
        }
        answers
    };
    let differ: Vec<String> = erased(&expected)
        .iter()
        .zip(&found)
        .filter(|(expected, found)| expected != found)
        .map(|((path, expected), (_, found))| format!("{path}\n  was {expected}\n  is  {found}"))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    // Who came in before comes in: the device, the gateway, the people by their addresses.
    new.send(&old.token, "hut01", None, 4.2).expect(200);
    let reading =
        json!({"readings": [{"device": "hut01", "measurements": [{"type": "humidity", "value": 40}]}]});
    let through = new
        .call("POST", "/v1/ingest/batch")
        .token(&old.webhook_token)
        .json(&reading)
        .send();
    assert_ne!(through.status, 401, "{}", through.text());
    use_link(&new, "owner@localhost");
    use_link(&new, "kim@example.eu");
    let (code, _, said) = new.cli(&["sign-in", "jana@example.eu"]);
    assert_ne!(code, 0, "an erased address finds nobody: {said}");
    // The calibration judges on.
    let sensors = new
        .get(&format!("/v1/devices/{}/sensors", old.device))
        .expect(200);
    assert_eq!(
        sensors["data"].as_array().map(Vec::len),
        Some(1),
        "no channel is made twice: {sensors}"
    );
    says_where_it_comes_from(&new, &before, &old);
    pages_show_it(&new, &old);
    // Nobody was asked again to confirm what they were asked before.
    let outbound = new.get("/v1/outbound").expect(200);
    assert_eq!(outbound["data"], json!([]), "{outbound}");
    let standing = old.answers(&new);
    rebuilt(&mut new);
    assert_eq!(old.answers(&new), standing);
    audited(&mut new, &away, &old.daybook);
}

/// Everything derived is made again from the ledger.
fn rebuilt(daybook: &mut Daybook) {
    assert!(daybook.stop().success());
    for ending in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(daybook.data().join(format!("projections.sqlite{ending}")));
    }
    daybook.restart();
    daybook.until_projected();
}

/// Each carried entry names the one that it was.
fn says_where_it_comes_from(new: &Daybook, before: &[Value], old: &Old) {
    let all = entries(new);
    let says = &all[1];
    assert_eq!(says["event_type"], "ConfigurationCarriedOver", "{says}");
    assert_eq!(
        says["payload"]["origin"],
        all[0]["payload"]["continues"]["origin"]
    );
    let carried: Vec<&Value> = all
        .iter()
        .filter(|entry| !entry["metadata"]["carried_over"].is_null() || entry["withheld"] == json!(true))
        .collect();
    assert_eq!(says["payload"]["entries"], json!(carried.len()), "{says}");
    let old_entry = |position: u64| &before[position as usize];
    for entry in carried.iter().filter(|entry| entry["withheld"] != json!(true)) {
        let from = &entry["metadata"]["carried_over"];
        let was = old_entry(from["position"].as_u64().expect("a position"));
        assert_eq!(entry["metadata"]["actor"], "system:continue");
        for member in ["aggregate_type", "aggregate_id", "event_type"] {
            assert_eq!(entry[member], was[member], "{entry}");
        }
        assert_eq!(from["recorded_at"], was["recorded_at"]);
        assert_eq!(entry["metadata"]["on_behalf_of"], was["metadata"]["actor"]);
        assert_eq!(entry["metadata"]["reason"], was["metadata"]["reason"]);
        let bytes = domain::canonical::Canonical::of(was).expect("canonical");
        let leaf = domain::hash::leaf_hash(bytes.as_bytes());
        assert_eq!(from["leaf_hash"], json!(leaf), "{entry}");
    }
    let kinds = |kind: &str| carried.iter().filter(|entry| entry["event_type"] == kind).count();
    assert_eq!(kinds("SilenceOpened"), 1, "one was over");
    for kind in ["ReadingRecorded", "SignedIn", "SignInLinkIssued", "AlarmOpened"] {
        assert_eq!(kinds(kind), 0, "{kind}");
    }
    let timeline = new
        .get(&format!("/v1/timeline?subject={}", old.device))
        .expect(200);
    let changed = timeline["data"].as_array().expect("changes").iter();
    let changed: Vec<&Value> = changed.filter(|it| it["event_type"] == "DeviceChanged").collect();
    let payload = &changed[0]["payload"];
    assert_eq!(payload["changes"]["name"]["old"], "Device hut01", "{payload}");
    assert_eq!(payload["changes"]["name"]["new"], "The big fridge");
    assert_eq!(payload["reason_text"], "it was moved there");
}

/// Pages with a history open.
fn pages_show_it(new: &Daybook, old: &Old) {
    let (cookie, _) = use_link(new, "owner@localhost");
    for path in [
        "/app".to_owned(),
        format!("/app/devices/{}", old.device),
        format!("/app/channels/{}", old.channel),
        "/app/contacts".to_owned(),
        "/app/people".to_owned(),
        "/app/ledger".to_owned(),
        format!("/app/rules/{}", old.rule),
    ] {
        let page = new.call("GET", &path).header("Cookie", &cookie).send();
        assert!(matches!(page.status, 200 | 404), "{path}: {}", page.text());
        if path.contains("devices") {
            let page = page.text();
            assert!(
                page.contains("The big fridge") && page.contains("Device hut01"),
                "{path}"
            );
        }
    }
}

/// What an auditor says of it, who has the old one's key and copy.
fn audited(new: &mut Daybook, old_data: &Path, old: &Daybook) {
    let size = new.size();
    new.until_signed(size);
    assert!(new.stop().success());
    let key = |data: &Path| {
        let (code, out) = run(&["key", "show", "--data", &text(data)]);
        assert_eq!(code, 0, "{out}");
        out.lines().next().expect("a key").to_owned()
    };
    let (old_key, new_key) = (key(old_data), key(&new.data()));
    let (old_copy, new_copy) = (old.scratch().join("old-copy"), old.scratch().join("new-copy"));
    for (data, to) in [(old_data.to_owned(), &old_copy), (new.data(), &new_copy)] {
        let (code, said) = run(&["export", "--data", &text(&data), "--to", &text(to)]);
        assert_eq!(code, 0, "{said}");
    }
    let head = text(&new_copy.join("checkpoint"));
    let copy = text(&new_copy);
    let (code, said) = run(&[
        "verify",
        "--export",
        &copy,
        "--key",
        &new_key,
        "--head",
        &head,
        "--continues",
        &text(&old_copy),
        "--continues-key",
        &old_key,
    ]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("VERIFIED"), "{said}");
    let anchor = text(&new.scratch().join("anchor"));
    let (code, out, said) = new.cli(&["verify", "--key", &new_key, "--anchor", &anchor]);
    assert_eq!(code, 0, "{out} {said}");
    let (code, out, said) = new.cli(&["replay", "--rules", "--json"]);
    assert_eq!(code, 0, "{out} {said}");
}

/// What somebody made of what is to be carried over, before the first start records it.
type Lie = fn(&mut Vec<Value>);

/// The line of the first device.
fn registered(lines: &mut [Value]) -> &mut Value {
    let of = |line: &&mut Value| line["event_type"] == "DeviceRegistered";
    lines.iter_mut().find(of).expect("a device")
}

#[test]
fn what_is_carried_over_is_held_against_the_ledger_that_it_says_it_comes_from() {
    let mut old = Daybook::start();
    let (_, device, token) = old.device("hut01");
    old.send(&token, "hut01", None, 4.0).expect(200);
    old.patch(
        &format!("/v1/devices/{device}"),
        &json!({"name": "The big fridge", "reason": "it was moved there"}),
    )
    .expect(200);
    let size = old.size();
    old.until_signed(size);
    assert!(old.stop().success());
    let old_copy = text(&old.scratch().join("old-copy"));
    let (code, said) = run(&["export", "--data", &text(&old.data()), "--to", &old_copy]);
    assert_eq!(code, 0, "{said}");
    let cases: [(Lie, &str); 4] = [
        (|_| {}, "at the position and with the leaf hash that it names"),
        (
            |lines| registered(lines)["metadata"]["carried_over"]["leaf_hash"] = json!(domain::Hash([7; 32])),
            ": it names the leaf hash BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=, and that has ",
        ),
        (
            |lines| registered(lines)["metadata"]["carried_over"]["position"] = json!(4_000),
            "it says that it was position 4000 of daybook.",
        ),
        (
            |lines| registered(lines)["payload"]["local_id"] = json!("hut02"),
            ": its payload says something else at \"/local_id\"",
        ),
    ];
    for (lie, words) in cases {
        let (mut new, _) = continued(&old, &[]);
        let file = new.data().join("carry-over");
        let lines = fs::read_to_string(&file).expect("readable");
        let read = |line: &str| serde_json::from_str(line).expect("JSON");
        let mut lines: Vec<Value> = lines.lines().map(read).collect();
        lie(&mut lines);
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(&file, lines).expect("writable");
        new.restart();
        assert!(!file.exists(), "it is recorded");
        let size = new.size();
        new.until_signed(size);
        assert!(new.stop().success());
        let copy = text(&new.scratch().join("new-copy"));
        let (code, said) = run(&["export", "--data", &text(&new.data()), "--to", &copy]);
        assert_eq!(code, 0, "{said}");
        let audit = |more: &[&str]| {
            let args = [&["verify", "--export", &copy][..], more].concat();
            run(&args)
        };
        let (code, said) = audit(&["--continues", &old_copy]);
        assert!(said.contains(words), "{words}: {said}");
        if words.starts_with("at the position") {
            assert_eq!(code, 3, "nobody outside confirms it: {said}");
            for words in [
                "of them against the entries that they were: stream, type, and what is not sealed",
                "sealed values of what was carried over are what they were",
            ] {
                assert!(said.contains(words), "{words}: {said}");
            }
            // Whoever does not bring the old log is told what they cannot know.
            let head = format!("{old_copy}/checkpoint");
            for more in [&[][..], &["--continues", &head]] {
                let (code, said) = audit(more);
                assert!(code == 3 && said.contains("carried over were those of"), "{said}");
            }
        } else {
            assert!(code == 1 && said.starts_with("TAMPERED at position "), "{said}");
        }
    }
}

#[test]
fn an_empty_one_carries_nothing_over() {
    let mut old = Daybook::start();
    let (_, _, token) = old.device("hut01");
    assert!(old.stop().success());
    let (mut new, said) = continued(&old, &["--empty"]);
    assert!(said.contains("Nothing is carried over"), "{said}");
    assert!(!new.data().join("keys").exists() && !new.data().join("carry-over").exists());
    new.restart();
    assert_eq!(new.send(&token, "hut01", None, 4.0).status, 401);
    assert_eq!(new.get("/v1/sites").expect(200)["data"], json!([]));
}

#[test]
fn a_ledger_that_does_not_hold_is_continued_by_an_empty_one_only() {
    let mut old = Daybook::start();
    old.device("hut01");
    assert!(old.stop().success());
    let segments = fs::read_dir(old.data().join("ledger/segments")).expect("segments");
    let segment = segments
        .flatten()
        .map(|file| file.path())
        .next()
        .expect("a segment");
    let mut bytes = fs::read(&segment).expect("readable");
    let at = bytes
        .windows(16)
        .position(|it| it == b"DeviceRegistered")
        .expect("an entry");
    bytes[at + 200] ^= 1;
    fs::write(&segment, bytes).expect("writable");
    let new = old.scratch().join("new");
    let args = [
        "continue",
        &text(&old.data()),
        &text(&new),
        "--origin",
        NEW_ORIGIN,
    ];
    let (code, said) = run(&args);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("--empty"), "{said}");
    assert!(!new.join("origin").exists(), "it is no ledger's");
    // Without the keys nobody's name could be read: that is no erasure of everything.
    let mut whole = Daybook::start();
    assert!(whole.stop().success());
    fs::remove_dir_all(whole.data().join("keys/subjects")).expect("lost");
    let (code, said) = run(&[
        "continue",
        &text(&whole.data()),
        &text(&new),
        "--origin",
        NEW_ORIGIN,
    ]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("subjects") && said.contains("--empty"), "{said}");
}

/// Devices of so many channels, by few requests.
fn large(devices: usize) -> (Daybook, Vec<String>) {
    let daybook = unlimited().start();
    let (site, _, _) = daybook.device("first");
    let mut tokens = Vec::new();
    for device in 0..devices {
        let local = format!("d{device}");
        let (_, token) = daybook.device_on(&site, &local);
        for part in 0..4 {
            let measurements: Vec<Value> = (0..30)
                .map(|n| json!({"type": "temperature", "label": format!("p{part}-{n}"), "value": n}))
                .collect();
            let body = json!({"device": local, "measurements": measurements});
            daybook
                .call("POST", "/v1/ingest")
                .token(&token)
                .json(&body)
                .send()
                .expect(200);
        }
        tokens.push(token);
    }
    (daybook, tokens)
}

/// How many carried entries lie in a ledger, whether a service runs on it or not.
fn carried_in(data: &Path) -> u64 {
    let segments = fs::read_dir(data.join("ledger/segments"));
    let files = segments.into_iter().flatten().flatten();
    let commits = files.filter_map(|file| fs::read(file.path()).ok());
    commits
        .map(|bytes| bytes.windows(15).filter(|it| it == b"\"carried_over\":").count() as u64)
        .sum()
}

#[test]
fn kill_9_during_the_first_start_leads_to_all_of_it_at_the_next() {
    let (mut old, tokens) = large(6);
    assert!(old.stop().success());
    let (mut new, _) = continued(&old, &[]);
    let (prepared, file) = (new.scratch().join("prepared"), new.data().join("carry-over"));
    copy_dir(&new.data(), &prepared);
    let whole: Value = {
        let text = fs::read_to_string(&file).expect("readable");
        serde_json::from_str(text.lines().next().expect("a line")).expect("JSON")
    };
    let expected = whole["entries"].as_u64().expect("a number");
    assert!(expected > 700, "{expected}");
    let mut in_part = 0;
    let began = Instant::now();
    while in_part < 3 {
        assert!(began.elapsed() < PATIENCE, "no start was ever caught on the way");
        let _ = fs::remove_dir_all(new.data());
        let _ = fs::remove_dir_all(new.scratch().join("anchor"));
        copy_dir(&prepared, &new.data());
        let mut child = new.command().spawn().expect("the binary runs");
        while carried_in(&new.data()) == 0 && file.exists() {
            assert!(began.elapsed() < PATIENCE, "it never began");
            std::thread::yield_now();
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        let there = carried_in(&new.data());
        if there == 0 || !file.exists() {
            continue;
        }
        in_part += usize::from(there < expected);
        new.restart();
        let carried = carried_in(&new.data());
        assert_eq!(carried, expected, "each of them once");
        assert!(!file.exists());
        new.until_projected();
        for (device, token) in tokens.iter().enumerate() {
            new.send(token, &format!("d{device}"), None, 4.0).expect(200);
        }
        assert!(new.stop().success());
        let (code, out, said) = new.cli(&["verify", "--allow-partial"]);
        assert!(matches!(code, 0 | 3), "{out} {said}");
    }
    half_of_it_is_refused(&mut new, &prepared, &file);
}

/// Neither a file that was cut nor one that is gone leads to half a configuration.
fn half_of_it_is_refused(new: &mut Daybook, prepared: &Path, file: &PathBuf) {
    let again = |new: &Daybook| {
        let _ = fs::remove_dir_all(new.data());
        let _ = fs::remove_dir_all(new.scratch().join("anchor"));
        copy_dir(prepared, &new.data());
    };
    again(new);
    let whole = fs::read_to_string(file).expect("readable");
    let cut: Vec<&str> = whole.lines().take(100).collect();
    fs::write(file, cut.join("\n") + "\n").expect("writable");
    let refused = new.try_restart().expect_err("it must not start");
    assert!(refused.contains("99 of"), "{refused}");
    // The file goes while the ledger is begun and not whole.
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "no start was ever caught on the way");
        again(new);
        let mut child = new.command().spawn().expect("the binary runs");
        while carried_in(&new.data()) == 0 && file.exists() {
            std::thread::yield_now();
        }
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        if file.exists() && carried_in(&new.data()) > 0 {
            break;
        }
    }
    if carried_in(&new.data()) < 700 {
        fs::remove_file(file).expect("removed");
        let refused = new.try_restart().expect_err("it must not start");
        assert!(refused.contains("daybook continue"), "{refused}");
    }
}
