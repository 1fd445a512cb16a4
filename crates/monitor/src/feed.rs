//! The threads behind the window: one follows the project, one renders its shot.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use eframe::egui;
use image::DynamicImage;
use outframe_compositor::{Compositor, Error, Options, PictureSource, Scene, ShotView, Unpainted};
use outframe_document::{BlobId, Project, ShotId, StepId};
use outframe_studio::{ProjectPictures, shots};
use tokio_util::sync::CancellationToken;

use crate::cache::{Cache, Image};

/// How often the project is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// What the window says of a shot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Info {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) project: String,
    /// The film's size in pixels.
    pub(crate) size: [u32; 2],
    /// Pictures per second.
    pub(crate) rate: f64,
    pub(crate) frames: u32,
}

/// Where things stand.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Status {
    /// Nothing is known yet.
    Loading,
    /// There is a shot to show.
    Ready(Info),
    /// There is none, for this reason.
    Failed(String),
}

/// What the window and its threads share.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) status: Status,
    /// The adapter that renders, once it is known.
    pub(crate) adapter: Option<String>,
    /// Why pictures cannot be rendered at present.
    pub(crate) fault: Option<String>,
    pub(crate) cache: Cache,
    /// The state of the shot and the size that pictures are to show.
    pub(crate) version: u64,
    /// The size at which pictures are wanted, in pixels.
    pub(crate) wanted: [u32; 2],
    pub(crate) playhead: u32,
    /// The shot to show; `None` for the project's first.
    pub(crate) shot: Option<ShotId>,
    job: Option<Arc<Job>>,
    /// Ends the rendering of a picture that is no longer wanted.
    cancel: CancellationToken,
    quit: bool,
}

/// A shot to render.
struct Job {
    scene: Arc<Scene>,
    source: Arc<dyn PictureSource>,
    camera: outframe_camera::Shot,
    shutter: outframe_camera::Shutter,
    frames: u32,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("frames", &self.frames).finish_non_exhaustive()
    }
}

/// A handle to what is shared.
#[derive(Debug, Clone)]
pub(crate) struct Feed(Arc<(Mutex<State>, Condvar)>);

impl Feed {
    pub(crate) fn new(shot: Option<ShotId>, budget: u64) -> Self {
        let state = State {
            status: Status::Loading,
            adapter: None,
            fault: None,
            cache: Cache::new(budget),
            version: 0,
            wanted: [0, 0],
            playhead: 0,
            shot,
            job: None,
            cancel: CancellationToken::new(),
            quit: false,
        };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for pictures from this one on, of this size.
    pub(crate) fn want(&self, playhead: u32, size: [u32; 2]) {
        let mut state = self.state();
        if (state.playhead, state.wanted) == (playhead, size) {
            return;
        }
        state.playhead = playhead;
        if state.wanted != size {
            state.wanted = size;
            state.outdate();
        }
        self.0.1.notify_all();
    }

    /// Shows another shot of the project.
    pub(crate) fn show(&self, shot: ShotId) {
        self.state().shot = Some(shot);
        self.0.1.notify_all();
    }

    pub(crate) fn quit(&self) {
        let mut state = self.state();
        state.quit = true;
        state.cancel.cancel();
        self.0.1.notify_all();
    }

    /// Starts both threads, which run until what is returned is dropped.
    pub(crate) fn start(&self, project: PathBuf, ctx: &egui::Context) -> std::io::Result<Threads> {
        let mut threads = Threads { feed: self.clone(), handles: Vec::new() };
        let (feed, context) = (self.clone(), ctx.clone());
        let follow = move || feed.follow(&project, &context);
        threads.handles.push(std::thread::Builder::new().name("project".into()).spawn(follow)?);
        let (feed, context) = (self.clone(), ctx.clone());
        let render = move || feed.render(&context);
        threads.handles.push(std::thread::Builder::new().name("render".into()).spawn(render)?);
        Ok(threads)
    }

    /// Follows the project until the window closes.
    fn follow(&self, path: &Path, ctx: &egui::Context) {
        let mut seen: Option<(Stamp, StepId, Option<ShotId>)> = None;
        loop {
            let wanted = {
                let state = self.state();
                if state.quit {
                    return;
                }
                state.shot
            };
            let stamp = Stamp::of(path);
            let known = seen.as_ref().is_some_and(|(at, _, shot)| *at == stamp && *shot == wanted);
            if !known {
                let loaded = load(path, wanted, seen.as_ref().filter(|seen| seen.2 == wanted).map(|seen| seen.1));
                match loaded {
                    // The file was written to, but not its document.
                    Ok(Loaded::Same) => {
                        if let Some(seen) = &mut seen {
                            seen.0 = stamp;
                        }
                    }
                    Ok(Loaded::New(step, info, job)) => {
                        seen = Some((stamp, step, wanted));
                        self.take(info, job);
                        ctx.request_repaint();
                    }
                    Err(why) => {
                        // Tried again at the next look: it may come back.
                        seen = None;
                        let mut state = self.state();
                        let failed = Status::Failed(why);
                        if state.status != failed {
                            state.status = failed;
                            state.job = None;
                            state.cache.clear();
                            state.outdate();
                            ctx.request_repaint();
                        }
                    }
                }
            }
            let state = self.state();
            let waits = |state: &mut State| !state.quit && state.shot == wanted;
            drop(self.0.1.wait_timeout_while(state, LOOK, waits));
        }
    }

    fn take(&self, info: Info, job: Arc<Job>) {
        let mut state = self.state();
        if !matches!(&state.status, Status::Ready(before) if before.id == info.id) {
            // Another shot's pictures must not be taken for this one's.
            state.cache.clear();
        }
        state.status = Status::Ready(info);
        state.job = Some(job);
        state.fault = None;
        state.outdate();
        self.0.1.notify_all();
    }

    /// Renders until the window closes.
    fn render(&self, ctx: &egui::Context) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return self.fail(format!("The renderer cannot start: {error}."), ctx),
        };
        let compositor = match runtime.block_on(Compositor::new(Options::default())) {
            Ok(compositor) => compositor,
            Err(error) => return self.fail(error.to_string(), ctx),
        };
        self.state().adapter = Some(compositor.adapter().name);
        loop {
            let (job, frame, size, version, cancel) = {
                let mut state = self.state();
                loop {
                    if state.quit {
                        return;
                    }
                    if let Some(task) = state.task() {
                        break task;
                    }
                    state = self.0.1.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            };
            let rendered = runtime.block_on(picture(&compositor, &job, frame, size, &cancel));
            let mut state = self.state();
            if state.version != version {
                continue;
            }
            match rendered {
                Ok(rgba) => {
                    let image = Image { size: size.map(|side| side as usize), rgba, version };
                    let playhead = state.playhead;
                    state.cache.put(frame, image, playhead, job.frames);
                    state.fault = None;
                    // The rest only lengthens a line: a few times a second is enough.
                    if frame == playhead {
                        ctx.request_repaint();
                    } else {
                        ctx.request_repaint_after(Duration::from_millis(100));
                    }
                }
                Err(Error::Cancelled) => {}
                Err(error) => {
                    state.fault = Some(error.to_string());
                    ctx.request_repaint();
                    // Tried again when something changes, and now and then in case the device comes back.
                    let waits = |state: &mut State| !state.quit && state.version == version;
                    drop(self.0.1.wait_timeout_while(state, LOOK * 4, waits));
                }
            }
        }
    }

    fn fail(&self, why: String, ctx: &egui::Context) {
        self.state().fault = Some(why);
        ctx.request_repaint();
    }
}

/// The threads behind the window. Dropped, they end.
#[derive(Debug)]
pub(crate) struct Threads {
    feed: Feed,
    handles: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.feed.quit();
        for handle in self.handles.drain(..) {
            // A program that ends while a thread still uses the graphics driver may crash in the driver. What a thread
            // panicked with has been printed.
            let _ended = handle.join();
        }
    }
}

type Task = (Arc<Job>, u32, [u32; 2], u64, CancellationToken);

impl State {
    /// Nothing that was rendered so far shows what is wanted now.
    fn outdate(&mut self) {
        self.version += 1;
        self.cancel.cancel();
        self.cancel = CancellationToken::new();
    }

    fn task(&self) -> Option<Task> {
        let job = self.job.as_ref()?;
        let [width, height] = self.wanted;
        let bytes = u64::from(width) * u64::from(height) * 4;
        if bytes == 0 {
            return None;
        }
        let frame = self.cache.next(self.playhead % job.frames, job.frames, self.version, bytes)?;
        Some((Arc::clone(job), frame, self.wanted, self.version, self.cancel.clone()))
    }
}

/// A picture as the film would have it, over black.
async fn picture(
    compositor: &Compositor,
    job: &Job,
    frame: u32,
    [width, height]: [u32; 2],
    cancel: &CancellationToken,
) -> Result<Vec<u8>, Error> {
    let cameras = job.camera.track()?.exposures(frame, &job.shutter);
    let view = ShotView {
        cameras,
        width,
        height,
        look: outframe_compositor::Look::default(),
        opaque: true,
        unpainted: Unpainted::Black,
    };
    Ok(compositor.shot(&job.scene, &job.source, &view, cancel).await?.rgba)
}

/// The project's stored pictures.
struct Source(ProjectPictures);

impl PictureSource for Source {
    fn load(&self, id: &BlobId) -> Result<DynamicImage, String> {
        self.0.load(id)
    }
}

/// Whether a file may have been written to.
#[derive(Debug, Clone, PartialEq)]
struct Stamp([Option<(SystemTime, u64)>; 2]);

impl Stamp {
    fn of(path: &Path) -> Self {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        let stamp = |path: &Path| {
            let data = path.metadata().ok()?;
            Some((data.modified().ok()?, data.len()))
        };
        Self([stamp(path), stamp(Path::new(&log))])
    }
}

enum Loaded {
    Same,
    New(StepId, Info, Arc<Job>),
}

/// Reads the project beside whoever writes it.
fn load(path: &Path, shot: Option<ShotId>, known: Option<StepId>) -> Result<Loaded, String> {
    let shown = path.display();
    if !path.exists() {
        return Err(format!("The project {shown} is gone. The monitor goes on when it is back."));
    }
    let project = Project::open_read_only(path).map_err(|error| error.to_string())?;
    let step = project.current_step();
    if known == Some(step) {
        return Ok(Loaded::Same);
    }
    let document = project.document();
    let shot = match shot {
        Some(id) => document.shots.iter().find(|shot| shot.id == id).ok_or_else(|| {
            format!("The project has no shot {id}: it was removed, or never made. Choose another shot in the editor.")
        })?,
        None => {
            document.shots.first().ok_or("The project has no shot yet. Make one in the editor's director panel.")?
        }
    };
    let camera = shots::to_camera(document, shot).map_err(|error| error.to_string())?;
    let shutter = shots::shutter(shot).map_err(|error| error.to_string())?;
    let info = Info {
        id: shot.id.get(),
        name: shot.name.clone(),
        project: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        size: [shot.width, shot.height],
        rate: shot.rate.per_second(),
        frames: shot.frames.max(1),
    };
    let source = ProjectPictures::open(path).map_err(|error| error.to_string())?;
    let job = Job {
        scene: Arc::new(Scene::new(document)),
        source: Arc::new(Source(source)),
        camera,
        shutter,
        frames: shot.frames.max(1),
    };
    Ok(Loaded::New(step, info, Arc::new(job)))
}

#[cfg(test)]
#[path = "../tests/fixture/mod.rs"]
mod fixture;

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use outframe_document::{Edit, ShotChange, Step};

    use super::*;

    /// Waits until something is so, for some seconds.
    fn until<T>(feed: &Feed, mut so: impl FnMut(&State) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(found) = so(&feed.state()) {
                return found;
            }
            assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", feed.state());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn ready(state: &State) -> Option<Info> {
        match &state.status {
            Status::Ready(info) => Some(info.clone()),
            _ => None,
        }
    }

    fn failed(state: &State) -> Option<String> {
        match &state.status {
            Status::Failed(why) => Some(why.clone()),
            _ => None,
        }
    }

    #[test]
    fn it_follows_a_project_that_is_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("Harbour.outframe");
        let (mut project, shot) = fixture::project(&path, (64, 36));
        let feed = Feed::new(Some(shot), 1 << 20);
        let follower = {
            let (feed, path) = (feed.clone(), path.clone());
            std::thread::spawn(move || feed.follow(&path, &egui::Context::default()))
        };
        let info = until(&feed, ready);
        assert_eq!((info.size, info.rate, info.frames), ([64, 36], 24.0, 96));
        assert_eq!((info.name.as_str(), info.project.as_str()), ("Sunrise, push in", "Harbour"));
        let version = feed.state().version;

        // What the writer commits is seen, and what was rendered is out of date.
        let change = Edit::SetShot { shot, change: ShotChange::Frames(48) };
        project.apply(Step::new("Shorter", vec![change])).unwrap();
        until(&feed, |state| ready(state).filter(|info| info.frames == 48));
        assert!(feed.state().version > version);
        project.undo().unwrap();
        until(&feed, |state| ready(state).filter(|info| info.frames == 96));

        // Another shot, which is not there; then the first again.
        feed.show(ShotId::from_raw(999));
        let why = until(&feed, failed);
        assert!(why.contains("no shot 999"), "{why}");
        feed.show(shot);
        until(&feed, ready);

        project.close().unwrap();
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        let why = until(&feed, failed);
        assert!(why.contains("gone"), "{why}");
        fs::rename(&elsewhere, &path).unwrap();
        until(&feed, ready);
        feed.quit();
        follower.join().unwrap();
    }

    #[test]
    fn pictures_come_at_the_size_that_is_wanted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("film.outframe");
        let (project, shot) = fixture::project(&path, (64, 36));
        let feed = Feed::new(Some(shot), 1 << 20);
        let threads = feed.start(path, &egui::Context::default()).unwrap();
        feed.want(90, [32, 18]);
        let known = until(&feed, |state| state.adapter.clone().or_else(|| state.fault.clone()));
        if feed.state().adapter.is_none() {
            println!("left out: {known}");
            return;
        }
        let image = until(&feed, |state| state.cache.get(90).cloned());
        assert_eq!((image.size, image.rgba.len()), ([32, 18], 32 * 18 * 4));
        assert!(image.rgba.chunks(4).all(|pixel| pixel[3] == 255));
        assert!(image.rgba.chunks(4).any(|pixel| pixel[2] > 60), "the picture is black");
        // In the end all are there, and other pictures than the first.
        until(&feed, |state| (state.cache.ranges(state.version) == [(0, 96)]).then_some(()));
        assert_ne!(feed.state().cache.get(0).unwrap().rgba, image.rgba);
        feed.want(0, [64, 36]);
        until(&feed, |state| state.cache.get(0).filter(|image| image.size == [64, 36]).map(drop));
        drop(threads);
        project.close().unwrap();
    }
}
