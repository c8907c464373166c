//! What the verification of a pack found, and its words.
//!
//! Not here: the verdict of a whole log, which this is made of (`crate::report`), how it comes about (`judge`).

use super::manifest::Query;
use crate::report::Report;
use domain::Hash;
use serde::Serialize;
use std::fmt;

/// What the verification of a pack found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackReport {
    /// As of a whole log; entries, streams and days are those of the pack.
    #[serde(flatten)]
    pub report: Report,
    /// What the pack says that was asked.
    pub query: Option<Query>,
    /// Who the pack says that asked.
    pub asker: Option<String>,
    /// What the pack says that it was made by.
    pub software: Option<String>,
    /// SHA-256 of its manifest, base64.
    pub manifest_sha256: Option<Hash>,
    /// Lines of `readings.csv`.
    pub values: u64,
}

impl fmt::Display for PackReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.report.to_string();
        let (verdict, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        writeln!(f, "{verdict}\n")?;
        if let Some(Query { from, to, subject }) = &self.query {
            writeln!(
                f,
                "  asked       {} {} from {from} to {to}",
                subject.kind(),
                subject.id()
            )?;
        }
        if let (Some(asker), Some(software)) = (&self.asker, &self.software) {
            writeln!(f, "  asked by    {asker}, made by {software}")?;
        }
        writeln!(
            f,
            "  holds       {} entries, {} values, {} streams",
            self.report.entries, self.values, self.report.streams
        )?;
        f.write_str(rest)
    }
}
