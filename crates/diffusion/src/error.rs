//! The one error type of this crate.

use std::path::PathBuf;

use crate::estimate::gigabytes;

/// Everything that can go wrong between a model folder and a finished picture.
///
/// Each message says what was tried on what; where a person can do something about it, it says what.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder of the model could not be read.
    #[error("could not read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The folder is not a model in the diffusers layout, or lacks a part of it.
    #[error("{} is not a model that can be loaded: {reason}", path.display())]
    NotAModel {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A configuration file holds a value that this engine does not support or that makes no sense.
    #[error("{}: `{key}` is {value}, but {expected}", path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The key in it.
        key: String,
        /// The value found, as JSON.
        value: String,
        /// What is supported.
        expected: String,
    },
    /// A weights file is damaged, or no `SafeTensors` file at all.
    #[error("{} is not a usable weights file: {problem}", path.display())]
    Weights {
        /// The weights file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The model needs a tensor that its weights file does not hold.
    #[error("{} lacks the tensor `{tensor}` (shape {expected:?}) that its configuration asks for; the weights and config.json do not belong together, or the download is incomplete", path.display())]
    MissingTensor {
        /// The weights file.
        path: PathBuf,
        /// The tensor's full name.
        tensor: String,
        /// The shape that the configuration implies.
        expected: Vec<i64>,
    },
    /// A tensor has another shape than the configuration implies.
    #[error("{}: tensor `{tensor}` has shape {found:?}, but config.json implies {expected:?}; the weights and config.json do not belong together", path.display())]
    TensorShape {
        /// The weights file.
        path: PathBuf,
        /// The tensor's full name.
        tensor: String,
        /// The shape that the configuration implies.
        expected: Vec<i64>,
        /// The shape in the file.
        found: Vec<i64>,
    },
    /// A tensor is stored in a number format that cannot be computed with.
    #[error("{}: tensor `{tensor}` is stored as {found}; F32, F16, BF16 and F64 are supported", path.display())]
    TensorType {
        /// The weights file.
        path: PathBuf,
        /// The tensor's full name.
        tensor: String,
        /// The format in the file.
        found: String,
    },
    /// The weights file holds tensors that the configuration has no place for, so the result would be wrong.
    #[error("{} holds {count} tensors that config.json has no place for (such as {}); the weights and config.json do not belong together", path.display(), names.join(", "))]
    UnexpectedTensors {
        /// The weights file.
        path: PathBuf,
        /// The first few of them.
        names: Vec<String>,
        /// How many there are.
        count: usize,
    },
    /// An adapter's file cannot be used, or not with this model.
    #[error("{} cannot be used with this model: {problem}", path.display())]
    Adapter {
        /// The adapter's file.
        path: PathBuf,
        /// Why not, and what to do.
        problem: String,
    },
    /// The tokenizer's files are missing, damaged, or could not split the prompt.
    #[error("the tokenizer {} failed: {problem}", path.display())]
    Tokenizer {
        /// Its file or folder.
        path: PathBuf,
        /// What went wrong.
        problem: String,
    },
    /// The device asked for does not exist on this machine or cannot be used.
    #[error("cannot compute on `{asked}`: {reason}")]
    Device {
        /// The device as it was asked for.
        asked: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// A text names no device, precision or sampler.
    #[error("`{given}` is no {what}; known: {known}")]
    Unknown {
        /// What was to be named.
        what: &'static str,
        /// The text.
        given: String,
        /// The names that exist.
        known: &'static str,
    },
    /// The request cannot be carried out by this model.
    #[error("cannot paint this: {0}")]
    Request(String),
    /// The observer asked to stop.
    #[error("the painting was cancelled")]
    Cancelled,
    /// The device has too little memory for the model or for this picture size.
    #[error(
        "not enough memory while {doing}: try a smaller picture, close other programs, or use a smaller model ({message})"
    )]
    OutOfMemory {
        /// What was being done.
        doing: String,
        /// What libtorch said.
        message: String,
    },
    /// The job or the model would need more memory than is free; nothing was begun.
    #[error("{what} needs {} of memory, and {} are free: {advice}", gigabytes(*needed), gigabytes(*free))]
    TooLarge {
        /// What was asked for.
        what: String,
        /// Bytes that it would take at its peak.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// What to do.
        advice: String,
    },
    /// libtorch refused an operation.
    #[error("libtorch failed while {doing}: {message}")]
    Torch {
        /// What was being done.
        doing: String,
        /// What libtorch said.
        message: String,
    },
    /// A defect of this engine: something that cannot happen did.
    #[error("internal error while {doing}: {message}; this is a defect of the engine, please report it")]
    Internal {
        /// What was being done.
        doing: String,
        /// The panic's message.
        message: String,
    },
}

/// Placeholder until [`Error::while_doing`] says what was being done.
const UNSAID: &str = "computing";

impl Error {
    /// Says what was being done when libtorch failed, unless a place nearer to the failure has said it already.
    #[must_use]
    pub(crate) fn while_doing(mut self, what: &str) -> Self {
        if let Self::Torch { doing, .. } | Self::OutOfMemory { doing, .. } = &mut self
            && doing == UNSAID
        {
            what.clone_into(doing);
        }
        self
    }

    /// Sorts a message from libtorch (an error or a panic) into [`Error::OutOfMemory`] or [`Error::Torch`].
    pub(crate) fn from_torch_message(message: &str) -> Self {
        // The C++ side appends its stack after the first lines, which helps nobody in a dialog.
        let short: String = message
            .lines()
            .take_while(|line| !line.contains("Exception raised from") && !line.starts_with("frame #"))
            .take(3)
            .collect::<Vec<_>>()
            .join(" ");
        let short = short.trim_start_matches("Internal torch error: ").trim().to_owned();
        let lower = message.to_ascii_lowercase();
        let full =
            ["out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory", "bad_alloc"]
                .iter()
                .any(|sign| lower.contains(sign));
        if full {
            Self::OutOfMemory { doing: UNSAID.to_owned(), message: short }
        } else {
            Self::Torch { doing: UNSAID.to_owned(), message: short }
        }
    }
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        Self::from_torch_message(&error.to_string())
    }
}

/// Runs `work`, naming it in errors, and turns a panic inside (tch panics outside its `f_` calls) into an error.
pub(crate) fn guard<T>(doing: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.while_doing(doing)),
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "a panic without a message".to_owned());
            match Error::from_torch_message(&message) {
                full @ Error::OutOfMemory { .. } => Err(full.while_doing(doing)),
                Error::Torch { message, .. } => Err(Error::Internal { doing: doing.to_owned(), message }),
                other => Err(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_internal_error() {
        let result: Result<(), Error> = guard("testing", || panic!("boom"));
        assert!(matches!(result, Err(Error::Internal { message, doing }) if message == "boom" && doing == "testing"));
    }

    #[test]
    fn memory_failures_have_their_own_variant() {
        let torch = "Internal torch error: DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.\n\
                     Exception raised from alloc_cpu at x.cpp:1\nframe #0: foo";
        let error = Error::from_torch_message(torch).while_doing("decoding");
        assert!(
            matches!(&error, Error::OutOfMemory { doing, message } if doing == "decoding" && !message.contains("frame"))
        );
        assert!(error.to_string().contains("smaller picture"));
    }

    #[test]
    fn a_real_torch_error_is_short() {
        let error = Error::from(tch::Tensor::from_slice(&[1.0_f32]).f_reshape([7, 3]).unwrap_err());
        let text = error.while_doing("reshaping").to_string();
        assert!(text.contains("reshaping") && text.contains("shape") && !text.contains("frame #"), "{text}");
    }
}
