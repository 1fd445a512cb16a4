//! What can go wrong with the engine.

use std::path::PathBuf;

use outframe_engine::{Event, FrameError, PictureError, WireError};

/// A failure of the worker, of the connection to it, or of a request.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The worker's program is not where it should be.
    #[error(
        "The engine program was not found (looked at: {}). Outframe's installation is incomplete: install it again, or set \
         OUTFRAME_ENGINE to the program `outframe-engine`.",
        searched.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NotFound {
        /// Where it was looked for.
        searched: Vec<PathBuf>,
    },
    /// The worker's program could not be started, or did not answer after its start.
    #[error("The engine could not be started: {what}.{said}")]
    Start {
        /// What happened.
        what: String,
        /// The end of what it printed or what to do, with a space before it; or nothing.
        said: String,
    },
    /// The worker stopped by itself or was killed.
    #[error("The engine stopped unexpectedly: {how}. The project is unharmed; {advice}{said}")]
    Died {
        /// How it ended, in words.
        how: String,
        /// What to do.
        advice: String,
        /// The end of what it printed, or nothing.
        said: String,
    },
    /// The request failed in the worker, which goes on.
    #[error(transparent)]
    Refused(WireError),
    /// The job was stopped on request.
    #[error("Cancelled. Nothing was changed.")]
    Cancelled,
    /// A job was given before a model.
    #[error("No model is chosen.")]
    NoModel,
    /// The connection was closed on this side.
    #[error("The connection to the engine is closed.")]
    Closed,
    /// The worker said something that does not belong to the protocol.
    #[error("The engine answered in a way that this version of Outframe does not understand ({0}). Install it again.")]
    Protocol(String),
}

impl EngineError {
    pub(super) fn unexpected(event: &Event) -> Self {
        match event {
            Event::Failed { error, .. } => Self::Refused(error.clone()),
            Event::Cancelled { .. } => Self::Cancelled,
            other => Self::Protocol(format!("an unexpected event: {other:?}")),
        }
    }

    /// The same failure after the restart that did not help.
    pub(super) fn again(self) -> Self {
        match self {
            Self::Died { how, advice, said } => {
                Self::Died { how: format!("{how}, and again after a restart"), advice, said }
            }
            other => other,
        }
    }
}

impl From<FrameError> for EngineError {
    fn from(error: FrameError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl From<PictureError> for EngineError {
    fn from(error: PictureError) -> Self {
        Self::Protocol(error.to_string())
    }
}
