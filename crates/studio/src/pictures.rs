//! Stored pictures decoded, and the flat picture of any part of the canvas.

use std::{collections::HashMap, io::Cursor, path::PathBuf, rc::Rc, sync::OnceLock};

use image::{
    DynamicImage, ImageEncoder as _, ImageFormat, RgbaImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
    imageops,
};
use outframe_document::{BlendMode, BlobId, Document, Layer, Patch, Project, Rect};

use crate::StudioError;

/// Pictures of one project, decoded when first needed and kept.
///
/// Flattening is exact where it can be: an opaque pixel comes out with the very bytes that were put in. Where alpha is
/// between, pixels are mixed in linear light.
#[derive(Debug)]
pub struct Pictures<'a> {
    project: &'a Project,
    decoded: HashMap<BlobId, Rc<RgbaImage>>,
}

impl<'a> Pictures<'a> {
    /// The pictures of this project.
    pub fn new(project: &'a Project) -> Self {
        Self { project, decoded: HashMap::new() }
    }

    fn picture(&mut self, id: BlobId) -> Result<Rc<RgbaImage>, StudioError> {
        if let Some(known) = self.decoded.get(&id) {
            return Ok(Rc::clone(known));
        }
        let bytes = self.project.blob(&id)?;
        let decoded = decode_stored(&bytes).map_err(|why| StudioError::Picture {
            path: PathBuf::from(format!("the stored picture {id}")),
            why: why.to_string(),
        })?;
        let decoded = Rc::new(decoded);
        self.decoded.insert(id, Rc::clone(&decoded));
        Ok(decoded)
    }

    /// The flat picture of `rect`, its alpha straight; transparent where nothing is painted.
    pub fn flatten(&mut self, rect: Rect) -> Result<RgbaImage, StudioError> {
        let document = self.project.document();
        let background = document.canvas.background.map_or([0; 4], |color| [color.r, color.g, color.b, color.a]);
        let mut canvas = RgbaImage::from_pixel(rect.width, rect.height, background.into());
        for layer in document.layers.iter().filter(|layer| layer.visible && layer.opacity > 0.0) {
            self.draw_layer(document, layer, rect, &mut canvas)?;
        }
        Ok(canvas)
    }

    fn draw_layer(
        &mut self,
        document: &Document,
        layer: &Layer,
        rect: Rect,
        canvas: &mut RgbaImage,
    ) -> Result<(), StudioError> {
        if layer.blend != BlendMode::Normal {
            return Err(StudioError::NotDrawable(format!("the blend mode of the layer “{}”", layer.name)));
        }
        if layer.opacity >= 1.0 {
            return layer.patches.iter().try_for_each(|patch| self.draw_patch(document, patch, rect, canvas));
        }
        let mut alone = RgbaImage::new(rect.width, rect.height);
        for patch in &layer.patches {
            self.draw_patch(document, patch, rect, &mut alone)?;
        }
        for (below, above) in canvas.pixels_mut().zip(alone.pixels()) {
            below.0 = over(below.0, above.0, layer.opacity as f32);
        }
        Ok(())
    }

    fn draw_patch(
        &mut self,
        document: &Document,
        patch: &Patch,
        rect: Rect,
        canvas: &mut RgbaImage,
    ) -> Result<(), StudioError> {
        let (Some(shared), Some(pixels)) = (rect.intersection(&patch.rect), document.pixels(patch)) else {
            return Ok(());
        };
        let mut image = self.picture(pixels.image)?;
        let mut mask = pixels.mask.map(|mask| self.picture(mask)).transpose()?;
        let size = (patch.rect.width, patch.rect.height);
        for picture in std::iter::once(&mut image).chain(mask.as_mut()) {
            if picture.dimensions() != size {
                *picture = Rc::new(imageops::resize(&**picture, size.0, size.1, imageops::FilterType::CatmullRom));
            }
        }
        let (from_x, from_y) = ((shared.x - patch.rect.x) as u32, (shared.y - patch.rect.y) as u32);
        let (to_x, to_y) = ((shared.x - rect.x) as u32, (shared.y - rect.y) as u32);
        for y in 0..shared.height {
            for x in 0..shared.width {
                let above = image.get_pixel(from_x + x, from_y + y).0;
                let shown =
                    mask.as_ref().map_or(1.0, |mask| f32::from(mask.get_pixel(from_x + x, from_y + y).0[0]) / 255.0);
                let below = canvas.get_pixel_mut(to_x + x, to_y + y);
                below.0 = over(below.0, above, shown);
            }
        }
        Ok(())
    }
}

/// `above` over `below` (Porter and Duff 1984) in linear light, both with straight alpha in sRGB.
fn over(below: [u8; 4], above: [u8; 4], opacity: f32) -> [u8; 4] {
    let alpha = f32::from(above[3]) / 255.0 * opacity;
    if alpha >= 1.0 {
        return above;
    }
    if alpha <= 0.0 {
        return below;
    }
    let under = f32::from(below[3]) / 255.0 * (1.0 - alpha);
    let sum = alpha + under;
    let mut out = [0; 4];
    for channel in 0..3 {
        // Where nothing lies below, the colour must not change by the way through linear light.
        out[channel] = if under <= 0.0 {
            above[channel]
        } else {
            let mixed = (to_linear(above[channel]) * alpha + to_linear(below[channel]) * under) / sum;
            from_linear(mixed)
        };
    }
    out[3] = (sum * 255.0).round() as u8;
    out
}

fn to_linear(value: u8) -> f32 {
    static TABLE: OnceLock<[f32; 256]> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut table = [0.0; 256];
        for (code, linear) in table.iter_mut().enumerate() {
            let share = code as f32 / 255.0;
            *linear = if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) };
        }
        table
    });
    table[usize::from(value)]
}

fn from_linear(value: f32) -> u8 {
    let share = if value <= 0.003_130_8 { value * 12.92 } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
    (share * 255.0).round().clamp(0.0, 255.0) as u8
}

fn decode_stored(bytes: &[u8]) -> Result<RgbaImage, image::ImageError> {
    let mut reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    reader.limits(crate::import::limits());
    Ok(reader.decode()?.into_rgba8())
}

/// Encodes a picture as PNG, losslessly, quickly rather than tightly.
pub fn encode_png(image: &DynamicImage) -> Result<Vec<u8>, StudioError> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
    encoder.write_image(image.as_bytes(), image.width(), image.height(), image.color().into()).map_err(|error| {
        StudioError::Picture {
            path: PathBuf::from("a new picture"),
            why: format!("it cannot be written as PNG: {error}"),
        }
    })?;
    Ok(bytes)
}

/// Media type of stored PNG pictures.
pub(crate) const PNG: &str = "image/png";

/// The media type of a format, where it has one.
pub(crate) fn media_type(format: ImageFormat) -> &'static str {
    format.to_mime_type()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_white_over_black_is_mixed_in_linear_light() {
        assert_eq!(over([0, 0, 0, 255], [255; 4], 0.5), [188, 188, 188, 255]);
    }

    #[test]
    fn opaque_and_lone_pixels_keep_their_bytes() {
        for code in 0..=255 {
            assert_eq!(over([9, 9, 9, 255], [code, 1, 2, 255], 1.0), [code, 1, 2, 255]);
            assert_eq!(over([0; 4], [code, 1, 2, 255], 0.25), [code, 1, 2, 64]);
            assert_eq!(from_linear(to_linear(code)), code);
        }
    }
}
