//! `daybook key`: what an auditor needs to know once, the keys over time, and bringing a new one into force.
//!
//! Rotating needs the directory to itself: a service that runs is stopped first.
//! Not here: what a rotation does, and what a crash leaves (`rekey`, `commands::sequencer`).

use super::{DataDir, Failure, Global, Outcome, data, data_json, no_ledger, program, shell_path, talk};
use crate::app::Outside;
use crate::clock::SystemClock;
use crate::config::Settings;
use crate::data_source::DataSource;
use crate::entropy::SeededEntropy;
use crate::publisher::{Dir, Request};
use crate::rekey::{self, Rekeyed};
use crate::stores::{LEDGER, read_keys, read_origin};
use clap::{Args, Subcommand, ValueEnum};
use domain::ports::EventLog;
use domain::rotation::{KeyHistory, Role, RotationReason, VouchedBy};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Show the keys that verify this ledger, and replace them
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Key {
    /// Print origin and verifier keys
    Show(Show),
    /// Print every key that the ledger names, and where each came into force
    List(Show),
    /// Bring a new key into force, vouched for by the one before
    Rotate(Rotate),
    /// Bring a new key into force, vouched for by the recovery key: the one before is lost or stolen
    Recover(Recover),
}

/// Print verifier keys
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Show {
    #[command(flatten)]
    data: DataDir,
}

/// Bring a new key into force
#[derive(Debug, Args)]
#[command(after_help = ROTATING)]
pub struct Rotate {
    #[command(flatten)]
    place: Place,
    /// What the key is for
    #[arg(long, value_enum, default_value = "log")]
    role: RoleName,
    /// Why
    #[arg(long, value_enum, default_value = "scheduled")]
    reason: ReasonName,
    /// Where `daybook publish` holds the log key: its directory. Makes the new key there and asks for it; then run this
    /// again, without it, where the ledger is
    #[arg(long, value_name = "DIR", conflicts_with_all = ["recovery_key", "recovery_key_out"])]
    publisher: Option<PathBuf>,
    /// With --role recovery: the file with the private half of the recovery key in force (mode 0600)
    #[arg(long, value_name = "FILE", requires = "recovery_key_out")]
    recovery_key: Option<PathBuf>,
    /// With --role recovery: the file for the private half of the new one; take both away again afterwards
    #[arg(long, value_name = "FILE", requires = "recovery_key")]
    recovery_key_out: Option<PathBuf>,
}

/// Bring a new key into force with the recovery key
#[derive(Debug, Args)]
#[command(after_help = ROTATING)]
pub struct Recover {
    #[command(flatten)]
    place: Place,
    /// The file with the private half of the recovery key (mode 0600); take it away again afterwards
    #[arg(long, value_name = "FILE")]
    recovery_key: PathBuf,
    /// What the key is for
    #[arg(long, value_enum, default_value = "log")]
    role: RoleName,
    /// Why
    #[arg(long, value_enum)]
    reason: ReasonName,
}

/// Where the ledger is, as `serve` is told.
#[derive(Debug, Args, Serialize)]
struct Place {
    /// The data directory [default: daybook-data]
    #[arg(long, value_name = "DIR", env = "DAYBOOK_DATA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<PathBuf>,
    /// Where the latest signed checkpoint is kept outside the data directory
    #[arg(long, value_name = "DIR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    anchor: Option<PathBuf>,
    /// Settings as TOML, the same file as `serve` reads
    #[arg(long, value_name = "FILE", env = "DAYBOOK_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

/// Roles by their names.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleName {
    /// Signs checkpoints
    Log,
    /// Signs receipts and evidence packs
    Receipt,
    /// Signs checkpoints with ML-DSA-44 beside the log key; the first time it is added
    PostQuantum,
    /// Vouches for a new key where the one before is lost or stolen
    Recovery,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Log => Self::Log,
            RoleName::Receipt => Self::Receipt,
            RoleName::PostQuantum => Self::PostQuantum,
            RoleName::Recovery => Self::Recovery,
        }
    }
}

/// Reasons by their names.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ReasonName {
    /// As planned
    Scheduled,
    /// Nobody has it any more
    Lost,
    /// Somebody else may have it
    Compromised,
}

impl From<ReasonName> for RotationReason {
    fn from(name: ReasonName) -> Self {
        match name {
            ReasonName::Scheduled => Self::Scheduled,
            ReasonName::Lost => Self::Lost,
            ReasonName::Compromised => Self::Compromised,
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  daybook key show
  daybook key show --json --data /var/lib/daybook
  daybook key list
  daybook key rotate --reason scheduled
  daybook key recover --recovery-key /media/usb/recovery.key --reason lost

show: the first line is the verifier key of checkpoints in force, in the form that C2SP tools take; the second that of
receipts; a third, with ML-DSA-44, where there is one.
Exit codes: 0 the keys are on stdout; 1 there is no ledger yet, or it failed.";

const ROTATING: &str = "\
Examples:
  daybook key rotate --data /var/lib/daybook
  daybook key rotate --role receipt --reason compromised
  daybook key rotate --role post-quantum
  daybook key rotate --role recovery --recovery-key /media/usb/recovery.key --recovery-key-out /media/usb/recovery-2.key
  daybook key recover --recovery-key /media/usb/recovery.key --reason compromised

The service must be stopped; start it again afterwards. Whatever interrupts this: run the same command again, or start
the service, and it goes on where it was. With --config the settings that the service has.

Where `daybook publish` holds the log key, stop both, then
  daybook key rotate --publisher /var/lib/daybook-publish --data /var/lib/daybook     (as the publisher's user, who
                                                                                       must be able to read both)
  daybook key rotate --data /var/lib/daybook --config daybook.toml                    (as the service's user)
and start both: the publisher signs with both keys, and goes on with the new one.
Exit codes: 0 the new key is in force and on stdout; 1 it failed, nothing changed unless it says so; 2 usage.";

impl Key {
    /// Does what was asked.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(self, global: &Global) -> Outcome {
        match self {
            Self::Show(show) => show.run(global),
            Self::List(list) => list.list(global),
            Self::Rotate(it) if it.publisher.is_some() => request(&it, global),
            Self::Rotate(it) => it.run(global),
            Self::Recover(it) if matches!(it.role, RoleName::Recovery) => Err(Failure::usage(
                "a recovery key is replaced by its own word:  daybook key rotate --role recovery --recovery-key FILE \
                 --recovery-key-out FILE",
            )),
            Self::Recover(it) => {
                let recovery = Some(it.recovery_key.as_path());
                replace(&it.place, it.role.into(), it.reason.into(), recovery, global)
            }
        }
    }
}

impl Rotate {
    fn run(self, global: &Global) -> Outcome {
        let (role, reason): (Role, RotationReason) = (self.role.into(), self.reason.into());
        match (
            role,
            self.recovery_key.as_deref().zip(self.recovery_key_out.as_deref()),
        ) {
            (Role::Recovery, Some((old, new))) => {
                replace_with(&self.place, global, Some(new), async |settings, outside| {
                    rekey::rotate_recovery(settings, outside, reason, old, new).await
                })
            }
            (Role::Recovery, None) => Err(Failure::usage(
                "the recovery key in force vouches for the next one: --recovery-key FILE --recovery-key-out FILE",
            )),
            (_, Some(_)) => Err(Failure::usage(
                "--recovery-key goes with --role recovery; where the recovery key vouches for another:  daybook key recover",
            )),
            (_, None) => replace(&self.place, role, reason, None, global),
        }
    }
}

impl Show {
    fn run(self, global: &Global) -> Outcome {
        let dir = &self.data.data;
        if !dir.join(LEDGER).exists() {
            return Err(Failure::failed(no_ledger(dir)));
        }
        let entropy: Arc<dyn domain::ports::Entropy> =
            Arc::new(SeededEntropy::from_os().map_err(Failure::failed)?);
        let keys = read_keys(dir, &entropy).map_err(Failure::failed)?;
        if global.json {
            data_json(&json!({
                "origin": keys.origin,
                "log_key": keys.log,
                "receipt_key": keys.receipt,
                "post_quantum_key": keys.post_quantum,
            }))?;
        } else {
            data(&keys.log)?;
            data(&keys.receipt)?;
            if let Some(key) = &keys.post_quantum {
                data(key)?;
            }
            talk(&format!("Origin: {}", keys.origin));
        }
        Ok(0)
    }

    fn list(self, global: &Global) -> Outcome {
        let dir = &self.data.data;
        if !dir.join(LEDGER).exists() {
            return Err(Failure::failed(no_ledger(dir)));
        }
        let history = history(dir)?;
        let mut keys = Vec::new();
        for key in history.first_log_keys() {
            let role = if key.key_type() == domain::note::KeyType::MlDsa44 {
                Role::PostQuantum
            } else {
                Role::Log
            };
            keys.push(json!({"role": role, "position": 0, "key": key.to_string()}));
        }
        let first_receipt = history.key_at(Role::Receipt, domain::TreeSize(1));
        keys.extend(
            first_receipt.map(|key| json!({"role": "receipt", "position": 0, "key": key.to_string()})),
        );
        keys.extend(
            history
                .first_recovery()
                .map(|key| json!({"role": "recovery", "position": 0, "key": key.to_string()})),
        );
        for it in history.rotations() {
            keys.push(json!({
                "role": it.role,
                "position": it.position,
                "key": it.new.to_string(),
                "replaces": it.old.as_ref().map(ToString::to_string),
                "reason": it.reason.as_str(),
                "by_recovery": it.by == VouchedBy::Recovery,
            }));
        }
        if global.json {
            data_json(&json!({"keys": keys}))?;
            return Ok(0);
        }
        for key in &keys {
            let text = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
            let how = match key["by_recovery"].as_bool() {
                None => "since the first entry".to_owned(),
                Some(by_recovery) => format!(
                    "since position {}, {}, vouched for by {}",
                    key["position"],
                    text("reason"),
                    rekey::vouched(if by_recovery {
                        VouchedBy::Recovery
                    } else {
                        VouchedBy::Old
                    })
                ),
            };
            data(&format!("{:<12} {}", text("role"), text("key")))?;
            data(&format!("{:<12} {how}", ""))?;
        }
        if history.recovery().is_none() {
            talk("There is no recovery key: a lost log key ends this ledger.");
        }
        Ok(0)
    }
}

/// The keys that the ledger's own entries tell, also while a service runs.
fn history(dir: &Path) -> Result<KeyHistory, Failure> {
    let origin = read_origin(dir).map_err(Failure::failed)?;
    let origin = origin.ok_or_else(|| Failure::failed(no_ledger(dir)))?;
    let opened = DataSource::open(dir).map_err(Failure::failed)?;
    let positions = opened.ledger_positions(&origin).map_err(Failure::failed)?;
    tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(Failure::failed)?
        .block_on(rekey::history(opened.ledger(), &positions))
        .map_err(Failure::failed)
}

fn replace(
    place: &Place,
    role: Role,
    reason: RotationReason,
    recovery: Option<&Path>,
    global: &Global,
) -> Outcome {
    replace_with(place, global, recovery, async |settings, outside| {
        rekey::rotate(settings, outside, role, reason, recovery).await
    })
}

/// Replaces a key as `how` does. `away` is a file that must not stay.
fn replace_with(
    place: &Place,
    global: &Global,
    away: Option<&Path>,
    how: impl AsyncFnOnce(&Settings, &Outside) -> Result<Rekeyed, rekey::RekeyError>,
) -> Outcome {
    let settings = Settings::load(place.config.as_deref(), place).map_err(Failure::usage)?;
    if !settings.data.join(LEDGER).exists() {
        return Err(Failure::failed(no_ledger(&settings.data)));
    }
    let outside = Outside {
        clock: Arc::new(SystemClock::new()),
        entropy: Arc::new(SeededEntropy::from_os().map_err(Failure::failed)?),
        clock_accepted: false,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    let done = runtime
        .block_on(how(&settings, &outside))
        .map_err(Failure::failed)?;
    tell(&settings, &done, away, global)
}

/// Makes the new key where the old one is, and asks for it.
fn request(it: &Rotate, global: &Global) -> Outcome {
    let Some(dir) = &it.publisher else {
        return Err(Failure::usage("--publisher names no directory"));
    };
    if !matches!(it.role, RoleName::Log) {
        return Err(Failure::usage(
            "the publisher holds the log key: --publisher does not go with another --role",
        ));
    }
    let settings = Settings::load(it.place.config.as_deref(), &it.place).map_err(Failure::usage)?;
    if !settings.data.join(LEDGER).exists() {
        return Err(Failure::failed(no_ledger(&settings.data)));
    }
    let data_dir = DataSource::open(&settings.data).map_err(Failure::failed)?;
    let size = data_dir.ledger().size();
    let entropy = SeededEntropy::from_os().map_err(Failure::failed)?;
    let held = Dir::open(dir, None, None, &entropy).map_err(Failure::failed)?;
    let request = Request::make(&held, size, it.reason.into(), &entropy).map_err(Failure::failed)?;
    if global.json {
        data_json(&json!({"role": Role::Log, "key": request.new_key(), "replaces": request.old_key()}))?;
        return Ok(0);
    }
    data(request.new_key())?;
    talk(&format!(
        "It is asked for and not in force yet. Where the ledger is, with the service stopped:  {} key rotate --data {} \
         --config FILE",
        program(),
        shell_path(&settings.data)
    ));
    Ok(0)
}

fn tell(settings: &Settings, done: &Rekeyed, recovery: Option<&Path>, global: &Global) -> Outcome {
    if global.json {
        data_json(&json!({
            "role": done.role,
            "key": done.new.to_string(),
            "position": done.position,
            "finished": done.finished,
        }))?;
        return Ok(0);
    }
    data(&done.new.to_string())?;
    talk(&if done.finished {
        format!(
            "What was begun before is finished: this {} key is in force since position {}. Run the command again for \
             another one.",
            done.role, done.position
        )
    } else {
        format!(
            "The new {} key is in force since position {}.",
            done.role, done.position
        )
    });
    talk(&format!(
        "Its proof{}: {}/heads/keys/{}.tlog-proof. Give it and the key to everybody who keeps the old one, and to each witness.",
        match settings.signed_elsewhere {
            None => "",
            Some(_) => ", as soon as `daybook publish` has signed it",
        },
        settings.data.display(),
        done.position
    ));
    if let Some(path) = recovery {
        talk(&format!("Take {} off this machine again.", path.display()));
    }
    // Only the settings tell the service who signs.
    let config = settings
        .signed_elsewhere
        .as_ref()
        .map_or("", |_| " --config FILE");
    talk(&format!(
        "Start the service again:  {} serve --data {}{config}",
        program(),
        shell_path(&settings.data)
    ));
    Ok(0)
}
