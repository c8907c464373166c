//! The API over HTTP, one file a group of routes.
