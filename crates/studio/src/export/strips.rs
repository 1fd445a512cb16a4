//! An export's rows, strip by strip from the top.

use std::sync::Arc;

use image::{RgbImage, RgbaImage};
use outframe_compositor::{Compositor, Error as CompositorError, Filter, FlatView, Options, PictureSource, Scene};
use outframe_document::{Project, Rect};
use outframe_interchange::Strip;
use pollster::block_on;
use tokio_util::sync::CancellationToken;

use super::ExportOptions;
use crate::{Event, EventSink, Pictures, ProjectPictures, StudioError, engine::EngineError};

/// Numbers of a strip at most: 64 MB in 8 bits.
const STRIP_NUMBERS: u64 = 64 << 20;
/// A strip ends where the tiles of layers do, if it can, so that none is made for two strips.
const ROWS_STEP: u32 = 512;
/// No strip is higher, since the parts in which pictures are sent to the device are not.
const MOST_ROWS: u32 = 2048;

/// Draws the strips of one export.
pub(super) struct Strips<'a> {
    rect: Rect,
    size: (u32, u32),
    deep: bool,
    /// The rows of each but the last.
    pub(super) rows: u32,
    /// How many rows have been handed out.
    done: u32,
    /// The most that were done, which is what people are told.
    furthest: u32,
    painter: Painter<'a>,
    events: EventSink<'a>,
    cancel: &'a CancellationToken,
}

enum Painter<'a> {
    Gpu {
        compositor: Compositor,
        scene: Arc<Scene>,
        source: Arc<dyn PictureSource>,
    },
    /// Without an adapter; only one to one.
    Processor(Pictures<'a>),
}

impl<'a> Strips<'a> {
    pub(super) fn new(
        project: &'a Project,
        rect: Rect,
        size: (u32, u32),
        options: &ExportOptions,
        events: EventSink<'a>,
        cancel: &'a CancellationToken,
    ) -> Result<Self, StudioError> {
        let setup = Options { adapter: options.adapter.clone(), ..Options::default() };
        let painter = match block_on(Compositor::new(setup)) {
            Ok(compositor) => Painter::Gpu {
                compositor,
                scene: Arc::new(Scene::new(project.document())),
                source: Arc::new(ProjectPictures::open(project.path())?),
            },
            Err(CompositorError::NoAdapter { .. }) if size == (rect.width, rect.height) && !options.deep => {
                events(Event::Warning(
                    "There is no graphics adapter; the processor composes the picture, and holds all of its stored pictures \
                     in memory."
                        .into(),
                ));
                Painter::Processor(Pictures::new(project))
            }
            Err(error) => return Err(error.into()),
        };
        let rows = rows_of(size.0);
        let deep = options.deep;
        Ok(Self { rect, size, deep, rows, done: 0, furthest: 0, painter, events, cancel })
    }

    /// Begins at the top again.
    pub(super) fn rewind(&mut self) {
        self.done = 0;
    }

    /// The name of the adapter that draws.
    pub(super) fn adapter(&self) -> Option<String> {
        match &self.painter {
            Painter::Gpu { compositor, .. } => Some(compositor.adapter().name),
            Painter::Processor(_) => None,
        }
    }

    /// The next rows; there must be some left.
    pub(super) fn next(&mut self) -> Result<Strip, StudioError> {
        if self.cancel.is_cancelled() {
            return Err(EngineError::Cancelled.into());
        }
        let rows = self.rows.min(self.size.1 - self.done);
        let view = view(self.rect, self.size, self.done, rows);
        let strip = match &mut self.painter {
            Painter::Gpu { compositor, scene, source } if self.deep => {
                Strip::Deep(block_on(compositor.flat_deep(scene, source, &view, self.cancel))?.rgba)
            }
            Painter::Gpu { compositor, scene, source } => {
                Strip::Bytes(block_on(compositor.flat(scene, source, &view, self.cancel))?.rgba)
            }
            Painter::Processor(pictures) => {
                let part = Rect::new(self.rect.x, self.rect.y + i64::from(self.done), self.rect.width, rows);
                Strip::Bytes(pictures.flatten(part)?.into_raw())
            }
        };
        self.done += rows;
        if self.done > self.furthest {
            self.furthest = self.done;
            (self.events)(Event::Export { done: self.done, count: self.size.1 });
        }
        Ok(strip)
    }

    /// The whole picture, for writers that take no strips.
    pub(super) fn whole(&mut self) -> Result<RgbaImage, StudioError> {
        let mut rgba = Vec::with_capacity(self.size.0 as usize * self.size.1 as usize * 4);
        while self.done < self.size.1 {
            if let Strip::Bytes(strip) = self.next()? {
                rgba.extend(strip);
            }
        }
        let (width, height) = self.size;
        RgbaImage::from_raw(width, height, rgba).ok_or_else(|| StudioError::Internal("rows are missing".into()))
    }

    /// The whole picture over a colour, for a format without alpha. Mixed in codes, as browsers do.
    pub(super) fn over(&mut self, background: [u8; 3]) -> Result<RgbImage, StudioError> {
        let mut rgb = Vec::with_capacity(self.size.0 as usize * self.size.1 as usize * 3);
        while self.done < self.size.1 {
            let Strip::Bytes(strip) = self.next()? else { continue };
            rgb.extend(strip.chunks_exact(4).flat_map(|pixel| {
                let alpha = u32::from(pixel[3]);
                [0, 1, 2].map(|c| {
                    ((u32::from(pixel[c]) * alpha + u32::from(background[c]) * (255 - alpha) + 127) / 255) as u8
                })
            }));
        }
        let (width, height) = self.size;
        RgbImage::from_raw(width, height, rgb).ok_or_else(|| StudioError::Internal("rows are missing".into()))
    }
}

/// How many rows a strip has.
fn rows_of(width: u32) -> u32 {
    let rows = (STRIP_NUMBERS / (u64::from(width.max(1)) * 4)).min(u64::from(MOST_ROWS)) as u32;
    (rows / ROWS_STEP).max(1) * ROWS_STEP
}

/// The rows `first..first + rows` of the picture of `size` that shows `rect`.
fn view(rect: Rect, size: (u32, u32), first: u32, rows: u32) -> FlatView {
    // Divided at the end, so that strips of the whole at one to one lie exactly on the pixels.
    let at = |row: u32| f64::from(row) * f64::from(rect.height) / f64::from(size.1);
    FlatView {
        x: rect.x as f64,
        y: rect.y as f64 + at(first),
        width: f64::from(rect.width),
        height: at(rows),
        out_width: size.0,
        out_height: rows,
        filter: Filter::Smooth,
        dither: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strips_are_bounded_whatever_the_picture() {
        for width in 1..=32_768 {
            let rows = rows_of(width);
            assert!(rows >= ROWS_STEP && rows.is_multiple_of(ROWS_STEP) && rows <= MOST_ROWS);
            assert!(u64::from(rows) * u64::from(width) * 4 <= STRIP_NUMBERS, "{width}");
        }
        assert_eq!((rows_of(512), rows_of(8192), rows_of(32_768)), (2048, 2048, 512));
    }
}
