//! What was measured, as one table for people and one document for machines.
//!
//! Invariant: a figure that was not measured is a dash, and a target is said beside what it is held against.
//! Not here: measuring.

use serde::Serialize;
use std::fmt::Write;

/// A line of the table.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Row {
    /// What it belongs to.
    pub group: &'static str,
    /// What was measured.
    pub name: String,
    /// How much of it.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// Half of all requests were answered within, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50_us: Option<u64>,
    /// All but one of a hundred.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99_us: Option<u64>,
    /// All but one of a thousand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p999_us: Option<u64>,
    /// Processor time a reading or entry, microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_us: Option<f64>,
    /// Processor time of the load generator, the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_cpu_us: Option<f64>,
    /// Processors without work meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_cores: Option<f64>,
    /// What else is worth saying.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A target and how it was met.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// What is held against what.
    pub what: String,
    /// What was measured.
    pub measured: String,
    /// What it should be.
    pub target: String,
    /// Whether it is.
    pub met: bool,
}

/// Everything that a run measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// On which machine.
    pub machine: String,
    /// By which version.
    pub version: &'static str,
    /// Whether the build was optimised.
    pub optimised: bool,
    /// The lines.
    pub rows: Vec<Row>,
    /// The targets.
    pub checks: Vec<Check>,
}

/// A number with three or four digits that mean something, thousands apart.
pub fn figure(value: f64) -> String {
    if value.abs() >= 1000.0 {
        let digits = format!("{:.0}", value.abs());
        let mut out = String::new();
        for (n, digit) in digits.chars().enumerate() {
            if n > 0 && (digits.len() - n).is_multiple_of(3) {
                out.push(' ');
            }
            out.push(digit);
        }
        return if value < 0.0 { format!("-{out}") } else { out };
    }
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "–".to_owned())
}

fn millis(us: Option<u64>) -> String {
    or_dash(us.map(|us| figure(us as f64 / 1000.0)))
}

impl Report {
    /// The table.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let built = if self.optimised {
            ""
        } else {
            " (NOT an optimised build: figures mean nothing)"
        };
        let _ = writeln!(out, "daybook {} on {}{built}", self.version, self.machine);
        let heads = [
            "",
            "",
            "p50 ms",
            "p99 ms",
            "p99.9 ms",
            "cpu µs",
            "client µs",
            "idle",
        ];
        let mut lines: Vec<(Option<&'static str>, [String; 9])> = Vec::new();
        let mut group = "";
        for row in &self.rows {
            let begins = (row.group != group).then_some(row.group);
            group = row.group;
            lines.push((
                begins,
                [
                    row.name.clone(),
                    format!("{} {}", figure(row.value), row.unit),
                    millis(row.p50_us),
                    millis(row.p99_us),
                    millis(row.p999_us),
                    or_dash(row.cpu_us.map(figure)),
                    or_dash(row.client_cpu_us.map(figure)),
                    or_dash(row.idle_cores.map(|idle| format!("{idle:.1}"))),
                    row.note.clone(),
                ],
            ));
        }
        let widths: Vec<usize> = (0..8)
            .map(|column| {
                let cells = lines.iter().map(|(_, cells)| cells[column].chars().count());
                cells.max().unwrap_or(0).max(heads[column].chars().count())
            })
            .collect();
        for (begins, cells) in &lines {
            if let Some(group) = begins {
                let _ = write!(
                    out,
                    "\n{group:<width$}  {:>value$}",
                    "",
                    width = widths[0],
                    value = widths[1]
                );
                for (column, head) in heads.iter().enumerate().skip(2) {
                    let _ = write!(out, "  {head:>width$}", width = widths[column]);
                }
                out.push('\n');
            }
            let _ = write!(out, "{:<width$}", cells[0], width = widths[0]);
            for (column, cell) in cells.iter().enumerate().take(8).skip(1) {
                let _ = write!(out, "  {cell:>width$}", width = widths[column]);
            }
            let _ = writeln!(out, "  {}", cells[8]);
        }
        out.push_str("\ntargets\n");
        let what = self
            .checks
            .iter()
            .map(|c| c.what.chars().count())
            .max()
            .unwrap_or(0);
        for check in &self.checks {
            let met = if check.met { "met " } else { "MISS" };
            let _ = writeln!(
                out,
                "{met}  {:<what$}  {}  (target {})",
                check.what, check.measured, check.target
            );
        }
        out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_what_means_something() {
        for (value, text) in [
            (0.126, "0.13"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1234.0, "1 234"),
            (1_234_567.8, "1 234 568"),
        ] {
            assert_eq!(figure(value), text);
        }
    }

    #[test]
    fn a_figure_that_was_not_measured_is_a_dash_and_a_missed_target_stands_out() {
        let report = Report {
            machine: "one".to_owned(),
            version: "1",
            optimised: true,
            rows: vec![Row {
                group: "limits",
                name: "hashing".to_owned(),
                value: 2_000_000.0,
                unit: "entries/s",
                ..Row::default()
            }],
            checks: vec![Check {
                what: "this".to_owned(),
                measured: "0.4".to_owned(),
                target: "at least 0.5".to_owned(),
                met: false,
            }],
        };
        let text = report.text();
        assert!(
            text.contains("2 000 000 entries/s") && text.contains('–'),
            "{text}"
        );
        assert!(text.contains("MISS  this  0.4  (target at least 0.5)"), "{text}");
        assert!(!text.contains("NOT an optimised build"));
    }
}
