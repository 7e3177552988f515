//! `peerdist check-config FILE`.

use std::io::Write as _;

use peerdist_transport::hosted_cache::{Certificate, CertificateError, OfferClient};

use super::args::CheckConfigArguments;
use super::{Failure, output};
use crate::config::{Config, DEFAULT_FILE, Mode};

/// Prints "ok" for a file that the daemon would take, fails with the offending line otherwise.
pub fn run(arguments: &CheckConfigArguments) -> Result<(), Failure> {
    match &arguments.file {
        None => output::write(|to| to.write_all(DEFAULT_FILE.as_bytes())),
        Some(file) => {
            let config = Config::load(file)?;
            // Nothing is left to do where standard error is gone.
            if let Some(warning) = check_certificates(&config)? {
                let _ = writeln!(std::io::stderr(), "warning: {warning}");
            }
            for section in config.unused_sections() {
                let mode = config.node.mode;
                let _ = writeln!(std::io::stderr(), "note: [{section}] is not used: node.mode is \"{mode}\"");
            }
            output::write(|to| writeln!(to, "{}: ok", file.display()))
        }
    }
}

/// Reads the files that the daemon reads in hosted mode. Returns what may be wrong with them all the same.
fn check_certificates(config: &Config) -> Result<Option<&'static str>, CertificateError> {
    match config.node.mode {
        Mode::HostedCache => {
            let Some((chain, key)) = config.hosted_cache.certificate_files() else { return Ok(None) };
            let suits_all = Certificate::load(chain, key)?.has_ecdsa_key();
            let warning = "clients of Windows 7 cannot make offers: for them the key of the certificate has to be of the \
                           kind ECDSA P-256";
            Ok((!suits_all).then_some(warning))
        }
        Mode::HostedClient => {
            OfferClient::new(config.hosted_client.trust_file(), Vec::new())?;
            Ok(None)
        }
        Mode::Distributed | Mode::Client | Mode::Local => Ok(None),
    }
}
