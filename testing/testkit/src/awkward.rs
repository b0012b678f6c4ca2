//! A web server that behaves as badly as those of the world do.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    thread,
};

use parking_lot::{Condvar, Mutex};

/// The most that is written at once.
const PIECE: usize = 64 << 10;

/// How to behave. The default serves whole files and parts of them, as it should be.
#[derive(Debug, Clone, Default)]
struct Behaviour {
    status: Option<u16>,
    head_status: Option<u16>,
    unavailable: usize,
    without_ranges: bool,
    without_length: bool,
    cut_after: Option<usize>,
    hold_after: Option<usize>,
    redirect: Option<String>,
}

/// A web server for one sequence of bytes, whatever the path. It is described first, then started.
#[derive(Debug, Default)]
pub struct AwkwardServer {
    behaviour: Behaviour,
    state: Arc<State>,
    address: Option<SocketAddr>,
}

#[derive(Debug, Default)]
struct State {
    counters: Mutex<Counters>,
    changed: Condvar,
    bytes: Mutex<Arc<Vec<u8>>>,
}

#[derive(Debug, Default)]
struct Counters {
    requests: usize,
    sent: usize,
    released: bool,
    closed: bool,
}

impl AwkwardServer {
    /// For these bytes.
    pub fn of(bytes: Vec<u8>) -> Self {
        let server = Self::default();
        *server.state.bytes.lock() = Arc::new(bytes);
        server
    }

    /// Answers everything with this status.
    #[must_use]
    pub fn answering(mut self, status: u16) -> Self {
        self.behaviour.status = Some(status);
        self
    }

    /// Answers HEAD with this status, and serves GET.
    #[must_use]
    pub fn answering_head(mut self, status: u16) -> Self {
        self.behaviour.head_status = Some(status);
        self
    }

    /// Answers the first `count` requests with 503.
    #[must_use]
    pub fn unavailable_at_first(mut self, count: usize) -> Self {
        self.behaviour.unavailable = count;
        self
    }

    /// Knows no ranges: sends the whole file, whatever is asked for.
    #[must_use]
    pub fn without_ranges(mut self) -> Self {
        self.behaviour.without_ranges = true;
        self
    }

    /// Does not say how long the file is; its end is the end of the connection. Knows no ranges.
    #[must_use]
    pub fn without_length(mut self) -> Self {
        self.behaviour.without_length = true;
        self.without_ranges()
    }

    /// Hangs up after this many bytes of each answer.
    #[must_use]
    pub fn cutting_after(mut self, bytes: usize) -> Self {
        self.behaviour.cut_after = Some(bytes);
        self
    }

    /// Sends nothing more after this many bytes in all, until [`release`](Self::release).
    #[must_use]
    pub fn holding_after(mut self, bytes: usize) -> Self {
        self.behaviour.hold_after = Some(bytes);
        self
    }

    /// Sends its clients elsewhere.
    #[must_use]
    pub fn redirecting_to(mut self, url: &str) -> Self {
        self.behaviour.redirect = Some(url.to_owned());
        self
    }

    /// Starts it on a free port of the loopback interface.
    #[must_use]
    pub fn start(mut self) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        self.address = Some(listener.local_addr().unwrap());
        let (state, behaviour) = (self.state.clone(), self.behaviour.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if state.counters.lock().closed {
                    break;
                }
                let (state, behaviour) = (state.clone(), behaviour.clone());
                // A client that hangs up is no concern of a server's.
                thread::spawn(move || answer(&stream, &state, &behaviour).is_ok());
            }
        });
        self
    }

    /// The address of a file; all names lead to the same bytes.
    pub fn url(&self, file: &str) -> String {
        format!(
            "http://{}/{file}",
            self.address.expect("the server has been started")
        )
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.state.counters.lock().requests
    }

    /// How many bytes of bodies have been sent.
    pub fn sent(&self) -> usize {
        self.state.counters.lock().sent
    }

    /// Sends what has been held back.
    pub fn release(&self) {
        self.state.counters.lock().released = true;
        self.state.changed.notify_all();
    }

    /// Serves other bytes from now on.
    pub fn replace(&self, bytes: Vec<u8>) {
        *self.state.bytes.lock() = Arc::new(bytes);
    }
}

impl Drop for AwkwardServer {
    fn drop(&mut self) {
        self.state.counters.lock().closed = true;
        self.state.changed.notify_all();
        if let Some(address) = self.address {
            // Wakes the listening thread, so that it sees that it is not needed any more.
            let _ = TcpStream::connect(address);
        }
    }
}

struct Request {
    method: String,
    range: Option<(usize, Option<usize>)>,
}

fn answer(stream: &TcpStream, state: &State, behaviour: &Behaviour) -> std::io::Result<()> {
    let request = read(stream)?;
    let bytes = state.bytes.lock().clone();
    let count = {
        let mut counters = state.counters.lock();
        counters.requests += 1;
        counters.requests
    };
    let is_head = request.method == "HEAD";
    let status = match behaviour {
        Behaviour {
            status: Some(status),
            ..
        } => Some(*status),
        Behaviour { unavailable, .. } if count <= *unavailable => Some(503),
        Behaviour { head_status, .. } if is_head => *head_status,
        _ => None,
    };
    let mut out = stream;
    if let Some(url) = &behaviour.redirect {
        let head = format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n");
        return write!(out, "{head}Connection: close\r\n\r\n");
    }
    if let Some(status) = status {
        let head =
            format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return out.write_all(head.as_bytes());
    }
    let range = request.range.filter(|_| !behaviour.without_ranges);
    let (head, body) = head_and_body(&bytes, range, behaviour);
    out.write_all(head.as_bytes())?;
    if !is_head {
        send(out, body, state, behaviour)?;
    }
    stream.shutdown(Shutdown::Both)
}

fn read(stream: &TcpStream) -> std::io::Result<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let method = first.split(' ').next().unwrap_or_default().to_owned();
    let mut range = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some((from, to)) = line
            .strip_prefix("range: bytes=")
            .and_then(|range| range.split_once('-'))
        {
            range = from.parse().ok().map(|from| (from, to.parse().ok()));
        }
    }
    Ok(Request { method, range })
}

fn head_and_body<'a>(
    bytes: &'a [u8],
    range: Option<(usize, Option<usize>)>,
    behaviour: &Behaviour,
) -> (String, &'a [u8]) {
    let total = bytes.len();
    let (status, body) = match range {
        None => ("200 OK\r\n".to_owned(), bytes),
        Some((from, _)) if from >= total => {
            let status = "416 Range Not Satisfiable\r\n";
            (
                format!("{status}Content-Range: bytes */{total}\r\n"),
                &bytes[..0],
            )
        }
        Some((from, to)) => {
            let end = to.map_or(total, |to| total.min(to + 1));
            let range = format!("Content-Range: bytes {from}-{}/{total}\r\n", end - 1);
            (format!("206 Partial Content\r\n{range}"), &bytes[from..end])
        }
    };
    let length = if behaviour.without_length {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    let ranges = if behaviour.without_ranges {
        ""
    } else {
        "Accept-Ranges: bytes\r\n"
    };
    let rest = "Content-Type: application/octet-stream\r\nConnection: close\r\n\r\n";
    (format!("HTTP/1.1 {status}{length}{ranges}{rest}"), body)
}

fn send(
    mut out: &TcpStream,
    body: &[u8],
    state: &State,
    behaviour: &Behaviour,
) -> std::io::Result<()> {
    let body = &body[..body.len().min(behaviour.cut_after.unwrap_or(usize::MAX))];
    for piece in body.chunks(PIECE) {
        let mut counters = state.counters.lock();
        let limit = behaviour.hold_after.unwrap_or(usize::MAX);
        while counters.sent >= limit && !counters.released && !counters.closed {
            state.changed.wait(&mut counters);
        }
        counters.sent += piece.len();
        drop(counters);
        out.write_all(piece)?;
    }
    Ok(())
}
