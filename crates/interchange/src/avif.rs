//! AVIF: the coded pictures of [`heif`](crate::heif), decoded by rav1d, and their luma and chroma turned into RGB.
//!
//! rav1d is dav1d in Rust behind dav1d's C interface. Unlike the other decoders it would end the program if it panicked, because
//! a panic cannot pass that interface; it has been fuzzed for years in both languages.

use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{DynamicImage, ImageBuffer, Rgba};
use re_rav1d::{Decoder, PixelLayout, PlanarImageComponent, Plane, Settings, pixel::YUVRange};

use crate::{
    Error, Format, Limits, Result,
    container::Raw,
    heif,
    read::{Decoded, check_size},
};

const FORMAT: Format = Format::Avif;

fn damaged(why: impl Into<String>) -> Error {
    Error::Damaged { format: FORMAT, why: why.into() }
}

pub(crate) fn read(bytes: &[u8], limits: &Limits) -> Result<Decoded> {
    let file = heif::parse(bytes, limits)?;
    if let Some((width, height)) = file.size {
        check_size(FORMAT, width, height, 4, limits)?;
    }
    let colour = Frame::decode(file.colour, limits)?;
    let deep = colour.bits > 8;
    check_size(FORMAT, colour.width, colour.height, if deep { 8 } else { 4 }, limits)?;
    let mut raw = Raw::of_parts(file.exif.as_deref(), file.xmp.as_deref(), None, file.icc.as_deref(), limits);
    // What the container says comes before what the stream says.
    let cicp = file.cicp.unwrap_or(colour.cicp);
    // A profile comes before code points here; the two agree in files that are well made.
    raw.cicp = raw.icc.is_none().then_some(cicp);
    let mut alpha = None;
    if let Some(data) = file.alpha {
        let frame = Frame::decode(data, limits)?;
        if (frame.width, frame.height) == (colour.width, colour.height) {
            alpha = Some(frame);
        } else {
            raw.warnings.push("The transparency has another size than the picture and was left out".into());
        }
    }
    if file.cropped {
        raw.warnings.push("The picture asks to be cropped, which was not done".into());
    }
    let matrix = Matrix::of(cicp[2], cicp[3] != 0)?;
    let pixel = |x: u32, y: u32| -> [f32; 4] {
        let [r, g, b] = matrix.rgb(&colour, x, y);
        let Some(alpha) = &alpha else { return [r, g, b, 1.0] };
        let a = alpha.alpha(x, y);
        if file.premultiplied && a > 0.0 { [r / a, g / a, b / a, a] } else { [r, g, b, a] }
    };
    let pixels = if deep {
        DynamicImage::ImageRgba16(ImageBuffer::from_fn(colour.width, colour.height, |x, y| {
            Rgba(pixel(x, y).map(|v| (v * 65535.0 + 0.5).clamp(0.0, 65535.0) as u16))
        }))
    } else {
        DynamicImage::ImageRgba8(ImageBuffer::from_fn(colour.width, colour.height, |x, y| {
            Rgba(pixel(x, y).map(|v| (v * 255.0 + 0.5).clamp(0.0, 255.0) as u8))
        }))
    };
    // The `image` crate is built without AVIF, so that the file's bytes are of no use to others.
    Ok(Decoded { pixels, orientation: file.orientation, raw, converted: false, plain: false })
}

/// A decoded frame.
struct Frame {
    width: u32,
    height: u32,
    bits: u32,
    layout: PixelLayout,
    /// Each with its bytes in a row.
    planes: Vec<(Plane, usize)>,
    /// What the stream says: primaries, transfer, matrix, full range.
    cicp: [u8; 4],
}

impl Frame {
    fn decode(data: Vec<u8>, limits: &Limits) -> Result<Self> {
        let failed = |error: re_rav1d::Error| match error {
            re_rav1d::Error::UnsupportedBitstream => {
                Error::Unsupported { format: FORMAT, what: "a profile of AV1".into() }
            }
            // Also what a frame above the limit gives.
            error => damaged(format!("AV1: {error}")),
        };
        let mut settings = Settings::new();
        // One still picture: nothing to work ahead on.
        settings.set_n_threads(1);
        settings.set_max_frame_delay(1);
        settings.set_frame_size_limit(u32::try_from(limits.max_decoded_bytes / 4).unwrap_or(u32::MAX).max(1));
        let mut decoder = Decoder::with_settings(&settings).map_err(failed)?;
        let mut sent = decoder.send_data(data, None, None, None);
        let picture = loop {
            match decoder.get_picture() {
                Ok(picture) => break picture,
                // It takes some of the data, gives what it has, and takes more.
                Err(again) if again.is_again() && sent.as_ref().is_err_and(re_rav1d::Error::is_again) => {
                    sent = decoder.send_pending_data();
                    if let Err(error) = sent
                        && !error.is_again()
                    {
                        return Err(failed(error));
                    }
                }
                Err(error) => return Err(failed(sent.err().filter(|error| !error.is_again()).unwrap_or(error))),
            }
        };
        let layout = picture.pixel_layout();
        let components: &[PlanarImageComponent] = match layout {
            PixelLayout::I400 => &[PlanarImageComponent::Y],
            _ => &[PlanarImageComponent::Y, PlanarImageComponent::U, PlanarImageComponent::V],
        };
        let planes = components
            .iter()
            .map(|&component| (picture.plane(component), picture.stride(component) as usize))
            .collect();
        let bits = picture.bits_per_component().ok_or_else(|| damaged("it says no depth"))?.0 as u32;
        // The reader of these codes panics on reserved ones, which stand for "unspecified" as far as we know.
        let codes = || {
            [
                picture.color_primaries() as u8,
                picture.transfer_characteristic() as u8,
                picture.matrix_coefficients() as u8,
                u8::from(picture.color_range() == YUVRange::Full),
            ]
        };
        let cicp = catch_unwind(AssertUnwindSafe(codes)).unwrap_or([2, 2, 2, 1]);
        Ok(Self { width: picture.width(), height: picture.height(), bits, layout, planes, cicp })
    }

    /// A sample as it is stored.
    fn sample(&self, plane: usize, x: u32, y: u32) -> f32 {
        let Some((plane, stride)) = self.planes.get(plane) else { return 0.0 };
        let row = y as usize * stride;
        if self.bits == 8 {
            plane.get(row + x as usize).map_or(0.0, |&v| f32::from(v))
        } else {
            let at = row + x as usize * 2;
            plane
                .get(at..at + 2)
                .and_then(|pair| pair.try_into().ok())
                .map_or(0.0, |pair| f32::from(u16::from_ne_bytes(pair)))
        }
    }

    /// A chroma sample at a pixel, between the stored ones where there are fewer than pixels.
    fn chroma(&self, plane: usize, x: u32, y: u32) -> f32 {
        let (across, down) = match self.layout {
            PixelLayout::I420 => (true, true),
            PixelLayout::I422 => (true, false),
            _ => (false, false),
        };
        // The nearest sample and the next nearest, three to one.
        let pair = |at: u32, side: u32, halved: bool| {
            if !halved {
                return (at, at);
            }
            let last = side.div_ceil(2) - 1;
            let near = at / 2;
            (near, if at % 2 == 1 { (near + 1).min(last) } else { near.saturating_sub(1) })
        };
        let (x0, x1) = pair(x, self.width, across);
        let (y0, y1) = pair(y, self.height, down);
        if (x0, y0) == (x1, y1) {
            return self.sample(plane, x0, y0);
        }
        let row = |y| 0.75 * self.sample(plane, x0, y) + 0.25 * self.sample(plane, x1, y);
        0.75 * row(y0) + 0.25 * row(y1)
    }

    fn highest(&self) -> f32 {
        ((1_u32 << self.bits) - 1) as f32
    }

    /// The opacity that this frame codes, 0 to 1.
    fn alpha(&self, x: u32, y: u32) -> f32 {
        let step = (1_u32 << (self.bits - 8)) as f32;
        let v = self.sample(0, x, y);
        if self.cicp[3] != 0 { v / self.highest() } else { ((v - 16.0 * step) / (219.0 * step)).clamp(0.0, 1.0) }
    }
}

/// From luma and chroma to red, green and blue.
enum Matrix {
    /// The planes are green, blue and red.
    Identity { full: bool },
    /// By the weights of red and blue in luma.
    Weights { red: f32, blue: f32, full: bool },
}

impl Matrix {
    fn of(code: u8, full: bool) -> Result<Self> {
        let weights = |red, blue| Ok(Self::Weights { red, blue, full });
        match code {
            0 => Ok(Self::Identity { full }),
            1 => weights(0.2126, 0.0722),
            4 => weights(0.30, 0.11),
            // Unspecified: what every other program takes it for.
            2 | 5 | 6 => weights(0.299, 0.114),
            7 => weights(0.212, 0.087),
            9 => weights(0.2627, 0.0593),
            other => Err(Error::Unsupported { format: FORMAT, what: format!("the colour matrix {other}") }),
        }
    }

    fn rgb(&self, frame: &Frame, x: u32, y: u32) -> [f32; 3] {
        let step = (1_u32 << (frame.bits - 8)) as f32;
        let light = |v: f32, full: bool| if full { v / frame.highest() } else { (v - 16.0 * step) / (219.0 * step) };
        let luma = frame.sample(0, x, y);
        match *self {
            _ if frame.layout == PixelLayout::I400 => {
                let full = match *self {
                    Self::Identity { full } | Self::Weights { full, .. } => full,
                };
                [light(luma, full); 3]
            }
            Self::Identity { full } => {
                let [g, b, r] = [luma, frame.chroma(1, x, y), frame.chroma(2, x, y)].map(|v| light(v, full));
                [r, g, b]
            }
            Self::Weights { red, blue, full } => {
                let half = 128.0 * step;
                let range = if full { frame.highest() } else { 224.0 * step };
                let y_ = light(luma, full);
                let [cb, cr] = [1, 2].map(|plane| (frame.chroma(plane, x, y) - half) / range);
                let r = y_ + 2.0 * (1.0 - red) * cr;
                let b = y_ + 2.0 * (1.0 - blue) * cb;
                let g = (y_ - red * r - blue * b) / (1.0 - red - blue);
                [r, g, b]
            }
        }
    }
}
