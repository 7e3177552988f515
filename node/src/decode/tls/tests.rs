//! Connections that rustls makes, opened from outside.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use rustls::crypto::aws_lc_rs::{ALL_CIPHER_SUITES, default_provider};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection, SupportedCipherSuite,
};

use super::*;

const BUDGET: usize = 1 << 20;

#[derive(Debug, Default)]
struct Log(Mutex<String>);

impl rustls::KeyLog for Log {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}", hex::encode(client_random), hex::encode(secret));
        writeln!(self.0.lock().unwrap(), "{line}").unwrap();
    }
}

/// What both sides sent, in order, and the key log.
struct Recorded {
    sent: Vec<(usize, Vec<u8>)>,
    log: String,
}

/// Client and server say things to each other with this suite.
fn record(suite: SupportedCipherSuite, said: &[(usize, &[u8])]) -> Recorded {
    let key = rcgen::KeyPair::generate_for(match suite {
        SupportedCipherSuite::Tls12(suite)
            if suite.sign.iter().any(|scheme| format!("{scheme:?}").starts_with("RSA")) =>
        {
            &rcgen::PKCS_RSA_SHA256
        }
        _ => &rcgen::PKCS_ECDSA_P256_SHA256,
    });
    let key = key.unwrap();
    let certificate = rcgen::CertificateParams::new(["peer".to_owned()]).unwrap().self_signed(&key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::CryptoProvider { cipher_suites: vec![suite], ..default_provider() });
    let versions = [suite.version()];
    let log = Arc::new(Log::default());
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.key_log = Arc::clone(&log) as Arc<dyn rustls::KeyLog>;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let client = ClientConnection::new(Arc::new(config), ServerName::try_from("peer").unwrap()).unwrap();
    let mut sides: [Connection; 2] = [client.into(), ServerConnection::new(Arc::new(server)).unwrap().into()];
    let mut sent = Vec::new();
    exchange(&mut sides, &mut sent);
    for (number, (side, bytes)) in said.iter().enumerate() {
        std::io::Write::write_all(&mut sides[*side].writer(), bytes).unwrap();
        exchange(&mut sides, &mut sent);
        if number == 0 && suite.version() == &rustls::version::TLS13 {
            sides[*side].refresh_traffic_keys().unwrap();
        }
    }
    let log = log.0.lock().unwrap().clone();
    Recorded { sent, log }
}

fn exchange(sides: &mut [Connection; 2], sent: &mut Vec<(usize, Vec<u8>)>) {
    while sides.iter().any(|side| side.wants_write()) {
        for side in 0..2 {
            let mut bytes = Vec::new();
            while sides[side].wants_write() {
                sides[side].write_tls(&mut bytes).unwrap();
            }
            let mut rest = &bytes[..];
            let other = &mut sides[1 - side];
            while !rest.is_empty() {
                other.read_tls(&mut rest).unwrap();
                other.process_new_packets().unwrap();
                // What is read makes room; that there is no more yet is an error.
                let _ = std::io::Read::read_to_end(&mut other.reader(), &mut Vec::new());
            }
            sent.push((side, bytes));
        }
    }
}

/// What a session reads of it in pieces of this size.
fn open(recorded: &Recorded, keys: &KeyLog, piece: usize) -> [Vec<u8>; 2] {
    let mut budget = Budget::new(BUDGET);
    let mut session = Session::new(0);
    let mut opened = [Vec::new(), Vec::new()];
    for (side, bytes) in &recorded.sent {
        for bytes in bytes.chunks(piece) {
            session.data(*side, bytes, keys, &mut budget, &mut |plain| opened[*side].extend_from_slice(plain));
        }
    }
    session.lose(&mut budget);
    assert!(budget == Budget::new(BUDGET), "everything was given back");
    opened
}

#[test]
fn every_suite_of_rustls_is_opened() {
    let long: Vec<u8> = (0..40_000u32).map(|number| (number % 251) as u8).collect();
    for suite in ALL_CIPHER_SUITES {
        let said = [(0, &b"question"[..]), (1, &long), (0, b"more"), (1, b"answer")];
        let recorded = record(*suite, &said);
        let mut keys = KeyLog::default();
        keys.add(recorded.log.as_bytes());
        for piece in [1, 7, 1460, usize::MAX] {
            let [client, server] = open(&recorded, &keys, piece);
            assert_eq!(client, b"questionmore", "{suite:?}");
            assert!(server == [&long[..], b"answer"].concat(), "{suite:?}");
        }
    }
}

#[test]
fn without_the_right_keys_nothing_is_read() {
    let recorded = record(ALL_CIPHER_SUITES[0], &[(0, b"question")]);
    assert_eq!(open(&recorded, &KeyLog::default(), 100), [b"", b""]);
    let mut wrong = KeyLog::default();
    let other = record(ALL_CIPHER_SUITES[0], &[]);
    wrong.add(other.log.as_bytes());
    // The right name with the secrets of another connection.
    let random = recorded.log.split(' ').nth(1).unwrap();
    let of_other = other.log.split(' ').nth(1).unwrap();
    wrong.add(other.log.replace(of_other, random).as_bytes());
    assert_eq!(open(&recorded, &wrong, 100), [b"", b""]);
}

/// Why a session does not open it.
fn why(recorded: &Recorded, log: &str) -> Option<Sealed> {
    let (mut session, mut keys, mut budget) = (Session::new(0), KeyLog::default(), Budget::new(BUDGET));
    keys.add(log.as_bytes());
    for (side, bytes) in &recorded.sent {
        session.data(*side, bytes, &keys, &mut budget, &mut |_| {});
    }
    session.lose(&mut budget);
    session.sealed().map(|(client, why)| {
        assert_eq!(client, 0);
        why
    })
}

#[test]
fn it_is_said_why_a_connection_is_not_opened() {
    for suite in ALL_CIPHER_SUITES {
        let mut recorded = record(*suite, &[(0, b"question"), (1, b"answer")]);
        let log = recorded.log.clone();
        assert_eq!(why(&recorded, &log), None, "{suite:?}");
        assert_eq!(why(&recorded, ""), Some(Sealed::NoKeys), "{suite:?}");
        // A secret that is not the one.
        let secret = log.lines().map(|line| line.rsplit(' ').next().unwrap()).next().unwrap();
        let zeros = log.replace(secret, &"0".repeat(secret.len()));
        assert_eq!(why(&recorded, &zeros), Some(Sealed::WrongKeys), "{suite:?}");
        // Behind the records' header and that of the ServerHello are version, random bytes and a session id.
        let (_, hello) = recorded.sent.iter_mut().find(|(side, _)| *side == 1).unwrap();
        let at = 5 + 4 + 2 + 32 + 1 + usize::from(hello[5 + 4 + 2 + 32]);
        hello[at..at + 2].copy_from_slice(&[0xC0, 0x28]);
        assert_eq!(why(&recorded, &log), Some(Sealed::Suite(0xC028)), "{suite:?}");
        recorded.sent.retain(|(_, bytes)| bytes.first() == Some(&content::APPLICATION_DATA));
        if recorded.sent.iter().all(|(side, _)| *side == 0) {
            continue;
        }
        assert_eq!(why(&recorded, &log), Some(Sealed::NoHandshake), "{suite:?}");
    }
}

#[test]
fn secrets_are_not_printed() {
    let recorded = record(ALL_CIPHER_SUITES[0], &[]);
    let mut keys = KeyLog::default();
    keys.add(recorded.log.as_bytes());
    assert_eq!(format!("{keys:?}"), "KeyLog { connections: 1 }");
}

proptest! {
    #[test]
    fn whatever_comes_it_ends_and_gives_everything_back(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        junk in prop::collection::vec(any::<u8>(), 0..200),
        log in prop::collection::vec(any::<u8>(), 0..200),
        piece in 1..2000usize,
    ) {
        static RECORDED: std::sync::LazyLock<Recorded> =
            std::sync::LazyLock::new(|| record(ALL_CIPHER_SUITES[0], &[(0, b"question"), (1, b"answer")]));
        let mut keys = KeyLog::default();
        keys.add(&log);
        keys.add(RECORDED.log.as_bytes());
        let mut recorded = Recorded { sent: RECORDED.sent.clone(), log: String::new() };
        for (index, byte) in damage {
            let count = recorded.sent.len();
            let (_, bytes) = &mut recorded.sent[index.index(count)];
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
        }
        recorded.sent.insert(junk.len() % recorded.sent.len(), (junk.len() % 2, junk));
        open(&recorded, &keys, piece);
    }
}
