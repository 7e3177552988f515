//! Hashes, HMAC and AES-CBC: the only file that names the crates behind them.

mod fips180;
mod lanes;

use std::fmt;

use aes::cipher::block_padding::{NoPadding, Pkcs7};
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// The widest hash of these protocols, in bytes.
pub const MAX_HASH_SIZE: usize = 64;
/// The block size and IV size of AES, in bytes.
pub const AES_BLOCK: usize = 16;

/// The hash H of content information together with the number of bytes kept of it ([MS-PCCRC] 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashAlgorithm {
    /// Version 1, `dwHashAlgo` 0x800C.
    Sha256,
    /// Version 1, `dwHashAlgo` 0x800D.
    Sha384,
    /// Version 1, `dwHashAlgo` 0x800E.
    Sha512,
    /// Version 2, `bHashAlgo` 0x04: the first 32 bytes of every SHA-512 output.
    TruncatedSha512,
}

impl HashAlgorithm {
    /// How many bytes of every output are kept: 32, 48 or 64.
    #[must_use]
    pub const fn size(self) -> usize {
        match self {
            Self::Sha256 | Self::TruncatedSha512 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The hash of `data`, cut to [`Self::size`] bytes.
    #[must_use]
    pub fn hash(self, data: &[u8]) -> HashValue {
        match self {
            Self::Sha256 => HashValue::cut(&Sha256::digest(data), self.size()),
            Self::Sha384 => HashValue::cut(&Sha384::digest(data), self.size()),
            Self::Sha512 | Self::TruncatedSha512 => HashValue::cut(&Sha512::digest(data), self.size()),
        }
    }

    /// The hashes of independent messages, each as [`Self::hash`] makes it. On most processors this takes half the
    /// time or less, because messages are hashed side by side.
    #[must_use]
    pub fn hash_each(self, messages: &[&[u8]]) -> Vec<HashValue> {
        use sha2::block_api::{compress256, compress512};
        let hashes = match self {
            _ if messages.len() < 2 => None,
            Self::Sha256 => lanes::hash_each(messages, fips180::SHA256_START, |state: &mut [u32; 8], blocks| {
                compress256(state, blocks.as_chunks().0);
            }),
            Self::Sha384 | Self::Sha512 | Self::TruncatedSha512 => {
                let start = if self == Self::Sha384 { fips180::SHA384_START } else { fips180::SHA512_START };
                lanes::hash_each(messages, start, |state: &mut [u64; 8], blocks| {
                    compress512(state, blocks.as_chunks().0);
                })
            }
        };
        match hashes {
            Some(hashes) => hashes.iter().map(|hash| HashValue::cut(hash, self.size())).collect(),
            None => messages.iter().map(|message| self.hash(message)).collect(),
        }
    }

    /// HMAC (RFC 2104) with the full-width hash over the concatenation of `parts`, cut to [`Self::size`] bytes.
    #[must_use]
    pub fn hmac(self, key: &[u8], parts: &[&[u8]]) -> HashValue {
        match self {
            Self::Sha256 => HashValue::cut(&hmac::<Hmac<Sha256>>(key, parts), self.size()),
            Self::Sha384 => HashValue::cut(&hmac::<Hmac<Sha384>>(key, parts), self.size()),
            Self::Sha512 | Self::TruncatedSha512 => HashValue::cut(&hmac::<Hmac<Sha512>>(key, parts), self.size()),
        }
    }
}

fn hmac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> impl AsRef<[u8]> + use<M> {
    // HMAC takes keys of any length; the error type exists for other MACs only.
    let mut mac = match <M as KeyInit>::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => unreachable!("HMAC accepts every key length"),
    };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes()
}

/// SHA-256 over bytes that come in pieces, for checksums that people compare.
#[derive(Debug, Clone, Default)]
pub struct Sha256Stream(Sha256);

impl Sha256Stream {
    /// A hash over nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// The hash as 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn finish_hex(self) -> String {
        hex::encode(self.0.finalize())
    }
}

/// A hash output of 1 to 64 bytes, held inline.
#[derive(Clone, Copy)]
pub struct HashValue {
    size: u8,
    bytes: [u8; MAX_HASH_SIZE],
}

impl HashValue {
    /// A value of exactly these bytes, or `None` unless there are 1 to 64 of them.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        (1..=MAX_HASH_SIZE).contains(&bytes.len()).then(|| Self::cut(&bytes, bytes.len()))
    }

    fn cut(output: &impl AsRef<[u8]>, size: usize) -> Self {
        let mut bytes = [0; MAX_HASH_SIZE];
        let mut kept = 0;
        for (to, from) in bytes.iter_mut().zip(output.as_ref()).take(size) {
            *to = *from;
            kept += 1;
        }
        Self { size: kept, bytes }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.size)).unwrap_or(&self.bytes)
    }

    pub(crate) fn wipe(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.bytes);
    }
}

impl PartialEq for HashValue {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}
impl Eq for HashValue {}
impl PartialOrd for HashValue {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for HashValue {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}
impl std::hash::Hash for HashValue {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}
impl fmt::Debug for HashValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.as_bytes()))
    }
}

/// The key size of AES-CBC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AesKeySize {
    /// 16 bytes.
    Aes128,
    /// 24 bytes.
    Aes192,
    /// 32 bytes.
    Aes256,
}

impl AesKeySize {
    /// The key's length in bytes.
    #[must_use]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }
}

/// The key was shorter than the cipher needs, or the ciphertext no multiple of 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// The key has fewer bytes than the cipher takes.
    #[error("the key is shorter than the cipher needs")]
    ShortKey,
    /// CBC ciphertext comes in whole blocks of 16 bytes.
    #[error("the ciphertext is not a multiple of 16 bytes")]
    PartialBlock,
}

/// AES-CBC with PKCS#7 padding. The leftmost bytes of `key` are used ([MS-PCCRR] 2.2.5.3 leaves the cut open).
pub fn aes_cbc_encrypt(
    size: AesKeySize,
    key: &[u8],
    iv: &[u8; AES_BLOCK],
    plain: &[u8],
) -> Result<Vec<u8>, CipherError> {
    fn seal<C: BlockModeEncrypt + KeyIvInit>(
        key: &[u8],
        iv: &[u8; AES_BLOCK],
        plain: &[u8],
    ) -> Result<Vec<u8>, CipherError> {
        let cipher = C::new_from_slices(key, iv).map_err(|_| CipherError::ShortKey)?;
        Ok(cipher.encrypt_padded_vec::<Pkcs7>(plain))
    }
    let key = key.get(..size.bytes()).ok_or(CipherError::ShortKey)?;
    match size {
        AesKeySize::Aes128 => seal::<cbc::Encryptor<Aes128>>(key, iv, plain),
        AesKeySize::Aes192 => seal::<cbc::Encryptor<Aes192>>(key, iv, plain),
        AesKeySize::Aes256 => seal::<cbc::Encryptor<Aes256>>(key, iv, plain),
    }
}

/// Undoes AES-CBC and leaves the padding in place: what is plaintext is for the caller to know, not for the pad to say.
pub fn aes_cbc_decrypt(
    size: AesKeySize,
    key: &[u8],
    iv: &[u8; AES_BLOCK],
    sealed: &[u8],
) -> Result<Vec<u8>, CipherError> {
    fn open<C: BlockModeDecrypt + KeyIvInit>(
        key: &[u8],
        iv: &[u8; AES_BLOCK],
        sealed: &[u8],
    ) -> Result<Vec<u8>, CipherError> {
        let cipher = C::new_from_slices(key, iv).map_err(|_| CipherError::ShortKey)?;
        let mut plain = vec![0; sealed.len()];
        cipher.decrypt_padded_b2b::<NoPadding>(sealed, &mut plain).map_err(|_| CipherError::PartialBlock)?;
        Ok(plain)
    }
    let key = key.get(..size.bytes()).ok_or(CipherError::ShortKey)?;
    match size {
        AesKeySize::Aes128 => open::<cbc::Decryptor<Aes128>>(key, iv, sealed),
        AesKeySize::Aes192 => open::<cbc::Decryptor<Aes192>>(key, iv, sealed),
        AesKeySize::Aes256 => open::<cbc::Decryptor<Aes256>>(key, iv, sealed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_cut_to_their_size() {
        let full = HashAlgorithm::Sha512.hash(b"abc");
        let cut = HashAlgorithm::TruncatedSha512.hash(b"abc");
        assert_eq!(full.as_bytes().len(), 64);
        assert_eq!(cut.as_bytes(), &full.as_bytes()[..32]);
        assert_eq!(
            format!("{:?}", HashAlgorithm::Sha256.hash(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn hashing_side_by_side_changes_nothing() {
        let data: Vec<u8> = (0..200_000u32).map(|i| (i.wrapping_mul(i) / 7) as u8).collect();
        let near = |length: usize| [length.saturating_sub(1), length, length + 1];
        let short = (0..300).chain(near(1024)).chain([65_536, 100_000, 131_072]).collect::<Vec<_>>();
        let batches = [
            vec![],
            vec![0],
            vec![77_777],
            vec![65_536; 16],
            vec![65_536; 31],
            vec![1, 131_072],
            (1..10).map(|i| i * 12_345).collect(),
            short,
        ];
        let all = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::TruncatedSha512];
        for lengths in batches {
            let messages: Vec<&[u8]> = lengths.iter().enumerate().map(|(i, n)| &data[i..i + n]).collect();
            for algorithm in all {
                let expected: Vec<_> = messages.iter().map(|message| algorithm.hash(message)).collect();
                assert_eq!(algorithm.hash_each(&messages), expected);
            }
        }
    }

    #[test]
    fn cbc_round_trip_for_every_key_size() {
        let key = [7; 32];
        let iv = [9; 16];
        for size in [AesKeySize::Aes128, AesKeySize::Aes192, AesKeySize::Aes256] {
            for length in [1, 15, 16, 17, 100] {
                let plain = vec![0x5a; length];
                let sealed = aes_cbc_encrypt(size, &key, &iv, &plain).unwrap();
                assert_eq!(sealed.len(), 16 * (length / 16 + 1));
                let opened = aes_cbc_decrypt(size, &key, &iv, &sealed).unwrap();
                assert_eq!(&opened[..length], plain);
            }
            assert_eq!(aes_cbc_encrypt(size, &key[..15], &iv, &[]), Err(CipherError::ShortKey));
            assert_eq!(aes_cbc_decrypt(size, &key, &iv, &[0; 17]), Err(CipherError::PartialBlock));
        }
    }
}
