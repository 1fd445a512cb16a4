//! What steers a picture: the networks of the library, and the pictures that they follow, read, rendered and shown small.

use std::{io::Cursor, path::Path};

use base64::Engine as _;
use image::{DynamicImage, RgbImage, imageops, imageops::FilterType};
use outframe_document::{BlobId, Project, Rect};
use outframe_studio::{
    Outline, Pictures,
    controls::{Control, MAX_CONTROLS, MAX_THRESHOLD, Prepare, on_black, read_control_picture},
};

use super::{Desk, picture_rect};
use crate::{
    api::{CommandError, ControlChoice, ControlPicture, ControlPreview},
    error::Answer,
    views::id,
};

/// The longest side of a small picture, in pixels.
const SMALL: u32 = 256;
/// A project's picture with more pixels than this is not followed: it is made by the processor, four bytes a pixel.
const MAX_PIXELS: u64 = 1 << 26;

impl Desk {
    /// The controls with their pictures, or what is wrong with one of them. `grown` says how the frame will grow.
    pub(super) fn controls(&self, chosen: &[ControlChoice], grown: Option<&Outline>) -> Answer<Vec<Control>> {
        if chosen.len() > MAX_CONTROLS {
            return Err(CommandError::invalid(format!(
                "{} ControlNets at once: at most {MAX_CONTROLS}. Remove some.",
                chosen.len()
            )));
        }
        chosen.iter().map(|choice| self.control(choice, grown)).collect()
    }

    fn control(&self, choice: &ControlChoice, grown: Option<&Outline>) -> Answer<Control> {
        let network = self.inner.studio.models().control(&choice.network)?;
        let prepare = prepare(choice.canny)?;
        let picture = self.control_picture(&choice.picture)?;
        let control = Control {
            scale: choice.scale,
            start: choice.start,
            end: choice.end,
            prepare,
            ..Control::new(network, picture)
        };
        Ok(match grown {
            // Stretched over the larger frame the picture would not lie on itself. Its edges are found before it is put there, as
            // the border of the known part is none.
            Some(outline) if choice.picture == ControlPicture::Frame => {
                let placed = placed(&control.prepared(), outline.before, outline.after);
                Control { picture: placed.into(), prepare: Prepare::Nothing, ..control }
            }
            _ => control,
        })
    }

    fn control_picture(&self, picture: &ControlPicture) -> Answer<RgbImage> {
        match picture {
            ControlPicture::File { path } => {
                let path = Path::new(path);
                if !path.is_file() {
                    return Err(CommandError::not_found(format!(
                        "{} is not there any more. Choose another picture for the ControlNet.",
                        path.display()
                    )));
                }
                Ok(read_control_picture(path)?)
            }
            ControlPicture::Frame => {
                let open = self.open()?;
                let rect = picture_rect(&open.document()).ok_or_else(|| {
                    CommandError::invalid(
                        "There is no picture yet that a ControlNet could follow. Choose a file for it, or make a picture first.",
                    )
                })?;
                if u64::from(rect.width) * u64::from(rect.height) > MAX_PIXELS {
                    return Err(CommandError::invalid(format!(
                        "The picture ({} × {} pixels) is too large for a ControlNet to follow. Export it smaller and choose that \
                         file.",
                        rect.width, rect.height
                    )));
                }
                // The state of now, whatever is edited meanwhile.
                let project = Project::open_read_only(&open.path)?;
                Ok(on_black(&Pictures::new(&project).flatten(rect)?))
            }
            ControlPicture::Stored { blob } => {
                let blob: BlobId = id(blob, "picture")?;
                let stored = self.open()?.source().map_err(CommandError::failed)?.load(&blob);
                let stored = stored.map_err(|why| {
                    CommandError::not_found(format!(
                        "The picture that the ControlNet followed cannot be read: {why} Choose another one."
                    ))
                })?;
                Ok(on_black(&stored.into_rgba8()))
            }
        }
    }

    /// What a network would see, small: the picture, or its edges.
    pub(crate) fn preview_control(
        &self,
        picture: &ControlPicture,
        canny: Option<(u32, u32)>,
    ) -> Answer<ControlPreview> {
        let prepare = prepare(canny)?;
        let picture = self.control_picture(picture)?;
        let (width, height) = picture.dimensions();
        let size = super::pictures::within(width, height, SMALL);
        let small = match prepare {
            Prepare::Nothing => imageops::resize(&picture, size.0, size.1, FilterType::Triangle),
            Prepare::Canny { low, high } => {
                let edges = outframe_studio::controls::canny(&picture, low, high);
                DynamicImage::ImageLuma8(brightest(&edges, size)).into_rgb8()
            }
        };
        let mut png = Cursor::new(Vec::new());
        DynamicImage::ImageRgb8(small)
            .write_to(&mut png, image::ImageFormat::Png)
            .map_err(|error| CommandError::failed(format!("The picture cannot be shown: {error}.")))?;
        let image = base64::engine::general_purpose::STANDARD.encode(png.into_inner());
        Ok(ControlPreview { image: format!("data:image/png;base64,{image}"), width, height })
    }
}

fn prepare(canny: Option<(u32, u32)>) -> Answer<Prepare> {
    match canny {
        None => Ok(Prepare::Nothing),
        Some((low, high)) if low <= high && high <= MAX_THRESHOLD => Ok(Prepare::Canny { low, high }),
        Some((low, high)) => Err(CommandError::invalid(format!(
            "Edges with thresholds {low} and {high}: choose 0 to {MAX_THRESHOLD}, the lower one first."
        ))),
    }
}

/// A picture at its place in a larger one, black around.
fn placed(picture: &RgbImage, at: Rect, within: Rect) -> RgbImage {
    let mut all = RgbImage::new(within.width, within.height);
    imageops::replace(&mut all, picture, at.x - within.x, at.y - within.y);
    all
}

/// Made small by the brightest pixel of each part, so that lines of one pixel can still be seen. `size` is at most the picture's.
fn brightest(picture: &image::GrayImage, (width, height): (u32, u32)) -> image::GrayImage {
    let mut small = image::GrayImage::new(width, height);
    let part = |at: u32, all: u32, parts: u32| (u64::from(at) * u64::from(parts) / u64::from(all)) as u32;
    for (x, y, pixel) in picture.enumerate_pixels() {
        let shown = small.get_pixel_mut(part(x, picture.width(), width), part(y, picture.height(), height));
        shown.0[0] = shown.0[0].max(pixel.0[0]);
    }
    small
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, Rgb};

    use super::*;

    #[test]
    fn a_line_of_one_pixel_stays_visible() {
        let line = GrayImage::from_fn(1000, 400, |x, _| Luma([if x == 333 { 255 } else { 0 }]));
        let small = brightest(&line, (250, 100));
        let lit: Vec<u32> = (0..250).filter(|x| small.get_pixel(*x, 50).0[0] == 255).collect();
        assert_eq!(lit, [83]);
    }

    #[test]
    fn the_known_part_lies_where_it_is_in_the_larger_frame() {
        let known = RgbImage::from_pixel(4, 3, Rgb([9, 8, 7]));
        let all = placed(&known, Rect::new(10, 20, 4, 3), Rect::new(8, 20, 8, 3));
        let row: Vec<u8> = (0..8).map(|x| all.get_pixel(x, 1).0[0]).collect();
        assert_eq!(row, [0, 0, 9, 9, 9, 9, 0, 0]);
    }
}
