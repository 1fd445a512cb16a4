//! The boxes of an AVIF file: where the coded pictures lie, how they are to be turned, and what is said about them.
//!
//! Every place and size comes from the file: all of them are looked up with checked slices, and all lists are bounded by the bytes
//! that they must take up in the file.

use image::metadata::Orientation;

use crate::{Error, Format, Limits, Result};

/// Most boxes in a list, most items and most properties: pictures have a handful of each.
const MOST: usize = 1024;

fn damaged(why: &str) -> Error {
    Error::Damaged { format: Format::Avif, why: why.into() }
}

fn unsupported(what: &str) -> Error {
    Error::Unsupported { format: Format::Avif, what: what.into() }
}

/// What matters of an AVIF file.
#[derive(Debug)]
pub(crate) struct Heif {
    /// The picture, as AV1.
    pub(crate) colour: Vec<u8>,
    /// Its opacity, as AV1.
    pub(crate) alpha: Option<Vec<u8>>,
    /// Colours are multiplied by the opacity already.
    pub(crate) premultiplied: bool,
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) orientation: Orientation,
    pub(crate) icc: Option<Vec<u8>>,
    /// Primaries, transfer, matrix, full range.
    pub(crate) cicp: Option<[u8; 4]>,
    pub(crate) exif: Option<Vec<u8>>,
    pub(crate) xmp: Option<Vec<u8>>,
    /// A crop that is not applied.
    pub(crate) cropped: bool,
}

/// A place in bytes, read from front to back.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    /// A big-endian number of 0 to 8 bytes.
    fn number(&mut self, bytes: usize) -> Option<u64> {
        (bytes <= 8)
            .then(|| self.take(bytes))?
            .map(|bytes| bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    fn short(&mut self) -> Option<u16> {
        self.number(2).map(|value| value as u16)
    }

    fn long(&mut self) -> Option<u32> {
        self.number(4).map(|value| value as u32)
    }

    /// Version and flags.
    fn version(&mut self) -> Option<(u8, u32)> {
        self.long().map(|value| ((value >> 24) as u8, value & 0xff_ffff))
    }

    /// An item's number, of 2 or 4 bytes.
    fn id(&mut self, long: bool) -> Option<u32> {
        self.number(if long { 4 } else { 2 }).map(|value| value as u32)
    }

    fn until_zero(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let text = self.take(end);
        self.take(1)?;
        text
    }
}

/// The boxes in some bytes: kind and content.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut rest = Bytes(bytes);
    std::iter::from_fn(move || {
        let whole = rest.0.len();
        let size = rest.long()?;
        let kind = *rest.take(4)?.first_chunk::<4>()?;
        let size = match size {
            0 => whole,
            1 => usize::try_from(rest.number(8)?).ok()?,
            size => size as usize,
        };
        let head = whole - rest.0.len();
        Some((kind, rest.take(size.checked_sub(head)?)?))
    })
    .take(MOST)
}

fn find(bytes: &[u8], kind: [u8; 4]) -> Option<&[u8]> {
    boxes(bytes).find(|(found, _)| *found == kind).map(|(_, content)| content)
}

struct Item<'a> {
    id: u32,
    kind: [u8; 4],
    /// For `mime` items.
    content_type: &'a [u8],
}

struct Place {
    id: u32,
    in_idat: bool,
    extents: Vec<(u64, u64)>,
}

/// The lists of a file.
struct Meta<'a> {
    bytes: &'a [u8],
    idat: &'a [u8],
    items: Vec<Item<'a>>,
    places: Vec<Place>,
    links: Vec<([u8; 4], u32, u32)>,
    properties: Properties<'a>,
}

impl<'a> Meta<'a> {
    fn properties_of(&self, id: u32) -> impl Iterator<Item = &([u8; 4], &'a [u8])> {
        let (all, owners) = &self.properties;
        owners
            .iter()
            .filter(move |(owner, _)| *owner == id)
            .filter_map(|(_, index)| all.get(usize::from(*index).checked_sub(1)?))
    }

    /// An item's bytes, put together from where they lie.
    fn data(&self, id: u32, most: usize) -> Option<Vec<u8>> {
        let place = self.places.iter().find(|place| place.id == id)?;
        let whole = if place.in_idat { self.idat } else { self.bytes };
        let mut data = Vec::new();
        for &(start, size) in &place.extents {
            let start = usize::try_from(start).ok()?;
            // A size of zero means all that follows.
            let end = if size == 0 { whole.len() } else { start.checked_add(usize::try_from(size).ok()?)? };
            let part = whole.get(start..end)?;
            if data.len() + part.len() > most {
                return None;
            }
            data.extend_from_slice(part);
        }
        Some(data)
    }

    fn is_alpha(&self, id: u32) -> bool {
        self.properties_of(id).any(|(kind, content)| {
            kind == b"auxC"
                && content.get(4..).is_some_and(|name| {
                    name.starts_with(b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha")
                        || name.starts_with(b"urn:mpeg:hevc:2015:auxid:1")
                })
        })
    }
}

pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Heif> {
    let meta = find(bytes, *b"meta")
        .and_then(|meta| meta.get(4..))
        .ok_or_else(|| damaged("it has no description of its items"))?;
    let primary = find(meta, *b"pitm")
        .and_then(|pitm| {
            let mut pitm = Bytes(pitm);
            let (version, _) = pitm.version()?;
            pitm.id(version > 0)
        })
        .ok_or_else(|| damaged("it does not say which item is the picture"))?;
    let meta = Meta {
        bytes,
        idat: find(meta, *b"idat").unwrap_or_default(),
        items: find(meta, *b"iinf").and_then(items).ok_or_else(|| damaged("its list of items is broken"))?,
        places: find(meta, *b"iloc").and_then(places).ok_or_else(|| damaged("its list of places is broken"))?,
        links: find(meta, *b"iref").map(links).unwrap_or_default(),
        properties: find(meta, *b"iprp").and_then(properties).unwrap_or_default(),
    };
    match meta.items.iter().find(|item| item.id == primary).map(|item| item.kind) {
        Some(kind) if kind == *b"av01" => {}
        Some(kind) if kind == *b"grid" => return Err(unsupported("a grid of several pictures")),
        Some(_) => return Err(unsupported("another coding than AV1")),
        None => return Err(damaged("its picture is not in the list of items")),
    }
    let colour = meta.data(primary, bytes.len()).ok_or_else(|| damaged("its picture lies outside of the file"))?;
    let mut heif = Heif::of_properties(colour, meta.properties_of(primary));
    for &(kind, from, to) in &meta.links {
        let Some(item) = meta.items.iter().find(|item| item.id == from).filter(|_| to == primary) else { continue };
        match (&kind, &item.kind) {
            (b"auxl", b"av01") if heif.alpha.is_none() && meta.is_alpha(from) => {
                heif.alpha = meta.data(from, bytes.len());
                heif.premultiplied = meta.links.contains(&(*b"prem", primary, from));
            }
            // Four bytes say how far behind them the TIFF structure begins.
            (b"cdsc", b"Exif") => {
                heif.exif = meta.data(from, limits.max_text_bytes).and_then(|exif| {
                    let mut exif = Bytes(&exif);
                    let skip = exif.long()? as usize;
                    exif.0.get(skip..).map(<[u8]>::to_vec)
                });
            }
            (b"cdsc", b"mime") if item.content_type == b"application/rdf+xml" => {
                heif.xmp = meta.data(from, limits.max_text_bytes);
            }
            _ => {}
        }
    }
    Ok(heif)
}

impl Heif {
    fn of_properties<'a>(colour: Vec<u8>, properties: impl Iterator<Item = &'a ([u8; 4], &'a [u8])>) -> Self {
        let mut heif = Self {
            colour,
            alpha: None,
            premultiplied: false,
            size: None,
            orientation: Orientation::NoTransforms,
            icc: None,
            cicp: None,
            exif: None,
            xmp: None,
            cropped: false,
        };
        let (mut turns, mut mirror) = (0, None);
        for (kind, content) in properties {
            match kind {
                b"ispe" => {
                    let both = Bytes(content.get(4..).unwrap_or_default()).number(8);
                    heif.size = both.map(|both| ((both >> 32) as u32, both as u32));
                }
                b"irot" => turns = content.first().map_or(0, |turns| turns & 3),
                b"imir" => mirror = content.first().map(|axis| axis & 1),
                b"clap" => heif.cropped = true,
                b"colr" => match content {
                    [b'n', b'c', b'l', b'x', _, primaries, _, transfer, _, matrix, range, ..] => {
                        heif.cicp = Some([*primaries, *transfer, *matrix, range >> 7]);
                    }
                    [b'p', b'r', b'o', b'f', icc @ ..] | [b'r', b'I', b'C', b'C', icc @ ..] => {
                        heif.icc = Some(icc.to_vec());
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        heif.orientation = orientation(turns, mirror);
        heif
    }
}

/// First a number of quarter turns against the clock, then a mirror: 0 swaps top and bottom, 1 left and right.
fn orientation(turns: u8, mirror: Option<u8>) -> Orientation {
    use Orientation::{
        FlipHorizontal, FlipVertical, NoTransforms, Rotate90, Rotate90FlipH, Rotate180, Rotate270, Rotate270FlipH,
    };
    match (turns, mirror) {
        (1, None) => Rotate270,
        (2, None) => Rotate180,
        (3, None) => Rotate90,
        (0, Some(1)) | (2, Some(0)) => FlipHorizontal,
        (0, Some(0)) | (2, Some(1)) => FlipVertical,
        (1, Some(1)) | (3, Some(0)) => Rotate270FlipH,
        (1, Some(0)) | (3, Some(1)) => Rotate90FlipH,
        _ => NoTransforms,
    }
}

fn items(iinf: &[u8]) -> Option<Vec<Item<'_>>> {
    let mut head = Bytes(iinf);
    let (version, _) = head.version()?;
    head.id(version > 0)?;
    let item = |content| {
        let mut item = Bytes(content);
        let (version, _) = item.version()?;
        // Older versions have no kinds, and nothing that is read here.
        let id = item.id(version >= 3).filter(|_| version >= 2)?;
        item.short()?;
        let kind = *item.take(4)?.first_chunk::<4>()?;
        let _name = item.until_zero();
        let content_type = if kind == *b"mime" { item.until_zero().unwrap_or(item.0) } else { &[] };
        Some(Item { id, kind, content_type })
    };
    Some(boxes(head.0).filter(|(kind, _)| kind == b"infe").filter_map(|(_, content)| item(content)).collect())
}

fn places(iloc: &[u8]) -> Option<Vec<Place>> {
    let mut iloc = Bytes(iloc);
    let (version, _) = iloc.version()?;
    let sizes = iloc.short()?;
    let [offset_size, length_size, base_size, index_size] = [12, 8, 4, 0].map(|shift| usize::from(sizes >> shift & 15));
    let index_size = if version == 0 { 0 } else { index_size };
    let count = iloc.id(version >= 2)? as usize;
    let mut places = Vec::new();
    for _ in 0..count.min(MOST) {
        let id = iloc.id(version >= 2)?;
        let in_idat = version > 0 && iloc.short()? & 15 == 1;
        iloc.short()?;
        let base = iloc.number(base_size)?;
        let extents = usize::from(iloc.short()?);
        let mut place = Place { id, in_idat, extents: Vec::new() };
        for _ in 0..extents.min(MOST) {
            iloc.number(index_size)?;
            let start = base.checked_add(iloc.number(offset_size)?)?;
            place.extents.push((start, iloc.number(length_size)?));
        }
        places.push(place);
    }
    Some(places)
}

/// Kind, from, to.
fn links(iref: &[u8]) -> Vec<([u8; 4], u32, u32)> {
    let mut found = Vec::new();
    let mut head = Bytes(iref);
    let Some((version, _)) = head.version() else { return found };
    for (kind, content) in boxes(head.0) {
        let mut content = Bytes(content);
        let Some(from) = content.id(version > 0) else { continue };
        for _ in 0..content.short().unwrap_or(0) {
            let Some(to) = content.id(version > 0).filter(|_| found.len() < MOST) else { break };
            found.push((kind, from, to));
        }
    }
    found
}

/// Kinds and contents, and which item has which (counted from 1).
type Properties<'a> = (Vec<([u8; 4], &'a [u8])>, Vec<(u32, u16)>);

fn properties(iprp: &[u8]) -> Option<Properties<'_>> {
    let properties = boxes(find(iprp, *b"ipco")?).collect();
    let mut owners = Vec::new();
    for (_, ipma) in boxes(iprp).filter(|(kind, _)| kind == b"ipma") {
        let mut ipma = Bytes(ipma);
        let (version, flags) = ipma.version()?;
        for _ in 0..(ipma.long()? as usize).min(MOST) {
            let id = ipma.id(version > 0)?;
            for _ in 0..ipma.number(1)? {
                // The highest bit says that the property is essential.
                let index = if flags & 1 == 1 { ipma.short()? & 0x7fff } else { ipma.number(1)? as u16 & 0x7f };
                if owners.len() < MOST {
                    owners.push((id, index));
                }
            }
        }
    }
    Some((properties, owners))
}
