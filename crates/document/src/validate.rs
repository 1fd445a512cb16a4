//! Which values a document may hold. The same rules hold for edits and for what a file brings in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::document::{
    Document, Frame, Generation, Layer, ModelRef, Note, Origin, Patch, PatchContent, Provenance, Take,
};
use crate::geometry::Rect;
use crate::group::{Group, Mask};
use crate::shot::{Easing, FrameRate, Keyframe, Move, Sequence, Shot};

/// The longest side of a patch or a frame, in pixels.
pub const MAX_SIDE: u32 = 65_536;
/// The farthest that a rectangle may lie from the canvas' origin, in pixels: positions stay exact as `f64`.
pub const MAX_COORDINATE: i64 = 1 << 40;
/// The longest name or key, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 1024;
/// The longest prompt, in bytes of UTF-8.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// The greatest depth of a layer. 1 is the picture plane.
pub const MAX_DEPTH: f64 = 1e6;
/// The largest blob, in bytes.
pub const MAX_BLOB_BYTES: usize = 512 << 20;
/// The largest JSON value that the document stores as it is (metadata, notes), in bytes when written.
pub const MAX_JSON_BYTES: usize = 16 << 20;
/// How deep such a JSON value may nest. The file's readers refuse more than 128 levels, the edit around it included.
pub const MAX_JSON_NESTING: usize = 64;

/// How deep groups may nest.
pub const MAX_GROUP_NESTING: usize = 16;
/// The longest shot, in pictures.
pub const MAX_SHOT_FRAMES: u32 = 1_000_000;
/// The most moves of one shot.
pub const MAX_MOVES: usize = 1000;
/// The most keyframes of one shot.
pub const MAX_KEYFRAMES: usize = 100_000;
/// The most entries of one sequence.
pub const MAX_SEQUENCE_SHOTS: usize = 10_000;
/// The largest thumbnail, in bytes.
pub const MAX_THUMBNAIL_BYTES: usize = 1 << 20;

/// Either all is well, or the reason why not.
pub(crate) type Verdict = Result<(), String>;

pub(crate) fn id(number: u64) -> Verdict {
    if number == 0 || i64::try_from(number).is_err() { Err(format!("{number} is not a valid id")) } else { Ok(()) }
}

pub(crate) fn name(text: &str) -> Verdict {
    bounded("a name", text, MAX_NAME_BYTES)
}

pub(crate) fn meta_key(key: &str) -> Verdict {
    if key.is_empty() {
        return Err("a key is empty".into());
    }
    bounded("a key", key, MAX_NAME_BYTES)
}

fn bounded(what: &str, text: &str, limit: usize) -> Verdict {
    if text.len() > limit {
        return Err(format!("{what} has {} bytes; at most {limit} are allowed", text.len()));
    }
    if text.contains('\0') {
        return Err(format!("{what} contains a zero character"));
    }
    Ok(())
}

pub(crate) fn rect(rect: &Rect) -> Verdict {
    let Rect { x, y, width, height } = *rect;
    size(width, height)?;
    let place = -MAX_COORDINATE..=MAX_COORDINATE;
    if !place.contains(&x) || !place.contains(&y) {
        return Err(format!("the position ({x}, {y}) is too far from the canvas' origin"));
    }
    Ok(())
}

pub(crate) fn size(width: u32, height: u32) -> Verdict {
    let side = 1..=MAX_SIDE;
    if side.contains(&width) && side.contains(&height) {
        Ok(())
    } else {
        Err(format!("a size of {width} x {height} pixels is outside 1..={MAX_SIDE}"))
    }
}

pub(crate) fn opacity(value: f64) -> Verdict {
    // `contains` is false for NaN.
    if (0.0..=1.0).contains(&value) { Ok(()) } else { Err(format!("the opacity {value} is outside 0..=1")) }
}

pub(crate) fn depth(value: f64) -> Verdict {
    if value > 0.0 && value <= MAX_DEPTH {
        Ok(())
    } else {
        Err(format!("the depth {value} is not above 0 and at most {MAX_DEPTH}"))
    }
}

fn seconds(value: f64) -> Verdict {
    if value.is_finite() && value >= 0.0 { Ok(()) } else { Err(format!("{value} is not a number of seconds")) }
}

/// Bounds a JSON value that comes from outside: metadata of imported pictures, notes.
pub(crate) fn json(value: &Value) -> Verdict {
    // An explicit stack: the nesting is what is being checked.
    let mut open = vec![(value, 1_usize)];
    while let Some((value, level)) = open.pop() {
        if level > MAX_JSON_NESTING {
            return Err(format!("a JSON value nests deeper than {MAX_JSON_NESTING} levels"));
        }
        match value {
            Value::Array(items) => open.extend(items.iter().map(|item| (item, level + 1))),
            Value::Object(items) => open.extend(items.values().map(|item| (item, level + 1))),
            _ => {}
        }
    }
    let size = serde_json::to_string(value).map_err(|error| error.to_string())?.len();
    if size > MAX_JSON_BYTES {
        return Err(format!("a JSON value has {size} bytes; at most {MAX_JSON_BYTES} are allowed"));
    }
    Ok(())
}

pub(crate) fn layer(layer: &Layer) -> Verdict {
    id(layer.id.get())?;
    name(&layer.name)?;
    opacity(layer.opacity)?;
    depth(layer.depth)?;
    mask(layer.mask.as_ref())?;
    layer.patches.iter().try_for_each(patch)
}

pub(crate) fn patch(patch: &Patch) -> Verdict {
    id(patch.id.get())?;
    name(&patch.name)?;
    rect(&patch.rect)?;
    content(&patch.content)
}

pub(crate) fn content(content: &PatchContent) -> Verdict {
    match content {
        PatchContent::Generation(generation) => id(generation.get()),
        PatchContent::Image(image) => match &image.origin {
            Origin::Imported { file_name, metadata, .. } => name(file_name).and_then(|()| json(metadata)),
            Origin::Generated { provenance: from, seconds: took } => provenance(from).and_then(|()| seconds(*took)),
            Origin::Drawn => Ok(()),
        },
    }
}

fn provenance(from: &Provenance) -> Verdict {
    name(&from.engine)?;
    name(&from.device)?;
    if let Some(context) = &from.context {
        rect(&context.rect)?;
    }
    let request = &from.request;
    bounded("the prompt", &request.prompt, MAX_TEXT_BYTES)?;
    bounded("the negative prompt", &request.negative, MAX_TEXT_BYTES)?;
    for text in [&request.model_name, &request.model_hash, &request.sampler] {
        name(text)?;
    }
    if !request.guidance.is_finite() {
        return Err(format!("the guidance {} is not a finite number", request.guidance));
    }
    if !(0.0..=1.0).contains(&request.strength) {
        return Err(format!("the strength {} is outside 0..=1", request.strength));
    }
    for control in &request.controls {
        name(&control.network)?;
        rect(&control.rect)?;
        if ![control.scale, control.start, control.end].iter().all(|number| number.is_finite()) {
            return Err(format!("the control {} has a number that is none", control.network));
        }
    }
    for (key, value) in &request.extra {
        meta_key(key)?;
        json(value)?;
    }
    Ok(())
}

pub(crate) fn take(take: &Take) -> Verdict {
    id(take.id.get())?;
    seconds(take.seconds)
}

/// Also that the chosen take is one of the takes.
pub(crate) fn generation(generation: &Generation) -> Verdict {
    id(generation.id.get())?;
    rect(&generation.rect)?;
    provenance(&generation.provenance)?;
    generation.takes.iter().try_for_each(take)?;
    if generation.takes.iter().any(|take| take.id == generation.chosen) {
        Ok(())
    } else {
        Err(format!("generation {} has no take {}, which it shows", generation.id, generation.chosen))
    }
}

pub(crate) fn frame(frame: &Frame) -> Verdict {
    id(frame.id.get())?;
    name(&frame.name)?;
    rect(&frame.rect)
}

pub(crate) fn mask(mask: Option<&Mask>) -> Verdict {
    mask.map_or(Ok(()), |mask| rect(&mask.rect))
}

pub(crate) fn group(group: &Group) -> Verdict {
    id(group.id.get())?;
    name(&group.name)?;
    opacity(group.opacity)?;
    mask(group.mask.as_ref())
}

pub(crate) fn note(note: &Note) -> Verdict {
    id(note.id.get())?;
    bounded("a note", &note.text, MAX_TEXT_BYTES)?;
    note.place.as_ref().map_or(Ok(()), rect)
}

pub(crate) fn model(model: &ModelRef) -> Verdict {
    name(&model.name)?;
    name(&model.family)
}

pub(crate) fn shot(shot: &Shot) -> Verdict {
    id(shot.id.get())?;
    name(&shot.name)?;
    size(shot.width, shot.height)?;
    rate(shot.rate)?;
    shot_frames(shot.frames)?;
    moves(&shot.moves)?;
    keyframes(&shot.keyframes)?;
    settings(&shot.settings)
}

pub(crate) fn rate(rate: FrameRate) -> Verdict {
    let range = 1..=1_000_000;
    if range.contains(&rate.numerator) && range.contains(&rate.denominator) {
        Ok(())
    } else {
        Err(format!("{}/{} pictures per second are not possible", rate.numerator, rate.denominator))
    }
}

pub(crate) fn shot_frames(frames: u32) -> Verdict {
    if (1..=MAX_SHOT_FRAMES).contains(&frames) {
        Ok(())
    } else {
        Err(format!("a shot of {frames} pictures is outside 1..={MAX_SHOT_FRAMES}"))
    }
}

pub(crate) fn moves(moves: &[Move]) -> Verdict {
    count("moves", moves.len(), MAX_MOVES)?;
    moves.iter().try_for_each(|one| {
        if one.to < one.from || one.to > MAX_SHOT_FRAMES {
            return Err(format!("a move cannot last from picture {} to {}", one.from, one.to));
        }
        finite(one.start)?;
        finite(one.end)?;
        easing(one.easing)?;
        settings(&one.settings)
    })
}

pub(crate) fn keyframes(keyframes: &[Keyframe]) -> Verdict {
    count("keyframes", keyframes.len(), MAX_KEYFRAMES)?;
    keyframes.iter().try_for_each(|one| {
        meta_key(&one.channel)?;
        if one.frame > MAX_SHOT_FRAMES {
            return Err(format!("a keyframe at picture {} is outside 0..={MAX_SHOT_FRAMES}", one.frame));
        }
        finite(one.value)?;
        easing(one.easing)
    })
}

fn easing(easing: Easing) -> Verdict {
    let Easing::CubicBezier(handles) = easing else { return Ok(()) };
    handles.into_iter().try_for_each(finite)?;
    let [x1, _, x2, _] = handles;
    if (0.0..=1.0).contains(&x1) && (0.0..=1.0).contains(&x2) {
        Ok(())
    } else {
        Err(format!("the times {x1} and {x2} of an easing are outside 0..=1"))
    }
}

fn settings(settings: &BTreeMap<String, Value>) -> Verdict {
    settings.iter().try_for_each(|(key, value)| {
        meta_key(key)?;
        // An edit that sets a setting to null removes it: were null kept elsewhere, there would be two ways to lack it.
        if value.is_null() { Err(format!("the setting {key} is null")) } else { json(value) }
    })
}

fn finite(value: f64) -> Verdict {
    if value.is_finite() { Ok(()) } else { Err(format!("{value} is not a finite number")) }
}

fn count(what: &str, found: usize, most: usize) -> Verdict {
    if found > most { Err(format!("{found} {what}; at most {most} are allowed")) } else { Ok(()) }
}

pub(crate) fn sequence(sequence: &Sequence) -> Verdict {
    id(sequence.id.get())?;
    name(&sequence.name)?;
    count("shots in a sequence", sequence.shots.len(), MAX_SEQUENCE_SHOTS)
}

/// Every value of a whole document, and that all that it refers to exists. For what a file brings in.
pub(crate) fn document(document: &Document) -> Verdict {
    document.layers.iter().try_for_each(layer)?;
    document.generations.values().try_for_each(generation)?;
    document.frames.iter().try_for_each(frame)?;
    for (key, value) in &document.meta {
        meta_key(key)?;
        json(value)?;
    }
    document.groups.values().try_for_each(group)?;
    document.shots.iter().try_for_each(shot)?;
    document.sequences.iter().try_for_each(sequence)?;
    document.notes.values().try_for_each(note)?;
    document.models.values().try_for_each(model)?;
    references(document)
}

/// That every group's parent exists, and that none holds itself or nests too deep.
pub(crate) fn groups(document: &Document) -> Verdict {
    for group in document.groups.values() {
        if let Some(parent) = group.parent.filter(|id| !document.groups.contains_key(id)) {
            return Err(format!("group {} is in group {parent}, which does not exist", group.id));
        }
        // Also where groups hold each other in a ring, of which there may be fewer than the limit.
        let mut around = document.groups_around(group.parent).take(MAX_GROUP_NESTING);
        if around.any(|other| other.id == group.id) {
            return Err(format!("group {} holds itself", group.id));
        }
        if document.groups_around(Some(group.id)).nth(MAX_GROUP_NESTING).is_some() {
            return Err(format!("groups nest deeper than {MAX_GROUP_NESTING} levels"));
        }
    }
    Ok(())
}

fn references(document: &Document) -> Verdict {
    for patch in document.patches() {
        if let PatchContent::Generation(shown) = &patch.content
            && !document.generations.contains_key(shown)
        {
            return Err(format!("patch {} shows generation {shown}, which does not exist", patch.id));
        }
    }
    for layer in &document.layers {
        if let Some(group) = layer.group.filter(|id| !document.groups.contains_key(id)) {
            return Err(format!("layer {} is in group {group}, which does not exist", layer.id));
        }
    }
    groups(document)?;
    let frames: BTreeSet<_> = document.frames.iter().map(|frame| frame.id).collect();
    if let Some(shot) = document.shots.iter().find(|shot| !frames.contains(&shot.frame)) {
        return Err(format!("shot {} starts from frame {}, which does not exist", shot.id, shot.frame));
    }
    let shots: BTreeSet<_> = document.shots.iter().map(|shot| shot.id).collect();
    for sequence in &document.sequences {
        if let Some(shot) = sequence.shots.iter().find(|shot| !shots.contains(shot)) {
            return Err(format!("sequence {} shows shot {shot}, which does not exist", sequence.id));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_out_of_range_are_refused() {
        for value in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
            assert!(opacity(value).is_err(), "{value}");
        }
        for value in [f64::NAN, f64::INFINITY, 0.0, -1.0, 1e300] {
            assert!(depth(value).is_err(), "{value}");
        }
        for bad in [
            Rect::new(0, 0, 0, 1),
            Rect::new(0, 0, 1, MAX_SIDE + 1),
            Rect::new(i64::MAX, 0, 1, 1),
            Rect::new(0, i64::MIN, 1, 1),
        ] {
            assert!(rect(&bad).is_err(), "{bad:?}");
        }
        assert!(rect(&Rect::new(-MAX_COORDINATE, MAX_COORDINATE, MAX_SIDE, 1)).is_ok());
        assert!(id(0).is_err() && id(u64::MAX).is_err() && id(1).is_ok());
    }

    #[test]
    fn json_is_bounded() {
        let nested = |levels: usize| (1..levels).fold(json!(1), |inner, _| json!([inner]));
        assert!(json(&nested(MAX_JSON_NESTING)).is_ok());
        assert!(json(&nested(MAX_JSON_NESTING + 1)).is_err());
        assert!(json(&json!("x".repeat(MAX_JSON_BYTES))).is_err());
    }
}
