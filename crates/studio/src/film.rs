//! The film of a shot: its pictures in order, and their file.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use outframe_camera::{self as camera, Shutter};
pub use outframe_compositor::{AdapterChoice, Compositor, Options, Picture, PictureSource, Scene, ShotView};
use outframe_compositor::{Look, Unpainted};
use outframe_document::{Document, Shot};
use outframe_film::{FilmSettings, FilmWriter};
pub use outframe_film::{FilmSummary, Format, ffmpeg};
use tokio_util::sync::CancellationToken;

use crate::{
    Event, ProjectPictures, StudioError,
    engine::EngineError,
    session::EventSink,
    shots::{shutter, to_camera},
};

impl PictureSource for ProjectPictures {
    fn load(&self, id: &outframe_document::BlobId) -> Result<image::DynamicImage, String> {
        Self::load(self, id)
    }
}

/// Finished pictures that may wait for the film's writer while the next is drawn.
const AHEAD: usize = 2;

/// A shot and what its camera sees, as they are at one moment: later edits of the project do not change it.
#[derive(Debug, Clone)]
pub struct ShotFilm {
    scene: Arc<Scene>,
    shot: camera::Shot,
    shutter: Shutter,
}

/// How to write a film.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilmOptions {
    /// The file, or the folder of a PNG sequence.
    pub path: PathBuf,
    /// The format.
    pub format: Format,
    /// 0 (small) to 100 (near perfect); [`FilmOptions::QUALITY`] unless there is a reason.
    pub quality: u8,
}

impl FilmOptions {
    /// The quality to begin with.
    pub const QUALITY: u8 = FilmSettings::QUALITY;
}

impl ShotFilm {
    /// The shot over what the document shows now.
    pub fn new(document: &Document, shot: &Shot) -> Result<Self, StudioError> {
        let (to, shutter) = (to_camera(document, shot)?, shutter(shot)?);
        Ok(Self { scene: Arc::new(Scene::new(document)), shot: to, shutter })
    }

    /// The shot as the camera knows it.
    pub fn shot(&self) -> &camera::Shot {
        &self.shot
    }

    /// What the camera sees.
    pub fn scene(&self) -> &Arc<Scene> {
        &self.scene
    }

    /// What one picture of the film shows, in the film's size, motion blur included: over black where nothing is painted.
    pub fn view(&self, index: u32) -> Result<ShotView, StudioError> {
        Ok(ShotView {
            cameras: self.shot.track()?.exposures(index, &self.shutter),
            width: self.shot.width,
            height: self.shot.height,
            look: Look::default(),
            opaque: true,
            unpainted: Unpainted::Black,
        })
    }
}

/// Renders a shot's pictures in order and hands each to `sink` with its number. Pictures in which the camera stands as in the
/// one before are not rendered again.
pub async fn render_shot(
    compositor: &Compositor,
    film: &ShotFilm,
    pictures: &Arc<dyn PictureSource>,
    sink: &mut (dyn FnMut(u32, &Picture) -> Result<(), StudioError> + Send),
    events: EventSink<'_>,
    cancel: &CancellationToken,
) -> Result<(), StudioError> {
    let mut reel = Reel::new(film);
    for index in 0..film.shot.frames {
        let picture = reel.picture(compositor, pictures, index, cancel).await?;
        sink(index, &picture)?;
        events(Event::Film { done: index + 1, count: film.shot.frames });
    }
    Ok(())
}

/// Renders a shot and writes it as a film, which is there whole or not at all. Pictures are drawn, converted and encoded at
/// the same time, each on threads of its own. `events` hear how many pictures are encoded.
pub async fn export_film(
    compositor: &Compositor,
    film: &ShotFilm,
    pictures: &Arc<dyn PictureSource>,
    options: &FilmOptions,
    events: EventSink<'_>,
    cancel: &CancellationToken,
) -> Result<FilmSummary, StudioError> {
    let shot = &film.shot;
    let settings = FilmSettings {
        width: shot.width,
        height: shot.height,
        rate: (shot.rate.numerator, shot.rate.denominator),
        frames: shot.frames,
        format: options.format,
        quality: options.quality.min(100),
    };
    let writer = FilmWriter::create(&options.path, &settings)?;
    let (pictures_out, queue) = tokio::sync::mpsc::channel(AHEAD);
    let encoded = Arc::new(AtomicU32::new(0));
    let (told, stop) = (Arc::clone(&encoded), cancel.clone());
    let used = compositor.clone();
    let mut writing = tokio::task::spawn_blocking(move || write_all(writer, queue, &used, &told, &stop));
    let count = shot.frames;
    let mut tell = || events(Event::Film { done: encoded.load(Ordering::Relaxed), count });
    let mut reel = Reel::new(film);
    for index in 0..count {
        let picture = match reel.picture(compositor, pictures, index, cancel).await {
            Ok(picture) => picture,
            Err(error) => {
                // The writer takes away what it has written when it sees that pictures are missing.
                drop(pictures_out);
                let _ = writing.await;
                return Err(error);
            }
        };
        // Waits while the writer is behind. One that has ended has failed, and says so below.
        if pictures_out.send(picture).await.is_err() {
            break;
        }
        tell();
    }
    drop(pictures_out);
    loop {
        tokio::select! {
            ended = &mut writing => {
                let summary = ended.map_err(|error| StudioError::Internal(error.to_string()))??;
                encoded.store(count, Ordering::Relaxed);
                tell();
                return Ok(summary);
            }
            () = tokio::time::sleep(Duration::from_millis(100)) => tell(),
        }
    }
}

/// Writes the pictures of the queue, beside the drawing of the next.
fn write_all(
    mut writer: FilmWriter,
    mut queue: tokio::sync::mpsc::Receiver<Arc<Picture>>,
    compositor: &Compositor,
    encoded: &AtomicU32,
    stop: &CancellationToken,
) -> Result<FilmSummary, outframe_film::Error> {
    while let Some(picture) = queue.blocking_recv() {
        writer.write(&picture.rgba)?;
        encoded.store(writer.progress().0, Ordering::Relaxed);
        if let Some(picture) = Arc::into_inner(picture) {
            compositor.recycle(picture);
        }
    }
    writer.finish_with(|done| {
        encoded.store(done, Ordering::Relaxed);
        !stop.is_cancelled()
    })
}

/// Renders pictures one after the other.
struct Reel<'a> {
    film: &'a ShotFilm,
    last: Option<(ShotView, Arc<Picture>)>,
}

impl<'a> Reel<'a> {
    fn new(film: &'a ShotFilm) -> Self {
        Self { film, last: None }
    }

    async fn picture(
        &mut self,
        compositor: &Compositor,
        pictures: &Arc<dyn PictureSource>,
        index: u32,
        cancel: &CancellationToken,
    ) -> Result<Arc<Picture>, StudioError> {
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled.into());
        }
        let view = self.film.view(index)?;
        if let Some((last, picture)) = &self.last
            && *last == view
        {
            return Ok(Arc::clone(picture));
        }
        let picture = Arc::new(compositor.shot(&self.film.scene, pictures, &view, cancel).await?);
        self.last = Some((view, Arc::clone(&picture)));
        Ok(picture)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Command};

    use image::{Rgba, RgbaImage};
    use outframe_document::{
        Edit, Frame, Layer, Move, MoveKind, Origin, Patch, PatchContent, PatchImage, Project, Rect, Step,
    };
    use pollster::block_on;

    use super::*;

    /// A project with one picture of soft shapes and fine texture, and a shot over it.
    fn project(folder: &Path, zoom: f64) -> (Project, Shot) {
        let image = RgbaImage::from_fn(640, 360, |x, y| {
            let wave = |scale: f32| ((x as f32 / scale).sin() * (y as f32 / (scale * 1.3)).cos() * 90.0 + 128.0) as u8;
            let grain = ((x.wrapping_mul(7919) ^ y.wrapping_mul(104_729)) >> 3 & 3) as u8;
            Rgba([wave(31.0), wave(37.0), wave(53.0), 255].map(|code: u8| code.saturating_add(grain)))
        });
        let mut project = Project::create(folder.join("p.outframe"), "").unwrap();
        let id = project.put_blob(&crate::encode_png(&image.into()).unwrap(), crate::pictures::PNG).unwrap();
        let own = PatchImage { image: id, mask: None, origin: Origin::Drawn };
        let rect = Rect::new(0, 0, 640, 360);
        let mut layer = Layer::new(project.next_layer_id(), "");
        layer.patches.push(Patch::new(project.next_patch_id(), rect, PatchContent::Image(Box::new(own))));
        let frame = Frame { id: project.next_frame_id(), name: "Frame".into(), rect };
        let mut shot = Shot::new(outframe_document::ShotId::from_raw(1), "Shot", frame.id);
        (shot.width, shot.height, shot.frames) = (320, 180, 12);
        let one = camera::Move::new(camera::MoveKind::Zoom, 0.0, 11.0, 1.0, zoom).eased(camera::Easing::Linear);
        let one: Move = crate::shots::from_camera(&one);
        assert_eq!(one.kind, MoveKind::Zoom);
        shot.moves.push(one);
        let edits = vec![Edit::AddLayer { index: 0, layer: Box::new(layer) }, Edit::AddFrame { index: 0, frame }];
        project.apply(Step::new("Add", edits)).unwrap();
        (project, shot)
    }

    fn on_runtime<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap().block_on(work)
    }

    fn software() -> Compositor {
        block_on(Compositor::new(Options { adapter: AdapterChoice::Software, ..Options::default() })).unwrap()
    }

    fn render(project: &Project, film: &ShotFilm) -> Vec<Vec<u8>> {
        let pictures: Arc<dyn PictureSource> = Arc::new(ProjectPictures::open(project.path()).unwrap());
        let mut frames = Vec::new();
        let mut sink = |index: u32, picture: &Picture| {
            assert_eq!(index as usize, frames.len());
            frames.push(picture.rgba.clone());
            Ok(())
        };
        on_runtime(render_shot(&software(), film, &pictures, &mut sink, &mut |_| {}, &CancellationToken::new()))
            .unwrap();
        frames
    }

    fn write(
        project: &Project,
        film: &ShotFilm,
        options: &FilmOptions,
        cancel: &CancellationToken,
    ) -> (Result<FilmSummary, StudioError>, Vec<u32>) {
        let pictures: Arc<dyn PictureSource> = Arc::new(ProjectPictures::open(project.path()).unwrap());
        let mut told = Vec::new();
        let mut events = |event| {
            if let Event::Film { done, count } = event {
                assert_eq!(count, 12);
                told.push(done);
            }
        };
        let done = on_runtime(export_film(&software(), film, &pictures, options, &mut events, cancel));
        (done, told)
    }

    #[test]
    fn a_films_pictures_are_the_compositors() {
        let folder = tempfile::tempdir().unwrap();
        let (project, shot) = project(folder.path(), 1.4);
        let film = ShotFilm::new(project.document(), &shot).unwrap();
        let frames = render(&project, &film);
        assert!(frames.windows(2).all(|pair| pair[0] != pair[1]), "it moves");
        // Without loss: to the bit, in order.
        let path = folder.path().join("pictures");
        let options = FilmOptions { path: path.clone(), format: Format::PngSequence, quality: FilmOptions::QUALITY };
        let (done, told) = write(&project, &film, &options, &CancellationToken::new());
        assert_eq!(done.unwrap().frames, 12);
        assert!(told.is_sorted() && told.last() == Some(&12), "{told:?}");
        for (index, frame) in frames.iter().enumerate() {
            let written = image::open(path.join(format!("{index:05}.png"))).unwrap().into_rgba8();
            assert!(written.as_raw() == frame, "picture {index}");
        }
        // With loss: nearly.
        let Some(ffmpeg) = ffmpeg() else { return };
        for format in [Format::Mp4H264, Format::Mp4Av1] {
            let path = folder.path().join("film.mp4");
            let options = FilmOptions { path: path.clone(), format, quality: FilmOptions::QUALITY };
            write(&project, &film, &options, &CancellationToken::new()).0.unwrap();
            let raw = Command::new(&ffmpeg)
                .args(["-loglevel", "error", "-nostdin", "-i"])
                .arg(&path)
                .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"])
                .output()
                .unwrap()
                .stdout;
            let size = 320 * 180 * 3;
            assert_eq!(raw.len(), 12 * size, "{format}");
            for (index, (frame, decoded)) in frames.iter().zip(raw.chunks_exact(size)).enumerate() {
                let rgb = frame.chunks_exact(4).flat_map(|pixel| &pixel[..3]);
                let squares: f64 = rgb.zip(decoded).map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2)).sum();
                let psnr = 10.0 * (255.0 * 255.0 / (squares / size as f64)).log10();
                assert!(psnr > 38.0, "{format}, picture {index}: {psnr:.2} dB");
            }
        }
    }

    #[test]
    fn a_shot_that_does_not_move_is_one_picture() {
        let folder = tempfile::tempdir().unwrap();
        let (project, shot) = project(folder.path(), 1.0);
        let film = ShotFilm::new(project.document(), &shot).unwrap();
        let frames = render(&project, &film);
        assert_eq!(frames.len(), 12);
        assert!(frames.iter().all(|frame| *frame == frames[0]));
        // Drawn anew, by another device, it is the same too.
        assert!(render(&project, &film)[0] == frames[0]);
    }

    #[test]
    fn a_cancelled_film_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (project, shot) = project(folder.path(), 1.4);
        let film = ShotFilm::new(project.document(), &shot).unwrap();
        let path = folder.path().join("pictures");
        let options = FilmOptions { path: path.clone(), format: Format::PngSequence, quality: FilmOptions::QUALITY };
        let cancel = CancellationToken::new();
        cancel.cancel();
        let (done, _) = write(&project, &film, &options, &cancel);
        assert!(matches!(done, Err(StudioError::Engine(EngineError::Cancelled))), "{done:?}");
        let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = left.filter(|name| !name.to_string_lossy().starts_with("p.outframe")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
