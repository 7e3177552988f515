//! Bodies as they arrive.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use peerdist_protocol::http::{ContentRange, Validators};
use reqwest::{Response, Url};

use super::OriginError;

/// Bytes of the content itself.
#[derive(Debug)]
pub struct Identity {
    /// Which byte of the content comes first.
    pub start: u64,
    /// The end of the range that follows, in content offsets, where the origin tells.
    pub end: Option<u64>,
    /// The length of the whole content in bytes, where the origin tells.
    pub total: Option<u64>,
    /// Which state of the content this is.
    pub validators: Validators,
    /// The origin is hashing: content information may be had a little later.
    pub make_hash_request: bool,
    /// Where redirections led.
    pub url: Url,
    /// The bytes.
    pub body: Body,
}

impl Identity {
    pub(super) fn new(
        response: Response,
        asked: Option<&Range<u64>>,
        make_hash_request: bool,
    ) -> Result<Self, OriginError> {
        let headers = header_pairs(&response);
        let (start, end, total) = match response.status().as_u16() {
            200 => (0, response.content_length(), response.content_length()),
            206 => {
                let sent = content_range(&headers);
                let fits = |sent: &ContentRange| {
                    let range = sent.range();
                    asked.is_some_and(|asked| asked.start == range.start && range.end <= asked.end)
                };
                match sent {
                    Some(sent) if fits(&sent) => (sent.range().start, Some(sent.range().end), sent.total()),
                    sent => {
                        return Err(OriginError::Range { asked: asked.cloned(), sent: sent.map(|sent| sent.range()) });
                    }
                }
            }
            status => return Err(OriginError::Status(status)),
        };
        let validators = Validators::read(&headers);
        let url = response.url().clone();
        let body = Body::new(response, end.map(|end| end - start));
        Ok(Self { start, end, total, validators, make_hash_request, url, body })
    }
}

/// A body as it arrives. Dropping it early ends its connection.
#[derive(Debug)]
pub struct Body {
    response: Response,
    expected: Option<u64>,
    sent: u64,
}

impl Body {
    /// `expected` is how many bytes have to come, as far as that is known.
    pub(super) fn new(response: Response, expected: Option<u64>) -> Self {
        Self { response, expected, sent: 0 }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`OriginError::TimedOut`], [`OriginError::Broken`] or [`OriginError::Length`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        let piece = self.response.chunk().await.map_err(OriginError::from_body)?;
        self.sent += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        match self.expected {
            Some(expected) if self.sent > expected || (piece.is_none() && self.sent < expected) => {
                Err(OriginError::Length { expected, sent: self.sent })
            }
            _ => Ok(piece),
        }
    }

    /// The whole body, or an error as soon as it passes `limit` bytes.
    pub(super) async fn collect(mut self, limit: usize) -> Result<Bytes, OriginError> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.next().await? {
            if whole.len() + piece.len() > limit {
                return Err(OriginError::ContentInformationSize { limit });
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

/// A response's headers as text. A value that is no text is as good as absent.
pub(super) fn header_pairs(response: &Response) -> Vec<(&str, &str)> {
    response.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect()
}

fn content_range(headers: &[(&str, &str)]) -> Option<ContentRange> {
    let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Content-Range"))?;
    ContentRange::parse(value)
}
