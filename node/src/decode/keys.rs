//! Keys of segments, and what they make of the blocks that are seen.

use std::collections::HashMap;

use bytes::Bytes;
use peerdist_protocol::content::{
    AES_IV_SIZE, BlockCheck, ContentInformation, CryptoAlgoId, EncryptedBlock, OfferedSegment, OpenError, Segment,
    SegmentHashOfData, SegmentId, SegmentSecret,
};
use peerdist_protocol::crypto::{AesKeySize, HashAlgorithm, aes_cbc_decrypt};
use peerdist_protocol::schema::{Tree, compose, tables};

use super::message::short;

/// The most memory for segments that the capture itself describes. Those after them are not learnt.
const MAX_LEARNT: usize = 64 << 20;
/// What a key takes in a table that may be half empty.
const PER_KEY: usize = 2 * size_of::<(SegmentId, Key)>();
/// The most descriptions of one segment that are kept: ranges of a content list other blocks of it.
const MAX_DESCRIPTIONS: usize = 16;

/// Segments whose keys are known.
#[derive(Debug, Default)]
pub struct KeyRing {
    keys: HashMap<SegmentId, Key>,
    learnt: usize,
}

#[derive(Debug)]
struct Key {
    secret: SegmentSecret,
    /// What content information says of the segment; none where only the secret was given.
    segments: Vec<Segment>,
}

/// What became of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Whether it is what it claims to be.
    pub verdict: Verdict,
    /// Why, in words.
    pub reason: String,
    /// How it was decrypted, step by step.
    pub steps: Vec<Working>,
}

/// Whether a block is what it claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It decrypts to bytes with the right hash.
    Right,
    /// It does not.
    Wrong,
    /// The key or the hash is not known.
    CannotTell,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// A step of the way from secrets to plaintext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Working {
    /// The document's name for what it makes.
    pub name: &'static str,
    /// How it is made.
    pub how: String,
    /// What comes out, in hexadecimal digits where it is bytes.
    pub value: String,
}

/// The parts of a MSG_BLK.
struct Block {
    id: SegmentId,
    index: u32,
    sealed: EncryptedBlock,
}

impl KeyRing {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The segments of content information.
    pub fn add(&mut self, information: &ContentInformation) {
        for segment in information.segments() {
            self.add_segment(segment);
        }
    }

    /// A secret without anything else.
    pub fn add_secret(&mut self, id: SegmentId, secret: SegmentSecret) {
        self.keys.entry(id).or_insert(Key { secret, segments: Vec::new() });
    }

    /// Takes content information that a message carries.
    pub fn learn(&mut self, tree: &Tree<'_>) {
        if !tree.is_whole() || self.learnt + tree.size > MAX_LEARNT {
            return;
        }
        let bytes = |structure, fields| compose(structure, fields).map(Bytes::from).ok();
        let learnt = match tree.name {
            "CONTENT_INFORMATION_1.0" | "CONTENT_INFORMATION_2.0" => {
                let structure = if tree.name.ends_with("1.0") {
                    &tables::CONTENT_INFORMATION_1
                } else {
                    &tables::CONTENT_INFORMATION_2
                };
                let Some(bytes) = bytes(structure, &tree.fields) else { return };
                let Ok(information) = ContentInformation::parse(bytes) else { return };
                self.learn_segments(information.segments())
            }
            "SEGMENT_INFO_MESSAGE" => {
                let Some(information) = tree.find("SegmentInformation") else { return };
                let Some(bytes) = bytes(&tables::SEGMENT_INFORMATION, information.children()) else { return };
                let Ok(offered) = OfferedSegment::parse(bytes) else { return };
                let Ok(segment) = offered.into_segment() else { return };
                self.learn_segments(&[segment])
            }
            _ => 0,
        };
        // Lists of hashes are parts of the message, which stays as long as one of them.
        self.learnt += if learnt > 0 { learnt + tree.size } else { 0 };
    }

    /// Takes segments as long as there is memory for them, and says how much that is.
    fn learn_segments(&mut self, segments: &[Segment]) -> usize {
        let room = MAX_LEARNT - self.learnt;
        let mut taken = 0;
        for segment in segments {
            if taken >= room {
                break;
            }
            taken += self.add_segment(segment);
        }
        taken
    }

    /// Returns the memory that it takes.
    fn add_segment(&mut self, segment: &Segment) -> usize {
        let known = self.keys.len();
        let new = || Key { secret: segment.secret().clone(), segments: Vec::new() };
        let segments = &mut self.keys.entry(segment.id()).or_insert_with(new).segments;
        let before = segments.capacity();
        if segments.contains(segment) {
            return 0;
        }
        if segment.is_bound() {
            *segments = vec![segment.clone()];
        } else if segments.len() < MAX_DESCRIPTIONS && !segments.iter().any(Segment::is_bound) {
            segments.push(segment.clone());
        }
        let grown = segments.capacity().saturating_sub(before) * size_of::<Segment>();
        grown + (self.keys.len() - known) * PER_KEY
    }

    /// Decrypts and verifies the block of a MSG_BLK. None where the message has none.
    #[must_use]
    pub fn open(&self, tree: &Tree<'_>) -> Option<Opened> {
        let block = Block::of(tree)?;
        let mut steps = Steps(Vec::new());
        let Some(key) = self.keys.get(&block.id) else {
            let reason = format!("no key of segment {}", short(block.id.as_bytes()));
            return Some(Opened { verdict: Verdict::CannotTell, reason, steps: steps.0 });
        };
        let check = key.segments.iter().find_map(|segment| Some((segment, segment.block_check(block.index)?)));
        let (verdict, reason) = match (check, key.segments.first()) {
            (Some((segment, check)), _) => verify(&block, segment, &check, &mut steps),
            (None, Some(segment)) if block.index >= segment.block_count() => {
                (Verdict::Wrong, format!("the segment has {} blocks only", segment.block_count()))
            }
            (None, Some(segment)) => {
                steps.derivation(&segment.into(), &key.secret, &block.id);
                let _ = steps.decryption(&block, &key.secret, None);
                (Verdict::CannotTell, "the content information does not list the hash of this block".to_owned())
            }
            (None, None) => guess(&block, &key.secret, &mut steps),
        };
        Some(Opened { verdict, reason, steps: steps.0 })
    }
}

impl Block {
    fn of(tree: &Tree<'_>) -> Option<Self> {
        if tree.name != "MSG_BLK" {
            return None;
        }
        let data = tree.bytes("Block").filter(|block| !block.is_empty())?;
        let algorithm = CryptoAlgoId::from_wire(u32::try_from(tree.integer("CryptoAlgoId")?).ok()?)?;
        let iv = match tree.bytes("IVBlock").and_then(|iv| iv.try_into().ok()) {
            Some(iv) => iv,
            None if algorithm == CryptoAlgoId::None => [0; AES_IV_SIZE],
            None => return None,
        };
        Some(Self {
            id: SegmentId::from_slice(tree.bytes("SegmentId")?)?,
            index: u32::try_from(tree.integer("BlockIndex")?).ok()?,
            sealed: EncryptedBlock { algorithm, iv, data: Bytes::copy_from_slice(data) },
        })
    }
}

/// With content information: the hash decides.
fn verify(block: &Block, segment: &Segment, check: &BlockCheck, steps: &mut Steps) -> (Verdict, String) {
    steps.derivation(&segment.into(), segment.secret(), &block.id);
    let plain = steps.decryption(block, segment.secret(), Some(check.length));
    if let Some(plain) = plain {
        let how = format!("{} of the first {} bytes", hash_name(check.algorithm), check.length);
        let plain = plain.get(..check.length as usize).unwrap_or(&plain);
        steps.add("hash of the plaintext", how, hex::encode_upper(check.algorithm.hash(plain).as_bytes()));
        steps.add(
            "hash that is due",
            "from the content information".to_owned(),
            hex::encode_upper(check.hash.as_bytes()),
        );
    }
    match block.sealed.open(segment.secret(), check) {
        Ok(opened) => {
            let odd = if opened.canonical || block.sealed.algorithm == CryptoAlgoId::None {
                ""
            } else {
                ", encrypted with all of Kp or padded unlike PKCS#7"
            };
            (Verdict::Right, format!("{} bytes of plaintext with the hash that is due{odd}", check.length))
        }
        Err(error @ OpenError::WrongHash(_)) => (Verdict::Wrong, error.to_string()),
        Err(error) => (Verdict::Wrong, error.to_string()),
    }
}

/// Without content information: HoHoDk tells whether a segment of one block is right, because HoD follows from it.
fn guess(block: &Block, secret: &SegmentSecret, steps: &mut Steps) -> (Verdict, String) {
    let mut decryption = Steps(Vec::new());
    let plain = decryption.decryption(block, secret, None);
    let unpadded = plain.as_deref().and_then(|plain| match block.sealed.algorithm {
        CryptoAlgoId::None => Some(plain),
        _ => unpadded(plain),
    });
    let origin = unpadded.and_then(|plain| of_one_block(block, secret, plain));
    steps.derivation(origin.as_ref().unwrap_or(&Origin::SECRET), secret, &block.id);
    steps.0.append(&mut decryption.0);
    match (&plain, unpadded) {
        (None, _) => (Verdict::CannotTell, "it cannot be decrypted".to_owned()),
        (_, None) => (Verdict::CannotTell, "the padding is none; the length and the hash are not known".to_owned()),
        (_, Some(plain)) if origin.is_some() => {
            (Verdict::Right, format!("{} bytes of plaintext, of which HoHoDk follows", plain.len()))
        }
        (_, Some(plain)) => (
            Verdict::CannotTell,
            format!("{} bytes of plaintext with good padding; its hash is not known", plain.len()),
        ),
    }
}

/// Where HoD comes from when this is all that is in the segment; none where HoHoDk does not follow from it.
fn of_one_block(block: &Block, secret: &SegmentSecret, plain: &[u8]) -> Option<Origin> {
    let v2 = HashAlgorithm::TruncatedSha512;
    let v1 = HashAlgorithm::Sha256;
    let candidates = [
        (v2, SegmentHashOfData::of(v2, plain), "truncated SHA-512 of the plaintext below: a segment of version 2"),
        (
            v1,
            SegmentHashOfData::of(v1, v1.hash(plain).as_bytes()),
            "SHA-256 of the SHA-256 of the plaintext below: a version 1 segment of one block",
        ),
    ];
    let fits = |(algorithm, hash_of_data, _): &(HashAlgorithm, SegmentHashOfData, _)| {
        block.index == 0 && SegmentId::derive(*algorithm, secret, hash_of_data) == block.id
    };
    let (algorithm, hash_of_data, how) = candidates.into_iter().find(fits)?;
    Some(Origin { secret: "as given", how, hash_of_data: Some((algorithm, hash_of_data)) })
}

/// Where the keys of a segment come from.
struct Origin {
    /// Kp.
    secret: &'static str,
    /// HoD.
    how: &'static str,
    hash_of_data: Option<(HashAlgorithm, SegmentHashOfData)>,
}

impl Origin {
    /// A secret without anything else: HoD is a hash over the hashes of all blocks, of which one says nothing.
    const SECRET: Self = Self {
        secret: "as given",
        how: "over all blocks of the segment: neither Kp nor one block of several says what it is",
        hash_of_data: None,
    };
}

impl From<&Segment> for Origin {
    fn from(segment: &Segment) -> Self {
        const HOW: &str = "from the content information";
        let hash_of_data = Some((segment.algorithm(), *segment.hash_of_data()));
        Self { secret: HOW, how: HOW, hash_of_data }
    }
}

struct Steps(Vec<Working>);

impl Steps {
    fn add(&mut self, name: &'static str, how: String, value: String) {
        self.0.push(Working { name, how, value });
    }

    fn derivation(&mut self, origin: &Origin, secret: &SegmentSecret, id: &SegmentId) {
        let unknown = || "unknown".to_owned();
        let known = origin.hash_of_data.as_ref();
        let hash = known.map_or("the hash", |(algorithm, _)| hash_name(*algorithm));
        self.add("Ks", format!("{hash} of the server secret, which never travels"), unknown());
        let value = known.map_or_else(unknown, |(_, hash_of_data)| hex::encode_upper(hash_of_data.as_bytes()));
        self.add("HoD", origin.how.to_owned(), value);
        self.add("Kp", format!("HMAC(Ks, HoD), {}", origin.secret), hex::encode_upper(secret.as_bytes()));
        let derived = known.map(|(algorithm, hash_of_data)| SegmentId::derive(*algorithm, secret, hash_of_data));
        let (agrees, value) = match &derived {
            Some(derived) if derived == id => ("the SegmentId of the message", derived),
            Some(derived) => ("not the SegmentId of the message", derived),
            None => ("not to be checked without HoD; this is the SegmentId of the message", id),
        };
        let how = "HMAC(Kp, HoD + \"MS_P2P_CACHING\" in UTF-16LE with its terminator)";
        self.add("HoHoDk", format!("{how}: {agrees}"), value.to_string());
    }

    /// Decrypts with the leftmost bytes of the secret. The padding is left in place.
    fn decryption(&mut self, block: &Block, secret: &SegmentSecret, length: Option<u32>) -> Option<Vec<u8>> {
        let sealed = &block.sealed;
        let (size, name) = match sealed.algorithm {
            CryptoAlgoId::None => {
                self.add("Block", "not encrypted".to_owned(), format!("{} bytes", sealed.data.len()));
                return Some(sealed.data.to_vec());
            }
            CryptoAlgoId::Aes128 => (AesKeySize::Aes128, "AES-128-CBC"),
            CryptoAlgoId::Aes192 => (AesKeySize::Aes192, "AES-192-CBC"),
            CryptoAlgoId::Aes256 => (AesKeySize::Aes256, "AES-256-CBC"),
        };
        let key = secret.as_bytes().get(..size.bytes()).map_or_else(|| "too short".to_owned(), hex::encode_upper);
        self.add("key", format!("the leftmost {} bytes of Kp, for {name}", size.bytes()), key);
        self.add("IV", "IVBlock".to_owned(), hex::encode_upper(sealed.iv));
        match aes_cbc_decrypt(size, secret.as_bytes(), &sealed.iv, &sealed.data) {
            Ok(plain) => {
                let padding = match (unpadded(&plain), length) {
                    (Some(inner), _) => format!("PKCS#7, {} bytes", plain.len() - inner.len()),
                    (None, Some(length)) => {
                        format!("{} bytes, not PKCS#7", plain.len().saturating_sub(length as usize))
                    }
                    (None, None) => "not PKCS#7".to_owned(),
                };
                let last = plain.get(plain.len().saturating_sub(16)..).unwrap_or_default();
                self.add("padding", format!("{padding}; the last bytes that come out"), hex::encode_upper(last));
                Some(plain)
            }
            Err(error) => {
                self.add("plaintext", error.to_string(), "none".to_owned());
                None
            }
        }
    }
}

/// Plaintext without PKCS#7 padding; none where it has no such.
fn unpadded(plain: &[u8]) -> Option<&[u8]> {
    let size = usize::from(*plain.last()?);
    let (inner, pad) = plain.split_at_checked(plain.len().checked_sub(size)?)?;
    ((1..=AES_IV_SIZE).contains(&size) && pad.iter().all(|byte| usize::from(*byte) == size)).then_some(inner)
}

fn hash_name(algorithm: HashAlgorithm) -> &'static str {
    match algorithm {
        HashAlgorithm::Sha256 => "SHA-256",
        HashAlgorithm::Sha384 => "SHA-384",
        HashAlgorithm::Sha512 => "SHA-512",
        HashAlgorithm::TruncatedSha512 => "truncated SHA-512",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerdist_protocol::content::VerifiedBlock;
    use peerdist_protocol::retrieval::{Blk, Response, ResponseMessage};
    use peerdist_protocol::schema::dissect;

    const V2: HashAlgorithm = HashAlgorithm::TruncatedSha512;

    struct Fixture {
        id: SegmentId,
        secret: SegmentSecret,
        sealed: EncryptedBlock,
    }

    fn sealed(algorithm: CryptoAlgoId) -> Fixture {
        let plain = Bytes::from_static(b"some bytes of content");
        let hash_of_data = SegmentHashOfData::of(V2, &plain);
        let secret = SegmentSecret::from_slice(&[7; 32]).unwrap();
        let check = BlockCheck { algorithm: V2, hash: V2.hash(&plain), length: 21 };
        let block = VerifiedBlock::verify(plain, &check).unwrap();
        let sealed = EncryptedBlock::seal(&block, &secret, algorithm, [9; 16]).unwrap();
        Fixture { id: SegmentId::derive(V2, &secret, &hash_of_data), secret, sealed }
    }

    fn message(id: SegmentId, index: u32, sealed: &EncryptedBlock) -> Vec<u8> {
        let iv = (sealed.algorithm != CryptoAlgoId::None).then_some(sealed.iv);
        let blk = Blk { segment_id: id, index, next: 0, block: sealed.data.clone(), iv };
        ResponseMessage::new(Response::Blk(blk), sealed.algorithm).emit()
    }

    fn verdict(ring: &KeyRing, bytes: &[u8]) -> Verdict {
        ring.open(&dissect(&tables::MSG_BLK, bytes)).unwrap().verdict
    }

    #[test]
    fn segments_are_learnt_once_and_as_long_as_there_is_memory() {
        let segment = |index: u32| [&65_536_u32.to_be_bytes()[..], &[1; 32], &index.to_be_bytes().repeat(8)].concat();
        let segments: Vec<u8> = (0..100).flat_map(segment).collect();
        let size = (segments.len() as u32).to_be_bytes();
        // The header, whose fields of the range are zero, and one chunk.
        let bytes = [&[0, 2, 4][..], &[0; 29], &size, &segments].concat();
        let tree = dissect(&tables::CONTENT_INFORMATION_2, &bytes);
        assert!(tree.is_whole(), "{:?}", tree.faults);
        let mut ring = KeyRing::default();
        ring.learn(&tree);
        let learnt = ring.learnt;
        ring.learn(&tree);
        assert_eq!((ring.keys.len(), ring.learnt), (100, learnt));
        assert!(learnt > 100 * (size_of::<Key>() + size_of::<Segment>()));
        let mut ring = KeyRing { learnt: MAX_LEARNT - learnt / 2, ..KeyRing::default() };
        ring.learn(&tree);
        assert!((10..60).contains(&ring.keys.len()), "{}", ring.keys.len());
    }

    #[test]
    fn a_secret_alone_proves_a_segment_of_one_block() {
        for algorithm in [CryptoAlgoId::None, CryptoAlgoId::Aes128, CryptoAlgoId::Aes192, CryptoAlgoId::Aes256] {
            let Fixture { id, secret, sealed } = sealed(algorithm);
            let bytes = message(id, 0, &sealed);
            let mut ring = KeyRing::default();
            assert_eq!(verdict(&ring, &bytes), Verdict::CannotTell);
            ring.add_secret(id, secret);
            assert_eq!(verdict(&ring, &bytes), Verdict::Right, "{algorithm:?}");
            assert_eq!(verdict(&ring, &message(id, 1, &sealed)), Verdict::CannotTell, "of no such segment");
            let value = |index| {
                let opened = ring.open(&dissect(&tables::MSG_BLK, &message(id, index, &sealed))).unwrap();
                let of = |name| opened.steps.iter().find(|step: &&Working| step.name == name).unwrap().value.clone();
                ["HoD", "HoHoDk"].map(of)
            };
            let hash_of_data = SegmentHashOfData::of(V2, b"some bytes of content");
            assert_eq!(value(0), [hex::encode_upper(hash_of_data.as_bytes()), id.to_string()], "{algorithm:?}");
            assert_eq!(value(1), ["unknown".to_owned(), id.to_string()], "HoHoDk travels, HoD does not");
            let mut spoilt = sealed.clone();
            let mut data = spoilt.data.to_vec();
            data[0] ^= 1;
            spoilt.data = data.into();
            assert_eq!(verdict(&ring, &message(id, 0, &spoilt)), Verdict::CannotTell);
        }
    }

    #[test]
    fn content_information_says_right_and_wrong() {
        let Fixture { id, secret, sealed } = sealed(CryptoAlgoId::Aes128);
        let hash_of_data = SegmentHashOfData::of(V2, b"some bytes of content");
        let mut information = hex::decode("000204").unwrap();
        information.extend([0; 28]);
        information.extend(hex::decode("000000004400000015").unwrap());
        information.extend_from_slice(hash_of_data.as_bytes());
        information.extend_from_slice(secret.as_bytes());
        let mut ring = KeyRing::default();
        ring.learn(&dissect(&tables::CONTENT_INFORMATION_2, &information));
        let bytes = message(id, 0, &sealed);
        let opened = ring.open(&dissect(&tables::MSG_BLK, &bytes)).unwrap();
        assert_eq!(opened.verdict, Verdict::Right, "{}", opened.reason);
        let step = |name: &str| opened.steps.iter().find(|step| step.name == name).unwrap().clone();
        assert_eq!(step("Ks").value, "unknown");
        assert_eq!(step("key").value, "07".repeat(16));
        assert!(step("HoHoDk").how.ends_with(": the SegmentId of the message"));
        assert_eq!(step("hash of the plaintext").value, step("hash that is due").value);
        assert!(step("padding").how.starts_with("PKCS#7, 11 bytes"));
        let mut spoilt = sealed;
        spoilt.iv[0] ^= 1;
        assert_eq!(verdict(&ring, &message(id, 0, &spoilt)), Verdict::Wrong);
        assert_eq!(verdict(&ring, &message(id, 1, &spoilt)), Verdict::Wrong, "no such block");
    }
}
