//! Long answers, compressed for those who take it (RFC 9110, section 8.4).

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{StreamExt as _, stream};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, VARY};
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, BodyStream, StreamBody};

use super::items::PIECE;
use crate::extend::{Body, BoxError};

/// Shorter answers are quicker sent as they are.
const WORTHWHILE: u64 = 128 * 1024;

/// Whether a client takes gzip.
pub(crate) fn is_accepted(headers: &HeaderMap) -> bool {
    let texts = headers.get_all(ACCEPT_ENCODING).iter();
    let mut codings = texts
        .filter_map(|text| text.to_str().ok())
        .flat_map(|text| text.split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=");
        name.trim() == "gzip" && weight.and_then(|q| q.parse().ok()) != Some(0.0)
    })
}

/// Compresses an answer if it is long. An answer of open length, such as a watch, stays as it is.
pub(crate) fn compressed(mut response: Response<Body>) -> Response<Body> {
    let length = response.body().size_hint().exact();
    let is_long = length.is_some_and(|length| length > WORTHWHILE);
    if !is_long || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    response.map(|body| {
        let compressor = Compressor {
            body: BodyStream::new(body),
            rest: Bytes::new(),
            encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())),
        };
        let frames = stream::unfold(compressor, |mut compressor| async move {
            let piece = compressor.next().await.transpose()?;
            Some((piece.map(Frame::data), compressor))
        });
        StreamBody::new(frames).boxed_unsync()
    })
}

struct Compressor {
    body: BodyStream<Body>,
    /// What came from the body and is not compressed yet.
    rest: Bytes,
    /// None when everything was given out.
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Compressor {
    /// The next compressed bytes. Compresses a piece of bounded size at a time, so that a long
    /// answer does not hold up others.
    async fn next(&mut self) -> Result<Option<Bytes>, BoxError> {
        while let Some(encoder) = &mut self.encoder {
            if self.rest.is_empty() {
                match self.body.next().await.transpose()? {
                    Some(frame) => self.rest = frame.into_data().unwrap_or_default(),
                    None => return Ok(self.finish()?),
                }
            }
            let piece = self.rest.split_to(self.rest.len().min(PIECE));
            encoder.write_all(&piece)?;
            let ready = std::mem::take(encoder.get_mut());
            if !ready.is_empty() {
                return Ok(Some(ready.into()));
            }
        }
        Ok(None)
    }

    fn finish(&mut self) -> std::io::Result<Option<Bytes>> {
        let end = self.encoder.take().map(GzEncoder::finish).transpose()?;
        Ok(end.map(Bytes::from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_is_for_those_who_ask() {
        let accepts = |text: &'static str| {
            let header = (ACCEPT_ENCODING, HeaderValue::from_static(text));
            is_accepted(&HeaderMap::from_iter([header]))
        };
        assert!(accepts("gzip") && accepts("deflate, gzip;q=0.5") && accepts("br,gzip , x"));
        assert!(!accepts("") && !accepts("gzip;q=0") && !accepts("deflate") && !accepts("xgzip"));
        assert!(!is_accepted(&HeaderMap::new()));
    }
}
