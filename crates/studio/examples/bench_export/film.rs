//! A Ken Burns clip from one still, against ffmpeg's zoompan: how fast, and how smoothly.
//!
//! Both sides get the same still, show the same part of it in every picture, and encode by the same libx264 with the same
//! settings. Each is a process of its own, from its start to the finished file.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
use outframe_camera::{Easing, Move, MoveKind, Point};
use outframe_document::{Document, Edit, Project, Shot, Step};
use outframe_studio::{
    Event, ImportOptions, ProjectPictures, encode_png,
    film::{FilmOptions, Format, Picture, PictureSource, ShotFilm, export_film, ffmpeg, render_shot},
    import_pictures, shots,
};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{
    Outcome, compositor,
    report::{Cost, Report, child, median, run, timed},
};

/// Sides of the still and of the films, in pixels.
const STILL: u32 = 4096;
const WIDTH: u32 = 1280;
const HEIGHT: u32 = 720;
/// The part of the still that the first picture shows has the film's shape.
const SEEN: u32 = STILL * HEIGHT / WIDTH;
const TOP: u32 = (STILL - SEEN) / 2;
const FRAMES: u32 = 240;
/// How often each side writes the film; the medians are told.
const ROUNDS: u32 = 3;
const ZOOM: f64 = 1.5;
/// The dot of the smoothness test: its place on the still, and its spread, in pixels.
const DOT: Point = Point { x: 2700.3, y: 1650.6 };
const SPREAD: f64 = 14.0;
const SLOW_FRAMES: u32 = 48;
const SLOW_ZOOM: f64 = 1.08;

/// Smooth colours with noise in the lowest bits, as a photograph has.
fn photograph() -> DynamicImage {
    let mut state = 1_u32;
    let image = RgbImage::from_fn(STILL, STILL, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = (state >> 29) as f32;
        let (x, y) = (x as f32, y as f32);
        let wave = |scale: f32, shift: f32| {
            (((x + shift) / scale + (y / (scale * 1.7)).sin() * 2.0).sin() * 90.0 + 120.0 + noise) as u8
        };
        Rgb([wave(170.0, 0.0), wave(230.0, 50.0), wave(310.0, 9.0)])
    });
    image.into()
}

/// A soft white dot on dark grey.
fn dotted() -> DynamicImage {
    let image = GrayImage::from_fn(STILL, STILL, |x, y| {
        let (u, v) = (f64::from(x) + 0.5 - DOT.x, f64::from(y) + 0.5 - DOT.y);
        Luma([(40.0 + 210.0 * (-(u * u + v * v) / (2.0 * SPREAD * SPREAD)).exp()).round() as u8])
    });
    DynamicImage::ImageRgb8(DynamicImage::ImageLuma8(image).into_rgb8())
}

/// A still as a file, and a project with a shot that zooms into its middle, evenly to the eye.
struct Clip {
    _folder: TempDir,
    still: PathBuf,
    project: PathBuf,
    out: PathBuf,
}

impl Clip {
    fn new(still: &DynamicImage, frames: u32, zoom: f64) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let path = |name: &str| folder.path().join(name);
        let (still_path, project_path, out) = (path("still.png"), path("clip.outframe"), path("out"));
        fs::write(&still_path, encode_png(still)?)?;
        let mut project = Project::create(&project_path, "Clip")?;
        import_pictures(&mut project, &[&still_path], ImportOptions { at: Some((0, 0)), each_as_layer: true })?;
        let frame = project.document().frames.first().ok_or("the import made no frame")?.id;
        let mut shot = Shot::new(project.next_shot_id(), "Ken Burns", frame);
        (shot.width, shot.height, shot.frames) = (WIDTH, HEIGHT, frames);
        shot.settings.insert(shots::FIT.into(), json!("crop"));
        let one = Move::new(MoveKind::Zoom, 0.0, f64::from(frames - 1), 1.0, zoom).eased(Easing::Linear);
        shot.moves.push(shots::from_camera(&one));
        project.apply(Step::new("Add shot", vec![Edit::AddShot { index: 0, shot: Box::new(shot) }]))?;
        project.close()?;
        Ok(Self { _folder: folder, still: still_path, project: project_path, out })
    }

    /// What zoompan does with the still, the same path; enlarged `times` before, which is how people make it smoother.
    fn zoompan(&self, frames: u32, zoom: f64, times: u32, more: &[&str], out: &Path) -> Outcome<Cost> {
        let ffmpeg = ffmpeg().ok_or("there is no ffmpeg")?;
        let enlarge = if times > 1 { format!("scale={}:-1,", STILL * times) } else { String::new() };
        let last = frames - 1;
        let filter = format!(
            "crop={STILL}:{SEEN}:0:{TOP},{enlarge}zoompan=z='pow({zoom},on/{last})':x='(iw-iw/zoom)/2':y='(ih-ih/zoom)/2':\
             d={frames}:s={WIDTH}x{HEIGHT}:fps=24"
        );
        let still = self.still.to_string_lossy();
        let count = frames.to_string();
        let mut arguments = vec!["-loglevel", "error", "-nostdin", "-i", &*still, "-vf", &filter, "-frames:v", &count];
        arguments.extend(more);
        let out = out.to_string_lossy();
        arguments.extend(["-y", &*out]);
        run(&ffmpeg, arguments)
    }
}

/// As `crates/film` has it at its usual quality: constant rate factor 17.6, a keyframe a second.
const X264: [&str; 10] = ["-c:v", "libx264", "-preset", "medium", "-crf", "17.6", "-g", "24", "-pix_fmt", "yuv420p"];

fn the_shot(document: &Document) -> Outcome<ShotFilm> {
    Ok(ShotFilm::new(document, document.shots.first().ok_or("the project has no shot")?)?)
}

fn runtime() -> Outcome<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// Writes the film of a project's only shot. The child's part.
pub(crate) fn write(project: &Path, out: &Path) -> Outcome {
    let film = the_shot(Project::open_read_only(project)?.document())?;
    let pictures: Arc<dyn PictureSource> = Arc::new(ProjectPictures::open(project)?);
    let h264 = out.extension().is_some();
    let format = if h264 { Format::Mp4H264 } else { Format::PngSequence };
    let options = FilmOptions { path: out.to_owned(), format, quality: FilmOptions::QUALITY };
    let compositor = compositor()?;
    let none = CancellationToken::new();
    runtime()?.block_on(export_film(&compositor, &film, &pictures, &options, &mut |_| {}, &none))?;
    Ok(())
}

pub(crate) fn measure(report: &mut Report) -> Outcome {
    let Some(ffmpeg) = ffmpeg() else {
        report.left_out("films", "there is no ffmpeg with libx264");
        return Ok(());
    };
    let clip = Clip::new(&photograph(), FRAMES, ZOOM)?;
    let what = format!("Ken Burns, {WIDTH}x{HEIGHT} from {STILL}x{STILL}, H.264");
    let count = f64::from(FRAMES);
    let (ours, theirs) = (clip.out.with_extension("mp4"), clip.out.with_extension("peer.mp4"));
    // In turns, since the machine may be busier at one time than at another.
    let mut sides =
        [("outframe", Vec::new()), ("ffmpeg zoompan", Vec::new()), ("ffmpeg zoompan, enlarged x2", Vec::new())];
    for _ in 0..ROUNDS {
        for (side, (_, costs)) in sides.iter_mut().enumerate() {
            costs.push(match side {
                0 => child("film", [&clip.project, &ours])?,
                times => clip.zoompan(FRAMES, ZOOM, times as u32, &X264, &theirs)?,
            });
        }
    }
    let mut totals = Vec::new();
    for (who, costs) in &sides {
        let wall = median(costs.iter().map(|cost| cost.wall).collect());
        let cpu = median(costs.iter().map(|cost| cost.cpu).collect());
        report.row(format!("{what}, by the clock"), who, count / wall, "frames/s");
        report.row(format!("{what}, processor"), who, cpu / count * 1e3, "ms/frame");
        totals.push((wall, cpu));
    }
    if let [(wall, cpu), (their_wall, their_cpu), ..] = totals[..] {
        report.row("its pace beside zoompan's, by the clock", "outframe", their_wall / wall, "times");
        report.row("its pace beside zoompan's, processor", "outframe", their_cpu / cpu, "times");
    }

    // The stages by themselves.
    let film = the_shot(Project::open_read_only(&clip.project)?.document())?;
    let pictures: Arc<dyn PictureSource> = Arc::new(ProjectPictures::open(&clip.project)?);
    let (compositor, none, runtime) = (compositor()?, CancellationToken::new(), runtime()?);
    let first = film.view(0)?;
    runtime.block_on(compositor.shot(film.scene(), &pictures, &first, &none))?;
    let (wall, cpu, ()) = timed(|| {
        let (mut sink, mut events) = (|_: u32, _: &Picture| Ok(()), |_: Event| {});
        let draw = render_shot(&compositor, &film, &pictures, &mut sink, &mut events, &none);
        Ok(runtime.block_on(draw)?)
    })?;
    report.row("its pictures drawn and read back only, by the clock", "outframe", wall / count * 1e3, "ms/frame");
    report.row("its pictures drawn and read back only, processor", "outframe", cpu / count * 1e3, "ms/frame");
    let null = clip.zoompan(FRAMES, ZOOM, 1, &["-f", "null"], Path::new("-"))?;
    report.row("its pictures made only, processor", "ffmpeg zoompan", null.cpu / count * 1e3, "ms/frame");
    let raw = clip.out.with_extension("yuv");
    let (raw, film, again) = (raw.to_string_lossy(), ours.to_string_lossy(), theirs.to_string_lossy());
    run(
        &ffmpeg,
        ["-loglevel", "error", "-nostdin", "-i", &*film, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-y", &*raw],
    )?;
    let size = format!("{WIDTH}x{HEIGHT}");
    let read = ["-loglevel", "error", "-nostdin", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size, "-r", "24"];
    let encode = [&read[..], &["-i", &*raw], &X264, &["-y", &*again]].concat();
    let encoded = run(&ffmpeg, encode)?;
    report.row("encoding only, processor", "ffmpeg libx264", encoded.cpu / count * 1e3, "ms/frame");
    report.row("encoding only, by the clock", "ffmpeg libx264", encoded.wall / count * 1e3, "ms/frame");
    Ok(())
}

/// The dot's middle in a picture without loss, near where it should be.
fn centroid(picture: &GrayImage, near: Point) -> Point {
    let mut sums = (0.0, 0.0, 0.0);
    let radius = SPREAD * f64::from(WIDTH) / f64::from(STILL) * SLOW_ZOOM * 5.0;
    for (x, y, pixel) in picture.enumerate_pixels() {
        let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
        if (x - near.x).hypot(y - near.y) < radius {
            let weight = (f64::from(pixel.0[0]) - 40.0).max(0.0);
            sums = (sums.0 + weight * x, sums.1 + weight * y, sums.2 + weight);
        }
    }
    Point::new(sums.0 / sums.2, sums.1 / sums.2)
}

/// Where the dot is away from its place: the most, and the most beside the mean, which a player does not see.
fn errors(report: &mut Report, who: &str, found: &[(Point, Point)]) {
    let off: Vec<(f64, f64)> = found.iter().map(|(found, wanted)| (found.x - wanted.x, found.y - wanted.y)).collect();
    let count = off.len() as f64;
    let mean = off.iter().fold((0.0, 0.0), |sum, error| (sum.0 + error.0 / count, sum.1 + error.1 / count));
    let most =
        |from: (f64, f64)| off.iter().map(|error| (error.0 - from.0).hypot(error.1 - from.1)).fold(0.0, f64::max);
    let squares: f64 = off.iter().map(|error| (error.0 - mean.0).powi(2) + (error.1 - mean.1).powi(2)).sum();
    report.row("a dot's distance from its place, most", who, most((0.0, 0.0)), "pixels");
    report.row("its jitter (without the mean distance), most", who, most(mean), "pixels");
    report.row("its jitter, root mean square", who, (squares / count).sqrt(), "pixels");
}

/// How far a dot is from where the camera's path leads it, picture by picture, before any lossy encoder.
pub(crate) fn smoothness(report: &mut Report) -> Outcome {
    let clip = Clip::new(&dotted(), SLOW_FRAMES, SLOW_ZOOM)?;
    child("film", [&clip.project, &clip.out])?;
    let film = the_shot(Project::open_read_only(&clip.project)?.document())?;
    let mut ours = Vec::new();
    for index in 0..SLOW_FRAMES {
        let picture = image::open(clip.out.join(format!("{index:05}.png")))?.into_luma8();
        let view = film.view(index)?;
        let homography = view.cameras.first().ok_or("no camera")?.homography(1.0)?;
        let wanted = homography.project(DOT).ok_or("the dot is out of sight")?;
        ours.push((centroid(&picture, wanted), wanted));
    }
    errors(report, "outframe", &ours);
    if ffmpeg().is_none() {
        report.left_out("zoompan", "there is no ffmpeg");
        return Ok(());
    }
    for (who, times) in [("ffmpeg zoompan", 1), ("ffmpeg zoompan, enlarged x2", 2)] {
        let raw = clip.out.with_extension("gray");
        clip.zoompan(SLOW_FRAMES, SLOW_ZOOM, times, &["-f", "rawvideo", "-pix_fmt", "gray"], &raw)?;
        let bytes = fs::read(&raw)?;
        let mut theirs = Vec::new();
        for (index, frame) in bytes.chunks_exact((WIDTH * HEIGHT) as usize).enumerate() {
            let zoom = SLOW_ZOOM.powf(index as f64 / f64::from(SLOW_FRAMES - 1));
            let place = |at: f64, whole: u32, out: u32| {
                let seen = f64::from(whole) / zoom;
                (at - (f64::from(whole) - seen) / 2.0) * f64::from(out) / seen
            };
            let wanted = Point::new(place(DOT.x, STILL, WIDTH), place(DOT.y - f64::from(TOP), SEEN, HEIGHT));
            let picture = GrayImage::from_raw(WIDTH, HEIGHT, frame.to_vec()).ok_or("a picture is cut short")?;
            theirs.push((centroid(&picture, wanted), wanted));
        }
        errors(report, who, &theirs);
    }
    Ok(())
}
