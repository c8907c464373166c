//! How fast the tree is, against the bare hashing that it cannot do without. Prints one table.
//!
//! Each figure is the best of several rounds, taken in turn, so that a busy machine does not favour one of them.
//! Target: append within 1.15 × of hashing the same leaves and the same number of nodes; an inclusion proof from
//! 10 million entries under 100 µs. Not here: anything with files (`daybook bench`).

use domain::hash::{Hash, leaf_hash, node_hash};
use domain::merkle::{Frontier, MemoryNodes, NoNodes, TileNodes};
use domain::proof::{
    PROVER_TILES, Prover, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};
use domain::tile::{Tile, read_tile};
use domain::tile_reader::TileReader;
use domain::verify::LogHasher;
use domain::{Position, TreeSize};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Entries an append round: large enough that the frontier's upper levels are exercised.
const APPENDED: usize = 1 << 18;
/// A reading's entry is about this long, bytes.
const ENTRY_BYTES: usize = 420;
/// Entries a commit.
const BATCH: usize = 1_000;
/// Size of the tree that proofs are read from.
const TREE: u64 = 10_000_000;
const ROUNDS: usize = 7;
const PROOFS: u64 = 2_000;

fn main() {
    append();
    proofs();
}

/// Something to time, under its name.
type Round<'a> = (&'a str, Box<dyn FnMut() -> Hash + 'a>);

fn best(rounds: &mut [Round<'_>]) -> Vec<Duration> {
    let mut best = vec![Duration::MAX; rounds.len()];
    for _ in 0..ROUNDS {
        for (i, (_, run)) in rounds.iter_mut().enumerate() {
            let start = Instant::now();
            black_box(run());
            best[i] = best[i].min(start.elapsed());
        }
    }
    best
}

fn append() {
    let entries: Vec<Vec<u8>> = (0..APPENDED as u64)
        .map(|i| {
            i.to_be_bytes()
                .iter()
                .copied()
                .cycle()
                .take(ENTRY_BYTES)
                .collect()
        })
        .collect();
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let interior = APPENDED - APPENDED.count_ones() as usize;
    let nodes = || (0..interior).fold(leaves[0], |left, i| node_hash(&left, &leaves[i]));
    let batches = |leaves: &[Hash]| {
        let (mut frontier, mut new) = (Frontier::new(), TileNodes::new());
        for batch in leaves.chunks(BATCH) {
            new.clear();
            frontier.extend(batch, &mut new);
            black_box(&new);
        }
        frontier.root()
    };
    let mut rounds: Vec<Round<'_>> = vec![
        (
            "hash leaves and as many nodes",
            Box::new(|| {
                let last = entries
                    .iter()
                    .fold(Hash::default(), |_, entry| black_box(leaf_hash(entry)));
                black_box(last);
                nodes()
            }),
        ),
        (
            "hash leaves, frontier, tile nodes",
            Box::new(|| {
                let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
                batches(&leaves)
            }),
        ),
        ("nodes alone", Box::new(nodes)),
        ("frontier alone", Box::new(|| batches(&leaves))),
        (
            "frontier alone, roots only",
            Box::new(|| {
                let mut frontier = Frontier::new();
                leaves.iter().for_each(|leaf| frontier.push(*leaf, &mut NoNodes));
                frontier.root()
            }),
        ),
        (
            "LogHasher",
            Box::new(|| {
                let mut hasher = LogHasher::new(Vec::new());
                for entry in &entries {
                    hasher.entry(entry);
                }
                hasher.finish().root
            }),
        ),
    ];
    let best = best(&mut rounds);
    println!("{APPENDED} entries of {ENTRY_BYTES} bytes");
    println!(
        "{:<44} {:>10} {:>12} {:>8}",
        "", "ns/entry", "M entries/s", "ratio"
    );
    for (i, ((name, _), time)) in rounds.iter().zip(&best).enumerate() {
        let ns = time.as_nanos() as f64 / APPENDED as f64;
        let against = if i == 2 || i == 3 || i == 4 {
            best[2]
        } else {
            best[0]
        };
        let ratio = time.as_secs_f64() / against.as_secs_f64();
        println!("{name:<44} {ns:>10.1} {:>12.2} {ratio:>8.3}", 1e3 / ns);
    }
}

fn proofs() {
    let (mut frontier, mut nodes, mut new) = (Frontier::new(), MemoryNodes::new(), TileNodes::new());
    let mut leaves = Vec::with_capacity(65_536);
    for start in (0..TREE).step_by(65_536) {
        leaves.clear();
        leaves.extend((start..TREE.min(start + 65_536)).map(|i| leaf_hash(&i.to_be_bytes())));
        new.clear();
        frontier.extend(&leaves, &mut new);
        nodes.append(&new);
    }
    let (size, root) = (TreeSize(TREE), frontier.root());
    // Positions all over the tree, the same ones each time.
    let position = |i: u64| Position(i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % TREE);
    let proofs: Vec<Vec<Hash>> = (0..PROOFS)
        .map(|i| inclusion_proof(&nodes, position(i), size).expect("inside"))
        .collect();
    let old = TreeSize(TREE / 3);
    let old_root = Frontier::from_nodes(old, &nodes).expect("inside").root();
    let consistency = consistency_proof(&nodes, old, size).expect("in order");
    let mut prover = Prover::new(PROVER_TILES);
    let served = |tile: Tile| read_tile(&nodes, tile);
    let reader = TileReader::open(served, size, &root).expect("honest");

    println!("\na tree of {TREE} entries, {PROOFS} positions");
    println!("{:<44} {:>10}", "", "µs each");
    measure("inclusion proof, nothing kept", &mut |i| {
        black_box(inclusion_proof(&nodes, position(i), size).expect("inside"));
    });
    measure("inclusion proof, a server's prover", &mut |i| {
        black_box(prover.inclusion(&nodes, position(i), size).expect("inside"));
    });
    measure("inclusion proof, every tile verified", &mut |i| {
        black_box(inclusion_proof(&reader, position(i), size).expect("honest"));
    });
    measure("consistency proof, nothing kept", &mut |i| {
        black_box(consistency_proof(&nodes, TreeSize(position(i).0), size).expect("in order"));
    });
    measure("leaf hash and verify inclusion", &mut |i| {
        let leaf = leaf_hash(&position(i).0.to_be_bytes());
        verify_inclusion(&leaf, position(i), size, &proofs[i as usize], &root).expect("it holds");
    });
    measure("verify consistency", &mut |_| {
        verify_consistency(old, &old_root, size, &root, black_box(&consistency)).expect("it holds");
    });
    measure("frontier and root from tiles", &mut |_| {
        black_box(Frontier::from_nodes(size, &nodes).expect("inside").root());
    });
}

fn measure(name: &str, run: &mut dyn FnMut(u64)) {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        (0..PROOFS).for_each(&mut *run);
        best = best.min(start.elapsed());
    }
    println!("{name:<44} {:>10.2}", best.as_secs_f64() * 1e6 / PROOFS as f64);
}
