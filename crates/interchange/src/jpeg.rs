//! JPEG, including the inks that the `image` crate would convert without looking at their profile.

use image::{DynamicImage, metadata::Orientation};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::{JpegDecoder, errors::DecodeErrors};

use crate::{
    Error, Format, Limits, Result,
    colour::Profile,
    container::{JpegSegments, Raw},
    read::{Decoded, check_size, orientation_of, rgba8},
};

const FORMAT: Format = Format::Jpeg;

fn failed(error: DecodeErrors) -> Error {
    match error {
        DecodeErrors::Unsupported(what) => Error::Unsupported { format: FORMAT, what: format!("{what:?}") },
        error => Error::Damaged { format: FORMAT, why: error.to_string() },
    }
}

pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    // The sides that the frame header says, before a decoder sees it.
    for (marker, data) in JpegSegments::new(bytes) {
        if matches!(marker, 0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc))
            && let [_bits, h1, h0, w1, w0, ..] = data
        {
            check_size(
                FORMAT,
                u16::from_be_bytes([*w1, *w0]).into(),
                u16::from_be_bytes([*h1, *h0]).into(),
                4,
                limits,
            )?;
        }
    }
    let mut raw = Raw::of_jpeg(bytes, limits);
    let side = limits.max_side as usize;
    // As the `image` crate decodes: a slightly damaged photograph is better than none.
    let options = DecoderOptions::default().set_strict_mode(false).set_max_width(side).set_max_height(side);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(failed)?;
    let colours = decoder.input_colorspace().unwrap_or(ColorSpace::YCbCr);
    let inks = matches!(colours, ColorSpace::CMYK | ColorSpace::YCCK);
    let wanted = match colours {
        ColorSpace::CMYK | ColorSpace::YCCK | ColorSpace::Luma => colours,
        _ => ColorSpace::RGB,
    };
    decoder.set_options(options.jpeg_set_out_colorspace(wanted));
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = (width as u32, height as u32);
    check_size(FORMAT, width, height, 4, limits)?;
    let mut samples = decoder.decode().map_err(failed)?;
    let orientation = orientation_of(&raw);
    let pixels = if inks {
        let profile = match raw.icc.as_deref().map(Profile::of_icc) {
            Some(Ok(profile)) if profile.is_cmyk() => Some(profile),
            None => None,
            _ => {
                raw.warnings.push("The colour profile is not for inks and was ignored".into());
                None
            }
        };
        ink_amounts(&mut samples, colours == ColorSpace::YCCK);
        of_inks(&samples, width, height, profile.as_ref(), &mut raw)?
    } else {
        let count = width as usize * height as usize;
        let mut out = Vec::with_capacity(count * 4);
        match samples.len() / count {
            1 => out.extend(samples.iter().flat_map(|&v| [v, v, v, 255])),
            _ => out.extend(samples.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 255])),
        }
        rgba8(FORMAT, width, height, out)?
    };
    Ok(Decoded { pixels, orientation, raw, converted: inks, plain: !inks && orientation == Orientation::NoTransforms })
}

/// Turns what the file has into amounts of ink, 255 = full.
///
/// Adobe wrote inks inverted, everyone else followed, and browsers and libraries read all of them so.
fn ink_amounts(samples: &mut [u8], ycck: bool) {
    for pixel in samples.chunks_exact_mut(4) {
        if ycck {
            // Luma and chroma code red, green and blue, which stand for the inverse of the stored, inverted inks.
            let y = f32::from(pixel[0]);
            let (cb, cr) = (f32::from(pixel[1]) - 128.0, f32::from(pixel[2]) - 128.0);
            let rgb = [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb];
            for (ink, value) in pixel.iter_mut().zip(rgb) {
                *ink = value.round().clamp(0.0, 255.0) as u8;
            }
        } else {
            for ink in &mut pixel[..3] {
                *ink = 255 - *ink;
            }
        }
        pixel[3] = 255 - pixel[3];
    }
}

fn of_inks(inks: &[u8], width: u32, height: u32, profile: Option<&Profile>, raw: &mut Raw) -> Result<DynamicImage> {
    let mut out = vec![255; inks.len()];
    let by_profile = profile.is_some_and(|profile| {
        profile
            .apply_cmyk(inks, width as usize, &mut out)
            .inspect_err(|why| raw.warnings.push(format!("The colour profile was ignored: {why}")))
            .is_ok()
    });
    if !by_profile {
        // Ideal inks: what every program without a profile shows.
        for (out, ink) in out.chunks_exact_mut(4).zip(inks.chunks_exact(4)) {
            let white = 255 - u32::from(ink[3]);
            for (out, ink) in out.iter_mut().zip(&ink[..3]) {
                *out = (((255 - u32::from(*ink)) * white + 127) / 255) as u8;
            }
            out[3] = 255;
        }
    }
    rgba8(FORMAT, width, height, out)
}
