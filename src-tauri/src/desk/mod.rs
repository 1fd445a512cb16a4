//! The desk: what the window works on, without the window.
//!
//! It holds the open project and its revision, the job queue, the tiles and the engine's state, and tells a listener what has
//! changed. Everything that a command does is done here, so that it is tested without a window.

mod controls;
mod editing;
mod folders;
mod info;
mod jobs;
mod library;
mod pictures;
mod recent;
mod shots;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use outframe_compositor::Compositor;
use outframe_document::{Document, Error as DocumentError, Project, Rect, Shot, StepId};
use outframe_studio::{
    ModelInfo, ProjectPictures, Studio,
    queue::Queue,
    tiles::{Tiles, changed_area},
};
use tokio::runtime::Handle;

pub(crate) use folders::Folders;
pub(crate) use pictures::Reply;
use recent::Recent;

use crate::{
    api::{CommandError, EngineView, ErrorKind, JobView, ProjectEvent, ProjectView, RecentProject},
    error::Answer,
    views,
};

/// Threads that draw and encode tiles.
const TILE_THREADS: usize = 2;
/// How long closing a project waits for its jobs to let go of its file.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a program that has a project open is given to let go of it.
const LEAVING: Duration = Duration::from_secs(2);
/// How long a project must be left alone before its thumbnail is made anew.
const IDLE: Duration = Duration::from_secs(5);

/// What the desk tells.
#[derive(Debug, Clone)]
pub(crate) enum DeskEvent {
    /// The project has changed, was opened or closed.
    Project(Box<ProjectEvent>),
    /// Jobs have changed.
    Jobs(Vec<JobView>),
    /// The engine has changed.
    Engine(EngineView),
    /// Something in the library's folders has changed.
    Library,
    /// Something went wrong outside of any command.
    Problem(String),
}

type Listener = Arc<dyn Fn(DeskEvent) + Send + Sync>;

/// The desk. Clones are the same desk.
#[derive(Clone)]
pub(crate) struct Desk {
    inner: Arc<Inner>,
}

struct Inner {
    runtime: Handle,
    studio: Studio,
    queue: Queue,
    tiles: Tiles,
    folders: Folders,
    recent: Recent,
    listener: Listener,
    open: Mutex<Option<Arc<Open>>>,
    /// Held while a project is being opened or closed.
    switching: tokio::sync::Mutex<()>,
    compositor: Mutex<Drawing>,
    adapter: String,
    /// What models said of themselves, by folder.
    models: Mutex<HashMap<PathBuf, ModelInfo>>,
    engine: Mutex<info::EngineMemory>,
    openings: AtomicU64,
}

/// What draws.
#[derive(Default)]
enum Drawing {
    /// Nothing needed it yet.
    #[default]
    Unmade,
    Ready(Compositor),
    /// There is none; what to do.
    Failed(String),
}

/// An open project.
struct Open {
    key: String,
    path: PathBuf,
    temporary: bool,
    state: Mutex<State>,
    /// The stored pictures, for the compositor; opened when first needed.
    pictures: Mutex<Option<Arc<ProjectPictures>>>,
    /// Shots as they are being dragged, not stored, with their versions.
    live: Mutex<HashMap<String, (u64, Shot)>>,
    live_version: AtomicU64,
}

struct State {
    /// None once it is closed.
    project: Option<Project>,
    revision: u64,
    /// What the front end was told last.
    told: Told,
    /// When it changed last, unless its thumbnail was made since.
    changed_at: Option<Instant>,
}

struct Told {
    document: Arc<Document>,
    step: StepId,
    redo: Option<String>,
}

impl Open {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn document(&self) -> Arc<Document> {
        Arc::clone(&self.state().told.document)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed() -> CommandError {
    CommandError::not_found("The project was closed meanwhile.")
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("queue", &self.inner.queue)
            .field("tiles", &self.inner.tiles)
            .finish_non_exhaustive()
    }
}

impl Desk {
    /// A desk on which nothing lies yet. `adapter` says which graphics adapter draws, as `OUTFRAME_ADAPTER` does.
    pub(crate) fn new(
        runtime: Handle,
        studio: Studio,
        folders: Folders,
        adapter: String,
        listener: impl Fn(DeskEvent) + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let recent = Recent::read(folders.config.join("recent.json"));
        let inner = Inner {
            queue: Queue::new(runtime.clone()),
            tiles: Tiles::new(TILE_THREADS)?,
            studio,
            recent,
            folders,
            listener: Arc::new(listener),
            open: Mutex::default(),
            switching: tokio::sync::Mutex::default(),
            compositor: Mutex::default(),
            adapter,
            models: Mutex::default(),
            engine: Mutex::default(),
            openings: AtomicU64::new(0),
            runtime,
        };
        let desk = Self { inner: Arc::new(inner) };
        desk.tell_jobs();
        desk.watch_engine();
        desk.watch_library();
        desk.keep_thumbnail();
        Ok(desk)
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.inner.runtime
    }

    fn tell(&self, event: DeskEvent) {
        (self.inner.listener)(event);
    }

    /// Tells of something that went wrong outside of any command.
    pub(crate) fn problem(&self, what: impl Into<String>) {
        self.tell(DeskEvent::Problem(what.into()));
    }

    fn open(&self) -> Answer<Arc<Open>> {
        lock(&self.inner.open).clone().ok_or_else(CommandError::no_project)
    }

    /// The open project's file.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        lock(&self.inner.open).as_ref().map(|open| open.path.clone())
    }

    pub(crate) fn recent_projects(&self) -> Vec<RecentProject> {
        self.inner.recent.list()
    }

    /// Paths and titles for the menu.
    pub(crate) fn recent_titles(&self) -> Vec<(PathBuf, String)> {
        self.inner.recent.titles()
    }

    pub(crate) fn forget_recent(&self, path: &str) {
        self.inner.recent.forget(Path::new(path));
    }

    pub(crate) fn current_project(&self) -> Option<ProjectView> {
        let open = lock(&self.inner.open).clone()?;
        let state = open.state();
        state.project.as_ref().map(|project| view(&open, project, state.revision))
    }

    /// Makes a project and opens it; without a path in the program's own folder.
    pub(crate) async fn new_project(&self, path: Option<PathBuf>) -> Answer<ProjectView> {
        let _switching = self.inner.switching.lock().await;
        let temporary = path.is_none();
        let path = match path {
            Some(path) => with_extension(path),
            None => self.inner.folders.next_unnamed()?,
        };
        let title = if temporary { String::new() } else { views::stem(&path) };
        // A name that the user has chosen in a dialog that asked whether to replace the file.
        if !temporary && path.exists() {
            self.make_way(&path).await?;
        }
        let project = Project::create(&path, &title)?;
        self.switch_to(project).await
    }

    /// Opens a project. The one that is open is closed when that has worked.
    pub(crate) async fn open_project(&self, path: PathBuf) -> Answer<ProjectView> {
        let _switching = self.inner.switching.lock().await;
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        if let Some(open) = lock(&self.inner.open).clone()
            && open.path.canonicalize().is_ok_and(|there| there == real)
        {
            let state = open.state();
            let project = state.project.as_ref().ok_or_else(closed)?;
            return Ok(view(&open, project, state.revision));
        }
        let opened = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            loop {
                match Project::open(&real) {
                    // A file that may be read only is shown.
                    Err(DocumentError::ReadOnly { .. }) => return Project::open_read_only(&real),
                    // Perhaps by a program that is about to end, such as a window that was closed a moment ago.
                    Err(DocumentError::Locked { .. }) if began.elapsed() < LEAVING => std::thread::sleep(LEAVING / 20),
                    other => return other,
                }
            }
        });
        let project = match opened.await? {
            Ok(project) => project,
            Err(error @ DocumentError::NotFound { .. }) => {
                return Err(CommandError::new(ErrorKind::NotFound, error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        self.switch_to(project).await
    }

    /// Opens a project, or begins a new one with a picture.
    pub(crate) async fn open_any(&self, path: PathBuf) -> Answer<()> {
        if path.extension().is_some_and(|found| found.eq_ignore_ascii_case(outframe_document::FILE_EXTENSION)) {
            self.open_project(path).await?;
            return Ok(());
        }
        if !path.is_file() {
            return Err(CommandError::not_found(format!("{} does not exist.", path.display())));
        }
        self.new_project(None).await?;
        let desk = self.clone();
        tokio::task::spawn_blocking(move || desk.import_files(&[path], None)).await??;
        Ok(())
    }

    pub(crate) async fn close_project(&self) -> Answer<()> {
        let _switching = self.inner.switching.lock().await;
        let closed = self.close_current().await;
        self.tell(DeskEvent::Project(Box::new(ProjectEvent { view: None, dirty: None })));
        closed
    }

    /// Gives the project another place: one without a name moves there, one with a name is copied and goes on there.
    pub(crate) async fn save_project_as(&self, path: PathBuf) -> Answer<ProjectView> {
        let _switching = self.inner.switching.lock().await;
        let open = self.open()?;
        let path = with_extension(path);
        let same =
            |path: &Path| path.canonicalize().ok().is_some_and(|there| open.path.canonicalize().ok() == Some(there));
        if same(&path) {
            let state = open.state();
            let project = state.project.as_ref().ok_or_else(closed)?;
            return Ok(view(&open, project, state.revision));
        }
        if path.exists() {
            self.make_way(&path).await?;
        }
        let (from, to) = (Arc::clone(&open), path.clone());
        let project = tokio::task::spawn_blocking(move || -> Answer<Project> {
            from.state().project.as_ref().ok_or_else(closed)?.save_copy(&to)?;
            let mut project = Project::open(&to)?;
            if project.document().title().is_none_or(str::is_empty) {
                let title = serde_json::Value::String(views::stem(&to));
                let edit = outframe_document::Edit::SetMeta { key: "title".into(), value: Some(title) };
                project.apply(outframe_document::Step::new("Name project", vec![edit]))?;
            }
            Ok(project)
        });
        let project = project.await??;
        let (left, temporary) = (open.path.clone(), open.temporary);
        drop(open);
        let view = self.switch_to(project).await?;
        if temporary {
            // The work is in its new place, safely; the old file is only in the way.
            if let Err(error) = std::fs::remove_file(&left) {
                self.problem(format!("{} was left behind: {error}", left.display()));
            }
            self.inner.recent.forget(&left);
        }
        Ok(view)
    }

    /// Takes away a file that the user wants to replace, if it is a project that nobody has open.
    async fn make_way(&self, path: &Path) -> Answer<()> {
        let file = path.to_path_buf();
        let removed = tokio::task::spawn_blocking(move || -> Answer<()> {
            let there = Project::open(&file).map_err(|error| match error {
                DocumentError::Locked { .. } => CommandError::from(error),
                other => CommandError::new(
                    ErrorKind::Conflict,
                    format!("{} is not replaced: {other} Choose another name.", file.display()),
                ),
            })?;
            there.close()?;
            std::fs::remove_file(&file)
                .map_err(|error| CommandError::failed(format!("{} cannot be replaced: {error}", file.display())))
        });
        removed.await?
    }

    /// Makes a project the open one, in place of any other.
    async fn switch_to(&self, project: Project) -> Answer<ProjectView> {
        if let Err(error) = self.close_current().await {
            self.problem(error.message);
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let number = self.inner.openings.fetch_add(1, Ordering::Relaxed);
        let path = project.path().to_path_buf();
        let document = Arc::new(project.document().clone());
        let told = Told {
            document: Arc::clone(&document),
            step: project.current_step(),
            redo: project.can_redo().map(str::to_owned),
        };
        let open = Arc::new(Open {
            // Nobody else's and none of an earlier start, whose pictures a web view may still keep.
            key: format!("{now:x}-{number}"),
            temporary: self.inner.folders.is_unnamed(&path),
            path,
            state: Mutex::new(State { revision: 1, told, changed_at: None, project: Some(project) }),
            pictures: Mutex::default(),
            live: Mutex::default(),
            live_version: AtomicU64::new(0),
        });
        *lock(&self.inner.open) = Some(Arc::clone(&open));
        self.inner.tiles.open(&open.key, 1, document, self.drawing(&open));
        let state = open.state();
        let project = state.project.as_ref().ok_or_else(closed)?;
        let view = view(&open, project, state.revision);
        self.inner.recent.touch(&open.path, &view.title);
        self.tell(DeskEvent::Project(Box::new(ProjectEvent { view: Some(view.clone()), dirty: None })));
        Ok(view)
    }

    /// Closes the open project, if any: its jobs are cancelled, its thumbnail is made, its file tidied.
    async fn close_current(&self) -> Answer<()> {
        let Some(open) = lock(&self.inner.open).take() else { return Ok(()) };
        self.inner.tiles.close();
        self.inner.queue.cancel_owner(&open.key, "Cancelled, because its project was closed.");
        let thumbnail = self.thumbnail_if_changed(&open).await;
        // A job that ends later finds the project closed; exports read the file until they end.
        let _ = tokio::time::timeout(PATIENCE, self.inner.queue.drained(&open.key)).await;
        let desk = self.clone();
        let closing = tokio::task::spawn_blocking(move || -> Answer<()> {
            let Some(mut project) = open.state().project.take() else { return Ok(()) };
            // Its connection would keep the file's log alive. What is being drawn has it a moment longer.
            let mut pictures = lock(&open.pictures).take();
            for _ in 0..50 {
                match pictures.map(Arc::try_unwrap) {
                    Some(Err(shared)) => pictures = Some(shared),
                    _ => break,
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            // Made by a click and never used: nothing is lost with it.
            let unused = open.temporary && project.can_undo().is_none() && project.history()?.len() == 1;
            if unused {
                project.close()?;
                let removed = std::fs::remove_file(&open.path);
                desk.inner.recent.forget(&open.path);
                return removed.map_err(|error| {
                    CommandError::failed(format!("{} was left behind: {error}", open.path.display()))
                });
            }
            if let Some(png) = thumbnail {
                // Only for show: a project without one is as good.
                let _ = project.set_thumbnail(&png);
            }
            Ok(project.close()?)
        });
        closing.await?
    }

    /// Ends all: closes the project and the engine.
    pub(crate) async fn shut_down(&self) {
        let _switching = self.inner.switching.lock().await;
        if let Err(error) = self.close_current().await {
            eprintln!("outframe-desktop: {}", error.message);
        }
        // A copy that was begun is taken away again, a download goes on the next time.
        self.inner.queue.cancel_owner(library::OWNER, "Stopped, because the program was closed.");
        let _ = tokio::time::timeout(PATIENCE, self.inner.queue.drained(library::OWNER)).await;
        self.inner.studio.engine().shutdown().await;
        // Before the driver's own threads are torn down with the process.
        let ended = Drawing::Failed("The program is ending.".into());
        let last = std::mem::replace(&mut *lock(&self.inner.compositor), ended);
        let _ = tokio::task::spawn_blocking(move || drop(last)).await;
    }

    /// Changes the open project and tells what has changed.
    fn change(&self, work: impl FnOnce(&mut Project) -> Answer<()>) -> Answer<ProjectView> {
        let open = self.open()?;
        self.change_in(&open, work).map(|((), view)| view)
    }

    /// Likewise for a certain opening of a project, which may have been closed meanwhile.
    fn change_in<T>(&self, open: &Arc<Open>, work: impl FnOnce(&mut Project) -> Answer<T>) -> Answer<(T, ProjectView)> {
        let mut state = open.state();
        let project = state.project.as_mut().ok_or_else(closed)?;
        let result = work(project);
        // Also after an error: of several steps some may have been made.
        let view = self.publish(open, &mut state)?;
        Ok((result?, view))
    }

    /// Tells the tiles and the listener what has changed in the project since they were told last.
    fn publish(&self, open: &Open, state: &mut State) -> Answer<ProjectView> {
        let project = state.project.as_ref().ok_or_else(closed)?;
        let told = &mut state.told;
        let same_history = told.step == project.current_step() && told.redo.as_deref() == project.can_redo();
        let same_document = *told.document == *project.document();
        if same_history && same_document {
            return Ok(view(open, project, state.revision));
        }
        let mut dirty = Some(Vec::new());
        if !same_document {
            let document = Arc::new(project.document().clone());
            dirty = changed_area(&told.document, &document);
            told.document = document;
        }
        told.step = project.current_step();
        told.redo = project.can_redo().map(str::to_owned);
        state.revision += 1;
        state.changed_at = Some(Instant::now());
        self.inner.tiles.update(state.revision, Arc::clone(&told.document), dirty.clone());
        let view = view(open, project, state.revision);
        let dirty = dirty.map(|areas| areas.into_iter().map(Into::into).collect());
        self.tell(DeskEvent::Project(Box::new(ProjectEvent { view: Some(view.clone()), dirty })));
        Ok(view)
    }

    /// Makes the thumbnail anew when the project is left alone, so that also after a crash the start page shows it.
    fn keep_thumbnail(&self) {
        let inner = Arc::downgrade(&self.inner);
        self.inner.runtime.spawn(async move {
            loop {
                tokio::time::sleep(IDLE / 2).await;
                let Some(inner) = inner.upgrade() else { return };
                let desk = Self { inner };
                let Some(open) = lock(&desk.inner.open).clone() else { continue };
                let idle = open.state().changed_at.is_some_and(|at| at.elapsed() >= IDLE);
                if !idle || desk.inner.queue.unfinished(&open.key) > 0 {
                    continue;
                }
                if let Some(png) = desk.thumbnail_if_changed(&open).await
                    && let Some(project) = &mut open.state().project
                {
                    let _ = project.set_thumbnail(&png);
                }
            }
        });
    }

    /// A new thumbnail, if the project has changed since the last one and can be drawn.
    async fn thumbnail_if_changed(&self, open: &Arc<Open>) -> Option<Vec<u8>> {
        let document = {
            let mut state = open.state();
            state.changed_at.take()?;
            if state.project.as_ref()?.is_read_only() {
                return None;
            }
            Arc::clone(&state.told.document)
        };
        let (desk, open) = (self.clone(), Arc::clone(open));
        tokio::task::spawn_blocking(move || desk.thumbnail(&open, &document)).await.ok().flatten()
    }
}

fn with_extension(path: PathBuf) -> PathBuf {
    let extension = path.extension().map(|found| found.to_string_lossy().to_ascii_lowercase());
    if extension.as_deref() == Some(outframe_document::FILE_EXTENSION) {
        return path;
    }
    let mut name = path.into_os_string();
    name.push(".");
    name.push(outframe_document::FILE_EXTENSION);
    name.into()
}

/// The frame, or all that is there.
fn picture_rect(document: &Document) -> Option<Rect> {
    document.frames.first().map(|frame| frame.rect).or_else(|| document.bounds())
}

/// The open project as the front end sees it.
fn view(open: &Open, project: &Project, revision: u64) -> ProjectView {
    let document = project.document();
    ProjectView {
        key: open.key.clone(),
        revision,
        path: open.path.to_string_lossy().into_owned(),
        title: views::title(project),
        read_only: project.is_read_only(),
        temporary: open.temporary,
        bounds: document.bounds().map(Into::into),
        frames: views::frames(document),
        layers: views::layers(document),
        generations: views::generations(document),
        shots: shots::views(document),
        undo: project.can_undo().map(str::to_owned),
        redo: project.can_redo().map(str::to_owned),
    }
}
