//! A small HTTP server that misbehaves as told.

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

/// A server on loopback; its threads end with the process.
pub(crate) struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

/// What a handler gets to see.
pub(crate) struct Request {
    /// 0 for the first one.
    pub(crate) number: usize,
    pub(crate) path: String,
    pub(crate) range: Option<(usize, Option<usize>)>,
    pub(crate) if_range: Option<String>,
    pub(crate) authorization: Option<String>,
}

/// How a file is served.
#[derive(Clone)]
pub(crate) struct Serving {
    pub(crate) body: Arc<Vec<u8>>,
    pub(crate) ranges: bool,
    pub(crate) length: bool,
    pub(crate) etag: String,
    /// The connection is closed after so many bytes of a body.
    pub(crate) cut: usize,
}

impl Server {
    /// Answers each connection's one request by `handler`.
    pub(crate) fn start(
        handler: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let (handler, counter) = (Arc::new(handler), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (handler, counter) = (Arc::clone(&handler), Arc::clone(&counter));
                thread::spawn(move || {
                    let mut stream = stream?;
                    let number = counter.fetch_add(1, Ordering::Relaxed);
                    let request = Request::read(number, &stream)?;
                    handler(&request, &mut stream)
                });
            }
        });
        Self { address, requests }
    }

    /// A well-behaved server of one file.
    pub(crate) fn of(body: &[u8]) -> Self {
        let serving = Serving::new(body);
        Self::start(move |request, stream| serving.answer(request, stream))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/disk", self.address)
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

impl Request {
    fn read(number: usize, stream: &TcpStream) -> io::Result<Self> {
        let mut lines = BufReader::new(stream).lines();
        // A client that has changed its mind hangs up without a request.
        let first = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
        let mut words = first.split(' ');
        assert_eq!(words.next(), Some("GET"), "only GET is ever used");
        let path = words.next().unwrap_or_default().to_owned();
        let mut request = Self {
            number,
            path,
            range: None,
            if_range: None,
            authorization: None,
        };
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "range" => {
                    let (start, end) = value
                        .strip_prefix("bytes=")
                        .unwrap()
                        .split_once('-')
                        .unwrap();
                    request.range = Some((start.parse().unwrap(), end.parse().ok()));
                }
                "authorization" => request.authorization = Some(value.to_owned()),
                "if-range" => request.if_range = Some(value.to_owned()),
                "user-agent" => assert_eq!(value, "longshore-importer"),
                _ => {}
            }
        }
        Ok(request)
    }
}

impl Serving {
    pub(crate) fn new(body: &[u8]) -> Self {
        Self {
            body: Arc::new(body.to_vec()),
            ranges: true,
            length: true,
            etag: "\"one\"".to_owned(),
            cut: usize::MAX,
        }
    }

    /// Answers as RFC 9110 asks, save for what has been switched off.
    pub(crate) fn answer(&self, request: &Request, stream: &mut TcpStream) -> io::Result<()> {
        let total = self.body.len();
        let same = request
            .if_range
            .as_ref()
            .is_none_or(|tag| *tag == self.etag);
        let mut headers = vec![
            format!("ETag: {}", self.etag),
            "Connection: close".to_owned(),
        ];
        let (status, body) = match request.range.filter(|_| self.ranges && same) {
            Some((start, _)) if start >= total => ("416 Range Not Satisfiable", &[][..]),
            Some((start, end)) => {
                let end = end.map_or(total, |last| (last + 1).min(total));
                headers.push(format!("Content-Range: bytes {start}-{}/{total}", end - 1));
                ("206 Partial Content", &self.body[start..end])
            }
            None => ("200 OK", &self.body[..]),
        };
        if self.length {
            headers.push(format!("Content-Length: {}", body.len()));
        }
        write!(
            stream,
            "HTTP/1.1 {status}\r\n{}\r\n\r\n",
            headers.join("\r\n")
        )?;
        stream.write_all(&body[..body.len().min(self.cut)])
    }
}

/// Answers with nothing but a status.
pub(crate) fn status(stream: &mut TcpStream, line: &str) -> io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}
