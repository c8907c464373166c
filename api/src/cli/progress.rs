//! The bar that tells how far a long command is: on stderr, and only where somebody looks at it.
//!
//! Not here: what takes so long.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over entries, with rate and time left.
pub fn entries() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} entries, {per_sec}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

/// Something whose end cannot be told beforehand.
pub fn unknown(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what);
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar
}
