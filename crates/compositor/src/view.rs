//! What is asked for, and what comes out.

use std::{convert::Infallible, str::FromStr};

use image::DynamicImage;
use outframe_camera::Camera;
use outframe_document::BlobId;

/// Which graphics adapter draws.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AdapterChoice {
    /// The fastest that is there; one in software if there is no other.
    #[default]
    Auto,
    /// One in software, whatever else is there.
    Software,
    /// The first whose name holds this text, in whatever case.
    Named(String),
}

impl FromStr for AdapterChoice {
    type Err = Infallible;

    /// "auto" (or nothing), "software", or a part of a name.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.trim() {
            "" => Self::Auto,
            auto if auto.eq_ignore_ascii_case("auto") => Self::Auto,
            software if software.eq_ignore_ascii_case("software") => Self::Software,
            name => Self::Named(name.to_owned()),
        })
    }
}

/// How a compositor is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Which adapter draws.
    pub adapter: AdapterChoice,
    /// How many bytes of pictures and tiles stay on the device between views. What one view needs at once may exceed it.
    pub texture_budget: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { adapter: AdapterChoice::Auto, texture_budget: 512 << 20 }
    }
}

/// The adapter that draws.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdapterDescription {
    /// Its name, as its driver gives it.
    pub name: String,
    /// The interface, such as "vulkan".
    pub backend: String,
    /// The driver and its version, as far as known.
    pub driver: String,
    /// Whether it computes on the processor.
    pub software: bool,
}

/// What a compositor has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Bytes on the device that are kept for later views.
    pub resident_bytes: u64,
    /// Parts of pictures that were sent to the device.
    pub uploads: u64,
    /// Tiles of layers that were put together or made smaller.
    pub tiles: u64,
    /// What was thrown out to stay within the budget.
    pub evictions: u64,
    /// How often a lost device was replaced.
    pub recreated_devices: u64,
}

/// Where stored pictures come from.
pub trait PictureSource: Send + Sync {
    /// Decodes a stored picture, its colours sRGB with straight alpha. Called on the compositor's own threads, never on an
    /// async one, by several at a time; a picture is asked for again once it has been thrown out.
    fn load(&self, id: &BlobId) -> Result<DynamicImage, String>;
}

/// How pictures are enlarged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Filter {
    /// Bilinear, in linear light.
    #[default]
    Smooth,
    /// Each canvas pixel a sharp rectangle.
    Crisp,
}

/// A rectangle of the flat canvas.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FlatView {
    /// The left edge on the canvas, in canvas pixels.
    pub x: f64,
    /// The top edge on the canvas, in canvas pixels.
    pub y: f64,
    /// The width on the canvas, in canvas pixels.
    pub width: f64,
    /// The height on the canvas, in canvas pixels.
    pub height: f64,
    /// The width of the picture, in pixels.
    pub out_width: u32,
    /// The height of the picture, in pixels.
    pub out_height: u32,
    /// How the canvas is enlarged. It is always reduced by area.
    pub filter: Filter,
    /// Whether 8-bit codes are dithered. Codes that need no rounding stay as they are.
    pub dither: bool,
}

impl FlatView {
    /// The canvas pixels of a rectangle, one to one, without dither.
    pub fn pixels(x: i64, y: i64, width: u32, height: u32) -> Self {
        Self {
            x: x as f64,
            y: y as f64,
            width: f64::from(width),
            height: f64::from(height),
            out_width: width,
            out_height: height,
            filter: Filter::Smooth,
            dither: false,
        }
    }

    /// The tile in column `x` and row `y` of a map whose pixels are 2^`level` canvas pixels wide (negative: enlarged), and
    /// whose tiles are `side` pixels wide.
    pub fn tile(level: i32, x: i64, y: i64, side: u32, filter: Filter) -> Self {
        let span = f64::from(side) * f64::from(level).exp2();
        Self {
            x: x as f64 * span,
            y: y as f64 * span,
            width: span,
            height: span,
            out_width: side,
            out_height: side,
            filter,
            dither: false,
        }
    }
}

/// A frame of a shot.
#[derive(Debug, Clone, PartialEq)]
pub struct ShotView {
    /// The camera; for motion blur the camera at several moments, which are averaged in linear light.
    pub cameras: Vec<Camera>,
    /// The width of the picture, in pixels. The camera's own output is scaled to it.
    pub width: u32,
    /// The height of the picture, in pixels.
    pub height: u32,
    /// What the lens and the film add.
    pub look: Look,
    /// Whether the picture is put over black.
    pub opaque: bool,
    /// What is seen where nothing is painted.
    pub unpainted: Unpainted,
}

impl ShotView {
    /// What one camera sees, without look, transparent where nothing is painted.
    pub fn new(camera: Camera, width: u32, height: u32) -> Self {
        let (look, unpainted) = (Look::default(), Unpainted::Transparent);
        Self { cameras: vec![camera], width, height, look, opaque: false, unpainted }
    }
}

/// What the lens and the film add to a shot. The default adds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Look {
    /// How much the corners darken, 0..=1: at 1 to a tenth of the light, as cos^4 of the angle.
    pub vignette: f64,
    /// How strong the grain is, 0..=1: at 1 up to a quarter of the range in the middle tones.
    pub grain: f64,
    /// Which grain; another for each frame makes it move.
    pub grain_seed: u64,
    /// The aspect (width / height) of what stays between black bars; `None` for no bars.
    pub letterbox: Option<f64>,
}

/// What a shot shows where nothing is painted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Unpainted {
    /// Nothing: the picture is transparent there.
    #[default]
    Transparent,
    /// Grey squares.
    Checkerboard,
    /// Black.
    Black,
}

/// A composed picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// The width, in pixels.
    pub width: u32,
    /// The height, in pixels.
    pub height: u32,
    /// Row by row from the top, four bytes a pixel: sRGB with straight alpha.
    pub rgba: Vec<u8>,
}

/// A composed picture with 16 bits a channel, of which the device's half floats give about 11.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeepPicture {
    /// The width, in pixels.
    pub width: u32,
    /// The height, in pixels.
    pub height: u32,
    /// Row by row from the top, four numbers a pixel: sRGB with straight alpha.
    pub rgba: Vec<u16>,
}
