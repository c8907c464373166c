//! The cursor of a list of measurements: everything the next page needs, opaque to whoever carries it.
//!
//! Invariant: a cursor answers only the question it was given for; it grants nothing, since the account is
//! checked again.
//! Source: REFERENCE measurements (`cursor` embeds from, to, agg, last_ts; `from` and `to` are then ignored).
//! Not here: the page (`measurements`).

use super::corrected::Values;
use super::measurements::{Agg, Function};
use crate::error::QueryError;
use domain::hash::{base64url, from_base64url};

/// First member, so that another shape can follow one day.
const SHAPE: u8 = 2;

/// Where a list goes on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ListCursor {
    pub channel: String,
    pub agg: Agg,
    pub function: Function,
    pub values: Values,
    pub from: i64,
    pub to: i64,
    pub last: i64,
}

impl ListCursor {
    pub(super) fn encode(&self) -> String {
        let text = serde_json::json!([
            SHAPE,
            self.channel,
            self.agg.as_str(),
            self.function.as_str(),
            self.values.as_str(),
            self.from,
            self.to,
            self.last
        ]);
        base64url(text.to_string().as_bytes())
    }

    pub(super) fn decode(text: &str, channel: &str) -> Result<Self, QueryError> {
        type Shape = (u8, String, String, String, String, i64, i64, i64);
        let bytes = from_base64url(text).ok_or(QueryError::BadCursor)?;
        let (shape, of, agg, function, values, from, to, last): Shape =
            serde_json::from_slice(&bytes).map_err(|_| QueryError::BadCursor)?;
        let (Some(agg), Some(function), Some(values)) = (
            Agg::parse(&agg),
            Function::parse(&function),
            Values::parse(&values),
        ) else {
            return Err(QueryError::BadCursor);
        };
        // Of a page that was empty, the last is the one before its beginning.
        if shape != SHAPE || of != channel || agg == Agg::Auto || last.saturating_add(1) < from || last >= to
        {
            return Err(QueryError::BadCursor);
        }
        Ok(Self {
            channel: of,
            agg,
            function,
            values,
            from,
            to,
            last,
        })
    }
}
