//! H.264 by ffmpeg, which is its own program and is not shipped with this one.

use std::{
    env,
    ffi::OsString,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{self, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    thread::JoinHandle,
};

use crate::{Encoder, Error, FilmSettings, Picture, Result, place::UnfinishedFile};

/// The ffmpeg that writes H.264: the one that `OUTFRAME_FFMPEG` names, else the first in the `PATH`, if it has libx264.
///
/// Looked for once.
pub fn ffmpeg() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(find).clone()
}

fn find() -> Option<PathBuf> {
    let named = env::var_os("OUTFRAME_FFMPEG").filter(|name| !name.is_empty()).map(PathBuf::from);
    let program = named.or_else(|| {
        let name = format!("ffmpeg{}", env::consts::EXE_SUFFIX);
        env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(&name)).find(|path| path.is_file())
    })?;
    able(&program).then_some(program)
}

/// Whether the program runs and has libx264.
fn able(program: &Path) -> bool {
    Command::new(program)
        .args(["-hide_banner", "-encoders"])
        .stdin(Stdio::null())
        .output()
        .is_ok_and(|said| said.status.success() && String::from_utf8_lossy(&said.stdout).contains(" libx264 "))
}

/// The running ffmpeg, so that it can be ended from elsewhere.
#[derive(Clone)]
pub(crate) struct Child(Arc<Mutex<process::Child>>);

impl Child {
    /// Ends it now. Nothing happens if it has ended.
    pub(crate) fn kill(&self) {
        let mut child = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Fails only for a program that has ended.
        let _ended = child.kill().and_then(|()| child.wait());
    }
}

/// Ends ffmpeg when the film is given up, before its file is removed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// An H.264 film on its way.
pub(crate) struct H264 {
    running: Running,
    stdin: Option<ChildStdin>,
    stderr: Option<JoinHandle<String>>,
    film: UnfinishedFile,
}

impl H264 {
    pub(crate) fn create(path: &Path, settings: &FilmSettings) -> Result<Self> {
        let film = UnfinishedFile::create(path)?;
        let program = ffmpeg().ok_or(Error::NoFfmpeg)?;
        // With its protocol, so that no name is read as another's address.
        let mut target = OsString::from("file:");
        target.push(film.file.path());
        let colours =
            ["-color_range", "tv", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"];
        let (over, under) = settings.rate;
        let even = |side: u32| side.next_multiple_of(2);
        let mut command = Command::new(program);
        command
            .args(["-hide_banner", "-nostdin", "-loglevel", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p"])
            .args(["-video_size", &format!("{}x{}", even(settings.width), even(settings.height))])
            .args(["-framerate", &format!("{over}/{under}")])
            .args(colours)
            .args(["-i", "pipe:0", "-an", "-c:v", "libx264", "-preset", "medium", "-pix_fmt", "yuv420p"])
            .args(["-crf", &crf(settings.quality), "-g", &settings.keyframe_interval().to_string()])
            .args(colours)
            .args(["-chroma_sample_location", "left", "-movflags", "+faststart"])
            .args(["-video_track_timescale", &timescale(over).to_string()])
            // Two moments that differ by less than a tick must not be made one.
            .args(["-fps_mode", "passthrough", "-f", "mp4", "-y"])
            .arg(target)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| Error::Ffmpeg { why: format!("it did not start: {error}") })?;
        let stdin = child.stdin.take();
        let stderr = child.stderr.take().map(|pipe| std::thread::spawn(move || last_words(pipe)));
        Ok(Self { running: Running(Child(Arc::new(Mutex::new(child)))), stdin, stderr, film })
    }

    pub(crate) fn child(&self) -> Child {
        self.running.0.clone()
    }

    /// Waits for ffmpeg and takes its last words if it failed.
    fn end(&mut self) -> Result<()> {
        self.stdin = None;
        // It closes this when it ends, so that the wait below, which keeps others from ending it, is short.
        let said = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let status = self.running.0.0.lock().unwrap_or_else(PoisonError::into_inner).wait();
        let why = match status {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) if said.is_empty() => status.to_string(),
            Err(error) if said.is_empty() => error.to_string(),
            _ => said,
        };
        if why.contains("No space left on device") {
            return Err(self.film.failed(std::io::ErrorKind::StorageFull.into()));
        }
        Err(Error::Ffmpeg { why })
    }
}

impl Encoder for H264 {
    fn encode(&mut self, picture: Picture) -> Result<()> {
        let (Picture::Planes(planes), Some(stdin)) = (picture, &mut self.stdin) else {
            return Err(Error::Encoder { why: "a picture of another format came".into() });
        };
        stdin.write_all(&planes.samples).or_else(|error| {
            // It has closed its end: it knows why.
            self.end()?;
            Err(Error::Ffmpeg { why: error.to_string() })
        })
    }

    fn complete(&mut self) -> Result<()> {
        self.end()
    }

    fn place(self: Box<Self>) -> Result<u64> {
        let Self { film, .. } = *self;
        film.place()
    }
}

/// The constant rate factor for a quality: 40 for 0, 17.6 for 80, 12 for 100.
fn crf(quality: u8) -> String {
    format!("{:.1}", 40.0 - 0.28 * f64::from(quality.min(100)))
}

/// Ticks per second in which every picture of the rate has a whole number.
pub(crate) fn timescale(over: u32) -> u32 {
    if over < 1000 { over * 1000 } else { over }
}

/// The end of what it says.
fn last_words(mut pipe: impl Read) -> String {
    let mut said = Vec::new();
    let mut part = [0; 1024];
    while let Ok(read @ 1..) = pipe.read(&mut part) {
        said.extend_from_slice(&part[..read]);
        let too_many = said.len().saturating_sub(2000);
        said.drain(..too_many);
    }
    String::from_utf8_lossy(&said).trim().replace('\n', "; ")
}
