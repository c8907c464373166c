//! Time stamps beside a head, by authorities made with `openssl`: honest ones whose certificates or methods are odd, and
//! forged ones that choose a method which nobody here looks at.

use crate::{Auditor, Ran, daybook_verify};
use chain_publisher::anchor::authority::{Signed, certificates, check};
use chain_publisher::anchor::rfc3161;
use domain::Timestamp;
use domain::tlog_proof::TlogProof;
use std::path::Path;
use std::process::{Command, Stdio};

/// What an authority promises by a stamp that its certificate signed.
const BOUND: &str = "so its entries were written before";
/// Hexadecimal, with tag and length: SHA-256, SHA3-256, `rsaEncryption`, and an identifier that nobody uses.
const SHA256: &str = "0609608648016503040201";
const SHA3_256: &str = "0609608648016503040208";
const RSA: &str = "06092a864886f70d010101";
const NOBODYS: &str = "06092b0601040182370101";

const CONFIG: &str = "[tsa]\nserial = serial\nsigner_cert = tsa.pem\nsigner_key = tsa.key\ncerts = certs.pem\n\
    default_policy = 1.2.3.4.1\ndigests = sha256\ness_cert_id_alg = sha256\n\
    [stamps]\nextendedKeyUsage = critical,timeStamping\n\
    [authority]\nbasicConstraints = critical,CA:true\nkeyUsage = critical,keyCertSign\n\
    [both]\nbasicConstraints = critical,CA:true\nextendedKeyUsage = critical,timeStamping\n\
    [plain]\nbasicConstraints = CA:false\n\
    [req]\ndistinguished_name = name\n[name]\n";

/// An authority: `ca` vouches for `between`, that for `tsa`, which signs stamps.
struct Authority(tempfile::TempDir);

impl Authority {
    /// Keys of the authority and of the signer, as `openssl req -newkey` takes them.
    fn new(ca: &str, tsa: &str) -> Self {
        let made = Self(tempfile::tempdir().expect("a scratch directory"));
        made.write("tsa.cnf", CONFIG.as_bytes());
        made.write("serial", b"01\n");
        made.root("ca", ca, "authority");
        made.issue("between", "rsa:2048", "ca", "authority");
        made.issue("tsa", tsa, "between", "stamps");
        made.write("certs.pem", &made.read("between.pem"));
        made
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).expect("readable")
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("writable");
    }

    fn openssl(&self, args: &str) {
        let output = Command::new("openssl")
            .args(args.split(' '))
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .output()
            .expect("openssl runs");
        assert!(
            output.status.success(),
            "{args}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    fn root(&self, name: &str, key: &str, usage: &str) {
        self.openssl(&format!(
            "req -x509 -config tsa.cnf -extensions {usage} -newkey {key} -nodes -keyout {name}.key -out {name}.pem \
             -days 36500 -subj /CN={name}"
        ));
    }

    fn issue(&self, name: &str, key: &str, by: &str, usage: &str) {
        self.openssl(&format!(
            "req -config tsa.cnf -newkey {key} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {by}.pem -CAkey {by}.key -CAcreateserial -days 36500 -extfile tsa.cnf \
             -extensions {usage} -out {name}.pem"
        ));
    }

    /// A stamp over that hash, whose signature is over this hash function's.
    fn stamp(&self, sha256: &[u8; 32], digest: &str) -> Vec<u8> {
        self.write("q.tsq", &rfc3161::request(sha256));
        self.openssl(&format!(
            "ts -reply -config tsa.cnf -section tsa -{digest} -queryfile q.tsq -out q.tsr"
        ));
        self.read("q.tsr")
    }

    /// What the last stamp states, signed by that certificate's key, whatever the certificate is for.
    fn signed_by(&self, name: &str) -> Vec<u8> {
        self.openssl("ts -reply -in q.tsr -token_out -out token");
        self.openssl("cms -verify -noverify -inform DER -in token -out stated");
        self.openssl(&format!(
            "cms -sign -binary -nodetach -nosmimecap -md sha256 -econtent_type 1.2.840.113549.1.9.16.1.4 -in stated \
             -signer {name}.pem -inkey {name}.key -outform DER -out forged"
        ));
        let body = [&[0x30, 3, 2, 1, 0][..], &self.read("forged")].concat();
        let length = u16::try_from(body.len()).expect("a short one");
        [&[0x30, 0x82][..], &length.to_be_bytes(), &body].concat()
    }

    fn given(&self, name: &str) -> Vec<Vec<u8>> {
        certificates(&self.read(name)).expect("a certificate")
    }
}

/// An auditor of a head that is confirmed but for its stamp.
struct Desk {
    auditor: Auditor,
    head: String,
    kept: String,
    hash: [u8; 32],
}

impl Desk {
    fn new() -> Self {
        let auditor = Auditor::with_days(1);
        let bytes = auditor.ledger.head(0);
        let proof = TlogProof::parse(&bytes).expect("a head");
        Self {
            head: auditor.keep_head(0),
            kept: auditor.keep("kept-elsewhere", &bytes),
            hash: proof.checkpoint.body_sha256().0,
            auditor,
        }
    }

    /// What is said of the head with that stamp beside it, where this file's authority is given.
    fn says(&self, stamp: &[u8], given: &Path) -> Ran {
        let beside = Path::new(&self.head).with_extension("tsr");
        std::fs::write(beside, stamp).expect("writable");
        let (key, given) = (&self.auditor.key, given.to_str().expect("a path of ours"));
        daybook_verify(&[
            "head", &self.head, "--key", key, "--head", &self.kept, "--tsa", given,
        ])
    }

    fn confirms(&self, stamp: &[u8], given: &Path) {
        self.says(stamp, given)
            .ends(0, &["VERIFIED: ", "signed by an authority that was given", BOUND]);
    }

    /// Honest, perhaps; not TAMPERED, and no confirmation.
    fn cannot_tell(&self, stamp: &[u8], given: &Path) {
        let words = "UNANCHORED: the head of 2026-05-17 holds, but the authority that was given confirms no time stamp of ";
        let ran = self
            .says(stamp, given)
            .ends(3, &[words, "not looked at here", "openssl ts -verify"]);
        assert!(
            ran.out.starts_with(words) && !ran.out.contains(BOUND),
            "{}",
            ran.out
        );
    }

    fn refuses(&self, stamp: &[u8], given: &Path, why: &str) {
        let ran = self.says(stamp, given).ends(1, &["TAMPERED", why]);
        assert!(!ran.out.contains(BOUND), "{}", ran.out);
    }
}

/// The last place of these bytes becomes others.
fn swapped(stamp: &[u8], from: &str, to: &str) -> Vec<u8> {
    let bytes = |text: &str| -> Vec<u8> {
        let pairs = text.as_bytes().chunks(2);
        pairs
            .map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16).expect("hexadecimal")
            })
            .collect()
    };
    let (from, to) = (bytes(from), bytes(to));
    let at = stamp
        .windows(from.len())
        .rposition(|part| part == from)
        .expect("it is there");
    let mut swapped = stamp.to_vec();
    swapped[at..at + to.len()].copy_from_slice(&to);
    swapped
}

#[test]
fn authorities_between_need_not_say_that_they_vouch_for_time_stamps_and_the_signer_must() {
    let (desk, ours, theirs) = (
        Desk::new(),
        Authority::new("rsa:2048", "rsa:2048"),
        Authority::new("rsa:2048", "rsa:2048"),
    );
    // As good a certificate of the same authority, for something else; before what it is to have signed.
    ours.issue("plain", "rsa:2048", "between", "plain");
    let stamp = ours.stamp(&desk.hash, "sha256");
    for given in ["ca.pem", "between.pem", "tsa.pem"] {
        desk.confirms(&stamp, &ours.path(given));
    }
    desk.refuses(
        &stamp,
        &theirs.path("ca.pem"),
        "not by an authority that was given",
    );
    let forged = ours.signed_by("plain");
    for given in ["ca.pem", "plain.pem"] {
        desk.refuses(&forged, &ours.path(given), "is not for time stamping");
    }
    // Also one that is named outright has its time.
    let given = ours.given("tsa.pem");
    let at = |text: &str| Timestamp::parse_canonical(text.as_bytes()).expect("a time");
    let now = rfc3161::read(&stamp, &desk.hash).expect("a time");
    assert_eq!(check(&stamp, now, &given), Ok(Signed::ByAuthority));
    for other in ["2001-01-01T00:00:00.000000Z", "2999-01-01T00:00:00.000000Z"] {
        let said = check(&stamp, at(other), &given);
        assert!(
            said.is_err_and(|why| why.contains("not valid at the time")),
            "{other}"
        );
    }
}

#[test]
fn an_honest_stamp_by_a_method_that_is_not_looked_at_is_not_called_forged_and_confirms_nothing() {
    let (desk, theirs) = (Desk::new(), Authority::new("rsa:2048", "rsa:2048"));
    let curve = "ec -pkeyopt ec_paramgen_curve:P-521";
    for (ca, tsa, digest) in [
        ("rsa:2048", "rsa:2048", "sha1"),
        ("rsa:2048", curve, "sha256"),
        ("rsa:2048", curve, "sha512"),
        (curve, "rsa:2048", "sha256"),
    ] {
        let ours = Authority::new(ca, tsa);
        let stamp = ours.stamp(&desk.hash, digest);
        desk.cannot_tell(&stamp, &ours.path("ca.pem"));
        desk.refuses(
            &stamp,
            &theirs.path("ca.pem"),
            "not by an authority that was given",
        );
        if ca != curve {
            desk.cannot_tell(&stamp, &ours.path("tsa.pem"));
        }
    }
}

#[test]
fn a_method_that_is_not_looked_at_excuses_no_stamp_of_somebody_else() {
    let (desk, ours, theirs) = (
        Desk::new(),
        Authority::new("rsa:2048", "rsa:2048"),
        Authority::new("rsa:2048", "rsa:2048"),
    );
    // Made by nobody but its maker, and marked as an authority; before what it is to have signed.
    theirs.root("own", "rsa:2048", "both");
    let stamp = theirs.stamp(&desk.hash, "sha256");
    let ca = ours.path("ca.pem");
    let not_given = "not by an authority that was given";
    desk.refuses(&swapped(&stamp, SHA256, SHA3_256), &ca, not_given);
    desk.refuses(&swapped(&stamp, RSA, NOBODYS), &ca, "signature does not hold");
    desk.refuses(&theirs.signed_by("own"), &ca, not_given);
    // Named as the given one, by a key and a method of the forger's.
    theirs.root("ca", "ec -pkeyopt ec_paramgen_curve:P-521", "authority");
    theirs.issue("tsa", "rsa:2048", "ca", "stamps");
    theirs.write("certs.pem", &theirs.read("ca.pem"));
    desk.refuses(&theirs.stamp(&desk.hash, "sha256"), &ca, not_given);
    // The given authority's own signer cannot have signed by a method that is not one of its key.
    let stamp = ours.stamp(&desk.hash, "sha256");
    desk.refuses(&swapped(&stamp, RSA, NOBODYS), &ca, "signature does not hold");
    // By one that it can, nobody here can tell: it confirms nothing.
    desk.cannot_tell(&swapped(&stamp, SHA256, SHA3_256), &ca);
}
