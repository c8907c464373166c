//! Measurements as streams: CSV and NDJSON, of any length in bounded memory.
//!
//! Invariants: header `ts,value`, comma, dot decimals, never semicolons; read in chunks, each from a snapshot of
//! its own, so that a slow receiver holds up nothing; a line is written whole or the stream fails.
//! Source: REFERENCE §1.6.
//! Not here: content types, compression (`api`).

use super::corrected::{Anew, Values};
use super::cursor::ListCursor;
use super::measurements::{MeasurementsQuery, Point, read, resolve};
use super::{ReadModel, find_channel};
use crate::error::QueryError;
use domain::Timestamp;
use domain::canonical::write_number;
use std::io::Write;

/// Points of a chunk; 160 KiB of memory.
const CHUNK: usize = 10_000;

/// RFC 3339 in UTC with as many decimals as the instant needs: none, three or six.
pub fn rfc3339(at: Timestamp) -> String {
    let mut text = Vec::with_capacity(27);
    write_time(&mut text, at);
    String::from_utf8(text).expect("the canonical text is ASCII")
}

fn write_time(out: &mut Vec<u8>, at: Timestamp) {
    let start = out.len();
    at.write(out);
    let us = at.as_micros();
    let keep = if us % 1_000_000 == 0 {
        19
    } else if us % 1_000 == 0 {
        23
    } else {
        26
    };
    out.truncate(start + keep);
    out.push(b'Z');
}

/// Appends a number as JSON, the shortest that reads back as the same.
pub fn write_value(out: &mut Vec<u8>, value: f64) {
    if write_number(out, value).is_err() {
        // Beyond 2^53, which canonical JSON does not write: any JSON will do here.
        match serde_json::Number::from_f64(value) {
            Some(number) => out.extend_from_slice(number.to_string().as_bytes()),
            None => out.extend_from_slice(b"null"),
        }
    }
}

/// The first line of a CSV.
pub const fn csv_header(values: Values) -> &'static [u8] {
    match values {
        Values::Both => b"ts,value,raw\n",
        Values::Calibrated | Values::Raw => b"ts,value\n",
    }
}

/// Appends a point as a line of CSV.
pub fn write_csv_line(out: &mut Vec<u8>, values: Values, point: &Point) {
    write_time(out, point.at);
    out.push(b',');
    write_value(out, point.value);
    if values == Values::Both {
        out.push(b',');
        write_value(out, point.raw);
    }
    out.push(b'\n');
}

/// Appends a point as a line of NDJSON.
pub fn write_ndjson_line(out: &mut Vec<u8>, channel: &str, values: Values, point: &Point) {
    out.extend_from_slice(b"{\"channel_id\":\"");
    out.extend_from_slice(channel.as_bytes());
    out.extend_from_slice(b"\",\"ts\":\"");
    write_time(out, point.at);
    out.extend_from_slice(b"\",\"value\":");
    write_value(out, point.value);
    if values == Values::Both {
        out.extend_from_slice(b",\"raw\":");
        write_value(out, point.raw);
    }
    out.extend_from_slice(b"}\n");
}

impl ReadModel {
    /// Gives every point of the range to `each`, however many; `limit` and `cursor` do not apply. Returns their
    /// number.
    ///
    /// # Errors
    /// As [`ReadModel::measurements`], and what `each` returns.
    pub fn stream(
        &self,
        account: &str,
        channel: &str,
        query: &MeasurementsQuery,
        each: &mut dyn FnMut(Point) -> std::io::Result<()>,
    ) -> Result<u64, QueryError> {
        if query.from > query.to {
            return Err(QueryError::BadRange("from is after to".to_owned()));
        }
        let (from, to) = (query.from.as_micros(), query.to.as_micros());
        let mut at = ListCursor {
            channel: channel.to_owned(),
            agg: query.agg,
            function: query.function,
            values: query.values,
            from,
            to,
            last: from - 1,
        };
        let mut chunk = Vec::new();
        let mut given = 0;
        loop {
            chunk.clear();
            let more = self.ask(|connection| {
                let found = find_channel(connection, account, channel)?;
                at.agg = resolve(connection, &found, at.agg, from, to)?;
                read(
                    connection,
                    found.key,
                    &at,
                    (CHUNK, &mut Anew::of_an_answer()),
                    &mut |point| {
                        chunk.push(point);
                        Ok(())
                    },
                )
            })?;
            for point in &chunk {
                each(*point).map_err(QueryError::Receiver)?;
            }
            given += chunk.len() as u64;
            match chunk.last() {
                Some(last) if more => at.last = last.at.as_micros(),
                _ => return Ok(given),
            }
        }
    }

    /// Writes `ts,value` and a line a point, with `raw` behind where both are asked for. Returns the number of points.
    ///
    /// # Errors
    /// As [`ReadModel::stream`]. Nothing is written where the channel is not found.
    pub fn write_csv(
        &self,
        account: &str,
        channel: &str,
        query: &MeasurementsQuery,
        out: &mut dyn Write,
    ) -> Result<u64, QueryError> {
        self.ask(|connection| find_channel(connection, account, channel))?;
        out.write_all(csv_header(query.values))
            .map_err(QueryError::Receiver)?;
        let mut line = Vec::with_capacity(64);
        self.stream(account, channel, query, &mut |point| {
            line.clear();
            write_csv_line(&mut line, query.values, &point);
            out.write_all(&line)
        })
    }

    /// Writes `{"channel_id":…,"ts":…,"value":…}` (and `"raw"` where both are asked for), a line a point, channel by channel. Returns the number.
    ///
    /// # Errors
    /// As [`ReadModel::stream`]. Nothing is written where a channel is not found.
    pub fn write_ndjson(
        &self,
        account: &str,
        channels: &[&str],
        query: &MeasurementsQuery,
        out: &mut dyn Write,
    ) -> Result<u64, QueryError> {
        self.ask(|connection| {
            channels
                .iter()
                .try_for_each(|id| find_channel(connection, account, id).map(|_| ()))
        })?;
        let mut line = Vec::with_capacity(128);
        let mut given = 0;
        for channel in channels {
            given += self.stream(account, channel, query, &mut |point| {
                line.clear();
                write_ndjson_line(&mut line, channel, query.values, &point);
                out.write_all(&line)
            })?;
        }
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_decimals_they_need() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_500_000, "1970-01-01T00:00:01.500Z"),
            (1_500_001, "1970-01-01T00:00:01.500001Z"),
        ] {
            assert_eq!(rfc3339(Timestamp::from_micros(us).expect("in range")), text);
        }
    }

    #[test]
    fn numbers_have_dots_and_read_back() {
        for value in [4.2, -0.5, 61.0, 1e-7, 1e15, 1e300, 9_007_199_254_740_993.0] {
            let mut out = Vec::new();
            write_value(&mut out, value);
            let text = String::from_utf8(out).expect("UTF-8");
            assert_eq!(text.parse::<f64>(), Ok(value), "{text}");
            assert!(!text.contains(','));
        }
    }
}
