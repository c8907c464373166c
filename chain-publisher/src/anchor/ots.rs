//! OpenTimestamps: a file that leads from a hash to what calendars promise, to be upgraded by the `ots` client later.
//!
//! Invariants: each calendar gets the hash behind a nonce of its own, so that it learns nothing; an answer is kept only
//! if it is a whole timestamp; depth, size and number are bounded.
//! Source: the format of python-opentimestamps 0.4 (`core/timestamp.py`, `core/op.py`, `core/notary.py`).
//! Not here: verifying against a block chain, upgrading (the `ots` client).

use super::{Says, http};

const MAGIC: &[u8] = b"\x00OpenTimestamps\x00\x00Proof\x00\xbf\x89\xe2\xe8\x84\xe8\x92\x94";
const VERSION: u8 = 1;
const SHA256: u8 = 0x08;
const APPEND: u8 = 0xf0;
const PREPEND: u8 = 0xf1;
const ATTESTATION: u8 = 0x00;
const MORE: u8 = 0xff;
/// Operations without an argument: SHA-1, RIPEMD-160, SHA-256, Keccak-256, reverse, hexlify.
const UNARY: [u8; 6] = [0x02, 0x03, SHA256, 0x67, 0xf2, 0xf3];
const PENDING: [u8; 8] = [0x83, 0xdf, 0xe3, 0x0d, 0x2e, 0xf9, 0x0c, 0x8e];
const BITCOIN: [u8; 8] = [0x05, 0x88, 0x96, 0x0d, 0x73, 0xd7, 0x19, 0x01];
/// Bytes of a nonce, as the client's.
pub const NONCE_BYTES: usize = 16;
/// The longest argument of an operation, as the client reads.
const ARGUMENT_BYTES_MAX: usize = 4_096;
/// The longest payload of an attestation, as the client reads.
const PAYLOAD_BYTES_MAX: usize = 8_192;
/// Operations behind one another; the client refuses more than 256.
const DEPTH_MAX: usize = 256;
/// The largest answer of a calendar that is taken, as the client does.
const ANSWER_BYTES_MAX: usize = 10_000;

/// Asks every calendar, and gives the file to keep if at least one answers; and what the others said instead, each by
/// its place in the list.
///
/// # Errors
/// In words, without addresses, where none answers.
pub fn ask(
    calendars: &[String],
    sha256: &[u8; 32],
    nonces: &[[u8; NONCE_BYTES]],
) -> Result<(Vec<u8>, Vec<String>), String> {
    let mut branches = Vec::new();
    let mut silent = Vec::new();
    for (n, (calendar, nonce)) in calendars.iter().zip(nonces).enumerate() {
        let commitment = domain::hash::sha256(&[&sha256[..], nonce].concat());
        let url = format!("{}/digest", calendar.trim_end_matches('/'));
        let answer = http::post(
            &url,
            "application/x-www-form-urlencoded",
            "application/vnd.opentimestamps.v1",
            &commitment.0,
        )
        .and_then(|answer| check(&answer).map(|()| answer));
        match answer {
            Ok(answer) => {
                let mut branch = vec![APPEND, NONCE_BYTES as u8];
                branch.extend_from_slice(nonce);
                branch.push(SHA256);
                branch.extend_from_slice(&answer);
                branches.push(branch);
            }
            Err(why) => silent.push(format!("calendar {}: {why}", n + 1)),
        }
    }
    if branches.is_empty() {
        return Err(silent.join("; "));
    }
    Ok((file(sha256, &branches), silent))
}

/// The file of a hash with these branches, at least one.
fn file(sha256: &[u8; 32], branches: &[Vec<u8>]) -> Vec<u8> {
    let mut file = [MAGIC, &[VERSION, SHA256], sha256].concat();
    for (n, branch) in branches.iter().enumerate() {
        if n + 1 < branches.len() {
            file.push(MORE);
        }
        file.extend_from_slice(branch);
    }
    file
}

/// A calendar's answer is one whole timestamp.
fn check(answer: &[u8]) -> Result<(), String> {
    if answer.len() > ANSWER_BYTES_MAX {
        return Err(format!("its answer is larger than {ANSWER_BYTES_MAX} bytes"));
    }
    let mut walk = Walk::new(answer);
    match walk.timestamp(0) {
        Some(()) if walk.rest.is_empty() => Ok(()),
        _ => Err("its answer is no timestamp".to_owned()),
    }
}

/// What a file over this hash leads to.
///
/// # Errors
/// In words: malformed, or of another hash.
pub fn read(bytes: &[u8], sha256: &[u8; 32]) -> Result<Says, String> {
    const MALFORMED: &str = "it is no OpenTimestamps proof";
    let rest = bytes.strip_prefix(MAGIC).ok_or(MALFORMED)?;
    let rest = rest
        .strip_prefix(&[VERSION, SHA256])
        .ok_or("it is of a version or hash that is not known here")?;
    let (found, rest) = rest.split_first_chunk::<32>().ok_or(MALFORMED)?;
    if found != sha256 {
        return Err("it is over another hash".to_owned());
    }
    let mut walk = Walk::new(rest);
    walk.timestamp(0)
        .filter(|()| walk.rest.is_empty())
        .ok_or(MALFORMED)?;
    walk.blocks.sort_unstable();
    Ok(Says::Leads {
        blocks: walk.blocks,
        pending: walk.pending,
    })
}

struct Walk<'a> {
    rest: &'a [u8],
    blocks: Vec<u64>,
    pending: usize,
}

impl<'a> Walk<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self {
            rest,
            blocks: Vec::new(),
            pending: 0,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, bytes_max: usize) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?)
            .ok()
            .filter(|len| *len <= bytes_max)?;
        let (bytes, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(bytes)
    }

    fn timestamp(&mut self, depth: usize) -> Option<()> {
        if depth >= DEPTH_MAX {
            return None;
        }
        loop {
            let tag = self.byte()?;
            if tag == MORE {
                let tag = self.byte()?;
                self.item(tag, depth)?;
            } else {
                return self.item(tag, depth);
            }
        }
    }

    fn item(&mut self, tag: u8, depth: usize) -> Option<()> {
        match tag {
            ATTESTATION => {
                let (kind, rest) = self.rest.split_first_chunk::<8>()?;
                self.rest = rest;
                let payload = self.bytes(PAYLOAD_BYTES_MAX)?;
                match *kind {
                    PENDING => self.pending += 1,
                    BITCOIN => self.blocks.push(Walk::new(payload).number()?),
                    _ => {}
                }
                Some(())
            }
            APPEND | PREPEND => {
                self.bytes(ARGUMENT_BYTES_MAX)
                    .filter(|argument| !argument.is_empty())?;
                self.timestamp(depth + 1)
            }
            unary if UNARY.contains(&unary) => self.timestamp(depth + 1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A calendar's promise: append, hash, pending at an address.
    fn promise() -> Vec<u8> {
        let uri = b"https://calendar.example";
        let payload = [&[uri.len() as u8][..], uri].concat();
        [
            &[APPEND, 2, 1, 2, SHA256, ATTESTATION][..],
            &PENDING,
            &[payload.len() as u8],
            &payload,
        ]
        .concat()
    }

    #[test]
    fn a_file_with_two_calendars_is_read_back() {
        let branch = [&[APPEND, 16][..], &[5; 16], &[SHA256], &promise()].concat();
        let file = file(&[9; 32], &[branch.clone(), branch]);
        let says = read(&file, &[9; 32]);
        assert_eq!(
            says,
            Ok(Says::Leads {
                blocks: vec![],
                pending: 2
            })
        );
        assert!(read(&file, &[8; 32]).is_err_and(|why| why.contains("another hash")));
        for cut in 0..file.len() {
            assert!(read(&file[..cut], &[9; 32]).is_err(), "{cut}");
        }
    }

    #[test]
    fn what_is_no_timestamp_is_not_taken() {
        assert_eq!(check(&promise()), Ok(()));
        assert!(check(&[promise(), vec![0]].concat()).is_err());
        assert!(check(b"<html>").is_err());
        assert!(check(&[SHA256; 9_000]).is_err(), "deeper than any client follows");
        assert!(check(&vec![MORE; 10_001]).is_err());
        let block = [&[ATTESTATION][..], &BITCOIN, &[3, 0xa0, 0xc2, 0x1e]].concat();
        let file = [MAGIC, &[VERSION, SHA256], &[9; 32], &block].concat();
        let says = read(&file, &[9; 32]);
        assert_eq!(
            says,
            Ok(Says::Leads {
                blocks: vec![500_000],
                pending: 0
            })
        );
    }
}
