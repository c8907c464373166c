//! Notes against the specification's examples, against another implementation, and under attack.

use super::*;
use proptest::prelude::*;
use signed_note as oracle;

/// C2SP signed-note, "Example".
const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
const NOTE: &str = "This is an example message.\n\n— example.com/foo \
    Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
/// The documentation of Go's note package.
const GO_PRIVATE: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const GO_LINE: &str = "— PeterNeumann \
    x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn key(name: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(name, &[seed; 32]).expect("a valid name")
}

fn theirs(vkeys: &[&VerifierKey]) -> oracle::VerifierList {
    let verifier = |key: &&VerifierKey| -> Box<dyn oracle::Verifier> {
        Box::new(oracle::StandardVerifier::new(&key.to_string()).expect("our keys are theirs"))
    };
    oracle::VerifierList::new(vkeys.iter().map(verifier).collect())
}

#[test]
fn the_specifications_example_verifies() {
    let key = VerifierKey::parse(KEY).expect("the specification's own key");
    assert_eq!(key.to_string(), KEY);
    let note = Note::parse(NOTE.as_bytes()).expect("the specification's own note");
    assert_eq!(note.encode(), NOTE);
    assert_eq!(
        note.verify([&key]),
        Ok(vec![Verified {
            key: &key,
            timestamp_s: None
        }])
    );
}

#[test]
fn gos_private_key_signs_gos_note() {
    let key = SigningKey::parse(GO_PRIVATE).expect("Go's own key");
    assert_eq!(key.encode().as_str(), GO_PRIVATE);
    assert_eq!(key.verifier_key().to_string(), GO_KEY);
    let note = Note::sign(GO_TEXT, &[&key]).expect("a valid text");
    assert_eq!(note.encode(), format!("{GO_TEXT}\n{GO_LINE}"));
}

#[test]
fn a_text_may_have_empty_lines() {
    let signer = key("quasimodo.example/salvatore", 1);
    for text in ["\n", "\n\n", "one\n\ntwo\n", "one\n\n\n", "\n\n\n\n"] {
        let note = Note::sign(text, &[&signer]).expect("a valid text");
        let parsed = Note::parse(note.encode().as_bytes()).expect("it was written here");
        assert_eq!((parsed.text(), &parsed), (text, &note));
        assert!(parsed.verify([&signer.verifier_key()]).is_ok());
    }
}

#[test]
fn malformed_notes_are_refused() {
    let line = GO_LINE;
    for (what, note) in [
        ("nothing", String::new()),
        ("no signatures", format!("{GO_TEXT}\n")),
        ("no blank line", format!("{GO_TEXT}{line}")),
        ("no last newline", format!("{GO_TEXT}\n{}", line.trim_end())),
        ("no text", format!("\n{line}")),
        ("a tab", format!("a\tb\n\n{line}")),
        ("a carriage return", format!("a\r\n\n{line}")),
        ("a hyphen for a dash", format!("a\n\n{}", line.replace('—', "-"))),
        (
            "two spaces",
            format!("a\n\n{}", line.replace("PeterNeumann ", "PeterNeumann  ")),
        ),
        ("a third field", format!("a\n\n{}", line.replace('\n', " x\n"))),
        (
            "a plus in the name",
            format!("a\n\n{}", line.replace("Peter", "Peter+")),
        ),
        (
            "a wide space in the name",
            format!("a\n\n{}", line.replace("Peter", "Peter\u{2003}")),
        ),
        ("no name", format!("a\n\n{}", line.replace("PeterNeumann", ""))),
        ("bad base64", format!("a\n\n{}", line.replace("x08go", "x08g"))),
        ("stray bits", format!("a\n\n{}", line.replace("nAM=", "nAN="))),
        ("an id without signature", "a\n\n— n x08gow==\n".to_owned()),
        (
            "too many lines",
            format!("a\n\n{}", line.repeat(NOTE_SIGNATURES_MAX + 1)),
        ),
        ("too large", format!("{}\n\n{line}", "a".repeat(NOTE_BYTES_MAX))),
        (
            "a blank line between signatures, which moves the text's end",
            format!("a\n\n{line}\nx\n"),
        ),
    ] {
        assert!(Note::parse(note.as_bytes()).is_err(), "{what}");
    }
    assert_eq!(
        Note::parse(b"\xff\n\n\xe2\x80\x94 n x\n"),
        Err(NoteError::Characters)
    );
    assert!(Note::sign("no newline", &[]).is_err());
    assert!(Note::sign("control\u{1}\n", &[]).is_err());
}

#[test]
fn sixteen_lines_and_a_hundred_are_read() {
    for count in [16, NOTE_SIGNATURES_MAX] {
        let keys: Vec<SigningKey> = (0..count)
            .map(|i| key(&format!("key{i}.example"), i as u8))
            .collect();
        let signers: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
        let note = Note::sign("many\n", &signers).expect("within the limit");
        let parsed = Note::parse(note.encode().as_bytes()).expect("within the limit");
        let public: Vec<VerifierKey> = keys.iter().map(SigningKey::verifier_key).collect();
        assert_eq!(parsed.verify(&public).map(|verified| verified.len()), Ok(count));
    }
}

#[test]
fn unknown_keys_are_ignored_even_if_they_share_name_or_id() {
    let known = key("log.example", 1);
    let same_name = key("log.example", 2);
    let note = Note::sign("text\n", &[&same_name, &known]).expect("a valid text");
    assert_eq!(note.verify([&known.verifier_key()]).map(|v| v.len()), Ok(1));
    let mut same_id = NoteSignature::sign("text\n", &known).expect("a valid name");
    same_id.name = "other.example".to_owned();
    same_id.signature = vec![0; 64];
    let mut note = Note::sign("text\n", &[&known]).expect("a valid text");
    note.add(same_id).expect("within the limit");
    assert_eq!(note.verify([&known.verifier_key()]).map(|v| v.len()), Ok(1));
    assert_eq!(
        note.verify([&key("third.example", 3).verifier_key()]),
        Err(NoteError::Unsigned)
    );
    assert_eq!(note.verify([]), Err(NoteError::Unsigned));
}

#[test]
fn one_bad_line_of_a_known_key_condemns_the_note() {
    let (good, bad) = (key("good.example", 1), key("bad.example", 2));
    let keys = [good.verifier_key(), bad.verifier_key()];
    let mut note = Note::sign("text\n", &[&good]).expect("a valid text");
    note.add(NoteSignature::sign("other text\n", &bad).expect("a valid name"))
        .expect("within the limit");
    assert!(matches!(note.verify(&keys), Err(NoteError::Signature { name, .. }) if name == "bad.example"));
    // A good line of the same key before it does not hide it.
    note.signatures
        .insert(0, NoteSignature::sign("text\n", &bad).expect("a valid name"));
    assert!(matches!(note.verify(&keys), Err(NoteError::Signature { .. })));
}

#[test]
fn keys_that_collide_in_name_and_id_are_ambiguous() {
    let one = key("log.example", 1).verifier_key();
    let mut other = key("log.example", 2).verifier_key();
    other.set_id_for_tests(one.id());
    let note = Note::sign("text\n", &[&key("log.example", 1)]).expect("a valid text");
    assert!(matches!(
        note.verify([&one, &other]),
        Err(NoteError::Ambiguous { .. })
    ));
    assert_eq!(note.verify([&one, &one]).map(|v| v.len()), Ok(1));
}

#[test]
fn malformed_keys_are_refused() {
    let ml_dsa =
        VerifierKey::parse(&spelled("pq.example", 0x06, &[9; 1312])).expect("a key of the right length");
    assert!(ml_dsa.can_verify());
    let mut beyond = [0xff; 32];
    beyond[0] = 0xee;
    for (what, text) in [
        ("nothing", String::new()),
        ("two parts", "example.com/foo+530d903a".to_owned()),
        ("an upper-case id", KEY.replace("530d903a", "530D903A")),
        ("another id", KEY.replace("530d903a", "530d903b")),
        ("another name", KEY.replace("foo", "fop")),
        ("a space", KEY.replace("foo", "f o")),
        ("no name", KEY.replace("example.com/foo", "")),
        ("a newline", format!("{KEY}\n")),
        ("no padding needed but given", format!("{KEY}=")),
        ("a short key", spelled("a.example", 0x01, &[1; 31])),
        (
            "the identity",
            spelled("a.example", 0x01, &[&[1u8][..], &[0; 31]].concat()),
        ),
        ("a point of small order", spelled("a.example", 0x04, &[0; 32])),
        ("a second encoding", spelled("a.example", 0x01, &beyond)),
        ("a type of ECDSA", spelled("a.example", 0x02, &[1; 32])),
        ("an unknown type", spelled("a.example", 0xff, &[1; 32])),
        ("a short ML-DSA key", spelled("a.example", 0x06, &[1; 1311])),
        ("no key at all", "a.example+00000000+".to_owned()),
    ] {
        assert!(VerifierKey::parse(&text).is_err(), "{what}: {text}");
    }
    for (what, text) in [
        ("a public key", GO_KEY.to_owned()),
        ("another id", GO_PRIVATE.replace("c74f20a3", "c74f20a4")),
        ("a short seed", "PRIVATE+KEY+a+00000000+AQE=".to_owned()),
        ("another type", GO_PRIVATE.replace("+AY", "+BI")),
        ("a newline", format!("{GO_PRIVATE}\n")),
        ("a bad name", GO_PRIVATE.replace("Peter", "Peter ")),
    ] {
        assert!(SigningKey::parse(&text).is_err(), "{what}");
    }
}

fn spelled(name: &str, key_type: u8, public: &[u8]) -> String {
    let id = KeyId::of(name, key_type, public);
    format!("{name}+{id}+{}", text::base64(&[&[key_type], public].concat()))
}

#[test]
fn a_private_key_is_not_printed() {
    let key = key("log.example", 5);
    let secret = key.encode();
    assert!(!format!("{key:?}").contains(secret.rsplit('+').next().expect("it has parts")));
    let error = SigningKey::parse(&secret.replace("PRIVATE", "PRIVATF")).expect_err("mistyped");
    assert!(!error.to_string().contains(&secret[30..]));
}

#[test]
fn the_oracle_opens_our_notes_and_we_open_its() {
    let ours = key("log.example/with-ümlaut", 9);
    let text = "text\n\nwith ünicode\n";
    let note = Note::sign(text, &[&ours]).expect("a valid text");
    let read = oracle::Note::from_bytes(note.encode().as_bytes()).expect("a valid note");
    assert!(read.verify(&theirs(&[&ours.verifier_key()])).is_ok());
    let signer = oracle::StandardSigner::new(&ours.encode()).expect("our keys are theirs");
    let mut signed = oracle::Note::new(text.as_bytes(), &[]).expect("a valid text");
    signed.add_sigs(&[&signer]).expect("a valid name");
    assert_eq!(signed.to_bytes(), note.encode().into_bytes());
}

#[test]
fn one_flipped_bit_breaks_a_note() {
    let key = VerifierKey::parse(KEY).expect("the specification's own key");
    for bit in 0..8 * NOTE.len() {
        let mut bytes = NOTE.as_bytes().to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let verified = Note::parse(&bytes).and_then(|note| note.verify([&key]).map(|v| v.len()));
        assert!(verified.is_err(), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn what_is_read_is_written_back_the_same_and_the_oracle_reads_it_too(bytes in noteish()) {
        let oracle = oracle::Note::from_bytes(&bytes);
        match Note::parse(&bytes) {
            Ok(note) => {
                prop_assert_eq!(note.encode().into_bytes(), bytes.clone());
                prop_assert_eq!(oracle.map(|o| o.to_bytes()).ok(), Some(bytes));
            }
            Err(error) => prop_assert!(oracle.is_err(), "{error} {:?}", String::from_utf8_lossy(&bytes)),
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Note::parse(&bytes);
        let text = String::from_utf8_lossy(&bytes);
        let _ = VerifierKey::parse(&text);
        let _ = SigningKey::parse(&text);
        let _ = parse_signatures(&text);
    }

    #[test]
    fn keyish_text_does_no_harm(text in "(PRIVATE\\+KEY\\+)?[a-z+]{0,5}\\+[0-9a-f]{7,9}\\+[A-Za-z0-9+/=]{0,50}") {
        if let Ok(key) = VerifierKey::parse(&text) {
            prop_assert_eq!(key.to_string(), &*text);
        }
        if let Ok(key) = SigningKey::parse(&text) {
            prop_assert!(*key.encode() == text);
        }
    }
}

/// Notes with a mistake or two.
fn noteish() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(GO_LINE.to_owned()),
        2 => Just("\n".to_owned()),
        2 => Just("text\n".to_owned()),
        1 => Just("— a AAAAAAE=\n".to_owned()),
        1 => Just("— \n".to_owned()),
        1 => Just("—".to_owned()),
        1 => "[ -~\u{0}-\u{20}]{0,6}",
        1 => "\\PC{0,4}",
    ];
    proptest::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat().into_bytes())
}
