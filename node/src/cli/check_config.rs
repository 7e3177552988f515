//! `peerdist check-config FILE`.

use std::io::Write as _;
use std::time::SystemTime;

use peerdist_transport::hosted_cache::{Certificate, CertificateError, CertificateFault, OfferClient};

use super::args::CheckConfigArguments;
use super::{Failure, output};
use crate::config::{Config, DEFAULT_FILE, Mode};

/// Prints "ok" for a file that the daemon would take, fails with the offending line otherwise. What the daemon would log
/// at its start goes to standard error.
pub fn run(arguments: &CheckConfigArguments) -> Result<(), Failure> {
    match &arguments.file {
        None => output::write(|to| to.write_all(DEFAULT_FILE.as_bytes())),
        Some(file) => {
            let config = Config::load(file)?;
            // Nothing is left to do where standard error is gone.
            for fault in check_certificates(&config)? {
                let _ = writeln!(std::io::stderr(), "warning: {fault}");
            }
            for note in config.notes() {
                let _ = writeln!(std::io::stderr(), "note: {note}");
            }
            output::write(|to| writeln!(to, "{}: ok", file.display()))
        }
    }
}

/// Reads the files that the daemon reads in hosted mode. Returns what may be wrong with them all the same.
fn check_certificates(config: &Config) -> Result<Vec<CertificateFault>, CertificateError> {
    match config.node.mode {
        Mode::HostedCache => match config.hosted_cache.certificate_files() {
            Some((chain, key)) => Ok(Certificate::load(chain, key)?.faults(SystemTime::now())),
            None => Ok(Vec::new()),
        },
        Mode::HostedClient => {
            OfferClient::new(config.hosted_client.trust_file(), Vec::new())?;
            Ok(Vec::new())
        }
        Mode::Distributed | Mode::Client | Mode::Local => Ok(Vec::new()),
    }
}
