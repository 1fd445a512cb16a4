//! The thread that owns the device. Drawing and waiting for the device happen here, never on an async worker.

use std::{
    cell::Cell,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
};

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::{
    AdapterDescription, DeepPicture, Error, FlatView, Options, Picture, PictureSource, Scene, ShotView, Statistics,
    cache::Cache,
    draw::{Codes, blank, blank_deep},
    gpu::Gpu,
    tiles::{Job, Renderer},
};

/// Pictures whose memory is kept.
const MOST_SPARE: usize = 2;

/// What every view needs.
pub(crate) struct Order {
    scene: Arc<Scene>,
    source: Arc<dyn PictureSource>,
    cancel: CancellationToken,
}

impl Order {
    pub(crate) fn new(scene: &Arc<Scene>, source: &Arc<dyn PictureSource>, cancel: &CancellationToken) -> Self {
        Self { scene: Arc::clone(scene), source: Arc::clone(source), cancel: cancel.clone() }
    }
}

type Reply<T> = oneshot::Sender<Result<T, Error>>;

pub(crate) enum What {
    Flat {
        order: Order,
        view: FlatView,
        reply: Reply<Picture>,
    },
    FlatDeep {
        order: Order,
        view: FlatView,
        reply: Reply<DeepPicture>,
    },
    Shot {
        order: Order,
        view: ShotView,
        reply: Reply<Picture>,
    },
    ShotDeep {
        order: Order,
        view: ShotView,
        reply: Reply<DeepPicture>,
    },
    Fade {
        pictures: [Arc<Picture>; 2],
        share: f64,
        cancel: CancellationToken,
        reply: Reply<Picture>,
    },
    /// A picture's memory for the next one.
    Spare {
        rgba: Vec<u8>,
    },
    LoseDevice {
        reply: Reply<()>,
    },
}

/// The way to the thread. When it is dropped, the thread stops what it does and ends.
pub(crate) struct Handle {
    orders: Option<Sender<What>>,
    thread: Option<JoinHandle<()>>,
    pub(crate) adapter: AdapterDescription,
    statistics: Arc<Mutex<Statistics>>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compositor").field("adapter", &self.adapter).finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) async fn start(options: Options) -> Result<Self, Error> {
        let (orders, received) = channel();
        let (ready, started) = oneshot::channel();
        let statistics = Arc::new(Mutex::new(Statistics::default()));
        let shared = Arc::clone(&statistics);
        let thread = std::thread::Builder::new()
            .name("compositor".into())
            .spawn(move || match Thread::new(options, shared) {
                Ok((thread, adapter)) => {
                    if ready.send(Ok(adapter)).is_ok() {
                        thread.run(&received);
                    }
                }
                Err(error) => {
                    // Nobody listens if the caller has gone away.
                    let _ = ready.send(Err(error));
                }
            })
            .map_err(|error| Error::Stopped(format!("its thread could not be started ({error})")))?;
        let adapter = started.await.map_err(|_| stopped())??;
        Ok(Self { orders: Some(orders), thread: Some(thread), adapter, statistics })
    }

    pub(crate) fn statistics(&self) -> Statistics {
        *self.statistics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn ask<T>(&self, what: impl FnOnce(Reply<T>) -> What) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.orders.as_ref().and_then(|orders| orders.send(what(reply)).ok()).ok_or_else(stopped)?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Handle {
    pub(crate) fn recycle(&self, picture: Picture) {
        if let Some(orders) = &self.orders {
            // A thread that has ended needs nothing.
            let _ = orders.send(What::Spare { rgba: picture.rgba });
        }
    }
}

impl Drop for Handle {
    /// Waits for the thread: drivers do not bear it that a program ends while they are being shut down. Whoever waited for
    /// a view has gone by now, so that the one in the works stops at its next pass.
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A thread that has panicked has nothing left to shut down.
            let _ = thread.join();
        }
    }
}

fn stopped() -> Error {
    Error::Stopped("its thread has ended unexpectedly".into())
}

struct Thread {
    options: Options,
    runtime: tokio::runtime::Runtime,
    renderer: Renderer,
    statistics: Arc<Mutex<Statistics>>,
    /// Memory of pictures that nobody needs any more.
    spare: Vec<Vec<u8>>,
}

impl Thread {
    fn new(options: Options, statistics: Arc<Mutex<Statistics>>) -> Result<(Self, AdapterDescription), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .map_err(|error| Error::Stopped(format!("its thread could not be set up ({error})")))?;
        let (gpu, adapter) = runtime.block_on(Gpu::new(&options.adapter))?;
        let (cache, hosts) = (Cache::new(options.texture_budget), Cache::new(options.texture_budget / 4 * 3));
        let renderer = Renderer { gpu, cache, hosts, uploads: 0, tiles: 0 };
        Ok((Self { options, runtime, renderer, statistics, spare: Vec::new() }, adapter))
    }

    fn run(mut self, orders: &Receiver<What>) {
        for what in orders {
            match what {
                What::Flat { order, view, reply } => {
                    let make = |job: &mut Job<'_>| {
                        let mut picture = blank(view.out_width, view.out_height);
                        job.flat(&order.scene, &view, Codes::Bytes(&mut picture.rgba))?;
                        Ok(picture)
                    };
                    self.answer(reply, &order.cancel, &*order.source, make);
                }
                What::FlatDeep { order, view, reply } => {
                    let make = |job: &mut Job<'_>| {
                        let mut picture = blank_deep(view.out_width, view.out_height);
                        job.flat(&order.scene, &view, Codes::Deep(&mut picture.rgba))?;
                        Ok(picture)
                    };
                    self.answer(reply, &order.cancel, &*order.source, make);
                }
                What::Shot { order, view, reply } => {
                    let spare = Cell::new(self.spare_for(view.width, view.height));
                    let make = |job: &mut Job<'_>| {
                        // Every pixel is written, so it does not matter what was there before.
                        let mut picture = spare.take().unwrap_or_else(|| blank(view.width, view.height));
                        job.shot(&order.scene, &view, Codes::Bytes(&mut picture.rgba))?;
                        Ok(picture)
                    };
                    self.answer(reply, &order.cancel, &*order.source, make);
                }
                What::ShotDeep { order, view, reply } => {
                    let make = |job: &mut Job<'_>| {
                        let mut picture = blank_deep(view.width, view.height);
                        job.shot(&order.scene, &view, Codes::Deep(&mut picture.rgba))?;
                        Ok(picture)
                    };
                    self.answer(reply, &order.cancel, &*order.source, make);
                }
                What::Fade { pictures: [first, second], share, cancel, reply } => {
                    let make = |job: &mut Job<'_>| {
                        let mut picture = blank(first.width, first.height);
                        job.fade(&first, &second, share, Codes::Bytes(&mut picture.rgba))?;
                        Ok(picture)
                    };
                    self.answer(reply, &cancel, &NoPictures, make);
                }
                What::Spare { rgba } => {
                    self.spare.push(rgba);
                    self.spare.truncate(MOST_SPARE);
                }
                What::LoseDevice { reply } => {
                    self.renderer.gpu.device.destroy();
                    // Nobody listens if the caller has gone away.
                    let _ = reply.send(Ok(()));
                }
            }
        }
    }

    /// A picture of this size in memory that is there already. What is of another size is let go.
    fn spare_for(&mut self, width: u32, height: u32) -> Option<Picture> {
        self.spare.retain(|rgba| rgba.len() as u64 == u64::from(width) * u64::from(height) * 4);
        self.spare.pop().map(|rgba| Picture { width, height, rgba })
    }

    /// Makes a picture; if the device fails, once more with a new one.
    fn answer<T>(
        &mut self,
        reply: Reply<T>,
        cancel: &CancellationToken,
        source: &dyn PictureSource,
        make: impl Fn(&mut Job<'_>) -> Result<T, Error>,
    ) {
        let is_cancelled = || cancel.is_cancelled() || reply.is_closed();
        let once = |renderer: &mut Renderer| {
            let mut job = Job::new(renderer, source, &is_cancelled);
            let result = job.check().and_then(|()| make(&mut job));
            renderer.gpu.forget();
            let failed = renderer.gpu.check();
            match (result, failed) {
                (Ok(_), Err(failed)) => Err(failed),
                (result, _) => result,
            }
        };
        let mut result = once(&mut self.renderer);
        if let Err(Error::Gpu { why }) = &result {
            let why = why.clone();
            result = self.recreate().and_then(|()| once(&mut self.renderer)).map_err(|error| match error {
                Error::Gpu { why: again } => Error::DeviceLost { why: format!("{why}; then: {again}") },
                other => other,
            });
        }
        self.publish();
        // Nobody listens if the caller has gone away.
        let _ = reply.send(result);
    }

    fn recreate(&mut self) -> Result<(), Error> {
        let (gpu, _) = self.runtime.block_on(Gpu::new(&self.options.adapter))?;
        self.renderer.gpu = gpu;
        self.renderer.cache = Cache::new(self.options.texture_budget);
        self.statistics.lock().unwrap_or_else(PoisonError::into_inner).recreated_devices += 1;
        Ok(())
    }

    fn publish(&mut self) {
        let evictions = self.renderer.cache.take_evictions() + self.renderer.hosts.take_evictions();
        let mut statistics = self.statistics.lock().unwrap_or_else(PoisonError::into_inner);
        statistics.resident_bytes = self.renderer.cache.bytes() + self.renderer.hosts.bytes();
        statistics.uploads = self.renderer.uploads;
        statistics.tiles = self.renderer.tiles;
        statistics.evictions += evictions;
    }
}

/// For what draws no stored picture.
struct NoPictures;

impl PictureSource for NoPictures {
    fn load(&self, _: &outframe_document::BlobId) -> Result<image::DynamicImage, String> {
        Err("nothing is stored here".into())
    }
}
