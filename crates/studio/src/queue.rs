//! The job queue: what computes for more than a moment, in order, with progress, previews, time left and cancel.
//!
//! Jobs that need the engine run one after the other; others, such as films, run beside them. The queue knows nothing of
//! projects and windows: a job is a future that is handed a [`JobControl`], and whoever shows jobs waits for
//! [`changes`](Queue::changes) and reads [`jobs`](Queue::jobs).

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::Future,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use image::RgbImage;
use outframe_document::{GenerationId, Rect};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
};
use tokio_util::sync::CancellationToken;

use crate::{Event, StudioError, engine::JobEvent};

/// The share of a job's progress that loading the model takes.
const LOADING: f64 = 0.05;
/// What is left after the last step: decoding and storing.
const STORING: f64 = 0.03;
/// How many finished jobs are remembered.
const REMEMBERED: usize = 50;
/// Steps that must have been measured before a time is foretold.
const MEASURED: u64 = 2;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobKind {
    /// Text to image.
    Generate,
    /// Extends the frame.
    Extend,
    /// Extends the frame on all sides.
    ZoomOut,
    /// Extends the frame to other proportions.
    Reframe,
    /// Paints a region anew.
    Vary,
    /// Paints what a shot lacks.
    Cover,
    /// Makes a larger picture.
    Upscale,
    /// Renders and encodes a film.
    Film,
    /// Writes a picture.
    Export,
    /// Reads pictures.
    Import,
    /// Copies a model into the library.
    Copy,
    /// Downloads a model into the library.
    Download,
}

impl JobKind {
    /// Whether it needs the engine, of which there is one.
    pub const fn needs_engine(self) -> bool {
        !matches!(self, Self::Film | Self::Export | Self::Import | Self::Copy | Self::Download)
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum JobState {
    /// Waits for its turn.
    Queued,
    /// Computes.
    Running,
    /// Finished; its result is where it belongs.
    Done,
    /// Failed; [`JobStatus::error`] says why.
    Failed,
    /// Stopped by the person.
    Cancelled,
}

impl JobState {
    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// A job to be done.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// What it does.
    pub kind: JobKind,
    /// For people, the prompt for instance.
    pub label: String,
    /// Whose it is: jobs of one owner can be cancelled together.
    pub owner: String,
    /// What will be painted.
    pub region: Option<Rect>,
}

/// How far one take or fill of a job is.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPreview {
    /// Which, from 0.
    pub index: usize,
    /// What the picture shows, in canvas pixels; none where that is the job's whole region.
    pub rect: Option<Rect>,
    /// Grows with each new picture; 0 while there is none.
    pub version: u32,
    /// 0 to 1.
    pub progress: f64,
    /// Whether it is finished.
    pub done: bool,
}

/// A job as people see it.
#[derive(Debug, Clone, PartialEq)]
pub struct JobStatus {
    /// Its number; later jobs have greater ones.
    pub id: u64,
    /// What it does.
    pub kind: JobKind,
    /// For people.
    pub label: String,
    /// Whose it is.
    pub owner: String,
    /// How far it is.
    pub state: JobState,
    /// 0 to 1, never less than before unless the engine had to be restarted.
    pub progress: f64,
    /// What happens now, in words.
    pub stage: String,
    /// Foretold from what was measured; none before that.
    pub seconds_left: Option<f64>,
    /// Seconds since it began to run, or that it ran.
    pub seconds: f64,
    /// What will be painted.
    pub region: Option<Rect>,
    /// One for each take or fill begun so far.
    pub previews: Vec<JobPreview>,
    /// Why it failed, or was cancelled by something else than the person.
    pub error: Option<String>,
    /// The file that it wrote.
    pub output: Option<PathBuf>,
    /// The generation that it made.
    pub generation: Option<GenerationId>,
    /// What the person should know.
    pub warnings: Vec<String>,
}

/// What a job that succeeded leaves.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The file that it wrote.
    pub output: Option<PathBuf>,
    /// The generation that it made.
    pub generation: Option<GenerationId>,
    /// What the person should know.
    pub warnings: Vec<String>,
}

/// Why a job did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// It was told to stop.
    #[error("The job was cancelled.")]
    Cancelled,
    /// Something else, in words for people.
    #[error("{0}")]
    Failed(String),
}

impl From<StudioError> for JobError {
    fn from(error: StudioError) -> Self {
        if error.is_cancelled() { Self::Cancelled } else { Self::Failed(error.to_string()) }
    }
}

impl From<outframe_document::Error> for JobError {
    fn from(error: outframe_document::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// The queue. Clones are the same queue.
#[derive(Debug, Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    runtime: Handle,
    /// One permit: the engine.
    engine: Semaphore,
    table: Mutex<Table>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    jobs: BTreeMap<u64, Job>,
    /// Seconds a step took lately, by model.
    pace: HashMap<String, f64>,
}

#[derive(Debug)]
struct Job {
    status: JobStatus,
    cancel: CancellationToken,
    started: Option<Instant>,
    pictures: Vec<Option<Arc<RgbImage>>>,
    steps: Steps,
    /// When bytes were first told of, and how many there were then.
    bytes: Option<(Instant, u64)>,
}

/// What has been counted and measured of a job.
#[derive(Debug, Default)]
struct Steps {
    model: Option<String>,
    /// When the first step was done, and how many steps had been done then.
    first: Option<Instant>,
    /// Steps done after the first.
    counted: u64,
    /// Takes that the job has, and fills that each has, where that is known.
    takes: Option<(usize, usize)>,
}

impl Queue {
    /// A queue that runs its jobs on this runtime.
    pub fn new(runtime: Handle) -> Self {
        let (version, _) = watch::channel(0);
        let table = Mutex::new(Table { next: 1, ..Table::default() });
        Self { shared: Arc::new(Shared { runtime, engine: Semaphore::new(1), table, version }) }
    }

    /// Adds a job; `work` starts when it is its turn. Returns the job's number.
    pub fn submit<Work, Running>(&self, request: JobRequest, work: Work) -> u64
    where
        Work: FnOnce(JobControl) -> Running + Send + 'static,
        Running: Future<Output = Result<Outcome, JobError>> + Send + 'static,
    {
        let cancel = CancellationToken::new();
        let needs_engine = request.kind.needs_engine();
        let id = self.shared.change(|table| {
            let id = table.next;
            table.next += 1;
            let stage = if needs_engine { "Waiting" } else { "Starting" };
            let status = JobStatus {
                id,
                kind: request.kind,
                label: request.label,
                owner: request.owner,
                state: JobState::Queued,
                progress: 0.0,
                stage: stage.into(),
                seconds_left: None,
                seconds: 0.0,
                region: request.region,
                previews: Vec::new(),
                error: None,
                output: None,
                generation: None,
                warnings: Vec::new(),
            };
            let job = Job {
                status,
                cancel: cancel.clone(),
                started: None,
                pictures: Vec::new(),
                steps: Steps::default(),
                bytes: None,
            };
            table.jobs.insert(id, job);
            table.forget_old();
            id
        });
        let shared = Arc::clone(&self.shared);
        self.shared.runtime.spawn(async move {
            let control = JobControl { shared: Arc::clone(&shared), id, cancel: cancel.clone() };
            let permit = if needs_engine {
                tokio::select! {
                    biased;
                    () = cancel.cancelled() => None,
                    permit = shared.engine.acquire() => permit.ok(),
                }
            } else {
                None
            };
            if cancel.is_cancelled() {
                return shared.finish(id, Err(JobError::Cancelled));
            }
            shared.change_job(id, |job| {
                job.status.state = JobState::Running;
                job.started = Some(Instant::now());
            });
            // A task of its own, so that a panic ends the job and not the queue.
            let result = match tokio::spawn(work(control)).await {
                Ok(result) => result,
                Err(_) => Err(JobError::Failed(
                    "The job stopped because of a mistake in Outframe. The project is as it was before; try again."
                        .into(),
                )),
            };
            let result = match result {
                Err(_) if cancel.is_cancelled() => Err(JobError::Cancelled),
                other => other,
            };
            drop(permit);
            shared.finish(id, result);
        });
        id
    }

    /// Tells a job to stop: at once when it waits, else within about one step. False when there is nothing to stop.
    pub fn cancel(&self, id: u64) -> bool {
        let mut found = false;
        self.shared.change_job(id, |job| {
            found = !job.status.state.is_final();
            if found {
                job.stop();
            }
        });
        found
    }

    /// Tells all jobs of an owner to stop, and says why in their state.
    pub fn cancel_owner(&self, owner: &str, reason: &str) {
        self.shared.change(|table| {
            for job in table.jobs.values_mut() {
                if job.status.owner == owner && !job.status.state.is_final() {
                    job.status.error = Some(reason.into());
                    job.stop();
                }
            }
        });
    }

    /// Waits until no job of this owner is left unfinished.
    pub async fn drained(&self, owner: &str) {
        let mut changes = self.changes();
        while self.unfinished(owner) > 0 {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// How many jobs of this owner are not finished.
    pub fn unfinished(&self, owner: &str) -> usize {
        let table = self.shared.table();
        table.jobs.values().filter(|job| job.status.owner == owner && !job.status.state.is_final()).count()
    }

    /// Forgets finished jobs.
    pub fn clear_finished(&self) {
        self.shared.change(|table| table.jobs.retain(|_, job| !job.status.state.is_final()));
    }

    /// All jobs, in the order in which they came.
    pub fn jobs(&self) -> Vec<JobStatus> {
        self.shared.table().jobs.values().map(Job::status).collect()
    }

    /// One job.
    pub fn job(&self, id: u64) -> Option<JobStatus> {
        self.shared.table().jobs.get(&id).map(Job::status)
    }

    /// The newest picture of a take or fill of a job.
    pub fn preview(&self, id: u64, index: usize) -> Option<Arc<RgbImage>> {
        self.shared.table().jobs.get(&id)?.pictures.get(index)?.clone()
    }

    /// Seconds that a step took lately with a model; none before one was measured.
    pub fn step_seconds(&self, model: &str) -> Option<f64> {
        self.shared.table().pace.get(model).copied()
    }

    /// Changes whenever a job does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }
}

impl Table {
    fn forget_old(&mut self) {
        let finished: Vec<u64> =
            self.jobs.iter().filter(|(_, job)| job.status.state.is_final()).map(|(id, _)| *id).collect();
        for id in finished.iter().take(finished.len().saturating_sub(REMEMBERED)) {
            self.jobs.remove(id);
        }
    }
}

impl Shared {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, work: impl FnOnce(&mut Table) -> T) -> T {
        let value = work(&mut self.table());
        self.version.send_modify(|version| *version += 1);
        value
    }

    fn change_job(&self, id: u64, work: impl FnOnce(&mut Job)) {
        self.change(|table| {
            if let Some(job) = table.jobs.get_mut(&id) {
                work(job);
            }
        });
    }

    fn finish(&self, id: u64, result: Result<Outcome, JobError>) {
        self.change(|table| {
            let Some(job) = table.jobs.get_mut(&id) else { return };
            let status = &mut job.status;
            status.seconds = job.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
            status.seconds_left = None;
            match result {
                Ok(outcome) => {
                    status.state = JobState::Done;
                    status.progress = 1.0;
                    status.stage = "Done".into();
                    status.error = None;
                    status.output = outcome.output;
                    status.generation = outcome.generation;
                    status.warnings.extend(outcome.warnings);
                    for preview in &mut status.previews {
                        (preview.progress, preview.done) = (1.0, true);
                    }
                }
                Err(JobError::Cancelled) => {
                    status.state = JobState::Cancelled;
                    status.stage = "Cancelled".into();
                }
                Err(JobError::Failed(why)) => {
                    status.state = JobState::Failed;
                    status.stage = "Failed".into();
                    status.error = Some(why);
                }
            }
        });
    }
}

impl Job {
    fn stop(&mut self) {
        if self.status.state == JobState::Running {
            self.status.stage = "Cancelling".into();
        }
        self.status.seconds_left = None;
        self.cancel.cancel();
    }

    fn status(&self) -> JobStatus {
        let mut status = self.status.clone();
        if !status.state.is_final() {
            status.seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64());
        }
        status
    }

    /// Makes sure that there is a preview of this index; those before it are finished.
    fn reach(&mut self, index: usize) {
        while self.status.previews.len() <= index {
            let next = self.status.previews.len();
            self.status.previews.push(JobPreview { index: next, rect: None, version: 0, progress: 0.0, done: false });
            self.pictures.push(None);
        }
        for preview in &mut self.status.previews[..index] {
            (preview.progress, preview.done) = (1.0, true);
        }
    }

    fn step(&mut self, index: usize, count: usize, step: u32, steps: u32, preview: Option<RgbImage>) {
        self.reach(index);
        let entry = &mut self.status.previews[index];
        entry.progress = f64::from(step) / f64::from(steps.max(1));
        if let Some(preview) = preview {
            entry.version += 1;
            self.pictures[index] = Some(Arc::new(preview));
        }
        let (pieces, each) = (count.max(1) as u64, u64::from(steps.max(1)));
        let done = index as u64 * each + u64::from(step);
        let all = pieces * each;
        match self.steps.first {
            // The first step is not counted: it comes after encoding the prompt and the picture.
            None => self.steps.first = Some(Instant::now()),
            Some(_) => self.steps.counted += 1,
        }
        let share = done as f64 / all as f64;
        self.status.progress = (LOADING + share * (1.0 - LOADING - STORING)).min(1.0);
        if !self.cancel.is_cancelled() {
            self.status.seconds_left = self.step_seconds().map(|pace| pace * all.saturating_sub(done) as f64);
            let (takes, fills) = self.steps.takes.unwrap_or((1, count));
            let mut stage = String::new();
            if takes > 1 {
                stage += &format!("Take {} of {takes} · ", index / fills.max(1) + 1);
            }
            if fills > 1 {
                stage += &format!("Fill {} of {fills} · ", index % fills + 1);
            }
            stage += &format!("step {step} of {steps}");
            // A sentence begins with a capital.
            self.status.stage = if takes > 1 || fills > 1 { stage } else { format!("Step {step} of {steps}") };
        }
    }

    fn pictures(&mut self, done: u64, all: u64) {
        self.status.progress = done as f64 / all.max(1) as f64;
        if self.cancel.is_cancelled() {
            return;
        }
        self.status.stage = format!("Picture {done} of {all}");
        let spent = self.started.filter(|_| done >= MEASURED).map(|started| started.elapsed().as_secs_f64());
        self.status.seconds_left = spent.map(|spent| spent / done as f64 * all.saturating_sub(done) as f64);
    }

    fn bytes(&mut self, done: u64, all: u64) {
        const MEGA: u64 = 1_000_000;
        self.status.progress = done as f64 / all.max(1) as f64;
        if self.cancel.is_cancelled() {
            return;
        }
        self.status.stage = format!("{} of {} MB", done / MEGA, all.div_ceil(MEGA));
        // What was there before the job began says nothing of the pace.
        let (begun, before) = *self.bytes.get_or_insert((Instant::now(), done));
        let (spent, moved) = (begun.elapsed().as_secs_f64(), done.saturating_sub(before));
        self.status.seconds_left =
            (spent > 1.0 && moved > 0).then(|| spent / moved as f64 * all.saturating_sub(done) as f64);
    }

    fn step_seconds(&self) -> Option<f64> {
        let first = self.steps.first?;
        let counted = self.steps.counted;
        (counted >= MEASURED).then(|| first.elapsed().as_secs_f64() / counted as f64)
    }
}

/// What a running job tells the queue, and hears from it.
#[derive(Clone)]
pub struct JobControl {
    shared: Arc<Shared>,
    id: u64,
    cancel: CancellationToken,
}

impl fmt::Debug for JobControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobControl").field("id", &self.id).finish_non_exhaustive()
    }
}

impl JobControl {
    /// The job's number.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Cancelled when the job shall stop.
    pub const fn cancel(&self) -> &CancellationToken {
        &self.cancel
    }

    /// Takes note of what a use-case tells.
    pub fn observe(&self, event: Event) {
        self.shared.change(|table| {
            let Some(job) = table.jobs.get_mut(&self.id) else { return };
            match event {
                Event::Loading { model } => {
                    job.status.stage = format!("Loading {model}");
                    job.steps.model = Some(model);
                }
                Event::Loaded(_) => {
                    job.status.progress = job.status.progress.max(LOADING);
                    job.status.stage = "Preparing".into();
                }
                Event::Place { index, rect } => {
                    job.reach(index);
                    job.status.previews[index].rect = Some(rect);
                }
                Event::Job { index, count, event: JobEvent::Step { step, steps, preview } } => {
                    job.step(index, count, step, steps, preview);
                    if let (Some(model), Some(pace)) = (job.steps.model.clone(), job.step_seconds()) {
                        table.pace.insert(model, pace);
                    }
                }
                Event::Job { event: JobEvent::Restarted { reason }, .. } => {
                    job.status.warnings.push(format!("{reason} It was started again, and the work with it."));
                    job.status.stage = "Starting the engine again".into();
                    job.status.seconds_left = None;
                    (job.steps.first, job.steps.counted) = (None, 0);
                }
                Event::Export { done, count } => job.status.progress = f64::from(done) / f64::from(count.max(1)),
                Event::Tiles { done, count } => job.status.progress = done as f64 / count.max(1) as f64,
                Event::Film { done, count } => job.pictures(u64::from(done), u64::from(count)),
                Event::Warning(warning) => {
                    if !job.status.warnings.contains(&warning) {
                        job.status.warnings.push(warning);
                    }
                }
            }
        });
    }

    /// Says how many takes the job makes, and in how many fills each.
    pub fn pieces(&self, takes: usize, fills: usize) {
        self.shared.change_job(self.id, |job| job.steps.takes = Some((takes, fills.max(1))));
    }

    /// Says how many bytes of a file are there, and how many it has.
    pub fn bytes(&self, done: u64, all: u64) {
        self.shared.change_job(self.id, |job| job.bytes(done, all));
    }

    /// Says what happens now.
    pub fn stage(&self, stage: &str) {
        self.shared.change_job(self.id, |job| {
            if !job.cancel.is_cancelled() {
                job.status.stage = stage.into();
            }
        });
    }

    /// Says what will be painted, once that is known.
    pub fn region(&self, region: Rect) {
        self.shared.change_job(self.id, |job| job.status.region = Some(region));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::{Notify, oneshot};

    use super::*;

    fn request(kind: JobKind, owner: &str) -> JobRequest {
        JobRequest { kind, label: "test".into(), owner: owner.into(), region: None }
    }

    async fn until(queue: &Queue, what: impl Fn(&[JobStatus]) -> bool) -> Vec<JobStatus> {
        let mut changes = queue.changes();
        let waited = tokio::time::timeout(Duration::from_secs(10), async {
            loop {
                let jobs = queue.jobs();
                if what(&jobs) {
                    return jobs;
                }
                changes.changed().await.unwrap();
            }
        });
        waited.await.expect("the jobs do not get there")
    }

    fn states(jobs: &[JobStatus]) -> Vec<JobState> {
        jobs.iter().map(|job| job.state).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn engine_jobs_run_in_order_and_films_beside_them() {
        let queue = Queue::new(Handle::current());
        let order = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Notify::new());
        for (name, kind) in [("a", JobKind::Generate), ("b", JobKind::Extend), ("film", JobKind::Film)] {
            let (order, gate) = (Arc::clone(&order), Arc::clone(&gate));
            queue.submit(request(kind, "p"), async move |_| {
                order.lock().unwrap().push(name);
                if name == "a" {
                    gate.notified().await;
                }
                Ok(Outcome::default())
            });
        }
        let jobs = until(&queue, |jobs| jobs[2].state == JobState::Done && jobs[0].state == JobState::Running).await;
        assert_eq!(states(&jobs), [JobState::Running, JobState::Queued, JobState::Done]);
        gate.notify_one();
        let jobs = until(&queue, |jobs| jobs.iter().all(|job| job.state.is_final())).await;
        assert_eq!(states(&jobs), [JobState::Done; 3]);
        let order = order.lock().unwrap();
        let place = |name| order.iter().position(|found| *found == name).unwrap();
        assert!(place("a") < place("b"));
        queue.clear_finished();
        assert!(queue.jobs().is_empty());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_waiting_job_is_cancelled_at_once_and_a_running_one_by_its_token() {
        let queue = Queue::new(Handle::current());
        let (begun, begins) = oneshot::channel();
        let running = queue.submit(request(JobKind::Generate, "p"), async move |control| {
            begun.send(()).unwrap();
            control.cancel().cancelled().await;
            Err(JobError::Failed("stopped in the middle".into()))
        });
        let waiting = queue.submit(request(JobKind::Generate, "p"), async |_| panic!("a cancelled job must not begin"));
        begins.await.unwrap();
        assert!(queue.cancel(waiting));
        until(&queue, |jobs| jobs[1].state == JobState::Cancelled).await;
        assert_eq!(queue.job(running).unwrap().state, JobState::Running);
        assert!(queue.cancel(running));
        let jobs = until(&queue, |jobs| jobs[0].state.is_final()).await;
        assert_eq!(states(&jobs), [JobState::Cancelled; 2]);
        assert!(!queue.cancel(running) && !queue.cancel(99));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_owner_that_goes_takes_its_jobs_with_it() {
        let queue = Queue::new(Handle::current());
        for owner in ["closed", "closed", "open"] {
            queue.submit(request(JobKind::Film, owner), async |control: JobControl| {
                control.cancel().cancelled().await;
                Err(JobError::Cancelled)
            });
        }
        queue.cancel_owner("closed", "Its project was closed.");
        tokio::time::timeout(Duration::from_secs(10), queue.drained("closed")).await.unwrap();
        let jobs = queue.jobs();
        assert!(jobs[..2].iter().all(|job| job.state == JobState::Cancelled && job.error.is_some()));
        assert!(!jobs[2].state.is_final());
        assert_eq!(queue.unfinished("open"), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_mistake_in_a_job_does_not_stop_the_queue() {
        let queue = Queue::new(Handle::current());
        queue.submit(request(JobKind::Generate, "p"), async |_| panic!("on purpose"));
        queue.submit(request(JobKind::Generate, "p"), async |_| {
            Ok(Outcome { output: Some("film.mp4".into()), ..Outcome::default() })
        });
        let jobs = until(&queue, |jobs| jobs.iter().all(|job| job.state.is_final())).await;
        assert_eq!(states(&jobs), [JobState::Failed, JobState::Done]);
        assert!(jobs[0].error.is_some());
        assert_eq!(jobs[1].output.as_deref(), Some("film.mp4".as_ref()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn bytes_are_progress_and_what_was_there_before_is_no_pace() {
        let queue = Queue::new(Handle::current());
        let id = queue.submit(request(JobKind::Download, "library"), async |control: JobControl| {
            control.bytes(60_000_000, 100_000_001);
            tokio::time::sleep(Duration::from_millis(1100)).await;
            control.bytes(80_000_000, 100_000_001);
            control.cancel().cancelled().await;
            control.bytes(90_000_000, 100_000_001);
            Err(JobError::Cancelled)
        });
        let jobs = until(&queue, |jobs| jobs[0].progress > 0.0).await;
        assert_eq!((jobs[0].stage.as_str(), jobs[0].seconds_left), ("60 of 101 MB", None));
        let jobs = until(&queue, |jobs| jobs[0].seconds_left.is_some()).await;
        // 20 MB a second or a little more, and 20 MB are missing.
        assert!((1.0..3.0).contains(&jobs[0].seconds_left.unwrap()), "{:?}", jobs[0].seconds_left);
        queue.cancel(id);
        let jobs = until(&queue, |jobs| jobs[0].state == JobState::Cancelled).await;
        assert_eq!(jobs[0].stage, "Cancelled");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn progress_goes_over_all_takes_and_time_is_foretold_once_measured() {
        let queue = Queue::new(Handle::current());
        let step = |index, step| Event::Job {
            index,
            count: 2,
            event: JobEvent::Step { step, steps: 4, preview: Some(RgbImage::new(2, 2)) },
        };
        let (go, gone) = oneshot::channel::<()>();
        let id = queue.submit(request(JobKind::Generate, "p"), async move |control| {
            control.pieces(2, 1);
            control.observe(Event::Loading { model: "starter".into() });
            control.observe(step(0, 1));
            gone.await.unwrap();
            for number in 2..=4 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                control.observe(step(0, number));
            }
            control.observe(step(1, 1));
            control.cancel().cancelled().await;
            Err(JobError::Cancelled)
        });
        let jobs = until(&queue, |jobs| !jobs[0].previews.is_empty()).await;
        assert_eq!(jobs[0].stage, "Take 1 of 2 · step 1 of 4");
        assert_eq!(jobs[0].seconds_left, None, "nothing was measured yet");
        assert!(queue.step_seconds("starter").is_none());
        go.send(()).unwrap();
        let jobs = until(&queue, |jobs| jobs[0].previews.len() == 2).await;
        let job = &jobs[0];
        let share = (job.progress - LOADING) / (1.0 - LOADING - STORING);
        assert!((share - 5.0 / 8.0).abs() < 1e-9, "{}", job.progress);
        assert!(job.previews[0].done && job.previews[0].version == 4 && !job.previews[1].done);
        let left = job.seconds_left.unwrap();
        let pace = queue.step_seconds("starter").unwrap();
        assert!(pace >= 0.014 && (left - 3.0 * pace).abs() < 1e-3 * left.max(1.0), "{left} {pace}");
        assert_eq!(queue.preview(id, 1).unwrap().dimensions(), (2, 2));
        assert!(queue.preview(id, 2).is_none());
        queue.cancel(id);
        until(&queue, |jobs| jobs[0].state == JobState::Cancelled).await;
    }
}
