//! Requests answered from a folder.

use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, LAST_MODIFIED,
    VARY,
};
use hyper::{Method, Request, Response, StatusCode, Version};
use peerdist_protocol::content::Hashed;
use peerdist_protocol::http::{self, Ask, ContentRange, EntityTag, Representation, Resolved, Validators};
use peerdist_protocol::http::{may_encode, read_request};

use super::body::{Body, FileParts, Meter};
use super::conditions::{self, Condition};
use super::folder::{Folder, NotServed, OpenFile};
use super::jobs::{Cancellable, HashFailure, blocking};
use super::kept::ContentKey;
use super::offered::{Answered, describe_headers, header_pairs, try_later_headers};
use super::{Shared, plain_response};
use crate::hashing::{FileState, hash_reader};

/// How old a file's last change has to be before it is hashed. Clocks of file systems tick every few milliseconds: a
/// change within the same tick would go unnoticed.
const QUIET: Duration = Duration::from_millis(100);
/// The same for file systems that keep whole seconds, or pairs of them.
const QUIET_COARSE: Duration = Duration::from_secs(3);

/// Answers a request.
pub(super) async fn answer(shared: &Arc<Shared>, folder: &Arc<Folder>, request: Request<Incoming>) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = plain_response(StatusCode::METHOD_NOT_ALLOWED, &shared.counters);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let (opening, path) = (folder.clone(), request.uri().path().to_owned());
    let opened = match blocking(move || opening.open_url_path(&path)).await {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return plain_response(status_of(&error), &shared.counters),
        Err(_) => return plain_response(StatusCode::INTERNAL_SERVER_ERROR, &shared.counters),
    };
    FileAnswer::new(shared, folder, opened).answer(&request).await
}

fn status_of(error: &NotServed) -> StatusCode {
    use io::ErrorKind as Kind;
    match error {
        NotServed::Malformed => StatusCode::BAD_REQUEST,
        NotServed::Hidden | NotServed::Outside | NotServed::NotAFile => StatusCode::NOT_FOUND,
        NotServed::Io(error) => match error.kind() {
            Kind::PermissionDenied => StatusCode::FORBIDDEN,
            Kind::NotFound | Kind::NotADirectory | Kind::InvalidFilename => StatusCode::NOT_FOUND,
            // Symbolic links in a circle have no stable name.
            _ if error.raw_os_error() == Some(40) => StatusCode::NOT_FOUND,
            _ => {
                tracing::warn!(%error, "cannot open a file of the folder");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        },
    }
}

struct FileAnswer<'a> {
    shared: &'a Arc<Shared>,
    folder: &'a Arc<Folder>,
    opened: OpenFile,
    validators: Validators,
}

impl<'a> FileAnswer<'a> {
    fn new(shared: &'a Arc<Shared>, folder: &'a Arc<Folder>, opened: OpenFile) -> Self {
        let FileState { inode, length, modified: (seconds, nanoseconds), .. } = opened.state;
        let validators = Validators {
            etag: EntityTag::strong(&format!("{inode:x}-{length:x}-{seconds:x}.{nanoseconds:x}")),
            last_modified: conditions::http_date(opened.state.modified, SystemTime::now()),
        };
        Self { shared, folder, opened, validators }
    }

    async fn answer(self, request: &Request<Incoming>) -> Response<Body> {
        let mut headers = self.headers();
        match conditions::evaluate(request.headers(), &self.validators) {
            Condition::Pass => {}
            Condition::NotModified => return self.empty(StatusCode::NOT_MODIFIED, headers),
            Condition::Failed => return self.empty(StatusCode::PRECONDITION_FAILED, headers),
        }
        let length = self.opened.state.length;
        let (status, range) = match conditions::selected(request.headers(), &self.validators, length) {
            Resolved::Whole => (StatusCode::OK, 0..length),
            Resolved::Single(range) => (StatusCode::PARTIAL_CONTENT, range),
            Resolved::Several(ranges) => return self.multipart(request, headers, &ranges),
            Resolved::Unsatisfiable => {
                set(&mut headers, CONTENT_RANGE, &format!("bytes */{length}"));
                return self.empty(StatusCode::RANGE_NOT_SATISFIABLE, headers);
            }
        };
        set(&mut headers, CONTENT_TYPE, content_type(&self.opened.path));
        if status == StatusCode::PARTIAL_CONTENT
            && let Some(content_range) = ContentRange::new(range.clone(), Some(length))
        {
            set(&mut headers, CONTENT_RANGE, &content_range.to_string());
        }
        let is_1_1 = request.version() == Version::HTTP_11;
        let ask = read_request(request.method().as_str(), is_1_1, &header_pairs(request.headers()));
        let meter = self.shared.meter(&ask);
        if let Ask::Offer(offer) = ask
            && self.is_capable()
        {
            let key = key_of(&self.opened);
            let hash = hash(self.shared.clone(), self.folder.clone(), self.opened.path.clone(), key.clone());
            match self.shared.answer_offer(&offer, &key, &range, hash).await {
                Answered::Described(body) => {
                    describe_headers(&mut headers, &offer, range.end - range.start, &body);
                    self.shared.counters.content_information_answers.add(1);
                    let body = Body::bytes(body, Meter::ContentInformation, &self.shared.counters);
                    return response(status, headers, body);
                }
                Answered::TryLater if try_later_headers(&mut headers, &offer) => {
                    self.shared.counters.make_hash_requests.add(1);
                }
                Answered::TryLater | Answered::Identity => {}
            }
        }
        headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
        self.file(request, status, headers, |parts| parts.range(range), meter)
    }

    /// What every response about this file carries.
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Some(tag) = &self.validators.etag {
            set(&mut headers, ETAG, &tag.to_string());
        }
        if let Some(date) = &self.validators.last_modified {
            set(&mut headers, LAST_MODIFIED, date);
        }
        if self.is_capable() {
            headers.insert(VARY, HeaderValue::from_static(http::VARY));
        }
        headers
    }

    fn is_capable(&self) -> bool {
        let length = self.opened.state.length;
        let response = Representation {
            status: 200,
            multipart: false,
            validators: &self.validators,
            content_encoding: None,
            length,
        };
        may_encode(&response).is_ok() && self.shared.describes(length)
    }

    fn multipart(self, request: &Request<Incoming>, mut headers: HeaderMap, ranges: &[Range<u64>]) -> Response<Body> {
        let boundary = format!("{:032x}", rand::random::<u128>());
        let length = self.opened.state.length;
        let kind = content_type(&self.opened.path);
        set(&mut headers, CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}"));
        let parts = |parts: FileParts| {
            let body = ranges.iter().fold(parts, |parts, range| {
                let (first, last) = (range.start, range.end - 1);
                let head = format!(
                    "--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: bytes {first}-{last}/{length}\r\n\r\n"
                );
                parts.text(head).range(range.clone()).text("\r\n".to_owned())
            });
            body.text(format!("--{boundary}--\r\n"))
        };
        let ask = read_request(request.method().as_str(), true, &header_pairs(request.headers()));
        let meter = self.shared.meter(&ask);
        self.file(request, StatusCode::PARTIAL_CONTENT, headers, parts, meter)
    }

    fn file(
        self,
        request: &Request<Incoming>,
        status: StatusCode,
        mut headers: HeaderMap,
        parts: impl FnOnce(FileParts) -> FileParts,
        meter: Meter,
    ) -> Response<Body> {
        let parts = parts(FileParts::new(Arc::new(self.opened.file)));
        headers.insert(CONTENT_LENGTH, parts.length().into());
        let body = match *request.method() {
            Method::HEAD => Body::bytes("", meter, &self.shared.counters),
            _ => Body::file(parts, meter, &self.shared.counters),
        };
        response(status, headers, body)
    }

    fn empty(&self, status: StatusCode, headers: HeaderMap) -> Response<Body> {
        response(status, headers, Body::bytes("", Meter::Identity, &self.shared.counters))
    }
}

fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// Sets a header to a text of ours, which never has a byte that a header cannot have.
fn set(headers: &mut HeaderMap, name: hyper::header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn content_type(path: &Path) -> &'static str {
    mime_guess::from_path(path).first_raw().unwrap_or("application/octet-stream")
}

/// The key of a file as it is now.
pub(super) fn key_of(opened: &OpenFile) -> ContentKey {
    let FileState { inode, length, modified, changed, .. } = opened.state;
    ContentKey {
        resource: opened.path.as_os_str().as_bytes().into(),
        length,
        stamp: format!("{inode} {modified:?} {changed:?}").into(),
    }
}

/// Hashes a file, provided that it is and stays in the state that `key` names.
pub(super) async fn hash(
    shared: Arc<Shared>,
    folder: Arc<Folder>,
    path: std::path::PathBuf,
    key: ContentKey,
) -> Result<Hashed, HashFailure> {
    let (reopening, again) = (folder.clone(), path.clone());
    let opened = blocking(move || reopening.open_relative(&again)).await?.map_err(not_served)?;
    tokio::time::sleep(until_quiet(opened.state.modified, SystemTime::now())).await;
    blocking(move || {
        let unchanged = |opened: &OpenFile| if key_of(opened) == key { Ok(()) } else { Err(HashFailure::Changed) };
        let opened = folder.open_relative(&path).map_err(not_served)?;
        unchanged(&opened)?;
        let reader = Cancellable { reader: &opened.file, closing: shared.jobs.closing().clone() };
        let hashed = hash_reader(reader, shared.config.versions, &shared.secret, shared.config.hash_threads)?;
        // The file that was read, and the one that has its name now.
        unchanged(&OpenFile { state: FileState::of(&opened.file)?, ..opened })?;
        unchanged(&folder.open_relative(&path).map_err(not_served)?)?;
        Ok(hashed)
    })
    .await?
}

fn not_served(error: NotServed) -> HashFailure {
    match error {
        NotServed::Io(error) => HashFailure::Read(error),
        NotServed::Malformed | NotServed::Hidden | NotServed::Outside | NotServed::NotAFile => HashFailure::Changed,
    }
}

/// How long a file that was modified then has to be left alone, so that a later change shows in its times.
fn until_quiet((seconds, nanoseconds): (i64, i64), now: SystemTime) -> Duration {
    let quiet = if nanoseconds == 0 { QUIET_COARSE } else { QUIET };
    let modified = u64::try_from(seconds)
        .ok()
        .zip(u32::try_from(nanoseconds).ok())
        .and_then(|(seconds, nanoseconds)| SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds)));
    match modified.map(|modified| now.duration_since(modified)) {
        Some(Ok(age)) => quiet.saturating_sub(age),
        // Before 1970, or in the future: a change now would not be dated so.
        None | Some(Err(_)) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_files_wait() {
        let now = SystemTime::UNIX_EPOCH + Duration::new(1000, 500_000_000);
        for (modified, expected) in [
            ((1000, 480_000_000), Duration::from_millis(80)),
            ((1000, 400_000_000), Duration::ZERO),
            ((999, 1), Duration::ZERO),
            ((1000, 0), Duration::from_millis(2500)),
            ((990, 0), Duration::ZERO),
            ((1001, 0), Duration::ZERO),
            ((-5, 0), Duration::ZERO),
        ] {
            assert_eq!(until_quiet(modified, now), expected, "{modified:?}");
        }
    }
}
