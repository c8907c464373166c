//! A head checked with `sha256sum`, `base64` and `openssl`, by exactly the commands of docs/auditor.md.

use crate::{Auditor, plan};
use std::path::Path;
use std::process::{Command, Output};
use tests::small_ledger::{Plan, SmallLedger};

/// The document's script: the block below its heading.
fn script() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/auditor.md");
    let page = std::fs::read_to_string(path).expect("the document");
    let (_, section) = page
        .split_once("### With `sha256sum` and `base64` alone\n")
        .expect("its heading");
    let (_, block) = section.split_once("```sh\n").expect("its block");
    block.split_once("```").expect("the block's end").0.to_owned()
}

fn run(auditor: &Auditor, args: &[&str]) -> Output {
    let script = auditor.keep("check-head.sh", script().as_bytes());
    let output = Command::new("bash")
        .arg(script)
        .args(args)
        .env("LC_ALL", "C.UTF-8")
        .output();
    output.expect("bash runs")
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn the_documents_commands_check_a_head_and_refuse_a_changed_one() {
    let auditor = Auditor::with_days(3);
    let (first, second, third) = (auditor.keep_head(0), auditor.keep_head(1), auditor.keep_head(2));
    let key = auditor.keep("log.vkey", format!("{}\n", auditor.key).as_bytes());
    for (head, before) in [(&first, None), (&second, Some(&first)), (&third, Some(&second))] {
        let args: Vec<&str> = [head, &key]
            .into_iter()
            .chain(before)
            .map(String::as_str)
            .collect();
        let output = run(&auditor, &args);
        let said = said(&output);
        assert!(output.status.success(), "{said}");
        for words in [
            "under the signed root",
            "Signature Verified Successfully",
            "\"event_type\":\"DayClosed\"",
        ] {
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(
            said.contains("it continues the head before"),
            before.is_some(),
            "{said}"
        );
    }
    let not_the_day_before = run(&auditor, &[&third, &key, &first]);
    assert!(
        !not_the_day_before.status.success(),
        "{}",
        said(&not_the_day_before)
    );

    let text = String::from_utf8(auditor.ledger.head(1)).expect("a head is text");
    let changed = |name: &str, line: &str, change: fn(&str) -> String| {
        let lines: Vec<String> = text
            .lines()
            .map(|l| {
                if l.starts_with(line) {
                    change(l)
                } else {
                    l.to_owned()
                }
            })
            .collect();
        auditor.keep(name, format!("{}\n", lines.join("\n")).as_bytes())
    };
    // One letter of base64, of the index, of the signature.
    let swapped = |l: &str| {
        let at = l.len() - 9;
        let other = if &l[at..=at] == "A" { "B" } else { "A" };
        format!("{}{other}{}", &l[..at], &l[at + 1..])
    };
    for (name, line, change) in [
        ("entry", "extra ", swapped as fn(&str) -> String),
        ("index", "index ", |l| format!("{l}0")),
        ("signature", "— ", swapped),
    ] {
        let head = changed(name, line, change);
        let output = run(&auditor, &[&head, &key]);
        assert!(!output.status.success(), "{name}: {}", said(&output));
    }
    let other = SmallLedger::record(Plan { seed: 9, ..plan(1) });
    let other = auditor.keep("other.vkey", other.key.as_bytes());
    assert!(!run(&auditor, &[&second, &other]).status.success());
}
