//! The commands for shots: make and change them, show and paint what they lack, and write their films.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, bail};
use outframe_camera::{
    Dial, MoveKind, Rect as CameraRect, Shutter,
    import::{Deforum, Imported, KlingPan, RunwayDials, deforum, kling},
};
use outframe_document::{Edit, FrameRate, Move, Project, Rect, Shot, ShotChange, ShotId, Step};
use outframe_studio::{
    CoverRequest, FillPlan, ProjectPictures,
    film::{Compositor, FilmOptions, Format, Options, PictureSource, ShotFilm, export_film},
    shots::{self, ShotCoverage},
};
use serde::Serialize;
use serde_json::json;

use crate::{
    arguments::{self, Cover, ImportFrom, ShotCommand, ShotOptions},
    commands::{finish, on_runtime, paint},
    progress::Progress,
    report,
};

/// The native size of the starter, for which the lack is reckoned where no other model is named.
const STARTER_SIZE: u32 = 256;

#[derive(Debug, Serialize)]
struct ShotRow {
    shot: u64,
    name: String,
    frame: String,
    width: u32,
    height: u32,
    /// Pictures per second.
    rate: f64,
    frames: u32,
    seconds: f64,
    moves: Vec<MoveRow>,
    keyframes: usize,
}

#[derive(Debug, Serialize)]
struct MoveRow {
    #[serde(rename = "move")]
    kind: outframe_document::MoveKind,
    from: u32,
    to: u32,
    start: f64,
    end: f64,
    /// What the dial of the end shows.
    dial: f64,
    unit: &'static str,
}

fn rows(project: &Project) -> Vec<ShotRow> {
    let document = project.document();
    let row = |shot: &Shot| ShotRow {
        shot: shot.id.get(),
        name: shot.name.clone(),
        frame: document.frame(shot.frame).map(|frame| frame.name.clone()).unwrap_or_default(),
        width: shot.width,
        height: shot.height,
        rate: shot.rate.per_second(),
        frames: shot.frames,
        seconds: shot.seconds(),
        moves: shot.moves.iter().map(move_row).collect(),
        keyframes: shot.keyframes.len(),
    };
    document.shots.iter().map(row).collect()
}

fn move_row(one: &Move) -> MoveRow {
    let found = MoveKind::ALL.into_iter().find(|kind| shots::kind_from_camera(*kind) == one.kind);
    let kind = found.unwrap_or(MoveKind::Static);
    let dial = kind.dial(one.end).value();
    MoveRow { kind: one.kind, from: one.from, to: one.to, start: one.start, end: one.end, dial, unit: kind.unit() }
}

fn table(rows: &[ShotRow]) -> String {
    if rows.is_empty() {
        return "The project has no shots. `outframe shot FILE add --truck 0.5` makes one.".into();
    }
    let mut text = String::new();
    for row in rows {
        text += &format!(
            "{:>4}  {}: {}x{}, {} pictures at {} a second, {:.2} s\n",
            row.shot,
            row.name,
            row.width,
            row.height,
            row.frames,
            rounded(row.rate),
            row.seconds
        );
        for MoveRow { kind, from, to, start, end, unit, .. } in &row.moves {
            // The names of kinds are those of the file, which are JSON strings.
            let kind = serde_json::to_value(kind).ok().and_then(|name| name.as_str().map(String::from));
            let (start, end) = (rounded(*start), rounded(*end));
            text += &format!("      {} {start} to {end} {unit}, pictures {from} to {to}\n", kind.unwrap_or_default());
        }
        if row.keyframes > 0 {
            text += &format!("      {} keyframes\n", row.keyframes);
        }
    }
    text
}

/// To four decimals, as many as people can tell apart.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// The shot of this number or name.
pub(crate) fn find(project: &Project, asked: &str) -> anyhow::Result<Shot> {
    let shots = &project.document().shots;
    let number = asked.parse().ok().map(ShotId::from_raw);
    let found =
        shots.iter().find(|shot| Some(shot.id) == number).or_else(|| shots.iter().find(|shot| shot.name == asked));
    found.cloned().with_context(|| format!("There is no shot “{asked}”. `outframe shot FILE list` shows them."))
}

pub(crate) fn shot(file: &Path, command: &ShotCommand, json: bool) -> anyhow::Result<()> {
    if matches!(command, ShotCommand::List) {
        return report::print(json, rows(&Project::open_read_only(file)?).as_slice(), table);
    }
    let mut project = Project::open(file)?;
    match command {
        ShotCommand::List => {}
        ShotCommand::Add { options } => {
            let shot = changed(&project, new_shot(&project)?, options)?;
            add(&mut project, shot, "Add shot")?;
        }
        ShotCommand::Set { shot, clear, options } => {
            let mut before = find(&project, shot)?;
            let unchanged = before.clone();
            if *clear {
                before.moves.clear();
                before.keyframes.clear();
            }
            let after = changed(&project, before, options)?;
            shots::to_camera(project.document(), &after)?;
            shots::shutter(&after)?;
            let edits = differences(&unchanged, &after);
            if edits.is_empty() {
                bail!("Say what to change, for instance --truck 0.5. `outframe shot FILE set --help` lists it.");
            }
            project.apply(Step::new("Change shot", edits))?;
        }
        ShotCommand::Remove { shot } => {
            let shot = find(&project, shot)?;
            project.apply(Step::new("Remove shot", vec![Edit::RemoveShot { shot: shot.id }]))?;
        }
        ShotCommand::Import { from, options } => {
            let mut shot = changed(&project, new_shot(&project)?, options)?;
            let imported = read_moves(from, shot.frames)?;
            for note in &imported.notes {
                eprintln!("note: {note}");
            }
            if imported.moves.is_empty() && imported.keyframes.is_empty() {
                bail!("The file says nothing that moves a camera. Is it of the program that you named?");
            }
            shots::apply_imported(&imported, &mut shot);
            add(&mut project, shot, "Import shot")?;
        }
    }
    let rows = rows(&project);
    finish(project)?;
    report::print(json, rows.as_slice(), table)
}

/// A shot of the first frame, in its size, five seconds long.
fn new_shot(project: &Project) -> anyhow::Result<Shot> {
    let Some(frame) = project.document().frames.first() else {
        bail!("The project has no frame that a camera could see. Generate or import a picture first.");
    };
    let name = format!("Shot {}", project.document().shots.len() + 1);
    // The id is replaced when the shot is added.
    let mut shot = Shot::new(ShotId::from_raw(1), name, frame.id);
    (shot.width, shot.height) = (frame.rect.width, frame.rect.height);
    Ok(shot)
}

fn add(project: &mut Project, mut shot: Shot, step: &str) -> anyhow::Result<()> {
    shots::to_camera(project.document(), &shot)?;
    shots::shutter(&shot)?;
    shot.id = project.next_shot_id();
    let index = project.document().shots.len();
    project.apply(Step::new(step, vec![Edit::AddShot { index, shot: Box::new(shot) }]))?;
    Ok(())
}

/// The edits that make one shot the other.
fn differences(before: &Shot, after: &Shot) -> Vec<Edit> {
    let mut changes = Vec::new();
    if before.name != after.name {
        changes.push(ShotChange::Name(after.name.clone()));
    }
    if (before.width, before.height) != (after.width, after.height) {
        changes.push(ShotChange::Size(after.width, after.height));
    }
    if before.rate != after.rate {
        changes.push(ShotChange::Rate(after.rate));
    }
    if before.frames != after.frames {
        changes.push(ShotChange::Frames(after.frames));
    }
    if before.moves != after.moves {
        changes.push(ShotChange::Moves(after.moves.clone()));
    }
    if before.keyframes != after.keyframes {
        changes.push(ShotChange::Keyframes(after.keyframes.clone()));
    }
    for (name, value) in &after.settings {
        if before.settings.get(name) != Some(value) {
            changes.push(ShotChange::Setting(name.clone(), Some(value.clone())));
        }
    }
    changes.into_iter().map(|change| Edit::SetShot { shot: after.id, change }).collect()
}

/// The shot as the options want it. A move replaces those of its kind.
fn changed(project: &Project, mut shot: Shot, options: &ShotOptions) -> anyhow::Result<Shot> {
    if let Some(name) = &options.name {
        shot.name.clone_from(name);
    }
    if let Some((width, height)) = options.size {
        (shot.width, shot.height) = (width, height);
    }
    let seconds = shot.seconds();
    let length = shot.frames;
    if let Some((numerator, denominator)) = options.fps {
        shot.rate = FrameRate { numerator, denominator };
    }
    if options.fps.is_some() || options.seconds.is_some() {
        shot.frames = shots::frames_in(shot.rate, options.seconds.unwrap_or(seconds));
    }
    if let Some(lens) = options.lens {
        shot.settings.insert(shots::LENS.into(), json!(lens));
    }
    if let Some(fit) = &options.fit {
        shot.settings.insert(shots::FIT.into(), json!(fit));
    }
    if let Some((angle, samples)) = options.motion_blur {
        shot.settings.insert(shots::MOTION_BLUR.into(), shots::shutter_setting(&Shutter { angle, samples }));
    }
    // Moves that end with the film go on doing so.
    let (old_last, last) = (length.saturating_sub(1), shot.frames.saturating_sub(1));
    for one in &mut shot.moves {
        if one.to == old_last || one.to > last {
            one.to = last;
            one.from = one.from.min(last);
        }
    }
    let easing = options.easing.unwrap_or_default();
    for (kind, start, end) in amounts(options) {
        let mut one = outframe_camera::Move::new(kind, 0.0, f64::from(last), start, end).eased(easing);
        if kind == MoveKind::Reframe
            && let Some(to) = options.reframe
        {
            let frame = project.document().frame(shot.frame).context("The shot’s frame is not there.")?.rect;
            one.boxes = Some([camera_rect(frame), camera_rect(to)]);
        }
        let mut one = shots::from_camera(&one);
        if let (MoveKind::Handheld, Some(seed)) = (kind, options.shake_seed) {
            one.settings.insert(shots::SEED.into(), json!(seed));
        }
        shot.moves.retain(|other| other.kind != one.kind);
        shot.moves.push(one);
    }
    Ok(shot)
}

fn camera_rect(rect: Rect) -> CameraRect {
    CameraRect::new(rect.x as f64, rect.y as f64, f64::from(rect.width), f64::from(rect.height))
}

/// The moves that the options name: kind, start and end.
fn amounts(options: &ShotOptions) -> Vec<(MoveKind, f64, f64)> {
    let units = [
        (MoveKind::Pan, options.pan),
        (MoveKind::Tilt, options.tilt),
        (MoveKind::Roll, options.roll),
        (MoveKind::Truck, options.truck),
        (MoveKind::Pedestal, options.pedestal),
        (MoveKind::Dolly, options.dolly),
        (MoveKind::Zoom, options.zoom),
        (MoveKind::Orbit, options.orbit),
        (MoveKind::Elevation, options.elevation),
        (MoveKind::Crane, options.crane),
        (MoveKind::DollyZoom, options.dolly_zoom),
    ];
    let mut all = Vec::new();
    for (kind, amount) in units {
        if let Some(amount) = amount {
            all.push((kind, amount.start.unwrap_or(kind.rest()), amount.end));
        }
    }
    if let Some(percent) = options.handheld {
        // The hand shakes from the beginning.
        all.push((MoveKind::Handheld, percent, percent));
    }
    if options.reframe.is_some() {
        all.push((MoveKind::Reframe, 0.0, 1.0));
    }
    all.extend(options.dial.iter().map(|(kind, dial)| (*kind, kind.rest(), kind.amount(Dial::nearest(*dial)))));
    all
}

fn read_moves(from: &ImportFrom, frames: u32) -> anyhow::Result<Imported> {
    let text =
        |path: &PathBuf| std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()));
    if let Some(path) = &from.deforum {
        let settings: Deforum = serde_json::from_str(&text(path)?)
            .with_context(|| format!("{} is not a settings file of Deforum", path.display()))?;
        return Ok(deforum(&settings)?);
    }
    if let Some(path) = &from.kling {
        let pan = if from.kling_pan_vertical { KlingPan::Vertical } else { KlingPan::Horizontal };
        return Ok(kling(&text(path)?, frames, pan)?);
    }
    let Some(path) = &from.runway else { bail!("Say which file to read: --deforum, --runway or --kling.") };
    let dials: RunwayDials = serde_json::from_str(&text(path)?).with_context(|| {
        format!("{} does not hold dials such as {{\"horizontal\": 5, \"zoom\": -2}}", path.display())
    })?;
    Ok(Imported { moves: dials.moves(frames)?, ..Imported::default() })
}

#[derive(Debug, Serialize)]
struct Lacking {
    shot: u64,
    /// In words.
    says: String,
    /// The share of what is seen that is missing, on each side.
    lack: outframe_camera::Lack,
    missing: Vec<outframe_camera::PixelRect>,
    fills: usize,
    /// Whether the shot sees more than can be painted.
    beyond: bool,
    layer: u64,
    depth: f64,
}

impl Lacking {
    fn new(shot: &Shot, found: ShotCoverage) -> Self {
        let ShotCoverage { layer, depth, coverage } = found;
        Self {
            shot: shot.id.get(),
            says: coverage.to_string(),
            lack: coverage.lack,
            fills: coverage.fills.len(),
            beyond: coverage.beyond,
            missing: coverage.missing,
            layer: layer.get(),
            depth,
        }
    }
}

pub(crate) fn cover(options: &Cover, json: bool, show: &Progress) -> anyhow::Result<()> {
    let project = Project::open_read_only(&options.file)?;
    let shot = find(&project, &options.shot)?;
    let found = shots::coverage(&project, &shot, STARTER_SIZE)?;
    drop(project);
    if options.dry_run || found.coverage.missing.is_empty() {
        return report::print(json, &Lacking::new(&shot, found), |row| {
            let beyond = if row.beyond { " It sees beyond what can be painted, too." } else { "" };
            format!("The shot {}.{beyond}", row.says)
        });
    }
    let request = CoverRequest {
        prompt: options.prompt.clone(),
        settings: options.sampling.settings(),
        strength: options.strength,
    };
    let placed = paint(
        &options.file,
        &options.sampling,
        show,
        |_| Ok(()),
        |project, model| FillPlan::cover(project, &shot, &request, model),
    )?;
    report::print(json, &report::Painted::new(&options.file, placed), report::painted)
}

#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    format: &'static str,
    width: u32,
    height: u32,
    frames: u32,
    seconds: f64,
    bytes: u64,
    adapter: String,
    /// How long it took, in seconds.
    took: f64,
}

pub(crate) fn film(options: &arguments::Film, json: bool, show: &Progress) -> anyhow::Result<()> {
    let is_file = options.out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("mp4"));
    let format = options.format.unwrap_or(if is_file { Format::Mp4Av1 } else { Format::PngSequence });
    if (format == Format::PngSequence) == is_file {
        let wanted = if is_file { "a folder, without .mp4" } else { "a file that ends in .mp4" };
        bail!("{} does not fit the format {format}: give {wanted}.", options.out.display());
    }
    let project = Project::open_read_only(&options.file)?;
    let film = ShotFilm::new(project.document(), &find(&project, &options.shot)?)?;
    let pictures: Arc<dyn PictureSource> = Arc::new(ProjectPictures::open(&options.file)?);
    let how = FilmOptions { path: options.out.clone(), format, quality: options.quality };
    let started = Instant::now();
    let (summary, adapter) = on_runtime(async |cancel| {
        let adapter = options.adapter.clone();
        let compositor = Compositor::new(Options { adapter, ..Options::default() }).await?;
        let mut events = |event| show.show(event);
        let summary = export_film(&compositor, &film, &pictures, &how, &mut events, cancel).await?;
        Ok((summary, compositor.adapter().name))
    })?;
    show.finish();
    let row = Written {
        file: summary.path,
        format: format.as_str(),
        width: summary.width,
        height: summary.height,
        frames: summary.frames,
        seconds: summary.seconds,
        bytes: summary.bytes,
        adapter,
        took: started.elapsed().as_secs_f64(),
    };
    report::print(json, &row, |row| {
        format!(
            "{}: {}x{}, {} pictures, {:.2} s of film, {} kB, written in {:.1} s on {}",
            row.file.display(),
            row.width,
            row.height,
            row.frames,
            row.seconds,
            row.bytes.div_ceil(1000),
            row.took,
            row.adapter
        )
    })
}
