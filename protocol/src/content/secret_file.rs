//! The file in which a server secret travels from one content server to another ([MS-PCCRC] 2.5).
//!
//! `Export-BCSecretKey` writes it: SHA-256 of the secret and the secret itself, under AES-256-CBC with a key made of
//! a passphrase. That passphrase protects the file only; it is not the server secret.

use thiserror::Error;
use zeroize::Zeroizing;

use super::ServerSecret;
use crate::crypto::{AES_BLOCK, AesKeySize, HashAlgorithm, HashValue, aes_cbc_decrypt, aes_cbc_encrypt};

const DIGEST: HashAlgorithm = HashAlgorithm::Sha256;
/// The document fixes it; every file begins with a digest, so equal secrets under equal passphrases give equal files.
const IV: [u8; AES_BLOCK] = [0; AES_BLOCK];

/// Why a file yields no server secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SecretFileError {
    /// No such file has this size: the fault of whoever made or cut it.
    #[error("{size} bytes are no exported server secret, which has a multiple of 16 bytes, at least 48")]
    Size {
        /// The file's size in bytes.
        size: usize,
    },
    /// The file does not decrypt to a secret and its digest. A wrong passphrase cannot be told from damage.
    #[error("wrong passphrase, or the file is damaged: which of the two cannot be told")]
    PassphraseOrDamage,
}

/// Takes the server secret out of an exported file.
pub fn read(file: &[u8], passphrase: &str) -> Result<ServerSecret, SecretFileError> {
    let digest_size = DIGEST.size();
    if file.len() < digest_size + AES_BLOCK || !file.len().is_multiple_of(AES_BLOCK) {
        return Err(SecretFileError::Size { size: file.len() });
    }
    let key = FileKey::new(passphrase);
    let plain = aes_cbc_decrypt(AesKeySize::Aes256, key.as_bytes(), &IV, file)
        .map(Zeroizing::new)
        .map_err(|_| SecretFileError::PassphraseOrDamage)?;
    let content = without_padding(&plain).ok_or(SecretFileError::PassphraseOrDamage)?;
    match content.split_at_checked(digest_size) {
        Some((digest, secret)) if DIGEST.hash(secret).as_bytes() == digest => Ok(ServerSecret::from_bytes(secret)),
        _ => Err(SecretFileError::PassphraseOrDamage),
    }
}

/// Writes the file that [`read`] and `Import-BCSecretKey` take.
#[must_use]
pub fn write(secret: &ServerSecret, passphrase: &str) -> Vec<u8> {
    let key = FileKey::new(passphrase);
    let mut plain = Zeroizing::new(Vec::with_capacity(DIGEST.size() + secret.as_bytes().len()));
    plain.extend_from_slice(DIGEST.hash(secret.as_bytes()).as_bytes());
    plain.extend_from_slice(secret.as_bytes());
    match aes_cbc_encrypt(AesKeySize::Aes256, key.as_bytes(), &IV, &plain) {
        Ok(file) => file,
        Err(_) => unreachable!("a SHA-256 hash is as long as an AES-256 key"),
    }
}

/// What PKCS#7 padding surrounds.
fn without_padding(padded: &[u8]) -> Option<&[u8]> {
    let pad = usize::from(*padded.last()?);
    let (content, padding) = padded.split_at_checked(padded.len().checked_sub(pad)?)?;
    let intact = (1..=AES_BLOCK).contains(&pad) && padding.iter().all(|byte| usize::from(*byte) == pad);
    intact.then_some(content)
}

/// SHA-256 of the passphrase in UTF-16LE without a terminator; wiped on drop.
struct FileKey(HashValue);

impl FileKey {
    fn new(passphrase: &str) -> Self {
        Self(DIGEST.hash(ServerSecret::from_passphrase(passphrase).as_bytes()))
    }

    fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Drop for FileKey {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_every_length_return() {
        for length in [0, 1, 15, 16, 17, 32, 1000] {
            let secret = ServerSecret::from_bytes(vec![0xa5; length]);
            let file = write(&secret, "export");
            assert_eq!(file.len(), 16 * ((32 + length) / 16 + 1));
            assert_eq!(read(&file, "export"), Ok(secret));
        }
    }

    #[test]
    fn the_layout_is_the_documents() {
        let secret = ServerSecret::from_passphrase("no more secrets");
        let key = HashAlgorithm::Sha256.hash(b"p\0w\0");
        let plain = aes_cbc_decrypt(AesKeySize::Aes256, key.as_bytes(), &[0; 16], &write(&secret, "pw")).unwrap();
        assert_eq!(&plain[..32], HashAlgorithm::Sha256.hash(secret.as_bytes()).as_bytes());
        assert_eq!(&plain[32..62], secret.as_bytes());
        assert_eq!(&plain[62..], [2, 2]);
    }

    #[test]
    fn a_wrong_passphrase_and_every_damage_are_noticed() {
        let secret = ServerSecret::from_bytes(*b"sixteen byte key");
        let file = write(&secret, "right");
        assert_eq!(read(&file, "wrong"), Err(SecretFileError::PassphraseOrDamage));
        for position in 0..file.len() {
            let mut damaged = file.clone();
            damaged[position] ^= 1;
            assert_eq!(read(&damaged, "right"), Err(SecretFileError::PassphraseOrDamage), "byte {position}");
        }
        for size in 0..file.len() {
            let expected = if size < 48 || size % 16 != 0 {
                SecretFileError::Size { size }
            } else {
                SecretFileError::PassphraseOrDamage
            };
            assert_eq!(read(&file[..size], "right"), Err(expected));
        }
        assert_eq!(read(&[file.as_slice(), &[0; 16]].concat(), "right"), Err(SecretFileError::PassphraseOrDamage));
    }
}
