//! What lies beside the pixels: texts, EXIF, XMP, IPTC and colour profiles, taken out of PNG, JPEG and WebP by walking their
//! chunks. Nothing is unpacked or copied beyond the limits.

use std::{borrow::Cow, io::Read as _};

use flate2::read::ZlibDecoder;

use crate::Limits;

/// The parts of a file beside its pixels, as they are in the file.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    /// A TIFF structure, without the prefix that JPEG puts before it.
    pub(crate) exif: Option<Vec<u8>>,
    /// An XMP packet.
    pub(crate) xmp: Option<String>,
    /// IPTC-IIM datasets.
    pub(crate) iptc: Option<Vec<u8>>,
    /// An ICC profile.
    pub(crate) icc: Option<Vec<u8>>,
    /// Colour primaries, transfer, matrix and range by ITU-T H.273, where the file says them.
    pub(crate) cicp: Option<[u8; 4]>,
    /// Keyword and text, in the order of the file.
    pub(crate) texts: Vec<(String, String)>,
    /// What was left out, for the user.
    pub(crate) warnings: Vec<String>,
    /// Bytes of text taken so far.
    taken: usize,
}

impl Raw {
    /// Whether `more` bytes of text may still be taken; says so once if not.
    fn room(&mut self, what: &str, more: usize, limits: &Limits) -> bool {
        let fits = more <= limits.max_text_bytes && self.taken.saturating_add(more) <= limits.max_all_text_bytes;
        if fits {
            self.taken += more;
        } else {
            self.warnings.push(format!("{what} is too long and was left out"));
        }
        fits
    }

    fn set_xmp(&mut self, bytes: &[u8], limits: &Limits) {
        if self.xmp.is_none() && self.room("The XMP description", bytes.len(), limits) {
            self.xmp = Some(String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned());
        }
    }

    fn set_exif(&mut self, bytes: &[u8], limits: &Limits) {
        // WebP and some PNG files carry the prefix that belongs in JPEG alone.
        let bytes = bytes.strip_prefix(b"Exif\0\0").unwrap_or(bytes);
        if self.exif.is_none() && self.room("The EXIF description", bytes.len(), limits) {
            self.exif = Some(bytes.to_vec());
        }
    }

    fn set_icc(&mut self, icc: Cow<'_, [u8]>, limits: &Limits) {
        if icc.len() > limits.max_profile_bytes {
            self.warnings.push("The colour profile is too large and was ignored".into());
        } else if self.icc.is_none() {
            self.icc = Some(icc.into_owned());
        }
    }

    /// What a PNG file holds beside its pixels. A damaged chunk is left out; the pixels may still be good.
    pub(crate) fn of_png(bytes: &[u8], limits: &Limits) -> Self {
        let mut raw = Self::default();
        let mut rest = bytes.get(8..).unwrap_or_default();
        while let Some((kind, data, next)) = png_chunk(rest) {
            rest = next;
            match &kind {
                b"tEXt" => {
                    if let Some((keyword, text)) = split_keyword(data)
                        && raw.room("A text", text.len(), limits)
                    {
                        raw.texts.push((keyword, latin1_or_utf8(text)));
                    }
                }
                b"zTXt" => {
                    if let Some((keyword, [0, packed @ ..])) = split_keyword(data)
                        && let Some(text) = raw.inflate_text(packed, limits)
                    {
                        raw.texts.push((keyword, latin1_or_utf8(&text)));
                    }
                }
                b"iTXt" => raw.take_itxt(data, limits),
                b"eXIf" => raw.set_exif(data, limits),
                b"cICP" => raw.cicp = data.get(..4).and_then(|cicp| cicp.try_into().ok()),
                b"iCCP" => {
                    if let Some((_, [0, packed @ ..])) = split_keyword(data) {
                        match inflate(packed, limits.max_profile_bytes) {
                            Inflated::All(icc) => raw.set_icc(icc.into(), limits),
                            Inflated::TooLong => {
                                raw.warnings.push("The colour profile is too large and was ignored".into());
                            }
                            Inflated::Damaged => {
                                raw.warnings.push("The colour profile is damaged and was ignored".into());
                            }
                        }
                    }
                }
                b"IEND" => break,
                _ => {}
            }
        }
        raw
    }

    fn take_itxt(&mut self, data: &[u8], limits: &Limits) {
        // keyword, 0, packed?, method, language, 0, translated keyword, 0, text
        let Some((keyword, [packed, _method, rest @ ..])) = split_keyword(data) else { return };
        let Some((_language, rest)) = split_zero(rest) else { return };
        let Some((_translated, text)) = split_zero(rest) else { return };
        let text = if *packed == 1 {
            let Some(text) = self.inflate_text(text, limits) else { return };
            text
        } else {
            if !self.room("A text", text.len(), limits) {
                return;
            }
            text.to_vec()
        };
        if keyword == "XML:com.adobe.xmp" {
            // Counted above.
            self.xmp.get_or_insert_with(|| String::from_utf8_lossy(&text).into_owned());
        } else {
            self.texts.push((keyword, String::from_utf8_lossy(&text).into_owned()));
        }
    }

    fn inflate_text(&mut self, packed: &[u8], limits: &Limits) -> Option<Vec<u8>> {
        let most = limits.max_text_bytes.min(limits.max_all_text_bytes.saturating_sub(self.taken));
        match inflate(packed, most) {
            Inflated::All(text) => {
                self.taken += text.len();
                Some(text)
            }
            Inflated::TooLong => {
                self.warnings.push("A packed text is too long and was left out".into());
                None
            }
            Inflated::Damaged => {
                self.warnings.push("A packed text is damaged and was left out".into());
                None
            }
        }
    }

    /// What a JPEG file holds beside its pixels.
    pub(crate) fn of_jpeg(bytes: &[u8], limits: &Limits) -> Self {
        const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
        const ICC: &[u8] = b"ICC_PROFILE\0";
        const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";
        let mut raw = Self::default();
        let mut profile: Vec<(u8, &[u8])> = Vec::new();
        let mut photoshop: Vec<u8> = Vec::new();
        for (marker, data) in JpegSegments::new(bytes) {
            match marker {
                0xe1 if data.starts_with(b"Exif\0\0") => raw.set_exif(data, limits),
                0xe1 => {
                    if let Some(xmp) = data.strip_prefix(XMP) {
                        raw.set_xmp(xmp, limits);
                    }
                }
                0xe2 => {
                    if let Some([number, _count, part @ ..]) = data.strip_prefix(ICC) {
                        profile.push((*number, part));
                    }
                }
                0xed => {
                    if let Some(part) = data.strip_prefix(PHOTOSHOP)
                        && raw.room("The IPTC description", part.len(), limits)
                    {
                        photoshop.extend_from_slice(part);
                    }
                }
                0xfe if raw.room("A comment", data.len(), limits) => {
                    raw.texts.push(("comment".into(), latin1_or_utf8(data)));
                }
                _ => {}
            }
        }
        if !profile.is_empty() {
            profile.sort_by_key(|(number, _)| *number);
            if profile.iter().map(|(_, part)| part.len()).sum::<usize>() > limits.max_profile_bytes {
                raw.warnings.push("The colour profile is too large and was ignored".into());
            } else {
                raw.icc = Some(profile.into_iter().flat_map(|(_, part)| part.iter().copied()).collect());
            }
        }
        raw.iptc = iptc_of_photoshop(&photoshop);
        raw
    }

    /// What a WebP file holds beside its pixels.
    pub(crate) fn of_webp(bytes: &[u8], limits: &Limits) -> Self {
        let mut raw = Self::default();
        let mut rest = bytes.get(12..).unwrap_or_default();
        while let Some((kind, after)) = rest.split_first_chunk::<4>()
            && let Some((size, after)) = after.split_first_chunk::<4>()
        {
            let size = u32::from_le_bytes(*size) as usize;
            let data = after.get(..size).unwrap_or(after);
            match kind {
                b"EXIF" => raw.set_exif(data, limits),
                b"XMP " => raw.set_xmp(data, limits),
                b"ICCP" => raw.set_icc(data.into(), limits),
                _ => {}
            }
            // Chunks begin at even places.
            rest = size.checked_add(size & 1).and_then(|step| after.get(step..)).unwrap_or_default();
        }
        raw
    }

    /// What the decoder of another format found.
    pub(crate) fn of_parts(
        exif: Option<&[u8]>,
        xmp: Option<&[u8]>,
        iptc: Option<&[u8]>,
        icc: Option<&[u8]>,
        limits: &Limits,
    ) -> Self {
        let mut raw = Self::default();
        if let Some(exif) = exif {
            raw.set_exif(exif, limits);
        }
        if let Some(xmp) = xmp {
            raw.set_xmp(xmp, limits);
        }
        if let Some(iptc) = iptc
            && raw.room("The IPTC description", iptc.len(), limits)
        {
            raw.iptc = Some(iptc.to_vec());
        }
        if let Some(icc) = icc {
            raw.set_icc(icc.into(), limits);
        }
        raw
    }
}

/// The first chunk of PNG chunks: its kind, its data and what follows it.
pub(crate) fn png_chunk(bytes: &[u8]) -> Option<([u8; 4], &[u8], &[u8])> {
    let (size, rest) = bytes.split_first_chunk::<4>()?;
    let (kind, rest) = rest.split_first_chunk::<4>()?;
    let size = u32::from_be_bytes(*size) as usize;
    let data = rest.get(..size)?;
    // A missing checksum at the very end of a file is the decoder's to complain about.
    Some((*kind, data, rest.get(size + 4..).unwrap_or_default()))
}

/// The marker segments of a JPEG file up to the picture data.
pub(crate) struct JpegSegments<'a> {
    rest: &'a [u8],
}

impl<'a> JpegSegments<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes.get(2..).unwrap_or_default() }
    }
}

impl<'a> Iterator for JpegSegments<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (&[mark, marker], after) = self.rest.split_first_chunk::<2>()?;
            if mark != 0xff {
                return None;
            }
            match marker {
                // A fill byte before a marker.
                0xff => self.rest = self.rest.get(1..)?,
                // Markers without a segment.
                0x01 | 0xd0..=0xd7 => self.rest = after,
                // The picture data, or the end.
                0xd9 | 0xda => return None,
                _ => {
                    let (size, _) = after.split_first_chunk::<2>()?;
                    let size = usize::from(u16::from_be_bytes(*size));
                    let data = after.get(2..size)?;
                    self.rest = after.get(size..)?;
                    return Some((marker, data));
                }
            }
        }
    }
}

/// The IPTC datasets among Photoshop's resources.
pub(crate) fn iptc_of_photoshop(mut rest: &[u8]) -> Option<Vec<u8>> {
    // "8BIM", id, name (length byte, even in total), size, data (even)
    while let Some(after) = rest.strip_prefix(b"8BIM") {
        let (id, after) = after.split_first_chunk::<2>()?;
        let name = usize::from(*after.first()?) + 1;
        let after = after.get(name + (name & 1)..)?;
        let (size, after) = after.split_first_chunk::<4>()?;
        let size = u32::from_be_bytes(*size) as usize;
        let data = after.get(..size)?;
        if u16::from_be_bytes(*id) == 0x0404 {
            return Some(data.to_vec());
        }
        rest = after.get(size + (size & 1)..)?;
    }
    None
}

/// The bytes of an entry of a TIFF file's first directory, whatever type they are said to have: writers disagree on the type of
/// profiles and descriptions, and decoders insist on one.
pub(crate) fn tiff_tag(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let little = bytes.starts_with(b"II");
    let two = |at: usize| {
        let pair = *bytes.get(at..)?.first_chunk::<2>()?;
        Some(if little { u16::from_le_bytes(pair) } else { u16::from_be_bytes(pair) })
    };
    let four = |at: usize| {
        let word = *bytes.get(at..)?.first_chunk::<4>()?;
        Some(if little { u32::from_le_bytes(word) } else { u32::from_be_bytes(word) } as usize)
    };
    // 43 would be a BigTIFF, whose directory is another.
    if two(2)? != 42 {
        return None;
    }
    let directory = four(4)?;
    for entry in 0..usize::from(two(directory)?) {
        let at = directory.checked_add(2 + entry * 12)?;
        if two(at)? == wanted {
            let size = four(at + 4)?.checked_mul(match two(at + 2)? {
                3 => 2,
                4 => 4,
                _ => 1,
            })?;
            let start = if size <= 4 { at + 8 } else { four(at + 8)? };
            return bytes.get(start..start.checked_add(size)?);
        }
    }
    None
}

enum Inflated {
    All(Vec<u8>),
    TooLong,
    Damaged,
}

/// Unpacks a zlib stream of at most `most` bytes.
fn inflate(packed: &[u8], most: usize) -> Inflated {
    let mut out = Vec::new();
    match ZlibDecoder::new(packed).take(most as u64 + 1).read_to_end(&mut out) {
        Ok(_) if out.len() > most => Inflated::TooLong,
        Ok(_) => Inflated::All(out),
        Err(_) => Inflated::Damaged,
    }
}

fn split_zero(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|&byte| byte == 0)?;
    Some((&data[..at], &data[at + 1..]))
}

fn split_keyword(data: &[u8]) -> Option<(String, &[u8])> {
    // A keyword has at most 79 bytes by the specification.
    let (keyword, rest) = split_zero(data)?;
    (!keyword.is_empty() && keyword.len() <= 79).then(|| (latin1(keyword), rest))
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// The specification says Latin-1, but many generators write UTF-8 there; text that is valid UTF-8 almost surely is.
pub(crate) fn latin1_or_utf8(bytes: &[u8]) -> String {
    str::from_utf8(bytes).map_or_else(|_| latin1(bytes), str::to_owned)
}
