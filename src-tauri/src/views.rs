//! Documents as the front end sees them, and its words as the document's.

use std::path::Path;

use outframe_camera::{Dial, MoveKind as CameraMove, Shutter};
use outframe_document::{
    self as document, BlendMode, Document, GenerationId, Layer, LayerId, PatchContent, Project, Shot, ShotId,
};
use outframe_studio::{queue, shots};

use crate::{
    api::{
        CommandError, ControlChoice, ControlPicture, Easing, EmbeddingChoice, FrameView, GenerationKind,
        GenerationView, HistoryStep, JobKind, JobPreview, JobState, JobView, LayerChange, LayerView, LoraChoice,
        MoveKind, MoveKindInfo, MoveView, Rect, ShotInput, ShotView, TakeView, Tuning,
    },
    error::Answer,
};

/// The moments that are averaged where there is motion blur.
const BLUR_SAMPLES: u32 = 12;

impl From<document::Rect> for Rect {
    fn from(rect: document::Rect) -> Self {
        Self { x: rect.x, y: rect.y, width: rect.width, height: rect.height }
    }
}

impl From<Rect> for document::Rect {
    fn from(rect: Rect) -> Self {
        Self::new(rect.x, rect.y, rect.width, rect.height)
    }
}

/// An id that came from the front end.
pub(crate) fn id<T: std::str::FromStr>(text: &str, what: &str) -> Answer<T> {
    text.parse().map_err(|_| CommandError::not_found(format!("There is no {what} “{text}” in this project.")))
}

/// A project's title: what it says, or its file's name.
pub(crate) fn title(project: &Project) -> String {
    let named = project.document().title().map(str::trim).filter(|title| !title.is_empty());
    named.map_or_else(|| stem(project.path()), str::to_owned)
}

pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

pub(crate) fn frames(document: &Document) -> Vec<FrameView> {
    let view = |frame: &document::Frame| FrameView {
        id: frame.id.to_string(),
        name: frame.name.clone(),
        rect: frame.rect.into(),
    };
    document.frames.iter().map(view).collect()
}

pub(crate) fn layers(document: &Document) -> Vec<LayerView> {
    let view = |layer: &Layer| {
        let bounds = layer.patches.iter().map(|patch| patch.rect).reduce(|all, rect| all.union(&rect));
        LayerView {
            id: layer.id.to_string(),
            name: layer.name.clone(),
            visible: layer.visible,
            locked: layer.locked,
            opacity: layer.opacity,
            blend: layer.blend.as_str().into(),
            depth: layer.depth,
            bounds: bounds.map(Into::into),
            generation: shown(layer).next().map(|id| id.to_string()),
        }
    };
    document.layers.iter().map(view).collect()
}

/// The generations that a layer shows, the topmost first.
fn shown(layer: &Layer) -> impl Iterator<Item = GenerationId> {
    layer.patches.iter().rev().filter_map(|patch| match patch.content {
        PatchContent::Generation(id) => Some(id),
        PatchContent::Image(_) => None,
    })
}

fn layer_showing(document: &Document, id: GenerationId) -> Option<LayerId> {
    document.layers.iter().rev().find(|layer| shown(layer).any(|found| found == id)).map(|layer| layer.id)
}

pub(crate) fn generations(document: &Document) -> Vec<GenerationView> {
    let view = |generation: &document::Generation| {
        let request = &generation.provenance.request;
        // A take has the size of the area that it was made for.
        let (width, height) = (generation.rect.width, generation.rect.height);
        let take = |take: &document::Take| TakeView {
            id: take.id.to_string(),
            prompt: request.prompt_of(take.id).to_owned(),
            seed: take.seed.to_string(),
            seconds: take.seconds,
            width,
            height,
        };
        GenerationView {
            id: generation.id.to_string(),
            kind: match request.kind {
                document::GenerationKind::Extend => GenerationKind::Extend,
                document::GenerationKind::ZoomOut => GenerationKind::ZoomOut,
                document::GenerationKind::Fill => GenerationKind::Fill,
                document::GenerationKind::Vary => GenerationKind::Vary,
                document::GenerationKind::Upscale => GenerationKind::Upscale,
                _ => GenerationKind::TextToImage,
            },
            rect: generation.rect.into(),
            prompt: request.prompt_of(generation.chosen).to_owned(),
            negative: request.negative.clone(),
            model: request.model_name.clone(),
            seed: request.seed.to_string(),
            steps: request.steps,
            guidance: request.guidance,
            sampler: request.sampler.clone(),
            strength: request.strength,
            tuning: tuning(request),
            controls: request.controls.iter().map(control).collect(),
            takes: generation.takes.iter().map(take).collect(),
            chosen: generation.chosen.to_string(),
            layer: layer_showing(document, generation.id).map(|id| id.to_string()),
        }
    };
    // Ids are given out in the order of making.
    document.generations.values().map(view).collect()
}

/// What changed the model for a generation.
/// What steered a picture, so that it can steer another one.
fn control(used: &document::ControlUse) -> ControlChoice {
    ControlChoice {
        network: used.network.clone(),
        picture: ControlPicture::Stored { blob: used.picture.to_string() },
        scale: used.scale,
        start: used.start,
        end: used.end,
        canny: used.canny.map(|[low, high]| (low, high)),
    }
}

fn tuning(request: &document::GenerationRequest) -> Tuning {
    let made = outframe_studio::Tuning::of(request);
    let lora = |lora: outframe_studio::LoraChoice| LoraChoice { name: lora.name, weight: lora.weight };
    let embedding = |one: outframe_studio::EmbeddingChoice| EmbeddingChoice { name: one.name, word: one.word };
    Tuning {
        loras: made.loras.into_iter().map(lora).collect(),
        embeddings: made.embeddings.into_iter().map(embedding).collect(),
        clip_skip: made.clip_skip,
        guidance_rescale: made.guidance_rescale,
        vae: made.vae,
    }
}

pub(crate) fn history(project: &Project) -> Answer<Vec<HistoryStep>> {
    let view = |step: document::StepInfo| HistoryStep {
        id: step.id.to_string(),
        name: step.name,
        current: step.current,
        undone: !step.applied,
    };
    Ok(project.history()?.into_iter().map(view).collect())
}

pub(crate) fn layer_change(change: LayerChange) -> Answer<(&'static str, document::LayerChange)> {
    Ok(match change {
        LayerChange::Visible(true) => ("Show layer", document::LayerChange::Visible(true)),
        LayerChange::Visible(false) => ("Hide layer", document::LayerChange::Visible(false)),
        LayerChange::Locked(true) => ("Lock layer", document::LayerChange::Locked(true)),
        LayerChange::Locked(false) => ("Unlock layer", document::LayerChange::Locked(false)),
        LayerChange::Opacity(value) => ("Layer opacity", document::LayerChange::Opacity(value)),
        LayerChange::Name(value) => ("Rename layer", document::LayerChange::Name(value)),
        LayerChange::Depth(value) => ("Layer depth", document::LayerChange::Depth(value)),
        LayerChange::Blend(name) => {
            let mode = BlendMode::from_name(&name)
                .ok_or_else(|| CommandError::invalid(format!("There is no blend mode “{name}”.")))?;
            ("Blend mode", document::LayerChange::Blend(mode))
        }
    })
}

impl MoveKind {
    const ALL: [Self; 14] = [
        Self::Static,
        Self::Pan,
        Self::Tilt,
        Self::Roll,
        Self::Truck,
        Self::Pedestal,
        Self::Dolly,
        Self::Zoom,
        Self::Orbit,
        Self::Elevation,
        Self::Crane,
        Self::DollyZoom,
        Self::Handheld,
        Self::Reframe,
    ];

    const fn camera(self) -> CameraMove {
        match self {
            Self::Static => CameraMove::Static,
            Self::Pan => CameraMove::Pan,
            Self::Tilt => CameraMove::Tilt,
            Self::Roll => CameraMove::Roll,
            Self::Truck => CameraMove::Truck,
            Self::Pedestal => CameraMove::Pedestal,
            Self::Dolly => CameraMove::Dolly,
            Self::Zoom => CameraMove::Zoom,
            Self::Orbit => CameraMove::Orbit,
            Self::Elevation => CameraMove::Elevation,
            Self::Crane => CameraMove::Crane,
            Self::DollyZoom => CameraMove::DollyZoom,
            Self::Handheld => CameraMove::Handheld,
            Self::Reframe => CameraMove::Reframe,
        }
    }

    const fn document(self) -> document::MoveKind {
        match self {
            Self::Static => document::MoveKind::Static,
            Self::Pan => document::MoveKind::Pan,
            Self::Tilt => document::MoveKind::Tilt,
            Self::Roll => document::MoveKind::Roll,
            Self::Truck => document::MoveKind::Truck,
            Self::Pedestal => document::MoveKind::Pedestal,
            Self::Dolly => document::MoveKind::Dolly,
            Self::Zoom => document::MoveKind::Zoom,
            Self::Orbit => document::MoveKind::Orbit,
            Self::Elevation => document::MoveKind::Elevation,
            Self::Crane => document::MoveKind::Crane,
            Self::DollyZoom => document::MoveKind::DollyZoom,
            Self::Handheld => document::MoveKind::Handheld,
            Self::Reframe => document::MoveKind::Reframe,
        }
    }

    fn of(kind: document::MoveKind) -> Self {
        // A kind that this version does not know does nothing.
        Self::ALL.into_iter().find(|known| known.document() == kind).unwrap_or(Self::Static)
    }

    /// Name, axis, what positive and negative amounts do.
    const fn words(self) -> [&'static str; 4] {
        match self {
            Self::Static => ["Static", "", "", ""],
            Self::Pan => ["Pan", "yaw", "right", "left"],
            Self::Tilt => ["Tilt", "pitch", "up", "down"],
            Self::Roll => ["Roll", "roll", "clockwise", "anticlockwise"],
            Self::Truck => ["Truck", "x", "right", "left"],
            Self::Pedestal => ["Pedestal", "y", "up", "down"],
            Self::Dolly => ["Dolly", "z", "in", "out"],
            Self::Zoom => ["Zoom", "lens", "in", "out"],
            Self::Orbit => ["Orbit", "azimuth", "right", "left"],
            Self::Elevation => ["Elevation", "elevation", "up", "down"],
            Self::Crane => ["Crane", "y and pitch", "up", "down"],
            Self::DollyZoom => ["Dolly zoom", "z and lens", "in", "out"],
            Self::Handheld => ["Handheld", "shake", "more", ""],
            Self::Reframe => ["Reframe", "box to box", "to the end", ""],
        }
    }
}

/// Every kind of move, for the dials.
pub(crate) fn move_kinds() -> Vec<MoveKindInfo> {
    let info = |kind: MoveKind| {
        let [label, axis, positive, negative] = kind.words().map(str::to_owned);
        let camera = kind.camera();
        let whole = camera.amount(Dial::nearest(10.0));
        let logarithmic = kind == MoveKind::Zoom;
        MoveKindInfo {
            kind,
            label,
            unit: camera.unit().into(),
            axis,
            positive,
            negative,
            rest: camera.rest(),
            dial_per_unit: (!logarithmic && whole > 0.0).then(|| 10.0 / whole),
            logarithmic,
        }
    };
    MoveKind::ALL.into_iter().map(info).collect()
}

/// A shot without its geometry, which the camera's mathematics adds.
pub(crate) fn shot(shot: &Shot) -> ShotView {
    let moves = shot.moves.iter().map(|found| {
        let kind = MoveKind::of(found.kind);
        let dial = |amount: f64| kind.camera().dial(amount).value();
        MoveView {
            kind,
            from: found.from,
            to: found.to,
            start: found.start,
            end: found.end,
            start_dial: dial(found.start),
            end_dial: dial(found.end),
            easing: easing(found.easing),
        }
    });
    ShotView {
        id: shot.id.to_string(),
        name: shot.name.clone(),
        frame: shot.frame.to_string(),
        width: shot.width,
        height: shot.height,
        rate_numerator: shot.rate.numerator,
        rate_denominator: shot.rate.denominator,
        frames: shot.frames,
        moves: moves.collect(),
        motion_blur: shutter_angle(shot),
        geometry: crate::api::ShotGeometry::default(),
    }
}

/// The shutter's angle in degrees; 0 for no motion blur.
pub(crate) fn shutter_angle(shot: &Shot) -> f64 {
    shots::shutter(shot).map_or(0.0, |shutter| shutter.angle)
}

const fn easing(easing: document::Easing) -> Easing {
    match easing {
        document::Easing::Linear => Easing::Linear,
        document::Easing::In => Easing::In,
        document::Easing::Out => Easing::Out,
        document::Easing::InOut => Easing::InOut,
        document::Easing::Hold => Easing::Hold,
        document::Easing::CubicBezier(handles) => Easing::CubicBezier(handles),
    }
}

const fn document_easing(easing: Easing) -> document::Easing {
    match easing {
        Easing::Linear => document::Easing::Linear,
        Easing::In => document::Easing::In,
        Easing::Out => document::Easing::Out,
        Easing::InOut => document::Easing::InOut,
        Easing::Hold => document::Easing::Hold,
        Easing::CubicBezier(handles) => document::Easing::CubicBezier(handles),
    }
}

/// The shot that the front end describes; what it cannot say (keyframes, pivots, boxes) is taken from `before`.
pub(crate) fn shot_from(input: &ShotInput, shot: ShotId, before: Option<&Shot>) -> Answer<Shot> {
    if input.rate_numerator == 0 || input.rate_denominator == 0 || input.frames == 0 {
        return Err(CommandError::invalid("A shot needs at least one picture and a rate above 0."));
    }
    if !(0.0..=360.0).contains(&input.motion_blur) {
        return Err(CommandError::invalid(format!("A shutter of {} degrees: choose 0 to 360.", input.motion_blur)));
    }
    let mut made =
        before.cloned().unwrap_or_else(|| Shot::new(shot, input.name.clone(), document::FrameId::from_raw(0)));
    made.id = shot;
    made.name.clone_from(&input.name);
    made.frame = id(&input.frame, "frame")?;
    (made.width, made.height) = (input.width, input.height);
    made.rate = document::FrameRate { numerator: input.rate_numerator, denominator: input.rate_denominator };
    made.frames = input.frames;
    let mut earlier = std::mem::take(&mut made.moves);
    for wanted in &input.moves {
        let kind = wanted.kind.document();
        let known = earlier.iter().position(|found| found.kind == kind).map(|at| earlier.remove(at));
        made.moves.push(document::Move {
            kind,
            from: wanted.from,
            to: wanted.to.max(wanted.from),
            start: wanted.start,
            end: wanted.end,
            easing: document_easing(wanted.easing),
            settings: known.map(|found| found.settings).unwrap_or_default(),
        });
    }
    if input.motion_blur <= 0.0 {
        made.settings.remove(shots::MOTION_BLUR);
    } else if (shutter_angle(&made) - input.motion_blur).abs() > 1e-9 {
        let samples = shots::shutter(&made).map_or(1, |shutter| shutter.samples).max(BLUR_SAMPLES);
        let shutter = Shutter { angle: input.motion_blur, samples };
        made.settings.insert(shots::MOTION_BLUR.into(), shots::shutter_setting(&shutter));
    }
    Ok(made)
}

pub(crate) const fn job_kind(kind: queue::JobKind) -> JobKind {
    match kind {
        queue::JobKind::Generate => JobKind::Generate,
        queue::JobKind::Extend => JobKind::Extend,
        queue::JobKind::ZoomOut => JobKind::ZoomOut,
        queue::JobKind::Reframe => JobKind::Reframe,
        queue::JobKind::Vary => JobKind::Vary,
        queue::JobKind::Cover => JobKind::Cover,
        queue::JobKind::Upscale => JobKind::Upscale,
        queue::JobKind::Film => JobKind::Film,
        queue::JobKind::Export => JobKind::Export,
        queue::JobKind::Import => JobKind::Import,
        queue::JobKind::Copy => JobKind::Copy,
        queue::JobKind::Download => JobKind::Download,
    }
}

pub(crate) fn job(status: queue::JobStatus) -> JobView {
    let preview = |preview: &queue::JobPreview| JobPreview {
        index: preview.index as u32,
        rect: preview.rect.map(Into::into),
        version: preview.version,
        progress: preview.progress,
        done: preview.done,
    };
    JobView {
        id: status.id,
        kind: job_kind(status.kind),
        label: status.label,
        state: match status.state {
            queue::JobState::Queued => JobState::Queued,
            queue::JobState::Running => JobState::Running,
            queue::JobState::Done => JobState::Done,
            queue::JobState::Failed => JobState::Failed,
            queue::JobState::Cancelled => JobState::Cancelled,
        },
        progress: status.progress,
        stage: status.stage,
        seconds_left: status.seconds_left,
        seconds: status.seconds,
        region: status.region.map(Into::into),
        previews: status.previews.iter().map(preview).collect(),
        error: status.error,
        output: status.output.map(|path| path.to_string_lossy().into_owned()),
        generation: status.generation.map(|id| id.to_string()),
        warnings: status.warnings,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_move_is_known_to_all_three() {
        for kind in MoveKind::ALL {
            assert_eq!(MoveKind::of(kind.document()), kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), serde_json::to_value(kind.camera()).unwrap());
            assert_eq!(serde_json::to_value(kind).unwrap(), serde_json::to_value(kind.document()).unwrap());
        }
        assert_eq!(CameraMove::ALL.len(), MoveKind::ALL.len());
    }

    #[test]
    fn dials_are_as_documented() {
        let kinds = move_kinds();
        let of = |kind| kinds.iter().find(|found| found.kind == kind).unwrap();
        assert_eq!(of(MoveKind::Truck).dial_per_unit, Some(10.0));
        assert!((of(MoveKind::Pan).dial_per_unit.unwrap() * 45.0 - 10.0).abs() < 1e-12);
        assert_eq!((of(MoveKind::Zoom).dial_per_unit, of(MoveKind::Zoom).logarithmic), (None, true));
        assert_eq!(of(MoveKind::Zoom).rest.to_bits(), 1.0_f64.to_bits());
        assert_eq!(of(MoveKind::Static).dial_per_unit, None);
    }

    #[test]
    fn a_shot_keeps_what_the_window_cannot_say() {
        let mut before = Shot::new(ShotId::from_raw(3), "A", document::FrameId::from_raw(1));
        let settings = [("hertz".to_owned(), json!(2.0))].into();
        let hand = document::Move {
            kind: document::MoveKind::Handheld,
            from: 0,
            to: 119,
            start: 1.0,
            end: 1.0,
            easing: document::Easing::Linear,
            settings,
        };
        before.moves.push(hand.clone());
        before.settings.insert("lens".into(), json!(35.0));
        let view = shot(&before);
        let input = |view: &ShotView, motion_blur| ShotInput {
            id: Some(view.id.clone()),
            name: view.name.clone(),
            frame: view.frame.clone(),
            width: view.width,
            height: view.height,
            rate_numerator: view.rate_numerator,
            rate_denominator: view.rate_denominator,
            frames: view.frames,
            moves: view.moves.clone(),
            motion_blur,
        };
        assert_eq!(shot_from(&input(&view, 0.0), before.id, Some(&before)).unwrap(), before);
        let blurred = shot_from(&input(&view, 180.0), before.id, Some(&before)).unwrap();
        assert!((shutter_angle(&blurred) - 180.0).abs() < 1e-12 && blurred.moves == [hand]);
        assert!(shot_from(&input(&view, 500.0), before.id, Some(&before)).is_err());
    }
}
