//! Contents of a client: from content information in pieces to a content that can be read.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use peerdist_protocol::content::{
    BLOCK_SIZE_V1, ContentInformation, ContentVersion, MAX_CONTENT_INFORMATION_SIZE, MAX_CONTENT_LENGTH,
};

use super::ahead::Ahead;
use super::life::Life;
use super::quota::{Hold, Kind};
use super::{ContentTag, Error, Instance, StreamPosition, lock};
use crate::fetch;
use crate::fetch::Explanation;

/// Parsed, content information of version 2 takes this many times its size; version 1 takes less.
const PARSED_FACTOR: u64 = 4;
/// Bytes of a handle that were added where no content information describes the content yet. The ones added first go first.
const MAX_UNPLACED: usize = 4 << 20;

/// What completed content information describes, in bytes of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentInformationRange {
    /// The bytes that it describes.
    pub range: Range<u64>,
}

/// PEERDIST_CONTENT_HANDLE: a content that is being retrieved. Dropping it closes it and cancels everything under way.
#[derive(Debug)]
pub struct Content {
    pub(super) life: Life,
    pub(super) instance: Instance,
    name: String,
    tag: ContentTag,
    state: Mutex<State>,
    pub(super) ahead: Ahead,
    /// Where the next PeerDistClientStreamRead begins, for callers who do not keep it themselves.
    pub(super) position: tokio::sync::Mutex<StreamPosition>,
}

#[derive(Debug)]
struct State {
    collecting: BytesMut,
    open: Option<Open>,
    /// Added where nothing is described yet: offset and bytes.
    unplaced: Vec<(u64, Bytes)>,
    hold: Hold,
    /// Counted for parsed content information.
    described: u64,
}

/// A content with content information.
#[derive(Debug, Clone)]
struct Open {
    content: Arc<fetch::Content>,
    /// Where the content ends, as far as content information tells.
    end: Option<u64>,
}

impl Instance {
    /// PeerDistClientOpenContent: a handle that content information is added to.
    ///
    /// # Errors
    /// [`Error::Disabled`], [`Error::ServiceUnavailable`], [`Error::Quota`].
    pub fn client_open_content(&self, tag: ContentTag) -> Result<Content, Error> {
        self.client_open_named(tag, "")
    }

    /// The same with a name that explanations show, such as a URL.
    pub fn client_open_named(&self, tag: ContentTag, name: &str) -> Result<Content, Error> {
        // First, so that what happens from here on ends it.
        let life = self.life(None);
        self.available()?;
        let hold = self.0.api.0.users.hold(self.0.user, Kind::Content, 0)?;
        let state = State { collecting: BytesMut::new(), open: None, unplaced: Vec::new(), hold, described: 0 };
        Ok(Content {
            life,
            instance: self.clone(),
            name: name.to_owned(),
            tag,
            state: Mutex::new(state),
            ahead: Ahead::default(),
            position: tokio::sync::Mutex::default(),
        })
    }

    /// Counts `bytes` against the user's quota for as long as the result lives: a request that is being read.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<impl Sized + use<>, Error> {
        self.0.api.0.users.hold(self.0.user, Kind::Bytes, bytes)
    }
}

impl Content {
    /// PeerDistClientAddContentInformation: the next bytes of content information, in pieces of any size.
    ///
    /// # Errors
    /// [`Error::CannotParseContentInfo`] where it gets larger than content information can be, [`Error::Quota`].
    pub fn client_add_content_information(&self, piece: &[u8]) -> Result<(), Error> {
        self.life.check()?;
        let mut state = lock(&self.state);
        let size = state.collecting.len() + piece.len();
        if size > MAX_CONTENT_INFORMATION_SIZE {
            let message = format!("content information has at most {MAX_CONTENT_INFORMATION_SIZE} bytes");
            return Err(Error::CannotParseContentInfo(message));
        }
        let held = state.held_without_collecting() + size as u64 * (1 + PARSED_FACTOR);
        state.hold.resize(held)?;
        state.collecting.extend_from_slice(piece);
        Ok(())
    }

    /// PeerDistClientCompleteContentInformation: from now on what it describes can be read. More content information of
    /// other parts of the content may be added and completed afterwards. Returns what this one describes.
    ///
    /// # Errors
    /// [`Error::ContentInfoVersionUnsupported`], [`Error::CannotParseContentInfo`] also where it contradicts what came
    /// before; [`Error::AlreadyCompleted`] where nothing was added since the last time.
    pub async fn client_complete_content_information(&self) -> Result<ContentInformationRange, Error> {
        self.life.run(self.complete()).await
    }

    async fn complete(&self) -> Result<ContentInformationRange, Error> {
        let (bytes, completed) = {
            let mut state = lock(&self.state);
            (state.collecting.split().freeze(), state.open.is_some())
        };
        if bytes.is_empty() && completed {
            return Err(Error::AlreadyCompleted);
        }
        let size = bytes.len() as u64;
        // Parsing derives an id for every segment, and a large content has a million.
        let parsed = tokio::task::spawn_blocking(move || ContentInformation::parse(bytes)).await;
        let parsed = parsed.map_err(|error| Error::Internal(error.to_string()))?;
        let information = parsed.inspect_err(|_| lock(&self.state).settle(0))?;
        let range = information.range();
        let end = end_of_content(&information);
        let described = size + size_of_val(information.segments()) as u64;
        let (open, unplaced) = {
            let mut state = lock(&self.state);
            match &mut state.open {
                Some(open) => {
                    let added = open.content.add_content_information(information);
                    added.map_err(|error| Error::CannotParseContentInfo(error.to_string()))?;
                    open.end = open.end.or(end);
                }
                None => {
                    let fetcher = self.instance.0.api.0.node.fetcher();
                    let content = fetcher.open_tagged(&self.name, self.instance.tag(self.tag), information);
                    state.open = Some(Open { content: Arc::new(content), end });
                }
            }
            state.settle(described);
            let unplaced = std::mem::take(&mut state.unplaced);
            (state.open.clone(), unplaced)
        };
        if let Some(open) = open {
            open.content.settled().await;
            for (offset, bytes) in unplaced {
                self.place(&open, offset, bytes).await;
            }
        }
        Ok(ContentInformationRange { range })
    }

    /// PeerDistClientAddData: bytes of the content from elsewhere, at `offset` in it. Verified ones go into the cache and
    /// to peers. Others can be read by this handle until it is closed: pieces of blocks, and what nothing describes yet.
    /// Of the latter a handle keeps 4 MiB. Wrong ones are dropped. Returns whether all that could be verified was right.
    ///
    /// # Errors
    /// [`Error::OutOfBounds`] at and behind the end of the content, [`Error::Quota`].
    pub async fn client_add_data(&self, offset: u64, bytes: Bytes) -> Result<bool, Error> {
        self.life.check()?;
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > MAX_CONTENT_LENGTH) {
            return Err(Error::OutOfBounds("no content is that long"));
        }
        let open = {
            let mut state = lock(&self.state);
            match &state.open {
                Some(open) => open.clone(),
                None => {
                    let held = state.held() + bytes.len() as u64;
                    state.hold.resize(held)?;
                    state.keep(offset, &bytes);
                    let held = state.held();
                    // It is no more than was counted just now.
                    let _ = state.hold.resize(held);
                    return Ok(true);
                }
            }
        };
        if open.end.is_some_and(|end| offset >= end) {
            return Err(Error::OutOfBounds("the content ends before"));
        }
        self.life.run(async { Ok(self.place(&open, offset, bytes).await) }).await
    }

    async fn place(&self, open: &Open, offset: u64, mut bytes: Bytes) -> bool {
        if let Some(end) = open.end {
            // What came before the end was known may lie behind it.
            bytes.truncate(usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX));
        }
        let end = offset + bytes.len() as u64;
        let part = |range: Range<u64>| bytes.slice((range.start - offset) as usize..(range.end - offset) as usize);
        let mut position = offset;
        let mut is_right = true;
        while position < end {
            let known = open.content.known_within(position..end).unwrap_or(end..end);
            if position < known.start {
                lock(&self.state).keep(position, &part(position..known.start));
            }
            if !known.is_empty() {
                is_right &= open.content.add_data(known.start, part(known.clone())).await.is_ok();
            }
            position = known.end;
        }
        open.content.settled().await;
        let mut state = lock(&self.state);
        let held = state.held();
        // What is held already is counted even where that exceeds the quota; what comes next is refused.
        let _ = state.hold.resize(held);
        is_right
    }

    /// PeerDistClientGetInformationByHandle: `fFlashCrowd`, whether several other hosts were heard asking for segments of
    /// this content within the last minute.
    ///
    /// # Errors
    /// [`Error::Invalidated`], [`Error::InvalidHandle`].
    pub fn flash_crowd(&self) -> Result<bool, Error> {
        self.life.check()?;
        let content = lock(&self.state).open.clone();
        let Some(open) = content else { return Ok(false) };
        let ids = open.content.segment_ids();
        Ok(self.instance.0.api.0.node.fetcher().crowd(&ids) >= 2)
    }

    /// Where the content's bytes came from, and why.
    ///
    /// # Errors
    /// [`Error::NotInitialized`].
    pub fn explanation(&self) -> Result<Explanation, Error> {
        Ok(self.open()?.content.explanation())
    }

    /// PeerDistClientCloseContent, where others may be using the content: their operations end with
    /// [`Error::Aborted`].
    pub fn close(&self) {
        self.life.close();
    }

    pub(super) fn fetched(&self) -> Result<Arc<fetch::Content>, Error> {
        self.open().map(|open| open.content)
    }

    fn open(&self) -> Result<Open, Error> {
        self.life.check()?;
        lock(&self.state).open.clone().ok_or(Error::NotInitialized)
    }
}

impl State {
    /// Keeps bytes that nothing describes yet.
    fn keep(&mut self, offset: u64, bytes: &[u8]) {
        self.unplaced.push((offset, Bytes::copy_from_slice(bytes)));
        while self.unplaced.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() > MAX_UNPLACED {
            self.unplaced.remove(0);
        }
    }

    /// What is held without the content information that is being collected.
    fn held_without_collecting(&self) -> u64 {
        let staged = self.open.as_ref().map_or(0, |open| open.content.staged_bytes());
        let unplaced: usize = self.unplaced.iter().map(|(_, bytes)| bytes.len()).sum();
        self.described + staged + unplaced as u64
    }

    fn held(&self) -> u64 {
        self.held_without_collecting() + self.collecting.len() as u64 * (1 + PARSED_FACTOR)
    }

    /// Collected content information was taken in, and takes `bytes` from now on.
    fn settle(&mut self, bytes: u64) {
        self.described += bytes;
        let held = self.held();
        // It is less than what was counted while it was collected.
        let _ = self.hold.resize(held);
    }
}

/// Where a content ends, if its content information tells: the last segment is not cut, and is either shorter than all
/// but the last one of a content are, or there is nothing before the first.
fn end_of_content(information: &ContentInformation) -> Option<u64> {
    /// cbSegment of all segments but the last ([MS-PCCRC] 2.3.1.1).
    const SEGMENT_SIZE_V1: u32 = 512 * BLOCK_SIZE_V1;
    let range = information.range();
    let last = information.segments().last()?;
    let end = last.offset() + u64::from(last.length());
    let short = information.version() == ContentVersion::V1 && last.length() < SEGMENT_SIZE_V1;
    (range.end == end && (range.start == 0 || short)).then_some(end)
}

#[cfg(test)]
mod tests {
    use peerdist_protocol::content::{HashOptions, Hasher, ServerSecret};
    use peerdist_protocol::crypto::HashAlgorithm;

    use super::*;
    use crate::api::{Api, Quotas};
    use crate::config::{Config, Mode};
    use crate::node::Node;

    #[tokio::test]
    async fn bytes_behind_an_end_that_is_learned_later_are_dropped() {
        let home = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.node.mode = Mode::Local;
        config.cache.dir = home.path().join("cache");
        let quotas = Quotas::from(&config.control);
        let node = Node::start(config).await.unwrap();
        let instance = Api::new(node.clone(), home.path().join("key"), quotas).startup(1).unwrap();

        let options = HashOptions { v1: Some(HashAlgorithm::Sha256), v2: false };
        let mut hasher = Hasher::new(options, &ServerSecret::from_passphrase("test"));
        hasher.update(&[7; 300_000]);
        let whole = hasher.finish().unwrap().v1.unwrap();
        let content = instance.client_open_content([0; 16]).unwrap();
        content.client_add_content_information(&whole.slice(0..65_536).unwrap().emit()).unwrap();
        content.client_complete_content_information().await.unwrap();
        let behind = Bytes::from_static(&[7; 10]);
        content.client_add_data(1_000_000, behind.clone()).await.unwrap();
        content.client_add_content_information(&whole.slice(65_536..300_000).unwrap().emit()).unwrap();
        content.client_complete_content_information().await.unwrap();
        assert!(matches!(content.client_add_data(300_000, behind).await, Err(Error::OutOfBounds(_))));
        assert!(matches!(content.query(300_000).await, Err(Error::NoMore)));
        node.stop().await;
    }

    #[test]
    fn parsed_content_information_is_counted_in_full() {
        // A segment description of version 2 has 68 bytes ([MS-PCCRC] 2.4.1.2).
        let factor = size_of::<peerdist_protocol::content::Segment>() as u64;
        assert!(factor <= PARSED_FACTOR * 68, "a segment takes {factor} bytes");
    }
}
