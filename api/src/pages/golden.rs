//! Compares what a page renders with a file beside it; `UPDATE_GOLDENS=1` writes the file anew.
//!
//! Not here: what the pages show (`sample`).

use std::path::Path;

/// One tag a line, so that a difference reads as one.
fn folded(html: &str) -> String {
    let mut out = html.replace("><", ">\n<");
    out.push('\n');
    out
}

/// Fails with the first line that differs from the golden `name`.
pub fn check(name: &str, html: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("src/pages/goldens")
        .join(name);
    let got = folded(html);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::write(&path, &got).expect("the golden can be written");
        return;
    }
    let want = std::fs::read_to_string(&path).unwrap_or_default();
    if got != want {
        let line = got.lines().zip(want.lines()).position(|(a, b)| a != b);
        let n = line.unwrap_or_else(|| got.lines().count().min(want.lines().count()));
        panic!(
            "{name} differs at line {}:\n  is   {:?}\n  was  {:?}\nUPDATE_GOLDENS=1 writes it anew",
            n + 1,
            got.lines().nth(n),
            want.lines().nth(n)
        );
    }
}
