//! `daybook replay`: what happened, in the order in which it was recorded.
//!
//! Invariant: entries come as the bytes that were hashed; a token's hash is not shown.
//! Not here: which entries match (`entry_filter`).

use super::{DataDir, Failure, Global, Outcome, data_bytes, no_ledger, progress, talk};
use crate::data_source::DataSource;
use crate::entry_filter::Filter;
use crate::stores::{LEDGER, read_origin};
use clap::Args;
use commands::sequencer::read_positions;
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::ports::EventLog;
use domain::{Position, TreeSize};
use std::path::Path;

/// Entries read at once.
const READ_ENTRIES: usize = 1_024;
/// Bytes read at once, about.
const READ_BYTES: usize = 1 << 20;

/// Print what was recorded, entry by entry
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Replay {
    #[command(flatten)]
    data: DataDir,
    /// Recorded at or after this day (UTC) or time
    #[arg(long, value_name = "DATE|TIME")]
    from: Option<String>,
    /// Recorded before this day (UTC) or time
    #[arg(long, value_name = "DATE|TIME")]
    to: Option<String>,
    /// Only this event type; as often as there are
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Only this stream
    #[arg(long, value_name = "TYPE/ID")]
    stream: Option<String>,
    /// Only what this actor did: a user's id, `device:ID` or `system:COMPONENT`
    #[arg(long, value_name = "ACTOR")]
    actor: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  daybook replay --from 2026-05-01 --to 2026-06-01 --type ChannelChanged --type DeviceMoved
  daybook replay --stream device/dev_k7pzqw2m4x | jq .payload
  daybook replay --from 2026-05-17T08:00:00Z --to 2026-05-17T09:00:00Z --actor usr_b6xk

One entry a line on stdout, the exact bytes that were hashed; an entry with a token's hash as a stub. It works also
while the service runs, and reads up to the size that it finds. Times are those of recording; a day is its first moment
in UTC. Questions that no reading can match are answered without reading them.

Exit codes: 0 printed, also where nothing matched; 1 the ledger cannot be read; 2 usage.";

impl Replay {
    /// Prints.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn run(self, global: &Global) -> Outcome {
        let filter = Filter::parse(
            &self.types,
            self.stream.as_deref(),
            self.actor.as_deref(),
            self.from.as_deref(),
            self.to.as_deref(),
        )
        .map_err(|reason| Failure::usage(reason.replace("'since'", "--from").replace("'until'", "--to")))?;
        if !self.data.data.join(LEDGER).exists() {
            return Err(Failure::usage(no_ledger(&self.data.data)));
        }
        let opened = DataSource::open(&self.data.data).map_err(Failure::failed)?;
        for name in filter.unheard_of() {
            talk(&format!(
                "No event type {name} is known to this version; docs/events.md lists those that are."
            ));
        }
        // Where no reading can match, the index of streams says where everything else is.
        let others = filter
            .passes_over_readings()
            .then(|| positions(&self.data.data, &opened));
        let others = others.transpose()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(Failure::failed)?;
        let (count, size) = runtime.block_on(print(&filter, opened.ledger(), others.as_deref()))?;
        if !global.json {
            talk(&format!("{count} of {size} entries match."));
        }
        Ok(0)
    }
}

/// Where every entry is that is no reading, rising.
fn positions(dir: &Path, opened: &DataSource) -> Result<Vec<Position>, Failure> {
    let (ledger, size) = (opened.ledger(), opened.ledger().size());
    let origin = read_origin(dir).map_err(Failure::usage)?.unwrap_or_default();
    let positions = read_positions(&origin, ledger, ledger, ledger, size)
        .map_err(|error| Failure::failed(format!("{error}; `daybook verify` says more")))?;
    Ok(positions.all())
}

/// Prints what matches; how many do, and of how many.
async fn print(
    filter: &Filter,
    log: &dyn EventLog,
    others: Option<&[Position]>,
) -> Result<(u64, TreeSize), Failure> {
    let size = log.size();
    let mut next = filter
        .first(log, Position::FIRST, size)
        .await
        .map_err(Failure::failed)?;
    let bar = progress::entries();
    bar.set_length(size.since(next.size_before()));
    let (mut lines, mut count, mut over) = (Vec::new(), 0u64, false);
    while size.contains(next) && !over {
        let block = match others {
            Some(all) => log.read_at(some_behind(all, next, size)).await,
            None => log.read(next, READ_ENTRIES, READ_BYTES).await,
        };
        let block = block.map_err(Failure::failed)?;
        lines.clear();
        for (position, bytes) in block.iter() {
            let entry = Entry::read(bytes).map_err(Failure::failed)?;
            over = filter.is_over(&entry);
            if over {
                break;
            }
            if filter.matches(&entry) {
                count += 1;
                write(position, &entry, bytes, &mut lines);
            }
        }
        over |= !data_bytes(&lines)?;
        let read = block.len();
        let behind = read
            .checked_sub(1)
            .and_then(|last| block.get(last))
            .map(|(last, _)| last.next());
        let behind = behind.unwrap_or(size.next_position());
        bar.inc(size.since(next.size_before()) - size.since(behind.size_before()));
        next = behind;
    }
    bar.finish_and_clear();
    Ok((count, size))
}

/// The next of these positions.
fn some_behind(all: &[Position], next: Position, size: TreeSize) -> &[Position] {
    let from = all.partition_point(|position| *position < next);
    let end = all.partition_point(|position| size.contains(*position));
    &all[from.min(end)..end.min(from + READ_ENTRIES)]
}

fn write(position: Position, entry: &Entry<'_>, bytes: &[u8], lines: &mut Vec<u8>) {
    if entry.event_type == "TokenIssued" {
        let leaf = leaf_hash(bytes);
        lines.extend_from_slice(
            format!("{{\"leaf_hash\":\"{leaf}\",\"position\":{position},\"withheld\":true}}").as_bytes(),
        );
    } else {
        lines.extend_from_slice(bytes);
    }
    lines.push(b'\n');
}
