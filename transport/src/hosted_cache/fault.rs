//! What clients find wrong with a certificate that can be used all the same.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Why some or all clients refuse a certificate, as a sentence for the administrator.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateFault {
    /// Its time is over.
    #[error("{which} has expired on {end}: clients refuse it, and make no offers of version 1.0 until it is renewed")]
    Expired {
        /// Which one of the chain.
        which: Which,
        /// The last moment of its time.
        end: String,
    },
    /// Its time has not come yet.
    #[error("{which} is not valid before {begin}: clients refuse it until then; is the clock of this host right?")]
    NotYetValid {
        /// Which one of the chain.
        which: Which,
        /// The first moment of its time.
        begin: String,
    },
    /// It says nowhere whose it is, where clients look today.
    #[error(
        "the certificate names no host as subject alternative name: clients of peerdist refuse it, and only those may take \
         it that still look at the common name"
    )]
    NoName,
    /// It is not what X.509 says.
    #[error("{which} cannot be understood, and clients may refuse it: {reason}")]
    Malformed {
        /// Which one of the chain.
        which: Which,
        /// What is wrong with it.
        reason: String,
    },
    /// Its key is not of the kind ECDSA. With others Windows 7 has no cipher suite in common: those for RSA that it has
    /// are older than what is spoken here.
    #[error(
        "clients of Windows 7 cannot make offers: for them the key of the certificate has to be of the kind ECDSA P-256"
    )]
    NotForWindows7,
}

/// A certificate of a chain, counted from 0, which is the host's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Which(usize);

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0 => f.write_str("the certificate"),
            number => write!(f, "certificate {} of the chain", number + 1),
        }
    }
}

/// What is wrong with a chain at a moment.
pub(super) fn of_chain(chain: &[CertificateDer<'_>], now: SystemTime) -> Vec<CertificateFault> {
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
    let mut faults = Vec::new();
    for (number, certificate) in chain.iter().enumerate() {
        let which = Which(number);
        let certificate = match X509Certificate::from_der(certificate) {
            Ok((_, certificate)) => certificate,
            Err(error) => {
                faults.push(CertificateFault::Malformed { which, reason: error.to_string() });
                continue;
            }
        };
        let validity = certificate.validity();
        if validity.not_after.timestamp() < now {
            faults.push(CertificateFault::Expired { which, end: validity.not_after.to_string() });
        } else if validity.not_before.timestamp() > now {
            faults.push(CertificateFault::NotYetValid { which, begin: validity.not_before.to_string() });
        }
        if number == 0 && !names_a_host(&certificate) {
            faults.push(CertificateFault::NoName);
        }
    }
    faults
}

fn names_a_host(certificate: &X509Certificate<'_>) -> bool {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    let is_host = |name: &GeneralName<'_>| matches!(name, GeneralName::DNSName(_) | GeneralName::IPAddress(_));
    names.value.general_names.iter().any(is_host)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    const YEAR: Duration = Duration::from_secs(365 * 86_400);

    /// A certificate for the years from 2020 to 2029.
    fn certificate(names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    #[test]
    fn the_time_of_each_certificate_is_looked_at() {
        let chain = [certificate(&["hc.example"]), certificate(&[])];
        let faults = |years| {
            let faults = of_chain(&chain, UNIX_EPOCH + YEAR * years);
            faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(faults(55), "", "a name is for the host's own certificate");
        let early = faults(45);
        assert!(early.starts_with("the certificate is not valid before Jan  1 00:00:00 2020"), "{early}");
        assert!(early.contains("\ncertificate 2 of the chain is not valid before"), "{early}");
        let late = faults(65);
        assert!(late.starts_with("the certificate has expired on Jan  1 00:00:00 2030"), "{late}");
        assert!(late.contains("\ncertificate 2 of the chain has expired"), "{late}");
    }

    #[test]
    fn the_host_s_own_certificate_has_to_name_it() {
        let faults = |names: &[&str]| of_chain(&[certificate(names)], UNIX_EPOCH + YEAR * 55);
        assert_eq!(faults(&[]), [CertificateFault::NoName]);
        assert_eq!(faults(&["192.0.2.1"]), []);
        assert_eq!(faults(&["a.example", "b.example"]), []);
    }

    #[test]
    fn what_is_no_certificate_is_a_fault() {
        let faults = of_chain(&[CertificateDer::from_slice(b"0")], UNIX_EPOCH);
        assert!(matches!(faults[..], [CertificateFault::Malformed { .. }]), "{faults:?}");
    }
}
