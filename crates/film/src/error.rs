//! What can go wrong with a film.

use std::{io, path::PathBuf};

use crate::Format;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a film could not be written. After any of them nothing of it is left, and a film that was there before still is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The film's pictures are too small or too large for the format.
    #[error(
        "A film of {width} x {height} pixels cannot be written as {format}: {limit}. Choose another size or another format."
    )]
    Size {
        /// Width that was asked for, in pixels.
        width: u32,
        /// Height that was asked for, in pixels.
        height: u32,
        /// The format that was asked for.
        format: Format,
        /// What the format can hold.
        limit: &'static str,
    },
    /// The film's rate is not one.
    #[error(
        "{}/{} pictures per second is no rate for a film. Choose between 0.1 and 1000, with numbers up to 1000000.",
        rate.0,
        rate.1
    )]
    Rate {
        /// The rate that was asked for: numerator and denominator.
        rate: (u32, u32),
    },
    /// The film would have no picture.
    #[error("A film needs at least one picture. Give the shot a duration.")]
    Empty,
    /// A picture has not the film's size.
    #[error(
        "Picture {index} has {given} bytes where the film's size asks for {expected}. This is a fault of the program; the film \
         was not written."
    )]
    PictureSize {
        /// The picture's number in the film, from 0.
        index: u32,
        /// Bytes that came.
        given: usize,
        /// Width times height times four.
        expected: usize,
    },
    /// More or fewer pictures came than the film was to have.
    #[error("The film was to have {expected} pictures, but {given} came. It was not written; export it again.")]
    PictureCount {
        /// Pictures that came.
        given: u32,
        /// Pictures that were promised.
        expected: u32,
    },
    /// The place for the film cannot be written to.
    #[error(
        "The film cannot be written to {}: {source}. Choose a folder that exists and that you may write to.",
        path.display()
    )]
    Place {
        /// Where the film was to go.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something that is not a film is where the film is to go.
    #[error("{} is {what}, and is left alone. Choose another name for the film.", path.display())]
    Occupied {
        /// Where the film was to go.
        path: PathBuf,
        /// What is there.
        what: &'static str,
    },
    /// The disk is full.
    #[error(
        "There is no space left on the disk for {}. What had been written of the film was removed. Make space or choose \
         another disk, and export again.",
        path.display()
    )]
    DiskFull {
        /// Where the film was to go.
        path: PathBuf,
    },
    /// Writing failed on the way.
    #[error(
        "Writing the film to {} failed: {source}. What had been written was removed. Check the disk and export again.",
        path.display()
    )]
    Write {
        /// Where the film was to go.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// H.264 was asked for, and there is no ffmpeg that writes it.
    #[error(
        "H.264 needs the program ffmpeg with libx264, which was not found. Install ffmpeg, name it in OUTFRAME_FFMPEG, or \
         export as AV1, which is built in."
    )]
    NoFfmpeg,
    /// ffmpeg ended with an error.
    #[error("ffmpeg could not write the film ({why}). Export as AV1, or check the ffmpeg that is installed.")]
    Ffmpeg {
        /// Its last words, or how it ended.
        why: String,
    },
    /// The encoder that is built in failed.
    #[error("The encoder stopped ({why}). The film was not written. Export it at another size or as a PNG sequence.")]
    Encoder {
        /// Its last words.
        why: String,
    },
    /// The film was given up on request.
    #[error("The film was cancelled. Nothing of it was kept.")]
    Cancelled,
}
