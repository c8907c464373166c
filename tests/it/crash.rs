//! Kill −9 at random instants under load: what was acknowledged is there, and the tree only ever grew.
//!
//! After each kill the directory is verified as it lies there, started again (now and then killed once more while it
//! recovers), and compared with everything that anybody was ever told: every value with its position, every root in
//! every answer, every checkpoint.
//! `DAYBOOK_KILLS` says how often (20; the soak has 500), `DAYBOOK_SEED` repeats a run's choices.
//! Not here: each single write of the store (`commands`), damaged bytes (`damage`).

use domain::Hash;
use domain::TreeSize;
use domain::checkpoint::SignedCheckpoint;
use domain::note::VerifierKey;
use domain::proof::verify_consistency;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};
use tests::PATIENCE;
use tests::daybook::{Daybook, Options};
use tests::dice::Dice;
use tests::follower::{Claims, Follower};
use tests::load::{self, Device};

/// Kills without being asked for more: under two minutes on two busy processors.
const KILLS: u64 = 20;
/// Devices that send at once.
const DEVICES: usize = 4;
/// Most measurements that a round waits for before the kill.
const MEASUREMENTS_MAX: u64 = 1_200;
/// The kill comes up to this much later, at any instant of a commit.
const PHASE_US: u64 = 20_000;
/// A start is killed within this time: it takes a few hundred milliseconds.
const START_US: u64 = 400_000;
/// A graceful stop is killed within this time.
const STOP_US: u64 = 50_000;

/// Settings of a service that is to be tormented.
fn unlimited() -> Options {
    Daybook::with()
        .set("rate_per_minute", 0)
        .set("user_rate_per_minute", 0)
        .set("log", "warn")
}

#[test]
fn kill_9_at_random_instants_loses_nothing_that_was_acknowledged() {
    let kills = std::env::var("DAYBOOK_KILLS").map_or(KILLS, |n| n.parse().expect("a number"));
    let mut dice = Dice::from_environment(20_260_517);
    let mut daybook = unlimited().start();
    let mut devices = devices(&daybook, &mut dice);
    let mut witness = Witness::of(&daybook);
    let mut follower = Follower::new();
    let (began, mut unheard) = (Instant::now(), 0);
    for round in 0..kills {
        let how = torment(&mut daybook, &mut devices, &witness, &mut dice);
        let verdict = witness.verify(&daybook);
        if dice.chance(30) {
            killed_start(&daybook, Duration::from_micros(dice.below(START_US)));
        }
        daybook.restart();
        for device in &mut devices {
            // Proof that the kill hits what it is aimed at: between the commit and its answer.
            unheard += device.settle(daybook.url());
        }
        check(&daybook, &mut follower, &mut witness, &mut devices)
            .unwrap_or_else(|what| panic!("round {round} ({how}): {what}\n{}", daybook.said()));
        eprintln!(
            "round {round}: {how}, {verdict}, {} entries, {} values, {} s",
            follower.size(),
            follower.values(),
            began.elapsed().as_secs()
        );
    }
    assert!(daybook.stop().success());
    daybook.restart();
    check(&daybook, &mut follower, &mut witness, &mut devices).unwrap_or_else(|what| panic!("{what}"));
    witness.wait_for_all(&daybook, follower.size());
    daybook.kill9();
    assert_eq!(witness.verify(&daybook), "VERIFIED");
    let cuts = follower.count("TailCut");
    eprintln!(
        "{kills} kills, {unheard} commits whose answer was never heard, {cuts} torn tails, {} entries",
        follower.size()
    );
}

#[test]
fn a_first_start_that_was_killed_is_finished_by_the_next() {
    let mut dice = Dice::from_environment(4);
    for _ in 0..4 {
        let mut daybook = unlimited().ready();
        let after = Duration::from_micros(dice.below(START_US));
        killed_start(&daybook, after);
        daybook.restart();
        let sites = daybook.get("/v1/sites");
        assert_eq!(sites.status, 200, "killed after {after:?}: {}", sites.text());
        let (_, _, token) = daybook.device("probe-1");
        daybook.send(&token, "probe-1", None, 4.2).expect(200);
        Follower::new()
            .advance(&daybook, &Claims::new())
            .expect("a whole ledger");
    }
}

/// The devices of one site.
fn devices(daybook: &Daybook, dice: &mut Dice) -> Vec<Device> {
    let (site, id, token) = daybook.device("probe-0");
    let mut devices = vec![Device::new(&id, "probe-0", &token, dice.another())];
    for n in 1..DEVICES {
        let local_id = format!("probe-{n}");
        let (id, token) = daybook.device_on(&site, &local_id);
        devices.push(Device::new(&id, &local_id, &token, dice.another()));
    }
    devices
}

/// Load until a random number of measurements was acknowledged, and the kill at a random instant after that.
fn torment(daybook: &mut Daybook, devices: &mut [Device], witness: &Witness, dice: &mut Dice) -> String {
    let url = daybook.url().to_owned();
    let wanted = dice.below(MEASUREMENTS_MAX);
    // The only sleep here is the instant itself.
    let phase = Duration::from_micros(dice.below(PHASE_US));
    let stopping = dice
        .chance(20)
        .then(|| Duration::from_micros(dice.below(STOP_US)));
    let (told, tell) = sync_channel(1 << 16);
    std::thread::scope(|scope| {
        for device in devices {
            let (url, told) = (url.clone(), told.clone());
            scope.spawn(move || device.send_until_gone(&url, &told));
        }
        drop(told);
        scope.spawn(|| witness.watch(&url));
        let mut measurements = 0;
        while measurements < wanted {
            measurements += tell.recv_timeout(PATIENCE).expect("the service acknowledges");
        }
        std::thread::sleep(phase);
        if let Some(stopping) = stopping {
            daybook.terminate();
            std::thread::sleep(stopping);
        }
        daybook.kill9();
    });
    match stopping {
        Some(stopping) => format!("killed {stopping:?} into a stop after {wanted} measurements"),
        None => format!("killed {phase:?} after {wanted} measurements"),
    }
}

/// Starts it, and kills it before anybody knows how far it came.
fn killed_start(daybook: &Daybook, after: Duration) {
    let mut child = daybook.command().spawn().expect("the binary runs");
    std::thread::sleep(after);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
}

/// Everything that anybody was told against what is there.
fn check(
    daybook: &Daybook,
    follower: &mut Follower,
    witness: &mut Witness,
    devices: &mut [Device],
) -> Result<(), String> {
    let mut claims = witness.claims();
    for (_, answer) in devices.iter().flat_map(|device| &device.answered) {
        if let Some((size, root)) = answer.tree
            && *claims.entry(size).or_insert(root) != root
        {
            return Err(format!("two roots were told for size {size}"));
        }
    }
    follower.advance(daybook, &claims)?;
    witness.check_extension(daybook)?;
    for device in devices {
        for (sent, answer) in device.answered.drain(..) {
            for value in &sent.values {
                let place = follower.place(&device.id, *value).ok_or_else(|| {
                    format!(
                        "{value} of {} was acknowledged ({answer:?}) and is lost",
                        device.local_id
                    )
                })?;
                let told = &answer.positions;
                if answer.accepted > 0 && !told.contains(&place.position) {
                    return Err(format!(
                        "{value} of {} was said to be at {told:?} and is at {}",
                        device.local_id, place.position
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Somebody outside who keeps the latest checkpoint, and believes the key only.
struct Witness {
    origin: String,
    key: VerifierKey,
    seen: Mutex<Seen>,
    kept: PathBuf,
}

#[derive(Default)]
struct Seen {
    latest: Option<SignedCheckpoint>,
    /// Roots since they were last compared.
    claims: Claims,
}

impl Witness {
    fn of(daybook: &Daybook) -> Self {
        let (_, out, _) = daybook.cli(&["key", "show"]);
        let key = out
            .split_whitespace()
            .filter_map(|word| VerifierKey::parse(word).ok())
            .find(|key| !key.name().ends_with("/receipt"))
            .unwrap_or_else(|| panic!("no verifier key in {out:?}"));
        Self {
            origin: key.name().to_owned(),
            key,
            seen: Mutex::default(),
            kept: daybook.scratch().join("kept-checkpoint"),
        }
    }

    /// Asks for the checkpoint until nobody answers.
    fn watch(&self, url: &str) {
        let agent = load::agent();
        while let Ok(mut reply) = agent.get(format!("{url}/log/checkpoint")).call() {
            let Ok(body) = reply.body_mut().read_to_vec() else {
                return;
            };
            if reply.status().as_u16() == 200 {
                self.see(&body).unwrap_or_else(|what| panic!("{what}"));
            }
        }
    }

    /// Checks a checkpoint's signature, and keeps it.
    fn see(&self, body: &[u8]) -> Result<(), String> {
        let signed = SignedCheckpoint::parse(body).map_err(|e| e.to_string())?;
        signed
            .verify(&self.origin, [&self.key])
            .map_err(|e| e.to_string())?;
        let (size, root) = (signed.checkpoint().size(), signed.checkpoint().root());
        let mut seen = self.seen.lock().expect("not poisoned");
        let before = seen
            .latest
            .as_ref()
            .map_or(TreeSize::EMPTY, |c| c.checkpoint().size());
        if size < before {
            return Err(format!("a checkpoint of size {size} after one of {before}"));
        }
        if *seen.claims.entry(size.get()).or_insert(root) != root {
            return Err(format!("two checkpoints of size {size}"));
        }
        if size > before {
            seen.latest = Some(signed);
        }
        Ok(())
    }

    fn latest(&self) -> Option<SignedCheckpoint> {
        self.seen.lock().expect("not poisoned").latest.clone()
    }

    fn claims(&mut self) -> Claims {
        std::mem::take(&mut self.seen.get_mut().expect("not poisoned").claims)
    }

    /// That the tree now extends the one of the last checkpoint seen, by proof.
    fn check_extension(&self, daybook: &Daybook) -> Result<(), String> {
        let Some(before) = self.latest() else {
            return Ok(());
        };
        let before = before.checkpoint();
        let reply = daybook.call("GET", "/log/checkpoint").send();
        self.see(&reply.body)?;
        let now = self.latest().ok_or("a checkpoint was seen")?;
        let now = now.checkpoint();
        let (old, new) = (before.size(), now.size());
        let path = format!("/v1/proofs/consistency?from={old}&to={new}");
        let proof = daybook.call("GET", &path).send().expect(200);
        let hashes: Option<Vec<Hash>> = proof["proof"].as_array().and_then(|list| {
            list.iter()
                .map(|hash| Hash::from_base64(hash.as_str()?))
                .collect()
        });
        let hashes = hashes.ok_or_else(|| format!("not a proof: {proof}"))?;
        verify_consistency(old, &before.root(), new, &now.root(), &hashes)
            .map_err(|e| format!("from {old} to {new}: {e}"))
    }

    /// Until a checkpoint covers that many entries.
    fn wait_for_all(&self, daybook: &Daybook, size: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.latest().is_none_or(|c| c.checkpoint().size().get() < size) {
            assert!(Instant::now() < deadline, "no checkpoint covers {size} entries");
            let reply = daybook.call("GET", "/log/checkpoint").send();
            self.see(&reply.body).expect("a checkpoint that follows");
        }
    }

    /// Verifies the directory as it lies there against the last checkpoint seen; the verdict's word.
    ///
    /// At worst something lies behind what was seen: nothing confirms that, and nothing else may be wrong.
    fn verify(&self, daybook: &Daybook) -> String {
        let check = commands::ledger::check(&daybook.data().join("ledger")).expect("it can be read");
        assert!(check.damage.is_empty(), "{:#?}", check.damage);
        let key = self.key.to_string();
        let mut args = vec!["verify", "--json", "--key", &key];
        let kept = self.kept.display().to_string();
        if let Some(latest) = self.latest() {
            std::fs::write(&self.kept, latest.encode()).expect("it can be kept");
            args.extend(["--head", &kept]);
        }
        let (code, out, err) = daybook.cli(&args);
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}\n{err}"));
        let verdict = report["verdict"].as_str().unwrap_or_default().to_owned();
        assert!(
            matches!((verdict.as_str(), code), ("VERIFIED", 0) | ("UNANCHORED", 3)),
            "exit {code}: {report:#}\n{err}"
        );
        verdict
    }
}
