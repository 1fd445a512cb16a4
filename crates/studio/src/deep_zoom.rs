//! A picture as tiles for publishing: Deep Zoom's level numbers and descriptor, in folders of PNGs.

use std::{fs, path::Path, sync::Arc};

use image::{DynamicImage, RgbaImage};
use outframe_compositor::{AdapterChoice, Compositor, Filter, FlatView, Options, PictureSource, Scene};
use outframe_document::{Project, Rect};
use pollster::block_on;
use tokio_util::sync::CancellationToken;

use crate::{
    Event, EventSink, ProjectPictures, StudioError, encode_png, engine::EngineError, tiles::SIDE, write_whole,
};

/// The coarsest level that can be asked for.
const MAX_LEVEL: u32 = 24;
/// Tiles that are written at most.
const MOST_TILES: u64 = 1 << 20;

/// How to write tiles.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeepZoomOptions {
    /// The part of the canvas; the first frame when absent, or all that is there.
    pub rect: Option<Rect>,
    /// Only this level, 0 is one to one and each further one half as large; all down to a single pixel when
    /// absent.
    pub level: Option<u32>,
    /// The graphics adapter that composes.
    pub adapter: AdapterChoice,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeepZoom {
    /// The part of the canvas.
    pub rect: Rect,
    /// The levels, the finest first.
    pub levels: Vec<u32>,
    /// How many tiles there are in all.
    pub tiles: u64,
}

/// Writes the tiles of a level to `folder/LEVEL/COLUMN_ROW.png`, each [`SIDE`] pixels wide and high but for those at the
/// right and the bottom, and `folder/tiles.json`, which describes them. Without a level, all of them as Deep Zoom has them: the
/// folders below `tiles_files`, numbered from a single pixel upwards, and `tiles.dzi`, which viewers in browsers take as
/// it is. Blocks until it is done; not for async workers.
///
/// The tiles of a level are parts of one and the same picture, bit for bit.
pub fn export_tiles(
    project: &Project,
    folder: &Path,
    options: &DeepZoomOptions,
    events: EventSink<'_>,
    cancel: &CancellationToken,
) -> Result<DeepZoom, StudioError> {
    let document = project.document();
    let frame = || document.frames.first().map(|frame| frame.rect);
    let Some(rect) = options.rect.or_else(frame).or_else(|| document.bounds()) else {
        return Err(StudioError::NoPicture);
    };
    let last = deep_zoom_level(rect, 0);
    if let Some(level) = options.level.filter(|level| *level > MAX_LEVEL) {
        return Err(StudioError::InvalidRequest(format!(
            "There is no level {level}: 0 to {MAX_LEVEL} can be written."
        )));
    }
    let levels: Vec<u32> = options.level.map_or_else(|| (0..=last).collect(), |level| vec![level]);
    let count = |level: u32| {
        let (width, height) = size_at(rect, level);
        u64::from(width.div_ceil(SIDE)) * u64::from(height.div_ceil(SIDE))
    };
    let tiles: u64 = levels.iter().map(|level| count(*level)).sum();
    if tiles > MOST_TILES {
        return Err(StudioError::InvalidRequest(format!(
            "{tiles} tiles are too many; {MOST_TILES} are the most. Choose a smaller part of the canvas, or a coarser level."
        )));
    }
    let setup = Options { adapter: options.adapter.clone(), ..Options::default() };
    let compositor = block_on(Compositor::new(setup))?;
    let scene = Arc::new(Scene::new(document));
    let source: Arc<dyn PictureSource> = Arc::new(ProjectPictures::open(project.path())?);
    let mut done = 0;
    for level in &levels {
        let place = match options.level {
            Some(level) => folder.join(level.to_string()),
            None => folder.join("tiles_files").join(deep_zoom_level(rect, *level).to_string()),
        };
        fs::create_dir_all(&place).map_err(StudioError::io("make the folder", &place))?;
        let (width, height) = size_at(rect, *level);
        for (y, x) in (0..height.div_ceil(SIDE)).flat_map(|y| (0..width.div_ceil(SIDE)).map(move |x| (y, x))) {
            if cancel.is_cancelled() {
                return Err(EngineError::Cancelled.into());
            }
            let view = view_of(rect, *level, (x, y));
            let picture = block_on(compositor.flat(&scene, &source, &view, cancel))?;
            let image = RgbaImage::from_raw(picture.width, picture.height, picture.rgba)
                .ok_or_else(|| StudioError::Internal("pixels of a tile are missing".into()))?;
            write_whole(&place.join(format!("{x}_{y}.png")), &encode_png(&DynamicImage::ImageRgba8(image))?)?;
            done += 1;
            events(Event::Tiles { done, count: tiles });
        }
    }
    let about = serde_json::json!({
        "x": rect.x, "y": rect.y, "width": rect.width, "height": rect.height,
        "tileSize": SIDE, "overlap": 0, "format": "png", "levels": levels,
    });
    write_whole(&folder.join("tiles.json"), format!("{about:#}\n").as_bytes())?;
    if options.level.is_none() {
        write_whole(&folder.join("tiles.dzi"), descriptor(rect).as_bytes())?;
    }
    Ok(DeepZoom { rect, levels, tiles })
}

/// The whole picture's size at a level: as Deep Zoom has it, halved and rounded up.
fn size_at(rect: Rect, level: u32) -> (u32, u32) {
    let side = |length: u32| u64::from(length).div_ceil(1 << level) as u32;
    (side(rect.width), side(rect.height))
}

/// Deep Zoom counts from a single pixel upwards.
fn deep_zoom_level(rect: Rect, level: u32) -> u32 {
    let longest = rect.width.max(rect.height);
    longest.next_power_of_two().trailing_zeros().saturating_sub(level)
}

/// What a tile shows. Pixels of coarse levels may reach beyond the rectangle at the right and the bottom.
fn view_of(rect: Rect, level: u32, (x, y): (u32, u32)) -> FlatView {
    let (width, height) = size_at(rect, level);
    let scale = f64::from(1_u32 << level);
    let (left, top) = (x * SIDE, y * SIDE);
    let (out_width, out_height) = (SIDE.min(width - left), SIDE.min(height - top));
    FlatView {
        x: rect.x as f64 + f64::from(left) * scale,
        y: rect.y as f64 + f64::from(top) * scale,
        width: f64::from(out_width) * scale,
        height: f64::from(out_height) * scale,
        out_width,
        out_height,
        filter: Filter::Smooth,
        dither: false,
    }
}

/// The descriptor, in the schema of Microsoft's Deep Zoom file format of 2008.
fn descriptor(rect: Rect) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Image xmlns=\"http://schemas.microsoft.com/deepzoom/2008\" \
         Format=\"png\" Overlap=\"0\" TileSize=\"{SIDE}\"><Size Width=\"{}\" Height=\"{}\"/></Image>\n",
        rect.width, rect.height
    )
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GenericImage as _, Rgba, RgbaImage};
    use outframe_document::{Edit, Layer, Origin, Patch, PatchContent, PatchImage, Step};

    use super::*;
    use crate::{ExportOptions, export};

    fn project(folder: &Path) -> Project {
        let image = RgbaImage::from_fn(1300, 700, |x, y| {
            let bits = (x * 7919 + y * 104_729).wrapping_mul(2_654_435_761);
            let alpha = if (x / 90 + y / 70) % 3 == 0 { (bits >> 20) as u8 } else { 255 };
            Rgba([(bits >> 24) as u8, (x / 6) as u8, (y / 3) as u8, alpha])
        });
        let mut project = Project::create(folder.join("p.outframe"), "").unwrap();
        let id = project.put_blob(&encode_png(&image.into()).unwrap(), crate::pictures::PNG).unwrap();
        let own = PatchImage { image: id, mask: None, origin: Origin::Drawn };
        let mut layer = Layer::new(project.next_layer_id(), "");
        let content = PatchContent::Image(Box::new(own));
        layer.patches.push(Patch::new(project.next_patch_id(), Rect::new(-40, 24, 1300, 700), content));
        project.apply(Step::new("Add", vec![Edit::AddLayer { index: 0, layer: Box::new(layer) }])).unwrap();
        project
    }

    fn stitched(folder: &Path, width: u32, height: u32) -> DynamicImage {
        let mut whole = RgbaImage::new(width, height);
        for (y, x) in (0..height.div_ceil(SIDE)).flat_map(|y| (0..width.div_ceil(SIDE)).map(move |x| (y, x))) {
            let tile = image::open(folder.join(format!("{x}_{y}.png"))).unwrap().into_rgba8();
            whole.copy_from(&tile, x * SIDE, y * SIDE).unwrap();
        }
        whole.into()
    }

    #[test]
    fn tiles_stitched_are_one_large_picture_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path());
        let adapter = AdapterChoice::Software;
        for level in [0, 1] {
            let options =
                DeepZoomOptions { level: Some(level), adapter: adapter.clone(), ..DeepZoomOptions::default() };
            let place = folder.path().join(format!("tiles {level}"));
            let done = export_tiles(&project, &place, &options, &mut |_| {}, &CancellationToken::new()).unwrap();
            let size = (1300 >> level, 700 >> level);
            assert_eq!(done.tiles, [6, 2][level as usize]);
            let whole = folder.path().join("whole.png");
            let options = ExportOptions { size: Some(size), adapter: adapter.clone(), ..ExportOptions::default() };
            export(&project, &whole, &options).unwrap();
            let whole = image::open(whole).unwrap().into_rgba8();
            assert!(stitched(&place.join(level.to_string()), size.0, size.1).into_rgba8() == whole, "level {level}");
        }
    }

    #[test]
    fn all_levels_are_a_deep_zoom_picture() {
        let folder = tempfile::tempdir().unwrap();
        let project = project(folder.path());
        let place = folder.path().join("zoom");
        let options = DeepZoomOptions { adapter: AdapterChoice::Software, ..DeepZoomOptions::default() };
        let mut told = 0;
        let mut events = |event| {
            if let Event::Tiles { done, .. } = event {
                told = done;
            }
        };
        let done = export_tiles(&project, &place, &options, &mut events, &CancellationToken::new()).unwrap();
        // 2^11 is the first power of two that holds 1300 pixels; level 0 is a single pixel.
        assert_eq!((done.levels.len(), done.tiles, told), (12, 6 + 2 + 10, 18));
        assert_eq!(image::image_dimensions(place.join("tiles_files/11/2_1.png")).unwrap(), (276, 188));
        assert_eq!(image::image_dimensions(place.join("tiles_files/9/0_0.png")).unwrap(), (325, 175));
        assert_eq!(image::image_dimensions(place.join("tiles_files/0/0_0.png")).unwrap(), (1, 1));
        let text = fs::read_to_string(place.join("tiles.dzi")).unwrap();
        assert!(text.contains("Width=\"1300\" Height=\"700\"") && text.contains("TileSize=\"512\""), "{text}");
        let stopped = CancellationToken::new();
        stopped.cancel();
        let again = folder.path().join("again");
        let failed = export_tiles(&project, &again, &options, &mut |_| {}, &stopped).unwrap_err();
        assert!(failed.is_cancelled() && !again.join("tiles.json").exists());
    }
}
