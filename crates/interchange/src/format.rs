//! Which format some bytes are in, by their content and never by their name.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A file format that is read or written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG (JFIF, Exif, Adobe).
    Jpeg,
    /// WebP.
    WebP,
    /// TIFF.
    Tiff,
    /// AVIF: AV1 pictures in a HEIF container.
    Avif,
    /// GIF.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// OpenRaster, a zip archive of layers.
    OpenRaster,
}

impl Format {
    /// The media type, such as "image/png".
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
            Self::Tiff => "image/tiff",
            Self::Avif => "image/avif",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::OpenRaster => "image/openraster",
        }
    }

    /// The usual file name extension, without the dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::WebP => "webp",
            Self::Tiff => "tif",
            Self::Avif => "avif",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::OpenRaster => "ora",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Tiff => "TIFF",
            Self::Avif => "AVIF",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::OpenRaster => "OpenRaster",
        })
    }
}

/// The format that the bytes are in, by their first bytes; `None` for anything that is not read here.
pub fn sniff(bytes: &[u8]) -> Option<Format> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(Format::Png)
    } else if bytes.starts_with(b"\xff\xd8\xff") {
        Some(Format::Jpeg)
    } else if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        Some(Format::WebP)
    } else if bytes.starts_with(b"II*\0")
        || bytes.starts_with(b"MM\0*")
        || bytes.starts_with(b"II+\0")
        || bytes.starts_with(b"MM\0+")
    {
        Some(Format::Tiff)
    } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        Some(Format::Gif)
    } else if is_avif(bytes) {
        Some(Format::Avif)
    } else if is_bmp(bytes) {
        Some(Format::Bmp)
    } else if is_openraster(bytes) {
        Some(Format::OpenRaster)
    } else {
        None
    }
}

/// "BM" alone begins many a text; the size of the second header must be one of those that exist.
fn is_bmp(bytes: &[u8]) -> bool {
    bytes.starts_with(b"BM")
        && bytes
            .get(14..18)
            .and_then(|size| <[u8; 4]>::try_from(size).ok())
            .is_some_and(|size| matches!(u32::from_le_bytes(size), 12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// A `ftyp` box whose major or compatible brands name AVIF.
fn is_avif(bytes: &[u8]) -> bool {
    if bytes.get(4..8) != Some(b"ftyp") {
        return false;
    }
    let size = bytes.get(..4).and_then(|size| <[u8; 4]>::try_from(size).ok()).map_or(0, u32::from_be_bytes) as usize;
    let brands = bytes.get(8..size.min(bytes.len()).min(256)).unwrap_or_default();
    brands.chunks_exact(4).enumerate().any(|(at, brand)| at != 1 && matches!(brand, b"avif" | b"avis"))
}

/// A zip archive whose first entry is "mimetype" and says that it is OpenRaster.
fn is_openraster(bytes: &[u8]) -> bool {
    const NAME: &[u8] = b"mimetypeimage/openraster";
    bytes.starts_with(b"PK\x03\x04")
        && (bytes.get(30..30 + NAME.len()) == Some(NAME)
            // Some writers put an extra field between the name and the content.
            || (bytes.get(30..38) == Some(b"mimetype")
                && bytes.get(38..256.min(bytes.len())).is_some_and(|head| head.windows(16).any(|w| w == b"image/openraster"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_content() {
        assert_eq!(sniff(b"\x89PNG\r\n\x1a\n...."), Some(Format::Png));
        assert_eq!(sniff(b"\xff\xd8\xff\xe0"), Some(Format::Jpeg));
        assert_eq!(sniff(b"RIFF\0\0\0\0WEBPVP8L"), Some(Format::WebP));
        assert_eq!(sniff(b"RIFF\0\0\0\0WAVE"), None);
        assert_eq!(sniff(b"MM\0*\0\0\0\x08"), Some(Format::Tiff));
        assert_eq!(sniff(b"\0\0\0\x14ftypmif1\0\0\0\0avif"), Some(Format::Avif));
        assert_eq!(sniff(b"\0\0\0\x14ftypmif1\0\0\0\0heic"), None);
        assert_eq!(sniff(b"BM is how this text begins"), None);
        assert_eq!(sniff(b""), None);
        assert_eq!(sniff(b"\0\0\0\x01ftyp"), None);
    }
}
