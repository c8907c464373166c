//! `daybook doctor`: looks at a data directory and the service on it, and says what is not as it should be.
//!
//! Invariant: it changes nothing. Each check is one line: what was looked at, and what to do where it is wrong.
//! Not here: verifying the ledger (`verify`).

use super::{DataDir, FAILED, Failure, Global, Outcome, data, data_json, no_ledger};
use crate::begin::OWNER_TOKEN;
use crate::control::{Ask, ask, nobody_there};
use crate::entropy::SeededEntropy;
use crate::stores::{self, KEYS, LEDGER, read_keys};
use clap::Args;
use commands::ledger::{Ledger, Options};
use domain::Timestamp;
use domain::ports::Entropy;
use serde::Serialize;
use serde_json::{Value, json};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Less free space than this is told: four segments of the ledger.
const FREE_BYTES_MIN: u64 = 1 << 30;

/// Look for what is wrong
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Doctor {
    #[command(flatten)]
    data: DataDir,
}

const EXAMPLES: &str = "\
Examples:
  daybook doctor
  daybook doctor --json --data /var/lib/daybook

Exit codes: 0 nothing is wrong; 1 something is, and the line says what to do.";

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    Note,
    Wrong,
}

#[derive(Debug, Serialize)]
struct Finding {
    verdict: Verdict,
    check: &'static str,
    found: String,
}

impl Doctor {
    /// Looks.
    ///
    /// # Errors
    /// [`Failure`] where nothing can be looked at.
    pub fn run(self, global: &Global) -> Outcome {
        let dir = &self.data.data;
        let mut findings = vec![directory(dir)];
        if dir.exists() {
            findings.push(keys(dir)?);
            findings.push(owner_token(dir));
            findings.push(disk(dir));
            let status = ask(dir, &Ask::Status, |_, _| {});
            let running = matches!(status, Ok(Ok(_)));
            findings.push(ledger(dir, running));
            findings.push(anchor(
                dir,
                status.as_ref().ok().and_then(|answer| answer.as_ref().ok()),
            ));
            findings.extend(service(status));
        }
        let worst = findings.iter().map(|f| f.verdict).max().unwrap_or(Verdict::Good);
        if global.json {
            data_json(&json!({"verdict": worst, "findings": findings}))?;
        } else {
            for finding in &findings {
                let mark = match finding.verdict {
                    Verdict::Good => "good ",
                    Verdict::Note => "note ",
                    Verdict::Wrong => "WRONG",
                };
                data(&format!("{mark}  {:<12} {}", finding.check, finding.found))?;
            }
        }
        Ok(if worst == Verdict::Wrong { FAILED } else { 0 })
    }
}

fn finding(verdict: Verdict, check: &'static str, found: impl Into<String>) -> Finding {
    Finding {
        verdict,
        check,
        found: found.into(),
    }
}

fn directory(dir: &Path) -> Finding {
    match std::fs::metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            finding(Verdict::Wrong, "directory", no_ledger(dir))
        }
        Err(error) => finding(Verdict::Wrong, "directory", format!("{}: {error}", dir.display())),
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => finding(
            Verdict::Wrong,
            "directory",
            format!("others may enter it: run  chmod 0700 '{}'", dir.display()),
        ),
        Ok(_) => finding(Verdict::Good, "directory", dir.display().to_string()),
    }
}

fn keys(dir: &Path) -> Result<Finding, Failure> {
    let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::from_os().map_err(Failure::failed)?);
    if !dir.join(KEYS).exists() && !dir.join(LEDGER).exists() {
        return Ok(finding(
            Verdict::Note,
            "keys",
            "none yet; the first start makes them",
        ));
    }
    Ok(match read_keys(dir, &entropy) {
        Ok(keys) => finding(Verdict::Good, "keys", keys.log),
        Err(error) => finding(Verdict::Wrong, "keys", error.to_string()),
    })
}

fn owner_token(dir: &Path) -> Finding {
    let path = dir.join(OWNER_TOKEN);
    match std::fs::metadata(&path) {
        Err(_) => finding(Verdict::Good, "owner token", "not lying about"),
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => finding(
            Verdict::Wrong,
            "owner token",
            format!("others may read it: run  chmod 0600 '{}'", path.display()),
        ),
        Ok(_) => finding(
            Verdict::Note,
            "owner token",
            format!(
                "still in {}; delete it once you keep it elsewhere",
                path.display()
            ),
        ),
    }
}

fn disk(dir: &Path) -> Finding {
    let free = match rustix::fs::statvfs(dir) {
        Ok(fs) => fs.f_bavail.saturating_mul(fs.f_frsize),
        Err(error) => return finding(Verdict::Note, "disk", error.to_string()),
    };
    let megabytes = free >> 20;
    if free < FREE_BYTES_MIN {
        let words = format!("{megabytes} MiB free: make room, a full disk takes no readings");
        return finding(Verdict::Wrong, "disk", words);
    }
    finding(Verdict::Good, "disk", format!("{megabytes} MiB free"))
}

fn anchor(dir: &Path, status: Option<&Value>) -> Finding {
    let told = status.map(|status| status["anchor"].as_str().map(PathBuf::from));
    let Some(anchor) = told.unwrap_or_else(stores::default_anchor) else {
        return finding(
            Verdict::Wrong,
            "anchor",
            "nowhere: a restored older copy would not be noticed; set --anchor",
        );
    };
    let inside = match (anchor.canonicalize(), dir.canonicalize()) {
        (Ok(anchor), Ok(dir)) => anchor.starts_with(dir),
        _ => anchor.starts_with(dir),
    };
    if inside {
        return finding(
            Verdict::Wrong,
            "anchor",
            "inside the data directory, and so restored with it: set --anchor to another place",
        );
    }
    finding(
        Verdict::Good,
        "anchor",
        format!("{}; keep it out of the backup of the data", anchor.display()),
    )
}

fn ledger(dir: &Path, running: bool) -> Finding {
    let path = dir.join(LEDGER);
    if !path.exists() {
        return finding(Verdict::Note, "ledger", "none yet; the first start makes it");
    }
    if !running && let Err(error) = Ledger::open_read_only(&path, Options::default()) {
        return finding(Verdict::Wrong, "ledger", error.to_string());
    }
    let quarantine = std::fs::read_dir(path.join("quarantine")).map_or(0, Iterator::count);
    if quarantine > 0 {
        return finding(
            Verdict::Note,
            "ledger",
            format!(
                "{quarantine} torn tails are kept in {}",
                path.join("quarantine").display()
            ),
        );
    }
    finding(
        Verdict::Good,
        "ledger",
        "there; `daybook verify` says whether it holds",
    )
}

fn service(status: io::Result<Result<Value, String>>) -> Vec<Finding> {
    match status {
        Ok(Ok(status)) => running(&status),
        Ok(Err(reason)) => vec![finding(Verdict::Wrong, "service", reason)],
        Err(error) if nobody_there(&error) => {
            vec![finding(Verdict::Note, "service", "none runs on this directory")]
        }
        Err(error) => vec![finding(Verdict::Wrong, "service", error.to_string())],
    }
}

fn running(status: &Value) -> Vec<Finding> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut findings = vec![finding(
        Verdict::Good,
        "service",
        format!(
            "{} at {}, pid {}",
            text(&status["version"]),
            text(&status["url"]),
            status["pid"]
        ),
    )];
    let writing = text(&status["writing"]);
    findings.push(match writing.as_str() {
        "Yes" => finding(
            Verdict::Good,
            "writing",
            format!("{} entries, {} signed", status["size"], status["signed_size"]),
        ),
        _ => finding(Verdict::Wrong, "writing", writing),
    });
    findings.push(clock(status));
    if !status["ledger_trouble"].is_null() {
        findings.push(finding(Verdict::Wrong, "upkeep", text(&status["ledger_trouble"])));
    }
    let projections = &status["projections"];
    findings.push(if !projections["trouble"].is_null() {
        finding(
            Verdict::Wrong,
            "read models",
            format!(
                "{}; `daybook rebuild` folds them again",
                text(&projections["trouble"])
            ),
        )
    } else if projections["catching_up"] == true {
        finding(
            Verdict::Note,
            "read models",
            format!("catching up, {} entries to go", projections["lag_entries"]),
        )
    } else {
        finding(
            Verdict::Good,
            "read models",
            format!("{} entries behind", projections["lag_entries"]),
        )
    });
    findings.push(rules(&status["alerting"]));
    findings.push(tls(status));
    findings
}

/// Whether the rules keep up, and whether what the ledger says they decided is theirs.
fn rules(alerting: &Value) -> Finding {
    if let Some(trouble) = alerting["trouble"].as_str() {
        return finding(Verdict::Wrong, "rules", trouble);
    }
    let lag = &alerting["lag_entries"];
    if alerting["unexpected"].as_u64().is_some_and(|count| count > 0) {
        let words = format!(
            "{} entries claim to be decisions of the rules and are not: run  daybook replay --rules",
            alerting["unexpected"]
        );
        return finding(Verdict::Wrong, "rules", words);
    }
    if alerting["catching_up"] == true {
        return finding(
            Verdict::Note,
            "rules",
            format!("catching up, {lag} entries to go"),
        );
    }
    let mut words = format!("{lag} entries behind, {} decisions to record", alerting["due"]);
    let too_late = alerting["too_late"].as_u64().unwrap_or(0);
    if too_late > 0 {
        words.push_str(&format!(
            "; {too_late} readings came too late for a rule (recompute their channels: POST /v1/sensors/{{id}}/recompute)"
        ));
    }
    finding(Verdict::Good, "rules", words)
}

/// The clock against the newest entry's: a clock that is behind holds every entry at the same time.
fn clock(status: &Value) -> Finding {
    let time = |name: &str| {
        status[name]
            .as_str()
            .and_then(|text| Timestamp::parse_rfc3339(text).ok())
    };
    let (Some(now), Some(last)) = (time("now"), time("last_recorded_at")) else {
        return finding(Verdict::Note, "clock", "nothing was recorded yet");
    };
    let behind_s = last.since(now) / 1_000_000;
    if behind_s > 1 {
        let words =
            format!("{behind_s} s behind the newest entry: set it; until then entries are held at that time");
        return finding(Verdict::Wrong, "clock", words);
    }
    finding(Verdict::Good, "clock", now.to_string())
}

fn tls(status: &Value) -> Finding {
    if status["tls"] != true {
        let loopback = status["url"].as_str().is_some_and(|url| {
            url.contains("//127.0.0.1")
                || url.contains("//localhost")
                || url.contains("//[::1]")
                || url.starts_with("https:")
        });
        return if loopback {
            finding(
                Verdict::Good,
                "tls",
                "not spoken here, and not needed on loopback",
            )
        } else {
            finding(
                Verdict::Wrong,
                "tls",
                "tokens travel in the clear: set tls_cert and tls_key, or put a proxy in front",
            )
        };
    }
    if status["tls_min_ingest"] == "1.2" {
        return finding(
            Verdict::Note,
            "tls",
            "1.3; ingest takes 1.2 for old devices (tls_min_ingest)",
        );
    }
    finding(Verdict::Good, "tls", "1.3")
}
