//! What was refused of a device: this minute's from memory, older ones from the read models, one note a code.
//!
//! Invariant: a refusal counts once, although memory and read models may both know it.
//! Not here: words for codes (`words`).

use std::collections::BTreeMap;

use commands::refusals::Source;
use domain::Timestamp;
use domain::registry::Device;
use projections::QueryError;

use super::super::view::RefusalNote;
use super::{Asker, known};

/// Recorded refusals that are looked at.
const RECORDED_MAX: usize = 20;

/// The last refusals of a device, newest first, one a code.
pub fn notes(asker: &Asker<'_>, device: &Device) -> Result<Vec<RefusalNote>, QueryError> {
    let mut notes = Notes::default();
    let mut sources = vec![Source::Device(device.id.clone())];
    {
        let registry = asker.known.registry();
        sources.extend(
            registry
                .tokens(&device.id)
                .map(|token| Source::Token(token.id.into())),
        );
    }
    let mut oldest: Option<Timestamp> = None;
    for refusal in sources
        .iter()
        .flat_map(|source| asker.known.refused_of_late(source))
    {
        oldest = Some(oldest.map_or(refusal.at, |o| o.min(refusal.at)));
        notes.add(refusal.at, refusal.code, &refusal.message, 1);
    }
    let recorded = known(asker.rows.refusals(asker.account, Some(&device.id), RECORDED_MAX))?;
    for refusal in recorded.unwrap_or_default() {
        if oldest.is_some_and(|oldest| refusal.to >= oldest) {
            continue;
        }
        let codes: BTreeMap<String, u64> = serde_json::from_str(&refusal.codes).unwrap_or_default();
        // The example is of the last refusal, so it tells a code only where there is one.
        let example = refusal.example.filter(|_| codes.len() == 1);
        let message = example
            .and_then(|sealed| asker.known.example(&sealed))
            .unwrap_or_default();
        for (code, count) in codes {
            notes.add(refusal.to, &code, &message, count);
        }
    }
    Ok(notes.newest_first())
}

#[derive(Default)]
struct Notes(BTreeMap<String, RefusalNote>);

impl Notes {
    fn add(&mut self, at: Timestamp, code: &str, message: &str, count: u64) {
        let note = self.0.entry(code.to_owned()).or_insert_with(|| RefusalNote {
            at,
            code: code.to_owned(),
            message: message.to_owned(),
            count: 0,
            example: None,
        });
        note.count += count;
        if at > note.at || note.message.is_empty() {
            note.at = note.at.max(at);
            note.message = message.to_owned();
        }
    }

    fn newest_first(self) -> Vec<RefusalNote> {
        let mut notes: Vec<RefusalNote> = self.0.into_values().collect();
        notes.sort_by_key(|note| std::cmp::Reverse(note.at));
        notes
    }
}
