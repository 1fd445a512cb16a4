//! OpenRaster: layers as a zip archive of PNG files and an XML list, which GIMP, Krita, `MyPaint` and others read and write.
//!
//! ```
//! use image::{DynamicImage, RgbaImage};
//! use outframe_interchange::{Limits, ora::{Layer, Stack, read_ora, write_ora}};
//!
//! let sky = DynamicImage::ImageRgba8(RgbaImage::new(4, 4));
//! let stack = Stack { width: 8, height: 8, layers: vec![Layer::picture("Sky", 2, -1, sky)], ..Stack::default() };
//! let file = write_ora(&stack, &RgbaImage::new(8, 8), None)?;
//! let read = read_ora(&file, &Limits::default())?;
//! assert_eq!(read.stack, stack);
//! # Ok::<(), outframe_interchange::Error>(())
//! ```

use std::{
    fmt::Write as _,
    io::{Cursor, Read as _, Seek, Write},
};

use image::{DynamicImage, RgbaImage, imageops};
use quick_xml::{
    Reader,
    escape::{escape, unescape},
    events::{BytesStart, Event},
};
use zip::{CompressionMethod, ZipArchive, ZipWriter, result::ZipError, write::SimpleFileOptions};

use crate::{
    Effort, Error, Format, Limits, Picture, Result,
    metadata::xml_text,
    read::{guarded, within},
    read_picture,
    write::{bare_png, bare_rgba},
};

const FORMAT: Format = Format::OpenRaster;
const MEDIA_TYPE: &str = "image/openraster";
/// The specification's largest thumbnail.
const THUMBNAIL: u32 = 256;

/// A layered picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stack {
    /// Width of the canvas in pixels.
    pub width: u32,
    /// Height of the canvas in pixels.
    pub height: u32,
    /// Resolution in pixels per inch, across and down.
    pub resolution: Option<(u32, u32)>,
    /// The layers, the topmost first, as the file has them.
    pub layers: Vec<Layer>,
}

/// A layer or a group.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The name that the user sees.
    pub name: String,
    /// 0 to 1.
    pub opacity: f32,
    /// Whether it is shown.
    pub visible: bool,
    /// Whether it is protected from edits.
    pub locked: bool,
    /// Whether it is the one being edited.
    pub selected: bool,
    /// How it mixes with what is below.
    pub composite_op: CompositeOp,
    /// Left edge on the canvas; 0 for groups.
    pub x: i32,
    /// Top edge on the canvas; 0 for groups.
    pub y: i32,
    /// Pixels, or the group's layers.
    pub content: Content,
}

/// What a layer holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Pixels in sRGB with straight alpha, `ImageRgba8` or `ImageRgba16`.
    Pixels(DynamicImage),
    /// A group.
    Group {
        /// The group's layers, the topmost first. Their positions are on the canvas, not in the group.
        layers: Vec<Layer>,
        /// Whether the group is composited by itself first, and then as one with what is below.
        isolated: bool,
    },
}

impl Layer {
    /// A visible, opaque, normal layer of pixels.
    pub fn picture(name: impl Into<String>, x: i32, y: i32, pixels: DynamicImage) -> Self {
        Self {
            name: name.into(),
            opacity: 1.0,
            visible: true,
            locked: false,
            selected: false,
            composite_op: CompositeOp::default(),
            x,
            y,
            content: Content::Pixels(pixels),
        }
    }

    /// A visible, opaque, normal, isolated group.
    pub fn group(name: impl Into<String>, layers: Vec<Layer>) -> Self {
        Self {
            content: Content::Group { layers, isolated: true },
            ..Self::picture(name, 0, 0, DynamicImage::default())
        }
    }
}

/// How a layer mixes with what is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CompositeOp {
    /// Covers: `svg:src-over`.
    #[default]
    SrcOver,
    /// `svg:multiply`.
    Multiply,
    /// `svg:screen`.
    Screen,
    /// `svg:overlay`.
    Overlay,
    /// `svg:soft-light`.
    SoftLight,
    /// Adds the light of both: `svg:plus`.
    Plus,
    /// `svg:darken`.
    Darken,
    /// `svg:lighten`.
    Lighten,
    /// `svg:color`.
    Color,
    /// `svg:luminosity`.
    Luminosity,
}

impl CompositeOp {
    /// Every operation.
    pub const ALL: [Self; 10] = [
        Self::SrcOver,
        Self::Multiply,
        Self::Screen,
        Self::Overlay,
        Self::SoftLight,
        Self::Plus,
        Self::Darken,
        Self::Lighten,
        Self::Color,
        Self::Luminosity,
    ];

    /// The name in the file, such as "svg:soft-light".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SrcOver => "svg:src-over",
            Self::Multiply => "svg:multiply",
            Self::Screen => "svg:screen",
            Self::Overlay => "svg:overlay",
            Self::SoftLight => "svg:soft-light",
            Self::Plus => "svg:plus",
            Self::Darken => "svg:darken",
            Self::Lighten => "svg:lighten",
            Self::Color => "svg:color",
            Self::Luminosity => "svg:luminosity",
        }
    }

    /// The operation of that name; `None` for those that Outframe does not have.
    pub fn from_name(name: &str) -> Option<Self> {
        // Krita's name for the same.
        let name = if name == "svg:add" { "svg:plus" } else { name };
        Self::ALL.into_iter().find(|op| op.as_str() == name)
    }
}

/// A layered file that was read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Ora {
    /// The layers.
    pub stack: Stack,
    /// What was left out or replaced, in sentences for the user.
    pub warnings: Vec<String>,
}

// --- writing ---

/// The bytes of an .ora file. `merged` is the flat picture of the whole canvas, which other programs show; the thumbnail is made
/// from it unless one is given.
pub fn write_ora(stack: &Stack, merged: &RgbaImage, thumbnail: Option<&RgbaImage>) -> Result<Vec<u8>> {
    let mut out = Cursor::new(Vec::new());
    write_ora_to(&mut out, stack, merged, thumbnail)?;
    Ok(out.into_inner())
}

/// As [`write_ora`], into a file. Layers are encoded one after the other, so that only one is in memory twice.
pub fn write_ora_to<W: Write + Seek>(
    out: W,
    stack: &Stack,
    merged: &RgbaImage,
    thumbnail: Option<&RgbaImage>,
) -> Result<()> {
    let mut zip = ZipWriter::new(out);
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    // First and stored, so that the type can be told from the file's first bytes.
    put(&mut zip, "mimetype", MEDIA_TYPE.as_bytes(), stored)?;
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let resolution = stack.resolution.map(|(x, y)| format!(" xres=\"{x}\" yres=\"{y}\"")).unwrap_or_default();
    // Writing into a string cannot fail, here and below.
    let _ = writeln!(xml, "<image version=\"0.0.3\" w=\"{}\" h=\"{}\"{resolution}>", stack.width, stack.height);
    xml.push_str(" <stack>\n");
    let mut number = 0;
    write_layers(&mut zip, &mut xml, &stack.layers, 2, &mut number)?;
    xml.push_str(" </stack>\n</image>\n");
    put(&mut zip, "stack.xml", xml.as_bytes(), stored.compression_method(CompressionMethod::Deflated))?;
    put(&mut zip, "mergedimage.png", &bare_rgba(merged, Effort::Fast)?, stored)?;
    let small = match thumbnail {
        Some(given) if given.width() <= THUMBNAIL && given.height() <= THUMBNAIL => bare_rgba(given, Effort::Balanced)?,
        _ => bare_rgba(&shrunk(thumbnail.unwrap_or(merged)), Effort::Balanced)?,
    };
    put(&mut zip, "Thumbnails/thumbnail.png", &small, stored)?;
    zip.finish().map_err(zip_write)?.flush()?;
    Ok(())
}

fn shrunk(picture: &RgbaImage) -> RgbaImage {
    let (width, height) = picture.dimensions();
    let longest = width.max(height).max(1);
    if longest <= THUMBNAIL {
        return picture.clone();
    }
    let side = |side: u32| ((u64::from(side) * u64::from(THUMBNAIL) / u64::from(longest)) as u32).max(1);
    imageops::thumbnail(picture, side(width), side(height))
}

fn zip_write(error: ZipError) -> Error {
    match error {
        ZipError::Io(error) => Error::Write(error),
        error => Error::CannotWrite { format: FORMAT, why: error.to_string() },
    }
}

fn put<W: Write + Seek>(zip: &mut ZipWriter<W>, name: &str, data: &[u8], options: SimpleFileOptions) -> Result<()> {
    // Sizes above 4 GiB need another form of entry, which must be announced.
    zip.start_file(name, options.large_file(u32::try_from(data.len()).is_err())).map_err(zip_write)?;
    zip.write_all(data)?;
    Ok(())
}

fn write_layers<W: Write + Seek>(
    zip: &mut ZipWriter<W>,
    xml: &mut String,
    layers: &[Layer],
    depth: usize,
    number: &mut usize,
) -> Result<()> {
    for layer in layers {
        let opacity = if layer.opacity.is_finite() { layer.opacity.clamp(0.0, 1.0) } else { 1.0 };
        let mut attributes = format!(
            "name=\"{}\" opacity=\"{opacity}\" visibility=\"{}\" composite-op=\"{}\"",
            attribute(&layer.name),
            if layer.visible { "visible" } else { "hidden" },
            layer.composite_op.as_str(),
        );
        if layer.locked {
            attributes.push_str(" edit-locked=\"true\"");
        }
        if layer.selected {
            attributes.push_str(" selected=\"true\"");
        }
        let indent = " ".repeat(depth.min(64));
        match &layer.content {
            Content::Pixels(pixels) => {
                let path = format!("data/layer{number}.png");
                *number += 1;
                let _ =
                    writeln!(xml, "{indent}<layer {attributes} x=\"{}\" y=\"{}\" src=\"{path}\"/>", layer.x, layer.y);
                let png = if pixels.width() == 0 || pixels.height() == 0 {
                    // PNG has no picture without pixels.
                    bare_rgba(&RgbaImage::new(1, 1), Effort::Fast)?
                } else {
                    bare_png(pixels, Effort::Fast)?
                };
                put(zip, &path, &png, SimpleFileOptions::default().compression_method(CompressionMethod::Stored))?;
            }
            Content::Group { layers, isolated } => {
                // Programs disagree on whether a group's position moves its layers; without one there is nothing to disagree on.
                let isolation = if *isolated { "isolate" } else { "auto" };
                let _ = writeln!(xml, "{indent}<stack {attributes} isolation=\"{isolation}\">");
                write_layers(zip, xml, layers, depth + 1, number)?;
                let _ = writeln!(xml, "{indent}</stack>");
            }
        }
    }
    Ok(())
}

/// A text as an attribute's value. Line ends are written as references, because readers turn bare ones into spaces.
fn attribute(text: &str) -> String {
    escape(xml_text(text)).replace('\n', "&#10;").replace('\r', "&#13;").replace('\t', "&#9;")
}

// --- reading ---

fn damaged(why: impl Into<String>) -> Error {
    Error::Damaged { format: FORMAT, why: why.into() }
}

/// Reads an .ora file. Layers whose picture cannot be read are left out, with a warning; unknown blend modes become normal, with
/// a warning.
pub fn read_ora(bytes: &[u8], limits: &Limits) -> Result<Ora> {
    within(FORMAT, "the file's size in bytes", bytes.len() as u64, limits.max_file_bytes)?;
    guarded(FORMAT, || {
        let mut archive = Archive::open(bytes, limits)?;
        let xml =
            archive.read("stack.xml", limits.max_text_bytes as u64)?.ok_or_else(|| damaged("it has no stack.xml"))?;
        let xml = String::from_utf8(xml).map_err(|_| damaged("stack.xml is not UTF-8"))?;
        List { archive, limits, warnings: Vec::new(), decoded: 0, items: 0 }.read(&xml)
    })
}

/// The flat picture that the writing program put into an .ora file, if there is one.
pub fn read_ora_merged(bytes: &[u8], limits: &Limits) -> Result<Option<Picture>> {
    within(FORMAT, "the file's size in bytes", bytes.len() as u64, limits.max_file_bytes)?;
    let png = guarded(FORMAT, || Archive::open(bytes, limits)?.read("mergedimage.png", limits.max_decoded_bytes))?;
    png.map(|png| read_picture(&png, Some("mergedimage.png"), limits)).transpose()
}

struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    /// Bytes that may still be unpacked.
    left: u64,
}

impl<'a> Archive<'a> {
    fn open(bytes: &'a [u8], limits: &Limits) -> Result<Self> {
        let zip = ZipArchive::new(Cursor::new(bytes)).map_err(|error| damaged(error.to_string()))?;
        within(FORMAT, "the number of files inside", zip.len() as u64, limits.max_archive_entries as u64)?;
        let mut archive = Self { zip, left: limits.max_decoded_bytes };
        // Some programs end it with a line feed.
        match archive.read("mimetype", 256)? {
            Some(kind) if kind.trim_ascii() == MEDIA_TYPE.as_bytes() => Ok(archive),
            Some(_) => Err(Error::Unsupported { format: FORMAT, what: "another type of archive".into() }),
            None => Err(damaged("it has no mimetype")),
        }
    }

    /// Unpacks a file of at most `most` bytes; `None` if there is no such file.
    fn read(&mut self, name: &str, most: u64) -> Result<Option<Vec<u8>>> {
        const WHAT: &str = "the unpacked size of its files in bytes";
        let mut file = match self.zip.by_name(name) {
            Ok(file) => file,
            Err(ZipError::FileNotFound) => return Ok(None),
            Err(ZipError::UnsupportedArchive(what)) => {
                return Err(Error::Unsupported { format: FORMAT, what: what.to_string() });
            }
            Err(error) => return Err(damaged(error.to_string())),
        };
        let most = most.min(self.left);
        // What the file says first, and then what it does: the two need not agree.
        within(FORMAT, WHAT, file.size(), most)?;
        let mut data = Vec::new();
        file.by_ref().take(most + 1).read_to_end(&mut data).map_err(|error| damaged(format!("{name}: {error}")))?;
        within(FORMAT, WHAT, data.len() as u64, most)?;
        self.left -= data.len() as u64;
        Ok(Some(data))
    }
}

/// Whether a path stays inside the archive. Nothing is ever unpacked to disk; this keeps odd names out of messages and lookups.
fn is_plain_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 1024
        && !path.starts_with('/')
        && !path.contains(['\\', ':', '\0'])
        && path.split('/').all(|part| part != "..")
}

/// An element of stack.xml that is open.
enum Open {
    /// Anything whose content does not matter.
    Other,
    /// The outermost stack.
    Root,
    Group(Layer),
}

struct List<'a> {
    archive: Archive<'a>,
    limits: &'a Limits,
    warnings: Vec<String>,
    /// Bytes of pixels so far.
    decoded: u64,
    items: usize,
}

impl List<'_> {
    fn read(mut self, xml: &str) -> Result<Ora> {
        let mut reader = Reader::from_str(xml.trim_start_matches('\u{feff}'));
        let mut stack: Option<Stack> = None;
        // Open elements and the layers of each.
        let mut open: Vec<(Open, Vec<Layer>)> = Vec::new();
        let mut complete = false;
        loop {
            match reader.read_event().map_err(|error| damaged(format!("stack.xml: {error}")))? {
                Event::Start(element) => {
                    within(FORMAT, "the nesting of its groups", open.len() as u64 + 1, self.limits.max_nesting as u64)?;
                    let offset = offset_of(&open);
                    let entry = match element.name().as_ref() {
                        "image" if stack.is_none() => {
                            stack = Some(self.image(&element)?);
                            Open::Other
                        }
                        "stack" if stack.is_some() && !open.iter().any(|(open, _)| matches!(open, Open::Root)) => {
                            Open::Root
                        }
                        "stack" => {
                            self.count()?;
                            Open::Group(self.group(&element, offset))
                        }
                        "layer" => {
                            if let Some(layer) = self.layer(&element, offset)? {
                                push(&mut open, layer);
                            }
                            Open::Other
                        }
                        _ => Open::Other,
                    };
                    open.push((entry, Vec::new()));
                }
                Event::Empty(element) => {
                    let offset = offset_of(&open);
                    match element.name().as_ref() {
                        "layer" => {
                            if let Some(layer) = self.layer(&element, offset)? {
                                push(&mut open, layer);
                            }
                        }
                        "stack" if open.iter().any(|(open, _)| matches!(open, Open::Root)) => {
                            self.count()?;
                            let mut group = self.group(&element, offset);
                            (group.x, group.y) = (0, 0);
                            push(&mut open, group);
                        }
                        "stack" => complete = true,
                        "image" if stack.is_none() => stack = Some(self.image(&element)?),
                        _ => {}
                    }
                }
                Event::End(_) => match open.pop() {
                    Some((Open::Root, layers)) => {
                        complete = true;
                        if let Some(stack) = &mut stack {
                            stack.layers = layers;
                        }
                    }
                    Some((Open::Group(mut group), inside)) => {
                        if let Content::Group { layers, .. } = &mut group.content {
                            *layers = inside;
                        }
                        // Its offset is in its layers now.
                        (group.x, group.y) = (0, 0);
                        push(&mut open, group);
                    }
                    Some((Open::Other, _)) | None => {}
                },
                // Nothing in the format needs one, and its entities could grow without bound.
                Event::DocType(_) => {
                    return Err(Error::Unsupported { format: FORMAT, what: "a document type in stack.xml".into() });
                }
                Event::Eof => break,
                _ => {}
            }
        }
        match stack {
            Some(stack) if complete => Ok(Ora { stack, warnings: self.warnings }),
            Some(_) => Err(damaged("stack.xml ends early")),
            None => Err(damaged("stack.xml describes no image")),
        }
    }

    fn count(&mut self) -> Result<()> {
        self.items += 1;
        within(FORMAT, "the number of layers", self.items as u64, self.limits.max_items as u64)
    }

    fn warn(&mut self, warning: String) {
        // Ten thousand times the same says no more than a hundred times.
        if self.warnings.len() < 100 {
            self.warnings.push(warning);
        }
    }

    fn image(&self, element: &BytesStart<'_>) -> Result<Stack> {
        let number = |name: &str| get(element, name).and_then(|value| value.trim().parse::<u32>().ok());
        let (Some(width), Some(height)) = (number("w"), number("h")) else {
            return Err(damaged("stack.xml does not say the canvas size"));
        };
        within(FORMAT, "the canvas width", width.into(), self.limits.max_side.into())?;
        within(FORMAT, "the canvas height", height.into(), self.limits.max_side.into())?;
        let resolution = number("xres").map(|x| (x, number("yres").unwrap_or(x)));
        Ok(Stack { width, height, resolution, layers: Vec::new() })
    }

    /// What layers and groups have in common.
    fn group(&mut self, element: &BytesStart<'_>, offset: (i32, i32)) -> Layer {
        let name = get(element, "name").unwrap_or_default();
        let number = |name: &str| {
            get(element, name).and_then(|value| value.trim().parse::<f64>().ok()).filter(|v| v.is_finite())
        };
        let op = get(element, "composite-op").filter(|op| !op.is_empty());
        let composite_op =
            op.as_deref().map_or(Some(CompositeOp::SrcOver), CompositeOp::from_name).unwrap_or_else(|| {
                let op: String = op.unwrap_or_default().chars().take(64).collect();
                self.warn(format!("The blend mode {op:?} of the layer {name:?} is not known; it was read as normal"));
                CompositeOp::SrcOver
            });
        // Krita and others write fractions where the specification has whole pixels.
        let place =
            |name: &str| number(name).unwrap_or(0.0).round().clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i32;
        Layer {
            opacity: number("opacity").unwrap_or(1.0).clamp(0.0, 1.0) as f32,
            visible: get(element, "visibility").is_none_or(|value| value.trim() != "hidden"),
            locked: get(element, "edit-locked").is_some_and(|value| value.trim() == "true"),
            selected: get(element, "selected").is_some_and(|value| value.trim() == "true"),
            composite_op,
            x: place("x").saturating_add(offset.0),
            y: place("y").saturating_add(offset.1),
            content: Content::Group {
                layers: Vec::new(),
                isolated: get(element, "isolation").is_none_or(|value| value.trim() != "auto"),
            },
            name,
        }
    }

    fn layer(&mut self, element: &BytesStart<'_>, offset: (i32, i32)) -> Result<Option<Layer>> {
        self.count()?;
        let layer = self.group(element, offset);
        let path = get(element, "src").unwrap_or_default();
        if !is_plain_path(&path) {
            self.warn(format!("The layer {:?} names no file inside the archive and was left out", layer.name));
            return Ok(None);
        }
        let mut inner = self.limits.clone();
        inner.max_decoded_bytes = self.limits.max_decoded_bytes.saturating_sub(self.decoded);
        let Some(file) = self.archive.read(&path, u64::MAX - 1)? else {
            self.warn(format!("The picture of the layer {:?} is missing; the layer was left out", layer.name));
            return Ok(None);
        };
        match read_picture(&file, Some(&path), &inner) {
            Ok(picture) => {
                self.decoded += picture.pixels.as_bytes().len() as u64;
                for warning in picture.warnings {
                    self.warn(format!("Layer {:?}: {warning}", layer.name));
                }
                Ok(Some(Layer { content: Content::Pixels(picture.pixels), ..layer }))
            }
            Err(Error::TooLarge { what, found, limit, .. }) => {
                Err(Error::TooLarge { format: FORMAT, what, found, limit })
            }
            Err(error) => {
                self.warn(format!("The layer {:?} was left out. {error}", layer.name));
                Ok(None)
            }
        }
    }
}

/// The offset of the group that is open; the specification adds the offsets of nested stacks.
fn offset_of(open: &[(Open, Vec<Layer>)]) -> (i32, i32) {
    open.iter()
        .rev()
        .find_map(|(open, _)| match open {
            Open::Group(group) => Some((group.x, group.y)),
            _ => None,
        })
        .unwrap_or_default()
}

/// Puts a layer into the innermost open stack. One outside of any stack is no layer of the picture.
fn push(open: &mut [(Open, Vec<Layer>)], layer: Layer) {
    if let Some((_, layers)) = open.iter_mut().rev().find(|(open, _)| !matches!(open, Open::Other)) {
        layers.push(layer);
    }
}

fn get(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element.attributes().flatten().take(64).find(|attribute| attribute.key.as_ref() == name)?;
    // Only the five entities of XML itself; any other leaves the value as it stands.
    Some(unescape(&attribute.value).map_or_else(|_| attribute.value.to_string(), Into::into))
}
