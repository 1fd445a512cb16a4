//! Films are written, read by other programs' readers, and compared with the pictures that went in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of tests may fail as tests do")]

mod scene;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use outframe_film::{Error, FilmSettings, FilmSummary, FilmWriter, Format, ffmpeg};
use re_rav1d::{Decoder, PixelLayout, PlanarImageComponent, Settings, pixel::YUVRange};
use scene::Scene;

fn settings(width: u32, height: u32, frames: u32, format: Format) -> FilmSettings {
    FilmSettings { width, height, rate: (24, 1), frames, format, quality: FilmSettings::QUALITY }
}

fn write(path: &Path, settings: &FilmSettings, pictures: &[Vec<u8>]) -> FilmSummary {
    let mut film = FilmWriter::create(path, settings).unwrap();
    for picture in pictures {
        film.write(picture).unwrap();
        let (encoded, given) = film.progress();
        assert!(encoded <= given);
    }
    assert_eq!(film.progress().1, settings.frames);
    film.finish().unwrap()
}

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A decoded picture: RGB rows.
struct Decoded {
    width: u32,
    height: u32,
    rgb: Vec<u8>,
}

/// Decodes a stream of AV1, sample by sample, and checks what each picture says of its colours.
fn decode(samples: &[Vec<u8>]) -> Vec<Decoded> {
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    let mut decoder = Decoder::with_settings(&settings).unwrap();
    let mut pictures = Vec::new();
    for sample in samples {
        let mut sent = decoder.send_data(sample.clone(), None, None, None);
        loop {
            match decoder.get_picture() {
                Ok(picture) => {
                    assert_eq!(picture.pixel_layout(), PixelLayout::I420);
                    let codes = [
                        picture.color_primaries() as u8,
                        picture.transfer_characteristic() as u8,
                        picture.matrix_coefficients() as u8,
                    ];
                    assert_eq!((codes, picture.color_range()), ([1, 1, 1], YUVRange::Limited));
                    pictures.push(rgb(&picture));
                }
                Err(again) if again.is_again() && sent.as_ref().is_err_and(re_rav1d::Error::is_again) => {
                    sent = decoder.send_pending_data();
                }
                Err(again) if again.is_again() => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    pictures
}

/// BT.709 in video range to RGB, with chroma on the even columns and between the rows, read between its samples.
fn rgb(picture: &re_rav1d::Picture) -> Decoded {
    let (w, h) = (picture.width() as usize, picture.height() as usize);
    let plane = |component| (picture.plane(component), picture.stride(component) as usize);
    let (luma, stride) = plane(PlanarImageComponent::Y);
    let chroma = [plane(PlanarImageComponent::U), plane(PlanarImageComponent::V)];
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    let mut rgb = Vec::with_capacity(w * h * 3);
    for y in 0..h {
        let near = y / 2;
        let far = if y % 2 == 0 { near.saturating_sub(1) } else { (near + 1).min(ch - 1) };
        for x in 0..w {
            let (left, right) = (x / 2, (x / 2 + x % 2).min(cw - 1));
            let [u, v] = [0, 1].map(|c| {
                let (plane, stride) = &chroma[c];
                let at = |x: usize, y: usize| f32::from(plane[y * stride + x]);
                let row = |y| 0.5 * (at(left, y) + at(right, y));
                (0.75 * row(near) + 0.25 * row(far) - 128.0) / 224.0
            });
            let l = (f32::from(luma[y * stride + x]) - 16.0) / 219.0;
            for value in [l + 1.5748 * v, l - 0.187_324 * u - 0.468_124 * v, l + 1.8556 * u] {
                rgb.push((value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8);
            }
        }
    }
    Decoded { width: w as u32, height: h as u32, rgb }
}

/// Peak signal to noise over red, green and blue, in dB.
fn psnr(rgba: &[u8], rgb: &[u8]) -> f64 {
    let pairs = rgba.chunks_exact(4).flat_map(|pixel| &pixel[..3]).zip(rgb);
    let error: f64 = pairs.map(|(&a, &b)| f64::from(a.abs_diff(b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 * rgb.len() as f64 / error.max(1e-9)).log10()
}

struct Read {
    width: u32,
    height: u32,
    timescale: u64,
    duration: u64,
    index: Vec<re_mp4::Sample>,
    samples: Vec<Vec<u8>>,
    bytes: Vec<u8>,
}

fn read(path: &Path) -> Read {
    let bytes = fs::read(path).unwrap();
    let mp4 = re_mp4::Mp4::read_bytes(&bytes).unwrap();
    assert_eq!(mp4.tracks().len(), 1);
    let track = mp4.tracks().values().next().unwrap();
    let index = track.samples.clone();
    let samples = index.iter().map(|s| bytes[s.offset as usize..][..s.size as usize].to_vec()).collect();
    let (width, height) = (track.width.into(), track.height.into());
    Read { width, height, timescale: track.timescale, duration: track.duration, index, samples, bytes }
}

/// Where a box begins in the file.
fn at(bytes: &[u8], name: &[u8]) -> usize {
    bytes.windows(name.len()).position(|window| window == name).unwrap()
}

#[test]
fn av1_keeps_the_pictures_times_and_colours() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.mp4");
    let (w, h, n) = (320, 192, 40);
    let pictures = Scene::film(w, h, n);
    let settings = FilmSettings { rate: (24000, 1001), ..settings(w, h, n, Format::Mp4Av1) };
    let summary = write(&path, &settings, &pictures);
    assert_eq!((summary.frames, summary.width, summary.height), (n, w, h));
    assert_eq!(summary.bytes, fs::metadata(&path).unwrap().len());
    assert!((summary.seconds - 40.0 * 1001.0 / 24000.0).abs() < 1e-12);

    let Read { width, height, timescale, duration, index, samples, bytes } = read(&path);
    assert_eq!((width, height, timescale, duration), (w, h, 24000, 40 * 1001));
    assert_eq!(samples.len(), n as usize);
    for (i, sample) in index.iter().enumerate() {
        assert_eq!((sample.composition_timestamp, sample.duration), (i as i64 * 1001, 1001), "picture {i}");
        // No delimiters: the container does their work.
        assert_ne!(samples[i][0] >> 3 & 15, 2);
    }
    let keyframes: Vec<_> = (0..samples.len()).filter(|&i| index[i].is_sync).collect();
    assert_eq!(keyframes[0], 0);
    let ends = keyframes.iter().skip(1).copied().chain([samples.len()]);
    assert!(keyframes.iter().zip(ends).all(|(a, b)| b - a <= 24), "a second without a keyframe: {keyframes:?}");
    // The index is before the pictures.
    assert!(at(&bytes, b"moov") < at(&bytes, b"mdat"));
    let colr = at(&bytes, b"colr");
    assert_eq!(bytes[colr + 4..][..11], [b'n', b'c', b'l', b'x', 0, 1, 0, 1, 0, 1, 0]);
    // Profile 0, level 2.0, 8 bits, 4:2:0 with chroma on the even columns; then the stream's own header.
    let config = at(&bytes, b"av1C");
    assert_eq!(bytes[config + 4..][..5], [0x81, 0x00, 0x0d, 0x00, 0x0a]);

    let decoded = decode(&samples);
    assert_eq!(decoded.len(), n as usize);
    for (i, (before, after)) in pictures.iter().zip(&decoded).enumerate() {
        assert_eq!((after.width, after.height), (w, h));
        let psnr = psnr(before, &after.rgb);
        assert!(psnr > 38.0, "picture {i}: {psnr:.2} dB");
    }
    // From a keyframe on, nothing before it is needed.
    let from = *keyframes.last().unwrap();
    assert!(from > 0);
    assert_eq!(decode(&samples[from..])[0].rgb, decoded[from].rgb);
    assert_eq!(names(folder.path()), ["film.mp4"]);
}

#[test]
fn a_film_may_have_one_picture_and_odd_sides() {
    let folder = tempfile::tempdir().unwrap();
    for (w, h, n) in [(97, 71, 1), (17, 16, 2), (131, 200, 3)] {
        let path = folder.path().join(format!("{w}x{h}.mp4"));
        let pictures = Scene::film(w, h, n);
        write(&path, &settings(w, h, n, Format::Mp4Av1), &pictures);
        let Read { width, height, timescale, duration, samples, .. } = read(&path);
        assert_eq!((width, height, timescale, duration), (w, h, 24000, u64::from(n) * 1000));
        let decoded = decode(&samples);
        assert_eq!(decoded.len(), n as usize);
        for (before, after) in pictures.iter().zip(&decoded) {
            assert_eq!((after.width, after.height), (w, h));
            // Brightness only: so small a picture is all colour edges, which halved chroma cannot hold.
            let grey =
                |p: &[u8]| (0.2126 * f32::from(p[0]) + 0.7152 * f32::from(p[1]) + 0.0722 * f32::from(p[2])) as u8;
            let before: Vec<u8> = before.chunks(4).flat_map(|p| [grey(p); 4]).collect();
            let after: Vec<u8> = after.rgb.chunks(3).flat_map(|p| [grey(p); 3]).collect();
            let whole = psnr(&before, &after);
            assert!(whole > 38.0, "{w} x {h}: {whole:.2} dB");
            // The last row and column, which the encoder's blocks cut, are as good as the rest.
            let row = w as usize;
            let edge = (row * (h as usize - 1)..row * h as usize).chain((1..h as usize).map(|y| y * row - 1));
            let (mut a, mut b) = (Vec::new(), Vec::new());
            for pixel in edge {
                a.extend_from_slice(&before[pixel * 4..][..4]);
                b.extend_from_slice(&after[pixel * 3..][..3]);
            }
            let edge = psnr(&a, &b);
            assert!(edge > 36.0, "{w} x {h}, edge: {edge:.2} dB");
        }
    }
}

#[test]
fn quality_costs_bytes_and_gives_fidelity() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = Scene::film(128, 96, 6);
    let [low, high] = [10, 100].map(|quality| {
        let path = folder.path().join(format!("{quality}.mp4"));
        let settings = FilmSettings { quality, ..settings(128, 96, 6, Format::Mp4Av1) };
        let bytes = write(&path, &settings, &pictures).bytes;
        (bytes, psnr(&pictures[5], &decode(&read(&path).samples)[5].rgb))
    });
    assert!(high.0 > low.0 * 2 && high.1 > low.1 + 3.0, "{low:?} {high:?}");
}

/// What ffprobe says of the film's only stream.
fn probe(film: &Path) -> Option<serde_json::Value> {
    let probe = ffmpeg()?.with_file_name(format!("ffprobe{}", std::env::consts::EXE_SUFFIX));
    let said = Command::new(probe)
        .args(["-v", "error", "-count_frames", "-show_streams", "-of", "json"])
        .arg(film)
        .output()
        .ok()?;
    assert!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
    let said: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
    Some(said["streams"][0].clone())
}

/// The film's pictures as ffmpeg decodes them.
fn by_ffmpeg(film: &Path) -> Vec<u8> {
    let said = Command::new(ffmpeg().unwrap())
        .args(["-v", "error", "-i"])
        .arg(film)
        .args(["-vf", "scale=flags=accurate_rnd+full_chroma_int+bicubic", "-pix_fmt", "rgb24", "-f", "rawvideo", "-"])
        .output()
        .unwrap();
    assert!(said.status.success() && said.stderr.is_empty(), "{}", String::from_utf8_lossy(&said.stderr));
    said.stdout
}

#[test]
fn ffmpeg_reads_both_kinds_of_mp4() {
    if ffmpeg().is_none() {
        println!("left out: there is no ffmpeg with libx264 here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (w, h, n) = (191, 128, 30);
    let pictures = Scene::film(w, h, n);
    for format in [Format::Mp4Av1, Format::Mp4H264] {
        // A name that begins like an option and holds what protocols begin with.
        let path = folder.path().join(format!("-{format}:1.mp4"));
        let settings = FilmSettings { rate: (30000, 1001), ..settings(w, h, n, format) };
        let summary = write(&path, &settings, &pictures);
        // H.264 has even sides only.
        let wide = if format == Format::Mp4H264 { w + 1 } else { w };
        assert_eq!((summary.width, summary.height, summary.frames), (wide, h, n));
        let Some(stream) = probe(&path) else {
            println!("left out: there is no ffprobe here");
            return;
        };
        let expected = if format == Format::Mp4H264 { "h264" } else { "av1" };
        assert_eq!(stream["codec_name"], expected);
        assert_eq!((&stream["width"], &stream["height"]), (&wide.into(), &h.into()));
        assert_eq!(stream["nb_read_frames"], "30");
        assert_eq!((&stream["r_frame_rate"], &stream["avg_frame_rate"]), (&"30000/1001".into(), &"30000/1001".into()));
        assert_eq!(stream["duration_ts"], 30 * 1001);
        for (key, value) in [
            ("pix_fmt", "yuv420p"),
            ("color_range", "tv"),
            ("color_space", "bt709"),
            ("color_transfer", "bt709"),
            ("color_primaries", "bt709"),
            ("chroma_location", "left"),
        ] {
            assert_eq!(stream[key], value, "{format}: {key}");
        }
        let bytes = fs::read(&path).unwrap();
        assert!(at(&bytes, b"moov") < at(&bytes, b"mdat"));
        let decoded = by_ffmpeg(&path);
        let row = wide as usize * 3;
        assert_eq!(decoded.len(), row * h as usize * n as usize);
        for (before, after) in pictures.iter().zip(decoded.chunks(row * h as usize)) {
            // Without the column that was repeated.
            let after: Vec<u8> = after.chunks(row).flat_map(|row| &row[..w as usize * 3]).copied().collect();
            let psnr = psnr(before, &after);
            assert!(psnr > 38.0, "{format}: {psnr:.2} dB");
        }
    }
    assert_eq!(names(folder.path()).len(), 2);
}

#[test]
fn a_sequence_keeps_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film");
    let pictures = Scene::film(33, 7, 3);
    let summary = write(&path, &settings(33, 7, 3, Format::PngSequence), &pictures);
    assert_eq!(names(&path), ["00000.png", "00001.png", "00002.png"]);
    let mut bytes = 0;
    for (i, picture) in pictures.iter().enumerate() {
        let file = path.join(format!("{i:05}.png"));
        bytes += fs::metadata(&file).unwrap().len();
        let mut reader = png::Decoder::new(std::io::BufReader::new(fs::File::open(file).unwrap())).read_info().unwrap();
        assert!(reader.info().srgb.is_some());
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        assert_eq!((info.width, info.height, info.color_type), (33, 7, png::ColorType::Rgb));
        let expected: Vec<u8> = picture.chunks(4).flat_map(|p| [p[0], p[1], p[2]]).collect();
        assert!(rgb == expected, "picture {i}");
    }
    assert_eq!(summary.bytes, bytes);
    assert_eq!(names(folder.path()), ["film"]);
}

#[test]
fn films_are_replaced_only_by_whole_ones() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = Scene::film(32, 32, 2);
    for (name, format) in
        [("film.mp4", Format::Mp4Av1), ("film-264.mp4", Format::Mp4H264), ("film", Format::PngSequence)]
    {
        if format == Format::Mp4H264 && ffmpeg().is_none() {
            println!("left out: there is no ffmpeg with libx264 here");
            continue;
        }
        let path = folder.path().join(name);
        let settings = settings(32, 32, 2, format);
        write(&path, &FilmSettings { frames: 1, ..settings.clone() }, &pictures[..1]);
        let count = || match format {
            Format::PngSequence => names(&path).len(),
            _ => read(&path).samples.len(),
        };
        assert_eq!(count(), 1);
        // Dropped, cancelled, too short, too long, of another size: what was there stays, and nothing else does.
        let mut film = FilmWriter::create(&path, &settings).unwrap();
        film.write(&pictures[0]).unwrap();
        drop(film);
        let mut film = FilmWriter::create(&path, &settings).unwrap();
        film.write(&pictures[0]).unwrap();
        assert!(matches!(film.finish(), Err(Error::PictureCount { given: 1, expected: 2 })));
        let mut film = FilmWriter::create(&path, &settings).unwrap();
        film.write(&pictures[0]).unwrap();
        film.write(&pictures[0]).unwrap();
        assert!(matches!(film.write(&pictures[0]), Err(Error::PictureCount { given: 3, expected: 2 })));
        assert!(film.finish().is_err());
        let mut film = FilmWriter::create(&path, &settings).unwrap();
        assert!(matches!(
            film.write(&pictures[0][4..]),
            Err(Error::PictureSize { index: 0, given: 4092, expected: 4096 })
        ));
        assert!(film.write(&pictures[0]).is_err());
        assert!(film.finish().is_err());
        assert_eq!(count(), 1);
        assert!(names(folder.path()).iter().all(|name| name.starts_with("film")), "{:?}", names(folder.path()));
        write(&path, &settings, &pictures);
        assert_eq!(count(), 2);
    }
    let films = names(folder.path());
    assert!(films.iter().all(|name| ["film", "film.mp4", "film-264.mp4"].contains(&name.as_str())), "{films:?}");
}

#[test]
fn a_film_can_be_cancelled_while_it_is_finished() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film.mp4");
    let pictures = Scene::film(640, 480, 12);
    let mut film = FilmWriter::create(&path, &settings(640, 480, 12, Format::Mp4Av1)).unwrap();
    for picture in &pictures {
        film.write(picture).unwrap();
    }
    assert!(matches!(film.finish_with(|_| false), Err(Error::Cancelled)));
    assert!(names(folder.path()).is_empty());
}

#[test]
fn what_is_not_a_film_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let create = |path: &PathBuf, format| FilmWriter::create(path, &settings(32, 32, 1, format)).map(drop);
    let inside = folder.path().join("pictures");
    fs::create_dir(&inside).unwrap();
    fs::write(inside.join("00000.png"), "mine").unwrap();
    fs::write(inside.join("notes.txt"), "mine").unwrap();
    let file = folder.path().join("letter");
    fs::write(&file, "mine").unwrap();
    assert!(matches!(create(&inside, Format::PngSequence), Err(Error::Occupied { .. })));
    assert!(matches!(create(&file, Format::PngSequence), Err(Error::Occupied { .. })));
    assert!(matches!(create(&inside, Format::Mp4Av1), Err(Error::Occupied { .. })));
    assert!(matches!(create(&folder.path().join("none/film.mp4"), Format::Mp4Av1), Err(Error::Place { .. })));
    assert!(matches!(create(&file.join("film.mp4"), Format::Mp4Av1), Err(Error::Place { .. })));
    assert_eq!(fs::read_to_string(inside.join("notes.txt")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(file).unwrap(), "mine");
    assert_eq!(names(folder.path()), ["letter", "pictures"]);

    // A file that comes into a film's folder while the new film is being made is kept, and so is the old film.
    let film = folder.path().join("film");
    let pictures = Scene::film(32, 32, 1);
    let settings = settings(32, 32, 1, Format::PngSequence);
    write(&film, &settings, &pictures);
    let mut next = FilmWriter::create(&film, &settings).unwrap();
    next.write(&pictures[0]).unwrap();
    fs::write(film.join("notes.txt"), "mine").unwrap();
    assert!(matches!(next.finish(), Err(Error::Occupied { .. })));
    assert_eq!(names(&film), ["00000.png", "notes.txt"]);
    assert_eq!(names(folder.path()), ["film", "letter", "pictures"]);
}

#[test]
fn what_no_film_can_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("film");
    let good = settings(64, 64, 1, Format::Mp4Av1);
    let create = |settings: FilmSettings| FilmWriter::create(&path, &settings).map(drop);
    for (width, height) in [(0, 64), (15, 64), (64, 8), (20_000, 64), (8192, 8192), (u32::MAX, u32::MAX)] {
        let found = create(FilmSettings { width, height, ..good.clone() });
        assert!(matches!(found, Err(Error::Size { .. })), "{width} x {height}");
    }
    for rate in [(0, 1), (24, 0), (1, 100), (2_000_000, 1001), (1001, 1)] {
        assert!(matches!(create(FilmSettings { rate, ..good.clone() }), Err(Error::Rate { .. })), "{rate:?}");
    }
    assert!(matches!(create(FilmSettings { frames: 0, ..good.clone() }), Err(Error::Empty)));
    let huge = FilmSettings { width: u32::MAX, height: 2, format: Format::PngSequence, ..good };
    assert!(matches!(create(huge), Err(Error::Size { .. })));
    assert!(names(folder.path()).is_empty());
}

#[cfg(unix)]
#[test]
fn a_folder_that_may_not_be_written_to_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(closed.join("probe"), "").is_ok() {
        println!("left out: this user may write everywhere");
        return;
    }
    for format in [Format::Mp4Av1, Format::PngSequence] {
        let error = FilmWriter::create(&closed.join("film.mp4"), &settings(32, 32, 1, format)).unwrap_err();
        assert!(matches!(error, Error::Place { .. }));
        assert!(error.to_string().contains("closed"), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn films_are_as_readable_as_other_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    fs::write(&other, "").unwrap();
    let path = folder.path().join("film.mp4");
    write(&path, &settings(32, 32, 1, Format::Mp4Av1), &Scene::film(32, 32, 1));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), mode(&other));
}

#[test]
fn formats_have_names() {
    for format in Format::ALL {
        assert_eq!(format.as_str().parse(), Ok(format));
    }
    assert!("mov".parse::<Format>().unwrap_err().to_string().contains("mp4-av1"));
}
