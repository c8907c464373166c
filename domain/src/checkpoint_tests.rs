//! Checkpoints against the specification's example, another implementation, and mistakes.

use super::*;
use crate::note::SigningKey;
use proptest::prelude::*;

/// C2SP tlog-checkpoint, the text of its example.
const TEXT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

fn log_key(name: &str) -> SigningKey {
    SigningKey::from_seed(name, &[3; 32]).expect("a valid name")
}

#[test]
fn the_specifications_example_is_read() {
    let note = format!(
        "{TEXT}\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9\
         nTo+zyWE+xeMcTOAYQ8=\n"
    );
    let signed = SignedCheckpoint::parse(note.as_bytes()).expect("the specification's own checkpoint");
    let checkpoint = signed.checkpoint();
    assert_eq!(
        (checkpoint.origin(), checkpoint.size()),
        ("example.com/behind-the-sofa", TreeSize(20_852_163))
    );
    assert_eq!(
        checkpoint.root().to_base64(),
        "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    );
    assert_eq!((signed.encode(), checkpoint.text()), (note, TEXT.to_owned()));
    assert_eq!(signed.body_sha256(), sha256(TEXT.as_bytes()));
}

#[test]
fn extension_lines_are_kept_and_signed() {
    let text = format!("{TEXT}ext one\next two\n");
    let checkpoint = Checkpoint::parse(&text).expect("three lines and two more");
    assert_eq!(checkpoint.extensions(), ["ext one", "ext two"]);
    assert_eq!(checkpoint.text(), text);
}

#[test]
fn malformed_checkpoints_are_refused() {
    for (what, text) in [
        ("nothing", String::new()),
        (
            "two lines",
            TEXT.lines().take(2).map(|line| format!("{line}\n")).collect(),
        ),
        ("no last newline", TEXT.trim_end().to_owned()),
        ("an empty origin", TEXT.replace("example.com/behind-the-sofa", "")),
        ("an empty extension line", format!("{TEXT}\n")),
        ("an empty line between extension lines", format!("{TEXT}a\n\nb\n")),
        ("a leading zero", TEXT.replace("20852163", "020852163")),
        ("a sign", TEXT.replace("20852163", "+20852163")),
        ("a negative size", TEXT.replace("20852163", "-1")),
        (
            "a size beyond 2^63 - 1",
            TEXT.replace("20852163", "9223372036854775808"),
        ),
        ("a short root", TEXT.replace("q2I=", "")),
        ("a root with stray bits", TEXT.replace("q2I=", "q2J=")),
        ("a root in base64url", TEXT.replace('/', "_")),
        ("an empty log with a root", TEXT.replace("20852163", "0")),
    ] {
        assert!(Checkpoint::parse(&text).is_err(), "{what}");
    }
    assert!(Checkpoint::parse(&TEXT.replace("20852163", "9223372036854775807")).is_ok());
    assert!(Checkpoint::new("o", TreeSize(0), Hash::empty_root()).is_ok());
    assert!(Checkpoint::new("", TreeSize(0), Hash::empty_root()).is_err());
    assert!(Checkpoint::new("two\nlines", TreeSize(1), Hash::default()).is_err());
}

#[test]
fn only_the_logs_own_key_proves_the_log() {
    let checkpoint = Checkpoint::parse(TEXT).expect("valid");
    let (log, other) = (
        log_key("example.com/behind-the-sofa"),
        log_key("elsewhere.example"),
    );
    let keys = [log.verifier_key(), other.verifier_key()];
    let origin = "example.com/behind-the-sofa";
    let signed = SignedCheckpoint::sign(checkpoint.clone(), &[&log, &other]).expect("valid");
    assert_eq!(signed.verify(origin, &keys).map(|v| v.len()), Ok(1));
    assert!(matches!(
        signed.verify("elsewhere.example", &keys),
        Err(CheckpointError::Origin { .. })
    ));
    let elsewhere = SignedCheckpoint::sign(checkpoint, &[&other]).expect("valid");
    assert_eq!(elsewhere.verify(origin, &keys), Err(NoteError::Unsigned.into()));
}

#[test]
fn origins_of_ours_are_scheme_less() {
    assert!(is_origin("daybook.example.eu/main"));
    let too_long = "a".repeat(256);
    for bad in [
        "",
        "https://daybook.example.eu/main",
        "a b",
        "a+b",
        "a\nb",
        &too_long,
    ] {
        assert!(!is_origin(bad), "{bad}");
    }
}

#[test]
fn one_flipped_bit_breaks_a_signed_checkpoint() {
    let log = log_key("example.com/behind-the-sofa");
    let signed = SignedCheckpoint::sign(Checkpoint::parse(TEXT).expect("valid"), &[&log]).expect("valid");
    let keys = [log.verifier_key()];
    for bit in 0..8 * signed.encode().len() {
        let mut bytes = signed.encode().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let read = SignedCheckpoint::parse(&bytes);
        let verified = read.and_then(|c| c.verify("example.com/behind-the-sofa", &keys).map(|v| v.len()));
        assert!(verified.is_err(), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn checkpoints_are_those_of_the_oracle(origin in "[a-z./]{1,20}", size in 1..=TreeSize::MAX.0, root: [u8; 32]) {
        let ours = Checkpoint::new(&origin, TreeSize(size), Hash(root)).expect("valid");
        let theirs = tlog_tiles::Checkpoint::new(&origin, size, tlog_tiles::Hash(root), "").expect("valid");
        prop_assert_eq!(ours.text().into_bytes(), theirs.to_bytes());
        prop_assert_eq!(Checkpoint::parse(&ours.text()), Ok(ours));
    }

    #[test]
    fn what_is_read_is_written_back_the_same(text in "[a-z ]{0,3}\n?[0-9]{0,3}\n(AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=)?\n{0,2}([a-z]{0,2}\n){0,3}") {
        if let Ok(checkpoint) = Checkpoint::parse(&text) {
            prop_assert_eq!(checkpoint.text(), text);
        }
    }

    #[test]
    fn arbitrary_text_does_no_harm(text in "\\PC{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Checkpoint::parse(&text);
        let _ = SignedCheckpoint::parse(&bytes);
    }
}
