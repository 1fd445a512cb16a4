//! Tells when something in the library's folders changes, so that a window can list them anew.

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use notify_debouncer_full::{
    DebounceEventResult, DebouncedEvent, Debouncer, RecommendedCache, new_debouncer,
    notify::{
        EventKind, RecommendedWatcher, RecursiveMode,
        event::{AccessKind, AccessMode},
    },
};
use tokio::sync::watch;

use super::Models;
use crate::StudioError;

/// Changes that follow one another within this time are told as one: a copied model is many events.
const QUIET: Duration = Duration::from_millis(500);

/// What has been seen so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// How often something changed; listing the library anew shows what.
    pub count: u64,
    /// Why changes of some folder are not seen, in words.
    pub problem: Option<String>,
}

/// Watches the library's folders until it is dropped.
#[derive(Debug)]
pub struct Watch {
    changes: watch::Receiver<Changes>,
    tell: mpsc::Sender<Message>,
}

impl Watch {
    /// Where changes are told. It closes when the watch is dropped.
    pub fn changes(&self) -> watch::Receiver<Changes> {
        self.changes.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.tell.send(Message::Stop);
    }
}

enum Message {
    Changed,
    Stop,
}

impl Models {
    /// Watches all folders, those that do not exist yet included.
    pub fn watch(&self) -> Result<Watch, StudioError> {
        self.watch_within(QUIET)
    }

    fn watch_within(&self, quiet: Duration) -> Result<Watch, StudioError> {
        let (tell, told) = mpsc::channel();
        let (send, changes) = watch::channel(Changes::default());
        let roots = self.roots().to_vec();
        let (heard, own) = (tell.clone(), self.roots().to_vec());
        let handler = move |result: DebounceEventResult| {
            // Lost events mean that anything may have changed.
            let changed = result.map_or(true, |events| events.iter().any(|event| counts(event, &own)));
            if changed {
                let _ = heard.send(Message::Changed);
            }
        };
        let debouncer = new_debouncer(quiet, None, handler)
            .map_err(|error| StudioError::InvalidRequest(format!("The model folders cannot be watched: {error}.")))?;
        let mut places = Places { debouncer, watched: roots.iter().map(|_| None).collect(), roots };
        send.send_modify(|changes| changes.problem = places.arm());
        let follow = move || {
            while let Ok(Message::Changed) = told.recv() {
                let problem = places.arm();
                send.send_modify(|changes| *changes = Changes { count: changes.count + 1, problem });
            }
        };
        thread::Builder::new()
            .name("model folders".into())
            .spawn(follow)
            .map_err(StudioError::io("watch", PathBuf::from("the model folders")))?;
        Ok(Watch { changes, tell })
    }
}

/// What is watched for each folder.
struct Places {
    debouncer: Debouncer<RecommendedWatcher, RecommendedCache>,
    roots: Vec<PathBuf>,
    /// The folder itself, or while it is absent the nearest one above it; with what tells it from another of its name.
    watched: Vec<Option<(PathBuf, Option<u64>)>>,
}

impl Places {
    /// Watches what there is now. Says what cannot be watched.
    fn arm(&mut self) -> Option<String> {
        let mut problem = None;
        for (root, watched) in self.roots.iter().zip(&mut self.watched) {
            let Some(place) = root.ancestors().find(|folder| folder.is_dir()) else { continue };
            let now = Some((place.to_path_buf(), identity(place)));
            if *watched == now {
                continue;
            }
            if let Some((old, _)) = watched.take() {
                // It may be gone, and then nothing is watched there any more.
                let _ = self.debouncer.unwatch(&old);
            }
            let mode = if place == root { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            match self.debouncer.watch(place, mode) {
                Ok(()) => *watched = now,
                Err(error) => {
                    problem = Some(format!("Changes in {} are not seen: {error}.", root.display()));
                }
            }
        }
        problem
    }
}

/// Whether an event can change a list: reading does not, nor what happens in hidden files, where models grow.
fn counts(event: &DebouncedEvent, roots: &[PathBuf]) -> bool {
    let written = AccessKind::Close(AccessMode::Write);
    if matches!(event.kind, EventKind::Access(kind) if kind != written) {
        return false;
    }
    let visible = |path: &PathBuf| {
        let inner = roots.iter().find_map(|root| path.strip_prefix(root).ok());
        match inner {
            Some(inner) => !inner.iter().any(|part| part.to_string_lossy().starts_with('.')),
            // Above a folder that is absent only what leads to it counts.
            None => roots.iter().any(|root| root.starts_with(path)),
        }
    };
    event.paths.is_empty() || event.paths.iter().any(visible)
}

#[cfg(unix)]
fn identity(folder: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    folder.metadata().ok().map(|about| about.ino())
}

#[cfg(not(unix))]
fn identity(folder: &Path) -> Option<u64> {
    let since = folder.metadata().ok()?.created().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::header::tests::checkpoint, *};

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    async fn changed(changes: &mut watch::Receiver<Changes>) -> bool {
        tokio::time::timeout(Duration::from_secs(5), changes.changed()).await.is_ok_and(|told| told.is_ok())
    }

    /// Waits until nothing more is told.
    async fn settle(changes: &mut watch::Receiver<Changes>) {
        while tokio::time::timeout(Duration::from_millis(700), changes.changed()).await.is_ok() {}
    }

    #[test]
    fn changes_are_told_and_reading_is_none() {
        runtime().block_on(async {
            let root = tempfile::tempdir().unwrap();
            let models = Models::at(vec![root.path().into()]);
            let watch = models.watch_within(Duration::from_millis(50)).unwrap();
            let mut changes = watch.changes();
            fs::create_dir(root.path().join("deep")).unwrap();
            assert!(changed(&mut changes).await);
            fs::write(root.path().join("deep/a.safetensors"), checkpoint(768, 4)).unwrap();
            assert!(changed(&mut changes).await);
            settle(&mut changes).await;
            assert_eq!(models.list().len(), 1);
            fs::create_dir(root.path().join(".downloads")).unwrap();
            fs::write(root.path().join(".downloads/a.part"), "grows").unwrap();
            let told = tokio::time::timeout(Duration::from_millis(500), changes.changed()).await;
            assert!(told.is_err(), "neither listing nor a download that grows is a change");
            fs::remove_file(root.path().join("deep/a.safetensors")).unwrap();
            assert!(changed(&mut changes).await);
            assert_eq!(changes.borrow().problem, None);
            drop(watch);
            while changes.changed().await.is_ok() {}
        });
    }

    #[test]
    fn a_folder_may_come_go_and_come_again() {
        runtime().block_on(async {
            let above = tempfile::tempdir().unwrap();
            let root = above.path().join("outframe/models");
            let models = Models::at(vec![root.clone()]);
            let watch = models.watch_within(Duration::from_millis(50)).unwrap();
            let mut changes = watch.changes();
            for round in 0..2 {
                fs::create_dir_all(&root).unwrap();
                assert!(changed(&mut changes).await, "{round}");
                settle(&mut changes).await;
                fs::write(root.join("a.safetensors"), checkpoint(768, 4)).unwrap();
                assert!(changed(&mut changes).await, "{round}");
                settle(&mut changes).await;
                fs::remove_dir_all(above.path().join("outframe")).unwrap();
                assert!(changed(&mut changes).await, "{round}");
                settle(&mut changes).await;
            }
            fs::write(above.path().join("other"), "beside").unwrap();
            let told = tokio::time::timeout(Duration::from_millis(500), changes.changed()).await;
            assert!(told.is_err(), "what does not lead to the folder is none of ours");
        });
    }
}
