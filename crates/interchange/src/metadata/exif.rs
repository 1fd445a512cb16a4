//! EXIF: what cameras record, and where JPEG and WebP files carry generation texts.

use std::io::Cursor;

use exif::{Exif, Field, In, Reader, Tag, Value, experimental::Writer};

use super::{Metadata, fill, some};

/// Fills what is not yet known, and returns texts that are to be read further, with their keywords.
pub(super) fn read(bytes: &[u8], metadata: &mut Metadata) -> Vec<(String, String)> {
    let mut reader = Reader::new();
    // One broken entry, as many cameras write, is no reason to lose the others.
    reader.continue_on_error(true);
    let Ok(exif) = reader.read_raw(bytes.to_vec()).or_else(|error| error.distill_partial_result(|_| ())) else {
        return Vec::new();
    };
    let mut texts = Vec::new();
    let camera = &mut metadata.exif;
    for (tag, slot) in [
        (Tag::Make, &mut camera.make),
        (Tag::Model, &mut camera.model),
        (Tag::ImageDescription, &mut camera.description),
    ] {
        let Some(text) = ascii(&exif, tag) else { continue };
        // ComfyUI's nodes for WebP and JPEG write their graphs here, as "prompt:{...}" and "workflow:{...}".
        let graph = text.split_once(':').filter(|(name, graph)| {
            let name = name.to_ascii_lowercase();
            (name == "prompt" || name == "workflow") && graph.trim_start().starts_with('{')
        });
        if let Some((name, graph)) = graph {
            texts.push((name.to_ascii_lowercase(), graph.to_owned()));
        } else if tag == Tag::ImageDescription && super::a1111::looks_like(&text) {
            texts.push(("parameters".into(), text));
        } else {
            fill(slot, Some(text));
        }
    }
    fill(&mut camera.lens, ascii(&exif, Tag::LensModel));
    fill(
        &mut camera.date_time,
        ascii(&exif, Tag::DateTimeOriginal).or_else(|| ascii(&exif, Tag::DateTime)).map(|date| date_time(&date)),
    );
    let description = camera.description.clone();
    fill(&mut metadata.description, description);
    fill(&mut metadata.creator, ascii(&exif, Tag::Artist));
    fill(&mut metadata.rights, ascii(&exif, Tag::Copyright));
    fill(&mut metadata.software, ascii(&exif, Tag::Software));
    if let Some(comment) = exif.get_field(Tag::UserComment, In::PRIMARY)
        // By the letter undefined bytes; Pillow writes plain ones.
        && let Value::Undefined(bytes, _) | Value::Byte(bytes) = &comment.value
        && let Some(comment) = user_comment(bytes)
    {
        texts.push(("UserComment".into(), comment));
    }
    texts
}

/// "2024:05:01 13:37:00" is how EXIF writes a date.
fn date_time(date: &str) -> String {
    match date.as_bytes() {
        [_, _, _, _, b':', _, _, b':', ..] if date.is_ascii() => {
            format!("{}-{}-{}", &date[..4], &date[5..7], &date[8..])
        }
        _ => date.to_owned(),
    }
}

fn ascii(exif: &Exif, tag: Tag) -> Option<String> {
    match &exif.get_field(tag, In::PRIMARY)?.value {
        // By the letter ASCII, in practice often UTF-8.
        Value::Ascii(parts) => some(&crate::container::latin1_or_utf8(parts.first()?)),
        _ => None,
    }
}

/// Eight bytes name the characters of a `UserComment`; the rest is the text.
fn user_comment(bytes: &[u8]) -> Option<String> {
    let (charset, text) = bytes.split_first_chunk::<8>()?;
    match charset {
        b"UNICODE\0" => {
            // Either byte order occurs, whatever the rest of the block is in. Prompts are mostly ASCII, so the zeroes tell.
            let (even, odd) = text.chunks_exact(2).fold((0_usize, 0_usize), |(even, odd), pair| {
                (even + usize::from(pair[0] == 0), odd + usize::from(pair[1] == 0))
            });
            let (text, little) = match text {
                [0xff, 0xfe, rest @ ..] => (rest, true),
                [0xfe, 0xff, rest @ ..] => (rest, false),
                _ => (text, odd > even),
            };
            let units = text.chunks_exact(2).map(|pair| {
                if little { u16::from_le_bytes([pair[0], pair[1]]) } else { u16::from_be_bytes([pair[0], pair[1]]) }
            });
            some(&char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>())
        }
        b"ASCII\0\0\0" | b"\0\0\0\0\0\0\0\0" => some(&crate::container::latin1_or_utf8(text)),
        // Some programs leave the eight bytes out.
        _ => some(&crate::container::latin1_or_utf8(bytes)),
    }
}

/// What is written into EXIF.
#[derive(Default)]
pub(crate) struct Written<'a> {
    pub(crate) software: Option<&'a str>,
    pub(crate) description: Option<&'a str>,
    pub(crate) artist: Option<&'a str>,
    pub(crate) copyright: Option<&'a str>,
    pub(crate) comment: Option<&'a str>,
}

/// A TIFF structure with the texts; `None` if there are none.
pub(crate) fn write(written: &Written<'_>) -> Result<Option<Vec<u8>>, exif::Error> {
    let mut fields = Vec::new();
    for (tag, text) in [
        (Tag::ImageDescription, written.description),
        (Tag::Software, written.software),
        (Tag::Artist, written.artist),
        (Tag::Copyright, written.copyright),
    ] {
        // A zero ends a text in EXIF.
        if let Some(text) = text.map(|text| text.replace('\0', "")).filter(|text| !text.is_empty()) {
            fields.push(Field { tag, ifd_num: In::PRIMARY, value: Value::Ascii(vec![text.into_bytes()]) });
        }
    }
    if let Some(comment) = written.comment {
        let mut bytes;
        if comment.is_ascii() {
            bytes = b"ASCII\0\0\0".to_vec();
            bytes.extend_from_slice(comment.as_bytes());
        } else {
            bytes = b"UNICODE\0".to_vec();
            bytes.extend(comment.encode_utf16().flat_map(u16::to_be_bytes));
        }
        fields.push(Field { tag: Tag::UserComment, ifd_num: In::PRIMARY, value: Value::Undefined(bytes, 0) });
    }
    if fields.is_empty() {
        return Ok(None);
    }
    let mut writer = Writer::new();
    for field in &fields {
        writer.push_field(field);
    }
    let mut out = Cursor::new(Vec::new());
    // Big-endian, because UNICODE comments are by custom.
    writer.write(&mut out, false)?;
    Ok(Some(out.into_inner()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for comment in ["plain", "ünïcode — 漢字 🦊"] {
            let bytes = write(&Written {
                software: Some("Outframe"),
                description: Some("A caption"),
                artist: Some("Ann"),
                copyright: Some("© Ann"),
                comment: Some(comment),
            })
            .unwrap()
            .unwrap();
            let mut metadata = Metadata::default();
            let texts = read(&bytes, &mut metadata);
            assert_eq!(texts, [("UserComment".to_owned(), comment.to_owned())]);
            assert_eq!(metadata.software.as_deref(), Some("Outframe"));
            assert_eq!(metadata.description.as_deref(), Some("A caption"));
            assert_eq!(metadata.rights.as_deref(), Some("© Ann"));
        }
        assert_eq!(write(&Written::default()).unwrap(), None);
    }

    #[test]
    fn comments_of_either_byte_order() {
        let mut little = b"UNICODE\0".to_vec();
        little.extend("Steps: 1".encode_utf16().flat_map(u16::to_le_bytes));
        assert_eq!(user_comment(&little).as_deref(), Some("Steps: 1"));
        assert_eq!(user_comment(b"ASCII\0\0\0hi\0"), Some("hi".into()));
        assert_eq!(user_comment(b"short"), None);
    }
}
