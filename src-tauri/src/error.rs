//! Errors as the front end gets them.

use outframe_document::Error as DocumentError;
use outframe_studio::StudioError;

use crate::api::{CommandError, ErrorKind};

pub(crate) type Answer<T> = Result<T, CommandError>;

impl CommandError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    pub(crate) fn no_project() -> Self {
        Self::not_found("No project is open. Open one or make a new one first.")
    }
}

impl From<DocumentError> for CommandError {
    fn from(error: DocumentError) -> Self {
        let kind = match &error {
            DocumentError::Locked { .. } | DocumentError::AlreadyExists { .. } => ErrorKind::Conflict,
            DocumentError::ReadOnly { .. } => ErrorKind::ReadOnly,
            DocumentError::Newer { .. } => ErrorKind::NewerFile,
            DocumentError::NotFound { .. } | DocumentError::NoSuchBlob { .. } => ErrorKind::NotFound,
            DocumentError::InvalidEdit { .. } | DocumentError::NotAProject { .. } => ErrorKind::Invalid,
            _ => ErrorKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<StudioError> for CommandError {
    fn from(error: StudioError) -> Self {
        match error {
            StudioError::Document(error) => error.into(),
            error if error.is_cancelled() => Self::new(ErrorKind::Cancelled, error.to_string()),
            StudioError::InvalidRequest(_) | StudioError::NoPicture | StudioError::Picture { .. } => {
                Self::invalid(error.to_string())
            }
            StudioError::UnknownModel { .. } => Self::not_found(error.to_string()),
            StudioError::Io { ref source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Self::not_found(error.to_string())
            }
            other => Self::failed(other.to_string()),
        }
    }
}

impl From<tokio::task::JoinError> for CommandError {
    fn from(_: tokio::task::JoinError) -> Self {
        Self::failed("This failed because of a mistake in Outframe. The project is as it was before; try again.")
    }
}
