//! `peerdist check-config`, help and usage errors.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::run::peerdist;

#[test]
fn the_printed_default_is_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("peerdist.toml");
    fs::write(&file, peerdist(["check-config", "--print-default"]).stdout()).unwrap();
    let said = peerdist(["check-config".as_ref(), file.as_os_str()]).stdout();
    assert_eq!(said, format!("{}: ok\n", file.display()));
}

#[test]
fn a_wrong_key_is_shown_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("peerdist.toml");
    fs::write(&file, "[node]\nport = 80\nlisen = []\n").unwrap();
    let error = peerdist(["check-config".as_ref(), file.as_os_str()]).error(64);
    assert!(error.contains(&format!("{}:3:1: unknown field `lisen`", file.display())), "{error}");
    assert!(error.contains("lisen = []"), "{error}");
    assert!(error.contains("--print-default"), "{error}");
}

#[test]
fn a_missing_file_is_a_wrong_configuration() {
    let error = peerdist(["check-config", "/nonexistent/peerdist.toml"]).error(64);
    assert!(error.contains("/nonexistent/peerdist.toml"), "{error}");
    assert_eq!(error.matches("No such file").count(), 1, "{error}");
}

#[test]
fn the_certificate_of_a_hosted_cache_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let [file, chain, key] = ["peerdist.toml", "chain.pem", "key.pem"].map(|name| dir.path().join(name));
    let certificate = rcgen::generate_simple_self_signed(["cache.example".to_owned()]).unwrap();
    let other = rcgen::KeyPair::generate().unwrap().serialize_pem();
    fs::write(
        &file,
        format!("[node]\nmode = \"hosted-cache\"\n[hosted_cache]\ncertificate = {chain:?}\nprivate_key = {key:?}\n"),
    )
    .unwrap();
    let check = || peerdist(["check-config".as_ref(), file.as_os_str()]);
    let write_key = |text: &str| {
        fs::write(&key, text).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let error = check().error(64);
    assert!(error.contains("chain.pem") && error.contains("help: "), "{error}");
    fs::write(&chain, certificate.cert.pem()).unwrap();
    assert!(check().error(64).contains("key.pem"));
    write_key("some text");
    assert!(check().error(64).contains("key.pem: no private key in it"));
    write_key(&other);
    assert!(check().error(64).contains("does not belong"));
    write_key(&certificate.signing_key.serialize_pem());
    assert_eq!(check().stdout(), format!("{}: ok\n", file.display()));
    // The daemon says the same.
    write_key(&other);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = fs::read_to_string(&file).unwrap();
    let config = config.replace("[node]", &format!("[node]\nlisten = [\"127.0.0.1\"]\nport = {port}"));
    let config = config.replace("[hosted_cache]", &format!("[hosted_cache]\nhttp_port = {port}"));
    let paths = ["admin", "api"].map(|name| format!("{name}_socket = {:?}\n", dir.path().join(name))).concat();
    fs::write(&file, format!("{config}[cache]\ndir = {:?}\n[control]\n{paths}", dir.path().join("cache"))).unwrap();
    let error = peerdist(["daemon".as_ref(), "--config".as_ref(), file.as_os_str()]).error(64);
    assert!(error.contains("does not belong"), "{error}");
}

/// A configuration of a hosted cache with this certificate, in a folder of its own.
fn hosted_cache_with(params: &rcgen::CertificateParams, pair: &rcgen::KeyPair) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let [file, chain, key] = ["peerdist.toml", "chain.pem", "key.pem"].map(|name| dir.path().join(name));
    fs::write(&chain, params.self_signed(pair).unwrap().pem()).unwrap();
    fs::write(&key, pair.serialize_pem()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let config =
        format!("[node]\nmode = \"hosted-cache\"\n[hosted_cache]\ncertificate = {chain:?}\nprivate_key = {key:?}\n");
    fs::write(&file, config).unwrap();
    (dir, file)
}

#[test]
fn a_key_that_windows_7_cannot_use_is_warned_of() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(["cache.example".to_owned()]).unwrap();
    let (_dir, file) = hosted_cache_with(&params, &pair);
    let ran = peerdist(["check-config".as_ref(), file.as_os_str()]);
    assert_eq!((ran.status, ran.stdout), (0, format!("{}: ok\n", file.display())));
    assert!(ran.stderr.starts_with("warning: clients of Windows 7"), "{}", ran.stderr);
}

/// What `check-config` says of a hosted cache with a certificate, and the daemon after it.
fn said_of(params: &rcgen::CertificateParams) -> [String; 2] {
    let (dir, file) = hosted_cache_with(params, &rcgen::KeyPair::generate().unwrap());
    let ran = peerdist(["check-config".as_ref(), file.as_os_str()]);
    assert_eq!((ran.status, ran.stdout), (0, format!("{}: ok\n", file.display())));
    // The daemon ends as soon as it finds that its port is taken.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let https_port = taken.local_addr().unwrap().port();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = fs::read_to_string(&file).unwrap();
    let config = config.replace("[node]", &format!("[node]\nlisten = [\"127.0.0.1\"]\nport = {port}"));
    let ports = format!("[hosted_cache]\nhttp_port = {port}\nhttps_port = {https_port}");
    let config = config.replace("[hosted_cache]", &ports);
    fs::write(&file, format!("{config}[cache]\ndir = {:?}\n", dir.path().join("cache"))).unwrap();
    let daemon = peerdist(["daemon".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_eq!(daemon.status, 1, "{daemon:?}");
    [ran.stderr, daemon.stderr + &daemon.stdout]
}

#[test]
fn a_certificate_that_clients_refuse_is_warned_of() {
    let params = || rcgen::CertificateParams::new(["cache.example".to_owned()]).unwrap();
    assert_eq!(said_of(&params())[0], "");
    let mut expired = params();
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let mut early = params();
    early.not_before = rcgen::date_time_ymd(4000, 1, 1);
    let nameless = rcgen::CertificateParams::new([]).unwrap();
    for (params, fault) in [
        (expired, "the certificate has expired on Jan  1 00:00:00 2020"),
        (early, "the certificate is not valid before Jan  1 00:00:00 4000"),
        (nameless, "the certificate names no host as subject alternative name"),
    ] {
        let [checked, logged] = said_of(&params);
        assert!(checked.starts_with(&format!("warning: {fault}")), "{checked}");
        assert!(logged.contains(fault), "{logged}");
    }
}

#[test]
fn what_works_but_is_not_meant_is_noted_and_the_daemon_says_it_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("peerdist.toml");
    fs::write(&file, "[node]\nmode = \"hosted-cache\"\n[hosted_cache]\nblind = true\nmax_pulls = 4\n").unwrap();
    let ran = peerdist(["check-config".as_ref(), file.as_os_str()]);
    assert_eq!((ran.status, ran.stdout), (0, format!("{}: ok\n", file.display())));
    let notes: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[0].starts_with("note: hosted_cache.max_pulls_per_source is 8, but max_pulls is 4"), "{notes:?}");
    assert!(notes[1].starts_with("note: hosted_cache.blind does nothing"), "{notes:?}");
    // It stops for want of a place for its cache.
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{config}[cache]\ndir = {file:?}\n")).unwrap();
    let ran = peerdist(["daemon".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_ne!(ran.status, 0);
    for note in notes {
        let text = note.trim_start_matches("note: ");
        assert!(ran.stderr.contains(text) || ran.stdout.contains(text), "{ran:?}");
    }
}

#[test]
fn sections_of_another_mode_are_noted() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("peerdist.toml");
    fs::write(&file, "[hosted_client]\nservers = [\"cache.example\"]\n").unwrap();
    let ran = peerdist(["check-config".as_ref(), file.as_os_str()]);
    assert_eq!((ran.status, ran.stdout), (0, format!("{}: ok\n", file.display())));
    assert_eq!(ran.stderr, "note: [hosted_client] is not used: node.mode is \"distributed\"\n");
}

#[test]
fn the_trusted_certificates_of_a_hosted_client_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let [file, trust] = ["peerdist.toml", "trust.pem"].map(|name| dir.path().join(name));
    fs::write(
        &file,
        format!(
            "[node]\nmode = \"hosted-client\"\n[hosted_client]\nservers = [\"cache.example\"]\nversion = \"1.0\"\n\
             trust = {trust:?}\n"
        ),
    )
    .unwrap();
    let check = || peerdist(["check-config".as_ref(), file.as_os_str()]);
    assert!(check().error(64).contains("trust.pem"));
    fs::write(&trust, "no certificate").unwrap();
    assert!(check().error(64).contains("trust.pem: no certificate in it"));
    let certificate = rcgen::generate_simple_self_signed(["cache.example".to_owned()]).unwrap();
    fs::write(&trust, certificate.cert.pem()).unwrap();
    assert_eq!(check().stdout(), format!("{}: ok\n", file.display()));
}

#[test]
fn wrong_words_end_with_2_and_help_with_0() {
    assert!(peerdist(["chek-config"]).error(2).contains("check-config"));
    assert!(peerdist(["check-config"]).error(2).contains("FILE"));
    let help = peerdist(["--help"]).stdout();
    assert!(help.contains("Exit status:"), "{help}");
    assert!(peerdist(["--version"]).stdout().contains(env!("CARGO_PKG_VERSION")));
}
