//! Every pixel that a person sees, composed by wgpu: tiles of the stage, frames of a shot, exports.
//!
//! - [`Scene`] is what a document shows: plain data. [`PictureSource`] decodes its stored pictures when they are needed.
//! - [`Compositor::flat`] composes a rectangle of the flat canvas at any scale; [`Compositor::shot`] what a camera sees, each
//!   layer a plane at its depth; [`Compositor::cross_fade`] mixes two finished pictures.
//! - Light is mixed linearly, in half floats with premultiplied alpha; sRGB comes in and goes out. An opaque picture that
//!   is shown one to one comes out with the very codes that were put in.
//!
//! All work is done by one thread of the compositor's own, one view after the other; async callers only wait for its
//! answer. The shaders are the files in the top-level folder `shaders`, and `docs/compositor.md` explains the filters.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use outframe_compositor::{Compositor, FlatView, Options, PictureSource, Scene};
//! use outframe_document::{BlobId, Document};
//! use tokio_util::sync::CancellationToken;
//!
//! struct Stored;
//!
//! impl PictureSource for Stored {
//!     fn load(&self, id: &BlobId) -> Result<image::DynamicImage, String> {
//!         image::open(format!("pictures/{id}.png")).map_err(|error| error.to_string())
//!     }
//! }
//!
//! # async fn example(document: &Document) -> Result<(), outframe_compositor::Error> {
//! let compositor = Compositor::new(Options::default()).await?;
//! let scene = Arc::new(Scene::new(document));
//! let source: Arc<dyn PictureSource> = Arc::new(Stored);
//! let view = FlatView::pixels(-512, 0, 1024, 512);
//! let picture = compositor.flat(&scene, &source, &view, &CancellationToken::new()).await?;
//! assert_eq!(picture.rgba.len(), 1024 * 512 * 4);
//! # Ok(())
//! # }
//! ```

mod cache;
mod draw;
mod error;
mod flat;
mod gpu;
mod host;
mod scene;
mod tiles;
mod view;
mod worker;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use error::Error;
pub use scene::Scene;
pub use view::{
    AdapterChoice, AdapterDescription, DeepPicture, Filter, FlatView, Look, Options, Picture, PictureSource, ShotView,
    Statistics, Unpainted,
};

use worker::{Handle, Order, What};

/// Composes pictures on one device. Cheap to clone; all clones share the device and what is kept on it.
#[derive(Debug, Clone)]
pub struct Compositor(Arc<Handle>);

impl Compositor {
    /// A compositor on the adapter of this choice.
    pub async fn new(options: Options) -> Result<Self, Error> {
        Handle::start(options).await.map(|handle| Self(Arc::new(handle)))
    }

    /// The adapter that draws.
    pub fn adapter(&self) -> AdapterDescription {
        self.0.adapter.clone()
    }

    /// What has been done so far.
    pub fn statistics(&self) -> Statistics {
        self.0.statistics()
    }

    /// A rectangle of the flat canvas. Stops with [`Error::Cancelled`] between two passes once `cancel` says so, or when the
    /// returned future is dropped.
    pub async fn flat(
        &self,
        scene: &Arc<Scene>,
        source: &Arc<dyn PictureSource>,
        view: &FlatView,
        cancel: &CancellationToken,
    ) -> Result<Picture, Error> {
        draw::check_flat(view)?;
        let order = Order::new(scene, source, cancel);
        self.0.ask(|reply| What::Flat { order, view: *view, reply }).await
    }

    /// As [`flat`](Self::flat), with 16 bits a channel and without dither.
    pub async fn flat_deep(
        &self,
        scene: &Arc<Scene>,
        source: &Arc<dyn PictureSource>,
        view: &FlatView,
        cancel: &CancellationToken,
    ) -> Result<DeepPicture, Error> {
        draw::check_flat(view)?;
        let order = Order::new(scene, source, cancel);
        self.0.ask(|reply| What::FlatDeep { order, view: *view, reply }).await
    }

    /// What a camera sees. A layer that the camera has passed, or sees too obliquely, is left out. A group's mask lies at
    /// the depth that all its layers have, or else on the picture plane; the background fills the frame.
    pub async fn shot(
        &self,
        scene: &Arc<Scene>,
        source: &Arc<dyn PictureSource>,
        view: &ShotView,
        cancel: &CancellationToken,
    ) -> Result<Picture, Error> {
        draw::check_shot(view)?;
        let order = Order::new(scene, source, cancel);
        self.0.ask(|reply| What::Shot { order, view: view.clone(), reply }).await
    }

    /// Takes a picture that is no longer needed; its memory is used for the next shot of its size. The pictures of a film come
    /// one after the other, and memory that is new costs as much as a part of the drawing.
    pub fn recycle(&self, picture: Picture) {
        self.0.recycle(picture);
    }

    /// As [`shot`](Self::shot), with 16 bits a channel.
    pub async fn shot_deep(
        &self,
        scene: &Arc<Scene>,
        source: &Arc<dyn PictureSource>,
        view: &ShotView,
        cancel: &CancellationToken,
    ) -> Result<DeepPicture, Error> {
        draw::check_shot(view)?;
        let order = Order::new(scene, source, cancel);
        self.0.ask(|reply| What::ShotDeep { order, view: view.clone(), reply }).await
    }

    /// Two pictures of the same size mixed in linear light: `share` (0..=1) of the second.
    pub async fn cross_fade(
        &self,
        first: &Arc<Picture>,
        second: &Arc<Picture>,
        share: f64,
        cancel: &CancellationToken,
    ) -> Result<Picture, Error> {
        let whole = |picture: &Picture| {
            let bytes = u64::from(picture.width) * u64::from(picture.height) * 4;
            bytes > 0 && picture.rgba.len() as u64 == bytes
        };
        if (first.width, first.height) != (second.width, second.height) || !whole(first) || !whole(second) {
            return Err(Error::View("a cross-fade needs two whole pictures of the same size.".into()));
        }
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::View(format!("the second picture's share of a cross-fade is {share}, not 0 to 1.")));
        }
        let pictures = [Arc::clone(first), Arc::clone(second)];
        let cancel = cancel.clone();
        self.0.ask(|reply| What::Fade { pictures, share, cancel, reply }).await
    }

    /// Makes the device fail as a removed graphics card does. For tests.
    #[doc(hidden)]
    pub async fn lose_device(&self) -> Result<(), Error> {
        self.0.ask(|reply| What::LoseDevice { reply }).await
    }
}
