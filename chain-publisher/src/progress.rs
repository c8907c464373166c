//! The bar that tells how far a long command is: on stderr, and only where somebody looks at it.
//!
//! Not here: what takes so long.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::{self, Write};

/// A bar over entries, with rate and time left.
pub fn entries() -> ProgressBar {
    bar("{bar:40} {human_pos}/{human_len} entries, {rate}/s, {eta} left")
}

/// A bar in that style; `{rate}` is how many a second, in whole numbers and groups of three.
pub fn bar(style: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
    let rate = |state: &ProgressState, out: &mut dyn Write| {
        // Nothing can be done about a terminal that takes no text.
        let _ = write_rate(state.per_sec(), out);
    };
    ProgressBar::new(0).with_style(style.with_key("rate", rate))
}

fn write_rate(per_s: f64, out: &mut dyn Write) -> fmt::Result {
    write!(out, "{}", indicatif::HumanCount(per_s.round() as u64))
}

/// Something whose end cannot be told beforehand.
pub fn unknown(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_whole_number() {
        for (per_s, said) in [(0.0, "0"), (369_224.837_6, "369,225"), (f64::NAN, "0")] {
            let mut out = String::new();
            write_rate(per_s, &mut out).expect("written");
            assert_eq!(out, said);
        }
    }
}
