//! The library of models, as the window shows it and changes it. Nothing is sent anywhere before a download is asked for.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use outframe_studio::{
    CatalogEntry, DownloadProgress, HashCache, Hub, LibraryItem, Models, Way, catalog,
    queue::{JobControl, JobError, JobKind, JobRequest, Outcome},
};

use super::{Desk, DeskEvent, jobs::mistake};
use crate::{
    api::{CatalogueItem, CommandError, FoundModel, LibraryEntry},
    error::Answer,
};

/// Whose jobs of the library are: no project's.
pub(super) const OWNER: &str = "library";
/// Endings of files that hold weights, also of those that Outframe does not open and says why.
const WEIGHTS: [&str; 8] = ["safetensors", "ckpt", "pt", "pth", "bin", "gguf", "onnx", "sft"];

impl Desk {
    /// Everything in the library.
    pub(crate) fn library(&self) -> Vec<LibraryEntry> {
        let models = self.inner.studio.models();
        models.library().iter().map(|item| entry(models, item)).collect()
    }

    /// Which of these paths are for the library rather than for the canvas: folders and files of weights.
    pub(crate) fn models_among(paths: Vec<PathBuf>) -> Vec<String> {
        let weights = |path: &Path| {
            let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
            ending.is_some_and(|ending| WEIGHTS.contains(&ending.as_str()))
        };
        let found = paths.into_iter().filter(|path| path.is_dir() || weights(path));
        found.map(|path| path.to_string_lossy().into_owned()).collect()
    }

    /// What lies at a path, or why it cannot be used.
    pub(crate) fn examine_model(path: &Path) -> Answer<FoundModel> {
        let item = Models::examine(path)?;
        Ok(FoundModel {
            path: path.to_string_lossy().into_owned(),
            about: item.description(),
            name: item.name,
            bytes: item.bytes,
        })
    }

    /// Puts a link to a model into the library.
    pub(crate) fn link_model(&self, path: &Path) -> Answer<()> {
        let never = outframe_studio::CancellationToken::new();
        self.inner.studio.models().add(path, Way::Link, None, &never, &mut |_, _| ())?;
        Ok(())
    }

    /// Copies a model into the library.
    pub(crate) fn copy_model(&self, path: PathBuf) -> Answer<u64> {
        let name = Models::examine(&path)?.name;
        let desk = self.clone();
        Ok(self.submit_own(JobKind::Copy, name, async move |control: JobControl| {
            let copied = tokio::task::spawn_blocking(move || {
                let models = desk.inner.studio.models();
                let mut tell = |done, all| control.bytes(done, all);
                models.add(&path, Way::Copy, None, control.cancel(), &mut tell)
            });
            copied.await.map_err(mistake)??;
            Ok(Outcome::default())
        }))
    }

    /// Takes a model out of the user's own folder: for good, where it is no link.
    pub(crate) fn remove_model(&self, path: &str) -> Answer<()> {
        self.inner.studio.models().remove(path, true)?;
        Ok(())
    }

    /// The well-known models that can be downloaded.
    pub(crate) fn catalogue(&self) -> Answer<Vec<CatalogueItem>> {
        let library = self.inner.studio.models().library();
        let item = |entry: CatalogEntry| CatalogueItem {
            installed: library.iter().any(|item| item.name == entry.name),
            about: format!("{}, {}", entry.family.name(), entry.kind.name()),
            bytes: Some(entry.files.iter().filter_map(|file| file.bytes).sum()).filter(|bytes| *bytes > 0),
            name: entry.name,
            title: entry.title,
            licence: entry.licence,
            obligations: entry.obligations,
            source: entry.repository,
        };
        Ok(catalog()?.into_iter().map(item).collect())
    }

    /// Downloads a model of the catalogue. What had arrived before a download was stopped is used.
    pub(crate) fn download_model(&self, name: String) -> Answer<u64> {
        if !catalog()?.iter().any(|entry| entry.name == name) {
            return Err(CommandError::not_found(format!("There is no “{name}” in the catalogue.")));
        }
        let desk = self.clone();
        Ok(self.submit_own(JobKind::Download, name.clone(), async move |control: JobControl| {
            control.stage("Asking for it");
            let hub = Hub::from_environment()?;
            let order = hub.order(&name, None, false, control.cancel()).await?;
            control.bytes(0, order.bytes);
            let told = control.clone();
            let mut tell = move |progress: DownloadProgress| told.bytes(progress.done, progress.all);
            let models = desk.inner.studio.models();
            models.download(&hub, &order, None, &mut HashCache::open(), control.cancel(), &mut tell).await?;
            Ok(Outcome::default())
        }))
    }

    /// Adds a job that belongs to no project.
    fn submit_own<Work, Running>(&self, kind: JobKind, label: String, work: Work) -> u64
    where
        Work: FnOnce(JobControl) -> Running + Send + 'static,
        Running: Future<Output = Result<Outcome, JobError>> + Send + 'static,
    {
        self.inner.queue.submit(JobRequest { kind, label, owner: OWNER.into(), region: None }, work)
    }

    /// Tells when something in the library's folders changes.
    pub(super) fn watch_library(&self) {
        let (models, inner) = (self.inner.studio.models().clone(), Arc::downgrade(&self.inner));
        self.inner.runtime.spawn(async move {
            // Large folders take a moment to be looked through, and the window does not wait for that.
            let watch = match tokio::task::spawn_blocking(move || models.watch()).await {
                Ok(Ok(watch)) => watch,
                Ok(Err(error)) => {
                    if let Some(inner) = inner.upgrade() {
                        Self { inner }.problem(error.to_string());
                    }
                    return;
                }
                Err(_) => return,
            };
            let mut changes = watch.changes();
            let mut problem = changes.borrow_and_update().problem.clone();
            if let (Some(problem), Some(inner)) = (&problem, inner.upgrade()) {
                Self { inner }.problem(problem.clone());
            }
            while changes.changed().await.is_ok() {
                let now = changes.borrow_and_update().problem.clone();
                let Some(inner) = inner.upgrade() else { return };
                let desk = Self { inner };
                desk.tell(DeskEvent::Library);
                if let Some(words) = now.clone().filter(|_| now != problem) {
                    desk.problem(words);
                }
                problem = now;
            }
        });
    }
}

fn entry(models: &Models, item: &LibraryItem) -> LibraryEntry {
    LibraryEntry {
        name: item.name.clone(),
        path: item.path.to_string_lossy().into_owned(),
        about: item.description(),
        bytes: item.bytes,
        title: item.title.clone().filter(|title| *title != item.name),
        licence: item.licence.clone(),
        trigger_words: item.trigger_words.clone(),
        source: item.source.clone(),
        problem: item.problem.clone(),
        own: models.is_own(item),
        link: item.path.is_symlink(),
    }
}
