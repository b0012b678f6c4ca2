//! Watches: a stream of JSON lines, one for each change.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::json;
use tokio::sync::watch as life;
use tokio::time::Instant;

use super::closing::{Closing, closed};
use super::filter::Filter;
use super::items::PIECE;
use super::negotiate::Form;
use super::query::Query;
use super::read;
use super::respond::{self, View};
use crate::convert;
use crate::extend::{Body, BoxError};
use crate::kind::Kind;
use crate::schema::cause;
use crate::status::Status;
use crate::store::{Change, Event, Expired, Object, Store, Watch};
use crate::table::IncludeObject;

/// Bookmarks come at least this often, where they are wanted.
const BOOKMARK_EVERY: Duration = Duration::from_secs(45);

/// Shortest default lifetime of a watch; a random part of the same length is added.
const LIFETIME: Duration = Duration::from_mins(30);

/// Marks the bookmark behind the initial events (Kubernetes API concepts, "Streaming lists").
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Longest lifetime that a client can ask for.
const LIFETIME_MAX: Duration = Duration::from_hours(24);

/// Answers a watch request with its stream.
pub(crate) fn start(
    store: &Store,
    kind: &Arc<Kind>,
    filter: Filter,
    (form, include): (Form, IncludeObject),
    query: &Query,
    closing: Option<Closing>,
) -> Result<Response<Body>, Status> {
    check_options(query)?;
    let lifetime = lifetime(query)?;
    let bookmarks = query.flag("allowWatchBookmarks");
    let asked = read::revision(query)?.filter(|revision| *revision > 0);
    let initial_events = query.get("sendInitialEvents");
    let initial_events = initial_events.map(|_| query.flag("sendInitialEvents"));
    let (present, from) = match (asked, initial_events) {
        (Some(from), None | Some(false)) => (Vec::new(), from),
        (None, Some(false)) => (Vec::new(), store.revision()),
        (least, None | Some(true)) => read::present(store, kind, &filter, least.unwrap_or(0))?,
    };
    let resource = convert::storage_resource(kind);
    let now = Instant::now();
    let mut watcher = Watcher {
        watch: store.watch(&resource, from),
        kind: Arc::clone(kind),
        filter,
        form,
        include,
        bookmarks,
        deadline: now + lifetime,
        next_bookmark: now + BOOKMARK_EVERY,
        life: kind.life.clone(),
        closing,
        pending: present.into_iter().map(Pending::Present).collect(),
        table_started: false,
        ended: false,
    };
    if bookmarks && initial_events == Some(true) {
        watcher
            .pending
            .push_back(Pending::Bookmark { ends_initial: true });
    }
    let chunks = stream::unfold(watcher, |mut watcher| async move {
        let chunk = watcher.next().await?;
        Some((Ok::<_, BoxError>(Frame::data(chunk)), watcher))
    });
    let mut response = respond::json_text(StatusCode::OK, Bytes::new());
    *response.body_mut() = StreamBody::new(chunks).boxed_unsync();
    Ok(response)
}

/// Refuses parameters of a watch that contradict each other.
fn check_options(query: &Query) -> Result<(), Status> {
    const MATCH: &str = "resourceVersionMatch";
    let given = query.get(MATCH);
    let has_initial_events = query.get("sendInitialEvents").is_some();
    let mut causes = Vec::new();
    let mut forbid = |detail: &str| causes.push(cause::forbidden(MATCH, detail));
    if has_initial_events && given != Some("NotOlderThan") {
        forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
    }
    if given.is_some() && !has_initial_events {
        forbid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
    }
    if given.is_some() && query.get("continue").is_some() {
        forbid("resourceVersionMatch is forbidden for continue");
    }
    if let Some(given) = given.filter(|given| *given != "NotOlderThan") {
        causes.push(cause::unsupported(MATCH, &given.into(), ["NotOlderThan"]));
    }
    if causes.is_empty() {
        return Ok(());
    }
    Err(Status::invalid_options("ListOptions", &causes))
}

/// How long a watch is served: what the client asks for, or else a random time, so that the
/// watches of many clients do not all end at once.
fn lifetime(query: &Query) -> Result<Duration, Status> {
    let asked = query.number::<i64>("timeoutSeconds")?;
    let random = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    let own = LIFETIME + LIFETIME * random / 256;
    Ok(match asked.unwrap_or(0) {
        0 => own,
        seconds => Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).min(LIFETIME_MAX),
    })
}

struct Watcher {
    watch: Watch,
    kind: Arc<Kind>,
    filter: Filter,
    form: Form,
    include: IncludeObject,
    bookmarks: bool,
    deadline: Instant,
    next_bookmark: Instant,
    /// Ends when the kind is defined otherwise, or no more.
    life: Option<life::Receiver<()>>,
    closing: Option<Closing>,
    /// What is still to be sent. Its text is made a chunk at a time, as the client takes it.
    pending: VecDeque<Pending>,
    /// Whether the client has the table's columns.
    table_started: bool,
    ended: bool,
}

/// What becomes one line, or none where the watcher does not select it.
enum Pending {
    /// An object that was there at the start.
    Present(Arc<Object>),
    Event(Event),
    Bookmark {
        ends_initial: bool,
    },
}

impl Watcher {
    /// Waits for the next lines; none when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let chunk = self.chunk();
            if !chunk.is_empty() {
                return Some(chunk);
            }
            // A watch that always has something to tell never waits.
            let closing = self.closing.as_ref();
            self.ended |=
                Instant::now() >= self.deadline || closing.is_some_and(|closing| *closing.borrow());
            if self.ended {
                return None;
            }
            if self.bookmarks && Instant::now() >= self.next_bookmark {
                self.pending.push_back(Pending::Bookmark {
                    ends_initial: false,
                });
                continue;
            }
            match self.watch.take() {
                Ok(events) => self.pending.extend(events.into_iter().map(Pending::Event)),
                Err(expired) => return Some(self.expire(expired)),
            }
            if self.pending.is_empty() {
                self.wait().await;
            }
        }
    }

    /// Waits for a change, and for the moments at which a watch speaks or ends by itself.
    async fn wait(&mut self) {
        let closing = async {
            match &mut self.closing {
                Some(closing) => closed(closing).await,
                None => std::future::pending().await,
            }
        };
        let dead = async {
            match &mut self.life {
                Some(life) => while life.changed().await.is_ok() {},
                None => std::future::pending().await,
            }
        };
        let bookmarks = self.bookmarks;
        tokio::select! {
            biased;
            () = self.watch.changed() => return,
            () = tokio::time::sleep_until(self.next_bookmark), if bookmarks => {}
            () = tokio::time::sleep_until(self.deadline) => self.ended = true,
            () = closing => self.ended = true,
            () = dead => {
                self.ended = true;
                return;
            }
        }
        if self.bookmarks {
            self.pending.push_back(Pending::Bookmark {
                ends_initial: false,
            });
        }
    }

    /// The next lines of what is pending; empty when none of it is to be sent.
    fn chunk(&mut self) -> Bytes {
        let mut chunk = Vec::new();
        while chunk.len() < PIECE
            && let Some(pending) = self.pending.pop_front()
        {
            match pending {
                Pending::Present(object) => self.append(&mut chunk, "ADDED", &object),
                Pending::Event(event) => {
                    self.append_event(&mut chunk, &event);
                }
                Pending::Bookmark { ends_initial } => {
                    self.append_bookmark(&mut chunk, ends_initial);
                }
            }
        }
        chunk.into()
    }

    fn append_event(&mut self, chunk: &mut Vec<u8>, event: &Event) {
        match (self.seen_as(event), &event.previous, event.change) {
            (None, ..) => {}
            // What leaves the selection is shown as it was in it.
            (Some("DELETED"), Some(previous), Change::Modified) => {
                let last = previous.at(event.object.revision);
                self.append(chunk, "DELETED", &last);
            }
            (Some(type_), ..) => self.append(chunk, type_, &event.object),
        }
    }

    /// What an event means to this watcher: an object may enter or leave what it selects.
    fn seen_as(&self, event: &Event) -> Option<&'static str> {
        let matches = |object: &Object| self.filter.matches(&self.kind, object);
        let now = event.change != Change::Deleted && matches(&event.object);
        let before = match (&event.previous, event.change) {
            (Some(previous), _) => matches(previous),
            (None, Change::Added) => false,
            // What was before is forgotten; clients bear a change or deletion they did not expect.
            (None, Change::Modified) => true,
            (None, Change::Deleted) => matches(&event.object),
        };
        match (before, now) {
            (false, false) => None,
            (false, true) => Some("ADDED"),
            (true, true) => Some("MODIFIED"),
            (true, false) => Some("DELETED"),
        }
    }

    fn append(&mut self, chunk: &mut Vec<u8>, type_: &str, stored: &Object) {
        let view = View {
            kind: &self.kind,
            form: self.form,
            include: self.include,
        };
        if self.form == Form::Table && std::mem::replace(&mut self.table_started, true) {
            // The client knows the columns; given again they would be printed again.
            let mut table = view.object(stored);
            table["columnDefinitions"] = json!([]);
            append_line(chunk, type_, table.to_string().as_bytes());
        } else {
            append_line(chunk, type_, &view.text(stored));
        }
    }

    fn append_bookmark(&mut self, chunk: &mut Vec<u8>, ends_initial: bool) {
        self.next_bookmark = Instant::now() + BOOKMARK_EVERY;
        let revision = self.watch.position().to_string();
        let mut object = match self.form {
            Form::Table => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": [],
                "rows": [], "metadata": {"resourceVersion": revision},
            }),
            Form::Metadata => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": revision},
            }),
            Form::Object => json!({
                "kind": self.kind.kind, "apiVersion": self.kind.api_version(),
                "metadata": {"resourceVersion": revision},
            }),
        };
        if ends_initial {
            object["metadata"]["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        append_line(chunk, "BOOKMARK", object.to_string().as_bytes());
    }

    fn expire(&mut self, expired: Expired) -> Bytes {
        self.ended = true;
        let mut chunk = Vec::new();
        let status = Status::expired(expired.to_string()).to_value();
        append_line(&mut chunk, "ERROR", status.to_string().as_bytes());
        chunk.into()
    }
}

fn append_line(chunk: &mut Vec<u8>, type_: &str, object: &[u8]) {
    chunk.extend_from_slice(b"{\"type\":\"");
    chunk.extend_from_slice(type_.as_bytes());
    chunk.extend_from_slice(b"\",\"object\":");
    chunk.extend_from_slice(object);
    chunk.extend_from_slice(b"}\n");
}
