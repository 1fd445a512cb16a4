//! Dragging a picture out of the window, into a file manager or another program.

use std::{
    path::{Path, PathBuf},
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
        let _ = done.send(begin(&held, &file));
    };
    window.run_on_main_thread(run).map_err(|error| refused(error.to_string()))?;
    started.await.map_err(|_| refused("the window is gone".into()))?.map_err(refused)
}

/// The toolkit's own drag. (The crate for the other platforms forgets what is dragged at the moment of the drop, before the
/// other program has asked for it.)
#[cfg(target_os = "linux")]
fn begin(window: &WebviewWindow, file: &Path) -> Result<(), String> {
    use std::{cell::Cell, rc::Rc};

    use gtk::{
        gdk, gdk_pixbuf, glib,
        prelude::{DragContextExtManual as _, ObjectExt as _, WidgetExt as _},
    };

    /// Pixels along the longer side of the picture at the pointer.
    const ICON: i32 = 128;
    let window = window.gtk_window().map_err(|error| error.to_string())?;
    let address = glib::filename_to_uri(file, None).map_err(|error| error.to_string())?;
    let targets = gtk::TargetList::new(&[]);
    targets.add_uri_targets(0);
    let give = window.connect_drag_data_get(move |_, _, data, _, _| {
        data.set_uris(&[address.as_str()]);
    });
    // The first button, the pointer where it is.
    let context = window.drag_begin_with_coordinates(&targets, gdk::DragAction::COPY, 1, None, -1, -1);
    let Some(context) = context else {
        window.disconnect(give);
        return Err("the desktop did not begin a drag".into());
    };
    if let Ok(icon) = gdk_pixbuf::Pixbuf::from_file_at_size(file, ICON, ICON) {
        context.drag_set_icon_pixbuf(&icon, ICON / 8, ICON / 8);
    }
    // Once, when the other program has taken the file or refused it.
    let own = Rc::new(Cell::new(None));
    let ended = Rc::clone(&own);
    let give = Cell::new(Some(give));
    own.set(Some(window.connect_drag_end(move |window, _| {
        give.take().into_iter().chain(ended.take()).for_each(|handler| window.disconnect(handler));
    })));
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn begin(window: &WebviewWindow, file: &Path) -> Result<(), String> {
    let (item, icon) = (drag::DragItem::Files(vec![file.to_path_buf()]), drag::Image::File(file.to_path_buf()));
    drag::start_drag(window, item, icon, |_, _| {}, drag::Options::default()).map_err(|error| error.to_string())
}
