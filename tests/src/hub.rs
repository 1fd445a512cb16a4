//! A hub of models on this machine, with one file of one repository, that can stop in the middle of it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What is offered, and what was asked.
#[derive(Debug)]
struct Shared {
    repository: String,
    path: String,
    bytes: Vec<u8>,
    sha256: String,
    /// Whether all of the file is sent, or half of it and then nothing.
    flows: AtomicBool,
    asked: Mutex<Vec<String>>,
}

/// The running hub; it ends with the test's process.
#[derive(Debug)]
pub struct Hub {
    address: String,
    shared: Arc<Shared>,
}

impl Hub {
    /// Offers these bytes, with their hash, as a file of a repository (`owner/name`). At first only half of it arrives.
    pub fn start(repository: &str, path: &str, bytes: Vec<u8>, sha256: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("it has an address"));
        let shared = Arc::new(Shared {
            repository: repository.into(),
            path: path.into(),
            bytes,
            sha256: sha256.into(),
            flows: AtomicBool::new(false),
            asked: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&own);
                // Whoever asked may go away in the middle.
                std::thread::spawn(move || shared.answer(stream).ok());
            }
        });
        Self { address, shared }
    }

    /// What `HF_ENDPOINT` is to be.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// From now on all of the file arrives.
    pub fn flow(&self) {
        self.shared.flows.store(true, Ordering::Relaxed);
    }

    /// The addresses asked for so far, with what of them (`0-` for all).
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().expect("no answer panics").clone()
    }
}

impl Shared {
    fn answer(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
        let mut from = 0;
        for line in lines.by_ref() {
            let line = line?.to_lowercase();
            if let Some(range) = line.strip_prefix("range: bytes=") {
                from = range.trim().trim_end_matches('-').parse().unwrap_or(0);
            }
            if line.is_empty() {
                break;
            }
        }
        let path = first.split(' ').nth(1).unwrap_or_default();
        self.asked.lock().expect("no answer panics").push(format!("{path} {from}-"));
        let Self { repository, path: file, bytes, sha256, .. } = self;
        let text = if path == format!("/api/models/{repository}/revision/main") {
            json!({ "sha": COMMIT, "tags": [] }).to_string()
        } else if path == format!("/api/models/{repository}/tree/{COMMIT}?recursive=true") {
            let size = bytes.len();
            let lfs = json!({ "oid": sha256, "size": size, "pointerSize": 134 });
            json!([{ "type": "file", "oid": "git", "size": size, "path": file, "lfs": lfs }]).to_string()
        } else if path == format!("/{repository}/resolve/{COMMIT}/{file}") {
            return self.send(&mut stream, from);
        } else {
            return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
    }

    fn send(&self, stream: &mut TcpStream, from: usize) -> std::io::Result<()> {
        let all = self.bytes.len();
        let head = if from == 0 {
            "200 OK".into()
        } else {
            format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{all}", all - 1)
        };
        write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", all - from)?;
        let half = from.max(all / 2);
        stream.write_all(&self.bytes[from..half])?;
        while !self.flows.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
        stream.write_all(&self.bytes[half..])
    }
}
