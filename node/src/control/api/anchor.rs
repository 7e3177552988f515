//! The anchor of a session: an answer that stays open, and tells of the status meanwhile.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;

use crate::api::{StatusChanges, StatusInfo};
use crate::control::Context;
use crate::control::server::Caller;
use crate::control::sessions::Anchor;
use crate::control::wire::{EVENTS_TYPE, Event, Refusal};

/// What an open anchor still has to say.
struct Open {
    anchor: Anchor,
    next: Option<Event>,
    status: StatusInfo,
    changes: StatusChanges,
    context: Context,
}

/// Answers with a stream of events that stays open: it is the session.
pub(super) async fn open(State(context): State<Context>, caller: Caller) -> Result<Response, Refusal> {
    let anchor = context.sessions.open(caller.uid)?;
    let changes = context.sessions.api().status_changes();
    let open = Open {
        next: Some(Event::Session { token: anchor.token().clone() }),
        status: anchor.instance().status(),
        changes,
        anchor,
        context,
    };
    let events = stream::unfold(Some(open), |open| async {
        let mut open = open?;
        let event = open.event().await?;
        let rest = (event != Event::Stopping).then_some(open);
        Some((line(&event), rest))
    });
    Ok(([(CONTENT_TYPE, EVENTS_TYPE)], Body::from_stream(events)).into_response())
}

impl Open {
    /// The next event; `None` ends the session.
    async fn event(&mut self) -> Option<Event> {
        match self.next.take() {
            Some(session @ Event::Session { .. }) => {
                self.next = Some(Event::Status(self.status));
                return Some(session);
            }
            Some(event) => return Some(event),
            None => {}
        }
        loop {
            tokio::select! {
                biased;
                () = self.context.stop.cancelled() => return Some(Event::Stopping),
                () = self.anchor.instance().ended() => return None,
                changed = self.changes.changed() => {
                    let info = changed?;
                    // The first change was told at the beginning, unless it happened since.
                    if std::mem::replace(&mut self.status, info) != info {
                        return Some(Event::Status(info));
                    }
                }
            }
        }
    }
}

fn line(event: &Event) -> Result<Bytes, serde_json::Error> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    Ok(line.into())
}
