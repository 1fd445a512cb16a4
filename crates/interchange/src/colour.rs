//! Colour profiles: whatever a file's numbers mean, sRGB comes out.

use image::{DynamicImage, ImageBuffer, Rgba};
use moxcms::{
    CicpColorPrimaries, CicpProfile, ColorProfile, DataColorSpace, Layout, MatrixCoefficients, RenderingIntent,
    TransferCharacteristics, TransformOptions,
};

/// What the file's numbers mean.
pub(crate) struct Profile(ColorProfile);

/// The bytes of an sRGB profile, for formats that have no shorter way to say sRGB.
pub(crate) fn srgb_icc() -> Option<Vec<u8>> {
    ColorProfile::new_srgb().encode().ok()
}

fn options() -> TransformOptions {
    TransformOptions {
        // What photographs are for, and what browsers and editors default to.
        rendering_intent: RenderingIntent::RelativeColorimetric,
        ..TransformOptions::default()
    }
}

impl Profile {
    /// Reads an ICC profile; the reason in words if it cannot be.
    pub(crate) fn of_icc(icc: &[u8]) -> Result<Self, String> {
        ColorProfile::new_from_slice(icc).map(Self).map_err(|error| error.to_string())
    }

    /// The profile that ITU-T H.273 code points name; `None` for plain sRGB and for unknown code points.
    pub(crate) fn of_cicp([primaries, transfer, _, _]: [u8; 4]) -> Option<Self> {
        // 1 = BT.709 primaries with 1, 13 or 2 (unspecified): what everyone shows as sRGB.
        if matches!(primaries, 1 | 2) && matches!(transfer, 1 | 2 | 6 | 13) {
            return None;
        }
        Some(Self(ColorProfile::new_from_cicp(CicpProfile {
            color_primaries: CicpColorPrimaries::try_from(primaries).ok()?,
            transfer_characteristics: TransferCharacteristics::try_from(transfer).ok()?,
            matrix_coefficients: MatrixCoefficients::Identity,
            full_range: true,
        })))
    }

    /// Whether the profile is for inks.
    pub(crate) fn is_cmyk(&self) -> bool {
        self.0.color_space == DataColorSpace::Cmyk
    }

    /// Whether colours come out as they went in, within one step of 256: sRGB under another name.
    pub(crate) fn is_srgb(&self) -> bool {
        let space = self.0.color_space;
        let (layout, samples): (Layout, Vec<u8>) = match space {
            DataColorSpace::Rgb => {
                let steps = (0..=255_u8).step_by(51);
                let cube = steps.clone().flat_map(|r| {
                    let steps = steps.clone();
                    steps.clone().flat_map(move |g| steps.clone().flat_map(move |b| [r, g, b]))
                });
                (Layout::Rgb, cube.chain((0..=255).flat_map(|v| [v; 3])).collect())
            }
            DataColorSpace::Gray => (Layout::Gray, (0..=255).collect()),
            _ => return false,
        };
        let pixels = samples.len() / if layout == Layout::Rgb { 3 } else { 1 };
        let mut out = vec![0; pixels * 3];
        let Ok(transform) = self.0.create_transform_8bit(layout, &ColorProfile::new_srgb(), Layout::Rgb, options())
        else {
            return false;
        };
        if transform.transform(&samples, &mut out).is_err() {
            return false;
        }
        let expected: Box<dyn Iterator<Item = u8>> = if layout == Layout::Rgb {
            Box::new(samples.into_iter())
        } else {
            Box::new(samples.into_iter().flat_map(|v| [v; 3]))
        };
        out.iter().zip(expected).all(|(&is, was)| is.abs_diff(was) <= 1)
    }

    /// Turns RGBA pixels, grey ones repeated in all three channels, into sRGB. Alpha is kept.
    pub(crate) fn apply(&self, picture: &mut DynamicImage) -> Result<(), String> {
        match picture {
            DynamicImage::ImageRgba8(pixels) => self.apply_8(pixels),
            DynamicImage::ImageRgba16(pixels) => self.apply_16(pixels),
            _ => Err("the pixels have an unexpected layout".into()),
        }
    }

    fn apply_8(&self, pixels: &mut ImageBuffer<Rgba<u8>, Vec<u8>>) -> Result<(), String> {
        let width = pixels.width() as usize;
        let (layout, grey) = self.layout()?;
        let transform = self
            .0
            .create_transform_8bit(layout, &ColorProfile::new_srgb(), Layout::Rgba, options())
            .map_err(|error| error.to_string())?;
        let mut source = vec![0; width * if grey { 2 } else { 4 }];
        for row in pixels.chunks_exact_mut(width * 4) {
            fill_row(&mut source, row, grey);
            transform.transform(&source, row).map_err(|error| error.to_string())?;
            restore_alpha(&source, row, grey);
        }
        Ok(())
    }

    fn apply_16(&self, pixels: &mut ImageBuffer<Rgba<u16>, Vec<u16>>) -> Result<(), String> {
        let width = pixels.width() as usize;
        let (layout, grey) = self.layout()?;
        let transform = self
            .0
            .create_transform_16bit(layout, &ColorProfile::new_srgb(), Layout::Rgba, options())
            .map_err(|error| error.to_string())?;
        let mut source = vec![0; width * if grey { 2 } else { 4 }];
        for row in pixels.chunks_exact_mut(width * 4) {
            fill_row(&mut source, row, grey);
            transform.transform(&source, row).map_err(|error| error.to_string())?;
            restore_alpha(&source, row, grey);
        }
        Ok(())
    }

    /// The layout of source pixels, and whether it is grey and alpha.
    fn layout(&self) -> Result<(Layout, bool), String> {
        match self.0.color_space {
            DataColorSpace::Rgb => Ok((Layout::Rgba, false)),
            DataColorSpace::Gray => Ok((Layout::GrayAlpha, true)),
            other => Err(format!("the profile is for {other:?}, the picture is not")),
        }
    }

    /// Turns rows of inks (0 = none, 255 = full) into sRGB; `out` gets RGBA.
    pub(crate) fn apply_cmyk(&self, inks: &[u8], width: usize, out: &mut [u8]) -> Result<(), String> {
        let transform = self
            .0
            .create_transform_8bit(Layout::Rgba, &ColorProfile::new_srgb(), Layout::Rgb, options())
            .map_err(|error| error.to_string())?;
        let mut rgb = vec![0; width * 3];
        for (inks, out) in inks.chunks_exact(width * 4).zip(out.chunks_exact_mut(width * 4)) {
            transform.transform(inks, &mut rgb).map_err(|error| error.to_string())?;
            for (rgb, out) in rgb.chunks_exact(3).zip(out.chunks_exact_mut(4)) {
                out[..3].copy_from_slice(rgb);
                out[3] = 255;
            }
        }
        Ok(())
    }
}

fn fill_row<T: Copy>(source: &mut [T], row: &[T], grey: bool) {
    if grey {
        for (source, pixel) in source.chunks_exact_mut(2).zip(row.chunks_exact(4)) {
            source[0] = pixel[0];
            source[1] = pixel[3];
        }
    } else {
        source.copy_from_slice(row);
    }
}

/// Colour libraries differ in what they do to alpha; here it stays as it was.
fn restore_alpha<T: Copy>(source: &[T], row: &mut [T], grey: bool) {
    let step = if grey { 2 } else { 4 };
    for (source, pixel) in source.chunks_exact(step).zip(row.chunks_exact_mut(4)) {
        pixel[3] = source[step - 1];
    }
}
