//! Pictures out: PNG, JPEG and WebP, tagged as sRGB, with or without a description, and plain TIFF.

mod stream;

use std::{
    borrow::Cow,
    io::{Cursor, Write},
};

use image::{DynamicImage, ImageEncoder as _, RgbImage, RgbaImage, codecs::jpeg::JpegEncoder};
use png::{BitDepth, ColorType, Compression, SrgbRenderingIntent};
use serde_json::json;

use crate::{
    Error, Format, Metadata, Result,
    colour::srgb_icc,
    metadata::{OUTFRAME_KEYWORD, Written, a1111, write_exif, write_xmp},
};

pub use stream::{StreamSize, Strip, stream_png, stream_tiff};

/// How hard a lossless writer tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// Several times faster, somewhat larger.
    Fast,
    /// A good balance.
    #[default]
    Balanced,
    /// The smallest file.
    Small,
}

/// What to write beside the pixels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WriteMetadata {
    /// The description. `generation` becomes A1111's `parameters` and, exactly, Outframe's own; `outframe` is written as it is;
    /// the rest becomes XMP (and EXIF in JPEG and WebP). What a camera recorded (`exif`) is not written.
    pub metadata: Metadata,
    /// Write nothing but pixels and their colour tag.
    pub strip: bool,
}

/// How to write a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct WriteOptions {
    /// What to write beside the pixels.
    pub metadata: WriteMetadata,
    /// For lossless formats.
    pub effort: Effort,
    /// For JPEG: 1 to 100.
    pub quality: u8,
    /// What shows through where the picture is transparent in a format without alpha (JPEG).
    pub background: [u8; 3],
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { metadata: WriteMetadata::default(), effort: Effort::default(), quality: 92, background: [255; 3] }
    }
}

/// The texts that go into a file.
#[derive(Default)]
struct Texts {
    parameters: Option<String>,
    own: Option<String>,
    xmp: Option<String>,
    exif: Option<Vec<u8>>,
}

impl Texts {
    /// `xmp_holds_own`: where there is no chunk of our own, ours goes into XMP.
    fn of(format: Format, write: &WriteMetadata, xmp_holds_own: bool) -> Result<Self> {
        if write.strip {
            return Ok(Self::default());
        }
        let metadata = &write.metadata;
        let parameters = metadata.generation.as_ref().map(a1111::format).filter(|text| !text.is_empty());
        let own = (metadata.generation.is_some() || metadata.outframe.is_some())
            .then(|| json!({"version": 1, "generation": metadata.generation, "data": metadata.outframe}).to_string());
        let xmp = write_xmp(metadata, own.as_deref().filter(|_| xmp_holds_own));
        let exif = if xmp_holds_own {
            write_exif(&Written {
                software: metadata.software.as_deref(),
                description: metadata.description.as_deref(),
                artist: metadata.creator.as_deref(),
                copyright: metadata.rights.as_deref(),
                comment: parameters.as_deref(),
            })
            .map_err(|error| Error::CannotWrite { format, why: format!("the EXIF description failed: {error}") })?
        } else {
            None
        };
        Ok(Self { parameters, own, xmp, exif })
    }
}

/// The pixels in the layout that PNG and WebP store.
enum Layout<'a> {
    Rgb8(Cow<'a, [u8]>),
    Rgba8(Cow<'a, [u8]>),
    /// Big-endian.
    Rgb16(Vec<u8>),
    /// Big-endian.
    Rgba16(Vec<u8>),
}

fn is_deep(picture: &DynamicImage) -> bool {
    !matches!(
        picture.color(),
        image::ColorType::L8 | image::ColorType::La8 | image::ColorType::Rgb8 | image::ColorType::Rgba8
    )
}

/// Without alpha where everything is opaque.
fn layout(picture: &DynamicImage, deep: bool) -> Layout<'_> {
    if deep {
        let rgba: Cow<'_, _> = match picture {
            DynamicImage::ImageRgba16(pixels) => Cow::Borrowed(pixels),
            other => Cow::Owned(other.to_rgba16()),
        };
        if rgba.pixels().all(|pixel| pixel.0[3] == u16::MAX) {
            Layout::Rgb16(
                rgba.pixels()
                    .flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]])
                    .flat_map(u16::to_be_bytes)
                    .collect(),
            )
        } else {
            Layout::Rgba16(rgba.iter().copied().flat_map(u16::to_be_bytes).collect())
        }
    } else {
        let rgba: Cow<'_, _> = match picture {
            DynamicImage::ImageRgb8(pixels) => return Layout::Rgb8(Cow::Borrowed(pixels.as_raw())),
            DynamicImage::ImageRgba8(pixels) => Cow::Borrowed(pixels),
            other => Cow::Owned(other.to_rgba8()),
        };
        if rgba.pixels().all(|pixel| pixel.0[3] == 255) {
            return Layout::Rgb8(rgba.pixels().flat_map(|pixel| [pixel.0[0], pixel.0[1], pixel.0[2]]).collect());
        }
        Layout::Rgba8(match rgba {
            Cow::Borrowed(pixels) => Cow::Borrowed(pixels.as_raw()),
            Cow::Owned(pixels) => Cow::Owned(pixels.into_raw()),
        })
    }
}

/// Writes a PNG of 8 bits, or of 16 where the picture has more than 8; alpha only where something is transparent.
pub fn write_png(picture: &DynamicImage, options: &WriteOptions) -> Result<Vec<u8>> {
    let texts = Texts::of(Format::Png, &options.metadata, false)?;
    let size = (picture.width(), picture.height());
    encode_png(size, &layout(picture, is_deep(picture)), options.effort, &texts)
        .map_err(|error| png_failed(Format::Png, error))
}

/// A PNG with alpha and nothing but pixels and the sRGB tag, for the insides of an .ora file.
pub(crate) fn bare_png(picture: &DynamicImage, effort: Effort) -> Result<Vec<u8>> {
    let data = match picture {
        DynamicImage::ImageRgba8(pixels) => return bare_rgba(pixels, effort),
        deep if is_deep(deep) => Layout::Rgba16(deep.to_rgba16().iter().copied().flat_map(u16::to_be_bytes).collect()),
        other => Layout::Rgba8(Cow::Owned(other.to_rgba8().into_raw())),
    };
    encode_png((picture.width(), picture.height()), &data, effort, &Texts::default())
        .map_err(|error| png_failed(Format::OpenRaster, error))
}

/// As [`bare_png`], without a copy of the pixels.
pub(crate) fn bare_rgba(pixels: &RgbaImage, effort: Effort) -> Result<Vec<u8>> {
    encode_png(pixels.dimensions(), &Layout::Rgba8(Cow::Borrowed(pixels.as_raw())), effort, &Texts::default())
        .map_err(|error| png_failed(Format::OpenRaster, error))
}

fn png_failed(format: Format, error: png::EncodingError) -> Error {
    match error {
        png::EncodingError::IoError(error) => Error::Write(error),
        error => Error::CannotWrite { format, why: error.to_string() },
    }
}

fn encode_png(
    size: (u32, u32),
    layout: &Layout<'_>,
    effort: Effort,
    texts: &Texts,
) -> Result<Vec<u8>, png::EncodingError> {
    let mut out = Vec::new();
    let (colour, depth, data): (_, _, &[u8]) = match layout {
        Layout::Rgb8(data) => (ColorType::Rgb, BitDepth::Eight, data),
        Layout::Rgba8(data) => (ColorType::Rgba, BitDepth::Eight, data),
        Layout::Rgb16(data) => (ColorType::Rgb, BitDepth::Sixteen, data),
        Layout::Rgba16(data) => (ColorType::Rgba, BitDepth::Sixteen, data),
    };
    let mut writer = png_header(&mut out, size, (colour, depth), effort, texts)?;
    writer.write_image_data(data)?;
    writer.finish()?;
    Ok(out)
}

/// Everything that stands before a PNG's pixels.
fn png_header<W: Write>(
    out: W,
    size: (u32, u32),
    (colour, depth): (ColorType, BitDepth),
    effort: Effort,
    texts: &Texts,
) -> Result<png::Writer<W>, png::EncodingError> {
    let mut encoder = png::Encoder::new(out, size.0, size.1);
    encoder.set_color(colour);
    encoder.set_depth(depth);
    encoder.set_compression(match effort {
        Effort::Fast => Compression::Fast,
        Effort::Balanced => Compression::Balanced,
        Effort::Small => Compression::High,
    });
    encoder.set_source_srgb(SrgbRenderingIntent::RelativeColorimetric);
    let text = [("parameters", &texts.parameters), (OUTFRAME_KEYWORD, &texts.own), ("XML:com.adobe.xmp", &texts.xmp)];
    for (keyword, text) in text {
        let Some(text) = text else { continue };
        // As the web UI does: the older chunk where it can hold the text, which more programs read. A zero ends neither.
        let text = text.replace('\0', "");
        if text.chars().all(|c| u32::from(c) < 256) && text.is_ascii() {
            encoder.add_text_chunk(keyword.into(), text)?;
        } else {
            encoder.add_itxt_chunk(keyword.into(), text)?;
        }
    }
    encoder.write_header()
}

/// Writes a JPEG without chroma subsampling. Transparent parts show `options.background`.
pub fn write_jpeg(picture: &DynamicImage, options: &WriteOptions) -> Result<Vec<u8>> {
    const FORMAT: Format = Format::Jpeg;
    let (width, height) = (picture.width(), picture.height());
    if width > 65_535 || height > 65_535 {
        return Err(Error::CannotWrite { format: FORMAT, why: "no side may be longer than 65535 pixels".into() });
    }
    let texts = Texts::of(FORMAT, &options.metadata, true)?;
    let mut out = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut out, options.quality.clamp(1, 100));
    if let Some(icc) = srgb_icc() {
        encoder.set_icc_profile(icc).map_err(|error| Error::CannotWrite { format: FORMAT, why: error.to_string() })?;
    }
    let rgb = flattened(picture, options.background);
    encoder
        .write_image(&rgb, width, height, image::ExtendedColorType::Rgb8)
        .map_err(|error| Error::CannotWrite { format: FORMAT, why: error.to_string() })?;
    // By custom EXIF stands first, then XMP; both right behind the start of the file.
    let mut head = Vec::new();
    if let Some(exif) = &texts.exif {
        segment(&mut head, b"Exif\0\0", exif, "EXIF")?;
    }
    if let Some(xmp) = &texts.xmp {
        segment(&mut head, b"http://ns.adobe.com/xap/1.0/\0", xmp.as_bytes(), "XMP")?;
    }
    out.splice(2..2, head);
    Ok(out)
}

fn segment(head: &mut Vec<u8>, prefix: &[u8], data: &[u8], what: &'static str) -> Result<()> {
    let limit = usize::from(u16::MAX) - 2 - prefix.len();
    let size = u16::try_from(prefix.len() + data.len() + 2).map_err(|_| Error::MetadataTooLarge {
        format: Format::Jpeg,
        what,
        found: data.len(),
        limit,
    })?;
    head.extend([0xff, 0xe1]);
    head.extend(size.to_be_bytes());
    head.extend(prefix);
    head.extend(data);
    Ok(())
}

fn flattened(picture: &DynamicImage, background: [u8; 3]) -> Cow<'_, RgbImage> {
    if let DynamicImage::ImageRgb8(rgb) = picture {
        return Cow::Borrowed(rgb);
    }
    if !picture.color().has_alpha() {
        return Cow::Owned(picture.to_rgb8());
    }
    let rgba = picture.to_rgba8();
    Cow::Owned(RgbImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        let [r, g, b, a] = rgba.get_pixel(x, y).0;
        let a = u32::from(a);
        let mix = |over: u8, under: u8| ((u32::from(over) * a + u32::from(under) * (255 - a) + 127) / 255) as u8;
        image::Rgb([mix(r, background[0]), mix(g, background[1]), mix(b, background[2])])
    }))
}

/// Writes a lossless WebP of 8 bits. (No kept encoder in Rust writes lossy WebP.)
pub fn write_webp(picture: &DynamicImage, options: &WriteOptions) -> Result<Vec<u8>> {
    const FORMAT: Format = Format::WebP;
    let (width, height) = (picture.width(), picture.height());
    if width > 16_384 || height > 16_384 {
        return Err(Error::CannotWrite { format: FORMAT, why: "no side may be longer than 16384 pixels".into() });
    }
    let texts = Texts::of(FORMAT, &options.metadata, true)?;
    let mut out = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut out);
    if let Some(icc) = srgb_icc() {
        encoder.set_icc_profile(icc);
    }
    if let Some(exif) = texts.exif {
        encoder.set_exif_metadata(exif);
    }
    if let Some(xmp) = texts.xmp {
        encoder.set_xmp_metadata(xmp.into_bytes());
    }
    let result = match layout(picture, false) {
        Layout::Rgb8(data) => encoder.encode(&data, width, height, image_webp::ColorType::Rgb8),
        Layout::Rgba8(data) => encoder.encode(&data, width, height, image_webp::ColorType::Rgba8),
        // Not made for 8 bits.
        Layout::Rgb16(_) | Layout::Rgba16(_) => {
            return Err(Error::CannotWrite { format: FORMAT, why: "16 bits".into() });
        }
    };
    result.map_err(|error| Error::CannotWrite { format: FORMAT, why: error.to_string() })?;
    Ok(out)
}

/// Writes a TIFF of 8 or 16 bits with alpha and nothing else: no description, and no profile, which programs take for sRGB.
pub fn write_tiff(picture: &DynamicImage) -> Result<Vec<u8>> {
    const FORMAT: Format = Format::Tiff;
    let why = |error: image::ImageError| Error::CannotWrite { format: FORMAT, why: error.to_string() };
    let mut out = Cursor::new(Vec::new());
    let encoder = image::codecs::tiff::TiffEncoder::new(&mut out);
    let picture = if is_deep(picture) {
        DynamicImage::ImageRgba16(picture.to_rgba16())
    } else {
        DynamicImage::ImageRgba8(picture.to_rgba8())
    };
    picture.write_with_encoder(encoder).map_err(why)?;
    Ok(out.into_inner())
}
