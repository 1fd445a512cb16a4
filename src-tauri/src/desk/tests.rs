//! The desk without a window: real project files, a real compositor, where needed the real engine.

use std::{
    io::Cursor,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use image::{DynamicImage, Rgb, RgbImage, RgbaImage};
use outframe_document::Project;
use outframe_studio::{Models, Studio, engine::EngineOptions, queue::JobState};
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::*;
use crate::api::{
    ErrorKind, ExportInput, ExtendInput, FilmFormat, FilmInput, GenerateInput, LayerChange, MoveKind, Region,
    RegionShape, Settings, ShotInput, UpscaleInput, VaryInput,
};

struct Bench {
    folder: TempDir,
    desk: Desk,
    told: Arc<Mutex<Vec<DeskEvent>>>,
}

impl Bench {
    fn new() -> Self {
        Self::with(EngineOptions { program: Some("/nowhere/outframe-engine".into()), ..EngineOptions::default() })
    }

    /// With the real engine and the starter model.
    fn with_engine() -> Self {
        Self::with(EngineOptions::default())
    }

    fn with(engine: EngineOptions) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let folders = Folders { config: folder.path().join("config"), unnamed: folder.path().join("data/projects") };
        let told: Arc<Mutex<Vec<DeskEvent>>> = Arc::default();
        let keep = Arc::clone(&told);
        let own = folder.path().join("models");
        let models = Models::at(vec![own.clone(), Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")]).owning(own);
        let listener = move |event| keep.lock().unwrap().push(event);
        let desk =
            Desk::new(Handle::current(), Studio::new(engine, models), folders, "software".into(), listener).unwrap();
        Self { folder, desk, told }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A picture file of one colour, with a gradient so that shifts show.
    fn picture(&self, name: &str, width: u32, height: u32, color: [u8; 3]) -> PathBuf {
        let path = self.path(name);
        let image = RgbImage::from_fn(width, height, |x, y| Rgb([color[0], color[1] ^ x as u8, color[2] ^ y as u8]));
        image.save(&path).unwrap();
        path
    }

    fn events(&self) -> Vec<ProjectEvent> {
        let told = self.told.lock().unwrap();
        let project = |event: &DeskEvent| match event {
            DeskEvent::Project(event) => Some(event.as_ref().clone()),
            _ => None,
        };
        told.iter().filter_map(project).collect()
    }

    fn get(&self, path: &str, query: &str) -> Reply {
        let (send, receive) = mpsc::channel();
        self.desk.picture(path, query, move |reply| send.send(reply).unwrap());
        receive.recv_timeout(Duration::from_mins(1)).expect("a picture is answered")
    }

    fn pixels(&self, path: &str, query: &str) -> RgbaImage {
        match self.get(path, query) {
            Reply::Picture { picture, .. } => image::load_from_memory(&picture.bytes).unwrap().into_rgba8(),
            other => panic!("{path}: {other:?}"),
        }
    }

    async fn finished(&self, job: u64) -> outframe_studio::queue::JobStatus {
        let mut changes = self.desk.inner.queue.changes();
        let waiting = tokio::time::timeout(Duration::from_mins(5), async {
            loop {
                let status = self.desk.inner.queue.job(job).unwrap();
                if status.state.is_final() {
                    return status;
                }
                changes.changed().await.unwrap();
            }
        });
        waiting.await.expect("the job ends")
    }
}

fn shot_input(view: &crate::api::ShotView) -> ShotInput {
    ShotInput {
        id: Some(view.id.clone()),
        name: view.name.clone(),
        frame: view.frame.clone(),
        width: view.width,
        height: view.height,
        rate_numerator: view.rate_numerator,
        rate_denominator: view.rate_denominator,
        frames: view.frames,
        moves: view.moves.clone(),
        motion_blur: view.motion_blur,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn projects_are_made_named_closed_and_found_again() {
    let bench = Bench::new();
    let desk = &bench.desk;
    assert_eq!(desk.current_project(), None);
    assert_eq!(desk.undo().unwrap_err().kind, ErrorKind::NotFound);
    let first = desk.new_project(None).await.unwrap();
    assert!(first.temporary && first.title == "Untitled", "{first:?}");
    desk.import_files(&[bench.picture("a.png", 64, 32, [200, 10, 10])], None).unwrap();
    let second = desk.new_project(None).await.unwrap();
    assert_eq!(second.title, "Untitled 2");
    assert_ne!(first.key, second.key);
    // Naming moves a project that had no name.
    let back = desk.open_project(first.path.clone().into()).await.unwrap();
    assert_eq!((back.layers.len(), back.undo.as_deref()), (1, Some("Import a.png")));
    assert!(!Path::new(&second.path).exists(), "it was never used");
    let named = desk.save_project_as(bench.path("Garden")).await.unwrap();
    assert!(!named.temporary && named.title == "Garden" && named.path.ends_with("Garden.outframe"));
    assert!(!Path::new(&first.path).exists());
    assert_eq!(named.layers.len(), 1);
    // A copy goes on under the new name and leaves the first.
    let copy = desk.save_project_as(bench.path("Copy.outframe")).await.unwrap();
    assert_eq!(copy.title, "Garden");
    assert!(Path::new(&named.path).exists());
    desk.close_project().await.unwrap();
    assert_eq!(desk.current_project(), None);
    assert!(bench.events().last().unwrap().view.is_none());
    let recent: Vec<_> = desk.recent_projects().into_iter().map(|found| (found.title, found.exists)).collect();
    assert_eq!(recent[..2], [("Garden".to_owned(), true), ("Garden".to_owned(), true)]);
    for name in ["Garden.outframe", "Copy.outframe"] {
        assert!(Project::thumbnail_of(bench.path(name)).unwrap().is_some(), "made when the first was closed");
    }
    let left: Vec<_> =
        std::fs::read_dir(bench.folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains("outframe-")), "logs and locks are gone: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_opened_says_why_and_leaves_the_open_project() {
    let bench = Bench::new();
    let desk = &bench.desk;
    let open = desk.new_project(Some(bench.path("open"))).await.unwrap();
    let other = bench.path("other.outframe");
    let held = Project::create(&other, "").unwrap();
    assert_eq!(desk.open_project(other.clone()).await.unwrap_err().kind, ErrorKind::Conflict);
    assert_eq!(desk.save_project_as(other.clone()).await.unwrap_err().kind, ErrorKind::Conflict, "it is in use");
    drop(held);
    assert_eq!(desk.open_project(bench.path("absent.outframe")).await.unwrap_err().kind, ErrorKind::NotFound);
    let picture = bench.picture("a.png", 8, 8, [1, 2, 3]);
    assert_eq!(desk.open_project(picture.clone()).await.unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(desk.save_project_as(picture.with_extension("outframe")).await.unwrap().revision, 1);
    assert_ne!(desk.current_project().unwrap().key, open.key);
    // A project that nobody uses is replaced when the user says so.
    assert!(desk.save_project_as(other).await.is_ok());
    // A picture begins a project.
    desk.open_any(picture).await.unwrap();
    let begun = desk.current_project().unwrap();
    assert!(begun.temporary && begun.frames[0].rect == Rect::new(0, 0, 8, 8).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_tell_what_looks_different() {
    let bench = Bench::new();
    let desk = &bench.desk;
    desk.new_project(Some(bench.path("p"))).await.unwrap();
    let imported = desk
        .import_files(
            &[bench.picture("a.png", 600, 400, [200, 10, 10]), bench.picture("b.png", 100, 50, [10, 200, 10])],
            Some((300.0, 200.0)),
        )
        .unwrap();
    let view = desk.current_project().unwrap();
    assert_eq!(
        imported.iter().map(|one| one.layer.clone()).collect::<Vec<_>>(),
        [view.layers[0].id.clone(), view.layers[1].id.clone()]
    );
    assert_eq!(view.layers[0].bounds.unwrap(), Rect::new(0, 0, 600, 400).into(), "centred");
    let above = view.layers[1].id.clone();
    let dirty = |bench: &Bench| bench.events().last().unwrap().dirty.clone();
    let there: crate::api::Rect = Rect::new(0, 0, 100, 50).into();

    desk.set_layer(&above, LayerChange::Opacity(0.5)).unwrap();
    assert_eq!(dirty(&bench), Some(vec![there]));
    let revision = desk.set_layer(&above, LayerChange::Name("Top".into())).unwrap().revision;
    assert_eq!(dirty(&bench), Some(vec![]));
    let count = bench.events().len();
    assert_eq!(desk.set_layer(&above, LayerChange::Name("Top".into())).unwrap().revision, revision);
    assert_eq!(bench.events().len(), count, "nothing has changed, so nothing is told");
    let moved = desk.offset_layer(&above, 700, -20).unwrap();
    assert_eq!(moved.layers[1].bounds.unwrap(), Rect::new(700, -20, 100, 50).into());
    assert_eq!(dirty(&bench).unwrap().len(), 2, "where it was and where it is");
    assert_eq!(desk.undo().unwrap().redo.as_deref(), Some("Move layer"));
    assert_eq!(desk.redo().unwrap().undo.as_deref(), Some("Move layer"));
    let history = desk.history().unwrap();
    assert!(history.iter().filter(|step| step.current).count() == 1 && history.iter().all(|step| !step.undone));
    let start = desk.go_to_step(&history[1].id).unwrap();
    assert!((start.layers[1].opacity - 1.0).abs() < f64::EPSILON && start.revision > moved.revision);

    assert_eq!(desk.move_layer(&above, 0).unwrap().layers[0].id, above);
    desk.set_layer(&above, LayerChange::Locked(true)).unwrap();
    assert_eq!(desk.remove_layer(&above).unwrap_err().kind, ErrorKind::Invalid, "it is locked");
    assert_eq!(desk.set_layer(&above, LayerChange::Blend("none".into())).unwrap_err().kind, ErrorKind::Invalid);
    assert_eq!(desk.set_layer("99", LayerChange::Visible(true)).unwrap_err().kind, ErrorKind::Invalid);
    let frame = view.frames[0].id.clone();
    assert_eq!(desk.set_frame(&frame, Rect::new(5, 6, 70, 80)).unwrap().frames[0].rect, Rect::new(5, 6, 70, 80).into());
    assert_eq!(desk.rename_project(" Sea ").unwrap().title, "Sea");
}

#[tokio::test(flavor = "multi_thread")]
async fn tiles_show_the_picture_and_change_only_where_it_does() {
    let bench = Bench::new();
    let desk = &bench.desk;
    desk.new_project(Some(bench.path("p"))).await.unwrap();
    let picture = bench.picture("a.png", 1200, 400, [200, 10, 10]);
    let original = image::open(&picture).unwrap().into_rgba8();
    desk.import_files(&[picture, bench.picture("b.png", 20, 20, [0, 0, 0])], None).unwrap();
    let view = desk.current_project().unwrap();
    let (key, revision) = (view.key.clone(), view.revision);
    let tile = |revision: u64, x: i64| bench.get(&format!("/{key}/{revision}/tile/0/{x}/0"), "");
    let right = bench.pixels(&format!("/{key}/{revision}/tile/0/1/0"), "");
    assert_eq!(right.get_pixel(100, 100), original.get_pixel(612, 100), "one to one, bit for bit");
    assert_eq!(right.get_pixel(100, 450).0[3], 0, "bare below the picture");
    let (before_left, before_right) = (tile(revision, 0), tile(revision, 1));
    let view = desk.set_layer(&view.layers[1].id, LayerChange::Visible(false)).unwrap();
    assert_ne!(tile(view.revision, 0), before_left);
    assert_eq!(tile(view.revision, 1), before_right);
    let Reply::Picture { lasting, .. } = tile(revision, 0) else { panic!("an old address still shows something") };
    assert!(!lasting);
    let small = bench.pixels(&format!("/{key}/{}/tile/2/0/0", view.revision), "");
    assert_eq!((small.width(), small.get_pixel(290, 90).0[3], small.get_pixel(320, 90).0[3]), (512, 255, 0));
    assert_eq!(bench.pixels(&format!("/{key}/{}/tile/0/9/9", view.revision), "").dimensions(), (1, 1));
    let thumbnail = bench.pixels(&format!("/{key}/{}/layer/{}", view.revision, view.layers[0].id), "size=48");
    assert_eq!(thumbnail.dimensions(), (48, 16));
    for wrong in ["/", "/x/1/tile/0/0/0", "/job/1/0/0", &format!("/{key}/1/tile/0/a/0"), &format!("/{key}/1/layer/77")]
    {
        assert!(matches!(bench.get(wrong, ""), Reply::Missing(_)), "{wrong}");
    }
    desk.close_project().await.unwrap();
    assert!(matches!(bench.get(&format!("/{key}/{revision}/tile/0/0/0"), ""), Reply::Missing(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shot_is_directed_watched_and_filmed() {
    let bench = Bench::new();
    let desk = &bench.desk;
    desk.new_project(Some(bench.path("p"))).await.unwrap();
    assert_eq!(desk.add_shot().unwrap_err().kind, ErrorKind::Invalid, "there is nothing to film");
    desk.import_files(&[bench.picture("a.png", 320, 180, [90, 40, 10])], None).unwrap();
    let shot = desk.add_shot().unwrap().shots[0].clone();
    assert_eq!((shot.width, shot.height, shot.frames, shot.rate_numerator), (768, 432, 96, 24));
    assert_eq!(shot.geometry.start_box.len(), 4);
    let mut input = shot_input(&shot);
    (input.width, input.height, input.frames) = (64, 36, 5);
    input.moves = vec![crate::api::MoveView {
        kind: MoveKind::Truck,
        from: 0,
        to: 4,
        start: 0.0,
        end: 0.5,
        start_dial: 0.0,
        end_dial: 0.0,
        easing: crate::api::Easing::Linear,
    }];
    // Dragging stores nothing; its picture is there at once.
    let preview = desk.preview_shot(&input).unwrap();
    let end = preview.geometry.path.last().unwrap();
    assert!((end.x - 320.0).abs() < 0.5 && (end.y - 90.0).abs() < 0.5, "half a frame to the right: {end:?}");
    let view = desk.current_project().unwrap();
    assert!(view.shots[0].moves.is_empty());
    let at = |picture: u32, live: &str| {
        bench.pixels(&format!("/{}/{}/shot/{}/{picture}", view.key, view.revision, shot.id), &format!("width=64{live}"))
    };
    let live = format!("&live={}", preview.version);
    assert_eq!(at(0, "").dimensions(), (64, 36));
    assert_eq!(at(0, &live), at(0, ""), "at the beginning both are at rest");
    assert_ne!(at(4, &live), at(4, ""));
    assert_eq!(at(4, &live).get_pixel(60, 18).0[..3], [0, 0, 0], "half of it looks beside the picture");

    let view = desk.set_shot(&input).unwrap();
    assert_eq!((view.shots[0].moves[0].end_dial, view.undo.as_deref()), (5.0, Some("Change shot")));
    let lack = desk.coverage(&shot.id).await.unwrap();
    assert!(lack.right > 0.3 && lack.left.abs() < 1e-9 && lack.text.contains("on the right"), "{lack:?}");

    let out = bench.path("film");
    let film = FilmInput {
        shot: shot.id.clone(),
        path: out.to_string_lossy().into_owned(),
        format: FilmFormat::PngSequence,
        quality: 80,
    };
    let done = bench.finished(desk.export_film(&film).unwrap()).await;
    assert_eq!((done.state, done.output.as_deref()), (JobState::Done, Some(out.as_path())), "{done:?}");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 5);
    let first = image::open(out.join("00000.png")).unwrap().into_rgb8();
    assert_eq!(first.dimensions(), (64, 36));
    let mut input = shot_input(&view.shots[0]);
    input.motion_blur = 180.0;
    assert!((desk.set_shot(&input).unwrap().shots[0].motion_blur - 180.0).abs() < 1e-9);
    assert!(desk.remove_shot(&shot.id).unwrap().shots.is_empty());
    assert_eq!(desk.coverage(&shot.id).await.unwrap_err().kind, ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn exports_are_jobs_and_bytes_can_be_pasted_and_dragged_out() {
    let bench = Bench::new();
    let desk = &bench.desk;
    desk.new_project(Some(bench.path("p"))).await.unwrap();
    let image = RgbImage::from_fn(40, 30, |x, y| Rgb([x as u8, y as u8, 99]));
    let mut bytes = Vec::new();
    DynamicImage::ImageRgb8(image.clone()).write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    let pasted = desk.import_bytes(&bytes, "../../sneaky.png", Some((20.0, 15.0))).unwrap();
    assert_eq!((pasted.len(), pasted[0].prompt.clone()), (1, None));
    assert_eq!(desk.current_project().unwrap().layers[0].bounds.unwrap(), Rect::new(0, 0, 40, 30).into());
    assert_eq!(desk.import_bytes(b"no picture", "x.png", None).unwrap_err().kind, ErrorKind::Invalid);
    let out = bench.path("out.png");
    let export = |path: &Path| ExportInput {
        path: path.to_string_lossy().into_owned(),
        rect: None,
        scale: 1.0,
        with_metadata: true,
    };
    let done = bench.finished(desk.export_picture(&export(&out)).unwrap()).await;
    assert_eq!((done.state, done.output), (JobState::Done, Some(out.clone())));
    assert_eq!(image::open(&out).unwrap().into_rgb8(), image);
    let doubled = ExportInput { scale: 2.0, ..export(&out) };
    bench.finished(desk.export_picture(&doubled).unwrap()).await;
    assert_eq!(image::image_dimensions(&out).unwrap(), (80, 60));
    let failed = bench.finished(desk.export_picture(&export(&bench.path("absent/out.png"))).unwrap()).await;
    assert!(failed.state == JobState::Failed && failed.error.unwrap().contains("absent"));
    let dragged = desk.picture_to_drag(&crate::api::DragOut::Picture, bench.folder.path()).unwrap();
    assert_eq!(image::open(dragged).unwrap().into_rgb8(), image);
    desk.clear_jobs();
    assert!(desk.jobs().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_engine_is_told_and_costs_nothing() {
    let bench = Bench::new();
    let desk = &bench.desk;
    desk.new_project(Some(bench.path("p"))).await.unwrap();
    let settings = Settings::default();
    let input = GenerateInput { prompt: "sea".into(), settings: settings.clone(), width: None, height: None, takes: 1 };
    let extend = ExtendInput { left: 0, right: 64, up: 0, down: 0, prompt: None, settings: settings.clone(), takes: 1 };
    assert_eq!(desk.extend(extend.clone()).unwrap_err().kind, ErrorKind::Invalid, "there is no picture");
    let seed = Settings { seed: Some("many".into()), ..settings.clone() };
    assert_eq!(desk.generate(GenerateInput { settings: seed, ..input.clone() }).unwrap_err().kind, ErrorKind::Invalid);
    let failed = bench.finished(desk.generate(input).unwrap()).await;
    assert!(
        failed.state == JobState::Failed && failed.error.as_ref().unwrap().contains("outframe-engine"),
        "{failed:?}"
    );
    assert_eq!(desk.engine_status().await.state, crate::api::EngineState::Failed);
    assert_eq!(desk.current_project().unwrap().revision, 1);
    // What an extension would do is known without the engine.
    desk.import_files(&[bench.picture("a.png", 256, 256, [9, 9, 9])], None).unwrap();
    let plan = desk.plan_extend(&extend).unwrap();
    assert_eq!((plan.after, plan.fills, plan.seconds), (Rect::new(0, 0, 320, 256).into(), 1, None));
    assert_eq!(plan.painted, [Rect::new(256, 0, 64, 256).into()]);
    let models = desk.models();
    assert!(models[0].name == "starter" && models[0].summary.contains("256 px"), "{models:?}");
}

/// Needs the engine's program, which `make test` builds first.
#[tokio::test(flavor = "multi_thread")]
async fn painting_goes_through_the_queue_while_the_project_is_edited() {
    let bench = Bench::with_engine();
    let desk = &bench.desk;
    let view = desk.new_project(Some(bench.path("p"))).await.unwrap();
    let few = Settings { steps: Some(3), seed: Some(u64::MAX.to_string()), ..Settings::default() };
    let input = GenerateInput {
        prompt: "a lake at dusk".into(),
        settings: few.clone(),
        width: Some(128),
        height: Some(128),
        takes: 2,
    };
    let first = desk.generate(input.clone()).unwrap();
    let waiting = desk.generate(input.clone()).unwrap();
    desk.cancel_job(waiting);
    desk.rename_project("Lake").unwrap();
    let done = bench.finished(first).await;
    assert_eq!(done.state, JobState::Done, "{:?}", done.error);
    assert_eq!(bench.finished(waiting).await.state, JobState::Cancelled);
    assert_eq!(done.previews.len(), 2);
    assert!(bench.pixels(&format!("/job/{first}/1/{}", done.previews[1].version), "").width() > 1);
    let now = desk.current_project().unwrap();
    let made = &now.generations[0];
    assert_eq!(done.generation.unwrap().to_string(), made.id);
    assert_eq!((made.takes.len(), made.seed.as_str(), made.takes[1].seed.as_str()), (2, "18446744073709551615", "0"));
    assert_eq!(now.frames[0].rect, Rect::new(0, 0, 128, 128).into());
    let take = format!("/{}/take/{}", view.key, made.takes[1].id);
    assert_eq!(bench.pixels(&take, "size=32").dimensions(), (32, 32));

    let tile = format!("/{}/{}/tile/0/0/0", now.key, now.revision);
    let before = bench.pixels(&tile, "");
    let chosen = desk.choose_take(&made.id, &made.takes[1].id).unwrap();
    assert_eq!(bench.events().last().unwrap().dirty, Some(vec![made.rect]));
    assert_ne!(bench.pixels(&format!("/{}/{}/tile/0/0/0", now.key, chosen.revision), ""), before);
    desk.undo().unwrap();

    // Extending and varying while the project is edited.
    let extend = ExtendInput { left: 0, right: 32, up: 0, down: 0, prompt: None, settings: few.clone(), takes: 1 };
    let extending = desk.extend(extend.clone()).unwrap();
    assert!(desk.plan_extend(&extend).unwrap().seconds.is_some(), "steps were measured");
    let rect = Rect::new(20, 20, 40, 40).into();
    let region = Region { shapes: vec![RegionShape::Rect { rect, subtract: false }] };
    let vary = VaryInput { region, prompt: Some("a boat".into()), strength: 0.6, settings: few.clone(), takes: 1 };
    let varying = desk.vary(vary).unwrap();
    desk.place_take(&made.id, &made.takes[1].id, 500.0, 500.0).unwrap();
    let (extended, varied) = (bench.finished(extending).await, bench.finished(varying).await);
    assert_eq!(
        (extended.state, varied.state),
        (JobState::Done, JobState::Done),
        "{:?} {:?}",
        extended.error,
        varied.error
    );
    let now = desk.current_project().unwrap();
    assert_eq!((now.frames[0].rect.width, now.generations.len()), (160, 3));
    let after = bench.pixels(&format!("/{}/{}/tile/0/0/0", now.key, now.revision), "");
    assert_eq!(after.get_pixel(100, 100), before.get_pixel(100, 100), "known pixels stay");
    assert_eq!(after.get_pixel(150, 100).0[3], 255, "painted");

    // Larger, and as it was again.
    let larger =
        UpscaleInput { layer: None, factor: 2, creative: false, prompt: None, strength: None, settings: few.clone() };
    assert!(desk.upscale(UpscaleInput { factor: 9, ..larger.clone() }).is_err());
    assert!(desk.upscale(UpscaleInput { layer: Some("999".into()), ..larger.clone() }).is_err());
    let upscaled = desk.upscale(larger).unwrap();
    let done = bench.finished(upscaled).await;
    assert_eq!(done.state, JobState::Done, "{:?}", done.error);
    let large = desk.current_project().unwrap();
    assert_eq!((large.frames[0].rect.width, large.frames[0].rect.height), (320, 256));
    assert_eq!(large.layers.iter().filter(|layer| layer.visible).count(), 1);
    let view = desk.undo().unwrap();
    assert_eq!((view.frames[0].rect, view.layers.len()), (now.frames[0].rect, now.layers.len()));

    // Closing takes the jobs along.
    let last = desk.generate(input).unwrap();
    desk.close_project().await.unwrap();
    let ended = bench.finished(last).await;
    assert!(ended.state == JobState::Cancelled && ended.error.unwrap().contains("closed"));
    let again = desk.open_project(bench.path("p.outframe")).await.unwrap();
    assert_eq!((again.generations.len(), again.title.as_str()), (3, "Lake"));
    desk.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn controls_follow_a_file_or_the_picture_and_say_what_is_wrong() {
    use crate::api::{ControlChoice, ControlPicture};
    let bench = Bench::new();
    let desk = &bench.desk;
    desk.new_project(None).await.unwrap();
    let nothing = desk.preview_control(&ControlPicture::Frame, None).unwrap_err();
    assert!(nothing.message.contains("no picture yet"), "{nothing}");
    let two = RgbImage::from_fn(600, 300, |x, _| if x < 300 { Rgb([0; 3]) } else { Rgb([250; 3]) });
    two.save(bench.path("two.png")).unwrap();
    desk.import_files(&[bench.path("two.png")], None).unwrap();

    // The project's picture and the file look alike; of both the edges are one line.
    let shown = |picture: &ControlPicture, canny| {
        let view = desk.preview_control(picture, canny).unwrap();
        assert_eq!((view.width, view.height), (600, 300));
        let png = view.image.strip_prefix("data:image/png;base64,").unwrap().to_owned();
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, png).unwrap();
        image::load_from_memory(&bytes).unwrap().into_rgb8()
    };
    let file = ControlPicture::File { path: bench.path("two.png").to_string_lossy().into_owned() };
    let plain = shown(&file, None);
    assert_eq!((plain.dimensions(), plain.get_pixel(250, 60).0), ((256, 128), [250; 3]));
    assert_eq!(shown(&ControlPicture::Frame, None), plain);
    let edges = shown(&file, Some((100, 200)));
    let lit = edges.enumerate_pixels().filter(|(.., pixel)| pixel.0[0] > 0).map(|(x, ..)| x);
    assert!(
        lit.clone().count() >= 120 && lit.clone().all(|x| (126..=129).contains(&x)),
        "{:?}",
        lit.collect::<Vec<_>>()
    );
    assert_eq!(shown(&ControlPicture::Frame, Some((100, 200))), edges);
    assert!(desk.preview_control(&file, Some((200, 100))).unwrap_err().message.contains("lower one first"));

    // A picture that was followed is in the project, and can be followed again.
    let stored = desk.open().unwrap().document().layers[0].patches[0].content.clone();
    let outframe_document::PatchContent::Image(stored) = stored else { panic!("{stored:?}") };
    assert_eq!(shown(&ControlPicture::Stored { blob: stored.image.to_string() }, None), plain);
    let unknown = ControlPicture::Stored { blob: "ab".repeat(32) };
    assert_eq!(desk.preview_control(&unknown, None).unwrap_err().kind, ErrorKind::NotFound);
    let gone = ControlPicture::File { path: bench.path("gone.png").to_string_lossy().into_owned() };
    assert!(desk.preview_control(&gone, None).unwrap_err().message.contains("gone.png is not there any more"));

    // A network must be in the library; what cannot be steered says so before any work.
    let choice = |network: &str| ControlChoice {
        network: network.into(),
        picture: file.clone(),
        scale: 1.0,
        start: 0.0,
        end: 1.0,
        canny: None,
    };
    let settings = |controls| Settings { controls, ..Settings::default() };
    let generate = |controls| {
        desk.generate(GenerateInput {
            prompt: "x".into(),
            settings: settings(controls),
            width: None,
            height: None,
            takes: 1,
        })
    };
    let error = generate(vec![choice("unicorn")]).unwrap_err();
    assert!(error.message.contains("no ControlNet “unicorn”"), "{error}");
    assert!(generate(vec![choice("unicorn"); 7]).unwrap_err().message.contains("at most"));
    let upscale = UpscaleInput {
        layer: None,
        factor: 2,
        creative: true,
        prompt: None,
        strength: None,
        settings: settings(vec![choice("unicorn")]),
    };
    assert!(desk.upscale(upscale).unwrap_err().message.contains("cannot be steered"));
    assert_eq!(desk.jobs(), []);
}

/// A picture that is extended lies on itself: what the network sees has black where nothing is known yet.
#[tokio::test(flavor = "multi_thread")]
async fn the_picture_as_it_is_keeps_its_place_in_a_frame_that_grows() {
    use crate::api::{ControlChoice, ControlPicture};
    let bench = Bench::new();
    let desk = &bench.desk;
    std::fs::create_dir_all(bench.path("net")).unwrap();
    std::fs::write(bench.path("net/lines.safetensors"), "stands for a network").unwrap();
    desk.new_project(None).await.unwrap();
    desk.import_files(&[bench.picture("a.png", 64, 32, [200, 10, 10])], None).unwrap();
    let before = Rect::new(0, 0, 64, 32);
    let outline = outframe_studio::Outline { before, after: Rect::new(-32, 0, 128, 32), painted: Vec::new() };
    let choice = |picture| ControlChoice {
        network: bench.path("net/lines.safetensors").to_string_lossy().into_owned(),
        picture,
        scale: 0.5,
        start: 0.0,
        end: 0.5,
        canny: None,
    };
    let frame = desk.controls(&[choice(ControlPicture::Frame)], Some(&outline)).unwrap().remove(0);
    assert_eq!((frame.picture.dimensions(), frame.scale, frame.end), ((128, 32), 0.5, 0.5));
    assert_eq!((frame.picture.get_pixel(31, 8).0[0], frame.picture.get_pixel(32, 8).0[0]), (0, 200));
    assert_eq!(frame.picture.get_pixel(96, 8).0[0], 0);
    // Its border is no edge.
    let edges = ControlChoice { canny: Some((100, 200)), ..choice(ControlPicture::Frame) };
    let edges = desk.controls(&[edges], Some(&outline)).unwrap().remove(0);
    assert!(edges.picture.pixels().all(|pixel| pixel.0 == [0; 3]));
    // A file is stretched over the whole, as everywhere.
    let file = ControlPicture::File { path: bench.path("a.png").to_string_lossy().into_owned() };
    assert_eq!(desk.controls(&[choice(file)], Some(&outline)).unwrap()[0].picture.dimensions(), (64, 32));
}

/// A file of weights with nothing but zeros in it.
fn weights(path: &Path, name: &str, shape: &[usize]) {
    let bytes = 2 * shape.iter().product::<usize>();
    let header =
        serde_json::json!({ name: { "dtype": "F16", "shape": shape, "data_offsets": [0, bytes] } }).to_string();
    let header = format!("{header}{}", " ".repeat(header.len().next_multiple_of(8) - header.len()));
    let length = (header.len() as u64).to_le_bytes();
    std::fs::write(path, [&length[..], header.as_bytes(), &vec![0; bytes]].concat()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn models_come_into_the_library_and_go_out_of_it() {
    let bench = Bench::new();
    let desk = &bench.desk;
    let told =
        |bench: &Bench| bench.told.lock().unwrap().iter().filter(|event| matches!(event, DeskEvent::Library)).count();
    let edges = bench.path("edges.safetensors");
    weights(&edges, "controlnet_cond_embedding.conv_in.weight", &[16, 3, 3, 3]);
    std::fs::write(bench.path("old.ckpt"), "pickle").unwrap();
    let all = ["edges.safetensors", "old.ckpt", "a.png"].map(|name| bench.path(name));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    assert_eq!(Desk::models_among(all.to_vec()), [text(&all[0]), text(&all[1])]);
    assert_eq!(Desk::models_among(vec![bench.folder.path().into()]).len(), 1);
    let found = Desk::examine_model(&edges).unwrap();
    assert!(found.name == "edges" && found.about.contains("ControlNet") && found.bytes > 800, "{found:?}");
    assert!(Desk::examine_model(&all[1]).unwrap_err().message.contains("pickle"));
    assert!(Desk::examine_model(bench.folder.path()).unwrap_err().message.contains("no model folder"));
    assert_eq!(Desk::examine_model(&bench.path("gone.safetensors")).unwrap_err().kind, ErrorKind::NotFound);

    // Linked: listed, offered, told; a second of the name is refused; removed without touching the original.
    let own = |desk: &Desk| desk.library().into_iter().filter(|item| item.own).collect::<Vec<_>>();
    assert!(own(desk).is_empty());
    desk.link_model(&edges).unwrap();
    let listed = own(desk);
    assert!(listed.len() == 1 && listed[0].link && listed[0].name == "edges", "{listed:?}");
    assert_eq!(desk.adapters().controls[0].name, "edges");
    assert!(desk.copy_model(edges.clone()).is_ok(), "that it is there already is told by the job");
    // Watching begins beside everything else; from then on each change is told of once the folder is quiet again.
    for round in 0..400 {
        if told(&bench) > 0 {
            break;
        }
        if round % 40 == 0 {
            std::fs::write(bench.path("models/note.txt"), round.to_string()).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(told(&bench) > 0, "nothing was told of the changes");
    desk.remove_model(&listed[0].path).unwrap();
    assert!(own(desk).is_empty() && edges.is_file());

    // Copied, as a job.
    let copied = bench.finished(desk.copy_model(edges.clone()).unwrap()).await;
    assert_eq!((copied.state, copied.error, copied.label.as_str()), (JobState::Done, None, "edges"));
    assert!(copied.stage == "Done" && copied.progress > 0.99);
    let listed = own(desk);
    assert!(listed.len() == 1 && !listed[0].link, "{listed:?}");
    desk.remove_model(&listed[0].path).unwrap();
    assert!(own(desk).is_empty() && edges.is_file());
    let starter = desk.library().remove(0);
    assert!(!starter.own && desk.remove_model(&starter.path).unwrap_err().message.contains("outside"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalogue_says_what_a_download_is() {
    let bench = Bench::new();
    let items = bench.desk.catalogue().unwrap();
    assert!(items.len() >= 15 && items.iter().all(|item| !item.licence.is_empty() && item.source.contains('/')));
    assert!(items.iter().any(|item| item.bytes.is_some_and(|bytes| bytes > 100_000_000)));
    assert_eq!(bench.desk.download_model("unicorn".into()).unwrap_err().kind, ErrorKind::NotFound);
    assert_eq!(bench.desk.jobs(), [], "nothing is asked for by looking");
}
