//! Watches: a stream of JSON lines, one for each change.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::closing::{Closing, closed};
use super::filter::Filter;
use super::negotiate::Form;
use super::query::Query;
use super::read::{self, Moment};
use super::respond::{self, View};
use crate::convert;
use crate::extend::{Body, BoxError};
use crate::kind::Kind;
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
    let bookmarks = query.flag("allowWatchBookmarks");
    let streaming_list = query.flag("sendInitialEvents");
    check_options(query, streaming_list)?;
    let lifetime = lifetime(query)?;
    let resource = convert::storage_resource(kind);
    let moment = Moment::parse(query)?;
    let mut initial = None;
    let from = match moment {
        Moment::NotOlderThan(from) if from > 0 && !streaming_list => from,
        _ => {
            let listing = read::list(store, kind, &filter, &initial_query(query))?;
            initial = Some(listing.objects);
            listing.revision
        }
    };
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
        closing,
        pending: VecDeque::new(),
        table_started: false,
        ended: false,
    };
    watcher.begin(initial, streaming_list && bookmarks);
    let chunks = stream::unfold(watcher, |mut watcher| async move {
        let chunk = watcher.next().await?;
        Some((Ok::<_, BoxError>(Frame::data(chunk)), watcher))
    });
    let mut response = respond::json_text(StatusCode::OK, Bytes::new());
    *response.body_mut() = StreamBody::new(chunks).boxed_unsync();
    Ok(response)
}

fn check_options(query: &Query, streaming_list: bool) -> Result<(), Status> {
    if streaming_list && query.get("resourceVersionMatch") != Some("NotOlderThan") {
        return Err(Status::unprocessable(
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting \
             resourceVersionMatch to NotOlderThan",
        ));
    }
    if streaming_list && !query.flag("allowWatchBookmarks") {
        return Err(Status::unprocessable(
            "allowWatchBookmarks: Forbidden: sendInitialEvents requires allowWatchBookmarks",
        ));
    }
    Ok(())
}

/// What of a watch's parameters also applies to the list it starts with.
fn initial_query(query: &Query) -> Query {
    match query.get("resourceVersion") {
        Some(revision) => Query::parse(&format!("resourceVersion={revision}")),
        None => Query::default(),
    }
}

fn lifetime(query: &Query) -> Result<Duration, Status> {
    let asked = query
        .number("timeoutSeconds")?
        .filter(|seconds| *seconds > 0);
    let random = u32::from(uuid::Uuid::new_v4().as_bytes()[0]);
    let own = LIFETIME + LIFETIME * random / 256;
    Ok(asked.map_or(own, Duration::from_secs).min(LIFETIME_MAX))
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

/// Bytes after which a chunk is sent although more is ready.
const CHUNK: usize = 64 * 1024;

impl Watcher {
    /// Queues the objects that are there at the start.
    fn begin(&mut self, initial: Option<Vec<Arc<Object>>>, mark_end: bool) {
        let present = initial.into_iter().flatten().map(Pending::Present);
        self.pending.extend(present);
        if mark_end {
            self.pending
                .push_back(Pending::Bookmark { ends_initial: true });
        }
    }

    /// Waits for the next lines; none when the watch is over.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let chunk = self.chunk();
            if !chunk.is_empty() {
                return Some(chunk);
            }
            if self.ended {
                return None;
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
        let bookmarks = self.bookmarks;
        tokio::select! {
            () = self.watch.changed() => return,
            () = tokio::time::sleep_until(self.next_bookmark), if bookmarks => {}
            () = tokio::time::sleep_until(self.deadline) => self.ended = true,
            () = closing => self.ended = true,
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
        while chunk.len() < CHUNK
            && let Some(pending) = self.pending.pop_front()
        {
            match pending {
                Pending::Present(object) => self.append(&mut chunk, "ADDED", &object),
                Pending::Event(event) => {
                    if let Some(type_) = self.seen_as(&event) {
                        self.append(&mut chunk, type_, &event.object);
                    }
                }
                Pending::Bookmark { ends_initial } => {
                    self.append_bookmark(&mut chunk, ends_initial);
                }
            }
        }
        chunk.into()
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
        let mut object = view.object(stored);
        if self.form == Form::Table && std::mem::replace(&mut self.table_started, true) {
            // The client knows the columns; given again they would be printed again.
            object["columnDefinitions"] = json!([]);
        }
        append_line(chunk, type_, &object);
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
        append_line(chunk, "BOOKMARK", &object);
    }

    fn expire(&mut self, expired: Expired) -> Bytes {
        self.ended = true;
        let mut chunk = Vec::new();
        append_line(
            &mut chunk,
            "ERROR",
            &Status::expired(expired.to_string()).to_value(),
        );
        chunk.into()
    }
}

fn append_line(chunk: &mut Vec<u8>, type_: &str, object: &Value) {
    chunk.extend_from_slice(format!("{{\"type\":\"{type_}\",\"object\":").as_bytes());
    respond::append(chunk, object);
    chunk.extend_from_slice(b"}\n");
}
