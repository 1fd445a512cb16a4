//! What can go wrong in a use-case.

use std::path::PathBuf;

use crate::engine::EngineError;

/// A failure of a use-case. Messages say what happened, what it means and what to do; the project is then as it was before.
#[derive(Debug, thiserror::Error)]
pub enum StudioError {
    /// The project file refused.
    #[error(transparent)]
    Document(#[from] outframe_document::Error),
    /// The engine refused, stopped, or was told to stop.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A request's values are out of range, or it does not fit what the project holds.
    #[error("{0}")]
    InvalidRequest(String),
    /// A shot cannot be followed, or its picture not be planned.
    #[error("{0} Change the shot’s moves.")]
    Camera(#[from] outframe_camera::Error),
    /// A picture cannot be drawn.
    #[error(transparent)]
    Compositor(#[from] outframe_compositor::Error),
    /// A film cannot be written.
    #[error(transparent)]
    Film(#[from] outframe_film::Error),
    /// Computing in a thread of its own failed; a defect of Outframe.
    #[error("Outframe failed while preparing a picture ({0}). The project is unharmed; try again.")]
    Internal(String),
    /// There is no picture to work on.
    #[error("The project holds no picture yet. Generate one or import one first.")]
    NoPicture,
    /// A model of this name is not installed.
    #[error(
        "There is no model “{name}”. Installed: {}. Give one of these names or the path of a file or folder.",
        listed(installed)
    )]
    UnknownModel {
        /// What was asked for.
        name: String,
        /// What there is.
        installed: Vec<String>,
    },
    /// A picture file or a stored picture cannot be read.
    #[error("{} cannot be read as a picture: {why}", path.display())]
    Picture {
        /// The file, or the stored picture's name.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A file cannot be read or written.
    #[error("Could not {what} {}: {source}", path.display())]
    Io {
        /// What was tried, `write` for instance.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The hub cannot be reached.
    #[error(
        "{hub} cannot be reached: {why}. Models that are here work without it; to download one, go online, or set HTTPS_PROXY or HF_ENDPOINT where they are needed."
    )]
    Offline {
        /// Its name.
        hub: String,
        /// Why.
        why: String,
    },
    /// The hub refuses, has not what was asked for, or sends what is damaged.
    #[error("{0}")]
    Hub(String),
    /// A layer uses something that this version cannot draw.
    #[error("This version cannot draw {0} yet; hide that layer to go on.")]
    NotDrawable(String),
}

impl StudioError {
    /// Whether the person stopped it.
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self,
            Self::Engine(EngineError::Cancelled)
                | Self::Compositor(outframe_compositor::Error::Cancelled)
                | Self::Film(outframe_film::Error::Cancelled)
        )
    }

    pub(crate) fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
/// Names in a sentence.
pub(crate) fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
