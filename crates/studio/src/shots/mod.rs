//! Shots: from the project's data to the camera's mathematics and back, and what picture a shot still lacks.

mod coverage;

use std::collections::BTreeMap;

use outframe_camera as camera;
use outframe_document::{Document, FrameRate, Keyframe, Move, MoveKind, Shot};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

pub use coverage::{ShotCoverage, coverage};
pub(crate) use coverage::{plan_fills, view_of};

use crate::StudioError;

/// The shot's setting that holds its fit, `crop`, `contain` or `stretch`.
pub const FIT: &str = "fit";
/// The shot's setting that holds its lens, in millimetres on film 36 mm wide.
pub const LENS: &str = "lens";
/// The shot's setting that holds its motion blur, `{"angle": 180.0, "samples": 8}`.
pub const MOTION_BLUR: &str = "motion-blur";
/// The setting of an orbit or an elevation that holds what it goes around.
pub const PIVOT: &str = "pivot";
/// The setting of a handheld camera that holds how many times a second it changes its direction.
pub const HERTZ: &str = "hertz";
/// The setting of a handheld camera that its shaking follows from. That of the first such move counts.
pub const SEED: &str = "seed";
/// The setting of a reframe that holds its two rectangles.
pub const BOXES: &str = "boxes";

/// A shot as the camera knows it. It has been checked: its [`track`](camera::Shot::track) is sound.
pub fn to_camera(document: &Document, shot: &Shot) -> Result<camera::Shot, StudioError> {
    let frame = document.frame(shot.frame).ok_or_else(|| {
        StudioError::InvalidRequest(format!("The shot “{}” begins at a frame that is not there.", shot.name))
    })?;
    let rect = frame.rect;
    let whose = format!("the shot “{}”", shot.name);
    let rect = camera::Rect::new(rect.x as f64, rect.y as f64, f64::from(rect.width), f64::from(rect.height));
    let mut to = camera::Shot::new(rect, shot.width, shot.height);
    to.rate = camera::FrameRate { numerator: shot.rate.numerator, denominator: shot.rate.denominator };
    to.frames = shot.frames;
    to.fit = setting(&shot.settings, FIT, &whose)?.unwrap_or_default();
    to.lens = setting(&shot.settings, LENS, &whose)?.unwrap_or(to.lens);
    for (index, one) in shot.moves.iter().enumerate() {
        let whose = format!("move {} of the shot “{}”", index + 1, shot.name);
        to.moves.push(move_to_camera(one, &whose)?);
    }
    let handheld = shot.moves.iter().find(|one| one.kind == MoveKind::Handheld);
    to.seed = handheld.map(|one| setting(&one.settings, SEED, &whose)).transpose()?.flatten().unwrap_or(0);
    for key in &shot.keyframes {
        let channel = camera::Channel::from_name(&key.channel).ok_or_else(|| {
            let known: Vec<_> = camera::Channel::ALL.into_iter().map(camera::Channel::name).collect();
            StudioError::InvalidRequest(format!(
                "A keyframe of {whose} sets “{}”, which no camera has. Known are {}.",
                key.channel,
                known.join(", ")
            ))
        })?;
        let (frame, value, easing) = (f64::from(key.frame), key.value, easing_to_camera(key.easing));
        to.keyframes.push(camera::Keyframe { channel, frame, value, easing });
    }
    to.track()?;
    Ok(to)
}

/// The moments at which a shot's camera looks for each picture.
pub fn shutter(shot: &Shot) -> Result<camera::Shutter, StudioError> {
    let whose = format!("the shot “{}”", shot.name);
    let shutter: camera::Shutter = setting(&shot.settings, MOTION_BLUR, &whose)?.unwrap_or_default();
    if (0.0..=360.0).contains(&shutter.angle) && (1..=256).contains(&shutter.samples) {
        return Ok(shutter);
    }
    Err(StudioError::InvalidRequest(format!(
        "The motion blur of {whose} has an angle of {}° and {} samples; 0° to 360° and 1 to 256 are possible.",
        shutter.angle, shutter.samples
    )))
}

/// The value under which a shot keeps its motion blur.
pub fn shutter_setting(shutter: &camera::Shutter) -> Value {
    to_value(shutter)
}

fn move_to_camera(from: &Move, whose: &str) -> Result<camera::Move, StudioError> {
    let kind = kind_to_camera(from.kind, whose)?;
    let mut to = camera::Move::new(kind, f64::from(from.from), f64::from(from.to), from.start, from.end)
        .eased(easing_to_camera(from.easing));
    to.pivot = setting(&from.settings, PIVOT, whose)?.unwrap_or_default();
    to.hertz = setting(&from.settings, HERTZ, whose)?.unwrap_or(to.hertz);
    to.boxes = setting(&from.settings, BOXES, whose)?;
    Ok(to)
}

/// A move as the project keeps it; its times are rounded to whole pictures.
pub fn from_camera(from: &camera::Move) -> Move {
    let mut settings = BTreeMap::new();
    let usual = camera::Move::new(from.kind, 0.0, 0.0, 0.0, 0.0);
    if from.pivot != usual.pivot {
        settings.insert(PIVOT.into(), to_value(&from.pivot));
    }
    if from.hertz.total_cmp(&usual.hertz).is_ne() {
        settings.insert(HERTZ.into(), json!(from.hertz));
    }
    if let Some(boxes) = &from.boxes {
        settings.insert(BOXES.into(), to_value(boxes));
    }
    // The cast keeps what is beyond its range at its ends.
    let (first, last) = (from.from.round() as u32, from.to.round() as u32);
    Move {
        kind: kind_from_camera(from.kind),
        from: first,
        to: last.max(first),
        start: from.start,
        end: from.end,
        easing: easing_from_camera(from.easing),
        settings,
    }
}

/// Lets a shot do what was read from another program, in place of what it did.
pub fn apply_imported(imported: &camera::import::Imported, shot: &mut Shot) {
    if let Some(frames) = imported.frames {
        shot.frames = frames;
    }
    if let Some(lens) = imported.lens {
        shot.settings.insert(LENS.into(), json!(lens));
    }
    shot.moves = imported.moves.iter().map(from_camera).collect();
    shot.keyframes = imported
        .keyframes
        .iter()
        .map(|key| Keyframe {
            channel: key.channel.name().into(),
            frame: key.frame.round() as u32,
            value: key.value,
            easing: easing_from_camera(key.easing),
        })
        .collect();
}

/// How many pictures so many seconds have, at least 1.
pub fn frames_in(rate: FrameRate, seconds: f64) -> u32 {
    camera::FrameRate { numerator: rate.numerator, denominator: rate.denominator }.frames_in(seconds)
}

const KINDS: [(MoveKind, camera::MoveKind); 14] = [
    (MoveKind::Static, camera::MoveKind::Static),
    (MoveKind::Pan, camera::MoveKind::Pan),
    (MoveKind::Tilt, camera::MoveKind::Tilt),
    (MoveKind::Roll, camera::MoveKind::Roll),
    (MoveKind::Truck, camera::MoveKind::Truck),
    (MoveKind::Pedestal, camera::MoveKind::Pedestal),
    (MoveKind::Dolly, camera::MoveKind::Dolly),
    (MoveKind::Zoom, camera::MoveKind::Zoom),
    (MoveKind::Orbit, camera::MoveKind::Orbit),
    (MoveKind::Elevation, camera::MoveKind::Elevation),
    (MoveKind::Crane, camera::MoveKind::Crane),
    (MoveKind::DollyZoom, camera::MoveKind::DollyZoom),
    (MoveKind::Handheld, camera::MoveKind::Handheld),
    (MoveKind::Reframe, camera::MoveKind::Reframe),
];

/// The camera's kind of a move.
fn kind_to_camera(kind: MoveKind, whose: &str) -> Result<camera::MoveKind, StudioError> {
    let found = KINDS.into_iter().find(|(document, _)| *document == kind);
    found.map(|(_, camera)| camera).ok_or_else(|| {
        StudioError::InvalidRequest(format!("{whose} is of a kind that this version does not know. Remove it."))
    })
}

/// The project's kind of a move.
pub fn kind_from_camera(kind: camera::MoveKind) -> MoveKind {
    let found = KINDS.into_iter().find(|(_, camera)| *camera == kind);
    found.map_or(MoveKind::Static, |(document, _)| document)
}

fn easing_to_camera(easing: outframe_document::Easing) -> camera::Easing {
    use outframe_document::Easing as From;
    match easing {
        From::Linear => camera::Easing::Linear,
        From::In => camera::Easing::In,
        From::Out => camera::Easing::Out,
        From::InOut => camera::Easing::InOut,
        From::Hold => camera::Easing::Hold,
        From::CubicBezier(handles) => camera::Easing::CubicBezier(handles),
    }
}

/// An easing as the project keeps it.
pub fn easing_from_camera(easing: camera::Easing) -> outframe_document::Easing {
    use outframe_document::Easing as To;
    match easing {
        camera::Easing::Linear => To::Linear,
        camera::Easing::In => To::In,
        camera::Easing::Out => To::Out,
        camera::Easing::InOut => To::InOut,
        camera::Easing::Hold => To::Hold,
        camera::Easing::CubicBezier(handles) => To::CubicBezier(handles),
    }
}

fn setting<T: DeserializeOwned>(
    settings: &BTreeMap<String, Value>,
    name: &str,
    whose: &str,
) -> Result<Option<T>, StudioError> {
    let read = |value: &Value| {
        T::deserialize(value).map_err(|error| {
            StudioError::InvalidRequest(format!(
                "The setting “{name}” of {whose} cannot be read ({error}). Set it anew."
            ))
        })
    };
    settings.get(name).map(read).transpose()
}

/// Plain data always becomes JSON; a number that JSON does not know becomes `null`, which the project then refuses.
fn to_value(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use outframe_document::{Frame, FrameId, Rect, ShotId};

    fn document() -> Document {
        let frame = Frame { id: FrameId::from_raw(1), name: String::new(), rect: Rect::new(-8, 4, 640, 360) };
        Document { frames: vec![frame], ..Document::default() }
    }

    #[test]
    fn moves_survive_the_way_there_and_back() {
        let mut shot = Shot::new(ShotId::from_raw(2), "A", FrameId::from_raw(1));
        for kind in camera::MoveKind::ALL {
            let mut one =
                camera::Move::new(kind, 3.0, 40.0, kind.rest(), kind.rest() + 0.25).eased(camera::Easing::EASY_EASE);
            one.pivot = camera::Pivot { x: 0.5, y: -1.0, z: 2.0 };
            one.hertz = 1.5;
            one.boxes = Some([camera::Rect::new(0.0, 0.0, 64.0, 36.0), camera::Rect::new(9.0, 8.0, 32.0, 18.0)]);
            shot.moves.push(from_camera(&one));
            assert_eq!(move_to_camera(shot.moves.last().unwrap(), "it").unwrap(), one);
        }
        let handheld = shot.moves.iter_mut().find(|one| one.kind == MoveKind::Handheld).unwrap();
        handheld.settings.insert(SEED.into(), json!(77));
        shot.settings.insert(FIT.into(), json!("contain"));
        shot.settings.insert(LENS.into(), json!(35));
        shot.settings.insert(MOTION_BLUR.into(), json!({ "angle": 180.0, "samples": 4 }));
        let to = to_camera(&document(), &shot).unwrap();
        assert_eq!((to.seed, to.fit, to.lens as u32, to.moves.len()), (77, camera::Fit::Contain, 35, 14));
        assert_eq!(to.frame, camera::Rect::new(-8.0, 4.0, 640.0, 360.0));
        assert_eq!(shutter(&shot).unwrap(), camera::Shutter { angle: 180.0, samples: 4 });
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let mut shot = Shot::new(ShotId::from_raw(2), "A", FrameId::from_raw(1));
        shot.settings.insert(FIT.into(), json!("wide"));
        let error = to_camera(&document(), &shot).unwrap_err().to_string();
        assert!(error.contains("“fit”") && error.contains("“A”"), "{error}");
        shot.settings = BTreeMap::from([(MOTION_BLUR.into(), json!({ "angle": 720.0, "samples": 4 }))]);
        assert!(shutter(&shot).unwrap_err().to_string().contains("720"));
        shot.settings.clear();
        shot.keyframes.push(Keyframe {
            channel: "spin".into(),
            frame: 0,
            value: 1.0,
            easing: outframe_document::Easing::default(),
        });
        assert!(to_camera(&document(), &shot).unwrap_err().to_string().contains("spin"));
        shot.keyframes.clear();
        shot.moves.push(from_camera(&camera::Move::new(camera::MoveKind::Zoom, 0.0, 9.0, 1.0, 0.0)));
        assert!(matches!(to_camera(&document(), &shot), Err(StudioError::Camera(_))));
        shot.frame = FrameId::from_raw(9);
        assert!(to_camera(&document(), &shot).is_err());
    }

    #[test]
    fn imported_schedules_become_keyframes() {
        let read = camera::import::deforum(&camera::import::Deforum {
            max_frames: 10,
            translation_x: "0:(5)".into(),
            ..camera::import::Deforum::default()
        });
        let mut shot = Shot::new(ShotId::from_raw(2), "A", FrameId::from_raw(1));
        apply_imported(&read.unwrap(), &mut shot);
        assert_eq!(shot.frames, 10);
        assert!(shot.keyframes.iter().any(|key| key.channel == "x"));
        to_camera(&document(), &shot).unwrap();
    }
}
