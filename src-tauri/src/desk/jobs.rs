//! Work for the queue: painting by the engine, exports, films.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use outframe_document::{GenerationId, Project, Rect, ShotId};
use outframe_studio::{
    CoverRequest, EmbeddingChoice, Event, ExportOptions, ExtendRequest, FillPlan, GenerateRequest, LoraChoice, Outline,
    ReadyModel, ReframeRequest, Region, RegionPart, Settings, Shape, StudioError, Tuning, UpscaleMode, UpscalePlan,
    UpscaleRequest, VaryRequest, ZoomOutRequest,
    fill::{ModelSize, Side, plan_extension},
    film::{FilmOptions, Format, ShotFilm, export_film, ffmpeg},
    queue::{JobControl, JobError, JobKind, JobRequest, Outcome},
};

use super::{Desk, DeskEvent, Open, lock, picture_rect};
use crate::{
    api::{
        self, CommandError, ExportInput, ExtendInput, ExtendPlan, FilmInput, GenerateInput, JobView, ReframeInput,
        UpscaleInput, VaryInput, ZoomOutInput,
    },
    error::Answer,
    views::{self, id},
};

/// Jobs are told at most so often.
const PACE: Duration = Duration::from_millis(100);

/// Whether ffmpeg is there, which is looked for once.
pub(crate) fn has_ffmpeg() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| ffmpeg().is_some())
}

impl Desk {
    pub(crate) fn jobs(&self) -> Vec<JobView> {
        self.inner.queue.jobs().into_iter().map(views::job).collect()
    }

    pub(crate) fn cancel_job(&self, job: u64) {
        self.inner.queue.cancel(job);
    }

    pub(crate) fn clear_jobs(&self) {
        self.inner.queue.clear_finished();
    }

    /// Tells of jobs when they change, the last state always.
    pub(super) fn tell_jobs(&self) {
        let inner = Arc::downgrade(&self.inner);
        let mut changes = self.inner.queue.changes();
        self.inner.runtime.spawn(async move {
            while changes.changed().await.is_ok() {
                let Some(inner) = inner.upgrade() else { return };
                let desk = Self { inner };
                desk.tell(DeskEvent::Jobs(desk.jobs()));
                drop(desk);
                tokio::time::sleep(PACE).await;
            }
        });
    }

    pub(crate) fn generate(&self, input: GenerateInput) -> Answer<u64> {
        let open = self.writable()?;
        let controls = self.controls(&input.settings.controls, None)?;
        let request = GenerateRequest {
            prompt: input.prompt,
            settings: Settings { controls, ..settings(input.settings)? },
            size: match (input.width, input.height) {
                (Some(width), Some(height)) => Some((width, height)),
                (None, None) => None,
                _ => return Err(CommandError::invalid("Give both width and height, or neither.")),
            },
            takes: input.takes,
        };
        let corner = open.document().frames.first().map_or((0, 0), |frame| (frame.rect.x, frame.rect.y));
        let region = request.size.map(|(width, height)| Rect::new(corner.0, corner.1, width, height));
        let label = label(&request.prompt, "Generate");
        let takes = request.takes as usize;
        Ok(self.submit(&open, JobKind::Generate, label, region, async move |desk: Desk, open, control: JobControl| {
            control.pieces(takes, 1);
            let mut observe = |event| {
                // Without a size it is the model's, which is known now.
                if let Event::Loaded(model) = &event
                    && region.is_none()
                {
                    let side = model.info.native_size;
                    control.region(Rect::new(corner.0, corner.1, side, side));
                }
                desk.observe(&control, event);
            };
            let painting = desk.inner.studio.generate(&request, &mut observe, control.cancel()).await?;
            control.stage("Placing");
            desk.place(&open, move |project| painting.place(project).map(drop)).await
        }))
    }

    pub(crate) fn extend(&self, input: ExtendInput) -> Answer<u64> {
        let chosen = input.settings.controls.clone();
        let mut request = extend_request(input)?;
        let label = label(request.prompt.as_deref().unwrap_or_default(), "Extend");
        let outline = self.outlined(|project| request.outline(project))?;
        request.settings.controls = self.controls(&chosen, Some(&outline))?;
        let region = painted(&outline);
        self.paint(JobKind::Extend, label, region, request.settings.clone(), move |project, model| {
            FillPlan::extend(project, &request, model)
        })
    }

    pub(crate) fn zoom_out(&self, input: ZoomOutInput) -> Answer<u64> {
        let chosen = input.settings.controls.clone();
        let mut request = ZoomOutRequest {
            factor: input.factor,
            prompt: input.prompt,
            settings: settings(input.settings)?,
            strength: None,
            takes: input.takes,
        };
        let label = label(request.prompt.as_deref().unwrap_or_default(), "Zoom out");
        let outline = self.outlined(|project| request.outline(project))?;
        request.settings.controls = self.controls(&chosen, Some(&outline))?;
        let region = painted(&outline);
        self.paint(JobKind::ZoomOut, label, region, request.settings.clone(), move |project, model| {
            FillPlan::zoom_out(project, &request, model)
        })
    }

    pub(crate) fn reframe(&self, input: ReframeInput) -> Answer<u64> {
        let chosen = input.settings.controls.clone();
        let mut request = ReframeRequest {
            aspect: (input.aspect_width, input.aspect_height),
            prompt: input.prompt,
            settings: settings(input.settings)?,
            strength: None,
            takes: input.takes,
        };
        let label = label(request.prompt.as_deref().unwrap_or_default(), "Reframe");
        let outline = self.outlined(|project| request.outline(project))?;
        request.settings.controls = self.controls(&chosen, Some(&outline))?;
        let region = painted(&outline);
        self.paint(JobKind::Reframe, label, region, request.settings.clone(), move |project, model| {
            FillPlan::reframe(project, &request, model)
        })
    }

    pub(crate) fn vary(&self, input: VaryInput) -> Answer<u64> {
        let region = region(input.region);
        let bounds = region.bounds();
        let controls = self.controls(&input.settings.controls, None)?;
        let request = VaryRequest {
            region,
            prompt: input.prompt,
            settings: Settings { controls, ..settings(input.settings)? },
            strength: Some(input.strength),
            takes: input.takes,
        };
        request.check()?;
        let label = label(request.prompt.as_deref().unwrap_or_default(), "Vary");
        self.paint(JobKind::Vary, label, bounds, request.settings.clone(), move |project, model| {
            FillPlan::vary(project, &request, model)
        })
    }

    /// Makes the picture, or a layer of it, larger.
    pub(crate) fn upscale(&self, input: UpscaleInput) -> Answer<u64> {
        let open = self.writable()?;
        let request = UpscaleRequest {
            factor: input.factor,
            mode: if input.creative { UpscaleMode::Creative } else { UpscaleMode::Subtle },
            upscaler: None,
            rect: None,
            layer: input.layer.as_deref().map(|layer| id(layer, "layer")).transpose()?,
            prompt: input.prompt,
            strength: input.strength,
            settings: unsteered(input.settings, "An upscaling")?,
        };
        // What cannot be upscaled is told at once.
        let region = {
            let state = open.state();
            UpscalePlan::new(state.project.as_ref().ok_or_else(super::closed)?, &request)?.rect()
        };
        let label = format!("Upscale {}×", request.factor);
        Ok(self.submit(
            &open,
            JobKind::Upscale,
            label,
            Some(region),
            async move |desk: Desk, open, control: JobControl| {
                let project = Arc::clone(&open);
                let plan = tokio::task::spawn_blocking(move || -> Result<UpscalePlan, JobError> {
                    let state = project.state();
                    Ok(UpscalePlan::new(state.project.as_ref().ok_or(JobError::Cancelled)?, &request)?)
                });
                let plan = plan.await.map_err(mistake)??;
                let mut pieces = 0;
                let mut observe = |event| {
                    if let Event::Job { count, .. } = &event
                        && *count != pieces
                    {
                        pieces = *count;
                        control.pieces(1, pieces);
                    }
                    desk.observe(&control, event);
                };
                let upscaled = desk.inner.studio.upscale(plan, &mut observe, control.cancel()).await?;
                control.stage("Placing");
                desk.place(&open, move |project| upscaled.place_larger(project).map(drop)).await
            },
        ))
    }

    pub(crate) fn cover(&self, shot: &str, how: api::Settings, prompt: Option<String>) -> Answer<u64> {
        let shot: ShotId = id(shot, "shot")?;
        let request = CoverRequest { prompt, settings: unsteered(how, "Painting what a shot lacks")?, strength: None };
        self.paint(
            JobKind::Cover,
            "Paint what is missing".into(),
            None,
            request.settings.clone(),
            move |project, model| {
                let found = project.document().shots.iter().find(|found| found.id == shot);
                let gone = || StudioError::InvalidRequest("The shot is not in the project any more.".into());
                FillPlan::cover(project, found.ok_or_else(gone)?, &request, model)
            },
        )
    }

    /// What an extension would do. How long it takes is known once the model has worked.
    pub(crate) fn plan_extend(&self, input: &ExtendInput) -> Answer<ExtendPlan> {
        let request = extend_request(input.clone())?;
        let open = self.open()?;
        let outline = {
            let state = open.state();
            request.outline(state.project.as_ref().ok_or_else(super::closed)?)?
        };
        let entry = self.inner.studio.models().resolve(request.settings.model.as_deref())?;
        let info = lock(&self.inner.models).get(&entry.path).cloned();
        let native = self.native_size(request.settings.model.as_deref());
        let multiple = info.as_ref().map_or(8, |info| info.size_multiple.max(1));
        let sides = [
            (Side::Left, request.left),
            (Side::Right, request.right),
            (Side::Up, request.up),
            (Side::Down, request.down),
        ];
        let (mut fills, mut known) = (0, outline.before);
        for (side, amount) in sides.into_iter().filter(|(_, amount)| *amount > 0) {
            fills += plan_extension(known, side, amount, ModelSize { native, multiple }).len();
            known = side.grow(known, amount);
        }
        let steps = request.settings.steps.or(info.map(|info| info.defaults.steps));
        let pace = self.inner.queue.step_seconds(&entry.name);
        let seconds =
            pace.zip(steps).map(|(pace, steps)| pace * f64::from(steps) * fills as f64 * f64::from(request.takes));
        let painted = outline.painted.into_iter().map(Into::into).collect();
        Ok(ExtendPlan { after: outline.after.into(), painted, fills: fills as u32, seconds })
    }

    pub(crate) fn export_picture(&self, input: &ExportInput) -> Answer<u64> {
        let open = self.open()?;
        let out = PathBuf::from(&input.path);
        let region = input.rect.map(Into::into).or_else(|| picture_rect(&open.document()));
        let Some(region) = region else { return Err(StudioError::NoPicture.into()) };
        if !(input.scale > 0.0 && input.scale <= 16.0) {
            return Err(CommandError::invalid(format!("A scale of {}: choose more than 0, at most 16.", input.scale)));
        }
        let scaled = |side: u32| ((f64::from(side) * input.scale).round() as u32).max(1);
        let options = ExportOptions {
            rect: Some(region),
            size: Some((scaled(region.width), scaled(region.height))),
            strip_metadata: !input.with_metadata,
            ..ExportOptions::default()
        };
        let label = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(self.submit(
            &open,
            JobKind::Export,
            label,
            Some(region),
            async move |_, open: Arc<Open>, control: JobControl| {
                control.stage("Composing");
                let written = tokio::task::spawn_blocking(move || -> Result<PathBuf, JobError> {
                    // The state of now, whatever is edited meanwhile.
                    let project = Project::open_read_only(&open.path)?;
                    let mut observe = |event| control.observe(event);
                    outframe_studio::export_with(&project, &out, &options, &mut observe, control.cancel())?;
                    Ok(out)
                });
                Ok(Outcome { output: Some(written.await.map_err(mistake)??), ..Outcome::default() })
            },
        ))
    }

    /// Renders a shot and writes it as a film, as the project is now.
    pub(crate) fn export_film(&self, input: &FilmInput) -> Answer<u64> {
        let open = self.open()?;
        let document = open.document();
        let shot = super::shots::stored(&document, &input.shot)?.clone();
        // What cannot be filmed is told at once.
        let film = ShotFilm::new(&document, &shot)?;
        film.view(0)?;
        let options = FilmOptions {
            path: PathBuf::from(&input.path),
            format: match input.format {
                api::FilmFormat::Mp4Av1 => Format::Mp4Av1,
                api::FilmFormat::Mp4H264 => Format::Mp4H264,
                api::FilmFormat::PngSequence => Format::PngSequence,
            },
            quality: input.quality.min(100),
        };
        let label = format!("{} → {}", shot.name, options.path.file_name().unwrap_or_default().to_string_lossy());
        Ok(self.submit(
            &open,
            JobKind::Film,
            label,
            None,
            async move |desk: Desk, open: Arc<Open>, control: JobControl| {
                let starting = desk.clone();
                let compositor = tokio::task::spawn_blocking(move || starting.compositor()).await.map_err(mistake)?;
                let compositor = compositor.map_err(JobError::Failed)?;
                let source = open.source().map_err(JobError::Failed)?;
                let mut observe = |event| control.observe(event);
                let written =
                    export_film(&compositor, &film, &source, &options, &mut observe, control.cancel()).await?;
                Ok(Outcome { output: Some(written.path), ..Outcome::default() })
            },
        ))
    }

    /// Adds a job of the open project.
    pub(super) fn submit<Work, Running>(
        &self,
        open: &Arc<Open>,
        kind: JobKind,
        label: String,
        region: Option<Rect>,
        work: Work,
    ) -> u64
    where
        Work: FnOnce(Self, Arc<Open>, JobControl) -> Running + Send + 'static,
        Running: Future<Output = Result<Outcome, JobError>> + Send + 'static,
    {
        let (desk, project) = (self.clone(), Arc::clone(open));
        let request = JobRequest { kind, label, owner: open.key.clone(), region };
        self.inner.queue.submit(request, move |control| async move {
            let engine = kind.needs_engine();
            let watched = desk.clone();
            let result = work(desk, project, control).await;
            if engine {
                let problem = match &result {
                    Err(JobError::Failed(why)) => Some(why.clone()),
                    _ => None,
                };
                lock(&watched.inner.engine).problem = problem;
            }
            result
        })
    }

    /// Adds a job that paints on the canvas: planned from the project as it is when the job's turn comes.
    fn paint(
        &self,
        kind: JobKind,
        label: String,
        region: Option<Rect>,
        settings: Settings,
        plan: impl FnOnce(&Project, &ReadyModel) -> Result<FillPlan, StudioError> + Send + 'static,
    ) -> Answer<u64> {
        let open = self.writable()?;
        Ok(self.submit(&open, kind, label, region, async move |desk: Desk, open: Arc<Open>, control: JobControl| {
            let mut observe = |event| desk.observe(&control, event);
            let model = desk.inner.studio.ready(&settings, &mut observe).await?;
            let project = Arc::clone(&open);
            let plan = tokio::task::spawn_blocking(move || -> Result<FillPlan, JobError> {
                let state = project.state();
                Ok(plan(state.project.as_ref().ok_or(JobError::Cancelled)?, &model)?)
            });
            let plan = plan.await.map_err(mistake)??;
            if let Some(area) = plan.painted_rects().into_iter().reduce(|all, rect| all.union(&rect)) {
                control.region(area);
            }
            control.pieces(plan.takes() as usize, plan.jobs() / plan.takes().max(1) as usize);
            let painted = desk.inner.studio.paint(plan, &mut observe, control.cancel()).await?;
            control.stage("Placing");
            desk.place(&open, move |project| painted.place(project).map(drop)).await
        }))
    }

    /// Puts a result into the project it was made for, and says which generation that made.
    async fn place(
        &self,
        open: &Arc<Open>,
        work: impl FnOnce(&mut Project) -> Result<(), StudioError> + Send + 'static,
    ) -> Result<Outcome, JobError> {
        let (desk, open) = (self.clone(), Arc::clone(open));
        let placed = tokio::task::spawn_blocking(move || {
            desk.change_in(&open, |project| {
                let before: BTreeSet<GenerationId> = project.document().generations.keys().copied().collect();
                work(project)?;
                Ok(project.document().generations.keys().find(|id| !before.contains(id)).copied())
            })
        });
        match placed.await.map_err(mistake)? {
            Ok((generation, _)) => Ok(Outcome { generation, ..Outcome::default() }),
            Err(error) => Err(JobError::Failed(format!(
                "What was painted could not be put into the project, which is as it was before: {}",
                error.message
            ))),
        }
    }

    /// Takes note of what a use-case tells.
    fn observe(&self, control: &JobControl, event: Event) {
        if let Event::Loaded(loaded) = &event {
            lock(&self.inner.engine).problem = None;
            if let Ok(entry) = self.inner.studio.models().resolve(Some(&loaded.info.name)) {
                lock(&self.inner.models).entry(entry.path).or_insert_with(|| loaded.info.clone());
            }
        }
        control.observe(event);
    }

    /// The open project, if it may be changed.
    fn writable(&self) -> Answer<Arc<Open>> {
        let open = self.open()?;
        if open.state().project.as_ref().is_some_and(Project::is_read_only) {
            return Err(CommandError::new(
                api::ErrorKind::ReadOnly,
                "This project is open for reading only. Save it under another name and continue there.",
            ));
        }
        Ok(open)
    }

    /// Checks a request against the project, and says what it would do.
    fn outlined(&self, outline: impl FnOnce(&Project) -> Result<Outline, StudioError>) -> Answer<Outline> {
        let open = self.writable()?;
        let state = open.state();
        Ok(outline(state.project.as_ref().ok_or_else(super::closed)?)?)
    }
}

/// The area that will be painted.
fn painted(outline: &Outline) -> Option<Rect> {
    outline.painted.iter().copied().reduce(|all, rect| all.union(&rect))
}

pub(super) fn mistake(_: tokio::task::JoinError) -> JobError {
    JobError::Failed("This failed because of a mistake in Outframe. The project is as it was before; try again.".into())
}

fn label(prompt: &str, otherwise: &str) -> String {
    let line = prompt.lines().next().unwrap_or_default().trim();
    if line.is_empty() { otherwise.into() } else { line.chars().take(80).collect() }
}

/// Settings for what no control network can steer.
fn unsteered(from: api::Settings, what: &str) -> Answer<Settings> {
    if from.controls.is_empty() {
        return settings(from);
    }
    Err(CommandError::invalid(format!("{what} cannot be steered by a ControlNet. Leave it out.")))
}

/// The settings without controls, whose pictures must be read first.
fn settings(from: api::Settings) -> Answer<Settings> {
    let seed = match from.seed.as_deref().map(str::trim).filter(|seed| !seed.is_empty()) {
        Some(seed) => Some(seed.parse().map_err(|_| {
            CommandError::invalid(format!("“{seed}” is no seed: give a whole number from 0 to {}.", u64::MAX))
        })?),
        None => None,
    };
    Ok(Settings {
        negative: from.negative,
        style: from.style,
        model: from.model,
        steps: from.steps,
        guidance: from.guidance,
        sampler: from.sampler,
        seed,
        tuning: tuning(from.tuning),
        controls: Vec::new(),
    })
}

fn tuning(from: api::Tuning) -> Tuning {
    let lora = |lora: api::LoraChoice| LoraChoice { name: lora.name, weight: lora.weight };
    let embedding = |one: api::EmbeddingChoice| EmbeddingChoice { name: one.name, word: one.word };
    Tuning {
        loras: from.loras.into_iter().map(lora).collect(),
        embeddings: from.embeddings.into_iter().map(embedding).collect(),
        clip_skip: from.clip_skip,
        guidance_rescale: from.guidance_rescale,
        vae: from.vae,
    }
}

fn extend_request(input: ExtendInput) -> Answer<ExtendRequest> {
    Ok(ExtendRequest {
        left: input.left,
        right: input.right,
        up: input.up,
        down: input.down,
        prompt: input.prompt,
        settings: settings(input.settings)?,
        strength: None,
        takes: input.takes,
    })
}

fn region(region: api::Region) -> Region {
    let points = |points: Vec<api::Point>| points.into_iter().map(|point| [point.x, point.y]).collect();
    let part = |shape| match shape {
        api::RegionShape::Rect { rect, subtract } => {
            let (x, y) = (rect.x as f64, rect.y as f64);
            let (width, height) = (f64::from(rect.width), f64::from(rect.height));
            RegionPart { shape: Shape::Rect { x, y, width, height }, subtract }
        }
        api::RegionShape::Stroke { points: way, radius, subtract } => {
            RegionPart { shape: Shape::Stroke { points: points(way), radius }, subtract }
        }
        api::RegionShape::Lasso { points: way, subtract } => {
            RegionPart { shape: Shape::Lasso { points: points(way) }, subtract }
        }
    };
    Region { parts: region.shapes.into_iter().map(part).collect() }
}
