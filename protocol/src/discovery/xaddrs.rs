//! Transport addresses in XAddrs ([MS-PCCRD] 2.2.3.8): `host:port` in practice, though the document says URI.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::xml::words;

/// How many addresses of one ProbeMatch are read.
pub(super) const MAX_XADDRS: usize = 8;
/// The port of `http` where none is written.
const HTTP_PORT: u16 = 80;

/// The addresses of a white-space separated list. What is no IP address is skipped: names are never resolved.
pub(super) fn parse(text: &str) -> Vec<SocketAddr> {
    words(text).filter_map(parse_one).take(MAX_XADDRS).collect()
}

/// Writes one address without its zone, always with its port.
pub(super) fn emit(address: SocketAddr, out: &mut String) {
    use std::fmt::Write as _;
    // Writing to a string cannot fail.
    let _ = match address.ip() {
        IpAddr::V4(ip) => write!(out, "{ip}:{}", address.port()),
        IpAddr::V6(ip) => write!(out, "[{ip}]:{}", address.port()),
    };
}

fn parse_one(token: &str) -> Option<SocketAddr> {
    let authority = match token.split_at_checked(7) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http://") => rest.split(['/', '?', '#']).next()?,
        _ => token,
    };
    let address = authority
        .parse::<SocketAddr>()
        .ok()
        .or_else(|| authority.parse::<Ipv4Addr>().ok().map(|ip| SocketAddr::from((ip, HTTP_PORT))))
        .or_else(|| {
            let ip = authority.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?;
            Some(SocketAddr::from((ip, HTTP_PORT)))
        })?;
    // A zone is a name of the sender's own; here it would mean something else.
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    (address.port() != 0).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_in_the_field() {
        let expected: Vec<SocketAddr> = vec!["192.0.2.10:80".parse().unwrap(), "[2001:db8::10]:1".parse().unwrap()];
        assert_eq!(parse("192.0.2.10:80 \r\n [2001:db8::10]:1"), expected);
        assert_eq!(parse("http://192.0.2.10/116B50EB/ HTTP://[2001:db8::10]:1/x?y"), expected);
        assert_eq!(parse("192.0.2.10 [2001:db8::10]:1"), expected);
        assert_eq!(parse("[::ffff:192.0.2.10]:80 [2001:db8::10%7]:1"), expected);
        assert_eq!(parse("[2001:db8::10]"), ["[2001:db8::10]:80".parse().unwrap()]);
    }

    #[test]
    fn what_is_no_address_is_skipped() {
        let good: SocketAddr = "192.0.2.10:80".parse().unwrap();
        let text = "host:80 https://192.0.2.1/ 192.0.2.1:99999 192.0.2.1:0 2001:db8::1 ftp://x :80 [::1 192.0.2.10:80";
        assert_eq!(parse(text), [good]);
        assert_eq!(parse(&"192.0.2.10:80 ".repeat(MAX_XADDRS + 1)).len(), MAX_XADDRS);
        assert!(parse("").is_empty());
    }

    #[test]
    fn written_without_zone_and_with_port() {
        let mut text = String::new();
        emit("[fe80::1%3]:80".parse().unwrap(), &mut text);
        assert_eq!(text, "[fe80::1]:80");
    }
}
