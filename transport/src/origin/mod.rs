//! The downloader's HTTP client ([MS-PCCRTP] 3.1): asks an origin for content information, for the bytes that no peer
//! had, or for the content as it is.

mod body;
mod error;

use std::env;
use std::ops::Range;
use std::time::Duration;

use peerdist_protocol::content::ContentInformation;
use peerdist_protocol::http::{
    Asked, MissingData, Received, Validators, missing_data_headers, offer_headers, plain_headers, read_missing_data,
    read_response,
};
pub use reqwest::Url;
use reqwest::{Client, ClientBuilder, Response, redirect};

use self::body::header_pairs;
pub use self::body::{Body, Identity};
pub use self::error::{Fault, OriginError};
use crate::http_client;

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

/// A response to [`Origin::ask`].
#[derive(Debug)]
#[must_use]
pub enum Answer {
    /// Content information of the content, or of the range that was asked for.
    ContentInformation {
        /// Parsed and compared with the response's head.
        content_information: ContentInformation,
        /// The length of the whole content in bytes, where the origin tells.
        total: Option<u64>,
        /// What guards the requests that follow.
        validators: Validators,
        /// Where redirections led.
        url: Url,
    },
    /// The content as it is.
    Identity(Identity),
}

/// The client. Cheap to clone; clones share their connections.
///
/// Proxies that the environment names (`http_proxy`, `https_proxy`, `all_proxy`, `no_proxy`) are used, except for
/// addresses of this host.
#[derive(Debug, Clone)]
pub struct Origin {
    direct: Client,
    /// The same with the environment's proxies, if it names any.
    proxied: Option<Client>,
    limits: OriginLimits,
}

impl Origin {
    /// A client with these limits.
    ///
    /// # Errors
    /// [`OriginError::Client`].
    pub fn new(limits: OriginLimits) -> Result<Self, OriginError> {
        let configure = |client: ClientBuilder| {
            client
                .user_agent(concat!("peerdist/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(limits.connect)
                .read_timeout(limits.no_progress)
                .redirect(redirect::Policy::limited(limits.redirections))
        };
        let direct = http_client::build(|client| configure(client).no_proxy()).map_err(OriginError::Client)?;
        let proxied = environment_names_a_proxy().then(|| http_client::build(configure).map_err(OriginError::Client));
        Ok(Self { direct, proxied: proxied.transpose()?, limits })
    }

    /// Asks for content information of `asked.range`, and takes the bytes themselves where there is none.
    ///
    /// # Errors
    /// A status other than 200 and 206 is one; 416 is what an origin says of a range of an empty content. Where
    /// [`OriginError::is_about_content_information`], [`Self::plain`] is the remedy.
    pub async fn ask(&self, url: &Url, asked: &Asked) -> Result<Answer, OriginError> {
        let response = self.get(url, &offer_headers(asked)).await?;
        let headers = header_pairs(&response);
        match read_response(asked, response.status().as_u16(), &headers)? {
            Received::Identity { make_hash_request } => {
                Identity::new(response, asked.range.as_ref(), make_hash_request).map(Answer::Identity)
            }
            Received::ContentInformation(announced) => {
                let validators = Validators::read(&headers);
                let url = response.url().clone();
                let length = response.content_length();
                let body = Body::new(response, length).collect(self.limits.content_information_size).await?;
                let content_information = announced.accept(body)?;
                Ok(Answer::ContentInformation { content_information, total: announced.total(), validators, url })
            }
        }
    }

    /// Asks for the content as it is, all of it or a range. An origin without ranges sends all of it.
    ///
    /// # Errors
    /// A status other than 200 and 206 is one.
    pub async fn plain(&self, url: &Url, range: Option<&Range<u64>>) -> Result<Identity, OriginError> {
        Identity::new(self.get(url, &plain_headers(range)).await?, range, false)
    }

    /// Asks for bytes that no peer had ([MS-PCCRTP] 2.2, MissingDataRequest).
    ///
    /// An origin without ranges answers with the whole content, [`MissingData::Whole`]: its first byte is the
    /// content's first, not the range's.
    ///
    /// # Errors
    /// [`OriginError::MissingData`] if the response is not what was asked for, or of another state of the content.
    pub async fn missing(
        &self,
        url: &Url,
        range: &Range<u64>,
        validators: &Validators,
    ) -> Result<(MissingData, Body), OriginError> {
        let response = self.get(url, &missing_data_headers(range, validators)).await?;
        let kind = read_missing_data(range, validators, response.status().as_u16(), &header_pairs(&response))?;
        let expected = match kind {
            MissingData::Range => Some(range.end - range.start),
            MissingData::Whole => response.content_length(),
        };
        Ok((kind, Body::new(response, expected)))
    }

    async fn get(&self, url: &Url, headers: &[(&'static str, String)]) -> Result<Response, OriginError> {
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(OriginError::Url { scheme: url.scheme().to_owned() });
        }
        let client = match &self.proxied {
            Some(proxied) if !is_this_host(url) => proxied,
            _ => &self.direct,
        };
        let request =
            headers.iter().fold(client.get(url.clone()), |request, (name, value)| request.header(*name, value));
        request.send().await.map_err(|error| OriginError::from_request(url, error))
    }
}

fn environment_names_a_proxy() -> bool {
    let names = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    names.into_iter().any(|name| env::var_os(name).is_some_and(|proxy| !proxy.is_empty()))
}

fn is_this_host(url: &Url) -> bool {
    match url.host_str() {
        Some("localhost") => true,
        Some(host) => {
            let address = host.trim_start_matches('[').trim_end_matches(']');
            address.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (url, expected) in [
            ("http://localhost:80/", true),
            ("http://127.0.0.1/", true),
            ("http://127.9.9.9:8080/", true),
            ("http://[::1]/", true),
            ("http://10.0.0.1/", false),
            ("http://[::2]/", false),
            ("http://localhost.example/", false),
        ] {
            assert_eq!(is_this_host(&url.parse().unwrap()), expected, "{url}");
        }
    }
}
