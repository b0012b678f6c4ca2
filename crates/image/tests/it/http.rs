//! Imports from servers, well-behaved and not.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use longshore_image::{
    Error, HttpOptions, Kind, Location, Source,
    pipeline::{Method, Wrapping},
};

use crate::{
    server::{Server, Serving, status},
    support::{Bench, disk, import_to, import_with, options},
};

const MIB: usize = 1 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    // Two members, as `cat a.gz b.gz` makes.
    let halves = bytes.split_at(bytes.len() / 2);
    let member = |half: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(half).unwrap();
        encoder.finish().unwrap()
    };
    [member(halves.0), member(halves.1)].concat()
}

fn qcow2(bench: &Bench, raw: &[u8]) -> Vec<u8> {
    bench.convert(raw, &["-O", "qcow2", "-c"])
}

#[test]
fn every_kind_of_image_from_every_kind_of_server() {
    let raw = disk(1, 5 * MIB);
    let bench = Bench::new();
    let image = qcow2(&bench, &raw);
    let bodies = [
        (
            raw.clone(),
            Wrapping::None,
            [Method::Ranges, Method::Stream],
        ),
        (
            image.clone(),
            Wrapping::None,
            [Method::Ranges, Method::Spool],
        ),
        (gzip(&raw), Wrapping::Gzip, [Method::Stream, Method::Stream]),
        (gzip(&image), Wrapping::Gzip, [Method::Spool, Method::Spool]),
    ];
    for (body, wrapping, [with_ranges, without]) in bodies {
        for (ranges, length) in [(true, true), (false, true), (false, false)] {
            let serving = Serving {
                ranges,
                length,
                ..Serving::new(&body)
            };
            let server = Server::start(move |request, stream| serving.answer(request, stream));
            let (plan, report) = bench.import(&server.url()).unwrap();
            assert!(bench.disk() == raw, "{plan}");
            assert_eq!(plan.wrapping, wrapping);
            assert_eq!(plan.method, if ranges { with_ranges } else { without });
            assert_eq!(report.disk_size, 5 * MIB as u64);
            assert!(
                report.bytes_written < raw.len() as u64,
                "zeros are not written"
            );
        }
    }
}

#[test]
fn a_transfer_resumes_where_it_broke() {
    let raw = disk(2, 3 * MIB);
    let bench = Bench::new();
    for body in [raw.clone(), qcow2(&bench, &raw), gzip(&raw)] {
        let serving = Serving {
            cut: 150_000,
            ..Serving::new(&body)
        };
        let server = Server::start(move |request, stream| serving.answer(request, stream));
        bench.import(&server.url()).unwrap();
        assert!(bench.disk() == raw);
        assert!(server.requests() > 3);
    }
}

#[test]
fn without_ranges_it_starts_again_and_skips() {
    let raw = disk(3, 3 * MIB);
    let bench = Bench::new();
    let serving = Serving {
        ranges: false,
        ..Serving::new(&raw)
    };
    let server = Server::start(move |request, stream| {
        let cut = (request.number + 1) * MIB;
        Serving {
            cut,
            ..serving.clone()
        }
        .answer(request, stream)
    });
    bench.import(&server.url()).unwrap();
    assert!(bench.disk() == raw);
    assert_eq!(server.requests(), 3);
}

#[test]
fn a_truncated_file_is_given_up() {
    let bench = Bench::new();
    for ranges in [true, false] {
        let body = disk(4, 3 * MIB);
        let full = Serving {
            ranges,
            ..Serving::new(&body)
        };
        let server = Server::start(move |request, stream| {
            let start = request
                .range
                .filter(|_| full.ranges)
                .map_or(0, |(start, _)| start);
            let cut = MIB.saturating_sub(start);
            Serving {
                cut,
                ..full.clone()
            }
            .answer(request, stream)
        });
        let error = bench.import(&server.url()).unwrap_err();
        assert!(matches!(error, Error::Interrupted { .. }), "{error}");
        assert_eq!(error.kind(), Kind::Retryable);
        assert!(bench.is_clean());
    }
}

#[test]
fn a_replaced_file_is_noticed() {
    let bench = Bench::new();
    for (ranges, if_range) in [(true, true), (true, false), (false, true)] {
        let raw = disk(5, 3 * MIB);
        let quote = if if_range { "\"" } else { "W/\"" };
        let server = Server::start(move |request, stream| {
            let etag = format!("{quote}{}\"", request.number.min(1));
            let serving = Serving {
                ranges,
                etag,
                cut: MIB,
                ..Serving::new(&raw)
            };
            serving.answer(request, stream)
        });
        let error = bench.import(&server.url()).unwrap_err();
        assert!(matches!(error, Error::Changed { .. }), "{error}");
        assert!(bench.is_clean());
    }
}

#[test]
fn refusals_are_final_and_troubles_are_not() {
    let bench = Bench::new();
    for (line, text) in [
        (
            "404 Not Found",
            "expected status code 200, got 404. Status: 404 Not Found",
        ),
        (
            "403 Forbidden",
            "expected status code 200, got 403. Status: 403 Forbidden",
        ),
        (
            "401 Unauthorized",
            "expected status code 200, got 401. Status: 401 Unauthorized",
        ),
    ] {
        let server = Server::start(move |_, stream| status(stream, line));
        let error = bench.import(&server.url()).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.kind()),
            (text, Kind::Permanent)
        );
        assert_eq!(server.requests(), 1);
    }
    let server = Server::start(|_, stream| status(stream, "500 Internal Server Error"));
    let error = bench.import(&server.url()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "expected status code 200, got 500. Status: 500 Internal Server Error"
    );
    assert_eq!((error.kind(), server.requests()), (Kind::Retryable, 4));

    let raw = disk(6, MIB);
    let serving = Serving::new(&raw);
    let server = Server::start(move |request, stream| match request.number % 2 {
        0 => status(stream, "503 Service Unavailable"),
        _ => serving.answer(request, stream),
    });
    bench.import(&server.url()).unwrap();
    assert!(bench.disk() == raw);
}

#[test]
fn an_unreachable_server_is_named_with_its_cause() {
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = Bench::new()
        .import(&format!("http://user:secret@{address}/x"))
        .unwrap_err();
    assert_eq!(error.to_string(), "the server did not answer (4 attempts)");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "Connection refused (os error 111)");
    assert_eq!(error.kind(), Kind::Retryable);
}

#[test]
fn silence_ends_the_job() {
    let server = Server::start(|_, stream| {
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n")?;
        stream.write_all(&[1; 1000])?;
        // Until the client hangs up.
        stream.read(&mut [0]).map(drop)
    });
    let bench = Bench::new();
    let error = bench.import(&server.url()).unwrap_err();
    assert!(
        matches!(error, Error::Stalled { offset: 1000, .. }),
        "{error}"
    );
    assert!(bench.is_clean());
}

#[test]
fn documents_and_empty_files_are_no_disks() {
    let bench = Bench::new();
    let page = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n";
    for body in [page.to_vec(), gzip(page)] {
        let error = bench.import(&Server::of(&body).url()).unwrap_err();
        assert!(matches!(error, Error::Text { .. }), "{error}");
        assert!(
            error.to_string().contains("<!DOCTYPE html> <html><head>"),
            "{error}"
        );
    }
    for body in [vec![], gzip(b"")] {
        let error = bench.import(&Server::of(&body).url()).unwrap_err();
        assert!(matches!(error, Error::Empty), "{error}");
    }
    assert!(bench.is_clean());
}

#[test]
fn a_tiny_disk_is_padded_to_a_sector() {
    let bench = Bench::new();
    bench
        .import(&Server::of(&[0xEB, 0x63, 0x90]).url())
        .unwrap();
    let mut sector = vec![0; 512];
    sector[..3].copy_from_slice(&[0xEB, 0x63, 0x90]);
    assert_eq!(bench.disk(), sector);
}

#[test]
fn what_does_not_fit_is_refused() {
    let raw = disk(7, 3 * MIB);
    let bench = Bench::new();
    let target = bench.target(2 << 20);
    let known = "virtual image size 3145728 is larger than the reported available storage 2097152. \
                 A larger PVC is required";
    for body in [raw.clone(), qcow2(&bench, &raw), gzip(&qcow2(&bench, &raw))] {
        let error = import_to(&Server::of(&body).url(), &target).unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.kind()),
            (known, Kind::Space)
        );
    }
    let error = import_to(&Server::of(&gzip(&raw)).url(), &target).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Endless {
                available: 2_097_152
            }
        ),
        "{error}"
    );
    assert!(bench.is_clean());
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let raw = disk(8, MIB);
    let serving = Serving::new(&raw);
    let server = Server::start(move |request, stream| {
        let to = match request.path.as_str() {
            "/final" => return serving.answer(request, stream),
            "/loop" => "/loop",
            _ => "/final",
        };
        status(stream, &format!("302 Found\r\nLocation: {to}"))
    });
    let bench = Bench::new();
    bench.import(&server.url()).unwrap();
    assert!(bench.disk() == raw);
    let error = bench
        .import(&server.url().replace("/disk", "/loop"))
        .unwrap_err();
    assert!(
        matches!(error, Error::Connect { attempts: 1, .. }),
        "{error}"
    );
}

/// A redirector at `/disk`, whose mirrors `/0?secret`, `/1?secret`, … each have another ETag unless
/// told otherwise. The first answers `lifetime` requests. Returns how often it was asked, too.
fn redirector(body: &[u8], one_etag: bool, lifetime: usize) -> (Server, Arc<AtomicUsize>) {
    let (asked, counter) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (serving, redirects) = (Serving::new(body), Arc::clone(&asked));
    let server = Server::start(move |request, stream| {
        if request.authorization.as_deref() != Some("Basic dXNlcjpzZWNyZXQ=") {
            return status(stream, "401 Unauthorized");
        }
        if request.path == "/disk" {
            let mirror = redirects.fetch_add(1, Relaxed);
            return status(stream, &format!("302 Found\r\nLocation: /{mirror}?secret"));
        }
        if request.path == "/0?secret" && counter.fetch_add(1, Relaxed) >= lifetime {
            return status(stream, "403 Forbidden");
        }
        let etag = if one_etag { "one" } else { &request.path[..2] };
        Serving {
            etag: format!("\"{etag}\""),
            ..serving.clone()
        }
        .answer(request, stream)
    });
    (server, asked)
}

#[test]
fn a_redirector_is_asked_again_only_when_its_answer_expires() {
    let raw = disk(10, 12 * MIB);
    let bench = Bench::new();
    let url = |server: &Server| server.url().replace("://", "://user:secret@");

    let (server, asked) = redirector(&raw, false, usize::MAX);
    bench.import(&url(&server)).unwrap();
    assert!(bench.disk() == raw);
    assert_eq!(asked.load(Relaxed), 1);

    let (server, asked) = redirector(&raw, true, 2);
    bench.import(&url(&server)).unwrap();
    assert!(bench.disk() == raw);
    assert!(asked.load(Relaxed) > 1);

    let (server, _) = redirector(&raw, false, 1);
    let error = bench.import(&url(&server)).unwrap_err();
    assert!(matches!(error, Error::Changed { .. }), "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

#[test]
fn a_range_must_say_where_it_lies() {
    let raw = disk(11, 3 * MIB);
    let serving = Serving::new(&raw);
    let server = Server::start(move |request, stream| {
        if request.number == 0 {
            return serving.answer(request, stream);
        }
        let head = "HTTP/1.1 206 Partial Content\r\nContent-Length: 9000000\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        stream.write_all(&vec![1; 9_000_000])
    });
    let bench = Bench::new();
    let error = bench.import(&server.url()).unwrap_err();
    assert!(error.to_string().contains("without its place"), "{error}");
    assert!(bench.is_clean());
}

/// The default patience is ten minutes, which no thread may use after another has failed.
#[test]
fn a_failed_job_waits_for_nobody() {
    let bench = Bench::new();
    let raw = disk(12, 12 * MIB);
    let started = Instant::now();
    for headers in [true, false] {
        let serving = Serving::new(&raw);
        let server = Server::start(move |request, stream| match request.number {
            0 => serving.answer(request, stream),
            1 => {
                if headers {
                    let serving = Serving {
                        cut: 1000,
                        ..serving.clone()
                    };
                    serving.answer(request, stream)?;
                }
                // Until the client hangs up.
                stream.read(&mut [0]).map(drop)
            }
            _ => status(stream, "404 Not Found"),
        });
        let target = bench.target(1 << 30);
        let error = import_with(&HttpOptions::default(), &server.url(), &target).unwrap_err();
        assert!(matches!(error, Error::Status { code: 404, .. }), "{error}");
    }

    let server = Server::start(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        stream.write_all(&raw[..3 * MIB])?;
        stream.read(&mut [0]).map(drop)
    });
    let target = bench.target(1 << 20);
    let error = import_with(&HttpOptions::default(), &server.url(), &target).unwrap_err();
    assert!(matches!(error, Error::Endless { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_mins(1));
    assert!(bench.is_clean());
}

#[test]
fn a_certificate_must_be_trusted_unless_told_otherwise() {
    let url = crate::tls::serve(&disk(9, MIB));
    let bench = Bench::new();
    let error = bench.import(&url).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.starts_with("x509: invalid peer certificate"),
        "{cause}"
    );
    assert_eq!(error.kind(), Kind::Permanent);

    let location: Location = url.parse().unwrap();
    let insecure = longshore_image::HttpOptions {
        insecure_tls: true,
        ..options()
    };
    assert_eq!(
        Source::open(&location, &insecure).unwrap().size(),
        Some(MIB as u64)
    );
}
