//! What can go wrong with a picture file or a layered file.

use crate::Format;

/// Why a file could not be read or written. Messages say what happened, what it means and what to do.
///
/// None of them names the file: the crate sees bytes only, and the caller knows where they came from.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes begin like none of the formats that are read.
    #[error(
        "The file{} is none of the pictures that Outframe reads (PNG, JPEG, WebP, TIFF, AVIF, GIF, BMP, OpenRaster). \
         Open it in the program that made it and export a PNG.",
        hint.as_deref().map(|name| format!(" {name:?}")).unwrap_or_default()
    )]
    UnknownFormat {
        /// The file name that was given, if any.
        hint: Option<String>,
    },
    /// The format is known, but not what this file uses of it.
    #[error(
        "The {format} file uses {what}, which Outframe does not read. Export it as PNG from the program that made it."
    )]
    Unsupported {
        /// The file's format.
        format: Format,
        /// The feature that is not read.
        what: String,
    },
    /// The file stops early or contradicts itself.
    #[error(
        "The {format} file is damaged or incomplete ({why}). Nothing was read from it. Try to download or copy it again."
    )]
    Damaged {
        /// The file's format.
        format: Format,
        /// What the decoder met.
        why: String,
    },
    /// The file, its picture or a part of it is larger than the limits allow. Nothing of that size was allocated.
    #[error(
        "The {format} file is too large: {what} is {found}, and {limit} is the most. Scale it down in another program, or \
         raise the limit."
    )]
    TooLarge {
        /// The file's format.
        format: Format,
        /// What is too large, such as "the picture's width".
        what: &'static str,
        /// How large it says it is.
        found: u64,
        /// The limit.
        limit: u64,
    },
    /// A decoder of a third party stopped on the file in a way that it should not have.
    #[error(
        "The {format} decoder failed on this file ({why}). The file is most likely damaged; nothing was read from it. \
         Export it again from the program that made it."
    )]
    Decoder {
        /// The file's format.
        format: Format,
        /// The decoder's last words.
        why: String,
    },
    /// The picture cannot be stored in the format, for example because it is too wide.
    #[error("The picture cannot be written as {format}: {why}. Choose another format, such as PNG.")]
    CannotWrite {
        /// The format to write.
        format: Format,
        /// Why it does not fit.
        why: String,
    },
    /// The text that describes the picture does not fit in the format.
    #[error(
        "The description of the picture ({what}, {found} bytes) does not fit in a {format} file, which holds {limit} bytes \
         of it. Export as PNG, or without metadata."
    )]
    MetadataTooLarge {
        /// The format to write.
        format: Format,
        /// Which text.
        what: &'static str,
        /// Its size in bytes.
        found: usize,
        /// The most that the format holds.
        limit: usize,
    },
    /// The output could not be written.
    #[error("The file could not be written: {0}. Check that there is room and that you may write there.")]
    Write(#[from] std::io::Error),
}

/// Short for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
