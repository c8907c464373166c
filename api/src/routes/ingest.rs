//! The way of a reading from the socket to the pipeline.
//!
//! Not here: decoders and checks (`commands::ingest`).

use crate::errors::ApiError;
use crate::request::Request;
use crate::router::{Answer, Edge};

/// Which vendor's door a request came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Our own body.
    Native,
}

/// The door of a request, if it is an ingest request.
pub fn door(_request: &Request) -> Option<Door> {
    None
}

/// Takes a reading in.
///
/// # Errors
/// [`ApiError`].
pub async fn take(_app: &Edge, _request: Request, _door: Door) -> Answer {
    Err(ApiError::no_route())
}
