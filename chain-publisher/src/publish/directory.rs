//! A directory that any static host can serve: checkpoint, hash tiles, heads, and a page that lists them.
//!
//! Entries are not in it: tiles and heads tell how many there are and that nobody changed them, not what they say.
//! Invariants: as `export`, whose writer this is; the page is written last.
//! Source: C2SP tlog-tiles v0.1.0; FORMAT §3, §5.
//! Not here: copies with entries (`export`).

use super::{Channel, Publication, PublishError};
use crate::export::export_tree;
use crate::layout::head_path;
use crate::source::LogSource;
use domain::Date;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The page.
pub const INDEX: &str = "index.html";

/// A directory for a static host.
pub struct StaticDirectory {
    dir: PathBuf,
}

impl StaticDirectory {
    /// In `dir`, which is made when it is not there.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }
}

impl Channel for StaticDirectory {
    fn publish(&mut self, publication: &Publication<'_>) -> Result<(), PublishError> {
        let page = |copied: &crate::Exported, dates: &[Date]| page(publication.origin, copied, dates);
        write(publication.source, &self.dir, page).map_err(PublishError::Failed)
    }
}

fn write(
    source: &dyn LogSource,
    dir: &Path,
    page: impl Fn(&crate::Exported, &[Date]) -> String,
) -> Result<(), String> {
    let copied = export_tree(source, dir).map_err(|error| error.to_string())?;
    let dates = source.head_dates().map_err(|error| error.to_string())?;
    crate::export::replace(dir, INDEX, page(&copied, &dates).as_bytes()).map_err(|error| error.to_string())
}

/// What a person sees.
fn page(origin: &str, copied: &crate::Exported, dates: &[Date]) -> String {
    let origin = escaped(origin);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{origin}</title>\n\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}}\
         code{{overflow-wrap:anywhere}}ul{{columns:12rem;padding-left:1.2rem}}\
         @media(prefers-color-scheme:dark){{body{{background:#111;color:#eee}}a{{color:#8cf}}}}</style>\n\
         <h1>{origin}</h1>\n\
         <p>The signed state of this log, for whoever wants to keep it: {} entries, root <code>{}</code>. \
         Nothing here tells what the entries say.\n\
         <p>Keep a head, today, in a place of your own; whoever keeps one sees every later change of what it covers. \
         The key that signs must come from somewhere else than this page.\n\
         <ul>\n<li><a href=\"checkpoint\">checkpoint</a>: the latest\n\
         <li><code>tile/</code>: hash tiles, C2SP tlog-tiles\n</ul>\n<h2>Heads of days</h2>\n<ul>\n",
        copied.size,
        copied.root.to_base64(),
    );
    for date in dates.iter().rev() {
        // Writing to a text cannot fail.
        let _ = writeln!(page, "<li><a href=\"{}\">{date}</a>", head_path(*date));
    }
    page.push_str("</ul>\n");
    page
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}
