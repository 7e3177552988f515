use std::time::Duration;

use super::value::{duration_text, parse_duration, parse_size, size_text};
use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("test.toml"))
}

/// Where the error of `text` is, and what it says.
fn refusal(text: &str) -> (usize, usize, String) {
    match parse(text) {
        Err(ConfigError::Syntax { line, column, message, .. }) => (line, column, message),
        other => panic!("{text:?} gave {other:?}"),
    }
}

#[test]
fn the_empty_file_is_the_default() {
    assert_eq!(parse("").unwrap(), Config::default());
}

#[test]
fn the_annotated_file_is_the_default_and_names_every_key() {
    assert_eq!(parse(DEFAULT_FILE).unwrap(), Config::default());
    let annotated: toml::Table = DEFAULT_FILE.parse().unwrap();
    assert_eq!(annotated, toml::Table::try_from(Config::default()).unwrap());
}

#[test]
fn ports_timers_and_limits_are_those_of_the_documents() {
    let Config { node, discovery, retrieval, fetch, hosted_client, hosted_cache, .. } = Config::default();
    // [MS-PCCRD] 2.1 and 3.1.2.
    assert_eq!((discovery.port, fetch.probe_timeout), (3702, Duration::from_millis(300)));
    // [MS-PCCRR] 3.1.2, 3.2.1 and 3.2.2.
    let timers = (fetch.request_timeout, retrieval.request_timeout);
    assert_eq!(timers, (Duration::from_secs(2), Duration::from_secs(15)));
    assert_eq!((node.port, retrieval.max_uploads.get(), hosted_cache.max_uploads.get()), (80, 64, 1024));
    // [MS-PCHC] 2.1.
    assert_eq!((hosted_cache.http_port, hosted_cache.https_port), (80, 443));
    assert_eq!((hosted_client.http_port, hosted_client.https_port, hosted_client.retrieval_port), (80, 443, 80));
}

#[test]
fn unknown_keys_name_line_and_column() {
    let (line, column, message) = refusal("[node]\nport = 80\nlisten_port = 1\n");
    assert_eq!((line, column), (3, 1));
    assert!(message.contains("listen_port") && message.contains("`port`"), "{message}");
    assert_eq!(refusal("[nodes]\n").0, 1);
    let text = parse("\n[log]\nfiltre = 1").unwrap_err().to_string();
    assert!(text.starts_with("test.toml:3:1: "), "{text}");
}

#[test]
fn bad_values_are_shown_where_they_stand() {
    for (text, place) in [
        ("[node]\nport = 65536", (2, 8)),
        ("[node]\nmode = \"hosted\"", (2, 8)),
        ("[node]\nlisten = [\"0.0.0.0\", \"eth0\"]", (2, 22)),
        ("[cache]\nsize = \"5 MiB\"", (2, 8)),
        ("[cache]\nsize = \"101 %\"", (2, 8)),
        ("[cache]\nsize = \"5 percent\"", (2, 8)),
        ("[cache]\nkeep_free = \"5 %\"", (2, 13)),
        ("[cache]\nmax_age = 28", (2, 11)),
        ("[cache]\nmax_age = \"28 fortnights\"", (2, 11)),
        ("[discovery]\ninterfaces = []", (2, 14)),
        ("[discovery]\ninterfaces = \"eth0\"", (2, 14)),
        ("[retrieval]\nmax_uploads = 0", (2, 15)),
        ("[control]\nadmin_mode = \"0999\"", (2, 14)),
        ("[control]\nadmin_mode = \"1777\"", (2, 14)),
        ("[control]\nmax_staged_per_user = -1", (2, 23)),
        ("[hosted_client]\nversion = \"3.0\"", (2, 11)),
        ("[hosted_client]\nservers = [\"cache\", \"http://cache\"]", (2, 21)),
        ("[hosted_client]\nservers = [\"cache:80\"]", (2, 12)),
        ("[hosted_cache]\nallow = [\"192.0.2.0/33\"]", (2, 10)),
        ("[hosted_cache]\nmax_pulls = 0", (2, 13)),
        ("[log]\nfilter = \"a=b=c\"", (2, 10)),
        ("[node]\nport = ", (2, 8)),
    ] {
        let (line, column, message) = refusal(text);
        assert_eq!((line, column), place, "{text:?}: {message}");
    }
}

#[test]
fn bad_values_of_hosted_mode_are_told_what_to_write_instead() {
    for (text, told) in [
        ("[hosted_cache]\nallow = [\"192.0.2.1\"]", "\"192.0.2.1/32\" is this address alone"),
        ("[hosted_cache]\ndeny = [\"2001:db8::1\"]", "\"2001:db8::1/128\" is this address alone"),
        ("[hosted_cache]\nallow = [\"192.0.2.5/24\"]", "\"192.0.2.0/24\"; the address alone is \"192.0.2.5/32\""),
        ("[hosted_cache]\ndeny = [\"2001:db8::1/32\"]", "which is \"2001:db8::/32\""),
        ("[hosted_cache]\nallow = [\"192.0.2.0/33\"]", "as in \"192.0.2.0/24\""),
        ("[hosted_cache]\nallow = [10]", "expected a subnet in quotes"),
        ("[hosted_client]\nversion = 1.0", "expected \"1.0\" or \"2.0\", in quotes"),
        ("[hosted_client]\nversion = 2", "expected \"1.0\" or \"2.0\", in quotes"),
        ("[control]\nadmin_mode = 0o600", "expected a mode in quotes such as \"0600\""),
    ] {
        let message = refusal(text).2;
        assert!(message.contains(told), "{text:?}: {message}");
    }
}

#[test]
fn values_take_their_text_forms() {
    let config = parse(
        "[cache]\nsize = \"20 GiB\"\nmax_age = \"36h\"\n[discovery]\ninterfaces = [\"eth0\", \"wlan0\"]\n\
         [control]\nmax_staged_per_user = 1048576\napi_mode = \"660\"\n",
    )
    .unwrap();
    assert_eq!(config.cache.size, CacheSize::Bytes(20 << 30));
    assert_eq!(config.cache.max_age, Duration::from_secs(36 * 3600));
    assert_eq!(config.discovery.interfaces, Interfaces::Only(vec!["eth0".to_owned(), "wlan0".to_owned()]));
    assert_eq!(config.control.max_staged_per_user, 1 << 20);
    assert_eq!(config.control.api_mode, SocketMode(0o660));
    let again = parse(&toml::to_string(&config).unwrap()).unwrap();
    assert_eq!(again, config);
}

#[test]
fn sizes_and_times_read_back_as_written() {
    for bytes in [0, 1, 1023, 1024, 16 << 20, 5 << 40, u64::MAX] {
        assert_eq!(parse_size(&size_text(bytes)), Ok(bytes));
    }
    for millis in [0, 1, 999, 1_000, 60_000, 90_000, 86_400_000] {
        let span = Duration::from_millis(millis);
        assert_eq!(parse_duration(&duration_text(span)), Ok(span));
    }
    assert_eq!(parse_size("10 gib"), Ok(10 << 30));
    assert_eq!(parse_size("1MB"), Ok(1_000_000));
    for bad in ["", "GiB", "-1 B", "1.5 GiB", "20000000 TiB", "99999999999999999999", "1 GiBs"] {
        assert!(parse_size(bad).is_err(), "{bad}");
    }
    for bad in ["", "5", "5 S", "1h30min", "999999999999999999d"] {
        assert!(parse_duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_file_that_is_not_there_or_is_no_text_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.toml");
    assert!(matches!(Config::load(&path), Err(ConfigError::Read { .. })));
    std::fs::write(&path, [b'#', 0xff]).unwrap();
    assert!(matches!(Config::load(&path), Err(ConfigError::NotText { .. })));
    std::fs::write(&path, vec![b'#'; 1 + MAX_FILE_SIZE as usize]).unwrap();
    assert!(matches!(Config::load(&path), Err(ConfigError::TooLarge { size: 1_048_577, .. })));
    std::fs::write(&path, "[log]\nfilter = \"debug\"").unwrap();
    assert_eq!(Config::load(&path).unwrap().log.filter.as_str(), "debug");
}

#[test]
fn keys_that_do_not_go_together_are_refused() {
    let message = |text: &str| match parse(text) {
        Err(ConfigError::Contradiction { message, .. }) => message,
        other => panic!("{text:?} gave {other:?}"),
    };
    assert!(message("[node]\nmode = \"hosted-client\"").contains("names no server"));
    assert!(message("[hosted_cache]\ncertificate = \"cert.pem\"").contains("need each other"));
    assert!(message("[hosted_cache]\nprivate_key = \"key.pem\"").contains("need each other"));
    let no_offers = "[node]\nmode = \"hosted-cache\"\n[hosted_cache]\nhttp_port = 0";
    assert!(message(no_offers).contains("neither version"));
    let config = parse(&format!("{no_offers}\ncertificate = \"cert.pem\"\nprivate_key = \"key.pem\"")).unwrap();
    assert_eq!(config.node.mode, Mode::HostedCache);
    let ports = |node: u16, http: u16, https: u16| {
        message(&format!(
            "[node]\nmode = \"hosted-cache\"\nport = {node}\n[hosted_cache]\nhttp_port = {http}\nhttps_port = {https}\n\
             certificate = \"cert.pem\"\nprivate_key = \"key.pem\""
        ))
    };
    assert!(ports(0, 80, 443).starts_with("node.port is 0"));
    assert!(ports(80, 443, 443).starts_with("hosted_cache.https_port and hosted_cache.http_port"));
    assert!(ports(443, 80, 443).starts_with("hosted_cache.https_port and node.port"));
    parse("[node]\nmode = \"hosted-cache\"\nport = 443").expect("without a certificate there is no TLS port");
    let client_message = |text: &str| message(&format!("[node]\nmode = \"hosted-client\"\n[hosted_client]\n{text}"));
    for servers in ["[\"a\", \"b\", \"A.\"]", "[\"::1\", \"b\", \"::1\"]"] {
        assert!(client_message(&format!("servers = {servers}")).ends_with("twice"));
    }
    assert!(client_message("servers = [\"a\"]\nretrieval_port = 0").contains("retrieval_port is 0"));
    assert!(client_message("servers = [\"a\"]\nhttp_port = 0").contains("http_port is 0"));
    assert!(client_message("servers = [\"a\"]\nversion = \"1.0\"\nhttps_port = 0").contains("https_port is 0"));
    parse("[node]\nmode = \"hosted-client\"\n[hosted_client]\nservers = [\"a\"]\nhttps_port = 0").unwrap();
    let client =
        parse("[node]\nmode = \"hosted-client\"\n[hosted_client]\nservers = [\"cache-1.example\", \"2001:db8::1\"]");
    let names: Vec<_> = client.unwrap().hosted_client.servers.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["cache-1.example", "2001:db8::1"]);
}

#[test]
fn a_hosted_cache_that_nobody_could_use_is_refused() {
    let message = |node: &str, text: &str| match parse(&format!(
        "[node]\nmode = \"hosted-cache\"\n{node}\n[hosted_cache]\n{text}"
    )) {
        Err(ConfigError::Contradiction { message, .. }) => message,
        other => panic!("{text:?} gave {other:?}"),
    };
    assert!(message("listen = []", "").starts_with("node.listen names no address"));
    assert!(message("", "max_bytes_per_source = 0").contains("max_bytes_per_source is 0"));
    for (node, text) in [
        ("", "deny = [\"0.0.0.0/0\", \"::/0\"]"),
        ("", "deny = [\"0.0.0.0/1\", \"128.0.0.0/1\", \"::/0\"]"),
        ("listen = [\"0.0.0.0\"]", "deny = [\"0.0.0.0/0\"]"),
        ("", "allow = [\"192.0.2.0/24\"]\ndeny = [\"192.0.0.0/16\"]"),
    ] {
        assert!(message(node, text).contains("nobody's offers would be taken"), "{node} {text}");
    }
}

#[test]
fn servers_of_a_hosted_client_are_single_hosts_each_named_once() {
    let message = |text: &str| match parse(&format!("[node]\nmode = \"hosted-client\"\n[hosted_client]\n{text}")) {
        Err(ConfigError::Contradiction { message, .. }) => message,
        other => panic!("{text:?} gave {other:?}"),
    };
    assert!(message("servers = [\"2001:db8::1\", \"2001:DB8:0::1\"]").ends_with("twice"));
    assert!(message("servers = [\"192.0.2.1\", \"::ffff:192.0.2.1\"]").ends_with("twice"));
    for address in ["0.0.0.0", "::", "239.255.255.250", "255.255.255.255"] {
        assert!(message(&format!("servers = [{address:?}]")).ends_with("no address of a single host"), "{address}");
    }
    assert!(message("servers = [\"a\"]\nversion = \"1.0\"\nretrieval_port = 443").contains("one port"));
    parse("[node]\nmode = \"hosted-client\"\n[hosted_client]\nservers = [\"a\"]\nhttps_port = 80").unwrap();
}

#[test]
fn what_works_but_is_surely_not_meant_is_noted() {
    let notes = |mode: &str, text: &str| parse(&format!("[node]\nmode = {mode:?}\n{text}")).unwrap().notes();
    let cache = |text: &str| notes("hosted-cache", &format!("[hosted_cache]\n{text}"));
    let client = |text: &str| notes("hosted-client", &format!("[hosted_client]\nservers = [\"192.0.2.1\"]\n{text}"));
    let certificate = "certificate = \"c.pem\"\nprivate_key = \"k.pem\"";
    for (notes, told) in [
        (cache("max_pulls = 4"), "max_pulls_per_source is 8, but max_pulls is 4"),
        (cache("max_queued = 1000"), "max_queued_per_source is 262144, but max_queued is 1000"),
        (cache("blind = true"), "blind does nothing"),
        (cache("https_port = 8443"), "https_port is not used: there is no certificate"),
        (cache(&format!("https_port = 0\n{certificate}")), "certificate is not used: https_port is 0"),
        (cache("[retrieval]\nmax_uploads = 9"), "a hosted cache has hosted_cache.max_uploads"),
        (cache("[discovery]\nport = 3703"), "[discovery] is not used: node.mode is \"hosted-cache\""),
        (client("[discovery]\nport = 3703"), "[discovery] is not used: hosted_client.fallback is \"origin\""),
        (notes("local", "[discovery]\nport = 3703"), "[discovery] is not used: node.mode is \"local\""),
        (cache("deny = [\"0.0.0.0/0\"]"), "refuses the offers from all of 0.0.0.0/0"),
        (
            cache("allow = [\"192.0.2.0/24\", \"198.51.100.0/24\"]\ndeny = [\"192.0.2.0/24\"]"),
            "refuses the offers from all of 192.0.2.0/24",
        ),
        (client("trust = \"t.pem\""), "trust is not used: hosted_client.version is \"2.0\""),
        (client("https_port = 8443"), "https_port is not used: hosted_client.version is \"2.0\""),
        (client("version = \"1.0\"\nhttp_port = 8080"), "http_port is not used: hosted_client.version is \"1.0\""),
        (client("fallback = \"distributed\"\n[discovery]\nipv4 = false\nipv6 = false"), "no peer is looked for"),
        (notes("hosted-client", "[hosted_client]\nservers = [\"127.0.0.1\"]"), "127.0.0.1, an address of this host"),
        (notes("hosted-client", "[hosted_client]\nservers = [\"LocalHost.\"]"), "LocalHost., an address of this host"),
    ] {
        assert!(matches!(&notes[..], [note] if note.contains(told)), "{told}: {notes:?}");
    }
    assert!(cache(&format!("blind = true\n{certificate}\ndeny = [\"192.0.2.0/24\"]")).is_empty());
    assert!(client("version = \"1.0\"\ntrust = \"t.pem\"").is_empty());
    assert!(client("fallback = \"distributed\"\n[discovery]\nport = 3703").is_empty());
    assert!(notes("client", "[discovery]\nport = 3703\n[retrieval]\nmax_uploads = 9").is_empty());
    let other_port = "port = 8080\n[hosted_client]\nservers = [\"127.0.0.1\"]";
    assert!(notes("hosted-client", other_port).is_empty(), "another program of this host may be one");
}

#[test]
fn sections_that_the_mode_does_not_use_are_named() {
    let hosted_cache = "[hosted_cache]\nblind = true\n";
    let hosted_client = "[hosted_client]\nservers = [\"a\"]\n";
    for (mode, unused) in [
        ("distributed", &["hosted_client", "hosted_cache"][..]),
        ("hosted-client", &["hosted_cache"]),
        ("hosted-cache", &["hosted_client"]),
    ] {
        let config = parse(&format!("{hosted_cache}{hosted_client}[node]\nmode = \"{mode}\"")).unwrap();
        assert_eq!(config.unused_sections(), unused, "{mode}");
    }
    assert!(parse(DEFAULT_FILE).unwrap().unused_sections().is_empty(), "nothing is lost that is as it is without them");
}

#[test]
fn offers_are_taken_from_the_sources_that_are_allowed() {
    let hosted = |text: &str| parse(&format!("[hosted_cache]\n{text}")).unwrap().hosted_cache;
    let [inside, outside, mapped] = ["192.0.2.7", "198.51.100.1", "::ffff:192.0.2.7"].map(|ip| ip.parse().unwrap());
    assert!(hosted("").takes_from(outside));
    let some = hosted("allow = [\"192.0.2.0/24\"]\ndeny = [\"192.0.2.8/29\"]");
    assert!(some.takes_from(inside) && some.takes_from(mapped) && !some.takes_from(outside));
    assert!(!some.takes_from("192.0.2.9".parse().unwrap()));
}
