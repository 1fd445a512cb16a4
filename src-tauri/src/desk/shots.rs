//! Shots: their commands, their geometry, their pictures.

use std::sync::atomic::Ordering;

use outframe_document::{self as document, Document, Edit, Frame, FrameRate, Shot, ShotChange, ShotId, Step};
use outframe_studio::shots;

use super::{Desk, lock};
use crate::{
    api::{CommandError, CoverageView, Point, ProjectView, ShotGeometry, ShotInput, ShotPreview, ShotView},
    error::Answer,
    views::{self, id},
};

/// Points of the path that is drawn over the stage.
const PATH_POINTS: u32 = 97;
/// What a new shot has.
const SECONDS: u32 = 4;
const RATE: u32 = 24;
/// The longer side of a new film at least and at most, in pixels.
const LONGEST: (f64, f64) = (768.0, 1920.0);

/// The shots with their geometry.
pub(super) fn views(document: &Document) -> Vec<ShotView> {
    document.shots.iter().map(|shot| ShotView { geometry: geometry(document, shot), ..views::shot(shot) }).collect()
}

fn geometry(document: &Document, shot: &Shot) -> ShotGeometry {
    let made = shots::to_camera(document, shot)
        .map_err(|error| error.to_string())
        .and_then(|camera| outframe_camera::path(&camera, PATH_POINTS).map_err(|error| error.to_string()));
    let point = |point: &outframe_camera::Point| Point { x: point.x, y: point.y };
    match made {
        Ok(path) => {
            let corners = |corners: Option<[outframe_camera::Point; 4]>| -> Vec<Point> {
                corners.iter().flatten().map(point).collect()
            };
            let problem = (path.start.is_none() || path.end.is_none())
                .then(|| "The camera looks past the picture at the beginning or the end.".to_owned());
            ShotGeometry {
                path: path.centres.iter().map(point).collect(),
                start_box: corners(path.start),
                end_box: corners(path.end),
                problem,
            }
        }
        Err(problem) => ShotGeometry { problem: Some(problem), ..ShotGeometry::default() },
    }
}

impl Desk {
    /// Adds a shot on the picture's frame, in which nothing moves yet.
    pub(crate) fn add_shot(&self) -> Answer<ProjectView> {
        self.change(|project| {
            let Some(frame) = project.document().frames.first().cloned() else {
                return Err(CommandError::invalid(
                    "A shot needs a picture to film. Generate one or drop one on the window first.",
                ));
            };
            let shot = project.next_shot_id();
            let index = project.document().shots.len();
            let taken = |name: &str| project.document().shots.iter().any(|shot| shot.name == name);
            // Among one more name than there are shots one is free.
            let name = (index + 1..=2 * index + 1).map(|number| format!("Shot {number}")).find(|name| !taken(name));
            let name = name.unwrap_or_default();
            let (width, height) = film_size(&frame);
            let shot = Shot {
                width,
                height,
                rate: FrameRate { numerator: RATE, denominator: 1 },
                frames: SECONDS * RATE,
                ..Shot::new(shot, name, frame.id)
            };
            Ok(project.apply(Step::new("Add shot", vec![Edit::AddShot { index, shot: Box::new(shot) }]))?)
        })
    }

    /// Stores a shot as it is now, as one step.
    pub(crate) fn set_shot(&self, input: &ShotInput) -> Answer<ProjectView> {
        let open = self.open()?;
        let ((), view) = self.change_in(&open, |project| {
            let Some(known) = &input.id else {
                let shot = project.next_shot_id();
                let shot = views::shot_from(input, shot, None)?;
                let index = project.document().shots.len();
                return Ok(project.apply(Step::new("Add shot", vec![Edit::AddShot { index, shot: Box::new(shot) }]))?);
            };
            let before = stored(project.document(), known)?.clone();
            let after = views::shot_from(input, before.id, Some(&before))?;
            let edits = changes(&before, &after);
            if edits.is_empty() {
                return Ok(());
            }
            Ok(project.apply(Step::new("Change shot", edits))?)
        })?;
        if let Some(known) = &input.id {
            lock(&open.live).remove(known);
        }
        Ok(view)
    }

    /// Keeps a shot that is being dragged, without storing it.
    pub(crate) fn preview_shot(&self, input: &ShotInput) -> Answer<ShotPreview> {
        let open = self.open()?;
        let document = open.document();
        let key = input.id.clone().unwrap_or_default();
        let before = input.id.as_ref().and_then(|known| stored(&document, known).ok());
        let shot = views::shot_from(input, before.map_or(ShotId::from_raw(1), |shot| shot.id), before)?;
        let geometry = geometry(&document, &shot);
        let version = open.live_version.fetch_add(1, Ordering::Relaxed) + 1;
        lock(&open.live).insert(key, (version, shot));
        Ok(ShotPreview { geometry, version })
    }

    pub(crate) fn remove_shot(&self, shot: &str) -> Answer<ProjectView> {
        let shot: ShotId = id(shot, "shot")?;
        self.change(|project| Ok(project.apply(Step::new("Remove shot", vec![Edit::RemoveShot { shot }]))?))
    }

    /// What a shot lacks.
    pub(crate) async fn coverage(&self, shot: &str) -> Answer<CoverageView> {
        let (open, shot) = (self.open()?, shot.to_owned());
        let native = self.native_size(None);
        let found = tokio::task::spawn_blocking(move || -> Answer<CoverageView> {
            let state = open.state();
            let project = state.project.as_ref().ok_or_else(super::closed)?;
            let shot = stored(project.document(), &shot)?;
            Ok(coverage_view(&shots::coverage(project, shot, native)?.coverage))
        });
        found.await?
    }
}

fn coverage_view(found: &outframe_camera::Coverage) -> CoverageView {
    let area = |rect: &outframe_camera::PixelRect| {
        document::Rect::new(rect.x0, rect.y0, rect.width() as u32, rect.height() as u32)
    };
    let lack = found.lack;
    CoverageView {
        missing: lack.total(),
        left: lack.left,
        right: lack.right,
        up: lack.top,
        down: lack.bottom,
        inside: lack.inside,
        fills: found
            .fills
            .iter()
            .filter_map(|fill| fill.paint.iter().map(area).reduce(|all, rect| all.union(&rect)))
            .map(Into::into)
            .collect(),
        text: found.to_string(),
    }
}

pub(super) fn stored<'a>(document: &'a Document, shot: &str) -> Answer<&'a Shot> {
    let known: ShotId = id(shot, "shot")?;
    let found = document.shots.iter().find(|found| found.id == known);
    found.ok_or_else(|| CommandError::not_found("This shot is not in the project any more."))
}

/// The edits that lead from one state of a shot to another.
fn changes(before: &Shot, after: &Shot) -> Vec<Edit> {
    let mut found = Vec::new();
    if before.name != after.name {
        found.push(ShotChange::Name(after.name.clone()));
    }
    if before.frame != after.frame {
        found.push(ShotChange::Frame(after.frame));
    }
    if (before.width, before.height) != (after.width, after.height) {
        found.push(ShotChange::Size(after.width, after.height));
    }
    if before.rate != after.rate {
        found.push(ShotChange::Rate(after.rate));
    }
    if before.frames != after.frames {
        found.push(ShotChange::Frames(after.frames));
    }
    if before.moves != after.moves {
        found.push(ShotChange::Moves(after.moves.clone()));
    }
    for key in before.settings.keys().chain(after.settings.keys()) {
        let value = after.settings.get(key);
        let change = ShotChange::Setting(key.clone(), value.cloned());
        if before.settings.get(key) != value && !found.contains(&change) {
            found.push(change);
        }
    }
    found.into_iter().map(|change| Edit::SetShot { shot: before.id, change }).collect()
}

/// A film of the frame's proportions with even sides, as codecs need them.
fn film_size(frame: &Frame) -> (u32, u32) {
    let (width, height) = (f64::from(frame.rect.width), f64::from(frame.rect.height));
    let longest = width.max(height);
    let scale = longest.clamp(LONGEST.0, LONGEST.1) / longest;
    let even = |side: f64| (((side * scale / 2.0).round() as u32) * 2).max(2);
    (even(width), even(height))
}
