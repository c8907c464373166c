//! `daybook continue`: a new ledger in the place of one whose newest copy is older than what was signed.
//!
//! It prepares a directory; the first start begins the ledger there, whose first entry names the old one, its size and
//! its root, and records what lies there to be carried over: the configuration, sealed anew with new keys.
//! Invariant: the old directory is only read, and not needed any more afterwards; the new one is a directory to be begun
//! only when everything is in it.
//! Not here: what is carried over and how (`commands::carry_over`), recording it (`begin`).

use super::{Failure, Global, Outcome, data, data_json, no_ledger, program, progress, shell_path, talk};
use crate::begin::OWNER_TOKEN;
use crate::clock::SystemClock;
use crate::data_source::DataSource;
use crate::entropy::SeededEntropy;
use crate::stores::{KEYS, LEDGER, is_unbegun, prepare, private_dir, read_origin};
use chain_publisher::arguments::{directory_of, verify_with_bar};
use chain_publisher::{LogSource, VerifySettings};
use clap::Args;
use commands::carry_over::{self, CarryOverError, Resealer, Side};
use commands::keys::{FileKeyStore, copy_server_secret, read_secret_file, write_secret_file};
use domain::checkpoint::{SignedCheckpoint, is_origin};
use domain::continues::{Continues, is_reason};
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::merkle::Frontier;
use domain::ports::{Clock, Entropy};
use domain::verify::Verdict;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Entries of the old ledger that are read again at once, to be sealed anew.
const AT_ONCE: usize = 256;
/// The largest file with an owner's token, bytes.
const OWNER_TOKEN_BYTES_MAX: usize = 4_096;

/// Prepare a new ledger that continues an old one, which must not go on itself
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Continue {
    /// The newest copy of the old ledger's data directory; it is only read
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The new ledger's data directory, where there is none yet
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// The new ledger's name, which must be another one
    #[arg(long)]
    origin: String,
    /// Why the old one does not go on, as a code
    #[arg(long, default_value = "restored_older_copy", value_name = "CODE")]
    reason: String,
    /// Carry nothing over: accounts, people, devices and tokens are made anew
    #[arg(long)]
    empty: bool,
}

/// What was carried over.
struct Carried {
    entries: u64,
    erased: u64,
    silences_over: usize,
}

const EXAMPLES: &str = "\
Examples:
  daybook continue /restored/daybook /var/lib/daybook2 --origin daybook.example.eu/main-2
  daybook continue /var/lib/daybook /var/lib/daybook2 --origin daybook.example.eu/main-2 --reason log_key_lost
  daybook continue /damaged/daybook /var/lib/daybook2 --origin daybook.example.eu/main-2 --empty

A ledger that was restored from a copy older than what it signed may not go on under its name: two histories would be
signed. The new ledger's first entry says which one it continues, at which size and root; `daybook-verify log NEW
--continues OLD` holds that against the old one. Keep the old directory: it stays readable with verify, export and
evidence.

The configuration is carried over: accounts, people, sites, devices and their channels, limits, rules, calibrations,
contacts, webhooks, tokens (which go on working), registered files, and silences that are not over. Not carried over:
readings, alarms, uplinks of unknown devices, what was sent and handed out, sessions. The new ledger has new keys for
signing and for sealing; what was erased stays erased. The old ledger must verify; where it does not, only an empty one
can continue it (--empty). Where somebody may have had the old server, replace tokens after the first start.

Exit codes: 0 prepared, start it; 1 it failed; 2 usage.";

impl Continue {
    /// Prepares the directory.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(self, global: &Global) -> Outcome {
        if !self.old.join(LEDGER).exists() {
            return Err(Failure::usage(no_ledger(&self.old)));
        }
        directory_of("NEW", &self.new)?;
        if self.new.join(LEDGER).exists() {
            return Err(Failure::usage(format!(
                "{} has a ledger already: name a directory for the new one where there is none yet",
                self.new.display()
            )));
        }
        if !is_origin(&self.origin) {
            return Err(Failure::usage(
                "--origin must be a scheme-less URL such as daybook.example.eu/main-2, at most 255 bytes, without \
                 spaces or +",
            ));
        }
        if !is_reason(&self.reason) {
            return Err(Failure::usage(
                "--reason is a code of 1 to 32 small letters and underscores",
            ));
        }
        let opened = DataSource::open(&self.old).map_err(|error| self.not_carried(error))?;
        let continues = self.continues(&opened)?;
        if continues.origin == self.origin {
            return Err(Failure::usage(format!(
                "{} is the old ledger's name: the new one needs another, such as {}-2",
                self.origin, self.origin
            )));
        }
        private_dir(&self.new)
            .and_then(|()| is_unbegun(&self.new))
            .map_err(Failure::failed)?;
        let carried = match self.empty {
            true => None,
            false => Some(self.carry_over(&opened, &continues)?),
        };
        prepare(&self.new, &self.origin, &continues).map_err(Failure::failed)?;
        self.tell(global, &continues, carried.as_ref())?;
        Ok(0)
    }

    fn tell(&self, global: &Global, continues: &Continues, carried: Option<&Carried>) -> Result<(), Failure> {
        if global.json {
            let carried = carried.map(
                |it| json!({"entries": it.entries, "erased": it.erased, "silences_over": it.silences_over}),
            );
            return data_json(&json!({
                "origin": self.origin,
                "continues": continues,
                "carried_over": carried.unwrap_or(Value::Null),
            }));
        }
        data(&format!("{} continues {continues}", self.origin))?;
        match carried {
            None => talk("Nothing is carried over: accounts, devices and tokens are made anew."),
            Some(carried) => {
                talk(&format!(
                    "{} entries of configuration are carried over; tokens go on working. Readings and alarms stay in {}.",
                    carried.entries,
                    self.old.display()
                ));
                if carried.erased > 0 {
                    talk(&format!(
                        "{} sealed values have no key in {} any more, and stay erased.",
                        carried.erased,
                        self.old.join(KEYS).display()
                    ));
                }
            }
        }
        talk(&format!(
            "Nothing is recorded yet. Begin it with:  {} serve --data {}",
            program(),
            shell_path(&self.new)
        ));
        Ok(())
    }

    /// Why nothing can be carried over, and what to do.
    fn not_carried(&self, why: impl std::fmt::Display) -> Failure {
        let hint = match self.empty {
            true => "",
            false => {
                "; nothing is carried over of a ledger that does not hold. Restore a newer or better copy of it, or \
                 begin an empty one with --empty and make accounts, devices and tokens anew"
            }
        };
        Failure::failed(format!("{}: {why}{hint}", self.old.display()))
    }

    /// Writes into the new directory what its first start is to record, and the keys and secrets that go with it. What an
    /// earlier try left there is replaced; until the directory has its name, it is no ledger's.
    fn carry_over(&self, opened: &DataSource, continues: &Continues) -> Result<Carried, Failure> {
        if self.old.join(carry_over::FILE).exists() {
            return Err(self.not_carried(
                "its own first start has not carried everything over yet: let it finish with `daybook serve`",
            ));
        }
        let report = verify_with_bar(&opened.source(), &VerifySettings::default())?;
        if !matches!(
            report.verdict,
            Verdict::Verified { .. } | Verdict::Unanchored { .. } | Verdict::Partial { .. }
        ) {
            return Err(self.not_carried(&report.verdict));
        }
        let entropy: Arc<dyn Entropy> = Arc::new(SeededEntropy::from_os().map_err(Failure::failed)?);
        let failed = |error: CarryOverError| self.not_carried(error);
        let now = SystemClock::new().now();
        let bar = progress::entries();
        bar.set_length(continues.size.get());
        let ledger = opened.ledger();
        let found = carry_over::find(ledger, continues.size, continues.root, now, &mut |done| {
            bar.set_position(done);
        });
        bar.finish_and_clear();
        let found = found.map_err(failed)?;
        let (old_keys, new_keys) = (self.old.join(KEYS), self.new.join(KEYS));
        let keys =
            FileKeyStore::open_existing(&old_keys, entropy.clone()).map_err(|e| self.not_carried(e))?;
        let from = Side {
            origin: continues.origin.clone(),
            keys: Arc::new(keys),
        };
        let to = Side {
            origin: self.origin.clone(),
            keys: Arc::new(FileKeyStore::open(&new_keys, entropy.clone()).map_err(Failure::failed)?),
        };
        let mut resealer = Resealer::new(from, to, entropy);
        let entries = found.entries.len() as u64;
        let events = found.entries.chunks(AT_ONCE).flat_map(|some| {
            let positions: Vec<_> = some.iter().map(|(position, _)| *position).collect();
            let block = match ledger.read_at_now(&positions) {
                Ok(block) => block,
                Err(error) => return vec![Err(error.into())],
            };
            let mut events = Vec::with_capacity(some.len());
            for ((position, bytes), (_, leaf)) in block.iter().zip(some) {
                events.push(match Entry::decode(bytes) {
                    Ok(entry) if leaf_hash(bytes) == *leaf => resealer.event(&entry, *leaf),
                    Ok(_) => Err(changed_meanwhile(
                        position,
                        "it has changed since it was verified",
                    )),
                    Err(error) => Err(changed_meanwhile(position, error)),
                });
            }
            events
        });
        carry_over::write(&self.new, &self.origin, continues, entries, events).map_err(failed)?;
        copy_server_secret(&old_keys, &new_keys).map_err(|error| self.not_carried(error))?;
        self.copy_owner_token()?;
        Ok(Carried {
            entries,
            erased: resealer.erased(),
            silences_over: found.silences_over,
        })
    }

    /// The owner's token goes on working, so its file goes along where it still lies there.
    fn copy_owner_token(&self) -> Result<(), Failure> {
        let (from, to) = (self.old.join(OWNER_TOKEN), self.new.join(OWNER_TOKEN));
        if !from.exists() {
            return Ok(());
        }
        let token = read_secret_file(&from, OWNER_TOKEN_BYTES_MAX).map_err(Failure::failed)?;
        write_secret_file(&to, &token).map_err(|error| Failure::failed(format!("{}: {error}", to.display())))
    }

    /// What the old copy signed last; all of it where it signed nothing.
    fn continues(&self, opened: &DataSource) -> Result<Continues, Failure> {
        let source = opened.source();
        let signed = source.checkpoint().map_err(Failure::failed)?;
        let signed = signed.and_then(|note| SignedCheckpoint::parse(&note).ok());
        let (origin, size, root) = match signed.as_ref().map(SignedCheckpoint::checkpoint) {
            Some(says) => (says.origin().to_owned(), says.size(), says.root()),
            None => {
                let origin = read_origin(&self.old)
                    .map_err(Failure::failed)?
                    .unwrap_or_default();
                let size = source.size;
                let root = Frontier::from_nodes(size, source.tiles)
                    .map_err(Failure::failed)?
                    .root();
                (origin, size, root)
            }
        };
        Ok(Continues {
            origin,
            size,
            root,
            reason: self.reason.clone(),
        })
    }
}

fn changed_meanwhile(position: domain::Position, what: impl ToString) -> CarryOverError {
    CarryOverError::Entry {
        position,
        what: what.to_string(),
    }
}
