//! From the hub into the library: which files a model needs, getting them, and putting them in place when all are there.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{
    INDEX, Models,
    catalog::{CatalogEntry, CatalogFile, catalog},
    hashes::HashCache,
    hub::{Hub, Remote, Repository, is_repository},
    install::{copy, files_under, room, written},
    kind::Kind,
    library::{LibraryItem, SOURCE, read_bounded},
};
use crate::{StudioError, write_whole};

/// Where downloads grow, in the user's own folder; hidden, so that nothing in it is listed.
const STAGING: &str = ".downloads";
/// The parts of a model folder that are used.
const PARTS: [&str; 7] = ["unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"];
/// Configurations and vocabularies are small.
const MAX_TEXT: u64 = 16 << 20;
const MAX_SOURCE: u64 = 64 << 10;

/// What to download: told before anything is transferred.
#[derive(Debug, Clone)]
pub struct Order {
    /// The name that it will have in the library.
    pub name: String,
    /// What it is, where the catalogue or the repository tells; a single file that is not in the catalogue is looked at when
    /// it is there.
    pub kind: Option<Kind>,
    /// Its licence, as the catalogue or the hub tells.
    pub licence: Option<String>,
    /// What the licence asks for, from the catalogue.
    pub obligations: Option<String>,
    /// Bytes in all.
    pub bytes: u64,
    repository: Repository,
    files: Vec<Remote>,
}

impl Order {
    /// Files that will be transferred, by their places in the repository.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }

    /// Where they come from: the repository and its commit.
    pub fn source(&self) -> String {
        format!("{}@{}", self.repository.name, self.repository.commit)
    }
}

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadProgress {
    /// The file that is transferred.
    pub file: String,
    /// Bytes that are there, of all files.
    pub done: u64,
    /// Bytes in all.
    pub all: u64,
}

/// Where a downloaded model came from; kept beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Source {
    repository: String,
    commit: String,
    licence: Option<String>,
    files: Vec<SourceFile>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SourceFile {
    path: String,
    bytes: u64,
    sha256: String,
    /// Whether the hub tells the hash, so that it was compared.
    verified: bool,
}

/// What is known of where a model came from.
pub(super) fn source_of(file: &Path) -> Option<(String, Option<String>)> {
    let source: Source = serde_json::from_slice(&read_bounded(file, MAX_SOURCE)?).ok()?;
    Some((format!("{}@{}", source.repository, source.commit), source.licence))
}

impl Hub {
    /// What is to be downloaded for a name of the catalogue or a repository (`owner/name`). `file` picks one of its files; `full`
    /// takes full precision where half precision is there too.
    pub async fn order(
        &self,
        asked: &str,
        file: Option<&str>,
        full: bool,
        cancel: &CancellationToken,
    ) -> Result<Order, StudioError> {
        let known = catalog()?.into_iter().find(|entry| entry.name == asked);
        if known.is_none() && !is_repository(asked) {
            return Err(StudioError::InvalidRequest(format!(
                "“{asked}” is neither in the catalogue (`outframe models list --catalog`) nor the name of a repository, which \
                 is like owner/name."
            )));
        }
        let repository = known.as_ref().map_or(asked, |entry| &entry.repository);
        let repository = self.repository(repository, None, cancel).await?;
        Order::new(repository, known, file, full)
    }
}

impl Order {
    fn new(
        repository: Repository,
        known: Option<CatalogEntry>,
        file: Option<&str>,
        full: bool,
    ) -> Result<Self, StudioError> {
        let short = repository.name.rsplit('/').next().unwrap_or_default().to_owned();
        let known = known.filter(|_| file.is_none());
        let has_index = repository.files.iter().any(|file| file.path == INDEX);
        let (kind, files) = match (&known, file) {
            (Some(entry), _) if entry.kind != Kind::Folder => (Some(entry.kind), picked(&repository, &entry.files)?),
            (None, Some(file)) => {
                let file = CatalogFile { path: file.into(), bytes: None, sha256: None };
                (None, picked(&repository, &[file])?)
            }
            _ if has_index => (Some(Kind::Folder), folder(&repository, full)?),
            _ => (None, vec![only(&repository)?]),
        };
        // A file says more than its repository where it has a name of its own.
        let name = match (&known, kind, files.first()) {
            (Some(entry), ..) => entry.name.clone(),
            (None, Some(Kind::Folder), _) => short,
            (None, _, file) => {
                let path = Path::new(file.map_or("", |file| &file.path));
                let generic = super::library::is_generic(path);
                path.file_stem().filter(|_| !generic).map_or(short, |stem| stem.to_string_lossy().into_owned())
            }
        };
        Ok(Self {
            name,
            kind,
            licence: known.as_ref().map(|entry| entry.licence.clone()).or_else(|| repository.licence.clone()),
            obligations: known.map(|entry| entry.obligations),
            bytes: files.iter().map(|file| file.bytes).sum(),
            repository,
            files,
        })
    }
}

/// By content, so that a new version of the repository uses what has not changed, and by place: two files may be alike.
fn part_name(file: &Remote) -> String {
    let place = blake3::hash(file.path.as_bytes()).to_hex();
    format!("{}-{}.part", file.sha256.as_deref().unwrap_or("text"), place.get(..16).unwrap_or_default())
}

/// Files by their names. What the catalogue knows for sure must be what the hub has.
fn picked(repository: &Repository, files: &[CatalogFile]) -> Result<Vec<Remote>, StudioError> {
    let find = |wanted: &CatalogFile| {
        let found = repository.files.iter().find(|file| file.path == wanted.path);
        let found = found.ok_or_else(|| {
            StudioError::Hub(format!(
                "The repository {} has no file {}. It has: {}.",
                repository.name,
                wanted.path,
                weights(repository).map(|file| file.path.as_str()).collect::<Vec<_>>().join(", ")
            ))
        })?;
        refuse_pickle(&found.path)?;
        let same = wanted.bytes.is_none_or(|bytes| bytes == found.bytes)
            && wanted.sha256.as_ref().is_none_or(|hash| found.sha256.as_ref() == Some(hash));
        if !same {
            return Err(StudioError::Hub(format!(
                "{} in {} is not the file that the catalogue knows: it was replaced. Look at the repository, and if you trust \
                 it, give its name ({}) with --file {}.",
                found.path, repository.name, repository.name, found.path
            )));
        }
        Ok(found.clone())
    };
    files.iter().map(find).collect()
}

fn refuse_pickle(path: &str) -> Result<(), StudioError> {
    if path.to_lowercase().ends_with(".safetensors") {
        return Ok(());
    }
    Err(StudioError::InvalidRequest(format!(
        "{path} is no .safetensors file. Pickles (.ckpt, .bin, .pt) can run any program when they are opened; Outframe does not \
         open them."
    )))
}

fn weights(repository: &Repository) -> impl Iterator<Item = &Remote> {
    repository.files.iter().filter(|file| file.path.ends_with(".safetensors"))
}

/// The one file of weights of a repository.
fn only(repository: &Repository) -> Result<Remote, StudioError> {
    let all: Vec<_> = weights(repository).collect();
    match all.as_slice() {
        [file] => Ok((*file).clone()),
        [] => Err(StudioError::Hub(format!(
            "{} has no .safetensors file and no {INDEX}: there is nothing in it that Outframe can use.",
            repository.name
        ))),
        several => Err(StudioError::Hub(format!(
            "{} has several models. Say which with --file: {}.",
            repository.name,
            several.iter().take(40).map(|file| file.path.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// The files of a model in diffusers layout that are needed: of each part one set of weights, and what is written beside it.
fn folder(repository: &Repository, full: bool) -> Result<Vec<Remote>, StudioError> {
    let has = |path: &str| repository.files.iter().any(|file| file.path == path);
    let in_part = |part: &str, file: &Remote| file.path.strip_prefix(part).is_some_and(|rest| rest.starts_with('/'));
    let mut files: Vec<Remote> = Vec::new();
    for file in &repository.files {
        let licence = file.path.to_uppercase().starts_with("LICENSE");
        if file.bytes <= MAX_TEXT && (file.path == INDEX || (licence && !file.path.contains('/'))) {
            files.push(file.clone());
        }
    }
    for part in PARTS {
        let inside: Vec<_> = repository.files.iter().filter(|file| in_part(part, file)).collect();
        let text = |file: &&&Remote| {
            let ending = Path::new(&file.path).extension().and_then(|ending| ending.to_str());
            matches!(ending, Some("json" | "txt")) && !file.path.contains(".index.") && file.bytes <= MAX_TEXT
        };
        files.extend(inside.iter().filter(text).map(|file| (**file).clone()));
        let stem = match part {
            "unet" | "vae" => "diffusion_pytorch_model",
            "text_encoder" | "text_encoder_2" => "model",
            _ => continue,
        };
        if inside.is_empty() {
            if matches!(part, "unet" | "vae") {
                return Err(StudioError::Hub(format!("{} has no {part}: it is no complete model.", repository.name)));
            }
            continue;
        }
        let (half, whole) = (format!("{part}/{stem}.fp16.safetensors"), format!("{part}/{stem}.safetensors"));
        let first = if full { [whole, half] } else { [half, whole] };
        let sharded = format!("{part}/{stem}.safetensors.index.json");
        if let Some(single) = first.iter().find(|path| has(path)) {
            files.extend(inside.iter().filter(|file| file.path == *single).map(|file| (**file).clone()));
        } else if has(&sharded) {
            let shard = |file: &&&Remote| {
                let name = file.path.strip_prefix(&format!("{part}/{stem}-")).unwrap_or_default();
                file.path == sharded || (name.ends_with(".safetensors") && !name.contains(".fp16"))
            };
            files.extend(inside.iter().filter(shard).map(|file| (**file).clone()));
        } else {
            return Err(StudioError::Hub(format!(
                "{} has the weights of its {part} only as pickles, which can run any program when they are opened. Look for the \
                 model as .safetensors.",
                repository.name
            )));
        }
    }
    Ok(files)
}

impl Models {
    /// Downloads what was ordered into the user's own folder, under the order's name or `name`. What was transferred
    /// before is used; when it is cancelled or fails, what has arrived is kept for the next time, and the library is as it was.
    pub async fn download(
        &self,
        hub: &Hub,
        order: &Order,
        name: Option<&str>,
        cache: &mut HashCache,
        cancel: &CancellationToken,
        progress: &mut (dyn FnMut(DownloadProgress) + Send),
    ) -> Result<LibraryItem, StudioError> {
        let name = name.unwrap_or(&order.name);
        self.place_for(order.kind.unwrap_or(Kind::Unknown), name)?;
        let staging = self.own()?.join(STAGING).join(format!("{}@{name}", order.repository.name.replace('/', "--")));
        fs::create_dir_all(&staging).map_err(written(&staging))?;
        let lock = File::create(staging.join("lock")).map_err(written(&staging))?;
        lock.try_lock().map_err(|_| {
            StudioError::InvalidRequest(format!("“{name}” is being downloaded already, in another window or terminal."))
        })?;

        let part = |file: &Remote| staging.join(part_name(file));
        let there = |file: &Remote| part(file).metadata().map_or(0, |about| about.len().min(file.bytes));
        let missing = order.files.iter().map(|file| file.bytes - there(file)).sum();
        room(&staging, missing, fs4::available_space(&staging).ok())?;
        let (mut before, mut sources, mut hashes) = (0, Vec::new(), Vec::new());
        for file in &order.files {
            let mut tell =
                |done| progress(DownloadProgress { file: file.path.clone(), done: before + done, all: order.bytes });
            let found = hub.fetch(&order.repository, file, &part(file), cancel, &mut tell).await?;
            before += file.bytes;
            sources.push(SourceFile {
                path: file.path.clone(),
                bytes: file.bytes,
                sha256: found.sha256.clone(),
                verified: file.sha256.is_some(),
            });
            hashes.push(found);
        }

        let source = Source {
            repository: order.repository.name.clone(),
            commit: order.repository.commit.clone(),
            licence: order.licence.clone(),
            files: sources,
        };
        let source = serde_json::to_vec_pretty(&source).map_err(|error| StudioError::Internal(error.to_string()))?;
        let whole = staging.join("whole");
        if whole.exists() {
            fs::remove_dir_all(&whole).map_err(written(&whole))?;
        }
        let as_folder = order.kind == Some(Kind::Folder);
        let mut placed = Vec::new();
        for file in &order.files {
            let inner =
                if as_folder { PathBuf::from(&file.path) } else { PathBuf::from(format!("{name}.safetensors")) };
            let to = whole.join(&inner);
            fs::create_dir_all(to.parent().unwrap_or(&whole)).map_err(written(&to))?;
            fs::rename(part(file), &to).map_err(written(&to))?;
            placed.push((inner, part(file)));
        }
        let target = self.put(&whole, name, as_folder, &source, cancel).inspect_err(|_| {
            // What is no model of the kind that was expected can be named or placed otherwise without another transfer.
            for (inner, part) in &placed {
                let _ = fs::rename(whole.join(inner), part);
            }
        })?;
        for ((inner, _), hashes) in placed.iter().zip(hashes) {
            let file = if as_folder { target.join(inner) } else { target.clone() };
            cache.accept(&file, hashes)?;
        }
        drop(lock);
        let _ = fs::remove_dir_all(&staging);
        if as_folder { Ok(LibraryItem::of_folder(&target)) } else { LibraryItem::at(&target) }
    }

    /// Looks at what has arrived and moves it to its place.
    fn put(
        &self,
        whole: &Path,
        name: &str,
        as_folder: bool,
        source: &[u8],
        cancel: &CancellationToken,
    ) -> Result<PathBuf, StudioError> {
        let arrived = if as_folder { whole.to_path_buf() } else { whole.join(format!("{name}.safetensors")) };
        let item = Self::examine(&arrived)?;
        let folder = self.place_for(item.kind, name)?;
        fs::create_dir_all(&folder).map_err(written(&folder))?;
        let target = if as_folder { folder.join(name) } else { folder.join(format!("{name}.safetensors")) };
        if as_folder {
            write_whole(&arrived.join(SOURCE), source)?;
        } else {
            write_whole(&target.with_extension(SOURCE), source)?;
        }
        match fs::rename(&arrived, &target) {
            // The folder of a kind may be a link to another disk.
            Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
                let files = if as_folder { files_under(&arrived)? } else { vec![arrived.clone()] };
                copy(&arrived, &files, &target, cancel, &mut |_| ())?;
            }
            moved => moved.map_err(written(&target))?,
        }
        Ok(target)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        io::{BufRead as _, BufReader, Write as _},
        net::{TcpListener, TcpStream},
        sync::{Arc, Mutex},
        time::{Duration, Instant},
    };

    use sha2::Digest as _;

    use super::{super::header::tests::file, *};

    /// How the server misbehaves.
    #[derive(Debug, Clone, Default)]
    struct Mood {
        /// Ends each transfer of weights after so many bytes.
        breaks_after: Option<usize>,
        /// Sends whole files whatever is asked for.
        no_ranges: bool,
        /// Changes a byte of the weights.
        damages: bool,
        /// Answers with this status.
        refuses: Option<u16>,
        /// Wants this token.
        token: Option<&'static str>,
        /// Sends slowly.
        slow: bool,
    }

    /// A request: its path and range.
    type Asked = (String, Option<String>);

    /// A small server with the hub's interface.
    struct Server {
        endpoint: String,
        mood: Arc<Mutex<Mood>>,
        /// Requests so far.
        asked: Arc<Mutex<Vec<Asked>>>,
    }

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    impl Server {
        fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let endpoint = format!("http://{}", listener.local_addr().unwrap());
            let mood = Arc::new(Mutex::new(Mood::default()));
            let asked = Arc::new(Mutex::new(Vec::new()));
            let (for_thread, log, files) = (mood.clone(), asked.clone(), Arc::new(files));
            let own = endpoint.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let (mood, log, files, own) = (for_thread.clone(), log.clone(), files.clone(), own.clone());
                    std::thread::spawn(move || {
                        let _ = answer(stream, &files, &mood, &log, &own);
                    });
                }
            });
            Self { endpoint, mood, asked }
        }

        fn hub(&self) -> Hub {
            Hub::at(&self.endpoint, None).unwrap().pausing(Duration::from_millis(1))
        }

        fn set(&self, mood: Mood) {
            *self.mood.lock().unwrap() = mood;
        }

        /// The ranges of requests for files so far.
        fn ranges(&self) -> Vec<Option<String>> {
            let asked = self.asked.lock().unwrap();
            asked.iter().filter(|(path, _)| path.starts_with("/cdn/")).map(|(_, range)| range.clone()).collect()
        }
    }

    fn answer(
        stream: TcpStream,
        files: &BTreeMap<String, Vec<u8>>,
        mood: &Mutex<Mood>,
        log: &Mutex<Vec<Asked>>,
        own: &str,
    ) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        let (mut first, mut range, mut token) = (String::new(), None, None);
        reader.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            let lower = line.to_lowercase();
            if let Some(value) = lower.strip_prefix("range: bytes=") {
                range = Some(value.trim().to_owned());
            }
            if let Some(value) = line.split_once(':').filter(|_| lower.starts_with("authorization:")) {
                token = Some(value.1.trim().to_owned());
            }
        }
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        log.lock().unwrap().push((path.clone(), range.clone()));
        let mood = mood.lock().unwrap().clone();
        let mut status = |status: &str, more: &str, body: &[u8]| -> std::io::Result<()> {
            let length = body.len();
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{more}\r\n")?;
            stream.write_all(body)
        };
        if let Some(code) = mood.refuses {
            return status(&format!("{code} No"), "", b"");
        }
        if mood.token.is_some_and(|wanted| token.as_deref() != Some(&format!("Bearer {wanted}"))) {
            return status("401 Unauthorized", "", b"");
        }
        if path == "/api/models/maker/model/revision/main" {
            let body = format!(r#"{{"sha":"{COMMIT}","tags":["diffusers","license:openrail++"]}}"#);
            return status("200 OK", "", body.as_bytes());
        }
        let tree = format!("/api/models/maker/model/tree/{COMMIT}?recursive=true");
        if path.starts_with(&tree) {
            // Two pages.
            let second = path.ends_with("&cursor=2");
            let entries: Vec<_> = files
                .iter()
                .enumerate()
                .filter(|(i, _)| (i % 2 == 1) == second)
                .map(|(_, (path, bytes))| {
                    let hash = format!("{:x}", sha2::Sha256::digest(bytes));
                    let lfs = path
                        .ends_with(".safetensors")
                        .then(|| serde_json::json!({"oid": hash, "size": bytes.len(), "pointerSize": 134}));
                    serde_json::json!({"type": "file", "oid": "git", "size": bytes.len(), "path": path, "lfs": lfs})
                })
                .collect();
            let link = format!("Link: <{own}{tree}&cursor=2>; rel=\"next\"\r\n");
            return status("200 OK", if second { "" } else { &link }, &serde_json::to_vec(&entries).unwrap());
        }
        if let Some(file) = path.strip_prefix(&format!("/maker/model/resolve/{COMMIT}/")) {
            // Large files lie elsewhere.
            return status("302 Found", &format!("Location: {own}/cdn/{file}\r\n"), b"");
        }
        let Some(bytes) = path.strip_prefix("/cdn/").and_then(|file| files.get(&file.replace("%20", " "))) else {
            return status("404 Not Found", "", b"");
        };
        let mut bytes = bytes.clone();
        if mood.damages {
            *bytes.last_mut().unwrap() ^= 1;
        }
        let at: usize =
            range.filter(|_| !mood.no_ranges).map_or(0, |range| range.trim_end_matches('-').parse().unwrap());
        let (all, body) = (bytes.len(), &bytes[at..]);
        let head = if at > 0 {
            format!("206 Partial Content\r\nContent-Range: bytes {at}-{}/{all}", all - 1)
        } else {
            "200 OK".into()
        };
        write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
        let sent = mood.breaks_after.map_or(body.len(), |most| most.min(body.len()));
        if mood.slow {
            for piece in body[..sent].chunks(1000) {
                stream.write_all(piece)?;
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(());
        }
        stream.write_all(&body[..sent])
    }

    struct Place {
        folder: tempfile::TempDir,
        models: Models,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let own = folder.path().join("own");
            Self { models: Models::at(vec![own.clone()]).owning(own), folder }
        }

        fn own(&self, name: &str) -> PathBuf {
            self.folder.path().join("own").join(name)
        }

        fn cache(&self) -> HashCache {
            HashCache::at(self.folder.path().join("hashes.json"))
        }

        async fn get(&self, hub: &Hub, file: Option<&str>) -> Result<LibraryItem, StudioError> {
            let cancel = CancellationToken::new();
            let order = hub.order("maker/model", file, false, &cancel).await?;
            self.models.download(hub, &order, None, &mut self.cache(), &cancel, &mut |_| ()).await
        }

        /// Whether nothing is in the library.
        fn is_empty(&self) -> bool {
            self.models.library().is_empty()
        }
    }

    fn one() -> (Server, Vec<u8>) {
        let bytes = file(
            &[
                ("model.diffusion_model.input_blocks.0.0.weight", &[1, 9, 3, 3]),
                ("model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight", &[100, 768]),
                ("first_stage_model.decoder.conv_in.weight", &[1, 4, 3, 3]),
                ("cond_stage_model.transformer.text_model.final_layer_norm.weight", &[1]),
            ],
            &[],
        );
        let files = [
            ("meadow v1.safetensors", bytes.clone()),
            ("README.md", b"about".to_vec()),
            ("old.ckpt", b"pickle".to_vec()),
        ];
        (Server::new(files.into_iter().map(|(path, bytes)| (path.to_owned(), bytes)).collect()), bytes)
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
    }

    #[test]
    fn a_checkpoint_is_downloaded_verified_and_remembered() {
        runtime().block_on(async {
            let ((server, bytes), place) = (one(), Place::new());
            let item = place.get(&server.hub(), None).await.unwrap();
            assert_eq!((item.name.as_str(), item.description().as_str()), ("meadow v1", "SD 1.x, inpainting, f16"));
            assert_eq!(fs::read(&item.path).unwrap(), bytes);
            assert_eq!(item.licence.as_deref(), Some("openrail++"));
            assert_eq!(item.source, Some(format!("maker/model@{COMMIT}")));
            let recorded = place.cache().recorded(&item.path).unwrap();
            assert_eq!(recorded.sha256, format!("{:x}", sha2::Sha256::digest(&bytes)));
            assert!(!place.own(STAGING).join("maker--model@meadow v1").exists());
            let error = place.get(&server.hub(), None).await.unwrap_err().to_string();
            assert!(error.contains("already"), "{error}");
        });
    }

    #[test]
    fn broken_transfers_go_on_where_they_stopped() {
        runtime().block_on(async {
            let ((server, bytes), place) = (one(), Place::new());
            server.set(Mood { breaks_after: Some(60_000), ..Mood::default() });
            let item = place.get(&server.hub(), None).await.unwrap();
            assert_eq!(fs::read(&item.path).unwrap(), bytes);
            let ranges = server.ranges();
            assert!(ranges.len() >= 3 && ranges[0].is_none() && ranges[1..].iter().all(Option::is_some), "{ranges:?}");

            // A server that gives nothing at all is given up, and the next time goes on from what there is.
            let place = Place::new();
            let order = server.hub().order("maker/model", None, false, &CancellationToken::new()).await.unwrap();
            let staging = place.own(STAGING).join("maker--model@meadow v1");
            fs::create_dir_all(&staging).unwrap();
            let part = staging.join(part_name(&order.files[0]));
            fs::write(&part, &bytes[..100_000]).unwrap();
            server.set(Mood { breaks_after: Some(0), ..Mood::default() });
            let error = place.get(&server.hub(), None).await.unwrap_err().to_string();
            assert!(error.contains("go on from there"), "{error}");
            assert!(place.is_empty() && part.metadata().unwrap().len() == 100_000);
            server.set(Mood::default());
            let item = place.get(&server.hub(), None).await.unwrap();
            assert_eq!(fs::read(&item.path).unwrap(), bytes);
            assert_eq!(server.ranges().last().unwrap().as_deref(), Some("100000-"));
        });
    }

    #[test]
    fn a_server_without_ranges_and_a_wrong_beginning_are_recovered_from() {
        runtime().block_on(async {
            let (server, bytes) = one();
            for no_ranges in [true, false] {
                let place = Place::new();
                let order = server.hub().order("maker/model", None, false, &CancellationToken::new()).await.unwrap();
                let staging = place.own(STAGING).join("maker--model@meadow v1");
                fs::create_dir_all(&staging).unwrap();
                let part = staging.join(part_name(&order.files[0]));
                fs::write(&part, vec![1; 50_000]).unwrap();
                server.set(Mood { no_ranges, ..Mood::default() });
                let item = place.get(&server.hub(), None).await.unwrap();
                assert_eq!(fs::read(&item.path).unwrap(), bytes, "{no_ranges}");
            }
        });
    }

    #[test]
    fn a_wrong_hash_is_refused_and_thrown_away() {
        runtime().block_on(async {
            let ((server, _), place) = (one(), Place::new());
            server.set(Mood { damages: true, ..Mood::default() });
            let error = place.get(&server.hub(), None).await.unwrap_err().to_string();
            assert!(error.contains("damaged") && error.contains("SHA-256"), "{error}");
            assert!(place.is_empty());
            server.set(Mood::default());
            place.get(&server.hub(), None).await.unwrap();
            assert!(server.ranges().last().unwrap().is_none(), "nothing of the damaged one is used");
        });
    }

    #[test]
    fn refusals_are_said_in_words() {
        runtime().block_on(async {
            let ((server, _), place) = (one(), Place::new());
            server.set(Mood { token: Some("hf_secret"), ..Mood::default() });
            let error = place.get(&server.hub(), None).await.unwrap_err().to_string();
            assert!(error.contains("HF_TOKEN") && error.contains("maker/model"), "{error}");
            let with = |token| Hub::at(&server.endpoint, Some(token)).unwrap();
            let error = place.get(&with("hf_other"), None).await.unwrap_err().to_string();
            assert!(error.contains("terms") && !error.contains("hf_other"), "{error}");
            place.get(&with("hf_secret"), None).await.unwrap();
            assert!(!format!("{:?}", with("hf_secret")).contains("hf_secret"), "a token is not logged");

            let (server, _) = one();
            let place = Place::new();
            for (status, word) in [(404, "has no repository"), (418, "418"), (503, "503")] {
                server.set(Mood { refuses: Some(status), ..Mood::default() });
                let error = place.get(&server.hub(), None).await.unwrap_err().to_string();
                assert!(error.contains(word), "{status}: {error}");
            }
            server.set(Mood::default());
            let error = place.get(&server.hub(), Some("old.ckpt")).await.unwrap_err().to_string();
            assert!(error.contains("ickles"), "{error}");
            let error = place.get(&server.hub(), Some("absent.safetensors")).await.unwrap_err().to_string();
            assert!(error.contains("meadow v1.safetensors"), "{error}");
            let error = server.hub().order("no-such-name", None, false, &CancellationToken::new()).await.unwrap_err();
            assert!(error.to_string().contains("catalogue"), "{error}");
            assert!(place.is_empty());
        });
    }

    #[test]
    fn offline_is_said_at_once() {
        runtime().block_on(async {
            // Nobody listens there any more.
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let place = Place::new();
            // Nor is there such a name, whatever the network; the time limit is that of looking it up.
            for (hub, seconds) in [(format!("http://127.0.0.1:{port}"), 2), ("http://nothing.invalid".into(), 11)] {
                let begun = Instant::now();
                let error = place.get(&Hub::at(&hub, None).unwrap(), None).await.unwrap_err();
                assert!(matches!(error, StudioError::Offline { .. }), "{error}");
                assert!(begun.elapsed() < Duration::from_secs(seconds), "{hub} {:?}", begun.elapsed());
            }
            assert!(place.is_empty());
        });
    }

    #[test]
    fn a_download_can_be_cancelled_and_goes_on_the_next_time() {
        runtime().block_on(async {
            let ((server, bytes), place) = (one(), Place::new());
            let (hub, cancel) = (server.hub(), CancellationToken::new());
            let order = hub.order("maker/model", None, false, &cancel).await.unwrap();
            assert_eq!(
                (order.bytes, order.files().collect::<Vec<_>>()),
                (bytes.len() as u64, vec!["meadow v1.safetensors"])
            );
            server.set(Mood { slow: true, ..Mood::default() });
            let mut seen = Vec::new();
            let mut stop = |progress: DownloadProgress| {
                seen.push(progress.done);
                if progress.done > 5_000 {
                    cancel.cancel();
                }
            };
            let begun = Instant::now();
            let error =
                place.models.download(&hub, &order, None, &mut place.cache(), &cancel, &mut stop).await.unwrap_err();
            assert!(error.is_cancelled() && begun.elapsed() < Duration::from_secs(2), "{error}");
            assert!(place.is_empty() && seen.windows(2).all(|pair| pair[0] <= pair[1]), "{seen:?}");
            server.set(Mood::default());
            let item = place.get(&hub, None).await.unwrap();
            assert_eq!(fs::read(&item.path).unwrap(), bytes);
            assert!(server.ranges().last().unwrap().is_some(), "it went on");
        });
    }

    #[test]
    fn of_a_folder_only_what_is_needed_is_taken() {
        let unet = file(&[("conv_in.weight", &[1, 9, 3, 3]), ("down_blocks.0.attn2.to_k.weight", &[1, 2048])], &[]);
        let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for name in ["model_index.json", "LICENSE.md", "unet/config.json", "vae/config.json", "tokenizer/merges.txt"] {
            files.insert(name.into(), b"{}".to_vec());
        }
        for name in [
            "unet/diffusion_pytorch_model.bin",
            "safety_checker/model.safetensors",
            "whole.safetensors",
            "../../evil.json",
        ] {
            files.insert(name.into(), b"not needed".to_vec());
        }
        for name in [
            "unet/diffusion_pytorch_model.safetensors",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
            "text_encoder/model-00001-of-00002.safetensors",
            "text_encoder/model-00002-of-00002.safetensors",
        ] {
            files.insert(name.into(), unet.clone());
        }
        files.insert("text_encoder/model.safetensors.index.json".into(), b"{}".to_vec());
        let server = Server::new(files);
        let place = Place::new();
        runtime().block_on(async {
            let item = place.get(&server.hub(), None).await.unwrap();
            assert_eq!((item.name.as_str(), item.description().as_str()), ("model", "SDXL, inpainting, f16"));
            assert_eq!(item.source, Some(format!("maker/model@{COMMIT}")));
            let has = |path: &str| item.path.join(path).is_file();
            assert!(has("model_index.json") && has("LICENSE.md") && has("tokenizer/merges.txt"));
            assert!(
                has("unet/diffusion_pytorch_model.fp16.safetensors") && has("vae/diffusion_pytorch_model.safetensors")
            );
            assert!(has("text_encoder/model-00002-of-00002.safetensors"));
            assert!(!has("unet/diffusion_pytorch_model.safetensors") && !has("whole.safetensors"));
            assert!(!has("safety_checker/model.safetensors") && !has("unet/diffusion_pytorch_model.bin"));
            let full = server.hub().order("maker/model", None, true, &CancellationToken::new()).await.unwrap();
            assert!(full.files().any(|path| path == "unet/diffusion_pytorch_model.safetensors"));
            assert!(!full.files().any(|path| path.contains("..")), "nothing leaves the folder");
        });
    }

    #[test]
    fn a_file_that_the_catalogue_knows_otherwise_is_refused() {
        let remote = Remote { path: "a.safetensors".into(), bytes: 3, sha256: Some("aa".into()) };
        let repository = Repository {
            name: "maker/model".into(),
            commit: COMMIT.into(),
            licence: None,
            files: vec![remote.clone()],
        };
        let wanted =
            |hash: &str| CatalogFile { path: "a.safetensors".into(), bytes: Some(3), sha256: Some(hash.into()) };
        assert_eq!(picked(&repository, &[wanted("aa")]).unwrap(), [remote]);
        let error = picked(&repository, &[wanted("bb")]).unwrap_err().to_string();
        assert!(error.contains("replaced"), "{error}");
    }
}
