//! One picture file in, upright sRGB pixels and a description out.

use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

use image::{
    ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbaImage, metadata::Orientation,
};

use crate::{
    Error, Format, Limits, Metadata, Result,
    colour::Profile,
    container::{Raw, tiff_tag},
    jpeg, sniff,
};

/// A picture that was read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Picture {
    /// The pixels: upright, sRGB, straight alpha; `ImageRgba16` where the file has more than 8 bits, `ImageRgba8` otherwise.
    pub pixels: DynamicImage,
    /// The file's format.
    pub format: Format,
    /// Whether the file carries a colour profile (also one that turned out to be sRGB).
    pub had_profile: bool,
    /// The EXIF orientation that was applied, 1 to 8; 1 is upright.
    pub orientation: u8,
    /// Bits per channel in `pixels`: 8 or 16.
    pub bit_depth: u8,
    /// What the file says about the picture.
    pub metadata: Metadata,
    /// Whether the `image` crate decodes the file's own bytes to exactly these pixels in 8 bits, so that they may be stored
    /// as they are: upright, 8 bits, sRGB, no inks.
    pub lossless_as_is: bool,
    /// What was left out or ignored, in sentences for the user.
    pub warnings: Vec<String>,
}

impl Picture {
    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.pixels.width(), self.pixels.height())
    }
}

/// Reads a picture file: PNG, JPEG, WebP, TIFF, AVIF, BMP, or the first frame of a GIF.
///
/// `hint` is the file's name if there is one; it is used in messages only, never to choose the format. Nothing larger than the
/// limits is allocated. A decoder that fails in an unforeseen way costs an error, not the program.
///
/// ```
/// use outframe_interchange::{Limits, WriteOptions, read_picture, write_png};
///
/// let pixels = image::DynamicImage::new_rgba8(4, 3);
/// let bytes = write_png(&pixels, &WriteOptions::default())?;
/// let picture = read_picture(&bytes, Some("small.png"), &Limits::default())?;
/// assert_eq!(picture.size(), (4, 3));
/// # Ok::<(), outframe_interchange::Error>(())
/// ```
pub fn read_picture(bytes: &[u8], hint: Option<&str>, limits: &Limits) -> Result<Picture> {
    let format = sniff(bytes).ok_or_else(|| Error::UnknownFormat { hint: hint.map(str::to_owned) })?;
    within(format, "the file's size in bytes", bytes.len() as u64, limits.max_file_bytes)?;
    guarded(format, || read_as(format, bytes, limits))
}

/// Runs decoders of third parties on untrusted bytes: a panic in one of them becomes an error.
pub(crate) fn guarded<T>(format: Format, read: impl FnOnce() -> Result<T>) -> Result<T> {
    // Nothing is shared with the closure but the bytes and the limits, which it only reads.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let why = panic
            .downcast_ref::<&str>()
            .map(|why| (*why).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no reason given".into());
        Err(Error::Decoder { format, why })
    })
}

pub(crate) fn within(format: Format, what: &'static str, found: u64, limit: u64) -> Result<()> {
    if found > limit { Err(Error::TooLarge { format, what, found, limit }) } else { Ok(()) }
}

/// Checks a picture's sides and its size in memory, before anything of that size is allocated.
pub(crate) fn check_size(format: Format, width: u32, height: u32, bytes_per_pixel: u64, limits: &Limits) -> Result<()> {
    if width == 0 || height == 0 {
        return Err(Error::Damaged { format, why: "the picture has no pixels".into() });
    }
    within(format, "the picture's width", width.into(), limits.max_side.into())?;
    within(format, "the picture's height", height.into(), limits.max_side.into())?;
    let bytes = u64::from(width) * u64::from(height) * bytes_per_pixel;
    within(format, "the decoded picture's size in bytes", bytes, limits.max_decoded_bytes)
}

pub(crate) fn of_image_error(format: Format, error: ImageError, limits: &Limits) -> Error {
    match error {
        ImageError::Unsupported(error) => Error::Unsupported { format, what: error.to_string() },
        ImageError::Limits(_) => Error::TooLarge {
            format,
            what: "the memory that decoding needs in bytes",
            found: limits.max_decoded_bytes.saturating_add(1),
            limit: limits.max_decoded_bytes,
        },
        error => Error::Damaged { format, why: error.to_string() },
    }
}

/// What a decoder gives, before colour and orientation.
pub(crate) struct Decoded {
    /// RGBA of 8 or 16 bits.
    pub(crate) pixels: DynamicImage,
    pub(crate) orientation: Orientation,
    pub(crate) raw: Raw,
    /// Already sRGB: inks that were converted, or colours that the decoder has converted.
    pub(crate) converted: bool,
    /// Whether the `image` crate would decode the same pixels.
    pub(crate) plain: bool,
}

fn read_as(format: Format, bytes: &[u8], limits: &Limits) -> Result<Picture> {
    let decoded = match format {
        Format::Jpeg => jpeg::read(bytes, limits)?,
        #[cfg(feature = "avif")]
        Format::Avif => crate::avif::read(bytes, limits)?,
        #[cfg(not(feature = "avif"))]
        Format::Avif => return Err(Error::Unsupported { format, what: "AV1, which this build leaves out".into() }),
        Format::OpenRaster => {
            return Err(Error::Unsupported { format, what: "layers, where a single picture is expected".into() });
        }
        _ => decode(format, bytes, limits)?,
    };
    Ok(finish(format, decoded, limits))
}

/// Colour and orientation.
fn finish(format: Format, decoded: Decoded, limits: &Limits) -> Picture {
    let Decoded { mut pixels, orientation, mut raw, converted, plain } = decoded;
    let metadata = Metadata::of_raw(&raw, limits);
    let mut recoloured = converted;
    let had_profile = raw.icc.is_some();
    if !converted {
        // In the order of precedence that the PNG specification gives.
        let profile = match (raw.cicp, &raw.icc) {
            (Some(cicp), _) if Profile::of_cicp(cicp).is_some() => Profile::of_cicp(cicp).map(Ok),
            (_, Some(icc)) => Some(Profile::of_icc(icc)),
            _ => None,
        };
        match profile {
            Some(Ok(profile)) if !profile.is_srgb() => match profile.apply(&mut pixels) {
                Ok(()) => recoloured = true,
                Err(why) => raw.warnings.push(format!("The colour profile was ignored: {why}")),
            },
            Some(Err(why)) => raw.warnings.push(format!("The colour profile cannot be read and was ignored: {why}")),
            _ => {}
        }
    }
    pixels.apply_orientation(orientation);
    let sixteen = matches!(pixels, DynamicImage::ImageRgba16(_));
    Picture {
        format,
        had_profile,
        orientation: orientation.to_exif(),
        bit_depth: if sixteen { 16 } else { 8 },
        metadata,
        lossless_as_is: plain && !recoloured && !sixteen && orientation == Orientation::NoTransforms,
        warnings: raw.warnings,
        pixels,
    }
}

/// The formats that the `image` crate reads as they should be.
fn decode(format: Format, bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let image_format = match format {
        Format::Png => ImageFormat::Png,
        Format::WebP => ImageFormat::WebP,
        Format::Tiff => ImageFormat::Tiff,
        Format::Gif => ImageFormat::Gif,
        Format::Bmp => ImageFormat::Bmp,
        _ => return Err(Error::Unsupported { format, what: "this format".into() }),
    };
    // The sides that the header says, before a decoder sees it.
    if let Some((width, height)) = header_size(format, bytes) {
        check_size(format, width, height, 4, limits)?;
    }
    let failed = |error| of_image_error(format, error, limits);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), image_format);
    let mut bounds = image::Limits::default();
    bounds.max_image_width = Some(limits.max_side);
    bounds.max_image_height = Some(limits.max_side);
    bounds.max_alloc = Some(limits.max_decoded_bytes);
    reader.limits(bounds);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    let colour = decoder.color_type();
    let sixteen = !matches!(colour, ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8);
    let deep = u64::from(colour.bytes_per_pixel()).max(if sixteen { 8 } else { 4 });
    check_size(format, width, height, deep, limits)?;
    let raw = match format {
        Format::Png => Raw::of_png(bytes, limits),
        Format::WebP => Raw::of_webp(bytes, limits),
        Format::Tiff => {
            // The file itself is what EXIF looks like. Only its directories matter, but the reader takes a copy of the whole.
            let exif = (bytes.len() <= limits.max_text_bytes).then_some(bytes);
            let [xmp, iptc, icc] = [700, 33_723, 34_675].map(|tag| tiff_tag(bytes, tag));
            Raw::of_parts(exif, xmp, iptc, icc, limits)
        }
        _ => Raw::default(),
    };
    let orientation = match format {
        Format::Tiff => decoder.orientation().unwrap_or(Orientation::NoTransforms),
        _ => orientation_of(&raw),
    };
    let pixels = DynamicImage::from_decoder(decoder).map_err(failed)?;
    let pixels = if sixteen {
        DynamicImage::ImageRgba16(pixels.into_rgba16())
    } else {
        DynamicImage::ImageRgba8(pixels.into_rgba8())
    };
    Ok(Decoded { pixels, orientation, raw, converted: false, plain: true })
}

/// The orientation that EXIF says; upright if it says none or nonsense.
pub(crate) fn orientation_of(raw: &Raw) -> Orientation {
    raw.exif.as_deref().and_then(Orientation::from_exif_chunk).unwrap_or(Orientation::NoTransforms)
}

/// Width and height at their fixed places in the header, where the format has such.
fn header_size(format: Format, bytes: &[u8]) -> Option<(u32, u32)> {
    let four = |at: usize| bytes.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let two = |at: usize| bytes.get(at..at + 2).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok());
    match format {
        Format::Png => Some((u32::from_be_bytes(four(16)?), u32::from_be_bytes(four(20)?))),
        Format::Gif => Some((u16::from_le_bytes(two(6)?).into(), u16::from_le_bytes(two(8)?).into())),
        // Height below zero means that rows run downwards.
        Format::Bmp if u32::from_le_bytes(four(14)?) >= 40 => {
            Some((u32::from_le_bytes(four(18)?), i32::from_le_bytes(four(22)?).unsigned_abs()))
        }
        _ => None,
    }
}

/// RGBA from bytes whose length is known to fit.
pub(crate) fn rgba8(format: Format, width: u32, height: u32, bytes: Vec<u8>) -> Result<DynamicImage> {
    RgbaImage::from_raw(width, height, bytes)
        .map(DynamicImage::ImageRgba8)
        .ok_or_else(|| Error::Damaged { format, why: "there are fewer pixels than the header says".into() })
}
