//! Policies: the specification's example, its rules one by one, and quorums against checkpoints.

use super::*;
use crate::checkpoint::Checkpoint;
use crate::cosignature::CosigningKey;
use crate::hash::Hash;
use crate::note::{KeyError, Note, SigningKey};
use crate::position::TreeSize;
use crate::text;
use proptest::prelude::*;

const ORIGIN: &str = "log.example/one";

fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).expect("a valid name")
}

fn witness_key(i: u8) -> CosigningKey {
    CosigningKey::from_seed(&format!("witness{i}.example"), &[100 + i; 32]).expect("a valid name")
}

fn vkey(i: u8) -> VerifierKey {
    witness_key(i).verifier_key()
}

/// The specification's example, with keys.
fn example() -> String {
    format!(
        "log {}\n\n# of one organisation\nwitness X1 {}\nwitness X2 {}\n \twitness\tX3  {} https://x3.example/ \n\
         group X-witnesses 2 X1 X2 X3\n\n  # of another\nwitness Y1 {}\nwitness Y2 {}\nwitness Y3 {}\n\
         group Y-witnesses any Y1 Y2 Y3\n\ngroup X-and-Y all X-witnesses Y-witnesses\nquorum X-and-Y\n",
        log_key().verifier_key(),
        vkey(1),
        vkey(2),
        vkey(3),
        vkey(4),
        vkey(5),
        vkey(6)
    )
}

fn signed(cosigners: &[u8]) -> SignedCheckpoint {
    let checkpoint = Checkpoint::new(ORIGIN, TreeSize(7), Hash([9; 32])).expect("valid");
    let mut signed = SignedCheckpoint::sign(checkpoint, &[&log_key()]).expect("valid");
    for i in cosigners {
        let key = witness_key(*i);
        let line =
            Note::sign(signed.note().text(), &[&key.at(1_700_000_000 + u64::from(*i))]).expect("valid");
        signed
            .note_mut()
            .add(line.signatures()[0].clone())
            .expect("within the limit");
    }
    signed
}

#[test]
fn the_specifications_example_counts_as_it_says() {
    let policy = Policy::parse(example().as_bytes()).expect("the specification's own policy");
    assert_eq!((policy.logs().len(), policy.witnesses().len()), (1, 6));
    assert_eq!(
        policy.witnesses()[2].url.as_deref(),
        Some(&b"https://x3.example/"[..])
    );
    for (cosigners, met) in [
        (&[][..], false),
        (&[1, 2], false),
        (&[1, 4], false),
        (&[4, 5, 6], false),
        (&[1, 2, 4], true),
        (&[1, 3, 6], true),
        (&[1, 2, 3, 4, 5, 6], true),
    ] {
        let signed = signed(cosigners);
        let examined = policy.examine(&signed).expect("the log signed it");
        assert_eq!(examined.quorum == Quorum::Met, met, "{cosigners:?}");
        assert_eq!(examined.cosigners().count(), cosigners.len());
        assert_eq!(policy.accept(&signed).is_ok(), met);
    }
    let signed = signed(&[1]);
    let examined = policy.examine(&signed).expect("the log signed it");
    assert_eq!(examined.witnessed[0].timestamp_s, Some(1_700_000_001));
}

#[test]
fn a_witness_counts_once_however_often_it_signs() {
    let text = format!(
        "witness A {}\nwitness B {}\ngroup G 2 A B\nquorum G\n",
        vkey(1),
        vkey(2)
    );
    let policy = Policy::parse(text.as_bytes()).expect("valid");
    let mut twice = signed(&[1]);
    let line = Note::sign(twice.note().text(), &[&witness_key(1).at(5)]).expect("valid");
    twice
        .note_mut()
        .add(line.signatures()[0].clone())
        .expect("within the limit");
    let keys = [log_key().verifier_key()];
    let examined = policy.examine_with(&twice, &keys).expect("the log signed it");
    assert_eq!((examined.quorum, examined.witnessed.len()), (Quorum::Missed, 2));
    assert_eq!(examined.cosigners().count(), 1);
}

#[test]
fn without_an_accepted_log_no_witness_helps() {
    let policy = Policy::parse(example().as_bytes()).expect("valid");
    let other = SigningKey::from_seed(ORIGIN, &[2; 32]).expect("a valid name");
    let checkpoint = signed(&[]).checkpoint().clone();
    let mut forged = SignedCheckpoint::sign(checkpoint, &[&other]).expect("valid");
    for line in &signed(&[1, 2, 3, 4]).note().signatures()[1..] {
        forged.note_mut().add(line.clone()).expect("within the limit");
    }
    assert!(matches!(policy.accept(&forged), Err(RefusedError::Checkpoint(_))));
    // The key of one log does not speak for another.
    let elsewhere = Checkpoint::new("log.example/two", TreeSize(7), Hash([9; 32])).expect("valid");
    let elsewhere = SignedCheckpoint::sign(elsewhere, &[&log_key()]).expect("valid");
    assert!(matches!(
        policy.accept(&elsewhere),
        Err(RefusedError::Checkpoint(_))
    ));
}

#[test]
fn a_bad_line_of_a_known_witness_condemns_even_where_none_is_required() {
    let text = format!(
        "log {}\nwitness A {}\nquorum none\n",
        log_key().verifier_key(),
        vkey(1)
    );
    let policy = Policy::parse(text.as_bytes()).expect("valid");
    let other = Checkpoint::new(ORIGIN, TreeSize(8), Hash([9; 32])).expect("valid");
    let line = Note::sign(&other.text(), &[&witness_key(1).at(5)]).expect("valid");
    let mut bad = signed(&[]);
    assert_eq!(policy.accept(&bad).map(|e| e.quorum), Ok(Quorum::NotRequired));
    bad.note_mut()
        .add(line.signatures()[0].clone())
        .expect("within the limit");
    assert!(policy.accept(&bad).is_err());
}

#[test]
fn a_post_quantum_witness_counts_and_a_forged_line_of_it_condemns() {
    let witness = crate::pq::MlDsaKey::from_seed("pq.example", &[8; 32]).expect("a name");
    let text = format!("witness PQ {}\nquorum PQ\n", witness.verifier_key());
    let policy = Policy::parse(text.as_bytes()).expect("valid");
    let keys = [log_key().verifier_key()];
    let bare = signed(&[]);
    let mut good = bare.clone();
    let line = crate::note::NoteSignature::sign(good.note().text(), &witness).expect("a line");
    good.note_mut().add(line).expect("within the limit");
    let examined = policy.examine_with(&good, &keys).expect("the log signed it");
    assert_eq!((examined.quorum, examined.unchecked.len()), (Quorum::Met, 0));
    let id = witness.verifier_key().id();
    let forged = text::base64(&[&id.0.to_be_bytes()[..], &[0; 2428]].concat());
    let forged = crate::note::parse_signatures(&format!("— pq.example {forged}\n"));
    let mut bad = bare;
    bad.note_mut()
        .add(forged.expect("a line").remove(0))
        .expect("within the limit");
    assert!(policy.examine_with(&bad, &keys).is_err());
}

#[test]
fn every_rule_of_the_format_is_kept() {
    let (log, w1, w2) = (log_key().verifier_key(), vkey(1), vkey(2));
    let same_key = CosigningKey::from_seed("else.example", &[101; 32])
        .expect("a valid name")
        .verifier_key();
    let same_log = SigningKey::from_seed("else.example", &[1; 32])
        .expect("a valid name")
        .verifier_key();
    let a = format!("witness A {w1}\nwitness B {w2}\n");
    for (what, error, text) in [
        ("nothing", PolicyError::NoQuorum, String::new()),
        ("no quorum", PolicyError::NoQuorum, a.clone()),
        ("no newline", PolicyError::Unterminated, "quorum none".into()),
        (
            "a carriage return",
            PolicyError::Characters,
            "quorum none\r\n".into(),
        ),
        (
            "a delete",
            PolicyError::Characters,
            "# \u{7f}\nquorum none\n".into(),
        ),
        (
            "another keyword",
            line(1, LineError::Form),
            "witnes A\nquorum none\n".into(),
        ),
        (
            "an upper-case keyword",
            line(1, LineError::Form),
            "Quorum none\n".into(),
        ),
        ("no key", line(1, LineError::Form), "log\nquorum none\n".into()),
        (
            "a word too many",
            line(1, LineError::Form),
            format!("log {log} url more\nquorum none\n"),
        ),
        (
            "two quorums",
            line(2, LineError::SecondQuorum),
            "quorum none\nquorum none\n".into(),
        ),
        (
            "a quorum of two",
            line(3, LineError::Form),
            format!("{a}quorum A B\n"),
        ),
        (
            "an unknown quorum",
            line(1, LineError::Unknown),
            "quorum A\n".into(),
        ),
        (
            "a quorum defined later",
            line(1, LineError::Unknown),
            format!("quorum A\n{a}"),
        ),
        (
            "a name twice",
            line(2, LineError::Name),
            format!("witness A {w1}\nwitness A {w2}\nquorum A\n"),
        ),
        (
            "a group named as a witness",
            line(3, LineError::Name),
            format!("{a}group A any B\nquorum A\n"),
        ),
        (
            "a group in itself",
            line(3, LineError::Unknown),
            format!("{a}group G any G\nquorum G\n"),
        ),
        (
            "the name none",
            line(1, LineError::Name),
            format!("witness none {w1}\nquorum none\n"),
        ),
        (
            "none as a member",
            line(3, LineError::Unknown),
            format!("{a}group G any A none\nquorum G\n"),
        ),
        (
            "a member twice",
            line(3, LineError::SecondMembership),
            format!("{a}group G any A A\nquorum G\n"),
        ),
        (
            "a member of two groups",
            line(4, LineError::SecondMembership),
            format!("{a}group G any A\ngroup H any A B\nquorum H\n"),
        ),
        (
            "a threshold of none",
            line(3, LineError::Threshold),
            format!("{a}group G 0 A B\nquorum G\n"),
        ),
        (
            "a threshold too high",
            line(3, LineError::Threshold),
            format!("{a}group G 3 A B\nquorum G\n"),
        ),
        (
            "a leading zero",
            line(3, LineError::Form),
            format!("{a}group G 01 A B\nquorum G\n"),
        ),
        (
            "no members",
            line(3, LineError::Form),
            format!("{a}group G all\nquorum G\n"),
        ),
        (
            "a key twice",
            line(2, LineError::DuplicateKey),
            format!("witness A {w1}\nwitness B {same_key}\nquorum A\n"),
        ),
        (
            "a log twice",
            line(2, LineError::DuplicateKey),
            format!("log {log}\nlog {same_log}\nquorum none\n"),
        ),
        (
            "a log's key for a witness",
            line(1, LineError::Key(KeyError::Type(1))),
            format!("witness A {log}\nquorum A\n"),
        ),
        (
            "a mistyped key",
            line(1, LineError::Key(KeyError::Malformed)),
            "log a+b\nquorum none\n".into(),
        ),
        (
            "a key that is not UTF-8",
            line(1, LineError::Key(KeyError::Name)),
            "log +00000000+AQ==\nquorum none\n".into(),
        ),
    ] {
        assert_eq!(Policy::parse(text.as_bytes()).err(), Some(error), "{what}");
    }
    let octets = [
        b"witness \xff\xfe ",
        w1.to_string().as_bytes(),
        b"\nquorum \xff\xfe\n",
    ]
    .concat();
    assert!(Policy::parse(&octets).is_ok(), "names are octets");
    let log_last = format!("{a}group G 2 A B\nquorum G\nlog {log}\n");
    assert!(
        Policy::parse(log_last.as_bytes()).is_ok(),
        "logs and witnesses come in any order"
    );
}

fn line(line: usize, error: LineError) -> PolicyError {
    PolicyError::Line { line, error }
}

#[test]
fn thirty_two_of_each_are_read_and_the_limit_is_said() {
    let policy = |n: usize| {
        let witness = |i: usize| {
            let seed = std::array::from_fn(|b| if b < 2 { (i >> (8 * b)) as u8 } else { 42 });
            let key = CosigningKey::from_seed("w.example", &seed).expect("a valid name");
            format!("witness W{i} {}\ngroup G{i} any W{i}\n", key.verifier_key())
        };
        Policy::parse(((0..n).map(witness).collect::<String>() + "quorum G0\n").as_bytes())
    };
    assert!(policy(32).is_ok());
    assert!(policy(POLICY_ITEMS_MAX).is_ok());
    let error = policy(POLICY_ITEMS_MAX + 1).err();
    assert_eq!(error, Some(line(2 * POLICY_ITEMS_MAX + 1, LineError::TooMany)));
}

#[test]
fn the_policy_of_one_log_is_read_back() {
    let policy = Policy::parse(Policy::text_of_log(&log_key().verifier_key()).as_bytes()).expect("valid");
    assert!(!policy.requires_witnesses());
    assert_eq!(
        policy.accept(&signed(&[])).map(|e| e.quorum),
        Ok(Quorum::NotRequired)
    );
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Policy::parse(&bytes);
    }

    #[test]
    fn arbitrary_words_do_no_harm(lines in proptest::collection::vec("(log|witness|group|quorum|#|) ?(A|B|any|all|2|none)?[ \t](A|B|C|any|\\PC)*", 0..8)) {
        let _ = Policy::parse((lines.join("\n") + "\n").as_bytes());
    }
}
