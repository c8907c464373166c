//! Requests to addresses that customers name: they reach nothing of this machine's own network.
//!
//! The addresses that a name resolves to are looked at, and it is these that are connected to: a name that resolves
//! otherwise a moment later (DNS rebinding) is not asked again. Every redirect is another request, and looked at anew.
//! Invariants: no connection is kept, because one that is kept was looked at before; no proxy of the environment is
//! used; an error tells no URL.
//! Source: RFC 6890, RFC 4193, RFC 4291, RFC 6052. Not here: what is sent (`webhook`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

/// Whether addresses of networks that are nobody else's business may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Targets {
    /// Addresses of the whole Internet only, and over TLS.
    Public,
    /// Any: receivers are on the operator's own network.
    Any,
}

/// Resolves names to addresses that may be asked.
#[derive(Debug)]
struct Guard(Targets);

/// What [`Guard`] says where none of a name's addresses may be asked.
const REFUSED: &str = "an address that is not public";

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        if self.0 == Targets::Any {
            return Ok(found);
        }
        let mut allowed = self.empty();
        for address in found.iter().filter(|address| is_public(address.ip())) {
            allowed.push(*address);
        }
        if allowed.is_empty() {
            return Err(Error::Other(REFUSED.into()));
        }
        Ok(allowed)
    }
}

/// Asks no address that may not be asked, and follows nothing by itself.
pub fn agent(targets: Targets, within: Duration) -> Agent {
    let config = Agent::config_builder()
        .timeout_global(Some(within))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .https_only(targets == Targets::Public)
        .max_idle_connections(0)
        .proxy(None)
        .user_agent(concat!("daybook/", env!("CARGO_PKG_VERSION")))
        .build();
    Agent::with_parts(config, DefaultConnector::default(), Guard(targets))
}

/// What an error is, in a word, without the URL.
pub fn code_of(error: &Error) -> &'static str {
    match error {
        Error::Timeout(_) => "timeout",
        Error::HostNotFound => "host_not_found",
        Error::RequireHttpsOnly(_) => "https_only",
        Error::Other(inner) if inner.to_string() == REFUSED => "target_not_allowed",
        Error::Tls(_) | Error::Rustls(_) => "tls",
        Error::BadUri(_) => "bad_url",
        Error::Io(_) | Error::ConnectionFailed => "connection_failed",
        _ => "bad_answer",
    }
}

/// Whether an address is one of the whole Internet's.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || a == 100 && (64..128).contains(&b)
        || a == 192 && b == 0 && c == 0
        || a == 192 && b == 88 && c == 99
        || a == 198 && (b == 18 || b == 19);
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let low = || {
        let [.., a, b, c, d] = address.octets();
        Ipv4Addr::new(a, b, c, d)
    };
    if address.to_ipv4_mapped().is_some() || segments[..6] == [0x64, 0xff9b, 0, 0, 0, 0] {
        return is_public_v4(low());
    }
    // Everything that is global is in 2000::/3; of that, what tunnels or documents is not.
    let global = segments[0] & 0xe000 == 0x2000;
    let special = segments[0] == 0x2002
        || segments[0] == 0x2001 && segments[1] < 0x200
        || segments[0] == 0x2001 && segments[1] == 0xdb8
        || segments[0] == 0x3fff;
    global && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nobody_elses_business_is_not_public() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.8",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001::1",
            "2001:db8::1",
            "::127.0.0.1",
            "64:ff9b:1::1",
        ] {
            assert!(!is_public(address.parse().expect("an address")), "{address}");
        }
        for address in [
            "1.1.1.1",
            "93.184.216.34",
            "2606:4700::1111",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn names_and_spellings_of_this_machine_are_refused_before_anything_is_connected() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("set");
        let agent = agent(Targets::Public, Duration::from_secs(5));
        for host in [
            "127.0.0.1",
            "localhost",
            "127.1",
            "2130706433",
            "0x7f000001",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "0",
        ] {
            let error = agent
                .post(format!("https://{host}:{port}/x"))
                .send("x")
                .expect_err(host);
            assert!(
                matches!(
                    code_of(&error),
                    "target_not_allowed" | "host_not_found" | "bad_url" | "connection_failed"
                ),
                "{host}: {error}"
            );
            assert!(listener.accept().is_err(), "{host} was connected to");
        }
        let plain = agent.post("http://example.eu/").send("x").expect_err("refused");
        assert_eq!(code_of(&plain), "https_only");
    }
}
