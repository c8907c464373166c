//! A channel's chart as SVG drawn on the server: line or envelope, limits as they were in force, gaps hatched.
//!
//! Invariants: the same arguments give the same bytes; every coordinate is finite and inside the picture; the
//! line never crosses a gap; what lies outside its limits is drawn a second time in another stroke, clipped to
//! the region outside, so that it shows by place, width and colour; limits are drawn where they were in force.
//! Colours and strokes come from the style sheet, so that dark mode and print work.
//! Not here: queries, the table that says the same in numbers (`channel`), small lines in lists (`spark`).

use domain::Timestamp;
use maud::{Markup, html};

use super::series::{self, Sample};
use super::ticks::{self, TimeTick, ValueTicks};
use super::view::{Gap, LimitSpan, Limits, Series};
use super::words::{self, Zone};

/// Width of a digit at the chart's text size, pixels.
const CHAR_PX: f64 = 6.8;
/// Pixels between time labels.
const TIME_LABEL_PX: f64 = 56.0;
/// More points than this are drawn without dots.
const DOTS_MAX: usize = 60;
/// Columns that say their values when pointed at.
const HITS_MAX: usize = 96;
/// A gap narrower than this is still drawn so wide, pixels.
const GAP_PX_MIN: f64 = 2.0;
/// Values beyond this are drawn at it: the difference of two must stay finite.
const VALUE_MAX: f64 = 1e300;

/// The size a chart is drawn at; text keeps its size, so a phone gets a drawing of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// From 640 pixels up.
    Wide,
    /// For phones.
    Narrow,
}

impl Size {
    const fn pixels(self) -> (f64, f64) {
        match self {
            Self::Wide => (960.0, 320.0),
            Self::Narrow => (360.0, 250.0),
        }
    }

    const fn suffix(self) -> &'static str {
        match self {
            Self::Wide => "w",
            Self::Narrow => "n",
        }
    }
}

/// What a chart shows.
#[derive(Debug, Clone)]
pub struct Chart<'a> {
    /// Distinguishes the ids of several charts on a page: `[a-z0-9]+`.
    pub id: &'a str,
    /// What a screen reader says it is.
    pub title: &'a str,
    /// Kind, for rounding.
    pub kind: &'a str,
    /// UCUM code.
    pub unit: &'a str,
    /// Left edge.
    pub from: Timestamp,
    /// Right edge.
    pub to: Timestamp,
    /// Zone of the time axis.
    pub zone: &'a Zone,
    /// What to draw.
    pub series: &'a Series,
    /// What was recorded, where it is drawn corrected.
    pub raw: Option<&'a Series>,
    /// Limits over the range, in order.
    pub limits: &'a [LimitSpan],
    /// Missing intervals.
    pub gaps: &'a [Gap],
    /// Spans that are pointed out.
    pub marks: &'a [Mark],
    /// What other rules than the limits hold right.
    pub lines: &'a [RuleLine],
}

/// A span that is pointed out: an alarm.
#[derive(Debug, Clone)]
pub struct Mark {
    /// When it began.
    pub from: Timestamp,
    /// When it ended; `None` = not yet.
    pub to: Option<Timestamp>,
    /// When it became what it is.
    pub at: Option<Timestamp>,
    /// What it says when pointed at.
    pub title: String,
}

/// A value that a rule holds right or wrong.
#[derive(Debug, Clone)]
pub struct RuleLine {
    /// The value.
    pub value: f64,
    /// What it says.
    pub label: String,
}

/// Where time and value stand in pixels.
struct Plot {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
    from: Timestamp,
    to: Timestamp,
    lo: f64,
    hi: f64,
}

impl Plot {
    fn x(&self, at: Timestamp) -> f64 {
        let span = self.to.since(self.from).max(1) as f64;
        let part = at.since(self.from) as f64 / span;
        self.left + part.clamp(0.0, 1.0) * (self.right - self.left)
    }

    fn y(&self, v: f64) -> f64 {
        let part = (v.clamp(-VALUE_MAX, VALUE_MAX) - self.lo) / (self.hi - self.lo);
        self.bottom - part.clamp(0.0, 1.0) * (self.bottom - self.top)
    }
}

/// A coordinate: one decimal, none where it is zero.
pub(super) fn px(v: f64) -> String {
    let text = format!("{v:.1}");
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

impl Chart<'_> {
    /// The chart at that size.
    pub fn svg(&self, size: Size) -> Markup {
        let (width, height) = size.pixels();
        let samples = series::reduce(self.series, self.from, self.to, (width / 3.0) as usize);
        let visible: Vec<LimitSpan> = self
            .spans()
            .map(|(from, _, limits)| LimitSpan {
                from,
                to: None,
                limits,
            })
            .collect();
        let raw = self.raw.map_or_else(Vec::new, |raw| {
            series::reduce(raw, self.from, self.to, (width / 3.0) as usize)
        });
        // Both must be seen, so the axis spans both.
        let seen: Vec<Sample> = samples.iter().chain(&raw).copied().collect();
        let (lo, hi) = domain_of(&seen, &visible);
        let values = ticks::value_ticks(lo, hi, if size == Size::Wide { 6 } else { 5 });
        let widest = |labels: &mut dyn Iterator<Item = usize>| labels.max().unwrap_or(0) as f64 * CHAR_PX;
        let plot = Plot {
            left: 10.0 + widest(&mut values.labels.iter().map(|l| l.chars().count())),
            right: width - 10.0 - widest(&mut self.limit_labels().iter().map(|(_, l)| l.chars().count())),
            top: 22.0,
            bottom: height - 26.0,
            from: self.from,
            to: self.to.max(self.from.plus_micros(1)),
            lo,
            hi,
        };
        let columns = ((plot.right - plot.left) / TIME_LABEL_PX).max(2.0) as usize;
        let times = ticks::time_ticks(self.from, self.to, self.zone, columns);
        let id = |what: &str| format!("{}{}-{what}", self.id, size.suffix());
        html! {
            svg.chart viewBox={ "0 0 " (px(width)) " " (px(height)) } role="img"
                aria-labelledby={ (id("t")) " " (id("d")) } {
                title id=(id("t")) { (self.title) }
                desc id=(id("d")) { (self.description(&samples)) }
                defs {
                    pattern id=(id("h")) width="6" height="6" patternUnits="userSpaceOnUse"
                        patternTransform="rotate(45)" { line.c-hatch x1="0" y1="0" x2="0" y2="6" {} }
                    (self.outside_clip(&plot, &id("o")))
                }
                (self.limit_areas(&plot))
                (grid(&plot, &values, &times))
                (self.gap_areas(&plot, &id("h")))
                (self.mark_areas(&plot))
                (self.recorded(&plot, &raw))
                (self.curve(&plot, &samples, &id))
                (axes(&plot, &values, &times, &unit_label(self.unit, values.exponent)))
                (self.limit_lines(&plot))
                (self.rule_lines(&plot))
                @if samples.is_empty() {
                    text.c-empty x=(px((plot.left + plot.right) / 2.0)) y=(px((plot.top + plot.bottom) / 2.0))
                        text-anchor="middle" { "No readings in this range" }
                }
                @if size == Size::Wide { (self.hits(&plot, &samples)) }
            }
        }
    }

    /// What the picture shows, in a sentence or three.
    fn description(&self, samples: &[Sample]) -> String {
        let say = |v: f64| words::value_with_unit(self.kind, v, self.unit);
        let mut out = match (samples.first(), samples.last()) {
            (Some(_), Some(last)) => {
                let (lo, hi) = extent(samples);
                format!(
                    "Lowest {}, highest {}, last {}.",
                    say(lo),
                    say(hi),
                    say(last.mean)
                )
            }
            _ => "No readings in this range.".to_owned(),
        };
        if let Some((_, _, limits)) = self.spans().last() {
            let end = |v: Option<f64>| v.map_or_else(|| "open".to_owned(), say);
            out.push_str(&format!(" Limits {} to {}.", end(limits.min), end(limits.max)));
        }
        if !self.gaps.is_empty() {
            let n = self.gaps.len() as u64;
            out.push_str(&format!(
                " {} without data.",
                words::plural(n, "interval", "intervals")
            ));
        }
        out
    }

    /// Each span of limits, cut to the chart.
    fn spans(&self) -> impl Iterator<Item = (Timestamp, Timestamp, Limits)> {
        self.limits.iter().filter_map(|s| {
            let (from, to) = (s.from.max(self.from), s.to.unwrap_or(self.to).min(self.to));
            (from < to && !s.limits.is_open()).then_some((from, to, s.limits))
        })
    }

    fn limit_areas(&self, plot: &Plot) -> Markup {
        html! {
            @for (from, to, limits) in self.spans() {
                @let top = limits.max.map_or(plot.top, |v| plot.y(v));
                @let bottom = limits.min.map_or(plot.bottom, |v| plot.y(v));
                (rect("c-band", plot.x(from), top, plot.x(to), bottom))
            }
        }
    }

    fn limit_lines(&self, plot: &Plot) -> Markup {
        let mut labels: Vec<(f64, String)> = self
            .limit_labels()
            .into_iter()
            .map(|(v, l)| (plot.y(v) + 4.0, l))
            .collect();
        // Two labels that would touch are pushed apart.
        if let [(a, _), (b, _)] = labels.as_mut_slice()
            && *b - *a < 13.0
        {
            let middle = f64::midpoint(*a, *b);
            (*a, *b) = (middle - 6.5, middle + 6.5);
        }
        html! {
            @for (from, to, limits) in self.spans() {
                @for v in [limits.max, limits.min].into_iter().flatten() {
                    @if v >= plot.lo && v <= plot.hi {
                        (line("c-limit", plot.x(from), plot.y(v), plot.x(to), plot.y(v)))
                    }
                }
            }
            @for (y, label) in &labels {
                text.c-limit-text x=(px(plot.right + 5.0)) y=(px(*y)) { (label) }
            }
        }
    }

    /// The newest limits that are seen, upper first.
    fn limit_labels(&self) -> Vec<(f64, String)> {
        let Some((_, _, limits)) = self.spans().last() else {
            return Vec::new();
        };
        let label = |word: &str, v: f64| (v, format!("{word} {}", words::exact(v)));
        [
            limits.max.map(|v| label("max", v)),
            limits.min.map(|v| label("min", v)),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// The region outside the limits, as they were in force.
    fn outside_clip(&self, plot: &Plot, id: &str) -> Markup {
        html! {
            clipPath id=(id) {
                @for (from, to, limits) in self.spans() {
                    @if let Some(max) = limits.max { (rect("", plot.x(from), 0.0, plot.x(to), plot.y(max))) }
                    @if let Some(min) = limits.min {
                        (rect("", plot.x(from), plot.y(min), plot.x(to), plot.bottom + 26.0))
                    }
                }
            }
        }
    }

    fn gap_areas(&self, plot: &Plot, hatch: &str) -> Markup {
        html! {
            @for gap in self.gaps {
                @let (from, to) = (gap.from.max(self.from), gap.to.unwrap_or(self.to).min(self.to));
                @if from < to {
                    @let (a, b) = (plot.x(from), plot.x(to).max(plot.x(from) + GAP_PX_MIN));
                    g.c-gap {
                        title { (self.gap_words(gap)) }
                        rect x=(px(a)) y=(px(plot.top)) width=(px(b - a)) height=(px(plot.bottom - plot.top))
                            fill={ "url(#" (hatch) ")" } {}
                        @if b - a > 64.0 {
                            text.c-gap-text x=(px(f64::midpoint(a, b))) y=(px(plot.bottom - 8.0))
                                text-anchor="middle" { "no data" }
                        }
                    }
                }
            }
        }
    }

    fn mark_areas(&self, plot: &Plot) -> Markup {
        html! {
            @for mark in self.marks {
                @let (from, to) = (mark.from.max(self.from), mark.to.unwrap_or(self.to).min(self.to));
                @if from < to {
                    @let (a, b) = (plot.x(from), plot.x(to).max(plot.x(from) + GAP_PX_MIN));
                    g.c-mark {
                        title { (mark.title) }
                        (rect("", a, plot.top, b, plot.bottom))
                        (rect("c-mark-bar", a, plot.top - 5.0, b, plot.top))
                        @if let Some(at) = mark.at.filter(|at| *at >= from && *at <= to) {
                            (line("c-mark-at", plot.x(at), plot.top - 5.0, plot.x(at), plot.bottom))
                        }
                    }
                }
            }
        }
    }

    fn rule_lines(&self, plot: &Plot) -> Markup {
        html! {
            @for rule in self.lines.iter().filter(|rule| rule.value >= plot.lo && rule.value <= plot.hi) {
                g.c-rule {
                    title { (rule.label) }
                    (line("c-rule-line", plot.left, plot.y(rule.value), plot.right, plot.y(rule.value)))
                    text x=(px(plot.left + 4.0)) y=(px(plot.y(rule.value) - 3.0)) { (rule.label) }
                }
            }
        }
    }

    fn gap_words(&self, gap: &Gap) -> String {
        let from = words::moment(self.to, gap.from, self.zone);
        match gap.to {
            Some(to) => format!(
                "No data from {from} to {} ({})",
                words::moment(self.to, to, self.zone),
                words::span(to.since(gap.from))
            ),
            None => format!("No data since {from}"),
        }
    }

    /// What was recorded, as a thin line behind.
    fn recorded(&self, plot: &Plot, raw: &[Sample]) -> Markup {
        let runs = series::runs(raw, self.gaps);
        let line: String = runs.iter().map(|run| line_path(plot, run)).collect();
        html! { @if !raw.is_empty() { path.c-raw d=(line) {} } }
    }

    fn curve(&self, plot: &Plot, samples: &[Sample], id: &dyn Fn(&str) -> String) -> Markup {
        let runs = series::runs(samples, self.gaps);
        let envelope = samples.iter().any(|s| s.max > s.min);
        let line: String = runs.iter().map(|run| line_path(plot, run)).collect();
        let area: String = runs.iter().map(|run| area_path(plot, run)).collect();
        let clip = format!("url(#{})", id("o"));
        let dots: Vec<&Sample> = if samples.len() <= DOTS_MAX {
            samples.iter().collect()
        } else {
            runs.iter()
                .filter(|run| run.len() == 1)
                .filter_map(|run| run.first())
                .collect()
        };
        html! {
            @if envelope {
                path.c-env d=(area) {}
                path.c-env.out d=(area) clip-path=(clip) {}
            }
            path.c-line d=(line) {}
            path.c-line.out d=(line) clip-path=(clip) {}
            @for s in dots {
                circle.c-dot.out[self.is_outside(s)] cx=(px(plot.x(s.at))) cy=(px(plot.y(s.mean)))
                    r=(if self.is_outside(s) { "3.4" } else { "2.2" }) {}
            }
        }
    }

    fn is_outside(&self, s: &Sample) -> bool {
        self.spans().any(|(from, to, limits)| {
            s.at >= from
                && s.at <= to
                && (limits.max.is_some_and(|max| s.mean > max) || limits.min.is_some_and(|min| s.mean < min))
        })
    }

    /// Transparent columns that say their values when pointed at.
    fn hits(&self, plot: &Plot, samples: &[Sample]) -> Markup {
        let each = samples.len().div_ceil(HITS_MAX).max(1);
        let columns: Vec<Sample> = samples.chunks(each).filter_map(series::fold_all).collect();
        let edge = |i: usize| match (i.checked_sub(1).and_then(|j| columns.get(j)), columns.get(i)) {
            (Some(a), Some(b)) => f64::midpoint(plot.x(a.at), plot.x(b.at)),
            (None, _) => plot.left,
            _ => plot.right,
        };
        html! {
            @for (i, s) in columns.iter().enumerate() {
                g.c-hit {
                    title { (self.sample_words(s)) }
                    (rect("", edge(i), plot.top, edge(i + 1), plot.bottom))
                }
            }
        }
    }

    fn sample_words(&self, s: &Sample) -> String {
        let say = |v: f64| words::value_with_unit(self.kind, v, self.unit);
        let from = words::minute(s.from, self.zone);
        if s.count <= 1 {
            return format!("{from}: {}", say(s.mean));
        }
        let to = self.zone.at(s.to);
        format!(
            "{from}–{:02}:{:02}: mean {}, lowest {}, highest {} ({})",
            to.hour(),
            to.minute(),
            say(s.mean),
            say(s.min),
            say(s.max),
            words::plural(s.count, "reading", "readings")
        )
    }
}

/// Lowest and highest value of samples; (0, 0) of none.
fn extent(samples: &[Sample]) -> (f64, f64) {
    let lo = samples.iter().map(|s| s.min).fold(f64::INFINITY, f64::min);
    let hi = samples.iter().map(|s| s.max).fold(f64::NEG_INFINITY, f64::max);
    if lo <= hi { (lo, hi) } else { (0.0, 0.0) }
}

/// The value axis: what was measured, and the limits unless they would flatten it to a line.
pub(super) fn domain_of(samples: &[Sample], limits: &[LimitSpan]) -> (f64, f64) {
    let ends = || {
        limits
            .iter()
            .flat_map(|s| [s.limits.min, s.limits.max])
            .flatten()
            .filter(|v| v.is_finite())
    };
    let (mut lo, mut hi) = if samples.is_empty() {
        let lo = ends().fold(f64::INFINITY, f64::min);
        let hi = ends().fold(f64::NEG_INFINITY, f64::max);
        if lo <= hi { (lo, hi) } else { (0.0, 1.0) }
    } else {
        extent(samples)
    };
    (lo, hi) = (lo.clamp(-VALUE_MAX, VALUE_MAX), hi.clamp(-VALUE_MAX, VALUE_MAX));
    // A constant is drawn as a line in the middle of a small range, not as a step of rounding errors.
    let least = (lo.abs().max(hi.abs()) * 0.02).clamp(0.5, VALUE_MAX);
    let span = (hi - lo).max(least);
    for v in ends() {
        let (wider_lo, wider_hi) = (lo.min(v), hi.max(v));
        if (wider_hi - wider_lo) * 0.08 <= span {
            (lo, hi) = (wider_lo, wider_hi);
        }
    }
    let pad = (hi - lo).max(least) * 0.08;
    if hi - lo < least {
        let middle = f64::midpoint(lo, hi);
        (lo, hi) = (middle - least / 2.0, middle + least / 2.0);
    }
    (lo - pad, hi + pad)
}

fn line_path(plot: &Plot, run: &[Sample]) -> String {
    let mut d = String::with_capacity(run.len() * 12);
    for (i, s) in run.iter().enumerate() {
        d.push(if i == 0 { 'M' } else { 'L' });
        d.push_str(&format!("{} {}", px(plot.x(s.at)), px(plot.y(s.mean))));
    }
    d
}

/// Out along the highest values, back along the lowest.
fn area_path(plot: &Plot, run: &[Sample]) -> String {
    let mut d = String::with_capacity(run.len() * 24);
    for (i, s) in run.iter().enumerate() {
        d.push(if i == 0 { 'M' } else { 'L' });
        d.push_str(&format!("{} {}", px(plot.x(s.at)), px(plot.y(s.max))));
    }
    for s in run.iter().rev() {
        d.push_str(&format!("L{} {}", px(plot.x(s.at)), px(plot.y(s.min))));
    }
    d.push('Z');
    d
}

fn rect(class: &str, x0: f64, y0: f64, x1: f64, y1: f64) -> Markup {
    html! {
        rect class=[(!class.is_empty()).then_some(class)] x=(px(x0)) y=(px(y0))
            width=(px((x1 - x0).max(0.0))) height=(px((y1 - y0).max(0.0))) {}
    }
}

fn line(class: &str, x0: f64, y0: f64, x1: f64, y1: f64) -> Markup {
    html! { line class=(class) x1=(px(x0)) y1=(px(y0)) x2=(px(x1)) y2=(px(y1)) {} }
}

fn unit_label(ucum: &str, exponent: i32) -> String {
    let unit = words::unit(ucum);
    if exponent == 0 {
        return unit.to_owned();
    }
    let power: String = exponent
        .to_string()
        .chars()
        .map(|c| match c {
            '-' => '⁻',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            d => char::from_u32(0x2070 + d.to_digit(10).unwrap_or(0)).unwrap_or(d),
        })
        .collect();
    format!("× 10{power} {unit}").trim_end().to_owned()
}

fn grid(plot: &Plot, values: &ValueTicks, times: &[TimeTick]) -> Markup {
    html! {
        @for v in &values.values { (line("c-grid", plot.left, plot.y(*v), plot.right, plot.y(*v))) }
        @for t in times {
            @let class = if t.major { "c-grid major" } else { "c-grid" };
            (line(class, plot.x(t.at), plot.top, plot.x(t.at), plot.bottom))
        }
    }
}

fn axes(plot: &Plot, values: &ValueTicks, times: &[TimeTick], unit: &str) -> Markup {
    // A label whose middle is too near an edge would be cut off.
    let room = |t: &TimeTick| t.label.chars().count() as f64 * CHAR_PX / 2.0;
    html! {
        (line("c-axis", plot.left, plot.bottom, plot.right, plot.bottom))
        @for (v, label) in values.values.iter().zip(&values.labels) {
            text.c-text x=(px(plot.left - 6.0)) y=(px(plot.y(*v) + 4.0)) text-anchor="end" { (label) }
        }
        text.c-unit x="2" y="12" { (unit) }
        @for t in times {
            @let x = plot.x(t.at);
            (line("c-axis", x, plot.bottom, x, plot.bottom + 4.0))
            @if x - room(t) > 0.0 && x + room(t) < plot.right + 30.0 {
                text.c-text.major[t.major] x=(px(x)) y=(px(plot.bottom + 18.0)) text-anchor="middle" {
                    (t.label)
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "chart_tests.rs"]
mod tests;
