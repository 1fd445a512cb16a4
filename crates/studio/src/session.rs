//! The studio: engine and models together, and what every job needs.

use std::path::PathBuf;

use outframe_document::Rect;
use tokio_util::sync::CancellationToken;

use crate::{
    Models, Settings, StudioError, Texts,
    engine::{Engine, EngineError, EngineOptions, Job, JobEvent, JobOutput, LoadedModel},
    tuning::ReadyTuning,
};

/// What happens while a use-case runs.
#[derive(Debug, Clone)]
pub enum Event {
    /// The engine starts or loads this model.
    Loading {
        /// The model's name.
        model: String,
    },
    /// The model is ready.
    Loaded(Box<LoadedModel>),
    /// A job that fills a part of the canvas begins.
    Place {
        /// Which job of the use-case, from 0.
        index: usize,
        /// What its pictures show, in canvas pixels.
        rect: Rect,
    },
    /// A job tells something.
    Job {
        /// Which job of the use-case, from 0.
        index: usize,
        /// How many jobs it has.
        count: usize,
        /// What it tells.
        event: JobEvent,
    },
    /// Pictures of a film are done.
    Film {
        /// How many.
        done: u32,
        /// How many it has.
        count: u32,
    },
    /// Rows of an exported picture are done.
    Export {
        /// How many.
        done: u32,
        /// How many it has.
        count: u32,
    },
    /// Tiles of a published picture are done.
    Tiles {
        /// How many.
        done: u64,
        /// How many there will be.
        count: u64,
    },
    /// Something that the person should know, a prompt that is too long for instance.
    Warning(String),
}

/// Receives the events of a use-case.
pub type EventSink<'a> = &'a mut (dyn FnMut(Event) + Send);

/// The use-cases' common ground.
#[derive(Debug)]
pub struct Studio {
    engine: Engine,
    models: Models,
    texts: Texts,
}

/// A model made ready for a use-case.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadyModel {
    /// What the worker holds.
    pub loaded: LoadedModel,
    /// The model's name, by which it was asked for.
    pub name: String,
    /// Its folder or file.
    pub path: PathBuf,
    /// What changes it.
    pub(crate) tuning: ReadyTuning,
}

impl Studio {
    /// A studio with these models; the engine starts when it is first needed.
    pub fn new(options: EngineOptions, models: Models) -> Self {
        Self { engine: Engine::new(options), models, texts: Texts::discover() }
    }

    /// The same with the texts of another folder than the user's.
    #[must_use]
    pub fn with_texts(self, texts: Texts) -> Self {
        Self { texts, ..self }
    }

    /// The user's lists and styles.
    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// The supervisor of the engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The installed models.
    pub fn models(&self) -> &Models {
        &self.models
    }

    /// Makes the worker hold the model that the settings name, the starter when they name none, and finds what changes it; at
    /// once when it holds it already.
    pub async fn ready(&self, settings: &Settings, events: EventSink<'_>) -> Result<ReadyModel, StudioError> {
        let entry = self.models.resolve(settings.model.as_deref())?;
        let (models, tuning) = (self.models.clone(), settings.tuning.clone());
        let tuning = apart(move || tuning.resolve(&models)).await??;
        events(Event::Loading { model: entry.name.clone() });
        let loaded = self.engine.load_with(&entry.path, tuning.vae()).await?;
        events(Event::Loaded(Box::new(loaded.clone())));
        Ok(ReadyModel { loaded, name: entry.name, path: entry.path, tuning })
    }

    /// Makes sure that the worker still holds it: another use-case may have loaded another model since.
    pub(crate) async fn hold(&self, model: &ReadyModel) -> Result<(), EngineError> {
        self.engine.load_with(&model.path, model.tuning.vae()).await.map(drop)
    }

    pub(crate) async fn run(
        &self,
        job: &Job,
        place: (usize, usize),
        events: EventSink<'_>,
        cancel: &CancellationToken,
    ) -> Result<JobOutput, StudioError> {
        let (index, count) = place;
        let mut observe = |event| events(Event::Job { index, count, event });
        let output = self.engine.run(job, &mut observe, cancel).await?;
        for warning in &output.warnings {
            events(Event::Warning(warning.clone()));
        }
        Ok(output)
    }
}

/// Runs what computes for some time on a thread that may wait.
pub(crate) async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, StudioError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| StudioError::Internal(error.to_string()))
}
