//! Pictures out strip by strip: what is in memory does not grow with the picture's height.

use std::io::{Seek, Write};

use png::{BitDepth, ColorType};
use tiff::encoder::{TiffEncoder, TiffKind, colortype};

use super::{Texts, WriteOptions, png_failed, png_header};
use crate::{Error, Format, Result};

/// A classic TIFF counts its bytes in 32 bits; larger ones are written as `BigTIFF`. The margin is for the strips' table.
const MOST_CLASSIC_TIFF: u64 = (1 << 32) - (1 << 20);

/// A picture that comes strip by strip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSize {
    /// The width, in pixels.
    pub width: u32,
    /// The height, in pixels.
    pub height: u32,
    /// 16 bits a channel rather than 8.
    pub deep: bool,
    /// Keep alpha. Without, the alpha of what comes is dropped.
    pub alpha: bool,
}

/// Some whole rows, from the top: sRGB with straight alpha, four numbers a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strip {
    /// For 8 bits a channel.
    Bytes(Vec<u8>),
    /// For 16 bits a channel.
    Deep(Vec<u16>),
}

impl Strip {
    /// Whether nothing shines through.
    pub fn is_opaque(&self) -> bool {
        match self {
            Self::Bytes(rgba) => rgba.chunks_exact(4).all(|pixel| pixel[3] == u8::MAX),
            Self::Deep(rgba) => rgba.chunks_exact(4).all(|pixel| pixel[3] == u16::MAX),
        }
    }

    /// How many numbers it has.
    fn len(&self) -> usize {
        match self {
            Self::Bytes(rgba) => rgba.len(),
            Self::Deep(rgba) => rgba.len(),
        }
    }

    /// Its rows as PNG has them.
    fn png(self, alpha: bool) -> Vec<u8> {
        match (self, alpha) {
            (Self::Bytes(rgba), true) => rgba,
            (Self::Bytes(rgba), false) => {
                rgba.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect()
            }
            (Self::Deep(rgba), true) => rgba.into_iter().flat_map(u16::to_be_bytes).collect(),
            (Self::Deep(rgba), false) => {
                rgba.chunks_exact(4).flat_map(|pixel| pixel[..3].iter().copied()).flat_map(u16::to_be_bytes).collect()
            }
        }
    }
}

/// Counts what comes, so that neither too little nor too much gets into a file.
struct Rows {
    size: StreamSize,
    format: Format,
    left: u64,
}

impl Rows {
    fn new(size: StreamSize, format: Format) -> Result<Self> {
        let left = u64::from(size.width) * u64::from(size.height) * 4;
        if left == 0 {
            return Err(Error::CannotWrite { format, why: "it has no pixels".into() });
        }
        Ok(Self { size, format, left })
    }

    fn take(&mut self, strip: &Strip) -> Result<()> {
        let numbers = strip.len() as u64;
        let row = u64::from(self.size.width) * 4;
        let deep = matches!(strip, Strip::Deep(_));
        if numbers == 0 || !numbers.is_multiple_of(row) || numbers > self.left || deep != self.size.deep {
            let why = format!("a strip of {numbers} numbers does not fit the rows that are left");
            return Err(Error::CannotWrite { format: self.format, why });
        }
        self.left -= numbers;
        Ok(())
    }
}

/// Writes a PNG whose rows `next` hands over, some whole rows at a time, until the height is reached. Descriptions as
/// [`write_png`](crate::write_png) writes them. An error of `next` ends it; what was written then is no whole file.
pub fn stream_png<E: From<Error>>(
    out: &mut dyn Write,
    size: StreamSize,
    options: &WriteOptions,
    next: &mut dyn FnMut() -> Result<Strip, E>,
) -> Result<(), E> {
    const FORMAT: Format = Format::Png;
    let failed = |error| png_failed(FORMAT, error);
    let mut rows = Rows::new(size, FORMAT)?;
    let texts = Texts::of(FORMAT, &options.metadata, false)?;
    let colour = if size.alpha { ColorType::Rgba } else { ColorType::Rgb };
    let depth = if size.deep { BitDepth::Sixteen } else { BitDepth::Eight };
    let header = png_header(&mut *out, (size.width, size.height), (colour, depth), options.effort, &texts);
    let mut header = header.map_err(failed)?;
    let mut writer = header.stream_writer().map_err(failed)?;
    while rows.left > 0 {
        let strip = next()?;
        rows.take(&strip)?;
        writer.write_all(&strip.png(size.alpha)).map_err(Error::Write)?;
    }
    writer.finish().map_err(failed)?;
    header.finish().map_err(failed)?;
    out.flush().map_err(Error::Write)?;
    Ok(())
}

/// Writes a TIFF, uncompressed and with alpha, whose rows `next` hands over; each strip becomes one of the file, so all must
/// have `rows_per_strip` rows but for the last. Pixels alone, as by [`write_tiff`](crate::write_tiff).
pub fn stream_tiff<W: Write + Seek, E: From<Error>>(
    out: W,
    size: StreamSize,
    rows_per_strip: u32,
    next: &mut dyn FnMut() -> Result<Strip, E>,
) -> Result<(), E> {
    let bytes = u64::from(size.width) * u64::from(size.height) * if size.deep { 8 } else { 4 };
    if bytes > MOST_CLASSIC_TIFF {
        tiff_strips(TiffEncoder::new_big(out).map_err(tiff_failed)?, size, rows_per_strip, next)
    } else {
        tiff_strips(TiffEncoder::new(out).map_err(tiff_failed)?, size, rows_per_strip, next)
    }
}

fn tiff_failed(error: tiff::TiffError) -> Error {
    match error {
        tiff::TiffError::IoError(error) => Error::Write(error),
        error => Error::CannotWrite { format: Format::Tiff, why: error.to_string() },
    }
}

fn tiff_strips<W: Write + Seek, K: TiffKind, E: From<Error>>(
    mut encoder: TiffEncoder<W, K>,
    size: StreamSize,
    rows_per_strip: u32,
    next: &mut dyn FnMut() -> Result<Strip, E>,
) -> Result<(), E> {
    let mut rows = Rows::new(size, Format::Tiff)?;
    if size.deep {
        let image = encoder.new_image::<colortype::RGBA16>(size.width, size.height);
        let mut image = image.map_err(tiff_failed)?;
        image.rows_per_strip(rows_per_strip).map_err(tiff_failed)?;
        while rows.left > 0 {
            let strip = next()?;
            rows.take(&strip)?;
            if let Strip::Deep(rgba) = &strip {
                image.write_strip(rgba).map_err(tiff_failed)?;
            }
        }
        image.finish().map_err(tiff_failed)?;
    } else {
        let image = encoder.new_image::<colortype::RGBA8>(size.width, size.height);
        let mut image = image.map_err(tiff_failed)?;
        image.rows_per_strip(rows_per_strip).map_err(tiff_failed)?;
        while rows.left > 0 {
            let strip = next()?;
            rows.take(&strip)?;
            if let Strip::Bytes(rgba) = &strip {
                image.write_strip(rgba).map_err(tiff_failed)?;
            }
        }
        image.finish().map_err(tiff_failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, ImageBuffer, Rgba};

    use super::*;
    use crate::{GenerationMetadata, Limits, Metadata, WriteMetadata, read_picture, write_png};

    fn picture(opaque: bool) -> ImageBuffer<Rgba<u16>, Vec<u16>> {
        ImageBuffer::from_fn(37, 23, |x, y| {
            let alpha = if opaque { 65_535 } else { (x * 1700) as u16 };
            Rgba([(x * 1771) as u16, (y * 2849) as u16, (x * y * 77) as u16, alpha])
        })
    }

    fn options() -> WriteOptions {
        let generation =
            GenerationMetadata { prompt: "a heron — at dusk".into(), seed: Some(9), ..Default::default() };
        let metadata = Metadata { generation: Some(generation), ..Metadata::default() };
        WriteOptions { metadata: WriteMetadata { metadata, strip: false }, ..WriteOptions::default() }
    }

    fn strips<T: Copy>(numbers: &[T], rows: usize, wrap: fn(Vec<T>) -> Strip) -> Vec<Strip> {
        numbers.chunks(37 * 4 * rows).map(|strip| wrap(strip.to_vec())).collect()
    }

    #[test]
    fn strips_make_the_picture_that_the_whole_makes() {
        for (opaque, deep) in [(true, false), (false, false), (true, true), (false, true)] {
            let whole = DynamicImage::ImageRgba16(picture(opaque));
            let whole = if deep { whole } else { DynamicImage::ImageRgba8(whole.into_rgba8()) };
            let size = StreamSize { width: 37, height: 23, deep, alpha: !opaque };
            for rows in [1, 5, 23] {
                let parts = match &whole {
                    DynamicImage::ImageRgba16(whole) => strips(whole.as_raw(), rows, Strip::Deep),
                    other => strips(other.as_bytes(), rows, Strip::Bytes),
                };
                assert!(parts.iter().all(Strip::is_opaque) == opaque);
                let mut coming = parts.clone().into_iter();
                let mut png = Vec::new();
                stream_png::<Error>(&mut png, size, &options(), &mut || Ok(coming.next().unwrap())).unwrap();
                let read = read_picture(&png, None, &Limits::default()).unwrap();
                let at_once = read_picture(&write_png(&whole, &options()).unwrap(), None, &Limits::default()).unwrap();
                assert_eq!(read.pixels, at_once.pixels);
                assert_eq!(read.metadata, at_once.metadata);
                assert_eq!(read.metadata.generation.unwrap().prompt, "a heron — at dusk");
                let (mut coming, mut tiff) = (parts.into_iter(), Cursor::new(Vec::new()));
                stream_tiff::<_, Error>(&mut tiff, size, rows as u32, &mut || Ok(coming.next().unwrap())).unwrap();
                assert_eq!(image::load_from_memory(tiff.get_ref()).unwrap(), whole);
            }
        }
    }

    #[test]
    fn wrong_strips_are_refused() {
        let size = StreamSize { width: 37, height: 23, deep: false, alpha: true };
        for strip in [
            Strip::Bytes(vec![0; 37 * 4 - 1]),
            Strip::Bytes(vec![0; 37 * 4 * 24]),
            Strip::Bytes(Vec::new()),
            Strip::Deep(vec![0; 37 * 4]),
        ] {
            let mut out = Vec::new();
            let failed = stream_png::<Error>(&mut out, size, &WriteOptions::default(), &mut || Ok(strip.clone()));
            assert!(matches!(failed, Err(Error::CannotWrite { .. })), "{strip:?}");
            assert!(stream_tiff::<_, Error>(Cursor::new(Vec::new()), size, 4, &mut || Ok(strip.clone())).is_err());
        }
    }
}
