//! Dragging a picture out of the window, into a file manager or another program.

use std::{
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use tauri::WebviewWindow;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::{api::CommandError, error::Answer};

/// Where dragged pictures lie until the program ends: who takes them copies them later.
#[derive(Debug, Default)]
pub(crate) struct Dragged {
    folder: Mutex<Option<TempDir>>,
}

impl Dragged {
    pub(crate) fn folder(&self) -> Answer<PathBuf> {
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        if folder.is_none() {
            let made = tempfile::Builder::new().prefix("outframe-drag-").tempdir().map_err(|error| {
                CommandError::failed(format!("The picture cannot be put aside for dragging: {error}."))
            })?;
            *folder = Some(made);
        }
        folder.as_ref().map(|folder| folder.path().to_path_buf()).ok_or_else(|| CommandError::failed("No folder."))
    }

    /// Removes what was put aside.
    pub(crate) fn clear(&self) {
        *self.folder.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Starts a drag of the platform with a file; the button must be held down.
pub(crate) async fn start(window: &WebviewWindow, file: PathBuf) -> Answer<()> {
    let refused =
        |why: String| CommandError::failed(format!("The picture cannot be dragged out: {why}. Export it instead."));
    let (done, started) = oneshot::channel();
    let held = window.clone();
    let run = move || {
        let item = drag::DragItem::Files(vec![file.clone()]);
        let icon = drag::Image::File(file);
        let options = drag::Options::default();
        #[cfg(any(
            target_os = "linux",
            target_os = "dragonfly",
            target_os = "freebsd",
            target_os = "netbsd",
            target_os = "openbsd"
        ))]
        let result = held.gtk_window().map_err(|error| error.to_string()).and_then(|window| {
            drag::start_drag(&window, item, icon, |_, _| {}, options).map_err(|error| error.to_string())
        });
        #[cfg(any(target_os = "macos", windows))]
        let result = drag::start_drag(&held, item, icon, |_, _| {}, options).map_err(|error| error.to_string());
        let _ = done.send(result);
    };
    window.run_on_main_thread(run).map_err(|error| refused(error.to_string()))?;
    started.await.map_err(|_| refused("the window is gone".into()))?.map_err(refused)
}
