//! `outframe-engine`: the worker process that holds the diffusion model.
//!
//! Started by the application, never by a person. Three threads: one reads requests (and so answers status and cancel while a
//! job runs, and ends the process at once when the parent is gone), the main one runs jobs one after the other, and one
//! writes events.

mod controls;
mod memory;

use std::{
    collections::HashSet,
    io::{self, IsTerminal, Read, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Instant, SystemTime},
};

use anyhow::Context as _;
use image::{GrayImage, RgbImage};
use outframe_diffusion as diffusion;
use outframe_engine::{
    Embedding, ErrorKind, Event, FillJob, Frame, FrameError, GenerateJob, Lora, ModelDefaults, ModelInfo, PROTOCOL,
    Picture, Request, Sampling, UpscaleJob, WireError, frame,
};

/// Id that marks "no job runs".
const IDLE: u64 = u64::MAX;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--version" || argument == "-V") {
        println!("outframe-engine {} (protocol {PROTOCOL})", env!("CARGO_PKG_VERSION"));
        return ExitCode::SUCCESS;
    }
    if io::stdin().is_terminal() {
        eprintln!(
            "outframe-engine is started by Outframe and speaks a binary protocol on its standard input; there is nothing to do \
             here by hand. Run `outframe --help` instead."
        );
        return ExitCode::from(2);
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("outframe-engine: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    diffusion::keep_freed_memory();
    let out = protocol_output().context("the standard output could not be set aside for the protocol")?;
    let (events, outgoing) = mpsc::channel::<Frame<Event>>();
    std::thread::Builder::new().name("write".into()).spawn(move || write_events(out, &outgoing))?;

    let shared = Arc::new(Shared { cancelled: Mutex::new(HashSet::new()), running: AtomicU64::new(IDLE) });
    let (jobs, queue) = mpsc::channel::<Frame<Request>>();
    let reader = Reader { shared: Arc::clone(&shared), events: events.clone(), jobs };
    std::thread::Builder::new().name("read".into()).spawn(move || reader.run())?;

    let mut worker = Worker { pipeline: None, upscaler: None, hashes: Vec::new(), shared, events };
    for request in queue {
        worker.serve(request);
    }
    Ok(())
}

/// Takes the real standard output for the protocol and lets file descriptor 1 point to standard error, so that a library
/// that prints cannot corrupt a frame.
#[cfg(unix)]
fn protocol_output() -> io::Result<impl Write + Send + 'static> {
    use std::os::fd::AsFd;
    let real = io::stdout().as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(io::stderr().as_fd())?;
    Ok(std::fs::File::from(real))
}

#[cfg(not(unix))]
fn protocol_output() -> io::Result<impl Write + Send + 'static> {
    Ok(io::stdout())
}

fn write_events(out: impl Write, outgoing: &mpsc::Receiver<Frame<Event>>) {
    let mut out = io::BufWriter::with_capacity(1 << 16, out);
    while let Ok(event) = outgoing.recv() {
        if frame::write(&mut out, &event).is_err() {
            leave();
        }
    }
}

/// Ends the process in the middle of whatever it computes. `exit` would run libtorch's destructors under the compute
/// thread's feet; there is nothing to save here, so the process simply stops.
fn leave() -> ! {
    #[cfg(unix)]
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    std::process::exit(0)
}

/// What the reading and the computing thread share.
struct Shared {
    /// Ids of jobs to stop, running or waiting.
    cancelled: Mutex<HashSet<u64>>,
    /// Id of the running job, or [`IDLE`].
    running: AtomicU64,
}

impl Shared {
    fn cancelled(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reading thread.
struct Reader {
    shared: Arc<Shared>,
    events: mpsc::Sender<Frame<Event>>,
    jobs: mpsc::Sender<Frame<Request>>,
}

impl Reader {
    fn run(self) {
        let mut input = io::BufReader::with_capacity(1 << 16, io::stdin().lock());
        loop {
            match self.next(&mut input) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) | Err(FrameError::Closed) => leave(),
                Err(error) => {
                    eprintln!("outframe-engine: {error}");
                    leave()
                }
            }
        }
    }

    fn next(&self, input: &mut impl Read) -> Result<ControlFlow<()>, FrameError> {
        let request: Frame<Request> = frame::read(input)?;
        let answer = match &request.header {
            Request::Hello { .. } => {
                Event::Hello { protocol: PROTOCOL, version: env!("CARGO_PKG_VERSION").into(), pid: std::process::id() }
            }
            Request::Cancel { id } => {
                self.shared.cancelled().insert(*id);
                return Ok(ControlFlow::Continue(()));
            }
            Request::Status { id } => Event::Status {
                id: *id,
                memory: memory::now(),
                busy: self.shared.running.load(Ordering::Relaxed) != IDLE,
            },
            Request::Shutdown => return Ok(ControlFlow::Break(())),
            Request::Inspect { .. }
            | Request::Load { .. }
            | Request::Generate { .. }
            | Request::Fill { .. }
            | Request::Upscale { .. } => {
                return Ok(if self.jobs.send(request).is_ok() {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                });
            }
        };
        Ok(if self.events.send(Frame::new(answer)).is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        })
    }
}

/// What tells whether the loaded upscaler is the one that is asked for: file, device and precision.
type UpscalerKey = (PathBuf, String, String);

/// What tells that weights are those that were read: see [`diffusion::weights_stamp`].
type Stamp = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// The computing thread.
struct Worker {
    pipeline: Option<diffusion::Pipeline>,
    upscaler: Option<(UpscalerKey, diffusion::Upscaler)>,
    /// Of the models that were loaded, because hashing reads a whole file.
    hashes: Vec<(Stamp, String)>,
    shared: Arc<Shared>,
    events: mpsc::Sender<Frame<Event>>,
}

impl Worker {
    fn send(&self, event: Frame<Event>) {
        // A closed channel means that the writing thread is ending the process.
        let _ = self.events.send(event);
    }

    fn serve(&mut self, request: Frame<Request>) {
        let attachments = request.attachments;
        match request.header {
            Request::Inspect { id, model } => {
                let answer = match diffusion::inspect(&model) {
                    Ok(info) => Event::Inspected { id, info: model_info(&info) },
                    Err(error) => Event::Failed { id, error: wire(&error) },
                };
                self.send(Frame::new(answer));
            }
            Request::Load { id, model, device, precision, threads, vae } => {
                let answer = self.load(id, &model, (&device, &precision), threads, vae);
                self.send(Frame::new(answer.unwrap_or_else(|error| Event::Failed { id, error })));
            }
            Request::Generate { id, mut job } => {
                let size = size(&job.sampling, (job.width, job.height), false);
                let needs = Needs::of(&mut job.sampling, size, attachments);
                self.job(id, Some(&needs), |worker, observe| generate(worker.pipeline()?, job, observe));
            }
            Request::Fill { id, mut job } => {
                let mut attachments = attachments;
                let pictures = attachments.split_off(attachments.len().min(2));
                let size = size(&job.sampling, (job.width, job.height), true);
                let needs = Needs::of(&mut job.sampling, size, pictures);
                self.job(id, Some(&needs), |worker, observe| fill(worker.pipeline()?, job, attachments, observe));
            }
            Request::Upscale { id, model, device, precision, threads, job } => {
                let loaded = self.load_upscaler((model, device, precision), threads);
                self.job(id, None, |worker, observe| {
                    loaded?;
                    upscale(worker.upscaler.as_ref().map(|(_, upscaler)| upscaler), job, attachments, observe)
                });
            }
            Request::Hello { .. } | Request::Cancel { .. } | Request::Status { .. } | Request::Shutdown => {}
        }
        diffusion::give_back_freed_memory();
    }

    fn load(
        &mut self,
        id: u64,
        model: &Path,
        (device, precision): (&str, &str),
        threads: Option<usize>,
        vae: Option<PathBuf>,
    ) -> Result<Event, WireError> {
        // The old model goes first: two models may not fit beside each other.
        self.pipeline = None;
        diffusion::give_back_freed_memory();
        let started = Instant::now();
        let options = diffusion::LoadOptions {
            device: device.parse().map_err(|error| wire(&error))?,
            precision: precision.parse().map_err(|error| wire(&error))?,
            threads,
            free_memory: memory::free(),
            vae,
            ..diffusion::LoadOptions::default()
        };
        let pipeline = diffusion::Pipeline::load(model, &options).map_err(|error| wire(&error))?;
        let event = Event::Loaded {
            id,
            info: model_info(pipeline.info()),
            device: pipeline.device(),
            precision: pipeline.precision().to_string(),
            hash: self.hash(model).map_err(|error| wire(&error))?,
            seconds: started.elapsed().as_secs_f64(),
        };
        self.pipeline = Some(pipeline);
        Ok(event)
    }

    /// The hash of a model's weights, which are read for it only when they are not those that were read before.
    fn hash(&mut self, model: &Path) -> Result<String, diffusion::Error> {
        let stamp = diffusion::weights_stamp(model)?;
        if let Some((_, hash)) = self.hashes.iter().find(|(known, _)| *known == stamp) {
            return Ok(hash.clone());
        }
        let hash = diffusion::weights_hash(model)?;
        self.hashes.push((stamp, hash.clone()));
        Ok(hash)
    }

    fn pipeline(&self) -> Result<&diffusion::Pipeline, WireError> {
        self.pipeline.as_ref().ok_or_else(|| {
            let message = "No model is loaded in the engine.".into();
            WireError { kind: ErrorKind::InvalidRequest, message }
        })
    }

    /// Loads an upscaler unless it is the loaded one.
    fn load_upscaler(&mut self, key: UpscalerKey, threads: Option<usize>) -> Result<(), WireError> {
        if self.upscaler.as_ref().is_some_and(|(loaded, _)| *loaded == key) {
            return Ok(());
        }
        self.upscaler = None;
        let options = diffusion::LoadOptions {
            device: key.1.parse().map_err(|error| wire(&error))?,
            precision: key.2.parse().map_err(|error| wire(&error))?,
            threads,
            ..diffusion::LoadOptions::default()
        };
        let upscaler = diffusion::Upscaler::load(&key.0, &options).map_err(|error| wire(&error))?;
        self.upscaler = Some((key, upscaler));
        Ok(())
    }

    fn job(
        &mut self,
        id: u64,
        needs: Option<&Needs>,
        work: impl FnOnce(&Self, Observe<'_>) -> Result<diffusion::Output, WireError>,
    ) {
        self.shared.running.store(id, Ordering::Relaxed);
        let event = self.run_job(id, needs, work);
        self.shared.running.store(IDLE, Ordering::Relaxed);
        self.shared.cancelled().remove(&id);
        self.send(event);
    }

    fn run_job(
        &mut self,
        id: u64,
        needs: Option<&Needs>,
        work: impl FnOnce(&Self, Observe<'_>) -> Result<diffusion::Output, WireError>,
    ) -> Frame<Event> {
        let mut told = Vec::new();
        if let (Some(needs), Some(pipeline)) = (needs, &mut self.pipeline) {
            // A job that was stopped while it waited must not cost the applying of its LoRAs.
            if self.shared.cancelled().contains(&id) {
                return Frame::new(Event::Cancelled { id });
            }
            told = match needs.apply(pipeline) {
                Ok(told) => told,
                Err(error) => return Frame::new(Event::Failed { id, error: wire(&error) }),
            };
        }
        let worker = &*self;
        let mut stopped = false;
        let result = work(worker, &mut |progress: diffusion::Progress<'_>| {
            if worker.shared.cancelled().contains(&id) {
                stopped = true;
                return ControlFlow::Break(());
            }
            let preview = progress.preview.map(|image| Picture { width: image.width(), height: image.height() });
            let attachments = progress.preview.map(|image| image.as_raw().clone()).into_iter().collect();
            worker.send(Frame::with(
                Event::Progress { id, step: progress.step, steps: progress.steps, preview },
                attachments,
            ));
            ControlFlow::Continue(())
        });
        match result {
            Ok(output) => {
                let picture = Picture { width: output.image.width(), height: output.image.height() };
                let warnings = told.into_iter().chain(output.warnings).collect();
                let event = Event::Done { id, picture, seconds: output.seconds, warnings };
                Frame::with(event, vec![output.image.into_raw()])
            }
            Err(_) if stopped => Frame::new(Event::Cancelled { id }),
            Err(error) => Frame::new(Event::Failed { id, error }),
        }
    }
}

/// What a job needs of the model before it begins.
struct Needs {
    size: diffusion::JobSize,
    loras: Vec<diffusion::Lora>,
    embeddings: Vec<diffusion::Embedding>,
    /// Or why they cannot be used.
    controls: Result<Vec<diffusion::Control>, String>,
}

impl Needs {
    /// Takes them out of a job; `pictures` are those of its controls.
    fn of(sampling: &mut Sampling, size: diffusion::JobSize, pictures: Vec<Vec<u8>>) -> Self {
        let controls = controls::with_pictures(std::mem::take(&mut sampling.controls), pictures);
        let loras = std::mem::take(&mut sampling.loras);
        let embeddings = std::mem::take(&mut sampling.embeddings);
        Self {
            size,
            controls,
            loras: loras.into_iter().map(|Lora { path, weight }| diffusion::Lora { path, weight }).collect(),
            embeddings: embeddings
                .into_iter()
                .map(|Embedding { path, word }| diffusion::Embedding { path, word })
                .collect(),
        }
    }

    /// Puts exactly these adapters in force, and decides how the job is carried out in the memory that is free; tells what a
    /// person should know.
    fn apply(&self, pipeline: &mut diffusion::Pipeline) -> Result<Vec<String>, diffusion::Error> {
        match &self.controls {
            Ok(controls) => pipeline.set_controls(controls)?,
            Err(why) => return Err(diffusion::Error::Request(why.clone())),
        }
        pipeline.set_embeddings(&self.embeddings)?;
        let mut told = pipeline.set_loras(&self.loras)?;
        if let Some(free) = memory::free() {
            let economies = pipeline.plan(self.size, free)?.economies;
            if economies.one_by_one || economies.text_released {
                told.push(format!(
                    "Little memory was free, so this was painted more slowly ({economies}). Closing other programs helps."
                ));
            }
        }
        Ok(told)
    }
}

/// What the memory of a job depends on.
fn size(sampling: &Sampling, (width, height): (u32, u32), fill: bool) -> diffusion::JobSize {
    diffusion::JobSize { width, height, guided: (sampling.guidance - 1.0).abs() > 1e-9, fill }
}

type Observe<'a> = &'a mut dyn FnMut(diffusion::Progress<'_>) -> ControlFlow<()>;

fn sampling(from: Sampling) -> diffusion::Sampling {
    diffusion::Sampling {
        prompt: from.prompt,
        negative: from.negative,
        steps: from.steps,
        guidance: from.guidance,
        sampler: from.sampler,
        seed: from.seed,
        preview: from.preview,
        clip_skip: from.clip_skip,
        guidance_rescale: from.guidance_rescale,
    }
}

fn generate(
    pipeline: &diffusion::Pipeline,
    job: GenerateJob,
    observe: Observe<'_>,
) -> Result<diffusion::Output, WireError> {
    let take = job.sampling.take;
    let request = diffusion::Generate { sampling: sampling(job.sampling), width: job.width, height: job.height, take };
    pipeline.generate(&request, observe).map_err(|error| wire(&error))
}

fn fill(
    pipeline: &diffusion::Pipeline,
    job: FillJob,
    attachments: Vec<Vec<u8>>,
    observe: Observe<'_>,
) -> Result<diffusion::Output, WireError> {
    let invalid = |message: String| WireError { kind: ErrorKind::InvalidRequest, message };
    let size = Picture { width: job.width, height: job.height };
    let Ok([image, mask]) = <[Vec<u8>; 2]>::try_from(attachments) else {
        return Err(invalid("A fill needs two attachments, the picture and the mask.".into()));
    };
    size.check(&image, 3).map_err(|error| invalid(error.to_string()))?;
    size.check(&mask, 1).map_err(|error| invalid(error.to_string()))?;
    let (Some(image), Some(mask)) =
        (RgbImage::from_raw(job.width, job.height, image), GrayImage::from_raw(job.width, job.height, mask))
    else {
        return Err(invalid("The picture or the mask of a fill has a wrong size.".into()));
    };
    let take = job.sampling.take;
    let request = diffusion::Fill {
        sampling: sampling(job.sampling),
        image,
        mask,
        strength: job.strength,
        walk: diffusion::Walk::default(),
        take,
    };
    pipeline.fill(&request, observe).map_err(|error| wire(&error))
}

fn upscale(
    upscaler: Option<&diffusion::Upscaler>,
    job: UpscaleJob,
    attachments: Vec<Vec<u8>>,
    observe: Observe<'_>,
) -> Result<diffusion::Output, WireError> {
    let invalid = |message: String| WireError { kind: ErrorKind::InvalidRequest, message };
    let Ok([image]) = <[Vec<u8>; 1]>::try_from(attachments) else {
        return Err(invalid("An upscaling needs one attachment, the picture.".into()));
    };
    Picture { width: job.width, height: job.height }.check(&image, 3).map_err(|error| invalid(error.to_string()))?;
    let image = RgbImage::from_raw(job.width, job.height, image)
        .ok_or_else(|| invalid("The picture to be upscaled has a wrong size.".into()))?;
    let upscaler = upscaler.ok_or_else(|| invalid("No upscaler is loaded in the engine.".into()))?;
    upscaler.upscale(&image, job.factor, observe).map_err(|error| wire(&error))
}

fn model_info(info: &diffusion::ModelInfo) -> ModelInfo {
    ModelInfo {
        name: info.name.clone(),
        family: info.family.clone(),
        in_channels: info.in_channels,
        latent_channels: info.latent_channels,
        vae_factor: info.vae_factor,
        native_size: info.native_size,
        // The UNet takes any whole number of latents.
        size_multiple: u32::try_from(info.vae_factor).unwrap_or(8),
        prediction: info.prediction.clone(),
        text_encoder: info.text_encoder.clone(),
        token_limit: info.token_limit,
        weight_bytes: info.weight_bytes,
        defaults: ModelDefaults {
            sampler: info.defaults.sampler.clone(),
            steps: info.defaults.steps,
            guidance: info.defaults.guidance,
            fill_guidance: info.defaults.fill_guidance,
            fill_strength: info.defaults.fill_strength,
        },
    }
}

/// A library error as it travels: its text already says what happened and what to do.
fn wire(error: &diffusion::Error) -> WireError {
    use diffusion::Error;
    let kind = match error {
        Error::Request(_) | Error::Unknown { .. } => ErrorKind::InvalidRequest,
        Error::Device { .. } => ErrorKind::Device,
        Error::OutOfMemory { .. } | Error::TooLarge { .. } => ErrorKind::OutOfMemory,
        Error::Torch { .. } | Error::Internal { .. } | Error::Cancelled => ErrorKind::Internal,
        _ => ErrorKind::Model,
    };
    WireError { kind, message: error.to_string() }
}
