//! The edge and the wiring: sockets, routes, pages, configuration, the only clock and the only randomness.
//!
//! | file | holds |
//! |---|---|
//! | `app` | the wiring: what a running Daybook is made of |
//! | `stores`, `begin`, `chores` | the data directory, the first entries of a start, what runs beside |
//! | `publishing` | heads of days on their way to the channels of the settings |
//! | `outgoing` | a POST to somebody else, which can be given up |
//! | `mail` | e-mail, for whoever has something to say |
//! | `publisher` | signing and publishing as a process of its own, and serving beside it |
//! | `evidence` | evidence packs that were asked for over HTTP, made beside the service |
//! | `self_audit` | the service reads its own ledger again and verifies it |
//! | `serve`, `tls` | sockets, TLS, HTTP, limits on connections |
//! | `router`, `request`, `reply`, `errors` | which handler gets a request, and how it answers |
//! | `question` | what a query may say |
//! | `outflow`, `streams` | long answers, and how many there may be |
//! | `routes` | the API, one file a resource |
//! | `pages` | what people see, one file a page |
//! | `signing` | a person shows again who they are, to sign what they do |
//! | `auth`, `limits`, `redact` | who asks, how often, and what the log may know of it |
//! | `openapi` | the API's document, from the table of routes |
//! | `state` | sessions and sign-in links |
//! | `as_of` | what was in force at a moment |
//! | `data_source` | the ledger of a data directory, for verify and export |
//! | `back_off` | when what failed is tried again |
//! | `control` | the socket the command line speaks to a running service over |
//! | `witnesses` | asking others to cosign heads and checkpoints |
//! | `witness` | being a witness of others' logs, a process of its own |
//! | `config`, `clock`, `entropy`, `metrics` | the outside world, handed in |
//! | `cli` | the commands of the binary, one file each |
//!
//! Never here: SQL but for the edge's own state, hashing, decisions.

pub mod anchors;
pub mod app;
pub mod as_of;
pub mod auth;
pub mod back_off;
pub mod begin;
pub mod bench;
pub mod chores;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod data_source;
pub mod demo;
pub mod entropy;
pub mod entry_filter;
pub mod errors;
pub mod evidence;
pub mod judged;
pub mod key_chain;
pub mod limits;
pub mod mail;
pub mod metrics;
pub mod notify;
pub mod openapi;
pub mod outflow;
pub mod outgoing;
pub mod pages;
pub mod policy_record;
pub mod publisher;
pub mod publishing;
pub mod question;
pub mod redact;
pub mod rekey;
pub mod reply;
pub mod request;
pub mod router;
pub mod routes;
pub mod self_audit;
pub mod serve;
pub mod signing;
pub mod state;
pub mod stopping;
pub mod stores;
pub mod streams;
pub mod threads;
pub mod tls;
pub mod witness;
pub mod witnesses;
