//! The body of a list whose items go out as they are stored.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::store::Object;

/// Bytes after which a piece of a long answer is sent although there is more.
pub(crate) const PIECE: usize = 64 * 1024;

/// Head, items and end of a list. It is made a piece at a time, as the client takes it, so that a
/// long list is never in memory a second time.
#[derive(Debug)]
pub(crate) struct Items {
    head: Bytes,
    objects: VecDeque<Arc<Object>>,
    end: &'static str,
    /// Bytes that are still to come.
    left: usize,
}

impl Items {
    /// A list of all of `objects`, as they are stored, in a JSON document that begins with `head`.
    pub(crate) fn new(head: Bytes, objects: Vec<Arc<Object>>) -> Self {
        let end = "]}";
        let texts: usize = objects.iter().map(|object| object.text().len()).sum();
        let commas = objects.len().saturating_sub(1);
        Self {
            left: head.len() + texts + commas + end.len(),
            head,
            objects: objects.into(),
            end,
        }
    }

    fn piece(&mut self) -> Vec<u8> {
        let mut piece = Vec::with_capacity(self.left.min(PIECE));
        piece.extend_from_slice(&std::mem::take(&mut self.head));
        while piece.len() < PIECE
            && let Some(object) = self.objects.pop_front()
        {
            piece.extend_from_slice(object.text());
            if !self.objects.is_empty() {
                piece.push(b',');
            }
        }
        if self.objects.is_empty() {
            piece.extend_from_slice(self.end.as_bytes());
        }
        self.left -= piece.len();
        piece
    }
}

impl Body for Items {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let more = !self.is_end_stream();
        Poll::Ready(more.then(|| Ok(Frame::data(self.piece().into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use serde_json::{Value, json};

    use super::*;

    #[tokio::test]
    async fn a_list_comes_in_pieces_of_the_length_that_was_told() {
        for count in [0, 1, 2, 200] {
            let value = |n| json!({"metadata": {"name": n}, "data": "x".repeat(999)});
            let values: Vec<_> = (0..count).map(value).collect();
            let objects = values.iter().map(|value| Arc::new(Object::new(1, value)));
            let mut body = Items::new("{\"items\":[".into(), objects.collect());
            let told = body.size_hint().exact().unwrap();
            let mut text = Vec::new();
            while let Some(frame) = body.frame().await {
                let piece = frame.unwrap().into_data().unwrap();
                assert!(piece.len() < PIECE + 2000);
                text.extend_from_slice(&piece);
            }
            assert_eq!(text.len() as u64, told);
            let list: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(list["items"], json!(values));
        }
    }
}
