//! Pictures into films.
//!
//! [`FilmWriter`] takes a film's pictures one by one and writes AV1 in MP4 (rav1e, built in), H.264 in MP4 (by ffmpeg, where
//! it is installed) or a folder of PNGs. Encoding runs in a thread of its own, a few pictures behind.
//!
//! A film that exists is a whole film: it is written under another name beside its place and moved there when it is
//! complete. A writer that is dropped, or whose program dies, leaves a film that was there before as it was.
//!
//! Both MP4s hold 8-bit 4:2:0 by BT.709 in video range, said so in the stream and in the file, with a keyframe every
//! second at least, and the index before the pictures, so that players start and seek at once.

mod av1;
mod error;
mod h264;
mod place;
mod planes;
mod sequence;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

pub use error::{Error, Result};
pub use h264::ffmpeg;
use planes::Planes;

/// Pictures that may wait for the encoder. With those that it looks ahead at, they bound the memory.
const WAITING: usize = 2;

/// What a film is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// AV1 in MP4, by the encoder that is built in.
    Mp4Av1,
    /// H.264 in MP4, by ffmpeg.
    Mp4H264,
    /// A folder of PNGs, named `00000.png` and on, without loss.
    PngSequence,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Mp4Av1, Self::Mp4H264, Self::PngSequence];

    /// The format's name in commands and files: `mp4-av1`, `mp4-h264` or `png-sequence`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mp4Av1 => "mp4-av1",
            Self::Mp4H264 => "mp4-h264",
            Self::PngSequence => "png-sequence",
        }
    }

    /// How the film's name ends, without a dot; `None` for a folder.
    pub fn extension(self) -> Option<&'static str> {
        match self {
            Self::Mp4Av1 | Self::Mp4H264 => Some("mp4"),
            Self::PngSequence => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name is none of the formats'.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no film format. Choose mp4-av1, mp4-h264 or png-sequence.")]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.as_str() == name).ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilmSettings {
    /// Width of every picture, in pixels.
    pub width: u32,
    /// Height of every picture, in pixels.
    pub height: u32,
    /// Pictures per second as a fraction, such as (24000, 1001); 0.1 to 1000.
    pub rate: (u32, u32),
    /// How many pictures the film has. It is finished with just as many.
    pub frames: u32,
    /// The format.
    pub format: Format,
    /// 0 (small) to 100 (near perfect); [`FilmSettings::QUALITY`] unless there is a reason. PNGs have no loss at any.
    pub quality: u8,
}

impl FilmSettings {
    /// The quality to begin with: the loss is not seen, and most pictures keep more than 40 dB.
    pub const QUALITY: u8 = 80;

    /// The film's duration in seconds.
    pub fn seconds(&self) -> f64 {
        f64::from(self.frames) * f64::from(self.rate.1) / f64::from(self.rate.0)
    }

    fn check(&self) -> Result<()> {
        let Self { width, height, rate, format, .. } = *self;
        let limit = match format {
            // A folder's picture is held in memory as a whole, thrice.
            Format::PngSequence if width == 0 || height == 0 => Some("each side must have a pixel"),
            Format::PngSequence if u64::from(width) * u64::from(height) > 1 << 28 => {
                Some("it can have 268 million pixels at most")
            }
            Format::PngSequence => None,
            _ if width.min(height) < 16 => Some("each side must have 16 pixels at least"),
            // AV1's highest level, and H.264's: 139264 macroblocks of 16 x 16.
            _ if width > 16384 || height > 8704 || u64::from(width) * u64::from(height) > 35_651_584 => {
                Some("it can be 16384 wide, 8704 high and have 35.6 million pixels at most")
            }
            _ => None,
        };
        if let Some(limit) = limit {
            return Err(Error::Size { width, height, format, limit });
        }
        let (over, under) = rate;
        let fits = (1..=1_000_000).contains(&over) && (1..=1_000_000).contains(&under);
        if !fits || over / under > 1000 || under / over > 10 {
            return Err(Error::Rate { rate });
        }
        if self.frames == 0 {
            return Err(Error::Empty);
        }
        Ok(())
    }

    /// Pictures from keyframe to keyframe: one second.
    fn keyframe_interval(&self) -> u32 {
        self.rate.0.div_ceil(self.rate.1).clamp(1, 250)
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq)]
pub struct FilmSummary {
    /// The file, or the folder of a PNG sequence.
    pub path: PathBuf,
    /// Pictures in it.
    pub frames: u32,
    /// Its size, in bytes.
    pub bytes: u64,
    /// Its duration, in seconds.
    pub seconds: f64,
    /// The film's width in pixels. H.264 has even sides only: an odd side is one pixel longer here, with its edge repeated.
    pub width: u32,
    /// The film's height in pixels; see `width`.
    pub height: u32,
}

/// A picture on its way to the encoder.
enum Picture {
    Planes(Planes),
    Rgb(Vec<u8>),
}

/// Something that turns pictures into a film at a temporary place.
trait Encoder: Send {
    fn encode(&mut self, picture: Picture) -> Result<()>;
    /// Completes the temporary film.
    fn complete(&mut self) -> Result<()>;
    /// Moves the film to its place. Returns its size in bytes.
    fn place(self: Box<Self>) -> Result<u64>;
}

/// What the writer and its thread share.
#[derive(Default)]
struct Shared {
    encoded: AtomicU32,
    cancelled: AtomicBool,
}

/// Writes one film.
///
/// Dropped before [`finish`](Self::finish), it removes what it has written.
pub struct FilmWriter {
    path: PathBuf,
    settings: FilmSettings,
    given: u32,
    shared: Arc<Shared>,
    pictures: Option<SyncSender<Picture>>,
    worker: Option<JoinHandle<Result<Box<dyn Encoder>>>>,
    child: Option<h264::Child>,
}

impl fmt::Debug for FilmWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilmWriter")
            .field("path", &self.path)
            .field("settings", &self.settings)
            .field("progress", &self.progress())
            .finish_non_exhaustive()
    }
}

impl FilmWriter {
    /// Begins a film that will be at `path`: a file, or a folder for [`Format::PngSequence`].
    ///
    /// The folder around it must exist. A film that is already there is replaced when the new one is complete; a folder is
    /// taken for a film only if it is empty or has nothing but numbered PNGs.
    pub fn create(path: &Path, settings: &FilmSettings) -> Result<Self> {
        settings.check()?;
        let shared = Arc::new(Shared::default());
        let mut child = None;
        let encoder: Box<dyn Encoder> = match settings.format {
            Format::Mp4Av1 => Box::new(av1::Av1::create(path, settings, Arc::clone(&shared))?),
            Format::Mp4H264 => {
                let encoder = h264::H264::create(path, settings)?;
                child = Some(encoder.child());
                Box::new(encoder)
            }
            Format::PngSequence => Box::new(sequence::Sequence::create(path, settings)?),
        };
        // rav1e counts pictures as they come out, the others as they go in.
        let counts = settings.format == Format::Mp4Av1;
        let (pictures, queue) = sync_channel(WAITING);
        let theirs = Arc::clone(&shared);
        let worker = std::thread::Builder::new()
            .name("film".into())
            .spawn(move || work(encoder, &queue, &theirs, counts))
            .map_err(|error| Error::Encoder { why: format!("its thread did not start: {error}") })?;
        Ok(Self {
            path: path.to_owned(),
            settings: settings.clone(),
            given: 0,
            shared,
            pictures: Some(pictures),
            worker: Some(worker),
            child,
        })
    }

    /// Adds the next picture: rows of sRGB RGBA with 8 bits and without gaps. Alpha is ignored.
    ///
    /// Waits while the encoder is more than two pictures behind. After an error the film cannot be finished.
    pub fn write(&mut self, rgba: &[u8]) -> Result<()> {
        let FilmSettings { width, height, frames, format, .. } = self.settings;
        if self.given == frames {
            self.give_up();
            return Err(Error::PictureCount { given: frames.saturating_add(1), expected: frames });
        }
        let expected = width as usize * height as usize * 4;
        if rgba.len() != expected {
            self.give_up();
            return Err(Error::PictureSize { index: self.given, given: rgba.len(), expected });
        }
        let picture = match format {
            Format::PngSequence => {
                Picture::Rgb(rgba.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect())
            }
            Format::Mp4Av1 => Picture::Planes(Planes::from_rgba(rgba, width, height, false)),
            Format::Mp4H264 => Picture::Planes(Planes::from_rgba(rgba, width, height, true)),
        };
        let sent = self.pictures.as_ref().is_some_and(|pictures| pictures.send(picture).is_ok());
        if !sent {
            // The thread has ended, and only an error ends it early.
            return Err(self.join().err().unwrap_or(Error::Cancelled));
        }
        self.given += 1;
        Ok(())
    }

    /// How many pictures are encoded, and how many were given.
    pub fn progress(&self) -> (u32, u32) {
        (self.shared.encoded.load(Ordering::Relaxed).min(self.given), self.given)
    }

    /// Completes the film and moves it to its place.
    pub fn finish(self) -> Result<FilmSummary> {
        self.finish_with(|_| true)
    }

    /// As [`finish`](Self::finish), and calls `carry_on` several times a second with the pictures encoded so far; `false`
    /// cancels the film.
    pub fn finish_with(mut self, mut carry_on: impl FnMut(u32) -> bool) -> Result<FilmSummary> {
        let expected = self.settings.frames;
        if self.given != expected && self.pictures.is_some() {
            return Err(Error::PictureCount { given: self.given, expected });
        }
        self.pictures = None;
        while self.worker.as_ref().is_some_and(|worker| !worker.is_finished()) {
            if !carry_on(self.progress().0) {
                return Err(Error::Cancelled);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        let bytes = self.join()?.place()?;
        let even = |side: u32| if self.settings.format == Format::Mp4H264 { side.next_multiple_of(2) } else { side };
        Ok(FilmSummary {
            path: self.path.clone(),
            frames: expected,
            bytes,
            seconds: self.settings.seconds(),
            width: even(self.settings.width),
            height: even(self.settings.height),
        })
    }

    /// Waits for the thread and takes what it ended with.
    fn join(&mut self) -> Result<Box<dyn Encoder>> {
        self.pictures = None;
        match self.worker.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            Some(Err(panic)) => {
                let why = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("it ended without a word");
                Err(Error::Encoder { why: why.to_owned() })
            }
            None => Err(Error::Cancelled),
        }
    }

    /// Ends the thread and removes what it has written.
    fn give_up(&mut self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
        if let Some(child) = &self.child {
            // Else the thread might wait for a program that no longer reads.
            child.kill();
        }
        drop(self.join());
    }
}

impl Drop for FilmWriter {
    fn drop(&mut self) {
        self.give_up();
    }
}

fn work(
    mut encoder: Box<dyn Encoder>,
    queue: &Receiver<Picture>,
    shared: &Shared,
    counts: bool,
) -> Result<Box<dyn Encoder>> {
    for picture in queue {
        if shared.cancelled.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        encoder.encode(picture)?;
        if !counts {
            shared.encoded.fetch_add(1, Ordering::Relaxed);
        }
    }
    if shared.cancelled.load(Ordering::Relaxed) {
        return Err(Error::Cancelled);
    }
    encoder.complete()?;
    Ok(encoder)
}

/// The bytes of a file, or of the files in a folder.
fn size_of(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return fs::metadata(path).map_or(0, |data| data.len()) };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|data| data.len()).sum()
}
