//! Pictures that other programs have copied.

use std::path::PathBuf;

use tauri::WebviewWindow;

use crate::error::Answer;

/// What is on the clipboard for us.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "there the page reads the clipboard itself"))]
pub(crate) enum Clip {
    /// Files, copied in a file manager.
    Files(Vec<PathBuf>),
    /// A picture as the other program encoded it, so that nothing of it is lost.
    Picture {
        /// The encoded file.
        bytes: Vec<u8>,
        /// A name for it.
        name: String,
    },
    /// Nothing that can be imported.
    Nothing,
}

/// Reads the clipboard. (`WebKitGTK` gives a page neither pictures nor files.)
#[cfg(target_os = "linux")]
pub(crate) async fn read(window: &WebviewWindow) -> Answer<Clip> {
    use crate::api::CommandError;
    let (give, taken) = tokio::sync::oneshot::channel();
    window
        .run_on_main_thread(move || {
            let _ = give.send(look());
        })
        .map_err(|error| CommandError::failed(format!("The clipboard cannot be read: {error}.")))?;
    taken.await.map_err(|_| CommandError::failed("The clipboard cannot be read: the window is gone."))
}

#[cfg(not(target_os = "linux"))]
#[allow(clippy::unused_async, reason = "it waits for the main thread on Linux")]
pub(crate) async fn read(_window: &WebviewWindow) -> Answer<Clip> {
    Ok(Clip::Nothing)
}

/// Asks the program that owns the clipboard; on the toolkit's thread, which goes on answering meanwhile.
#[cfg(target_os = "linux")]
fn look() -> Clip {
    use gtk::{gdk, glib};

    /// What is asked for, the best first, and the ending that says so.
    const KINDS: [(&str, &str); 6] = [
        ("image/png", "png"),
        ("image/tiff", "tiff"),
        ("image/webp", "webp"),
        ("image/avif", "avif"),
        ("image/jpeg", "jpg"),
        ("image/bmp", "bmp"),
    ];
    let clipboard = gtk::Clipboard::get(&gdk::SELECTION_CLIPBOARD);
    let files: Vec<PathBuf> = clipboard
        .wait_for_uris()
        .iter()
        .filter_map(|address| glib::filename_from_uri(address).ok())
        .map(|(path, _)| path)
        .collect();
    if !files.is_empty() {
        return Clip::Files(files);
    }
    let offered: Vec<_> = clipboard.wait_for_targets().unwrap_or_default();
    for (kind, ending) in KINDS {
        let Some(target) = offered.iter().find(|target| target.name() == kind) else { continue };
        let bytes = clipboard.wait_for_contents(target).map(|found| found.data()).unwrap_or_default();
        if !bytes.is_empty() {
            return Clip::Picture { bytes, name: format!("Pasted picture.{ending}") };
        }
    }
    // Kinds that only the toolkit's loaders know.
    let picture = clipboard.wait_for_image();
    match picture.and_then(|picture| picture.save_to_bufferv("png", &[]).ok()) {
        Some(bytes) => Clip::Picture { bytes, name: "Pasted picture.png".into() },
        None => Clip::Nothing,
    }
}
