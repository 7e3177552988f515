//! One request: from its headers to the body of its answer ([MS-PCCRR] 3.2.5, [MS-PCHC] 3.1.5).

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{ALLOW, CONNECTION, CONTENT_LENGTH, EXPECT, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode};
use peerdist_protocol::hosted_cache::Offer;
use peerdist_protocol::retrieval::{BlockLookup, Decision, Lookup, decide};

use super::connection::Progress;
use super::limits::Slots;
use super::listener::{Resource, Visit};
use super::{BlockSource, Shared};

/// The most pieces that a message may come in: chunks, or what is read from the socket at once.
const MAX_PIECES: usize = 1024;

/// Without an answer the client went away or broke HTTP before its request was whole; there is nobody to answer.
pub(super) async fn answer<S: BlockSource>(
    shared: Arc<Shared<S>>,
    progress: Arc<Progress>,
    visit: Visit,
    request: Request<Incoming>,
) -> hyper::Result<Response<AnswerBody>> {
    progress.headers_read();
    shared.counters.update(|counters| counters.requests += 1);
    let resource = match accept_head(&shared, visit, &request) {
        Ok(resource) => resource,
        Err(status) => return Ok(refuse(&shared, progress, status)),
    };
    progress.line().set_protocol(resource.protocol());
    let Some(message) = read(request.into_body(), resource.max_size()).await? else {
        return Ok(refuse(&shared, progress, StatusCode::PAYLOAD_TOO_LARGE));
    };
    progress.request_read();
    if let Resource::Offers(version, offers) = resource {
        // [MS-PCHC] 3.1.5.1 to 3.1.5.4.
        return Ok(match Offer::parse(version, &message) {
            Ok(offer) => {
                shared.counters.update(|counters| *counters.offers.entry(version).or_default() += 1);
                let response = offers(visit.from, offer);
                progress.line().decided(|| format!("offer taken, answered {response:?}"));
                Response::new(AnswerBody { chunks: [response.emit().into(), Bytes::new()], progress })
            }
            Err(reason) => {
                progress.line().decided(|| format!("discarded: {reason}"));
                shared.counters.offer_discarded(&reason);
                refuse(&shared, progress, StatusCode::BAD_REQUEST)
            }
        });
    }
    let (head, tail) = match decide(&message, shared.limits.versions) {
        Decision::Reply(reply) => {
            progress.line().decided(|| "answered with the versions spoken here".to_owned());
            shared.counters.update(|counters| counters.replies += 1);
            (reply, Bytes::new())
        }
        Decision::Lookup(lookup) => look_up(&shared, &progress, visit.from.ip(), lookup).await,
        Decision::Discard(reason) => {
            progress.line().decided(|| format!("discarded: {reason}"));
            shared.counters.discarded(&reason);
            return Ok(refuse(&shared, progress, StatusCode::BAD_REQUEST));
        }
    };
    Ok(Response::new(AnswerBody { chunks: [head.into(), tail], progress }))
}

/// Reads a message: `None` where it has more bytes, or comes in more pieces, than are taken.
async fn read(mut body: Incoming, max_size: usize) -> hyper::Result<Option<Bytes>> {
    let mut message = BytesMut::new();
    for _ in 0..MAX_PIECES {
        let Some(frame) = body.frame().await.transpose()? else { return Ok(Some(message.freeze())) };
        // What is no data are trailers.
        let data = frame.into_data().unwrap_or_default();
        if message.len() + data.len() > max_size {
            break;
        }
        message.extend_from_slice(&data);
    }
    Ok(None)
}

/// The order of refusals is that of what a client got wrong first: path, method, length, Expect.
fn accept_head<'a, S>(
    shared: &'a Shared<S>,
    visit: Visit,
    request: &Request<Incoming>,
) -> Result<Resource<'a>, StatusCode> {
    let resource = visit.paths.find(request.uri().path(), shared.offers.as_ref()).ok_or(StatusCode::NOT_FOUND)?;
    if request.method() != Method::POST {
        return Err(StatusCode::METHOD_NOT_ALLOWED);
    }
    let headers = request.headers();
    if !headers.contains_key(CONTENT_LENGTH) && !headers.contains_key(TRANSFER_ENCODING) {
        return Err(StatusCode::LENGTH_REQUIRED);
    }
    if request.body().size_hint().lower() > resource.max_size() as u64 {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    // Nothing else can be expected of us; hyper sees to this one.
    if headers.get_all(EXPECT).iter().any(|value| !value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        return Err(StatusCode::EXPECTATION_FAILED);
    }
    Ok(resource)
}

/// Steps 3 and 4 of [MS-PCCRR] 3.2.5.2 to 3.2.5.4: without a slot the answer is empty, and at once.
async fn look_up<S: BlockSource>(
    shared: &Shared<S>,
    progress: &Progress,
    source: IpAddr,
    lookup: Lookup,
) -> (Vec<u8>, Bytes) {
    let Ok(slot) = Slots::take(&shared.uploads, source) else {
        progress.line().decided(|| "busy: as many uploads as may be".to_owned());
        shared.counters.update(|counters| counters.busy += 1);
        return (lookup.empty_answer(), Bytes::new());
    };
    progress.uploads(slot);
    match lookup {
        Lookup::Block(lookup) => look_up_block(shared, progress, lookup).await,
        Lookup::BlockList(lookup) => {
            shared.counters.update(|counters| counters.block_lists += 1);
            let held = shared.source.held(&lookup.segment_id);
            progress.line().decided(|| format!("answered: {} blocks of the segment held", held.len()));
            (lookup.answer(&held), Bytes::new())
        }
        Lookup::SegmentList(lookup) => {
            shared.counters.update(|counters| counters.segment_lists += 1);
            let is_held = |id: &_| !shared.source.held(id).is_empty();
            progress.line().decided(|| "answered with the segments held".to_owned());
            (lookup.answer(is_held, |id| shared.source.age(id)), Bytes::new())
        }
    }
}

async fn look_up_block<S: BlockSource>(
    shared: &Shared<S>,
    progress: &Progress,
    lookup: BlockLookup,
) -> (Vec<u8>, Bytes) {
    let BlockLookup { segment_id, index } = &lookup;
    let tail = shared.source.read(segment_id, *index).await;
    let next = shared.source.next_held(segment_id, *index);
    match tail {
        Some(tail) => {
            progress.line().decided(|| format!("served block {index}"));
            shared.counters.update(|counters| {
                counters.blocks += 1;
                counters.block_bytes += u64::from(tail.size_of_block);
            });
            (lookup.head(next, &tail), tail.bytes)
        }
        None => {
            progress.line().decided(|| format!("block {index} not held"));
            shared.counters.update(|counters| counters.not_held += 1);
            (lookup.empty_answer(next), Bytes::new())
        }
    }
}

/// An answer without a body, after which the connection closes.
fn refuse<S>(shared: &Shared<S>, progress: Arc<Progress>, status: StatusCode) -> Response<AnswerBody> {
    progress.line().decided(|| format!("refused: {status}"));
    shared.counters.refused(status);
    progress.request_read();
    progress.refuses();
    let mut response = Response::new(AnswerBody { chunks: [Bytes::new(), Bytes::new()], progress });
    *response.status_mut() = status;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// The body of an answer: a head made for it and what the store has, neither copied.
pub(super) struct AnswerBody {
    chunks: [Bytes; 2],
    progress: Arc<Progress>,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let next = self.chunks.iter_mut().find(|chunk| !chunk.is_empty()).map(std::mem::take);
        Poll::Ready(next.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.chunks.iter().map(|chunk| chunk.len() as u64).sum())
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.progress.answer_handed_over();
    }
}
