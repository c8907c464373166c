//! The fuzz targets on stable: the committed corpus, and ten thousand generated inputs each.

use tests::fuzz::{Mutations, TARGETS, corpus};

/// Generated inputs a target; more with `DAYBOOK_FUZZ_INPUTS`.
const INPUTS: usize = 10_000;

#[test]
fn every_target_survives_its_corpus_and_what_is_made_of_it() {
    let inputs = std::env::var("DAYBOOK_FUZZ_INPUTS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(INPUTS);
    for (n, (name, run)) in TARGETS.iter().enumerate() {
        let seeds = corpus(name);
        assert!(!seeds.is_empty(), "{name} has no corpus");
        seeds.iter().for_each(|seed| run(seed));
        let mut mutations = Mutations::new(seeds, n as u64 + 1);
        for _ in 0..inputs {
            let input = mutations.input();
            if std::panic::catch_unwind(|| run(&input)).is_err() {
                panic!("{name} panics on {:?}", String::from_utf8_lossy(&input));
            }
        }
    }
}
