//! `/healthz`, `/livez` and `/readyz`: whether the server works, in the words of a kube-apiserver.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::query::Query;
use super::respond;
use crate::extend::Body;
use crate::status::Status;
use crate::store::Store;

/// A check by name.
struct Check {
    name: &'static str,
    passes: fn(&Store) -> bool,
}

/// The checks of every endpoint. The store stands where others have etcd.
const CHECKS: [Check; 3] = [
    Check {
        name: "ping",
        passes: |_| true,
    },
    Check {
        name: "log",
        passes: |_| true,
    },
    Check {
        name: "etcd",
        passes: |store| store.trouble().is_none(),
    },
];

/// Answers for an endpoint such as `readyz`, or for one of its checks.
pub(super) fn answer(
    store: &Store,
    endpoint: &str,
    check: Option<&str>,
    query: &Query,
) -> Result<Response<Body>, Status> {
    if let Some(wanted) = check {
        let check = CHECKS.iter().find(|check| check.name == wanted);
        let check = check.ok_or_else(Status::no_such_path)?;
        return Ok(if (check.passes)(store) {
            text(StatusCode::OK, "ok".into())
        } else {
            let failed = format!("internal server error: {wanted} failed: reason withheld\n");
            text(StatusCode::INTERNAL_SERVER_ERROR, failed)
        });
    }
    let excluded: Vec<_> = query.all("exclude").collect();
    let mut passed = true;
    let checked = CHECKS.iter().map(|Check { name, passes }| {
        if excluded.contains(name) {
            return format!("[+]{name} excluded: ok\n");
        }
        if passes(store) {
            return format!("[+]{name} ok\n");
        }
        passed = false;
        format!("[-]{name} failed: reason withheld\n")
    });
    let mut report: String = checked.collect();
    let known = |name: &&str| CHECKS.iter().any(|check| check.name == *name);
    report.extend(excluded.iter().filter(|name| !known(name)).map(|name| {
        format!("warn: some health checks cannot be excluded: no matches for {name:?}\n")
    }));
    Ok(if !passed {
        let report = format!("{report}{endpoint} check failed\n");
        text(StatusCode::INTERNAL_SERVER_ERROR, report)
    } else if query.flag("verbose") {
        text(StatusCode::OK, format!("{report}{endpoint} check passed\n"))
    } else {
        text(StatusCode::OK, "ok".into())
    })
}

/// Plain text as an answer, for people and for probes.
pub(super) fn text(code: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(respond::full(text));
    *response.status_mut() = code;
    let headers: [(HeaderName, &'static str); 2] = [
        (CONTENT_TYPE, "text/plain; charset=utf-8"),
        (http::header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in headers {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
