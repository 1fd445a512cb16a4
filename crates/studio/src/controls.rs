//! What steers a picture beside its prompt: `ControlNet`s with pictures of edges, depth, a pose or a scribble.

mod canny;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::{DynamicImage, RgbImage, RgbaImage, imageops};
use outframe_document::{BlobId, ControlUse, Project, Provenance, Rect};
use outframe_engine::Picture;
use outframe_interchange::{Limits, read_picture};

use crate::{
    Kind, Models, StudioError,
    pictures::{PNG, encode_png},
};

pub use canny::canny;
pub use outframe_engine::MAX_CONTROLS;

/// The thresholds that `ControlNet`s for edges are commonly used with.
pub const CANNY: (u32, u32) = (100, 200);
/// The greatest threshold: no gradient is steeper.
pub const MAX_THRESHOLD: u32 = 2040;
/// Scales beyond this are a slip of the keyboard.
const MAX_SCALE: f64 = 10.0;
/// The file name of weights in the diffusers layout: then the folder has the name.
const PLAIN: &str = "diffusion_pytorch_model";

/// A control network with the picture that it follows.
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// The network.
    pub network: ControlEntry,
    /// What it follows. It is stretched over the picture to be made: over the frame as it will be, where that grows.
    pub picture: Arc<RgbImage>,
    /// How strongly it counts: 1 as it was trained, 0 not at all; 0 to 10.
    pub scale: f64,
    /// From which part of the steps on it counts, 0 to 1.
    pub start: f64,
    /// Up to which part of the steps it counts; above `start`, at most 1.
    pub end: f64,
    /// What is done with the picture before.
    pub prepare: Prepare,
}

/// What is done with a control's picture before a network sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prepare {
    /// Nothing: it is already what the network was trained to see.
    #[default]
    Nothing,
    /// Its edges are found, white on black, with a lower and an upper threshold; see [`canny`].
    Canny {
        /// Weaker gradients are never an edge.
        low: u32,
        /// Stronger ones always are; those between where they continue a strong one.
        high: u32,
    },
}

/// An installed control network.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ControlEntry {
    /// The file's name without its ending or the folder's, by which it is asked for.
    pub name: String,
    /// The file or folder.
    pub path: PathBuf,
}

impl Control {
    /// A control that counts fully over all steps, its picture taken as it is.
    pub fn new(network: ControlEntry, picture: RgbImage) -> Self {
        let picture = Arc::new(picture);
        Self { network, picture, scale: 1.0, start: 0.0, end: 1.0, prepare: Prepare::Nothing }
    }

    /// What the network sees, in the picture's own size.
    pub fn prepared(&self) -> RgbImage {
        match self.prepare {
            Prepare::Nothing => self.picture.as_ref().clone(),
            Prepare::Canny { low, high } => DynamicImage::ImageLuma8(canny(&self.picture, low, high)).into_rgb8(),
        }
    }
}

/// Reads the picture of a control; what is transparent becomes black.
pub fn read_control_picture(path: &Path) -> Result<RgbImage, StudioError> {
    let bytes = std::fs::read(path).map_err(StudioError::io("read", path))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let picture = read_picture(&bytes, name.as_deref(), &Limits::default())
        .map_err(|error| StudioError::Picture { path: path.to_path_buf(), why: error.to_string() })?;
    Ok(on_black(&picture.pixels.into_rgba8()))
}

/// A picture as a control takes it: what is transparent becomes black.
pub fn on_black(pixels: &RgbaImage) -> RgbImage {
    RgbImage::from_fn(pixels.width(), pixels.height(), |x, y| {
        let [r, g, b, a] = pixels.get_pixel(x, y).0;
        image::Rgb([r, g, b].map(|value| (u16::from(value) * u16::from(a) / 255) as u8))
    })
}

impl Models {
    /// All control networks in the library's folders, by name; of two with one name, the first found counts.
    pub fn controls(&self) -> Vec<ControlEntry> {
        let mut found: Vec<ControlEntry> = Vec::new();
        for item in self.library().into_iter().filter(|item| item.kind == Kind::ControlNet && item.problem.is_none()) {
            if let Some(entry) = entry(&item.path).filter(|entry| found.iter().all(|other| other.name != entry.name)) {
                found.push(entry);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// The control network of this name or at this path.
    pub fn control(&self, asked: &str) -> Result<ControlEntry, StudioError> {
        let installed = self.controls();
        if let Some(entry) = installed.iter().find(|entry| entry.name == asked) {
            return Ok(entry.clone());
        }
        let path = Path::new(asked);
        if path.exists() {
            let path = path.canonicalize().map_err(StudioError::io("open", path))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            return Ok(entry(&path).unwrap_or(ControlEntry { name, path }));
        }
        let names = installed.into_iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
        Err(StudioError::InvalidRequest(format!(
            "There is no ControlNet “{asked}”. Installed: {}. Give one of these names or the path of a .safetensors file \
             or a folder in the diffusers layout.",
            if names.is_empty() { "none" } else { &names }
        )))
    }
}

/// A file's entry; weights in the diffusers layout have the name of their folder, and are loaded with its config.json.
fn entry(path: &Path) -> Option<ControlEntry> {
    let name = path.file_stem()?.to_string_lossy().into_owned();
    let folder = path.parent().filter(|folder| name.starts_with(PLAIN) && folder.join("config.json").is_file());
    match folder {
        Some(folder) => {
            Some(ControlEntry { name: folder.file_name()?.to_string_lossy().into_owned(), path: folder.to_path_buf() })
        }
        None => Some(ControlEntry { name, path: path.to_path_buf() }),
    }
}

/// Refuses impossible controls, before any work.
pub(crate) fn check(controls: &[Control]) -> Result<(), StudioError> {
    let invalid = |what: String| Err(StudioError::InvalidRequest(what));
    if controls.len() > MAX_CONTROLS {
        return invalid(format!("{} ControlNets at once: at most {MAX_CONTROLS}.", controls.len()));
    }
    for Control { network, picture, scale, start, end, prepare } in controls {
        let name = &network.name;
        if !(0.0..=MAX_SCALE).contains(scale) {
            return invalid(format!("The scale {scale} of the ControlNet {name}: choose 0 to {MAX_SCALE}."));
        }
        if !(*start >= 0.0 && start < end && *end <= 1.0) {
            return invalid(format!(
                "The ControlNet {name} from {start} to {end} of the steps: choose 0 to 1, the start before the end."
            ));
        }
        if picture.width() == 0 || picture.height() == 0 {
            return invalid(format!("The picture of the ControlNet {name} is empty."));
        }
        if let Prepare::Canny { low, high } = prepare
            && !(low <= high && *high <= MAX_THRESHOLD)
        {
            return invalid(format!(
                "Edges with thresholds {low} and {high} for the ControlNet {name}: choose 0 to {MAX_THRESHOLD}, the lower \
                 one first."
            ));
        }
    }
    Ok(())
}

/// Refuses all controls, for what cannot be steered.
pub(crate) fn refuse(controls: &[Control], what: &str) -> Result<(), StudioError> {
    if controls.is_empty() {
        return Ok(());
    }
    Err(StudioError::InvalidRequest(format!("{what} cannot be steered by a ControlNet. Leave it out.")))
}

/// The controls of one request, ready for each of its jobs.
#[derive(Debug, Clone)]
pub(crate) struct Steering {
    /// Over which part of the canvas the pictures are stretched.
    rect: Rect,
    controls: Vec<Ready>,
}

#[derive(Debug, Clone)]
struct Ready {
    control: Control,
    prepared: Arc<RgbImage>,
    /// The picture as given, as it is stored.
    png: Arc<Vec<u8>>,
}

impl Default for Steering {
    /// None.
    fn default() -> Self {
        Self { rect: Rect::new(0, 0, 1, 1), controls: Vec::new() }
    }
}

impl Steering {
    /// Prepares the pictures, which may take a moment for large ones.
    pub(crate) fn new(controls: &[Control], rect: Rect) -> Result<Self, StudioError> {
        check(controls)?;
        let ready = |control: &Control| {
            let png = encode_png(&DynamicImage::ImageRgb8(control.picture.as_ref().clone()))?;
            Ok(Ready { prepared: Arc::new(control.prepared()), control: control.clone(), png: Arc::new(png) })
        };
        let controls = controls.iter().map(ready).collect::<Result<_, StudioError>>()?;
        Ok(Self { rect, controls })
    }

    /// What the worker is told, and the pictures that go with it, for a job of `size` model pixels that shows `window`.
    pub(crate) fn for_window(
        &self,
        window: Rect,
        size: (u32, u32),
    ) -> Result<(Vec<outframe_engine::Control>, Vec<RgbImage>), StudioError> {
        let (mut told, mut pictures) = (Vec::new(), Vec::new());
        for Ready { control, prepared, .. } in &self.controls {
            let Control { network, scale, start, end, .. } = control;
            let picture = Picture { width: size.0, height: size.1 };
            let path = network.path.clone();
            told.push(outframe_engine::Control { path, scale: *scale, start: *start, end: *end, picture });
            pictures.push(crop(prepared, self.rect, window, size)?);
        }
        Ok((told, pictures))
    }

    /// Writes down what steered a generation, and hands out the pictures that [`store`] must put into the project.
    pub(crate) fn record(&self, provenance: &mut Provenance) -> Vec<Vec<u8>> {
        provenance.request.controls = self
            .controls
            .iter()
            .map(|Ready { control, png, .. }| ControlUse {
                network: control.network.name.clone(),
                picture: BlobId::of(png),
                rect: self.rect,
                scale: control.scale,
                start: control.start,
                end: control.end,
                canny: match control.prepare {
                    Prepare::Nothing => None,
                    Prepare::Canny { low, high } => Some([low, high]),
                },
            })
            .collect();
        self.controls.iter().map(|ready| ready.png.as_ref().clone()).collect()
    }
}

/// Puts recorded pictures into a project.
pub(crate) fn store(project: &mut Project, pictures: &[Vec<u8>]) -> Result<(), StudioError> {
    for picture in pictures {
        project.put_blob(picture, PNG)?;
    }
    Ok(())
}

/// What a window sees of a picture that is stretched over `over`, at the window's model size; black beyond it.
///
/// Stretched by Lanczos, as Python diffusers does it; over exactly the window's own rectangle it is the same.
fn crop(picture: &RgbImage, over: Rect, window: Rect, (width, height): (u32, u32)) -> Result<RgbImage, StudioError> {
    let mut out = RgbImage::new(width, height);
    let Some(shared) = over.intersection(&window) else { return Ok(out) };
    let failed = |error: &dyn std::fmt::Display| StudioError::Internal(format!("a control’s picture: {error}"));
    // The shared part in model pixels, at least one; and in the picture's own, to a fraction of one.
    let model = |at: i64, from: i64, side: u32, pixels: u32| {
        ((at - from) as f64 * f64::from(pixels) / f64::from(side)).round().clamp(0.0, f64::from(pixels)) as u32
    };
    let across = |x: i64| model(x, window.x, window.width, width);
    let down = |y: i64| model(y, window.y, window.height, height);
    let (left, top) = (across(shared.x).min(width - 1), down(shared.y).min(height - 1));
    let (right, bottom) = (across(shared.right()).max(left + 1), down(shared.bottom()).max(top + 1));
    let (per_x, per_y) = (
        f64::from(picture.width()) / f64::from(over.width.max(1)),
        f64::from(picture.height()) / f64::from(over.height.max(1)),
    );
    let source = (
        (shared.x - over.x) as f64 * per_x,
        (shared.y - over.y) as f64 * per_y,
        f64::from(shared.width) * per_x,
        f64::from(shared.height) * per_y,
    );
    let mut part = RgbImage::new(right - left, bottom - top);
    let how = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .crop(source.0, source.1, source.2, source.3);
    Resizer::new().resize(picture, &mut part, &how).map_err(|error| failed(&error))?;
    imageops::replace(&mut out, &part, i64::from(left), i64::from(top));
    Ok(out)
}

#[cfg(test)]
mod tests;
