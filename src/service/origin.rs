//! Which hosts a request may be for, and which pages a browser may send it from.
//!
//! If authentication is off, everyone who reaches the service may read the whole register. It listens on loopback, so
//! that is everyone on this machine, and a browser on this machine runs the code of other sites:
//!
//! - A page of `evil.example` sends requests to `http://localhost:8080`. The browser names the page in `Origin` and
//!   `Sec-Fetch-Site`, also where it sends the request without asking first (a POST with `Content-Type: text/plain`).
//! - The name `evil.example` resolves to 127.0.0.1 after its page has been loaded (DNS rebinding). For the browser
//!   that is the page's own site, and nothing but `Host` shows it.
//!
//! So `Host` must name this machine, or a host in the configuration, and a page must come from the service itself. For
//! the names of this machine, `Host` may have any port: tunnels have ports of their own, and no site can have those
//! names. The port of a page counts, since another program on this machine may serve it. If callers authenticate,
//! neither attack has credentials, and only the form of `Host` is checked.

use super::problem::Problem;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use hyper::http::uri::Authority;
use hyper::{StatusCode, Uri, Version};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const HTTP: u16 = 80;
const HTTPS: u16 = 443;

/// A host that requests may be for, if authentication is off: `nabar.example`, `nabar.example:8443`, `[fd00::1]:8080`.
///
/// Without a port it stands for all ports.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AllowedHost(HostPort);

/// Why a text is no [`AllowedHost`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "hosts must list names or addresses, each with an optional port and nothing else, such as nabar.example, \
     nabar.example:8443 or [fd00::1]:8080; write names with other letters as xn--…"
)]
pub struct BadHost;

/// A host, and the port if one is given.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HostPort {
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// In lower case, without the final dot.
    Name(String),
    Address(IpAddr),
}

impl HostPort {
    /// Parses a host and a port. `None` for anything more, such as user information, or less.
    fn parse(text: &str) -> Option<HostPort> {
        let authority: Authority = text.parse().ok()?;
        // `Authority` accepts more than a host and a number behind the colon. What follows the host must be a port:
        // in `user@host` the text does not even begin with the host.
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => None,
            rest => Some(port(rest.strip_prefix(':')?)?),
        };
        Some(HostPort { host: Host::parse(authority.host())?, port })
    }

    fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Name(name) => name == "localhost",
            Host::Address(address) => address.is_loopback(),
        }
    }
}

impl Host {
    fn parse(text: &str) -> Option<Host> {
        if let Some(inner) = text.strip_prefix('[') {
            let address: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Host::Address(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Host::Address(address.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            !label.is_empty() && label.bytes().all(plain)
        };
        name.split('.').all(is_label).then_some(Host::Name(name))
    }
}

/// A port in digits, from 1.
fn port(digits: &str) -> Option<u16> {
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|port| all_digits && *port > 0)
}

impl FromStr for AllowedHost {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<AllowedHost, BadHost> {
        HostPort::parse(text).map(AllowedHost).ok_or(BadHost)
    }
}

impl TryFrom<String> for AllowedHost {
    type Error = BadHost;

    fn try_from(text: String) -> Result<AllowedHost, BadHost> {
        text.parse()
    }
}

/// The hosts that requests may be for: loopback names and addresses, and those of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct AllowedHosts<'a> {
    /// `hosts` in the configuration.
    pub(super) configured: &'a [AllowedHost],
    /// The port that the request arrived at.
    pub(super) port: u16,
}

impl AllowedHosts<'_> {
    /// Whether a request may be for a host.
    fn admits(&self, host: &HostPort) -> bool {
        let is_configured = |AllowedHost(allowed): &AllowedHost| {
            let right_port = match (allowed.port, host.port) {
                (None, _) => true,
                // `Host` omits the port that its scheme implies, and the scheme is not in the request.
                (Some(allowed), None) => allowed == HTTP || allowed == HTTPS,
                (Some(allowed), Some(port)) => allowed == port,
            };
            allowed.host == host.host && right_port
        };
        host.is_loopback() || self.configured.iter().any(is_configured)
    }

    /// Whether a page of a host at a port is that of the service: the request is for the same host and port, or the
    /// service is known to be there.
    fn has_page(&self, page: &Host, port: u16, default_port: u16, target: Option<&HostPort>) -> bool {
        let is_target =
            |target: &HostPort| target.host == *page && target.port.unwrap_or(default_port) == port;
        let at = HostPort { host: page.clone(), port: Some(port) };
        let is_known = match at.is_loopback() {
            true => port == self.port,
            false => self.admits(&at) && (port == self.port || port == default_port || self.lists(&at)),
        };
        target.is_some_and(is_target) || is_known
    }

    /// Whether the configuration lists a host with this port.
    fn lists(&self, host: &HostPort) -> bool {
        self.configured.iter().any(|AllowedHost(allowed)| allowed == host)
    }
}

/// Checks that a request has one `Host`, as HTTP/1.1 requires, which the target does not contradict. If authentication
/// is off, `allowed` lists the hosts that the request may be for, and it may not come from a page of another site.
///
/// Errors: 400 `host` and `origin`, and 421 `unknown-host` for a host that is not allowed.
pub(super) fn check_head(
    version: Version,
    target: &Uri,
    headers: &HeaderMap,
    allowed: Option<AllowedHosts<'_>>,
) -> Result<(), Problem> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(host),
        // A browser never sends HTTP/1.0; probes do.
        (None, None) if version < Version::HTTP_11 => None,
        _ => return Err(Problem::bad_request("host", "a request has exactly one Host header")),
    };
    let named = host.map(|host| host.to_str().ok().and_then(HostPort::parse));
    let target = target.authority().map(|authority| HostPort::parse(authority.as_str()));
    // A target in absolute form: RFC 9112, 3.2.2 lets it replace Host, and some software believes Host all the same.
    if target.is_some() && named.is_some() && (target != named || target == Some(None)) {
        let detail = "the target of the request and its Host header name different hosts";
        return Err(Problem::bad_request("host", detail));
    }
    let Some(allowed) = allowed else { return Ok(()) };
    let admitted = |host: Option<HostPort>| host.is_some_and(|host| allowed.admits(&host));
    let host = named.clone().flatten();
    if !named.into_iter().chain(target).all(admitted) {
        let detail = "without authentication the service answers only requests for localhost and loopback addresses, \
                      such as http://localhost:8080; list further hosts as hosts in nabar.toml";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "unknown-host", detail));
    }
    let own_pages = headers.get_all(ORIGIN).iter().all(|origin| is_own_page(origin, host.as_ref(), allowed))
        && headers.get_all(SEC_FETCH_SITE).iter().all(|site| site == "same-origin" || site == "none");
    match own_pages {
        true => Ok(()),
        false => Err(Problem::bad_request("origin", "requests from pages of other sites are refused")),
    }
}

/// Whether an origin is the service itself. `null`, which a page in a sandbox sends, is not. `target` is the host of the
/// request.
fn is_own_page(origin: &HeaderValue, target: Option<&HostPort>, allowed: AllowedHosts<'_>) -> bool {
    let Some((scheme, authority)) = origin.to_str().ok().and_then(|origin| origin.split_once("://")) else {
        return false;
    };
    let default_port = match scheme {
        "http" => HTTP,
        "https" => HTTPS,
        _ => return false,
    };
    HostPort::parse(authority).is_some_and(|page| {
        allowed.has_page(&page.host, page.port.unwrap_or(default_port), default_port, target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: u16 = 8080;

    fn configured() -> Vec<AllowedHost> {
        ["nabar.example", "other.example:9000", "[fd00::1]:9000", "Upper.Example."]
            .map(|text| text.parse().expect("a host"))
            .to_vec()
    }

    /// The problem of a request, without `urn:nabar:problem:`.
    fn problem(version: Version, target: &str, headers: &[(HeaderName, &str)], open: bool) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        let configured = configured();
        let allowed = open.then_some(AllowedHosts { configured: &configured, port: PORT });
        let checked = check_head(version, &target.parse().expect("a target"), &map, allowed);
        checked.err().map(|problem| problem.word().to_owned())
    }

    fn of_host(host: &str) -> Option<String> {
        problem(Version::HTTP_11, "/v1/register", &[(HOST, host)], true)
    }

    fn of_header(name: HeaderName, value: &str) -> Option<String> {
        problem(Version::HTTP_11, "/v1/register", &[(HOST, "localhost:8080"), (name, value)], true)
    }

    #[test]
    fn without_authentication_only_allowed_hosts_are_served() {
        for good in [
            "localhost:8080",
            "LocalHost:8080",
            "localhost.:8080",
            "localhost:08080",
            "127.0.0.1:8080",
            "127.8.9.1:8080",
            "[::1]:8080",
            "[0:0:0:0:0:0:0:1]:8080",
            // A tunnel, or a mapped port.
            "localhost:9000",
            "[::1]:443",
            "localhost",
            "127.0.0.1",
            "[::1]",
            "nabar.example",
            "NABAR.example.",
            "nabar.example:80",
            "nabar.example:443",
            "nabar.example:8080",
            "nabar.example:9000",
            "other.example:9000",
            "[fd00::1]:9000",
            "[FD00:0::1]:9000",
            "upper.example:8080",
        ] {
            assert_eq!(of_host(good), None, "{good}");
        }
        for bad in [
            "rebind.example",
            "rebind.example:8080",
            "localhost.rebind.example:8080",
            "rebind.localhost:8080",
            "localhost:0",
            "localhost:",
            "localhost:8080:8080",
            "localhost:+8080",
            "localhost:65616",
            "localhost..:8080",
            ".localhost:8080",
            "localhost:x.evil.com",
            "user@localhost:8080",
            "localhost:8080@rebind.example",
            "localhost@localhost:8080",
            "local%68ost:8080",
            "localhost:8080/",
            "localhost:8080#",
            "localhost, rebind.example",
            "http://localhost:8080",
            "127.1:8080",
            "0x7f.0.0.1:8080",
            "2130706433:8080",
            "0.0.0.0:8080",
            "[::]:8080",
            "[::ffff:127.0.0.1]:8080",
            "[::1%25lo]:8080",
            "[::1",
            "::1",
            "[::2]:8080",
            "169.254.169.254",
            "other.example",
            "other.example:8080",
            "[fd00::1]",
            "n\u{e5}bar.example",
            "",
            " ",
        ] {
            assert_eq!(of_host(bad).as_deref(), Some("unknown-host"), "{bad}");
        }
    }

    #[test]
    fn without_authentication_only_our_pages_may_ask() {
        for good in [
            "http://localhost:8080",
            "https://localhost:8080",
            "http://LOCALHOST:8080",
            "http://127.0.0.1:8080",
            "http://[::1]:8080",
            "http://nabar.example",
            "https://nabar.example",
            "https://nabar.example:8080",
            "http://other.example:9000",
        ] {
            assert_eq!(of_header(ORIGIN, good), None, "{good}");
        }
        for bad in [
            "http://localhost:x.evil.com",
            "http://localhost:8080.evil.com",
            "http://localhost:8080@evil.com",
            "http://localhost@evil.com",
            "http://evil.com",
            "http://evil.com:8080",
            "http://evil.com#://localhost:8080",
            "http://localhost.evil.com:8080",
            // Another program on this machine.
            "http://localhost",
            "http://localhost:3000",
            "https://[::1]:443",
            "https://other.example",
            "http://other.example:8080",
            "https://nabar.example:9000",
            "file://localhost:8080",
            "chrome-extension://localhost:8080",
            "HTTP://localhost:8080",
            "localhost:8080",
            "http://localhost:8080/",
            "http://localhost:8080 http://evil.com",
            "null",
            "",
        ] {
            assert_eq!(of_header(ORIGIN, bad).as_deref(), Some("origin"), "{bad}");
        }
        for (site, expected) in [
            ("same-origin", None),
            ("none", None),
            ("same-site", Some("origin")),
            ("cross-site", Some("origin")),
            ("other", Some("origin")),
            ("", Some("origin")),
        ] {
            assert_eq!(of_header(SEC_FETCH_SITE, site).as_deref(), expected, "{site}");
        }
        // Through a tunnel, the page has the port of the tunnel.
        for (host, origin, expected) in [
            ("localhost:9000", "http://localhost:9000", None),
            ("localhost", "http://localhost", None),
            ("localhost", "https://localhost:443", None),
            ("nabar.example:9000", "https://nabar.example:9000", None),
            ("localhost:9000", "http://localhost:3000", Some("origin")),
            ("localhost:9000", "http://127.0.0.1:9000", Some("origin")),
            ("localhost", "http://localhost:443", Some("origin")),
        ] {
            let found = problem(Version::HTTP_11, "/", &[(HOST, host), (ORIGIN, origin)], true);
            assert_eq!(found.as_deref(), expected, "{host} {origin}");
        }
        let local = (HOST, "localhost:8080");
        let two = [local, (ORIGIN, "http://localhost:8080"), (ORIGIN, "http://evil.com")];
        assert_eq!(problem(Version::HTTP_11, "/", &two, true).as_deref(), Some("origin"));
    }

    #[test]
    fn the_target_and_host_must_agree() {
        for (version, target, hosts, open, closed) in [
            (Version::HTTP_11, "/", &["localhost:8080"][..], None, None),
            (Version::HTTP_11, "http://localhost:8080/", &["localhost:8080"], None, None),
            (Version::HTTP_11, "http://LOCALHOST:8080/", &["localhost.:8080"], None, None),
            (Version::HTTP_11, "http://rebind.example/", &["localhost:8080"], Some("host"), Some("host")),
            (Version::HTTP_11, "http://localhost:8080/", &["rebind.example"], Some("host"), Some("host")),
            (Version::HTTP_11, "http://localhost:8080/", &["localhost:8081"], Some("host"), Some("host")),
            (Version::HTTP_11, "http://a@localhost:8080/", &["a@localhost:8080"], Some("host"), Some("host")),
            (Version::HTTP_11, "http://rebind.example/", &["rebind.example"], Some("unknown-host"), None),
            (Version::HTTP_11, "/", &["rebind.example"], Some("unknown-host"), None),
            (Version::HTTP_11, "/", &[], Some("host"), Some("host")),
            (Version::HTTP_11, "/", &["localhost", "localhost"], Some("host"), Some("host")),
            (Version::HTTP_10, "/", &["localhost", "rebind.example"], Some("host"), Some("host")),
            (Version::HTTP_10, "/", &[], None, None),
            (Version::HTTP_10, "/", &["rebind.example"], Some("unknown-host"), None),
            (Version::HTTP_10, "http://rebind.example/", &[], Some("unknown-host"), None),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| (HOST, *host)).collect();
            for (is_open, expected) in [(true, open), (false, closed)] {
                let found = problem(version, target, &headers, is_open);
                assert_eq!(found.as_deref(), expected, "{version:?} {target} {hosts:?} {is_open}");
            }
        }
    }

    #[test]
    fn callers_that_authenticate_may_use_any_host_and_page() {
        let headers = [(HOST, "any.example"), (ORIGIN, "http://evil.com"), (SEC_FETCH_SITE, "cross-site")];
        assert_eq!(problem(Version::HTTP_11, "/", &headers, false), None);
    }

    #[test]
    fn only_hosts_can_be_configured() {
        for bad in
            ["", "*", "*.example", "http://nabar.example", "nabar.example/", "nabar.example:x", "a b", "::1"]
        {
            assert_eq!(bad.parse::<AllowedHost>(), Err(BadHost), "{bad}");
        }
    }
}
