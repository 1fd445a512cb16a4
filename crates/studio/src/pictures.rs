//! Stored pictures decoded, and the flat picture of any part of the canvas.

use std::{
    collections::HashMap,
    io::Cursor,
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Mutex, OnceLock, PoisonError},
};

use image::{
    DynamicImage, ImageDecoder as _, ImageEncoder as _, Limits, RgbaImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
    imageops,
};
use outframe_document::{BlendMode, BlobId, Document, Layer, Mask, Node, Patch, Project, Rect};

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

    /// The flat picture of `rect`, its alpha straight; the canvas's background where nothing is painted.
    pub fn flatten(&mut self, rect: Rect) -> Result<RgbaImage, StudioError> {
        let document = self.project.document();
        let background = document.canvas.background.map_or([0; 4], |color| [color.r, color.g, color.b, color.a]);
        let mut canvas = RgbaImage::from_pixel(rect.width, rect.height, background.into());
        self.draw_nodes(document, &document.tree(), rect, &|_| true, &mut canvas)?;
        Ok(canvas)
    }

    /// The flat picture of `rect` without the canvas's background and with only the layers that `of` says: what is painted
    /// there, and transparent where nothing is.
    pub(crate) fn painted(&mut self, rect: Rect, of: &dyn Fn(&Layer) -> bool) -> Result<RgbaImage, StudioError> {
        let document = self.project.document();
        let mut canvas = RgbaImage::new(rect.width, rect.height);
        self.draw_nodes(document, &document.tree(), rect, of, &mut canvas)?;
        Ok(canvas)
    }

    /// The pixels of one layer alone, without its opacity, blend mode and mask.
    pub fn layer(&mut self, layer: &Layer, rect: Rect) -> Result<RgbaImage, StudioError> {
        let mut alone = RgbaImage::new(rect.width, rect.height);
        for patch in &layer.patches {
            self.draw_patch(self.project.document(), patch, rect, &mut alone)?;
        }
        Ok(alone)
    }

    fn draw_nodes(
        &mut self,
        document: &Document,
        nodes: &[Node<'_>],
        rect: Rect,
        of: &dyn Fn(&Layer) -> bool,
        canvas: &mut RgbaImage,
    ) -> Result<(), StudioError> {
        for node in nodes {
            match node {
                Node::Layer(layer) if layer.visible && layer.opacity > 0.0 && of(layer) => {
                    let plain = layer.opacity >= 1.0 && layer.blend == BlendMode::Normal && layer.mask.is_none();
                    if plain {
                        for patch in &layer.patches {
                            self.draw_patch(document, patch, rect, canvas)?;
                        }
                    } else {
                        let alone = self.layer(layer, rect)?;
                        self.mix(canvas, &alone, rect, layer.opacity, layer.blend, layer.mask.as_ref())?;
                    }
                }
                Node::Group(group, inner) if group.visible && group.opacity > 0.0 => {
                    let mut alone = RgbaImage::new(rect.width, rect.height);
                    self.draw_nodes(document, inner, rect, of, &mut alone)?;
                    self.mix(canvas, &alone, rect, group.opacity, group.blend, group.mask.as_ref())?;
                }
                Node::Layer(_) | Node::Group(..) => {}
            }
        }
        Ok(())
    }

    fn mix(
        &mut self,
        canvas: &mut RgbaImage,
        above: &RgbaImage,
        rect: Rect,
        opacity: f64,
        blend: BlendMode,
        mask: Option<&Mask>,
    ) -> Result<(), StudioError> {
        let mask = mask.map(|mask| self.mask(mask, rect)).transpose()?.flatten();
        for (index, (below, above)) in canvas.pixels_mut().zip(above.pixels()).enumerate() {
            let shown = mask.as_ref().map_or(1.0, |mask| f32::from(mask[index]) / 255.0);
            below.0 = blended(below.0, above.0, opacity as f32 * shown, blend);
        }
        Ok(())
    }

    /// A mask's values over `rect`, row by row; none when it has no effect.
    pub(crate) fn mask(&mut self, mask: &Mask, rect: Rect) -> Result<Option<Vec<u8>>, StudioError> {
        if !mask.enabled {
            return Ok(None);
        }
        let mut values = vec![if mask.outside { 255 } else { 0 }; rect.width as usize * rect.height as usize];
        if let Some(shared) = rect.intersection(&mask.rect) {
            let image = self.picture_of_size(mask.image, mask.rect)?;
            for y in shared.y..shared.bottom() {
                for x in shared.x..shared.right() {
                    let value = image.get_pixel((x - mask.rect.x) as u32, (y - mask.rect.y) as u32).0[0];
                    values[((y - rect.y) * i64::from(rect.width) + (x - rect.x)) as usize] = value;
                }
            }
        }
        Ok(Some(values))
    }

    /// Whether a stored picture can be transparent anywhere, by what its header says.
    pub(crate) fn has_alpha(&self, id: BlobId) -> Result<bool, StudioError> {
        let broken = |why: image::ImageError| StudioError::Picture {
            path: PathBuf::from(format!("the stored picture {id}")),
            why: why.to_string(),
        };
        let bytes = self.project.blob(&id)?;
        let reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| broken(e.into()))?;
        Ok(reader.into_decoder().map_err(broken)?.color_type().has_alpha())
    }

    /// A stored picture at the size of a rectangle.
    pub(crate) fn picture_of_size(&mut self, id: BlobId, rect: Rect) -> Result<Rc<RgbaImage>, StudioError> {
        let picture = self.picture(id)?;
        if picture.dimensions() == (rect.width, rect.height) {
            return Ok(picture);
        }
        Ok(Rc::new(imageops::resize(&*picture, rect.width, rect.height, imageops::FilterType::CatmullRom)))
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
        let image = self.picture_of_size(pixels.image, patch.rect)?;
        let mask = pixels.mask.map(|mask| self.picture_of_size(mask, patch.rect)).transpose()?;
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

/// The stored pictures of a project file, decoded for a renderer that works beside the project's writer.
///
/// It reads through a connection of its own and sees every picture that a committed step refers to, also later ones. While it is
/// open the file keeps its log beside it, so close it before the project itself where a lone file shall be left behind.
#[derive(Debug)]
pub struct ProjectPictures {
    project: Mutex<Project>,
}

impl ProjectPictures {
    /// The pictures of this file, which may be open for writing here or elsewhere.
    pub fn open(path: &Path) -> Result<Self, StudioError> {
        Ok(Self { project: Mutex::new(Project::open_read_only(path)?) })
    }

    /// Decodes a stored picture; they are all in sRGB. What failed is said in words.
    pub fn load(&self, id: &BlobId) -> Result<DynamicImage, String> {
        let bytes = {
            let project = self.project.lock().unwrap_or_else(PoisonError::into_inner);
            project.blob(id).map_err(|error| error.to_string())?
        };
        decode(&bytes).map_err(|error| format!("The stored picture {id} cannot be decoded: {error}"))
    }
}

/// `above` over `below` (Porter and Duff 1984) in linear light, both with straight alpha in sRGB.
fn over(below: [u8; 4], above: [u8; 4], opacity: f32) -> [u8; 4] {
    blended(below, above, opacity, BlendMode::Normal)
}

/// `above` over `below` with a blend mode, as in W3C's Compositing and Blending Level 1, in linear light.
fn blended(below: [u8; 4], above: [u8; 4], opacity: f32, blend: BlendMode) -> [u8; 4] {
    let alpha = f32::from(above[3]) / 255.0 * opacity;
    if alpha <= 0.0 {
        return below;
    }
    let backdrop = f32::from(below[3]) / 255.0;
    let covers = blend == BlendMode::Normal && alpha >= 1.0;
    if covers || backdrop <= 0.0 {
        // Where it covers, or nothing lies below, the colour must not change by the way through linear light.
        return [above[0], above[1], above[2], (alpha * 255.0).round() as u8];
    }
    let source = [0, 1, 2].map(|c| to_linear(above[c]));
    let under = [0, 1, 2].map(|c| to_linear(below[c]));
    let mixed = blend_colors(blend, under, source);
    let sum = alpha + backdrop * (1.0 - alpha);
    let mut out = [0; 4];
    for c in 0..3 {
        let painted = (1.0 - backdrop) * source[c] + backdrop * mixed[c];
        out[c] = from_linear((alpha * painted + (1.0 - alpha) * backdrop * under[c]) / sum);
    }
    out[3] = (sum * 255.0).round() as u8;
    out
}

/// The blend functions B(backdrop, source) of W3C's Compositing and Blending Level 1, sections 9 and 10.
fn blend_colors(blend: BlendMode, under: [f32; 3], source: [f32; 3]) -> [f32; 3] {
    let each = |function: fn(f32, f32) -> f32| [0, 1, 2].map(|c| function(under[c], source[c]));
    match blend {
        BlendMode::Normal => source,
        BlendMode::Multiply => each(|b, s| b * s),
        BlendMode::Screen => each(screen),
        BlendMode::Overlay => each(|b, s| hard_light(s, b)),
        BlendMode::SoftLight => each(soft_light),
        BlendMode::Add => each(|b, s| (b + s).min(1.0)),
        BlendMode::Darken => each(f32::min),
        BlendMode::Lighten => each(f32::max),
        BlendMode::Color => set_luminosity(source, luminosity(under)),
        BlendMode::Luminosity => set_luminosity(under, luminosity(source)),
    }
}

fn screen(b: f32, s: f32) -> f32 {
    b + s - b * s
}

fn hard_light(b: f32, s: f32) -> f32 {
    if s <= 0.5 { b * 2.0 * s } else { screen(b, 2.0 * s - 1.0) }
}

fn soft_light(b: f32, s: f32) -> f32 {
    if s <= 0.5 {
        return b - (1.0 - 2.0 * s) * b * (1.0 - b);
    }
    let curve = if b <= 0.25 { ((16.0 * b - 12.0) * b + 4.0) * b } else { b.sqrt() };
    b + (2.0 * s - 1.0) * (curve - b)
}

fn luminosity([r, g, b]: [f32; 3]) -> f32 {
    0.3 * r + 0.59 * g + 0.11 * b
}

/// `SetLum` and `ClipColor` of the specification.
fn set_luminosity(color: [f32; 3], wanted: f32) -> [f32; 3] {
    let add = wanted - luminosity(color);
    let color = color.map(|value| value + add);
    let lum = luminosity(color);
    let (low, high) = (color[0].min(color[1]).min(color[2]), color[0].max(color[1]).max(color[2]));
    color.map(|value| {
        if low < 0.0 {
            lum + (value - lum) * lum / (lum - low)
        } else if high > 1.0 {
            lum + (value - lum) * (1.0 - lum) / (high - lum)
        } else {
            value
        }
    })
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
    Ok(decode(bytes)?.into_rgba8())
}

fn decode(bytes: &[u8]) -> Result<DynamicImage, image::ImageError> {
    let mut reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format()?;
    // The bytes were checked when they came in; these bounds keep a damaged project from taking all memory.
    let bounds = outframe_interchange::Limits::default();
    let mut limits = Limits::default();
    limits.max_image_width = Some(bounds.max_side);
    limits.max_image_height = Some(bounds.max_side);
    limits.max_alloc = Some(2 * bounds.max_decoded_bytes);
    reader.limits(limits);
    reader.decode()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renderer_reads_beside_the_writer() {
        fn shared<T: Send + Sync>(_: &T) {}
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.outframe");
        let mut project = Project::create(&path, "").unwrap();
        let pictures = ProjectPictures::open(&path).unwrap();
        shared(&pictures);
        let image = DynamicImage::ImageRgb8(image::RgbImage::from_pixel(3, 2, image::Rgb([1, 2, 3])));
        let id = project.put_blob(&encode_png(&image).unwrap(), PNG).unwrap();
        assert!(pictures.load(&id).unwrap_err().contains("holds no picture"));
        let rect = Rect::new(0, 0, 3, 2);
        let content = outframe_document::PatchContent::Image(Box::new(outframe_document::PatchImage {
            image: id,
            mask: None,
            origin: outframe_document::Origin::Drawn,
        }));
        let mut layer = Layer::new(project.next_layer_id(), "");
        layer.patches.push(Patch::new(project.next_patch_id(), rect, content));
        let add = outframe_document::Edit::AddLayer { index: 0, layer: Box::new(layer) };
        project.apply(outframe_document::Step::new("Add", vec![add])).unwrap();
        assert_eq!(pictures.load(&id).unwrap().into_rgb8(), image.into_rgb8());
        project.undo().unwrap();
        drop(pictures);
        project.close().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a lone file is left");
    }

    #[test]
    fn half_white_over_black_is_mixed_in_linear_light() {
        assert_eq!(over([0, 0, 0, 255], [255; 4], 0.5), [188, 188, 188, 255]);
    }

    #[test]
    fn blend_modes_follow_the_specification() {
        // In linear light, where 188 is one half.
        let (black, half, white) = ([0, 0, 0, 255], [188, 188, 188, 255], [255; 4]);
        let mix = |below, above, blend| blended(below, above, 1.0, blend)[0];
        assert_eq!(mix(half, half, BlendMode::Multiply), from_linear(to_linear(188) * to_linear(188)));
        assert_eq!(mix(half, black, BlendMode::Multiply), 0);
        assert_eq!(mix(half, white, BlendMode::Screen), 255);
        assert_eq!(mix(half, black, BlendMode::Screen), 188);
        assert_eq!(mix(half, half, BlendMode::Add), 255);
        assert_eq!(mix(half, black, BlendMode::Darken), 0);
        assert_eq!(mix(half, white, BlendMode::Lighten), 255);
        assert_eq!(mix(half, half, BlendMode::SoftLight), 188);
        assert_eq!(mix(black, half, BlendMode::Overlay), 0);
        // A grey source takes the colour away; its luminosity is the backdrop's.
        let grey = blended([200, 40, 90, 255], [120, 120, 120, 255], 1.0, BlendMode::Color);
        assert!(grey[0].abs_diff(grey[1]) <= 1 && grey[1].abs_diff(grey[2]) <= 1);
        let kept = luminosity([0, 1, 2].map(|c| to_linear([200, 40, 90][c])));
        assert!((luminosity([0, 1, 2].map(|c| to_linear(grey[c]))) - kept).abs() < 0.01);
        // Over nothing every mode is the source.
        for blend in BlendMode::ALL {
            assert_eq!(blended([0; 4], [1, 2, 3, 255], 1.0, blend), [1, 2, 3, 255]);
        }
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
