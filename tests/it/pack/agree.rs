//! The verifiers that packs bring along, on the set of good and broken packs that `daybook-verify pack` judges.
//!
//! `verify.html` runs in a real browser from `file://`, and packs are dropped on it; `verify.py` runs as it is typed.
//! What the short one leaves to the others is listed here pack by pack.

use super::alarm;
use super::forged::{FROM, Forger, Forgery, TO};
use chain_publisher::pack::{self, Subject};
use domain::ids::IdKind;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;
use tests::chromium::{self, Chromium};
use tests::pack_ledger::{CLIP, Files, PackLedger, device, id, query, site, verdict};

const HTML: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../chain-publisher/assets/verify.html"
);
const PY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../chain-publisher/assets/verify.py");
/// Lines and characters that a person is asked to read.
const PY_LINES_MAX: usize = 199;
const PY_COLUMNS_MAX: usize = 112;

/// What `verify.py` says that it does not check, and so finds nothing wrong with.
const NOT_DONE_BY_PY: &[(&str, &str)] = &[
    ("readings-csv-changed", "readings.csv, config.json and policy"),
    ("config-changed", "readings.csv, config.json and policy"),
    ("rule-in-force-changed", "readings.csv, config.json and policy"),
    ("policy-changed", "readings.csv, config.json and policy"),
    ("before-changed", "chains of streams"),
    ("channel-removed", "the configuration that readings rest on"),
    ("nodes-unsorted", "order and"),
    ("file-order", "order and"),
    ("file-twice", "bytes of the ZIP beside its files"),
    ("compressed", "bytes of the ZIP beside its files"),
    ("encrypted", "bytes of the ZIP beside its files"),
    ("grows-on-unpacking", "bytes of the ZIP beside its files"),
    ("trailing-bytes", "bytes of the ZIP beside its files"),
    ("shown-after-pruning", "why entries are pruned"),
    ("half-pruned", "why entries are pruned"),
    ("pruned-too-early", "why entries are pruned"),
];

/// The shared set in a folder, with what an auditor kept.
struct Shared {
    dir: tempfile::TempDir,
    /// Name, verdict and exit code.
    packs: Vec<(String, &'static str, u8)>,
    key: String,
}

impl Shared {
    fn new() -> Self {
        let forger = Forger::new();
        let (ledger, head) = (&forger.ledger, forger.ledger.head(TO));
        let dir = tempfile::tempdir().expect("a scratch directory");
        let clip = dir.path().join("clip");
        std::fs::write(&clip, CLIP).expect("writable");
        let asked = query(Subject::Device(device(1)), FROM, TO);
        let (with_clip, _) = ledger.make_with(&asked, &[clip]).expect("a pack");
        let with_clip = Files::of(&with_clip);
        let mut packs: Vec<(&str, Vec<u8>)> = vec![
            ("good", forger.good.zip()),
            ("site", ledger.files(Subject::Site(site(1)), FROM, TO).zip()),
            (
                "open",
                ledger.files(Subject::Device(device(1)), FROM, "2026-06-02").zip(),
            ),
            ("artefact", with_clip.zip()),
            ("artefact-changed", {
                let mut files = with_clip.clone();
                files.file(&format!("artefacts/{}", id(IdKind::Artefact, 1)))[2] ^= 1;
                ledger.reseal(&mut files);
                files.zip()
            }),
            ("artefact-of-nobody", {
                let mut files = with_clip.clone();
                let name = |n| format!("artefacts/{}", id(IdKind::Artefact, n));
                files.rename(&name(1), &name(3));
                ledger.reseal(&mut files);
                files.zip()
            }),
            (
                "encrypted-with-age",
                b"age-encryption.org/v1\n-> X25519 ...\n".to_vec(),
            ),
            ("cut-short", {
                let mut bytes = forger.good.zip();
                bytes.truncate(bytes.len() - 40);
                bytes
            }),
        ];
        packs.extend(forger.all().into_iter().map(|(name, bytes, ..)| (name, bytes)));
        Self::of(ledger, &head, packs)
    }

    /// Packs of an alarm.
    fn with_alarms() -> Self {
        let ledger = PackLedger::record_with_alarms();
        Self::of(&ledger, &ledger.head("2026-05-31"), alarm::packs(&ledger))
    }

    /// Packs of ledgers of which a day was pruned, and of such as say anew how long entries are kept, lawfully and not.
    fn pruned() -> Vec<Self> {
        let named = |(name, pack, ..): Forgery| (name, pack);
        let of = |(ledger, packs): (PackLedger, Vec<Forgery>)| {
            Self::of(&ledger, &ledger.head(TO), packs.into_iter().map(named).collect())
        };
        let all = Forger::pruned().into_iter().chain(Forger::policies());
        all.map(of).collect()
    }

    /// All of them, those of whole ledgers first.
    fn all() -> Vec<Self> {
        let mut all = vec![Self::new(), Self::with_alarms()];
        all.extend(Self::pruned());
        all
    }

    /// These packs, and what an auditor kept of their ledger.
    fn of(ledger: &PackLedger, head: &[u8], packs: Vec<(&str, Vec<u8>)>) -> Self {
        let settings = ledger.auditor(&[head]);
        let dir = tempfile::tempdir().expect("a scratch directory");
        let keep = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).expect("writable");
        keep("head.tlog-proof", head);
        keep("log.vkey", format!("{}\n", ledger.key).as_bytes());
        let judge = |(name, bytes): (&str, Vec<u8>)| {
            keep(&format!("{name}.pack.zip"), &bytes);
            let report = pack::verify(name, std::io::Cursor::new(&bytes), &settings, &mut |_| {});
            let (word, code) = report.map_or(("", 2), |report| {
                (report.report.verdict.word(), report.report.exit_code)
            });
            (name.to_owned(), word, code)
        };
        let packs = packs.into_iter().map(judge).collect();
        let key = ledger.key.clone();
        Self { dir, packs, key }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Exit code, and what it says.
fn py(args: &[&Path]) -> (i32, String) {
    let output = Command::new("python3")
        .arg(PY)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("python3 runs");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

#[test]
fn the_short_verifier_is_short_and_agrees_wherever_it_looks() {
    let text = std::fs::read_to_string(PY).expect("readable");
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(text.lines().count() <= PY_LINES_MAX && widest <= Some(PY_COLUMNS_MAX));
    let all = Shared::all();
    let mut wrong = Vec::new();
    for (of, (name, word, code)) in all
        .iter()
        .flat_map(|of| of.packs.iter().map(move |pack| (of, pack)))
    {
        let file = of.path(&format!("{name}.pack.zip"));
        let (key, head) = (of.path("log.vkey"), of.path("head.tlog-proof"));
        let (found, said) = py(&[&file, Path::new("--key"), &key, Path::new("--head"), &head]);
        let left_out = NOT_DONE_BY_PY.iter().find(|(pack, _)| pack == name);
        let agrees = found == i32::from(*code) && said.starts_with(*word);
        let declared = left_out.is_some_and(|(_, words)| {
            let flat = said.replace('\n', " ");
            matches!(found, 0 | 5) && flat.contains("Not checked: ") && flat.contains(words)
        });
        if !agrees && !declared || agrees && left_out.is_some() {
            wrong.push(format!("{name}: expected {word} ({code}), found {found}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    let shared = &all[0];
    let (key, head) = (shared.path("log.vkey"), shared.path("head.tlog-proof"));
    let good = shared.path("good.pack.zip");
    assert_eq!(py(&[&good, Path::new("--key"), &key]).0, 3);
    assert_eq!(py(&[&good]).0, 3);
    assert_eq!(py(&[&good, Path::new("--key"), Path::new("nonsense")]).0, 2);
    assert_eq!(py(&[&good, Path::new("--head"), &head]).0, 2);
    assert_eq!(py(&[Path::new("/nowhere")]).0, 2);
}

/// The browser, unless there is none and none can be installed: said loudly, and a failure in CI.
fn browser() -> Option<Chromium> {
    match chromium::program() {
        Ok(program) => Some(Chromium::start(&program, "file://")),
        Err(why) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => panic!("{why}"),
        Err(why) => {
            eprintln!("SKIPPED: {why}");
            None
        }
    }
}

fn open(browser: &mut Chromium, key: &str, head: &Path) {
    browser.open(&format!("file://{HTML}"));
    browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)");
    browser.fill("#key", key);
    browser.choose_files("#heads", &[head]);
}

/// Drops a pack on the page, and gives the report that it ends with.
fn dropped(browser: &mut Chromium, pack: &Path) -> Value {
    browser.evaluate("document.getElementById('report').textContent = ''");
    browser.drop_file("#drop", pack);
    browser.wait(
        "a report",
        "document.getElementById('report').textContent !== '' && !document.getElementById('go').disabled",
    );
    let text = browser.evaluate("document.getElementById('report').textContent");
    serde_json::from_str(text.as_str().expect("text")).expect("JSON")
}

#[test]
fn the_page_agrees_on_every_pack_that_is_dropped_on_it() {
    let Some(mut browser) = browser() else { return };
    let mut wrong = Vec::new();
    for shared in Shared::all() {
        open(&mut browser, &shared.key, &shared.path("head.tlog-proof"));
        for (name, word, code) in &shared.packs {
            let report = dropped(&mut browser, &shared.path(&format!("{name}.pack.zip")));
            if (&report["exit"], word.is_empty() || report["verdict"] == *word) != (&Value::from(*code), true)
            {
                wrong.push(format!("{name}: expected {word} ({code}): {report}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// How many readings, from how many on the page must have told of its progress.
const SIZES: &[u32] = &[10, 10_000];

#[test]
fn packs_of_ten_and_ten_thousand_readings_are_verified_in_the_page_and_a_changed_byte_is_seen() {
    let Some(mut browser) = browser() else { return };
    let more = std::env::var("DAYBOOK_BROWSER_READINGS");
    let more: Option<u32> = more.ok().and_then(|n| n.parse().ok());
    for readings in SIZES.iter().copied().chain(more) {
        let ledger = PackLedger::record_long(readings);
        let last = *ledger.dates().last().expect("a closed day");
        let files = ledger.files(Subject::Device(device(1)), "2026-05-17", &last.to_string());
        let (bytes, head) = (files.zip(), ledger.head(&last.to_string()));
        assert_eq!(
            verdict(&bytes, &ledger.auditor(&[&head])).report.verdict.word(),
            "VERIFIED"
        );
        let dir = tempfile::tempdir().expect("a scratch directory");
        let keep = |name: &str, bytes: &[u8]| {
            let path = dir.path().join(name);
            std::fs::write(&path, bytes).expect("writable");
            path
        };
        open(&mut browser, &ledger.key, &keep("head", &head));
        // Every step of the bar is noted, as a person would see it move.
        browser.evaluate(
            "window.steps = []; new MutationObserver(() => window.steps.push(document.getElementById('bar').value)) \
             .observe(document.getElementById('bar'), {attributes: true})",
        );
        let good = keep("good.pack.zip", &bytes);
        let began = Instant::now();
        let report = dropped(&mut browser, &good);
        eprintln!(
            "{readings} readings, {} bytes: {:?} in the page",
            bytes.len(),
            began.elapsed()
        );
        assert_eq!(report["verdict"], "VERIFIED", "{report}");
        assert!(browser.text("#result").contains("2026-05-17"));
        let steps = browser.evaluate("window.steps");
        let steps: Vec<f64> = serde_json::from_value(steps).expect("numbers");
        assert!(steps.iter().any(|step| *step > 0.0 && *step <= 1.0), "{steps:?}");
        assert!(
            steps.windows(2).skip(1).all(|pair| pair[0] <= pair[1]),
            "{steps:?}"
        );
        let mut flipped = bytes;
        let middle = flipped.len() / 3;
        flipped[middle] ^= 1;
        let report = dropped(&mut browser, &keep("bad.pack.zip", &flipped));
        assert_eq!(
            (&report["verdict"], &report["exit"]),
            (&"TAMPERED".into(), &1.into()),
            "{report}"
        );
        assert!(browser.text("#result").to_lowercase().contains("tampered"));
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
