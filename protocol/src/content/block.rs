//! A block on its way: encrypted as it travels and is stored, verified before anyone sees it.

use bytes::Bytes;
use thiserror::Error;

use super::SegmentSecret;
use crate::crypto::{AES_BLOCK, AesKeySize, CipherError, HashAlgorithm, HashValue, aes_cbc_decrypt, aes_cbc_encrypt};

/// Every block of version 1 but the last of a content has this many bytes ([MS-PCCRC] 2.1).
pub const BLOCK_SIZE_V1: u32 = 65_536;
/// The largest block there is: a version 2 segment, which travels as block 0 ([MS-PCCRC] 2.4.1.2).
pub const MAX_BLOCK_SIZE: u32 = 131_072;
/// The size of an AES-CBC initialisation vector in bytes.
pub const AES_IV_SIZE: usize = AES_BLOCK;

/// CryptoAlgoId ([MS-PCCRR] 2.2.3): the cipher of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u32)]
pub enum CryptoAlgoId {
    /// 0: the block travels as plaintext.
    None = 0,
    /// 1: AES-128-CBC, what Windows uses unless told otherwise.
    #[default]
    Aes128 = 1,
    /// 2: AES-192-CBC.
    Aes192 = 2,
    /// 3: AES-256-CBC.
    Aes256 = 3,
}

impl CryptoAlgoId {
    /// The algorithm of a wire value, `None` for anything above 3.
    #[must_use]
    pub fn from_wire(value: u32) -> Option<Self> {
        [Self::None, Self::Aes128, Self::Aes192, Self::Aes256].get(value as usize).copied()
    }

    /// The value on the wire.
    #[must_use]
    pub fn to_wire(self) -> u32 {
        self as u32
    }

    fn key_size(self) -> Option<AesKeySize> {
        match self {
            Self::None => None,
            Self::Aes128 => Some(AesKeySize::Aes128),
            Self::Aes192 => Some(AesKeySize::Aes192),
            Self::Aes256 => Some(AesKeySize::Aes256),
        }
    }
}

/// What content information says of one block: its hash and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockCheck {
    /// The hash that made `hash`.
    pub algorithm: HashAlgorithm,
    /// The block hash (version 1) or HoD (version 2).
    pub hash: HashValue,
    /// The plaintext's length in bytes, 1 to [`MAX_BLOCK_SIZE`].
    pub length: u32,
}

/// The bytes are not the block that content information describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the bytes do not have the hash that content information names")]
pub struct WrongHash;

/// Plaintext whose hash was checked. There is no other way to make one, and nothing else reaches a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedBlock(Bytes);

impl VerifiedBlock {
    /// Takes `plain` if its length and hash are those of `check` ([MS-PCCRC] 4.1.2, 4.1.3).
    pub fn verify(plain: Bytes, check: &BlockCheck) -> Result<Self, WrongHash> {
        if plain.len() == check.length as usize && check.algorithm.hash(&plain) == check.hash {
            Ok(Self(plain))
        } else {
            Err(WrongHash)
        }
    }

    /// Verifies independent blocks, each as [`Self::verify`] does it, side by side where that is faster.
    #[must_use]
    pub fn verify_each(blocks: Vec<(Bytes, &BlockCheck)>) -> Vec<Result<Self, WrongHash>> {
        let Some((_, BlockCheck { algorithm, .. })) = blocks.first() else { return Vec::new() };
        // A longer one is wrong anyway, and not worth a hash; one under another hash is the exception.
        let is_alike = |(plain, check): &&(Bytes, &BlockCheck)| {
            check.algorithm == *algorithm && plain.len() == check.length as usize
        };
        let alike: Vec<&[u8]> = blocks.iter().filter(is_alike).map(|(plain, _)| &plain[..]).collect();
        let mut hashes = algorithm.hash_each(&alike).into_iter();
        let verify = |block: (Bytes, &BlockCheck)| match block {
            _ if !is_alike(&&block) => Self::verify(block.0, block.1),
            (plain, check) if hashes.next().as_ref() == Some(&check.hash) => Ok(Self(plain)),
            _ => Err(WrongHash),
        };
        blocks.into_iter().map(verify).collect()
    }

    /// The plaintext.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The plaintext, taken out.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// Why an encrypted block could not be opened. Each is the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum OpenError {
    /// The ciphertext is shorter than the block, or no whole number of cipher blocks.
    #[error("the block's {size} bytes cannot hold {expected} bytes of plaintext")]
    WrongSize {
        /// Bytes that came.
        size: usize,
        /// Bytes of plaintext that content information announces.
        expected: u32,
    },
    /// The segment secret is shorter than the cipher's key.
    #[error("the segment secret is too short for the cipher")]
    ShortKey,
    /// The bytes decrypt to something else.
    #[error(transparent)]
    WrongHash(#[from] WrongHash),
}

/// The Block, IVBlock and CryptoAlgoId of MSG_BLK ([MS-PCCRR] 2.2.5.3): the unit that travels and that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncryptedBlock {
    /// The cipher, as the response's header names it.
    pub algorithm: CryptoAlgoId,
    /// The initialisation vector; not used where `algorithm` is [`CryptoAlgoId::None`].
    pub iv: [u8; AES_IV_SIZE],
    /// The ciphertext (or plaintext) without the message's own padding.
    pub data: Bytes,
}

/// What [`EncryptedBlock::open`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The plaintext.
    pub block: VerifiedBlock,
    /// Whether the block is as we would have sent it: AES with the leftmost key bytes and exact PKCS#7 padding.
    /// Only such a block is stored and served on as it came; anything else is encrypted afresh.
    pub canonical: bool,
}

impl EncryptedBlock {
    /// Encrypts a verified block. `iv` has to come from a CSPRNG, a new one for every call: blocks of one segment
    /// share the key. With [`CryptoAlgoId::None`] the bytes stay as they are.
    pub fn seal(
        block: &VerifiedBlock,
        secret: &SegmentSecret,
        algorithm: CryptoAlgoId,
        iv: [u8; AES_IV_SIZE],
    ) -> Result<Self, OpenError> {
        let data = match algorithm.key_size() {
            None => block.bytes().clone(),
            Some(size) => Bytes::from(
                aes_cbc_encrypt(size, secret.as_bytes(), &iv, block.bytes()).map_err(|_| OpenError::ShortKey)?,
            ),
        };
        Ok(Self { algorithm, iv, data })
    }

    /// Decrypts and verifies ([MS-PCCRR] 2.2.5.3; fact sheet section 6).
    ///
    /// The padding is not trusted: the plaintext's length comes from content information and the hash decides. Where
    /// the leftmost key bytes fail, all 32 bytes as AES-256 are tried once, as some senders take them.
    pub fn open(&self, secret: &SegmentSecret, check: &BlockCheck) -> Result<Opened, OpenError> {
        let expected = check.length as usize;
        let wrong_size = OpenError::WrongSize { size: self.data.len(), expected: check.length };
        let Some(size) = self.algorithm.key_size() else {
            if self.data.len() != expected {
                return Err(wrong_size);
            }
            return Ok(Opened { block: VerifiedBlock::verify(self.data.clone(), check)?, canonical: false });
        };
        if self.data.len() < expected {
            return Err(wrong_size);
        }
        match self.open_with(size, secret, check, wrong_size) {
            Err(OpenError::WrongHash(_))
                if size != AesKeySize::Aes256 && secret.as_bytes().len() == AesKeySize::Aes256.bytes() =>
            {
                let opened = self.open_with(AesKeySize::Aes256, secret, check, wrong_size)?;
                Ok(Opened { canonical: false, ..opened })
            }
            result => result,
        }
    }

    /// Opens independent blocks, each as [`Self::open`] does it, hashing them side by side where that is faster.
    #[must_use]
    pub fn open_each(blocks: &[(&Self, &SegmentSecret, &BlockCheck)]) -> Vec<Result<Opened, OpenError>> {
        let mut decrypted = Vec::with_capacity(blocks.len());
        for (block, secret, check) in blocks {
            let fits = block.data.len() >= check.length as usize;
            let size = block.algorithm.key_size().filter(|_| fits);
            decrypted.push(size.and_then(|size| block.decrypt(size, secret, check).ok()));
        }
        let plain = decrypted.iter().zip(blocks).filter_map(|(decrypted, (.., check))| {
            let (plain, _) = decrypted.as_ref()?;
            Some((plain.clone(), *check))
        });
        let mut verified = VerifiedBlock::verify_each(plain.collect()).into_iter();
        let mut opened = Vec::with_capacity(blocks.len());
        for (decrypted, (block, secret, check)) in decrypted.into_iter().zip(blocks) {
            let verified = decrypted.and_then(|(_, canonical)| Some((verified.next()?.ok()?, canonical)));
            opened.push(match verified {
                Some((block, canonical)) => Ok(Opened { block, canonical }),
                // Not encrypted as we would have done it, or wrong: the other rules say.
                None => block.open(secret, check),
            });
        }
        opened
    }

    fn open_with(
        &self,
        size: AesKeySize,
        secret: &SegmentSecret,
        check: &BlockCheck,
        wrong_size: OpenError,
    ) -> Result<Opened, OpenError> {
        let (plain, canonical) = self.decrypt(size, secret, check).map_err(|error| match error {
            CipherError::ShortKey => OpenError::ShortKey,
            CipherError::PartialBlock => wrong_size,
        })?;
        Ok(Opened { block: VerifiedBlock::verify(plain, check)?, canonical })
    }

    /// The plaintext without its padding, not verified, and whether the padding is ours.
    fn decrypt(
        &self,
        size: AesKeySize,
        secret: &SegmentSecret,
        check: &BlockCheck,
    ) -> Result<(Bytes, bool), CipherError> {
        let padded = aes_cbc_decrypt(size, secret.as_bytes(), &self.iv, &self.data)?;
        let expected = check.length as usize;
        let pad_size = AES_BLOCK - expected % AES_BLOCK;
        let canonical = padded.len() == expected + pad_size
            && padded.get(expected..).is_some_and(|pad| pad.iter().all(|byte| usize::from(*byte) == pad_size));
        let mut plain = padded;
        plain.truncate(expected);
        Ok((Bytes::from(plain), canonical))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALGORITHM: HashAlgorithm = HashAlgorithm::Sha256;

    fn fixture(length: usize) -> (Bytes, SegmentSecret, BlockCheck) {
        let plain: Vec<u8> = (0..length).map(|i| (i * 7) as u8).collect();
        let check = BlockCheck { algorithm: ALGORITHM, hash: ALGORITHM.hash(&plain), length: length as u32 };
        (plain.into(), SegmentSecret::from_slice(&[0x42; 32]).unwrap(), check)
    }

    #[test]
    fn every_cipher_opens_again() {
        for length in [1, 16, 37, 65_536] {
            let (plain, secret, check) = fixture(length);
            let block = VerifiedBlock::verify(plain.clone(), &check).unwrap();
            for wire in 0..4 {
                let algorithm = CryptoAlgoId::from_wire(wire).unwrap();
                let sealed = EncryptedBlock::seal(&block, &secret, algorithm, [3; 16]).unwrap();
                let opened = sealed.open(&secret, &check).unwrap();
                assert_eq!(opened.block.bytes(), &plain);
                assert_eq!(opened.canonical, algorithm != CryptoAlgoId::None);
            }
        }
        assert_eq!(CryptoAlgoId::from_wire(4), None);
    }

    #[test]
    fn foreign_padding_opens_but_is_not_canonical() {
        let (plain, secret, check) = fixture(32);
        let mut padded = plain.to_vec();
        padded.extend([0; 8]);
        let data = aes_cbc_encrypt(AesKeySize::Aes128, secret.as_bytes(), &[3; 16], &padded).unwrap();
        let block = EncryptedBlock { algorithm: CryptoAlgoId::Aes128, iv: [3; 16], data: data.into() };
        let opened = block.open(&secret, &check).unwrap();
        assert_eq!(opened.block.bytes(), &plain);
        assert!(!opened.canonical);
    }

    #[test]
    fn the_whole_secret_as_a_key_is_understood() {
        let (plain, secret, check) = fixture(37);
        let data = aes_cbc_encrypt(AesKeySize::Aes256, secret.as_bytes(), &[3; 16], &plain).unwrap();
        let block = EncryptedBlock { algorithm: CryptoAlgoId::Aes128, iv: [3; 16], data: data.into() };
        let opened = block.open(&secret, &check).unwrap();
        assert!(!opened.canonical);
    }

    #[test]
    fn many_at_once_are_opened_as_each_alone() {
        let samples: Vec<_> = [1, 37, 65_536, 4096, 100, 16, 32, 5000, 70].map(fixture).into();
        let mut sealed = Vec::new();
        for (number, (plain, secret, check)) in samples.iter().enumerate() {
            let block = VerifiedBlock::verify(plain.clone(), check).unwrap();
            let algorithm = CryptoAlgoId::from_wire(number as u32 % 4).unwrap();
            let mut block = EncryptedBlock::seal(&block, secret, algorithm, [3; 16]).unwrap();
            match number {
                3 | 5 => block.data = block.data.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into(),
                6 => block.data.truncate(16),
                _ => {}
            }
            sealed.push(block);
        }
        let other = BlockCheck { algorithm: HashAlgorithm::Sha512, ..samples[1].2 };
        let checks: Vec<_> =
            samples.iter().enumerate().map(|(at, sample)| if at == 7 { &other } else { &sample.2 }).collect();
        let blocks: Vec<_> =
            sealed.iter().zip(&samples).zip(checks).map(|((block, sample), check)| (block, &sample.1, check)).collect();
        let alone: Vec<_> = blocks.iter().map(|(block, secret, check)| block.open(secret, check)).collect();
        assert_eq!(EncryptedBlock::open_each(&blocks), alone);
        assert_eq!(alone.iter().filter(|opened| opened.is_ok()).count(), 5);
        assert!(EncryptedBlock::open_each(&[]).is_empty());
    }

    #[test]
    fn wrong_bytes_are_refused() {
        let (plain, secret, check) = fixture(37);
        let block = VerifiedBlock::verify(plain, &check).unwrap();
        let sealed = EncryptedBlock::seal(&block, &secret, CryptoAlgoId::Aes128, [3; 16]).unwrap();
        let mut flipped = sealed.data.to_vec();
        flipped[0] ^= 1;
        let wrong = EncryptedBlock { data: flipped.into(), ..sealed.clone() };
        assert_eq!(wrong.open(&secret, &check), Err(WrongHash.into()));
        for size in [0, 16, 32, 47] {
            let short = EncryptedBlock { data: sealed.data.slice(..size), ..sealed.clone() };
            assert_eq!(short.open(&secret, &check), Err(OpenError::WrongSize { size, expected: 37 }));
        }
        let plaintext =
            EncryptedBlock { algorithm: CryptoAlgoId::None, iv: [0; 16], data: Bytes::from_static(&[1; 37]) };
        assert_eq!(plaintext.open(&secret, &check), Err(WrongHash.into()));
    }
}
