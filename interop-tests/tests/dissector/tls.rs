//! A TLS connection without a network, and its key log.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use rustls::pki_types::PrivateKeyDer;
use rustls::{ClientConfig, ClientConnection, KeyLog, RootCertStore, ServerConfig, ServerConnection};

use crate::capture::{Capture, Connection};

/// Both ends of a connection whose bytes go into a capture.
pub(crate) struct Tls {
    client: ClientConnection,
    server: ServerConnection,
    connection: Connection,
    keys: Arc<Keys>,
}

#[derive(Debug, Default)]
struct Keys(Mutex<String>);

impl KeyLog for Keys {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = format!("{label} {} {}", hex::encode(client_random), hex::encode(secret));
        writeln!(self.0.lock().unwrap(), "{line}").unwrap();
    }
}

impl Tls {
    pub(crate) fn new(capture: &mut Capture) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["cache".to_owned()]).unwrap();
        let keys = Arc::new(Keys::default());
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        let mut client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        client.key_log = Arc::<Keys>::clone(&keys);
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let server = ServerConfig::builder().with_no_client_auth();
        let server = server.with_single_cert(vec![cert.der().clone()], key).unwrap();
        let client = ClientConnection::new(Arc::new(client), "cache".try_into().unwrap()).unwrap();
        let server = ServerConnection::new(Arc::new(server)).unwrap();
        let mut tls = Self { client, server, connection: capture.connect(), keys };
        tls.pass_on(capture);
        tls
    }

    /// The lines of its key log.
    pub(crate) fn keys(&self) -> String {
        self.keys.0.lock().unwrap().clone()
    }

    pub(crate) fn ask(&mut self, capture: &mut Capture, bytes: &[u8]) {
        std::io::Write::write_all(&mut self.client.writer(), bytes).unwrap();
        self.pass_on(capture);
    }

    pub(crate) fn answer(&mut self, capture: &mut Capture, bytes: &[u8]) {
        std::io::Write::write_all(&mut self.server.writer(), bytes).unwrap();
        self.pass_on(capture);
    }

    /// Takes records to the other side until neither has more to say.
    fn pass_on(&mut self, capture: &mut Capture) {
        while self.client.wants_write() || self.server.wants_write() {
            let mut bytes = Vec::new();
            while self.client.wants_write() {
                self.client.write_tls(&mut bytes).unwrap();
            }
            capture.ask(&mut self.connection, &bytes);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                self.server.read_tls(&mut rest).unwrap();
                self.server.process_new_packets().unwrap();
            }
            bytes.clear();
            while self.server.wants_write() {
                self.server.write_tls(&mut bytes).unwrap();
            }
            capture.answer(&mut self.connection, &bytes);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                self.client.read_tls(&mut rest).unwrap();
                self.client.process_new_packets().unwrap();
            }
        }
    }
}
