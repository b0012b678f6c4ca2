//! The end of streams that would otherwise outlive the server.

use futures::{StreamExt as _, stream};
use http::Response;
use http_body::Body as _;
use http_body_util::{BodyExt as _, BodyStream, StreamBody};

use crate::extend::Body;

/// A signal that the server stops; true from then on.
pub(crate) type Closing = tokio::sync::watch::Receiver<bool>;

/// Waits until the server stops.
pub(crate) async fn closed(closing: &mut Closing) {
    // A sender that is gone has stopped too.
    drop(closing.wait_for(|closing| *closing).await);
}

/// Lets an answer of open length end when the server stops, after what is ready to be sent.
///
/// An answer of known length ends by itself, and is never cut short.
pub(crate) fn ending_with(closing: Closing, response: Response<Body>) -> Response<Body> {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    response.map(|body| {
        let parts = (BodyStream::new(body), closing);
        let frames = stream::unfold(parts, |(mut body, mut closing)| async move {
            let frame = tokio::select! {
                biased;
                frame = body.next() => frame,
                () = closed(&mut closing) => None,
            };
            Some((frame?, (body, closing)))
        });
        StreamBody::new(frames).boxed_unsync()
    })
}
