//! The supervisor of the engine worker: starts it on demand, loads models, runs jobs one at a time, cancels, and restarts it
//! after a crash.
//!
//! Nothing that happens in the worker can hurt the project: results arrive here whole or not at all, and the project file
//! is written by this process only.

mod error;
mod process;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex as StdMutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use image::{GrayImage, RgbImage};
pub use outframe_engine::{Control, FillJob, GenerateJob, Memory, ModelInfo, Sampling, UpscaleJob};
use outframe_engine::{Event, Frame, Request};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub use error::EngineError;
use process::Process;

/// How the worker is to be started.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// The worker's program; found beside the running program, or by `OUTFRAME_ENGINE`, when absent.
    pub program: Option<PathBuf>,
    /// `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
    pub device: String,
    /// `auto`, `f32`, `f16` or `bf16`.
    pub precision: String,
    /// Compute threads; the worker decides when absent.
    pub threads: Option<usize>,
    /// How long a cancelled job may go on before the worker is killed. One denoising step of a large model on a slow
    /// processor takes several seconds.
    pub cancel_grace: Duration,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            program: None,
            device: "auto".into(),
            precision: "auto".into(),
            threads: None,
            cancel_grace: Duration::from_secs(30),
        }
    }
}

/// A model that the worker holds.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadedModel {
    /// What it is.
    pub info: ModelInfo,
    /// Where it runs.
    pub device: String,
    /// In which precision.
    pub precision: String,
    /// BLAKE3 of the UNet's weights in hexadecimal, by which a picture names its model.
    pub hash: String,
    /// Seconds that loading took.
    pub seconds: f64,
}

/// The worker's state.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineStatus {
    /// Process id, if it runs.
    pub pid: Option<u32>,
    /// The loaded model, if any.
    pub model: Option<LoadedModel>,
    /// Whether a job runs.
    pub busy: bool,
    /// Its memory.
    pub memory: Memory,
}

/// One job for the worker.
#[derive(Debug, Clone)]
pub enum Job {
    /// Text to image.
    Generate(GenerateJob),
    /// Repaint the masked part of a picture. In the mask 255 means paint and 0 means keep.
    Fill {
        /// Parameters.
        job: FillJob,
        /// The picture, its unknown part pre-filled.
        image: RgbImage,
        /// The mask, of the same size.
        mask: GrayImage,
    },
    /// Make a picture larger; needs no loaded model.
    Upscale {
        /// The upscaler's file.
        model: PathBuf,
        /// Parameters.
        job: UpscaleJob,
        /// The picture.
        image: RgbImage,
    },
    /// Another job whose sampling names control networks, with their pictures in the same order.
    Controlled {
        /// That job.
        job: Box<Job>,
        /// The pictures.
        pictures: Vec<RgbImage>,
    },
}

impl Job {
    /// The same with the pictures of the control networks that its sampling names.
    pub(crate) fn controlled(self, pictures: Vec<RgbImage>) -> Self {
        if pictures.is_empty() { self } else { Self::Controlled { job: Box::new(self), pictures } }
    }

    fn request(&self, id: u64, options: &EngineOptions) -> Frame<Request> {
        match self {
            Self::Generate(job) => Frame::new(Request::Generate { id, job: job.clone() }),
            Self::Fill { job, image, mask } => {
                Frame::with(Request::Fill { id, job: job.clone() }, vec![image.as_raw().clone(), mask.as_raw().clone()])
            }
            Self::Upscale { model, job, image } => Frame::with(
                Request::Upscale {
                    id,
                    model: model.clone(),
                    device: options.device.clone(),
                    precision: options.precision.clone(),
                    threads: options.threads,
                    job: *job,
                },
                vec![image.as_raw().clone()],
            ),
            Self::Controlled { job, pictures } => {
                let mut frame = job.request(id, options);
                frame.attachments.extend(pictures.iter().map(|picture| picture.as_raw().clone()));
                frame
            }
        }
    }
}

/// What a running job tells.
#[derive(Debug, Clone)]
pub enum JobEvent {
    /// A denoising step is done, or a tile of an upscaling.
    Step {
        /// Steps done.
        step: u32,
        /// Steps in all.
        steps: u32,
        /// A small picture of how far it is.
        preview: Option<RgbImage>,
    },
    /// The worker stopped unexpectedly; it was restarted and the job begins again.
    Restarted {
        /// What happened, in words.
        reason: String,
    },
}

/// Receives a job's events.
pub type Observer<'a> = &'a mut (dyn FnMut(JobEvent) + Send);

/// A finished job.
#[derive(Debug, Clone)]
pub struct JobOutput {
    /// The picture.
    pub image: RgbImage,
    /// Seconds that it took in the worker.
    pub seconds: f64,
    /// What the person should know.
    pub warnings: Vec<String>,
}

/// The supervisor. Cheap to create: the worker starts with the first request.
#[derive(Debug)]
pub struct Engine {
    options: EngineOptions,
    ids: AtomicU64,
    /// Held for the length of a request that loads or computes: those wait for each other.
    session: Mutex<Session>,
    /// What runs now, for those who only look.
    live: StdMutex<Live>,
}

#[derive(Debug, Default)]
struct Live {
    process: Option<Arc<Process>>,
    model: Option<LoadedModel>,
}

/// A model, and the autoencoder that takes the place of its own.
type Wanted = (PathBuf, Option<PathBuf>);

#[derive(Debug, Default)]
struct Session {
    process: Option<Arc<Process>>,
    /// The model that jobs need: loaded again after a restart.
    wanted: Option<Wanted>,
    loaded: Option<(Wanted, LoadedModel)>,
}

impl Engine {
    /// A supervisor; nothing is started yet.
    pub fn new(options: EngineOptions) -> Self {
        Self { options, ids: AtomicU64::new(1), session: Mutex::default(), live: StdMutex::default() }
    }

    fn id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that a live worker runs.
    async fn ensure(&self, session: &mut Session) -> Result<Arc<Process>, EngineError> {
        if let Some(process) = session.process.as_ref().filter(|process| !process.is_dead()) {
            return Ok(Arc::clone(process));
        }
        session.loaded = None;
        session.process = None;
        *self.live() = Live::default();
        let program = find_program(self.options.program.as_deref())?;
        let process = Arc::new(Process::start(&program).await?);
        session.process = Some(Arc::clone(&process));
        self.live().process = Some(Arc::clone(&process));
        Ok(process)
    }

    /// Reads what a model folder holds, without loading it.
    pub async fn inspect(&self, model: &Path) -> Result<ModelInfo, EngineError> {
        let mut session = self.session.lock().await;
        let process = self.ensure(&mut session).await?;
        let id = self.id();
        match process.ask(id, Request::Inspect { id, model: model.into() }).await? {
            Event::Inspected { info, .. } => Ok(info),
            other => Err(EngineError::unexpected(&other)),
        }
    }

    /// Loads a model unless the worker holds it already. A worker that stops unexpectedly over it is restarted once.
    pub async fn load(&self, model: &Path) -> Result<LoadedModel, EngineError> {
        self.load_with(model, None).await
    }

    /// The same, with another autoencoder than the model's own.
    pub async fn load_with(&self, model: &Path, vae: Option<&Path>) -> Result<LoadedModel, EngineError> {
        let mut session = self.session.lock().await;
        session.wanted = Some((model.into(), vae.map(Into::into)));
        match self.ensure_model(&mut session).await {
            Err(EngineError::Died { .. }) => self.ensure_model(&mut session).await.map_err(EngineError::again),
            other => other,
        }
    }

    async fn ensure_model(&self, session: &mut Session) -> Result<LoadedModel, EngineError> {
        let wanted = session.wanted.clone().ok_or(EngineError::NoModel)?;
        self.ensure(session).await?;
        if let Some((holds, loaded)) = &session.loaded
            && *holds == wanted
        {
            return Ok(loaded.clone());
        }
        session.loaded = None;
        self.live().model = None;
        let id = self.id();
        let request = Request::Load {
            id,
            model: wanted.0.clone(),
            device: self.options.device.clone(),
            precision: self.options.precision.clone(),
            threads: self.options.threads,
            vae: wanted.1.clone(),
        };
        match self.ensure(session).await?.ask(id, request).await? {
            Event::Loaded { info, device, precision, hash, seconds, .. } => {
                let loaded = LoadedModel { info, device, precision, hash, seconds };
                session.loaded = Some((wanted, loaded.clone()));
                self.live().model = Some(loaded.clone());
                Ok(loaded)
            }
            other => Err(EngineError::unexpected(&other)),
        }
    }

    /// Runs a job on the loaded model; an upscaling on its own network.
    ///
    /// Jobs wait for each other. When the worker stops unexpectedly it is restarted and the job runs once more: a job is a pure
    /// function of its request, so that is safe. A second failure is reported. `cancel` is honoured within one denoising step;
    /// a worker that does not answer within [`EngineOptions::cancel_grace`] is killed.
    pub async fn run(
        &self,
        job: &Job,
        observe: Observer<'_>,
        cancel: &CancellationToken,
    ) -> Result<JobOutput, EngineError> {
        let mut session = self.session.lock().await;
        match self.run_once(&mut session, job, observe, cancel).await {
            Err(error @ EngineError::Died { .. }) if !cancel.is_cancelled() => {
                observe(JobEvent::Restarted { reason: error.to_string() });
                self.run_once(&mut session, job, observe, cancel).await.map_err(EngineError::again)
            }
            other => other,
        }
    }

    async fn run_once(
        &self,
        session: &mut Session,
        job: &Job,
        observe: Observer<'_>,
        cancel: &CancellationToken,
    ) -> Result<JobOutput, EngineError> {
        if !matches!(job, Job::Upscale { .. }) {
            self.ensure_model(session).await?;
        }
        let process = self.ensure(session).await?;
        let id = self.id();
        let request = job.request(id, &self.options);
        let mut events = process.send(id, request).await?;
        let mut asked_to_stop = false;
        loop {
            let event = tokio::select! {
                event = events.recv() => event,
                () = cancel.cancelled(), if !asked_to_stop => {
                    asked_to_stop = true;
                    process.tell(Request::Cancel { id }).await?;
                    continue;
                }
                () = tokio::time::sleep(self.options.cancel_grace), if asked_to_stop => {
                    process.kill().await;
                    return Err(EngineError::Cancelled);
                }
            };
            let Some(mut frame) = event else {
                let death = process.death().await;
                return Err(if asked_to_stop { EngineError::Cancelled } else { death });
            };
            match frame.header {
                Event::Progress { step, steps, preview, .. } => {
                    let preview = preview
                        .zip(frame.attachments.pop())
                        .and_then(|(size, bytes)| RgbImage::from_raw(size.width, size.height, bytes));
                    observe(JobEvent::Step { step, steps, preview });
                }
                Event::Done { picture, seconds, warnings, .. } => {
                    let bytes = frame.attachments.pop().unwrap_or_default();
                    picture.check(&bytes, 3)?;
                    let image = RgbImage::from_raw(picture.width, picture.height, bytes).ok_or(EngineError::Closed)?;
                    return Ok(JobOutput { image, seconds, warnings });
                }
                Event::Cancelled { .. } => return Err(EngineError::Cancelled),
                Event::Failed { error, .. } => return Err(EngineError::Refused(error)),
                other => return Err(EngineError::unexpected(&other)),
            }
        }
    }

    /// The worker's state, also while a job runs; starts nothing.
    pub async fn status(&self) -> Result<EngineStatus, EngineError> {
        let (process, model) = {
            let live = self.live();
            (live.process.clone(), live.model.clone())
        };
        let Some(process) = process.filter(|process| !process.is_dead()) else {
            return Ok(EngineStatus { pid: None, model: None, busy: false, memory: Memory::default() });
        };
        let id = self.id();
        match process.ask(id, Request::Status { id }).await? {
            Event::Status { memory, busy, .. } => Ok(EngineStatus { pid: Some(process.pid()), model, busy, memory }),
            other => Err(EngineError::unexpected(&other)),
        }
    }

    /// Ends the worker, if it runs.
    pub async fn shutdown(&self) {
        let mut session = self.session.lock().await;
        session.loaded = None;
        *self.live() = Live::default();
        if let Some(process) = session.process.take() {
            process.stop().await;
        }
    }
}

/// Finds the worker's program: given, by `OUTFRAME_ENGINE`, or beside the running program.
fn find_program(given: Option<&Path>) -> Result<PathBuf, EngineError> {
    let name = format!("outframe-engine{}", std::env::consts::EXE_SUFFIX);
    let mut searched = Vec::new();
    if let Some(path) = given {
        searched.push(path.to_path_buf());
    } else if let Some(path) = std::env::var_os("OUTFRAME_ENGINE") {
        searched.push(path.into());
    } else if let Ok(own) = std::env::current_exe() {
        // Test programs lie one folder below the binaries.
        searched.extend(own.ancestors().skip(1).take(2).map(|folder| folder.join(&name)));
    }
    searched.iter().find(|path| path.is_file()).cloned().ok_or(EngineError::NotFound { searched })
}
