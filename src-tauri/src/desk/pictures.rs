//! The pictures that the window shows: tiles, thumbnails, film pictures, previews of jobs.

use std::{
    collections::HashMap,
    io::Cursor,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use image::{DynamicImage, RgbaImage, imageops::FilterType};
use outframe_compositor::{Compositor, FlatView, Options, Picture, PictureSource, Scene, ShotView};
use outframe_document::{Document, Layer, LayerId, Project, Rect, TakeId};
use outframe_studio::{
    CancellationToken, ExportOptions, ProjectPictures,
    film::ShotFilm,
    tiles::{Draw, Encoded, TileAddress, TileError, encode_jpeg, encode_quickly, nothing},
};

use super::{Desk, Drawing, Open, lock, picture_rect};
use crate::{
    api::{CommandError, DragOut},
    error::Answer,
    views::{id, stem},
};

/// The longest side of a thumbnail in the project file, in pixels.
const THUMBNAIL: u32 = 256;
/// The largest side of a small picture that is asked for, in pixels.
const MAX_SMALL: u32 = 1024;
/// The largest width of a film's picture that is asked for, in pixels.
const MAX_WIDE: u32 = 3840;
/// Pictures with more pixels than this are not made small without a graphics adapter.
const MAX_FLAT_PIXELS: u64 = 1 << 26;

/// An answer to a request for a picture.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    Picture {
        picture: Encoded,
        /// Whether the same address will always give the same picture.
        lasting: bool,
    },
    /// There is no such picture; why, in words.
    Missing(String),
    /// It could not be drawn now; why, in words.
    Failed(String),
}

type Respond = Box<dyn FnOnce(Reply) + Send>;

impl Open {
    /// The stored pictures, through a connection of their own that lasts as long as the project is open.
    pub(super) fn source(&self) -> Result<Arc<dyn PictureSource>, String> {
        // Held meanwhile, so that it is not opened after the project was closed.
        let state = self.state();
        if state.project.is_none() {
            return Err("The project is closed.".into());
        }
        let mut pictures = lock(&self.pictures);
        if pictures.is_none() {
            *pictures = Some(Arc::new(ProjectPictures::open(&self.path).map_err(|error| error.to_string())?));
        }
        let pictures = Arc::clone(pictures.as_ref().ok_or("The project is closed.")?);
        Ok(pictures)
    }
}

impl Desk {
    /// The compositor, started when it is first needed. Without an adapter: what to do. Waits, so it is called from threads
    /// that may.
    pub(super) fn compositor(&self) -> Result<Compositor, String> {
        let mut drawing = lock(&self.inner.compositor);
        if let Drawing::Unmade = *drawing {
            let adapter = self.inner.adapter.parse().unwrap_or_default();
            let made = self.inner.runtime.block_on(Compositor::new(Options { adapter, ..Options::default() }));
            *drawing = made.map_or_else(|error| Drawing::Failed(error.to_string()), Drawing::Ready);
        }
        match &*drawing {
            Drawing::Ready(compositor) => Ok(compositor.clone()),
            Drawing::Failed(problem) => Err(problem.clone()),
            Drawing::Unmade => Err("There is no compositor.".into()),
        }
    }

    /// Whether drawing needs no waiting for a start.
    fn can_draw(&self) -> bool {
        matches!(*lock(&self.inner.compositor), Drawing::Ready(_))
    }

    /// How the tiles of a project are drawn.
    pub(super) fn drawing(&self, open: &Arc<Open>) -> Draw {
        let (inner, open) = (Arc::downgrade(&self.inner), Arc::downgrade(open));
        // Of the newest document that was drawn.
        let last: Mutex<Option<(Arc<Document>, Arc<Scene>)>> = Mutex::default();
        Arc::new(move |document, rect, size| {
            let (Some(inner), Some(open)) = (inner.upgrade(), open.upgrade()) else {
                return Err("The project is closed.".into());
            };
            let scene = {
                let mut last = lock(&last);
                match &*last {
                    Some((known, scene)) if Arc::ptr_eq(known, document) => Arc::clone(scene),
                    _ => {
                        let scene = Arc::new(Scene::new(document));
                        *last = Some((Arc::clone(document), Arc::clone(&scene)));
                        scene
                    }
                }
            };
            Self { inner }.flat(&open, &scene, rect, size)
        })
    }

    /// The flat picture of a part of the canvas.
    fn flat(
        &self,
        open: &Open,
        scene: &Arc<Scene>,
        rect: Rect,
        (width, height): (u32, u32),
    ) -> Result<RgbaImage, String> {
        let view = FlatView {
            x: rect.x as f64,
            y: rect.y as f64,
            width: f64::from(rect.width),
            height: f64::from(rect.height),
            out_width: width,
            out_height: height,
            ..FlatView::pixels(0, 0, 1, 1)
        };
        let (compositor, source) = (self.compositor()?, open.source()?);
        let never = CancellationToken::new();
        pixels(self.inner.runtime.block_on(compositor.flat(scene, &source, &view, &never)))
    }

    /// A small picture of the project for file managers and the start page.
    pub(super) fn thumbnail(&self, open: &Open, document: &Document) -> Option<Vec<u8>> {
        let rect = picture_rect(document)?;
        if self.can_draw()
            && let Ok(small) =
                self.flat(open, &Arc::new(Scene::new(document)), rect, within(rect.width, rect.height, THUMBNAIL))
        {
            let mut bytes = Vec::new();
            DynamicImage::ImageRgba8(small).write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).ok()?;
            return Some(bytes);
        }
        if u64::from(rect.width) * u64::from(rect.height) > MAX_FLAT_PIXELS {
            return None;
        }
        let project = Project::open_read_only(&open.path).ok()?;
        outframe_studio::thumbnail(&project).ok()?
    }

    /// Answers a request for the picture at a path such as `KEY/7/tile/0/-1/3`.
    pub(crate) fn picture(&self, path: &str, query: &str, respond: impl FnOnce(Reply) + Send + 'static) {
        let respond: Respond = Box::new(respond);
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let query = parse_query(query);
        let number = |name: &str| query.get(name).and_then(|value| value.parse::<u32>().ok());
        match parts[..] {
            ["job", job, index, _version] => respond(self.job_preview(job, index)),
            [key, revision, "tile", level, x, y] => match tile_address(revision, level, x, y) {
                Some((revision, address)) => self.tile(key, revision, address, respond),
                None => respond(missing("a tile's address is made of numbers")),
            },
            [key, _revision, "layer", layer] => {
                let size = number("size").unwrap_or(64).clamp(1, MAX_SMALL);
                let layer = layer.to_owned();
                self.drawn(key, false, respond, move |desk, open| desk.layer_picture(open, &layer, size));
            }
            [key, "take", take] => {
                let size = number("size").unwrap_or(160).clamp(1, MAX_SMALL);
                let take = take.to_owned();
                self.drawn(key, false, respond, move |_, open| take_picture(open, &take, size));
            }
            [key, _revision, "shot", shot, picture] => {
                let width = number("width").unwrap_or(640).clamp(16, MAX_WIDE);
                let live = query.get("live").and_then(|version| version.parse().ok());
                let (shot, picture) = (shot.to_owned(), picture.parse().unwrap_or(0));
                self.drawn(key, true, respond, move |desk, open| desk.shot_picture(open, &shot, live, picture, width));
            }
            _ => respond(missing("there is nothing at this address")),
        }
    }

    fn tile(&self, key: &str, revision: u64, address: TileAddress, respond: Respond) {
        self.inner.tiles.request(key, revision, address, move |answer| {
            respond(match answer {
                Ok(tile) => Reply::Picture { picture: tile.picture, lasting: tile.lasting },
                Err(error @ (TileError::Closed | TileError::NoSuchTile)) => Reply::Missing(error.to_string()),
                Err(error) => Reply::Failed(error.to_string()),
            });
        });
    }

    fn job_preview(&self, job: &str, index: &str) -> Reply {
        let found =
            job.parse().ok().zip(index.parse().ok()).and_then(|(job, index)| self.inner.queue.preview(job, index));
        let Some(picture) = found else { return missing("this job has no such preview") };
        match encode_quickly(&DynamicImage::ImageRgb8(picture.as_ref().clone())) {
            Ok(picture) => Reply::Picture { picture, lasting: true },
            Err(why) => Reply::Failed(why),
        }
    }

    /// Draws something of the open project on the tiles' threads.
    fn drawn(
        &self,
        key: &str,
        urgent: bool,
        respond: Respond,
        draw: impl FnOnce(&Self, &Arc<Open>) -> Result<Option<Encoded>, String> + Send + 'static,
    ) {
        let open = lock(&self.inner.open).clone().filter(|open| open.key == key);
        let Some(open) = open else { return respond(Reply::Missing(TileError::Closed.to_string())) };
        let inner = Arc::downgrade(&self.inner);
        self.inner.tiles.run(urgent, move || {
            let Some(inner) = inner.upgrade() else { return };
            respond(match draw(&Self { inner }, &open) {
                Ok(Some(picture)) => Reply::Picture { picture, lasting: true },
                Ok(None) => missing("it is not in the project any more"),
                Err(why) => Reply::Failed(why),
            });
        });
    }

    /// Puts what is to be dragged out into a folder, and says where.
    pub(crate) fn picture_to_drag(&self, what: &DragOut, folder: &Path) -> Answer<PathBuf> {
        let open = self.open()?;
        let document = open.document();
        // A name that every file system takes.
        let clean = |name: &str| -> String {
            let name: String =
                name.chars().map(|c| if c.is_alphanumeric() || " -_".contains(c) { c } else { '_' }).collect();
            let name = name.trim();
            if name.is_empty() { "picture".into() } else { name.chars().take(60).collect() }
        };
        match what {
            DragOut::Picture => {
                let title = document.title().map_or_else(|| stem(&open.path), str::to_owned);
                let out = folder.join(clean(&title) + ".png");
                outframe_studio::export(&Project::open_read_only(&open.path)?, &out, &ExportOptions::default())?;
                Ok(out)
            }
            DragOut::Take { generation, take } => {
                let missing = || CommandError::not_found("This take is not in the project any more.");
                let generation = document.generation(id(generation, "generation")?).ok_or_else(missing)?;
                let found = generation.take(id(take, "take")?).ok_or_else(missing)?;
                let out = folder.join(format!(
                    "{} {}.png",
                    clean(generation.provenance.request.prompt_of(found.id)),
                    found.seed
                ));
                let bytes = {
                    let state = open.state();
                    state.project.as_ref().ok_or_else(super::closed)?.blob(&found.image)?
                };
                outframe_studio::write_whole(&out, &bytes)?;
                Ok(out)
            }
        }
    }

    /// A layer alone, as if it were opaque, in a square of `size`.
    fn layer_picture(&self, open: &Open, layer: &str, size: u32) -> Result<Option<Encoded>, String> {
        let document = open.document();
        let Some(layer) = id::<LayerId>(layer, "layer").ok().and_then(|id| document.layer(id)) else { return Ok(None) };
        let Some(rect) = layer.patches.iter().map(|patch| patch.rect).reduce(|all, rect| all.union(&rect)) else {
            return Ok(Some(nothing()));
        };
        let alone = Layer {
            visible: true,
            opacity: 1.0,
            blend: outframe_document::BlendMode::Normal,
            group: None,
            ..layer.clone()
        };
        let generations = document.generations.clone();
        let alone = Document { layers: vec![alone], generations, ..Document::default() };
        let small = self.flat(open, &Arc::new(Scene::new(&alone)), rect, within(rect.width, rect.height, size))?;
        encode_quickly(&DynamicImage::ImageRgba8(small)).map(Some)
    }

    /// A picture of a shot; of the version that is being dragged, if `live` is that.
    fn shot_picture(
        &self,
        open: &Open,
        shot: &str,
        live: Option<u64>,
        picture: u32,
        width: u32,
    ) -> Result<Option<Encoded>, String> {
        let document = open.document();
        let dragged = live.and_then(|version| {
            lock(&open.live).get(shot).filter(|(newest, _)| *newest >= version).map(|(_, shot)| shot.clone())
        });
        let stored =
            || id(shot, "shot").ok().and_then(|id| document.shots.iter().find(|found| found.id == id).cloned());
        let Some(shot) = dragged.or_else(stored) else { return Ok(None) };
        let height = ((f64::from(width) * f64::from(shot.height) / f64::from(shot.width)).round() as u32).max(1);
        let film = ShotFilm::new(&document, &shot).map_err(|error| error.to_string())?;
        let last = shot.frames.saturating_sub(1);
        let view = film.view(picture.min(last)).map_err(|error| error.to_string())?;
        let view = ShotView { width, height, ..view };
        let (compositor, source) = (self.compositor()?, open.source()?);
        let never = CancellationToken::new();
        let frame = pixels(self.inner.runtime.block_on(compositor.shot(film.scene(), &source, &view, &never)))?;
        encode_jpeg(&DynamicImage::ImageRgba8(frame)).map(Some)
    }
}

fn pixels(drawn: Result<Picture, outframe_compositor::Error>) -> Result<RgbaImage, String> {
    let Picture { width, height, rgba } = drawn.map_err(|error| error.to_string())?;
    RgbaImage::from_raw(width, height, rgba).ok_or_else(|| "The picture is incomplete.".into())
}

fn take_picture(open: &Open, take: &str, size: u32) -> Result<Option<Encoded>, String> {
    let Ok(take) = id::<TakeId>(take, "take") else { return Ok(None) };
    let document = open.document();
    let Some(found) = document.generations.values().find_map(|generation| generation.take(take)) else {
        return Ok(None);
    };
    let source = open.source()?;
    let image = source.load(&found.image)?;
    let (width, height) = within(image.width(), image.height(), size);
    let small = |image: DynamicImage| {
        if (image.width(), image.height()) == (width, height) {
            image
        } else {
            image.resize_exact(width, height, FilterType::CatmullRom)
        }
    };
    let mut shown = small(image);
    if let Some(mask) = &found.mask {
        let mask = small(source.load(mask)?).into_luma8();
        let mut masked = shown.into_rgba8();
        for (pixel, mask) in masked.pixels_mut().zip(mask.pixels()) {
            pixel.0[3] = (u16::from(pixel.0[3]) * u16::from(mask.0[0]) / 255) as u8;
        }
        shown = DynamicImage::ImageRgba8(masked);
    }
    encode_quickly(&shown).map(Some)
}

fn missing(why: &str) -> Reply {
    Reply::Missing(format!("No picture: {why}."))
}

/// The size of a picture made to fit into a square; it is not enlarged.
pub(super) fn within(width: u32, height: u32, square: u32) -> (u32, u32) {
    let longest = width.max(height).max(square);
    let side = |length: u32| ((u64::from(length) * u64::from(square) / u64::from(longest)) as u32).max(1);
    (side(width), side(height))
}

fn tile_address(revision: &str, level: &str, x: &str, y: &str) -> Option<(u64, TileAddress)> {
    let address = TileAddress { level: level.parse().ok()?, x: x.parse().ok()?, y: y.parse().ok()? };
    Some((revision.parse().ok()?, address))
}

fn parse_query(query: &str) -> HashMap<&str, &str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).collect()
}
