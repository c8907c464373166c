//! The entries that the ledger would write for one-value readings, as bytes: what every bare limit is measured on.
//!
//! Invariant: written by the encoder that the ledger uses, with members of the lengths that the service writes.
//! Not here: chains and signatures; these entries are measured, not kept.

use domain::entry::{EntryError, EntryHead, Placement, encode_parts};
use domain::ports::EntryBlock;
use domain::reading::{READING_RECORDED, READINGS, Reading, TimeFrom};
use domain::{Position, Timestamp};

/// Characters of a device's id: `dev_` and 26 more.
const DEVICE_ID: usize = 30;

/// The metadata that the service gives every reading of a request.
pub fn metadata(received_at: Timestamp, request: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    out.extend_from_slice(b"{\"received_at\":\"");
    received_at.write(&mut out);
    out.extend_from_slice(
        format!(
            "\",\"request_id\":\"req_{request:026}\",\"source\":{{\"kind\":\"http\"}},\"token\":\"{:a<26}\"}}",
            "bench"
        )
        .as_bytes(),
    );
    out
}

/// Appends a reading's entry.
///
/// # Errors
/// [`EntryError`], which these entries never meet.
pub fn write(
    out: &mut Vec<u8>,
    placement: &Placement,
    device: &str,
    metadata: &[u8],
    measured_at: Timestamp,
    value: f64,
) -> Result<(), EntryError> {
    let mut id = [b'a'; DEVICE_ID];
    let name = &device.as_bytes()[..device.len().min(DEVICE_ID - 4)];
    id[..4].copy_from_slice(b"dev_");
    id[4..4 + name.len()].copy_from_slice(name);
    let head = EntryHead {
        aggregate_type: READINGS,
        aggregate_id: std::str::from_utf8(&id).unwrap_or(READINGS),
        event_type: READING_RECORDED,
        event_version: "1.0",
    };
    let reading = Reading {
        measured_at,
        time_from: TimeFrom::Device,
        claimed_at: None,
        config: Position(4_000),
        values: vec![("temperature", value)],
        status: Vec::new(),
    };
    encode_parts(out, placement, &head, metadata, |out| {
        // A finite number is always written.
        let _ = reading.write(out);
    })
}

/// What differs from entry to entry where nothing is known of streams.
pub fn placement(position: u64, recorded_at: Timestamp) -> Placement {
    let mix = position.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut salt = [0u8; 16];
    salt[..8].copy_from_slice(&mix.to_le_bytes());
    salt[8..].copy_from_slice(
        &(mix ^ (mix >> 29))
            .wrapping_mul(0xBF58_476D_1CE4_E5B9)
            .to_le_bytes(),
    );
    Placement {
        position: Position(position),
        recorded_at,
        sequence: position / 1000 + 1,
        salt,
    }
}

/// So many entries of a thousand devices.
pub fn block(count: u64, recorded_at: Timestamp) -> EntryBlock {
    let mut block = EntryBlock::new();
    for n in 0..count {
        let position = 5_000_000 + n;
        let placement = placement(position, recorded_at);
        let device = format!("bench{:04}", n % 1000);
        let metadata = metadata(recorded_at, position);
        let measured_at = recorded_at.plus_micros(n as i64);
        let value = 4.0 + (n % 97) as f64 / 100.0;
        let written = block.push_with(placement.position, |out| {
            write(out, &placement, &device, &metadata, measured_at, value)
        });
        debug_assert_eq!(written, Ok(()));
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::entry::Entry;

    #[test]
    fn every_entry_is_one_that_the_ledger_could_hold() {
        let at = Timestamp::from_micros(1_780_000_000_000_000).expect("in range");
        let block = block(2500, at);
        assert_eq!(block.len(), 2500);
        for (position, bytes) in block.iter() {
            let entry = Entry::decode(bytes).expect("canonical");
            assert_eq!(entry.position, position);
            Reading::read(entry.payload).expect("a reading");
        }
    }
}
