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
    session::{EventSink, apart},
    shots::{shutter, to_camera},
};

impl PictureSource for ProjectPictures {
    fn load(&self, id: &outframe_document::BlobId) -> Result<image::DynamicImage, String> {
        Self::load(self, id)
    }
}

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

/// Renders a shot and writes it as a film, which is there whole or not at all. `events` hear of each picture that is
/// encoded.
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
    let mut writer = FilmWriter::create(&options.path, &settings)?;
    let mut reel = Reel::new(film);
    for index in 0..shot.frames {
        let picture = reel.picture(compositor, pictures, index, cancel).await?;
        // Writing waits while the encoder is behind.
        let (back, written) = apart(move || {
            let written = writer.write(&picture.rgba);
            (writer, written)
        })
        .await?;
        writer = back;
        written?;
        events(Event::Film { done: writer.progress().0, count: shot.frames });
    }
    let encoded = Arc::new(AtomicU32::new(writer.progress().0));
    let (told, stop) = (Arc::clone(&encoded), cancel.clone());
    let mut finishing = tokio::task::spawn_blocking(move || {
        writer.finish_with(|done| {
            told.store(done, Ordering::Relaxed);
            !stop.is_cancelled()
        })
    });
    loop {
        tokio::select! {
            ended = &mut finishing => {
                let summary = ended.map_err(|error| StudioError::Internal(error.to_string()))??;
                events(Event::Film { done: shot.frames, count: shot.frames });
                return Ok(summary);
            }
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                events(Event::Film { done: encoded.load(Ordering::Relaxed), count: shot.frames });
            }
        }
    }
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
