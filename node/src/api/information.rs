//! Handing out content information of what was published.

use bytes::Bytes;
use peerdist_protocol::content::{ContentInformation, ContentVersion, Hashed, RangeError};

use super::life::Life;
use super::publish::check_identifier;
use super::quota::{Hold, Kind};
use super::{Error, Instance};

/// Which part of a content is to be described, and how: the arguments of PeerDistServerOpenContentInformationEx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// The first byte of the content.
    pub offset: u64,
    /// How many bytes; 0 for all from `offset` on.
    pub length: u64,
    /// The oldest version of content information that the client can process, 1 or 2.
    pub min_version: u32,
    /// The newest one.
    pub max_version: u32,
}

impl Default for Wanted {
    /// The whole content as PeerDistServerOpenContentInformation gives it, in the version that every client can process.
    fn default() -> Self {
        Self { offset: 0, length: 0, min_version: 1, max_version: 1 }
    }
}

/// PEERDIST_CONTENTINFO_HANDLE: the bytes of content information as they were when it was opened.
#[derive(Debug)]
pub struct ContentInfo {
    life: Life,
    bytes: Bytes,
    _hold: Hold,
}

impl Instance {
    /// PeerDistServerOpenContentInformation(Ex): content information of what this user published. The newest version
    /// that the client can process is taken.
    ///
    /// # Errors
    /// [`Error::NotFound`] for what is not published completely, [`Error::OutOfBounds`] for a range that goes beyond the
    /// content, [`Error::InvalidParameter`] for versions that do not exist, [`Error::ContentInfoVersionUnsupported`]
    /// where the publication has none of them, [`Error::Disabled`], [`Error::ServiceUnavailable`], [`Error::Quota`].
    pub async fn server_open_content_information(
        &self,
        identifier: &[u8],
        wanted: &Wanted,
    ) -> Result<ContentInfo, Error> {
        check_identifier(identifier)?;
        // First, so that what happens from here on ends it.
        let life = self.life(Some(self.until_unpublished(identifier)));
        self.available()?;
        let versions = wanted.min_version..=wanted.max_version;
        if versions.is_empty() || wanted.min_version < 1 || wanted.max_version > 2 {
            return Err(Error::InvalidParameter("versions of content information are 1 and 2, the older one first"));
        }
        let end = match (wanted.length, wanted.offset.checked_add(wanted.length)) {
            (0, _) => None,
            (_, None) => return Err(Error::InvalidParameter("no content is that long")),
            (_, end) => end,
        };
        let hashed = self.0.api.0.publications.find(self.0.user, identifier).ok_or(Error::NotFound)?;
        let offset = wanted.offset;
        let newest = [(2, ContentVersion::V2), (1, ContentVersion::V1)];
        let newest =
            newest.into_iter().filter(move |(number, _)| versions.contains(number)).map(|(_, version)| version);
        let emitted = tokio::task::spawn_blocking(move || {
            let end = end.unwrap_or(hashed.length);
            if end > hashed.length || offset >= end {
                return Err(Error::OutOfBounds("the content has fewer bytes"));
            }
            let mut newest = newest.filter_map(|version| of_version(&hashed, version));
            let information = newest.next().ok_or_else(|| {
                Error::ContentInfoVersionUnsupported(
                    "the publication has no content information of this version".to_owned(),
                )
            })?;
            let whole = offset == 0 && end == hashed.length;
            let bytes =
                if whole { information.emit() } else { information.slice(offset..end).map_err(of_range)?.emit() };
            Ok(Bytes::from(bytes))
        });
        let emitted = async { emitted.await.map_err(|error| Error::Internal(error.to_string()))? };
        let bytes = life.run(emitted).await?;
        let hold = self.0.api.0.users.hold(self.0.user, Kind::Content, bytes.len() as u64)?;
        Ok(ContentInfo { life, bytes, _hold: hold })
    }
}

fn of_version(hashed: &Hashed, version: ContentVersion) -> Option<&ContentInformation> {
    match version {
        ContentVersion::V1 => hashed.v1.as_ref(),
        ContentVersion::V2 => hashed.v2.as_ref(),
    }
}

fn of_range(_: RangeError) -> Error {
    Error::OutOfBounds("the content has fewer bytes")
}

impl ContentInfo {
    /// How many bytes of content information there are.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// PeerDistServerRetrieveContentInformation: at most `max` bytes from `offset` on. The caller adds up; what peerdist.h
    /// keeps in the handle is the caller's.
    ///
    /// # Errors
    /// [`Error::NoMore`] at the end and behind it.
    pub fn server_retrieve_content_information(&self, offset: u64, max: usize) -> Result<Bytes, Error> {
        self.life.check()?;
        let rest = usize::try_from(offset).ok().and_then(|offset| self.bytes.get(offset..)).unwrap_or_default();
        if rest.is_empty() {
            return Err(Error::NoMore);
        }
        Ok(self.bytes.slice_ref(&rest[..rest.len().min(max)]))
    }

    /// PeerDistServerCloseContentInformation, where others may be using it.
    pub fn close(&self) {
        self.life.close();
    }
}
