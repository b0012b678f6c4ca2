//! `/longshore/v1/backup` and `/longshore/v1/restore`: all objects as a file, and back.
//!
//! Neither is part of the Kubernetes API. To those who may use them they are paths of their own: by
//! default only `cluster-admin` may, for a backup holds every Secret.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::{Handler, respond};
use crate::extend::{Body, BoxError};
use crate::status::Status;
use crate::store::Backup;

/// Media type of a backup.
const MEDIA_TYPE: &str = "application/vnd.sqlite3";

/// Bytes of a backup that are sent at a time.
const CHUNK: usize = 64 * 1024;

/// Most bytes of a backup that is restored.
const LIMIT: u64 = 16 * 1024 * 1024 * 1024;

impl Handler {
    /// Sends every object of this moment.
    pub(super) async fn backup(self: Arc<Self>, method: &Method) -> Result<Response<Body>, Status> {
        if method != Method::GET {
            return Err(super::not_allowed());
        }
        let file = blocking(move || self.objects.store.backup()).await?;
        let file = file.map_err(|error| Status::unavailable(format!("cannot write: {error}")))?;
        let chunks = stream::unfold(Some(file), |file| async move {
            let (chunk, file) = next_chunk(file?).await;
            (!matches!(&chunk, Ok(bytes) if bytes.is_empty()))
                .then(|| (chunk.map(Frame::data), file))
        });
        let mut response = Response::new(StreamBody::new(chunks).boxed_unsync());
        let media_type = HeaderValue::from_static(MEDIA_TYPE);
        response.headers_mut().insert(CONTENT_TYPE, media_type);
        Ok(response)
    }

    /// Makes everything as it was in a backup, or nothing at all.
    pub(super) async fn restore(
        self: Arc<Self>,
        method: &Method,
        body: Body,
    ) -> Result<Response<Body>, Status> {
        if method != Method::POST {
            return Err(super::not_allowed());
        }
        let file = Temporary(self.objects.store.temporary());
        receive(body, &file.0).await?;
        let backup = blocking(move || Backup::read(&file.0)).await?;
        let backup = backup.map_err(|error| Status::bad_request(error.to_string()))?;
        // A task of its own: a client that hangs up does not leave half of it behind.
        let restore = tokio::spawn(async move { self.objects.restore(backup).await });
        let restored = restore.await.map_err(Status::internal)??;
        Ok(respond::value(StatusCode::OK, &json!(restored)))
    }
}

/// A file that goes with its value.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It may not have been made.
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(Status::internal)
}

/// The next bytes of a file, and the file if there may be more; none at its end.
async fn next_chunk(mut file: File) -> (Result<Bytes, BoxError>, Option<File>) {
    let read = tokio::task::spawn_blocking(move || {
        let mut chunk = vec![0; CHUNK];
        let length = file.read(&mut chunk)?;
        chunk.truncate(length);
        Ok::<_, std::io::Error>((Bytes::from(chunk), file))
    });
    match read.await {
        Ok(Ok((chunk, file))) => (Ok(chunk), Some(file)),
        Ok(Err(error)) => (Err(error.into()), None),
        Err(panic) => (Err(panic.into()), None),
    }
}

/// Writes a body to a new file.
async fn receive(mut body: Body, path: &Path) -> Result<(), Status> {
    let unwritable =
        |error| Status::unavailable(format!("cannot write {}: {error}", path.display()));
    let mut options = tokio::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut file = options.open(path).await.map_err(unwritable)?;
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("cannot read: {error}")))?;
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        length += bytes.len() as u64;
        if length > LIMIT {
            return Err(Status::too_large(
                usize::try_from(LIMIT).unwrap_or(usize::MAX),
            ));
        }
        file.write_all(&bytes).await.map_err(unwritable)?;
    }
    file.flush().await.map_err(unwritable)
}
