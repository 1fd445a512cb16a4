//! How fast films are written: one line of JSON for each format and size.
//!
//! `cargo run --release -p outframe-film --example bench_film -- [WIDTHxHEIGHT [FRAMES]]`

#[path = "../tests/scene/mod.rs"]
mod scene;

use std::time::Instant;

use outframe_film::{FilmSettings, FilmWriter, Format, ffmpeg};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let size = args.next().unwrap_or_else(|| "1280x720".into());
    let frames: u32 = args.next().map_or(Ok(96), |number| number.parse())?;
    let (width, height) = size.split_once('x').ok_or("the size is not WIDTHxHEIGHT")?;
    let (width, height) = (width.parse()?, height.parse()?);
    let pictures = scene::Scene::film(width, height, frames);
    let folder = tempfile::tempdir()?;
    for format in Format::ALL {
        if format == Format::Mp4H264 && ffmpeg().is_none() {
            eprintln!("{format}: left out, there is no ffmpeg with libx264");
            continue;
        }
        let settings = FilmSettings { width, height, rate: (24, 1), frames, format, quality: FilmSettings::QUALITY };
        let started = Instant::now();
        let mut film = FilmWriter::create(&folder.path().join(format.as_str()), &settings)?;
        for picture in &pictures {
            film.write(picture)?;
        }
        let summary = film.finish()?;
        let seconds = started.elapsed().as_secs_f64();
        let line = serde_json::json!({
            "bench": "film",
            "format": format.as_str(),
            "width": width,
            "height": height,
            "frames": frames,
            "seconds": (seconds * 1000.0).round() / 1000.0,
            "frames_per_second": (f64::from(frames) / seconds * 100.0).round() / 100.0,
            "bytes": summary.bytes,
        });
        println!("{line}");
    }
    Ok(())
}
