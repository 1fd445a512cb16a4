//! The hub (Hugging Face, or a server with its interface): what a repository holds, and transfers that can be resumed.
//!
//! Interface: <https://huggingface.co/docs/hub/api>. `GET /api/models/{repository}/revision/{revision}` tells the commit,
//! `…/tree/{commit}?recursive=true` its files with size and, for large ones, their SHA-256 (`lfs.oid`), and
//! `GET /{repository}/resolve/{commit}/{path}` is a file, parts of it with `Range`.
//!
//! The crate `hf-hub` (1.0.0) is not used: it neither resumes nor verifies; its listing drops `lfs.oid`, and its metadata
//! request follows the redirect of large files, so that the hash cannot be had from it; and it brings a hundred crates.
//! `ureq` brings five. It blocks, so that each request has a thread of its own, which ends when nobody waits for it any more.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use sha2::Digest as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use ureq::{
    Agent, Proxy,
    config::RedirectAuthHeaders,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    tls::{RootCerts, TlsConfig},
};

use super::{hashes::Hashes, install::written};
use crate::{StudioError, engine::EngineError};

const ENDPOINT: &str = "https://huggingface.co";
/// An answer about a repository is at most this large.
const MAX_ANSWER: usize = 16 << 20;
/// Pages of a file list, 1,000 files each.
const MAX_PAGES: usize = 20;
/// No file is larger, so that sums of sizes stay in range.
const MAX_BYTES: u64 = 1 << 48;
/// How often a transfer that gets nowhere is begun again.
const ATTEMPTS: u32 = 5;
/// Without an answer for so long, there is none.
const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(30);
/// Read at a time.
const CHUNK: usize = 1 << 17;
/// What a segment of a path may have as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A connection to the hub; nothing is sent before something is asked for.
#[derive(Debug, Clone)]
pub struct Hub {
    agent: Agent,
    /// Without a slash at the end.
    endpoint: String,
    /// Of the address.
    host: String,
    token: Option<HeaderValue>,
    offline: bool,
    pause: Duration,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Its place, checked: it stays inside of the folder into which it is put.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// In small hexadecimal letters; small files have none.
    pub(crate) sha256: Option<String>,
}

/// What a repository is at one commit.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    pub(crate) name: String,
    pub(crate) commit: String,
    pub(crate) licence: Option<String>,
    pub(crate) files: Vec<Remote>,
}

impl Hub {
    /// As the environment says: `HF_ENDPOINT` (another server), `HF_TOKEN` or the file of `huggingface-cli login` (for
    /// repositories that ask who you are), `HF_HUB_OFFLINE`, and `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.
    pub fn from_environment() -> Result<Self, StudioError> {
        let said = |name: &str| env::var(name).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let endpoint = said("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        let token =
            if said("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some() { None } else { said("HF_TOKEN").or_else(stored_token) };
        let mut hub = Self::at(&endpoint, token.as_deref())?;
        hub.offline = said("HF_HUB_OFFLINE").is_some_and(|text| text != "0" && !text.eq_ignore_ascii_case("false"));
        Ok(hub)
    }

    /// At this address.
    pub fn at(endpoint: &str, token: Option<&str>) -> Result<Self, StudioError> {
        let uri = endpoint.parse::<Uri>().ok().filter(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.query().is_none() && !endpoint.contains('#')
        });
        let host = uri.and_then(|uri| Some(uri.host()?.to_owned()));
        let host =
            host.ok_or_else(|| StudioError::Hub(format!("“{endpoint}” (HF_ENDPOINT) is no address of a hub.")))?;
        let token = token.map(|token| HeaderValue::try_from(format!("Bearer {token}"))).transpose();
        let mut token = token.map_err(|_| StudioError::Hub("The token has letters that no token has.".into()))?;
        if let Some(token) = &mut token {
            token.set_sensitive(true);
        }
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let local = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
        let agent = Agent::config_builder()
            .user_agent(concat!("outframe/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls)
            .proxy(Proxy::try_from_env().filter(|_| !local))
            .http_status_as_error(false)
            // The token is for the hub alone, not for where it keeps large files.
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .build()
            .new_agent();
        let endpoint = endpoint.trim_end_matches('/').to_owned();
        Ok(Self { agent, endpoint, host, token, offline: false, pause: Duration::from_millis(500) })
    }

    /// Waits this long before a broken transfer goes on, and twice as long each further time.
    #[must_use]
    pub fn pausing(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    fn name(&self) -> &str {
        &self.host
    }

    fn url(&self, path: &str) -> String {
        let segments: Vec<_> = path.split('/').map(|part| utf8_percent_encode(part, SEGMENT).to_string()).collect();
        format!("{}/{}", self.endpoint, segments.join("/"))
    }

    /// Sends, and tells what an answer other than success means.
    async fn send(
        &self,
        url: &str,
        from: u64,
        repository: &str,
        what: &str,
        cancel: &CancellationToken,
    ) -> Result<Answer, Failure> {
        if self.offline {
            let why = "HF_HUB_OFFLINE is set".into();
            return Err(Failure::Lasting(StudioError::Offline { hub: self.name().into(), why }));
        }
        let mut request = self.agent.get(url);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token.clone());
        }
        if from > 0 {
            request = request.header(header::RANGE, format!("bytes={from}-"));
        }
        let (heads, mut head) = mpsc::channel(1);
        let (chunks, body) = mpsc::channel(4);
        let work = move || {
            let answer = match request.call() {
                Ok(answer) => answer,
                Err(error) => return drop(heads.blocking_send(Err(error))),
            };
            let (parts, body) = answer.into_parts();
            if heads.blocking_send(Ok((parts.status, parts.headers))).is_ok() {
                pump(body.into_reader(), &chunks);
            }
        };
        let started = thread::Builder::new().name("hub".into()).spawn(work);
        started.map_err(|error| Failure::Lasting(StudioError::Internal(error.to_string())))?;
        let told = tokio::select! {
            () = cancel.cancelled() => return Err(Failure::Lasting(EngineError::Cancelled.into())),
            told = head.recv() => told,
        };
        let (status, headers) = match told {
            Some(Ok(told)) => told,
            Some(Err(error)) if is_offline(&error) => {
                let (hub, why) = (self.name().into(), in_words(&error));
                return Err(Failure::Lasting(StudioError::Offline { hub, why }));
            }
            Some(Err(error)) => return Err(Failure::Passing(in_words(&error))),
            None => return Err(Failure::Passing("the connection failed".into())),
        };
        let answer = Answer { status, headers, body };
        let hub = self.name();
        let page = format!("{}/{repository}", self.endpoint);
        let told = |text: String| Err(Failure::Lasting(StudioError::Hub(text)));
        match answer.status {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if self.token.is_some() => told(format!(
                "{hub} refuses {repository} to your token. Open {page} in a browser, accept its terms with the account of \
                 the token, and do this again. (It also answers so when the name is wrong.)"
            )),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => told(format!(
                "{hub} gives {repository} only to people it knows, or there is no such repository. Open {page}, accept its \
                 terms, make a token in your account’s settings, and put it into HF_TOKEN."
            )),
            StatusCode::NOT_FOUND => told(format!("{hub} has no {what}. Check the name at {page}.")),
            StatusCode::RANGE_NOT_SATISFIABLE => Err(Failure::Range),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Err(Failure::Passing(format!("it answered {status}")))
            }
            status => told(format!("{hub} answered {status} for {what}. Try again later.")),
        }
    }

    async fn json<T: serde::de::DeserializeOwned>(
        &self,
        url: &str,
        repository: &str,
        what: &str,
        cancel: &CancellationToken,
    ) -> Result<(T, Option<String>), StudioError> {
        let mut attempt = 0;
        loop {
            match self.text(url, repository, what, cancel).await {
                Ok((text, next)) => {
                    let read = serde_json::from_slice(&text).map_err(|error| {
                        StudioError::Hub(format!(
                            "{} answers about {what} what cannot be understood: {error}.",
                            self.name()
                        ))
                    })?;
                    return Ok((read, next));
                }
                Err(Failure::Lasting(error)) => return Err(error),
                Err(failure) => {
                    attempt += 1;
                    self.again(attempt, &failure, what, cancel).await?;
                }
            }
        }
    }

    async fn text(
        &self,
        url: &str,
        repository: &str,
        what: &str,
        cancel: &CancellationToken,
    ) -> Result<(Vec<u8>, Option<String>), Failure> {
        let mut answer = self.send(url, 0, repository, what, cancel).await?;
        let next = answer.headers.get(header::LINK).and_then(|link| next_page(link.to_str().ok()?));
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk(cancel).await? {
            if text.len() + chunk.len() > MAX_ANSWER {
                let told = format!("{} sends more about {what} than can be right.", self.name());
                return Err(Failure::Lasting(StudioError::Hub(told)));
            }
            text.extend_from_slice(&chunk);
        }
        Ok((text, next))
    }

    /// The files of a repository (`owner/name`) at a branch, tag or commit.
    pub(crate) async fn repository(
        &self,
        name: &str,
        revision: Option<&str>,
        cancel: &CancellationToken,
    ) -> Result<Repository, StudioError> {
        if !is_repository(name) {
            return Err(StudioError::Hub(format!("“{name}” is no repository’s name, which is like owner/name.")));
        }
        let what = format!("repository {name}");
        let revision = utf8_percent_encode(revision.unwrap_or("main"), SEGMENT);
        let url = format!("{}/{revision}", self.url(&format!("api/models/{name}/revision")));
        let (about, _): (About, _) = self.json(&url, name, &what, cancel).await?;
        let commit = about.sha.filter(|sha| sha.len() <= 64 && sha.chars().all(|digit| digit.is_ascii_hexdigit()));
        let commit = commit.ok_or_else(|| StudioError::Hub(format!("{} names no commit of {name}.", self.name())))?;

        let mut url = self.url(&format!("api/models/{name}/tree/{commit}")) + "?recursive=true";
        let mut files = Vec::new();
        for _ in 0..MAX_PAGES {
            let (page, next): (Vec<Entry>, _) = self.json(&url, name, &what, cancel).await?;
            let page = page.into_iter().filter(|entry| entry.kind == "file" && is_inside(&entry.path));
            files.extend(page.map(|entry| {
                Remote {
                    bytes: entry.lfs.as_ref().map_or(entry.size, |lfs| lfs.size).min(MAX_BYTES),
                    sha256: entry
                        .lfs
                        .map(|lfs| lfs.oid.trim_start_matches("sha256:").to_lowercase())
                        .filter(|hash| is_hash(hash)),
                    path: entry.path,
                }
            }));
            // The token goes along, so only to the hub itself.
            match next.filter(|next| next.starts_with(&format!("{}/", self.endpoint))) {
                Some(next) => url = next,
                None => break,
            }
        }
        let tag = about.tags.into_iter().find_map(|tag| tag.strip_prefix("license:").map(str::to_owned));
        Ok(Repository { name: name.into(), commit, licence: tag, files })
    }

    /// Brings a file to `part`; what is there already of it is kept, and only the rest transferred. Size and SHA-256 are
    /// verified; what does not fit is thrown away. `progress` is told the bytes that are there.
    pub(crate) async fn fetch(
        &self,
        repository: &Repository,
        remote: &Remote,
        part: &Path,
        cancel: &CancellationToken,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Hashes, StudioError> {
        let what = format!("{} in {}", remote.path, repository.name);
        let url = self.url(&format!("{}/resolve/{}/{}", repository.name, repository.commit, remote.path));
        let mut growing = Growing::open(part, remote, cancel)?;
        let found = growing.bytes;
        let mut attempt = 0;
        // Whether what was there before may be of another version.
        let mut resumed = growing.bytes > 0;
        progress(growing.bytes);
        loop {
            if growing.bytes < remote.bytes {
                let before = growing.bytes;
                if let Err(mut failure) = self.stream(&url, repository, remote, &mut growing, cancel, progress).await {
                    // A network that has just worked may come back.
                    if let Failure::Lasting(StudioError::Offline { why, .. }) = &failure
                        && growing.bytes > found
                    {
                        failure = Failure::Passing(why.clone());
                    }
                    match failure {
                        Failure::Lasting(error) => return Err(error),
                        Failure::Range => growing.begin_anew()?,
                        Failure::Passing(_) => {}
                    }
                    attempt = if growing.bytes > before { 1 } else { attempt + 1 };
                    self.again(attempt, &failure, &what, cancel).await?;
                    continue;
                }
            }
            let hashes = growing.hashes();
            match remote.sha256.as_deref().filter(|expected| *expected != hashes.sha256) {
                None => {
                    growing.file.sync_all().map_err(written(part))?;
                    return Ok(hashes);
                }
                Some(_) if resumed => {
                    resumed = false;
                    growing.begin_anew()?;
                    progress(0);
                }
                Some(expected) => {
                    growing.begin_anew()?;
                    return Err(StudioError::Hub(format!(
                        "{what} arrived damaged: its SHA-256 is {}, expected was {expected}. It was thrown away; do this \
                         again, and if it happens again, the hub or something on the way changes the file.",
                        hashes.sha256
                    )));
                }
            }
        }
    }

    /// One request: writes what comes.
    async fn stream(
        &self,
        url: &str,
        repository: &Repository,
        remote: &Remote,
        growing: &mut Growing,
        cancel: &CancellationToken,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), Failure> {
        let what = format!("{} in {}", remote.path, repository.name);
        let mut answer = self.send(url, growing.bytes, &repository.name, &what, cancel).await?;
        if growing.bytes > 0 && !answer.continues(growing.bytes) {
            // It sends the file from its beginning.
            growing.begin_anew().map_err(Failure::Lasting)?;
        }
        while let Some(chunk) = answer.chunk(cancel).await? {
            if growing.bytes + chunk.len() as u64 > remote.bytes {
                growing.begin_anew().map_err(Failure::Lasting)?;
                return Err(Failure::Lasting(StudioError::Hub(format!(
                    "{} sends more of {what} than the {} bytes that it has. It was thrown away.",
                    self.name(),
                    remote.bytes
                ))));
            }
            growing.write(&chunk).map_err(Failure::Lasting)?;
            progress(growing.bytes);
        }
        if growing.bytes < remote.bytes {
            return Err(Failure::Passing(format!("it ended at {} of {} bytes", growing.bytes, remote.bytes)));
        }
        Ok(())
    }

    /// Waits for another attempt, or says that it is enough.
    async fn again(
        &self,
        attempt: u32,
        failure: &Failure,
        what: &str,
        cancel: &CancellationToken,
    ) -> Result<(), StudioError> {
        if attempt >= ATTEMPTS {
            let why = match failure {
                Failure::Passing(why) => why,
                _ => "it does not give the part that is missing",
            };
            return Err(StudioError::Hub(format!(
                "{what} could not be got from {}: {why}. What has arrived is kept; do this again to go on from there.",
                self.name()
            )));
        }
        tokio::select! {
            () = cancel.cancelled() => Err(EngineError::Cancelled.into()),
            () = tokio::time::sleep(self.pause * 2_u32.pow(attempt)) => Ok(()),
        }
    }
}

/// An answer whose body is still coming.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: mpsc::Receiver<io::Result<Vec<u8>>>,
}

impl Answer {
    async fn chunk(&mut self, cancel: &CancellationToken) -> Result<Option<Vec<u8>>, Failure> {
        tokio::select! {
            () = cancel.cancelled() => Err(Failure::Lasting(EngineError::Cancelled.into())),
            chunk = self.body.recv() => chunk.transpose().map_err(|error| Failure::Passing(error.to_string())),
        }
    }

    /// Whether it begins where was asked.
    fn continues(&self, at: u64) -> bool {
        let range = self.headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
        self.status == StatusCode::PARTIAL_CONTENT
            && range.is_some_and(|range| range.trim_start().starts_with(&format!("bytes {at}-")))
    }
}

/// Hands on what is read, until it ends or nobody wants it any more.
fn pump(mut body: impl io::Read, chunks: &mpsc::Sender<io::Result<Vec<u8>>>) {
    loop {
        let mut chunk = vec![0; CHUNK];
        let read = body.read(&mut chunk).map(|read| {
            chunk.truncate(read);
            chunk
        });
        let ends = !read.as_ref().is_ok_and(|chunk| !chunk.is_empty());
        let at_end = read.as_ref().is_ok_and(Vec::is_empty);
        if at_end || chunks.blocking_send(read).is_err() || ends {
            return;
        }
    }
}

/// Why a request failed.
#[derive(Debug)]
enum Failure {
    /// It can be tried again.
    Passing(String),
    /// What is there is longer than the file.
    Range,
    /// Trying again changes nothing.
    Lasting(StudioError),
}

/// A file that grows, with its hashes so far.
struct Growing {
    path: PathBuf,
    file: File,
    bytes: u64,
    sha256: sha2::Sha256,
    blake3: blake3::Hasher,
}

impl Growing {
    fn open(path: &Path, remote: &Remote, cancel: &CancellationToken) -> Result<Self, StudioError> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.map_err(written(path))?;
        let there = file.metadata().map_err(StudioError::io("open", path))?.len();
        let mut growing =
            Self { path: path.into(), file, bytes: 0, sha256: sha2::Sha256::new(), blake3: blake3::Hasher::new() };
        // A file without a hash cannot be told from another version of it.
        if there > remote.bytes || remote.sha256.is_none() {
            growing.begin_anew()?;
            return Ok(growing);
        }
        let mut chunk = vec![0; 1 << 20];
        loop {
            if cancel.is_cancelled() {
                return Err(EngineError::Cancelled.into());
            }
            let read = growing.file.read(&mut chunk).map_err(StudioError::io("read", path))?;
            let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
            growing.sha256.update(part);
            growing.blake3.update(part);
            growing.bytes += read as u64;
        }
        Ok(growing)
    }

    fn begin_anew(&mut self) -> Result<(), StudioError> {
        self.file.set_len(0).map_err(written(&self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(written(&self.path))?;
        (self.bytes, self.sha256, self.blake3) = (0, sha2::Sha256::new(), blake3::Hasher::new());
        Ok(())
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), StudioError> {
        self.file.write_all(chunk).map_err(written(&self.path))?;
        self.sha256.update(chunk);
        self.blake3.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    fn hashes(&self) -> Hashes {
        let sha256 = format!("{:x}", self.sha256.clone().finalize());
        Hashes { sha256, blake3: self.blake3.finalize().to_hex().to_string() }
    }
}

#[derive(Deserialize)]
struct About {
    sha: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    oid: String,
    size: u64,
}

/// The token that the hub's own tools keep.
fn stored_token() -> Option<String> {
    let home = || {
        let own = env::var_os("HF_HOME").map(PathBuf::from);
        own.or_else(|| Some(directories::BaseDirs::new()?.cache_dir().join("huggingface")))
    };
    let file = env::var_os("HF_TOKEN_PATH").map(PathBuf::from).or_else(|| Some(home()?.join("token")))?;
    let mut text = String::new();
    File::open(file).ok()?.take(1 << 12).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

/// The address in `<…>; rel="next"`.
fn next_page(links: &str) -> Option<String> {
    let next = links.split(',').find(|link| link.contains("rel=\"next\""))?;
    Some(next.split_once('<')?.1.split_once('>')?.0.to_owned())
}

/// Whether a text is `owner/name`.
pub(crate) fn is_repository(text: &str) -> bool {
    let fits = |part: &str| {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        !part.is_empty() && part.len() <= 96 && !part.starts_with('.') && part.chars().all(plain)
    };
    text.split_once('/').is_some_and(|(owner, name)| fits(owner) && fits(name))
}

/// It becomes a file's name.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Whether a path of a repository stays inside of the folder into which it is put, on every system.
fn is_inside(path: &str) -> bool {
    let fits = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', ':', '\0']);
    path.len() <= 1024 && path.split('/').all(fits)
}

/// Whether an error means that no connection came about at all.
fn is_offline(error: &ureq::Error) -> bool {
    use ureq::{Error, Timeout};
    match error {
        Error::HostNotFound
        | Error::ConnectionFailed
        | Error::ConnectProxyFailed(_)
        | Error::InvalidProxyUrl
        | Error::Tls(_)
        | Error::Rustls(_)
        | Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
        // A name that cannot be looked up has no kind of its own; what breaks while there is a connection has.
        Error::Io(error) => !matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof
                | io::ErrorKind::TimedOut
                | io::ErrorKind::WouldBlock
                | io::ErrorKind::Interrupted
        ),
        _ => false,
    }
}

fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "its name is not known; this computer seems to be offline".into(),
        ureq::Error::Timeout(_) => "it does not answer".into(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_of_others_are_checked() {
        for (path, fits) in [
            ("unet/config.json", true),
            ("a b.safetensors", true),
            ("../a", false),
            ("a/../../b", false),
            ("/etc/passwd", false),
            ("a//b", false),
            ("C:\\a", false),
            ("a\\b", false),
            (".", false),
        ] {
            assert_eq!(is_inside(path), fits, "{path}");
        }
        for (name, fits) in
            [("owner/name-1.5", true), ("name", false), ("a/b/c", false), ("../b", false), ("a/b?c", false)]
        {
            assert_eq!(is_repository(name), fits, "{name}");
        }
        assert!(is_hash(&"0a".repeat(32)) && !is_hash("../../a") && !is_hash(&"zz".repeat(32)));
        let links = r#"<https://hub/a?cursor=1>; rel="prev", <https://hub/a?cursor=2>; rel="next""#;
        assert_eq!(next_page(links).as_deref(), Some("https://hub/a?cursor=2"));
        assert_eq!(next_page("nonsense"), None);
        let hub = Hub::at("https://hub.example/mirror/", None).unwrap();
        assert_eq!(
            hub.url("owner/name/resolve/x/a b#c?.safetensors"),
            "https://hub.example/mirror/owner/name/resolve/x/a%20b%23c%3F.safetensors"
        );
        for wrong in ["", "hub", "ftp://hub", "https://hub?x", "file:///etc"] {
            assert!(Hub::at(wrong, None).is_err(), "{wrong}");
        }
        assert!(Hub::at("https://hub", Some("a\nb")).is_err());
    }
}
