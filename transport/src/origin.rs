//! The downloader's HTTP client ([MS-PCCRTP] 3.1): asks an origin for content information, for the bytes that no peer
//! had, or for the content as it is.

use std::ops::Range;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peerdist_protocol::content::ContentInformation;
use peerdist_protocol::http::{
    Asked, ContentRange, MissingData, MissingDataFault, Received, ResponseFault, Validators, missing_data_headers,
    offer_headers, plain_headers, read_missing_data, read_response,
};
pub use reqwest::Url;
use reqwest::{Client, Response};
use thiserror::Error;

/// What the client grants an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OriginLimits {
    /// How long a connection may take to come about.
    pub connect: Duration,
    /// How long a response may stand still, before its head and between its bytes.
    pub no_progress: Duration,
    /// The largest content information taken, in bytes.
    pub content_information_size: usize,
    /// How many redirections are followed.
    pub redirections: usize,
}

impl Default for OriginLimits {
    /// Ten seconds to connect, 30 without progress, 64 MiB of content information, 10 redirections.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            no_progress: Duration::from_secs(30),
            content_information_size: 64 << 20,
            redirections: 10,
        }
    }
}

/// Why an origin gave nothing usable.
#[derive(Debug, Error)]
pub enum OriginError {
    /// The URL is not one that can be fetched. The caller's fault.
    #[error("not a URL that can be fetched: {0}")]
    Url(#[source] reqwest::Error),
    /// No connection came about: name, address, port, certificate.
    #[error("no connection to {host}")]
    Connect {
        /// The host of the URL.
        host: String,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
    /// The origin stood still for longer than the limit.
    #[error("the origin made no progress within the time limit")]
    TimedOut,
    /// The connection broke or the response was no HTTP.
    #[error("the transfer from the origin broke off")]
    Broken(#[source] reqwest::Error),
    /// The origin refuses the request.
    #[error("the origin answered with status {0}")]
    Status(u16),
    /// A `peerdist` response that cannot be used; asking again without `peerdist` is the remedy.
    #[error("the origin's content information cannot be used")]
    ContentInformation(#[from] ResponseFault),
    /// Content information beyond [`OriginLimits::content_information_size`]; the remedy is the same.
    #[error("the origin's content information is longer than {limit} bytes")]
    ContentInformationSize {
        /// The limit in bytes.
        limit: usize,
    },
    /// A response to a request for missing data that cannot be used.
    #[error("the origin's answer for missing data cannot be used")]
    MissingData(#[from] MissingDataFault),
}

impl OriginError {
    /// Whether the same request without `peerdist` may succeed.
    #[must_use]
    pub fn is_about_content_information(&self) -> bool {
        matches!(self, Self::ContentInformation(_) | Self::ContentInformationSize { .. })
    }

    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Connect { .. } | Self::TimedOut | Self::Broken(_) | Self::Status(500..=599))
    }

    fn from_request(url: &Url, error: reqwest::Error) -> Self {
        if error.is_builder() || error.is_redirect() {
            Self::Url(error)
        } else if error.is_connect() {
            Self::Connect { host: url.host_str().unwrap_or_default().to_owned(), source: error }
        } else if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Broken(error)
        }
    }

    fn from_body(error: reqwest::Error) -> Self {
        if error.is_timeout() { Self::TimedOut } else { Self::Broken(error) }
    }
}

/// A response to [`Origin::ask`] or [`Origin::plain`].
#[derive(Debug)]
#[must_use]
pub enum Answer {
    /// Content information of the content, or of the range that was asked for.
    ContentInformation {
        /// Parsed and compared with the response's head.
        content_information: ContentInformation,
        /// The length of the whole content, where the origin tells.
        total: Option<u64>,
        /// What guards the requests that follow.
        validators: Validators,
        /// Where redirections led.
        url: Url,
    },
    /// The content as it is.
    Identity(Identity),
}

/// Bytes of the content itself.
#[derive(Debug)]
pub struct Identity {
    /// Which bytes follow, as far as the response says.
    pub start: u64,
    /// The end of the range that follows, where the origin tells.
    pub end: Option<u64>,
    /// The length of the whole content, where the origin tells.
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

/// A body as it arrives.
#[derive(Debug)]
pub struct Body(Response);

impl Body {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`OriginError::TimedOut`] or [`OriginError::Broken`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, OriginError> {
        self.0.chunk().await.map_err(OriginError::from_body)
    }
}

/// The client. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Origin {
    client: Client,
    limits: OriginLimits,
}

impl Origin {
    /// A client with these limits.
    ///
    /// # Errors
    /// [`OriginError::Url`] where TLS cannot be set up on this host.
    pub fn new(limits: OriginLimits) -> Result<Self, OriginError> {
        let client = Client::builder()
            .user_agent(concat!("peerdist/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(limits.connect)
            .read_timeout(limits.no_progress)
            .redirect(reqwest::redirect::Policy::limited(limits.redirections))
            .build()
            .map_err(OriginError::Url)?;
        Ok(Self { client, limits })
    }

    /// Asks for content information of `asked.range`, and takes the bytes themselves where there is none.
    ///
    /// A status other than 200 and 206 is an error; 416 is what an origin says of a range of an empty content.
    pub async fn ask(&self, url: &Url, asked: &Asked) -> Result<Answer, OriginError> {
        let response = self.get(url, &offer_headers(asked)).await?;
        let headers = header_pairs(&response);
        let received = read_response(asked, response.status().as_u16(), &headers)?;
        match received {
            Received::Identity { make_hash_request } => {
                identity(response, asked.range.as_ref(), make_hash_request).map(Answer::Identity)
            }
            Received::ContentInformation(announced) => {
                let validators = Validators::read(&headers);
                let url = response.url().clone();
                let body = self.small_body(response).await?;
                let content_information = announced.accept(body)?;
                Ok(Answer::ContentInformation { content_information, total: announced.total(), validators, url })
            }
        }
    }

    /// Asks for the content as it is, all of it or a range.
    pub async fn plain(&self, url: &Url, range: Option<&Range<u64>>) -> Result<Identity, OriginError> {
        identity(self.get(url, &plain_headers(range)).await?, range, false)
    }

    /// Asks for bytes that no peer had ([MS-PCCRTP] 2.2, MissingDataRequest).
    ///
    /// An origin without ranges answers with the whole content, [`MissingData::Whole`]: its first byte is the
    /// content's first, not the range's.
    pub async fn missing(
        &self,
        url: &Url,
        range: &Range<u64>,
        validators: &Validators,
    ) -> Result<(MissingData, Body), OriginError> {
        let response = self.get(url, &missing_data_headers(range, validators)).await?;
        let kind = read_missing_data(range, validators, response.status().as_u16(), &header_pairs(&response))?;
        Ok((kind, Body(response)))
    }

    async fn get(&self, url: &Url, headers: &[(&'static str, String)]) -> Result<Response, OriginError> {
        let request = headers.iter().fold(self.client.get(url.clone()), |request, (name, value)| request.header(*name, value));
        request.send().await.map_err(|error| OriginError::from_request(url, error))
    }

    /// A whole body in memory, never more than the limit.
    async fn small_body(&self, response: Response) -> Result<Bytes, OriginError> {
        let limit = self.limits.content_information_size;
        let mut whole = BytesMut::new();
        let mut body = Body(response);
        while let Some(piece) = body.next().await? {
            if whole.len() + piece.len() > limit {
                return Err(OriginError::ContentInformationSize { limit });
            }
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

fn identity(response: Response, asked: Option<&Range<u64>>, make_hash_request: bool) -> Result<Identity, OriginError> {
    let headers = header_pairs(&response);
    let (start, end, total) = match response.status().as_u16() {
        200 => (0, response.content_length(), response.content_length()),
        206 => {
            let sent = headers
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case("Content-Range"))
                .and_then(|(_, value)| ContentRange::parse(value))
                .ok_or(MissingDataFault::NoContentRange)?;
            if asked.is_none_or(|asked| asked.start != sent.range().start || sent.range().end > asked.end) {
                return Err(MissingDataFault::OtherRange(sent.range()).into());
            }
            (sent.range().start, Some(sent.range().end), sent.total())
        }
        status => return Err(OriginError::Status(status)),
    };
    let validators = Validators::read(&headers);
    let url = response.url().clone();
    Ok(Identity { start, end, total, validators, make_hash_request, url, body: Body(response) })
}

/// The response's headers as text. A value that is no text is as good as absent.
fn header_pairs(response: &Response) -> Vec<(&str, &str)> {
    response.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))).collect()
}
