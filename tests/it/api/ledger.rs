//! The ledger over HTTP: checkpoint, tiles, bundles, entries, proofs, heads, checked with `domain` alone.
//!
//! Not here: following it (`stream`).

use domain::checkpoint::SignedCheckpoint;
use domain::entry::Entry;
use domain::hash::leaf_hash;
use domain::note::VerifierKey;
use domain::proof::{verify_consistency, verify_inclusion};
use domain::tile::parse_bundle;
use domain::tlog_proof::TlogProof;
use domain::{Hash, Position, TreeSize};
use serde_json::Value;
use tests::daybook::Daybook;

fn furnished() -> Daybook {
    let daybook = Daybook::with().set("rate_per_minute", 0).start();
    let (_, _, token) = daybook.device("hut01");
    for n in 0..20 {
        daybook.send(&token, "hut01", None, f64::from(n)).expect(200);
    }
    daybook
}

fn log_key(daybook: &Daybook) -> VerifierKey {
    let (code, keys, _) = daybook.cli(&["key", "show"]);
    assert_eq!(code, 0);
    VerifierKey::parse(keys.lines().next().expect("a key")).expect("a key")
}

fn checkpoint(daybook: &Daybook) -> SignedCheckpoint {
    let note = daybook.call("GET", "/log/checkpoint").send();
    assert_eq!(note.status, 200);
    let signed = SignedCheckpoint::parse(&note.body).expect("a checkpoint");
    let origin = signed.checkpoint().origin().to_owned();
    signed
        .verify(&origin, &[log_key(daybook)])
        .expect("signed by the log key");
    signed
}

fn hashes(value: &Value) -> Vec<Hash> {
    let list = value.as_array().expect("a list").iter();
    list.map(|hash| Hash::from_base64(hash.as_str().expect("text")).expect("a hash"))
        .collect()
}

#[test]
fn entries_tiles_and_checkpoint_say_the_same() {
    let daybook = furnished();
    let size = daybook.size();
    daybook.until_signed(size);
    let signed = checkpoint(&daybook);
    let size = signed.checkpoint().size().get();
    let text = daybook.get("/v1/entries?limit=1000");
    let lines: Vec<&[u8]> = text
        .body
        .split(|b| *b == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    assert!(lines.len() as u64 >= size);
    let leaves: Vec<Hash> = lines[..size as usize]
        .iter()
        .map(|line| {
            let value: Value = serde_json::from_slice(line).expect("JSON");
            match value["leaf_hash"].as_str() {
                Some(hash) => Hash::from_base64(hash).expect("a hash"),
                None => {
                    Entry::decode(line).expect("a canonical entry");
                    leaf_hash(line)
                }
            }
        })
        .collect();
    assert_eq!(domain::merkle::root_of(&leaves), signed.checkpoint().root());
    let tile = daybook.call("GET", &format!("/log/tile/0/000.p/{size}")).send();
    assert_eq!(tile.status, 200);
    assert!(
        tile.header("cache-control")
            .is_some_and(|value| value.contains("immutable"))
    );
    let expected: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.0).collect();
    assert_eq!(tile.body, expected);
    let beyond = daybook
        .call("GET", &format!("/log/tile/0/000.p/{}", size + 50))
        .send();
    assert_eq!(beyond.refused(404), "tile_not_found");
    for bad in ["0/0", "0/000.p/0", "99/000", "0/x000/001", "entries", "../origin"] {
        let refused = daybook.call("GET", &format!("/log/tile/{bad}")).send();
        assert!((400..500).contains(&refused.status), "{bad}");
    }
    // The first three entries are the ledger's own; the first token stands behind the owner.
    let bundle = daybook.get("/log/tile/entries/000.p/3");
    let entries = parse_bundle(&bundle.body, 3).expect("a bundle");
    assert_eq!(leaf_hash(entries[0]), leaves[0]);
    assert_eq!(
        daybook
            .get(&format!("/log/tile/entries/000.p/{size}"))
            .refused(403),
        "withheld"
    );
    let ndjson = daybook.get(&format!("/log/entries/000.ndjson.p/{size}"));
    assert_eq!(ndjson.text().lines().count() as u64, size);
    assert!(ndjson.text().contains("\"withheld\":true"));
    assert!(!ndjson.text().contains("$2b$"));
}

#[test]
fn proofs_lead_to_the_signed_root() {
    let daybook = furnished();
    let size = daybook.size();
    daybook.until_signed(size);
    let signed = checkpoint(&daybook);
    let (size, root) = (signed.checkpoint().size(), signed.checkpoint().root());
    for position in [0, 5, size.get() - 1] {
        let proof = daybook
            .get(&format!("/v1/proofs/inclusion?position={position}"))
            .expect(200);
        assert_eq!(proof["size"], size.get());
        let leaf = Hash::from_base64(proof["leaf_hash"].as_str().expect("a hash")).expect("a hash");
        if let Some(entry) = proof["entry"].as_str() {
            assert_eq!(leaf_hash(entry.as_bytes()), leaf);
        }
        verify_inclusion(&leaf, Position(position), size, &hashes(&proof["proof"]), &root)
            .expect("it is in the tree");
    }
    let file = daybook.get("/v1/proofs/inclusion?position=0&format=tlog-proof");
    let proof = TlogProof::parse(&file.body).expect("a tlog-proof");
    let leaf = leaf_hash(proof.extra.as_deref().expect("the entry"));
    proof.verify_inclusion(&leaf).expect("it is in the tree");
    let beyond = daybook.get("/v1/proofs/inclusion?position=999999");
    assert_eq!(beyond.refused(404), "position_not_found");

    for from in [1, 7, size.get()] {
        let path = format!("/v1/proofs/consistency?from={from}&to={size}");
        let proof = daybook.call("GET", &path).send().expect(200);
        let from_root = Hash::from_base64(proof["from_root"].as_str().expect("a root")).expect("a root");
        verify_consistency(TreeSize(from), &from_root, size, &root, &hashes(&proof["proof"]))
            .expect("it extends");
    }
    let reversed = daybook.call("GET", "/v1/proofs/consistency?from=9&to=3").send();
    assert_eq!(reversed.refused(400), "bad_query");
}

#[test]
fn entries_are_given_from_a_position_up_to_a_limit() {
    let daybook = furnished();
    let size = daybook.size();
    let some = daybook.get("/v1/entries?from=3&limit=4");
    let positions: Vec<u64> = some
        .ndjson()
        .iter()
        .filter_map(|entry| entry["position"].as_u64())
        .collect();
    assert_eq!(positions, [3, 4, 5, 6]);
    assert!(
        some.header("daybook-size")
            .is_some_and(|text| text.parse::<u64>().is_ok_and(|n| n >= size))
    );
    assert_eq!(
        daybook
            .get(&format!("/v1/entries?from={}", size + 100))
            .ndjson()
            .len(),
        0
    );
    assert_eq!(daybook.get("/v1/entries?limit=10001").refused(400), "bad_query");
    assert_eq!(daybook.get("/v1/entries?from=x").refused(400), "bad_query");
    let text = daybook.get("/v1/entries?limit=1000").text();
    assert!(!text.contains("$2b$"), "a token's hash is shown");
}

#[test]
fn a_day_that_is_not_over_has_no_head() {
    let daybook = Daybook::start();
    assert_eq!(
        daybook.call("GET", "/v1/heads").send().expect(200)["data"],
        serde_json::json!([])
    );
    assert_eq!(
        daybook.call("GET", "/v1/heads/2026-05-17").send().refused(404),
        "head_not_found"
    );
    assert_eq!(
        daybook.call("GET", "/v1/heads/today").send().refused(400),
        "bad_date"
    );
    for path in [
        "/heads/2026/2026-05-17.tlog-proof",
        "/heads/2025/2026-05-17.tlog-proof",
        "/heads/2026/..%2Forigin",
    ] {
        assert_eq!(
            daybook.call("GET", path).send().refused(404),
            "head_not_found",
            "{path}"
        );
    }
}

#[test]
fn entries_are_chosen_by_type_stream_actor_and_time_and_walls_stand() {
    let daybook = Daybook::start();
    let (_, device, token) = daybook.device("hut01");
    for n in 0..5 {
        daybook.send(&token, "hut01", None, f64::from(n)).expect(200);
    }
    let all = daybook.get("/v1/entries?limit=10000").ndjson();
    let chosen = |query: &str| daybook.get(&format!("/v1/entries?{query}")).ndjson();
    let of_type = |name: &str| {
        all.iter()
            .filter(|e| e["event_type"] == name)
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(chosen("type=ReadingRecorded"), of_type("ReadingRecorded"));
    assert_eq!(chosen("type=ReadingRecorded").len(), 5);
    assert_eq!(
        chosen("type=ReadingRecorded,DeviceRegistered").len(),
        5 + of_type("DeviceRegistered").len()
    );
    let registered = chosen(&format!("stream=device/{device}"));
    assert_eq!(registered.len(), 1);
    assert_eq!(
        chosen(&format!("actor=device:{device}&type=ReadingRecorded")).len(),
        5
    );
    let actor = registered[0]["metadata"]["actor"].as_str().expect("an actor");
    assert!(
        chosen(&format!("actor={actor}"))
            .iter()
            .all(|e| e["metadata"]["actor"] == actor)
    );
    assert!(
        chosen("type=TokenIssued").is_empty(),
        "a token's hash is shown to nobody"
    );

    let middle = all[all.len() - 3]["recorded_at"].as_str().expect("a time");
    let (before, after) = (
        chosen(&format!("until={middle}")),
        chosen(&format!("since={middle}")),
    );
    assert!(before.iter().all(|e| e["recorded_at"].as_str() < Some(middle)));
    assert!(after.iter().all(|e| e["recorded_at"].as_str() >= Some(middle)) && !after.is_empty());
    assert!(chosen("since=2030-01-01").is_empty());

    // In pieces: each answer says where the next begins.
    let (mut from, mut pieces) = ("0".to_owned(), Vec::new());
    loop {
        let answer = daybook.get(&format!("/v1/entries?type=ReadingRecorded&limit=2&from={from}"));
        let next = answer.header("daybook-next").expect("where to go on").to_owned();
        let size = answer.header("daybook-size").expect("the size").to_owned();
        pieces.extend(answer.ndjson());
        if next == size {
            break;
        }
        from = next;
    }
    assert_eq!(pieces, of_type("ReadingRecorded"));
    for bad in ["stream=device", "since=soon", "until=", "type=A&limit=0"] {
        let answer = daybook.get(&format!("/v1/entries?{bad}"));
        let expected = if bad == "until=" { 200 } else { 400 };
        assert_eq!(answer.status, expected, "{bad}: {}", answer.text());
    }
    let (code, out, _) = daybook.cli(&["replay", "--type", "ReadingRecorded"]);
    let lines: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!((code, lines), (0, of_type("ReadingRecorded")));
    let (code, _, said) = daybook.cli(&["replay", "--from", "soon"]);
    assert!(code == 2 && said.contains("--from"), "{said}");
}
