//! Edits at random, for tests that do not care which.
#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, reason = "only tests use this")]

use outframe_document::{
    BlendMode, BlobId, Canvas, Color, Context, Easing, Edit, Frame, FrameRate, Generation, GenerationKind,
    GenerationRequest, Group, GroupChange, Keyframe, Layer, LayerChange, Mask, ModelRef, Move, MoveKind, Note, Origin,
    Patch, PatchChange, PatchContent, PatchImage, Project, Provenance, Rect, Sequence, Shot, ShotChange, Step, Take,
};
use serde_json::json;

/// A small generator (SplitMix64): the same seed gives the same edits on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        if items.is_empty() { None } else { Some(items[self.below(items.len())]) }
    }

    pub(crate) fn rect(&mut self) -> Rect {
        let place = |random: &mut Self| random.next() as i64 % 10_000;
        Rect::new(place(self), place(self), 1 + self.below(4096) as u32, 1 + self.below(4096) as u32)
    }

    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most);
        let mut bytes: Vec<u8> = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

/// The largest blob that [`random_step`] puts in, in bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlobSize(pub(crate) usize);

/// A step that fits the project as it is, with one to three edits.
pub(crate) fn random_step(project: &mut Project, random: &mut Random, size: BlobSize) -> Step {
    let layers: Vec<_> = project.document().layers.iter().map(|layer| layer.id).collect();
    let patches: Vec<_> = project.document().patches().map(|patch| patch.id).collect();
    let generations: Vec<_> = project.document().generations.keys().copied().collect();
    let frames: Vec<_> = project.document().frames.iter().map(|frame| frame.id).collect();
    let choice = random.below(28);
    let edits = match choice {
        20..=22 => random_group_edit(project, random, size),
        23..=25 => random_film_edit(project, random),
        26 | 27 => Some(vec![random_note_edit(project, random)]),
        2 => layers
            .first()
            .and_then(|_| random.pick(&layers))
            .filter(|_| random.below(3) == 0)
            .map(|layer| vec![Edit::RemoveLayer { layer }]),
        3 => random.pick(&layers).map(|layer| vec![Edit::MoveLayer { layer, index: random.below(layers.len()) }]),
        4 | 5 => random.pick(&layers).map(|layer| vec![Edit::SetLayer { layer, change: layer_change(random) }]),
        6..=8 => random.pick(&layers).map(|layer| {
            let index = random.below(project.document().layer(layer).unwrap().patches.len() + 1);
            let patch = Box::new(random_patch(project, random, size));
            vec![Edit::AddPatch { layer, index, patch }]
        }),
        9 => random.pick(&patches).map(|patch| vec![Edit::RemovePatch { patch }]),
        10 => random.pick(&patches).zip(random.pick(&layers)).map(|(patch, layer)| {
            let target = project.document().layer(layer).unwrap();
            let here = target.patches.iter().any(|other| other.id == patch);
            vec![Edit::MovePatch { patch, layer, index: random.below(target.patches.len() + usize::from(!here)) }]
        }),
        11 => random.pick(&patches).map(|patch| {
            let change = match random.below(3) {
                0 => PatchChange::Name(format!("p{}", random.below(100))),
                1 => PatchChange::Rect(random.rect()),
                _ => match random.pick(&generations) {
                    Some(generation) => PatchContent::Generation(generation),
                    None => random_image(project, random, size),
                }
                .into_change(),
            };
            vec![Edit::SetPatch { patch, change }]
        }),
        12 | 13 => random.pick(&layers).map(|layer| {
            let generation = random_generation(project, random, size);
            let content = PatchContent::Generation(generation.id);
            let patch = Box::new(Patch::new(project.next_patch_id(), generation.rect, content));
            let add = Edit::AddGeneration { generation: Box::new(generation) };
            vec![add, Edit::AddPatch { layer, index: 0, patch }]
        }),
        14 => random.pick(&generations).map(|generation| {
            let index = random.below(project.document().generation(generation).unwrap().takes.len() + 1);
            let take = random_take(project, random, size);
            let chosen = take.id;
            let add = Edit::AddTake { generation, index, take };
            vec![add, Edit::ChooseTake { generation, take: chosen }]
        }),
        15 => random.pick(&generations).map(|generation| {
            let found = project.document().generation(generation).unwrap();
            let takes: Vec<_> = found.takes.iter().map(|take| take.id).collect();
            let take = random.pick(&takes).unwrap();
            if take == found.chosen || random.below(2) == 0 {
                vec![Edit::ChooseTake { generation, take }]
            } else {
                vec![Edit::RemoveTake { generation, take }]
            }
        }),
        16 => random.pick(&generations).map(|generation| {
            // First whatever shows it.
            let shown = PatchContent::Generation(generation);
            let showing = project.document().patches().filter(|patch| patch.content == shown);
            let mut edits: Vec<_> = showing.map(|patch| Edit::RemovePatch { patch: patch.id }).collect();
            edits.push(Edit::RemoveGeneration { generation });
            edits
        }),
        17 => random.pick(&frames).map(|frame| match random.below(3) {
            0 if project.document().shots.iter().all(|shot| shot.frame != frame) => vec![Edit::RemoveFrame { frame }],
            1 => vec![Edit::MoveFrame { frame, index: random.below(frames.len()) }],
            _ => vec![Edit::SetFrame { frame: Frame { id: frame, name: "wide".into(), rect: random.rect() } }],
        }),
        18 => {
            let frame = Frame { id: project.next_frame_id(), name: "frame".into(), rect: random.rect() };
            Some(vec![Edit::AddFrame { index: random.below(frames.len() + 1), frame }])
        }
        19 => Some(vec![random_setting(random)]),
        _ => None,
    };
    let edits = edits.unwrap_or_else(|| {
        let mut layer = Layer::new(project.next_layer_id(), "layer");
        for _ in 0..random.below(3) {
            layer.patches.push(random_patch(project, random, size));
        }
        vec![Edit::AddLayer { index: random.below(layers.len() + 1), layer: Box::new(layer) }]
    });
    Step::new(format!("edit {choice}"), edits)
}

/// A group, a mask, a shot, a sequence, a note and a model, in a project that has a layer and a frame.
pub(crate) fn one_of_each(project: &mut Project) -> Vec<Edit> {
    let mut random = Random(1);
    let (layer, frame) = (project.document().layers[0].id, project.document().frames[0].id);
    let outer = Group::new(project.next_group_id(), "Outer");
    let mut group = Group::new(project.next_group_id(), "Inner");
    group.parent = Some(outer.id);
    let into = LayerChange::Group(Some(group.id));
    let picture = project.put_blob(b"mask", "image/png").unwrap();
    let mask = Mask::new(picture, Rect::new(-5, 5, 100, 200));
    group.mask = Some(mask.clone());
    let mut shot = Shot::new(project.next_shot_id(), "Shot", frame);
    for (number, change) in (0..).map_while(|number| (number < 40).then(|| (number, random_shot_change(&mut random)))) {
        match change {
            ShotChange::Moves(moves) => shot.moves = moves,
            ShotChange::Keyframes(keyframes) => shot.keyframes = keyframes,
            _ => drop(shot.settings.insert(format!("setting {number}"), json!(number))),
        }
    }
    let sequence = Sequence { id: project.next_sequence_id(), name: "Film".into(), shots: vec![shot.id, shot.id] };
    let note = Note { id: project.next_note_id(), text: "A note\nof two lines".into(), place: Some(mask.rect) };
    vec![
        Edit::AddGroup { group: Box::new(outer) },
        Edit::AddGroup { group: Box::new(group) },
        Edit::SetLayer { layer, change: into },
        Edit::SetLayer { layer, change: LayerChange::Mask(Some(mask)) },
        Edit::AddShot { index: 0, shot: Box::new(shot) },
        Edit::AddSequence { index: 0, sequence },
        Edit::AddNote { note },
        Edit::SetModel {
            hash: BlobId::of(b"weights"),
            model: Some(ModelRef { name: "Model".into(), family: "sd-1.5".into() }),
        },
    ]
}

fn random_mask(project: &mut Project, random: &mut Random) -> Option<Mask> {
    (random.below(3) > 0).then(|| Mask {
        image: project.put_blob(&random.bytes(200), "image/png").unwrap(),
        rect: random.rect(),
        outside: random.below(2) == 0,
        enabled: random.below(2) == 0,
    })
}

fn random_group_edit(project: &mut Project, random: &mut Random, _size: BlobSize) -> Option<Vec<Edit>> {
    let groups: Vec<_> = project.document().groups.keys().copied().collect();
    let layers: Vec<_> = project.document().layers.iter().map(|layer| layer.id).collect();
    let Some(group) = random.pick(&groups).filter(|_| random.below(4) > 0) else {
        let mut group = Group::new(project.next_group_id(), "group");
        group.mask = random_mask(project, random);
        let into = random.pick(&layers).map(|layer| {
            let change = LayerChange::Group(Some(group.id));
            Edit::SetLayer { layer, change }
        });
        return Some(std::iter::once(Edit::AddGroup { group: Box::new(group) }).chain(into).collect());
    };
    let change = match random.below(9) {
        0 => GroupChange::Name(format!("Group {}", random.below(9))),
        1 => GroupChange::Visible(random.below(2) == 0),
        2 => GroupChange::Locked(random.below(2) == 0),
        3 => GroupChange::Opacity(random.unit()),
        4 => GroupChange::Blend(BlendMode::ALL[random.below(BlendMode::ALL.len())]),
        5 => GroupChange::Mask(random_mask(project, random)),
        6 => {
            // Only outwards, so that no group comes to hold itself.
            let parent = random.pick(&groups).filter(|parent| *parent < group);
            GroupChange::Parent(parent)
        }
        7 => {
            let layer = random.pick(&layers)?;
            let change = match random.below(3) {
                0 => LayerChange::Mask(random_mask(project, random)),
                1 => LayerChange::Group(None),
                _ => LayerChange::Group(Some(group)),
            };
            return Some(vec![Edit::SetLayer { layer, change }]);
        }
        _ => {
            // First whatever is in it.
            let document = project.document();
            let layers = document.layers.iter().filter(|layer| layer.group == Some(group));
            let mut edits: Vec<_> =
                layers.map(|layer| Edit::SetLayer { layer: layer.id, change: LayerChange::Group(None) }).collect();
            let inner = document.groups.values().filter(|inner| inner.parent == Some(group));
            edits.extend(inner.map(|inner| Edit::SetGroup { group: inner.id, change: GroupChange::Parent(None) }));
            edits.push(Edit::RemoveGroup { group });
            return Some(edits);
        }
    };
    Some(vec![Edit::SetGroup { group, change }])
}

fn random_easing(random: &mut Random) -> Easing {
    let curve = Easing::CubicBezier([random.unit(), random.unit() * 3.0 - 1.0, random.unit(), random.unit()]);
    random.pick(&[Easing::Linear, Easing::In, Easing::Out, Easing::InOut, Easing::Hold, curve]).unwrap()
}

fn random_shot_change(random: &mut Random) -> ShotChange {
    match random.below(7) {
        0 => ShotChange::Name(format!("Shot {}", random.below(9))),
        1 => ShotChange::Size(1 + random.below(4096) as u32, 1 + random.below(4096) as u32),
        2 => ShotChange::Rate(FrameRate { numerator: 24_000, denominator: 1001 }),
        3 => ShotChange::Frames(1 + random.below(10_000) as u32),
        4 => ShotChange::Moves(
            (0..random.below(4))
                .map(|at| Move {
                    kind: random.pick(&[MoveKind::Pan, MoveKind::DollyZoom, MoveKind::Orbit]).unwrap(),
                    from: at as u32,
                    to: at as u32 + 48,
                    start: random.unit() - 0.5,
                    end: random.unit() * 90.0,
                    easing: random_easing(random),
                    settings: [("seed".to_owned(), json!(random.next()))].into(),
                })
                .collect(),
        ),
        5 => ShotChange::Keyframes(
            (0..random.below(30))
                .map(|at| Keyframe {
                    channel: "yaw".into(),
                    frame: at as u32 * 10,
                    value: random.unit() * 1e-9,
                    easing: random_easing(random),
                })
                .collect(),
        ),
        _ => ShotChange::Setting("blur".into(), random.pick(&[None, Some(0.5)]).unwrap().map(|blur: f64| json!(blur))),
    }
}

fn random_film_edit(project: &mut Project, random: &mut Random) -> Option<Vec<Edit>> {
    let document = project.document();
    let frames: Vec<_> = document.frames.iter().map(|frame| frame.id).collect();
    let shots: Vec<_> = document.shots.iter().map(|shot| shot.id).collect();
    let sequences: Vec<_> = document.sequences.iter().map(|sequence| sequence.id).collect();
    let some_shots = |random: &mut Random| {
        let count = if shots.is_empty() { 0 } else { random.below(5) };
        (0..count).map(|_| shots[random.below(shots.len())]).collect()
    };
    let edit = match random.below(9) {
        0 | 1 => {
            let frame = random.pick(&frames)?;
            let shot = Shot::new(project.next_shot_id(), "shot", frame);
            Edit::AddShot { index: random.below(shots.len() + 1), shot: Box::new(shot) }
        }
        2 => {
            let shot = random.pick(&shots)?;
            if document.sequences.iter().any(|sequence| sequence.shots.contains(&shot)) {
                return None;
            }
            Edit::RemoveShot { shot }
        }
        3 => Edit::MoveShot { shot: random.pick(&shots)?, index: random.below(shots.len()) },
        4 => {
            let change = match random.pick(&frames).filter(|_| random.below(5) == 0) {
                Some(frame) => ShotChange::Frame(frame),
                None => random_shot_change(random),
            };
            Edit::SetShot { shot: random.pick(&shots)?, change }
        }
        5 => {
            let index = random.below(sequences.len() + 1);
            let shots = some_shots(random);
            Edit::AddSequence {
                index,
                sequence: Sequence { id: project.next_sequence_id(), name: "film".into(), shots },
            }
        }
        6 => Edit::RemoveSequence { sequence: random.pick(&sequences)? },
        7 => Edit::MoveSequence { sequence: random.pick(&sequences)?, index: random.below(sequences.len()) },
        _ => {
            let (id, shots) = (random.pick(&sequences)?, some_shots(random));
            Edit::SetSequence { sequence: Sequence { id, name: "cut".into(), shots } }
        }
    };
    Some(vec![edit])
}

fn random_note_edit(project: &mut Project, random: &mut Random) -> Edit {
    let notes: Vec<_> = project.document().notes.keys().copied().collect();
    let text = format!("note {}", random.next());
    let place = (random.below(2) == 0).then(|| random.rect());
    match (random.below(4), random.pick(&notes)) {
        (0, _) => {
            let hash = BlobId::of(&[random.below(4) as u8]);
            let model = ModelRef { name: "model".into(), family: "sdxl".into() };
            Edit::SetModel { hash, model: (random.below(3) > 0).then_some(model) }
        }
        (1, Some(note)) => Edit::RemoveNote { note },
        (2, Some(id)) => Edit::SetNote { note: Note { id, text, place } },
        _ => Edit::AddNote { note: Note { id: project.next_note_id(), text, place } },
    }
}

trait IntoChange {
    fn into_change(self) -> PatchChange;
}

impl IntoChange for PatchContent {
    fn into_change(self) -> PatchChange {
        PatchChange::Content(self)
    }
}

fn layer_change(random: &mut Random) -> LayerChange {
    match random.below(6) {
        0 => LayerChange::Name(format!("Layer «{}»", random.below(1000))),
        1 => LayerChange::Visible(random.below(2) == 0),
        2 => LayerChange::Locked(random.below(2) == 0),
        3 => LayerChange::Opacity(random.unit()),
        4 => LayerChange::Blend(BlendMode::ALL[random.below(BlendMode::ALL.len())]),
        _ => LayerChange::Depth(0.001 + random.unit() * 100.0),
    }
}

fn random_setting(random: &mut Random) -> Edit {
    match random.below(3) {
        0 => {
            let [r, g, b, a] = (random.next() as u32).to_be_bytes();
            let background = (random.below(4) > 0).then_some(Color { r, g, b, a });
            Edit::SetCanvas { canvas: Canvas { background } }
        }
        1 => Edit::SetMeta { key: format!("key{}", random.below(3)), value: None },
        _ => {
            let value = json!({ "number": random.unit() * 1e300, "list": [random.next(), null, "text\u{1f3a8}"] });
            Edit::SetMeta { key: format!("key{}", random.below(3)), value: Some(value) }
        }
    }
}

pub(crate) fn random_patch(project: &mut Project, random: &mut Random, size: BlobSize) -> Patch {
    let content = random_image(project, random, size);
    Patch::new(project.next_patch_id(), random.rect(), content)
}

fn random_image(project: &mut Project, random: &mut Random, size: BlobSize) -> PatchContent {
    let image = project.put_blob(&random.bytes(size.0), "image/png").unwrap();
    let mask = (random.below(2) == 0).then(|| project.put_blob(&random.bytes(64), "image/png").unwrap());
    let origin = match random.below(3) {
        0 => Origin::Drawn,
        1 => Origin::Imported {
            file_name: "photo.jpg".into(),
            hash: image,
            metadata: json!({ "exif": { "orientation": random.below(9), "exposure": random.unit() } }),
        },
        _ => Origin::Generated { provenance: Box::new(random_provenance(random)), seconds: random.unit() * 60.0 },
    };
    PatchContent::Image(Box::new(PatchImage { image, mask, origin }))
}

fn random_provenance(random: &mut Random) -> Provenance {
    let mut request = GenerationRequest {
        kind: GenerationKind::Extend,
        prompt: "a lake\nat \"dawn\" 🌅".into(),
        seed: random.next(),
        guidance: random.unit() * 20.0,
        strength: random.unit(),
        steps: 30,
        ..GenerationRequest::default()
    };
    if random.below(2) == 0 {
        request.extra.insert("clip_skip".into(), json!(2));
    }
    let context = (random.below(2) == 0).then(|| Context { rect: random.rect(), hash: None });
    Provenance { request, engine: "engine 1".into(), device: "cpu".into(), context }
}

fn random_take(project: &mut Project, random: &mut Random, size: BlobSize) -> Take {
    let image = project.put_blob(&random.bytes(size.0), "image/png").unwrap();
    Take { id: project.next_take_id(), seed: random.next(), image, mask: None, seconds: random.unit() * 100.0 }
}

fn random_generation(project: &mut Project, random: &mut Random, size: BlobSize) -> Generation {
    let takes: Vec<_> = (0..=random.below(4)).map(|_| random_take(project, random, size)).collect();
    let chosen = takes[random.below(takes.len())].id;
    let provenance = random_provenance(random);
    Generation { id: project.next_generation_id(), rect: random.rect(), provenance, takes, chosen }
}
