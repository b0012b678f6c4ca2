//! What tells one state of a file on a server from another.

use reqwest::{
    Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, LAST_MODIFIED},
};

use crate::error::{Error, Result};

/// The properties of the first answer, which every later one must share.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) size: Option<u64>,
    /// Whether the server answered a range with that range.
    pub(super) ranges: bool,
    etag: Option<String>,
    modified: Option<String>,
}

impl Identity {
    pub(super) fn of(response: &Response) -> Self {
        let headers = response.headers();
        let range = ContentRange::of(response);
        let size = match response.status() {
            StatusCode::PARTIAL_CONTENT => range.and_then(|range| range.total),
            _ => text(headers, &CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        };
        Self {
            size,
            ranges: range.is_some_and(|range| range.start == 0 && range.total.is_some()),
            etag: text(headers, &ETAG),
            modified: text(headers, &LAST_MODIFIED),
        }
    }

    /// What may stand in `If-Range`: a strong entity tag (RFC 9110, section 13.1.5). A date is too
    /// coarse to be relied on there, but is compared.
    pub(super) fn validator(&self) -> Option<&str> {
        self.etag.as_deref().filter(|tag| tag.starts_with('"'))
    }

    /// Fails unless `response` shows the same state of the file.
    pub(super) fn check(&self, response: &Response) -> Result<()> {
        let now = Self::of(response);
        let changed = |what: &str, before: &str, after: &str| {
            Err(Error::Changed {
                what: format!("its {what} was {before} and is {after}"),
            })
        };
        if let (Some(before), Some(after)) = (self.size, now.size)
            && before != after
        {
            return changed("length", &before.to_string(), &after.to_string());
        }
        let tags = [
            ("ETag", &self.etag, &now.etag),
            ("date", &self.modified, &now.modified),
        ];
        for (what, before, after) in tags {
            if let (Some(before), Some(after)) = (before, after)
                && before != after
            {
                return changed(what, before, after);
            }
        }
        Ok(())
    }
}

/// The header `Content-Range: bytes START-END/TOTAL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) start: u64,
    total: Option<u64>,
}

impl ContentRange {
    /// That of a partial answer.
    pub(super) fn of(response: &Response) -> Option<Self> {
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return None;
        }
        Self::parse(&text(response.headers(), &CONTENT_RANGE)?)
    }

    fn parse(value: &str) -> Option<Self> {
        let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
        let (start, _end) = range.split_once('-')?;
        Some(Self {
            start: start.trim().parse().ok()?,
            total: total.trim().parse().ok(),
        })
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_range() {
        let parse = ContentRange::parse;
        assert_eq!(
            parse("bytes 5-9/100"),
            Some(ContentRange {
                start: 5,
                total: Some(100)
            })
        );
        assert_eq!(
            parse("bytes 0-9/*"),
            Some(ContentRange {
                start: 0,
                total: None
            })
        );
        for bad in ["bytes */100", "items 0-1/2", "bytes 0-1", ""] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
