//! Journeys: what a person does with Outframe from beginning to end, with the real programs and the starter model.
//!
//! Few steps are asked for where the pictures need not be good.
#![allow(clippy::unwrap_used, reason = "also the helpers beside the tests fail the test when they cannot go on")]

use std::{collections::BTreeSet, fs};

use image::{ImageEncoder as _, Rgba, RgbaImage, imageops};
use outframe_tests::{Place, decode, gradient, part};
use serde_json::{Value, json};

/// A small and quick picture.
const QUICK: [&str; 4] = ["--size", "128x128", "--steps", "4"];

fn generate(place: &Place, seed: &str, more: &[&str]) -> Value {
    place.json(&[&["generate", "a lake below snowy mountains", "--seed", seed], &QUICK[..], more].concat())
}

fn rect(x: i64, y: i64, width: u32, height: u32) -> Value {
    json!({ "x": x, "y": y, "width": width, "height": height })
}

#[test]
fn a_seed_makes_the_same_picture_again() {
    let place = Place::new();
    let told = generate(&place, "7", &["--out", "first.png"]);
    assert_eq!((&told["takes"][0]["seed"], &told["takes"][0]["width"]), (&json!(7), &json!(128)), "{told}");
    generate(&place, "7", &["--out", "again.png"]);
    generate(&place, "8", &["--out", "other.png"]);
    let told = generate(&place, "7", &["--count", "2", "--out", "take.png"]);
    assert_eq!(told["takes"].as_array().unwrap().len(), 2, "{told}");
    assert_eq!(told["takes"][1]["seed"], 8);

    let file = |name: &str| fs::read(place.path(name)).unwrap();
    let picture = decode(&file("first.png"));
    assert_eq!(picture.dimensions(), (128, 128));
    let colours: BTreeSet<_> = picture.pixels().map(|pixel| pixel.0).collect();
    assert!(colours.len() > 500, "a picture, not an empty sheet: {} colours", colours.len());
    assert_eq!(file("first.png"), file("again.png"));
    assert_ne!(file("first.png"), file("other.png"));
    assert_eq!(file("take-1.png"), file("first.png"));
    assert_eq!(file("take-2.png"), file("other.png"));
    let names = ["again.png", "first.png", "other.png", "take-1.png", "take-2.png"];
    assert_eq!(place.files(), names.map(String::from).into(), "and no other file");
}

#[test]
fn sizes_between_the_models_steps_come_out_exactly() {
    let place = Place::new();
    place.run(&["generate", "a beach", "--seed", "1", "--steps", "2", "--size", "101x67", "--out", "odd.png"]).ok();
    assert_eq!(decode(&fs::read(place.path("odd.png")).unwrap()).dimensions(), (101, 67));
}

#[test]
fn a_picture_grows_and_what_was_known_stays_to_the_bit() {
    let place = Place::new();
    let project = "sea.outframe";
    place.run(&["generate", "a lighthouse by the sea", "--seed", "3", "--steps", "4", "--project", project]).ok();
    let first = place.export(project, None);
    assert_eq!(decode(&first).dimensions(), (256, 256), "the model's native size");

    let told = place.json(&["extend", project, "--right", "128", "--seed", "4", "--steps", "4"]);
    assert_eq!(told["frame_before"], rect(0, 0, 256, 256));
    assert_eq!(told["frame"], rect(0, 0, 384, 256));
    assert_eq!(told["painted"], json!([rect(256, 0, 128, 256)]));
    let second = place.export(project, None);
    let told = place.json(&["extend", project, "--up", "96", "--seed", "5", "--steps", "4"]);
    assert_eq!(told["frame"], rect(0, -96, 384, 352));
    let third = place.export(project, None);

    // Every pixel known before is the same after, and every new one is painted.
    let [one, two, three] = [&first, &second, &third].map(|png| decode(png));
    assert_eq!((two.dimensions(), three.dimensions()), ((384, 256), (384, 352)));
    assert!(part(&two, 0, 0, 256, 256) == one, "the first picture changed when it grew to the right");
    assert!(part(&three, 0, 96, 384, 256) == two, "the picture changed when it grew upwards");
    assert!(three.pixels().all(|pixel| pixel.0[3] == 255));
    for (name, new) in [("right", part(&three, 256, 96, 128, 256)), ("up", part(&three, 0, 0, 384, 96))] {
        let colours: BTreeSet<_> = new.pixels().map(|pixel| pixel.0).collect();
        assert!(colours.len() > 500, "{name}: {} colours", colours.len());
    }
    // A part of the canvas is that part of the whole.
    assert!(decode(&place.export(project, Some("200,-96,100,150"))) == part(&three, 200, 0, 100, 150));

    // The project tells all of it.
    let info = place.json(&["info", project]);
    assert_eq!(info["title"], "sea");
    assert_eq!(info["frames"][0]["rect"], rect(0, -96, 384, 352));
    let patches = info["layers"][0]["patches"].as_array().unwrap();
    let seeds: Vec<_> = patches.iter().map(|patch| patch["seed"].as_u64().unwrap()).collect();
    assert_eq!(seeds, [3, 4, 5]);
    assert!(patches.iter().all(|patch| patch["prompt"] == "a lighthouse by the sea" && patch["model"] == "starter"));
    let history: Vec<_> =
        info["history"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(history, ["Generate", "Extend right", "Extend up"]);

    // Back and forth, each in a process of its own.
    let stages = [&first, &second, &third];
    for (command, stage) in [("undo", 1), ("undo", 0), ("redo", 1), ("redo", 2)] {
        let moved = place.json(&[command, project]);
        assert!(moved["step"].as_str().unwrap().starts_with("Extend"), "{moved}");
        assert!(place.export(project, None) == *stages[stage], "{command} to stage {stage}");
    }
    let moved = place.json(&["redo", project]);
    assert_eq!((&moved["step"], &moved["can_redo"]), (&Value::Null, &Value::Null));

    // The one file is the whole project, wherever it lies.
    assert_eq!(place.files(), [project.to_owned()].into());
    let elsewhere = Place::new();
    fs::copy(place.path(project), elsewhere.path("moved.outframe")).unwrap();
    assert!(elsewhere.export("moved.outframe", None) == third);
    elsewhere.run(&["undo", "moved.outframe"]).ok();
    assert!(elsewhere.export("moved.outframe", None) == second);
    assert!(place.export(project, None) == third, "the original is another file");
}

#[test]
fn the_same_steps_make_the_same_project_again() {
    let grow = |project: &str| {
        let place = Place::new();
        generate(&place, "1", &["--project", project]);
        let sides = ["--left", "32", "--down", "40"];
        place.run(&[&["extend", project, "--seed", "2", "--steps", "3"], &sides[..]].concat()).ok();
        (place.export(project, None), place.json(&["info", project])["frames"][0]["rect"].clone())
    };
    let (picture, frame) = grow("a.outframe");
    assert_eq!(frame, rect(-32, 0, 160, 168));
    assert!((picture, frame) == grow("a.outframe"));
}

#[test]
fn takes_of_one_request_are_kept_together() {
    let place = Place::new();
    generate(&place, "20", &["--count", "3", "--project", "takes.outframe"]);
    let info = place.json(&["info", "takes.outframe"]);
    let patch = &info["layers"][0]["patches"][0];
    assert_eq!((&patch["takes"], &patch["seed"]), (&json!(3), &json!(20)), "{info}");
    generate(&place, "20", &["--out", "alone.png"]);
    let alone = fs::read(place.path("alone.png")).unwrap();
    assert!(decode(&place.export("takes.outframe", None)) == decode(&alone), "the first take is shown");
}

/// A JPEG that says that it lies on its side: to be shown turned to the right by 90 degrees.
fn rotated_jpeg(picture: &RgbaImage) -> Vec<u8> {
    let mut plain = Vec::new();
    let rgb = image::DynamicImage::ImageRgba8(picture.clone()).into_rgb8();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut plain, 90);
    encoder.write_image(&rgb, rgb.width(), rgb.height(), image::ExtendedColorType::Rgb8).unwrap();
    // EXIF 2.32: a big-endian TIFF directory with one entry, tag 0x0112 (orientation), a SHORT of value 6.
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    let mut bytes = plain[..2].to_vec();
    bytes.extend([0xff, 0xe1]);
    bytes.extend((exif.len() as u16 + 2).to_be_bytes());
    bytes.extend(exif);
    bytes.extend(&plain[2..]);
    bytes
}

#[test]
fn pictures_are_imported_upright_and_where_they_shall_lie() {
    let place = Place::new();
    // Large even areas, which JPEG keeps well.
    let corners = RgbaImage::from_fn(64, 48, |x, y| match (x < 32, y < 24) {
        (true, true) => Rgba([220, 30, 30, 255]),
        (false, true) => Rgba([30, 200, 40, 255]),
        (true, false) => Rgba([40, 50, 210, 255]),
        (false, false) => Rgba([230, 220, 60, 255]),
    });
    image::DynamicImage::ImageRgba8(corners.clone()).into_rgb8().save(place.path("upright.jpg")).unwrap();
    fs::write(place.path("turned.jpg"), rotated_jpeg(&corners)).unwrap();

    let project = "trip.outframe";
    let told = place.json(&["import", project, "upright.jpg"]);
    assert_eq!(told[0]["rect"], rect(0, 0, 64, 48), "{told}");
    let told = place.json(&["import", project, "turned.jpg", "--at", "100,-20"]);
    assert_eq!((&told[0]["layers"], &told[0]["rect"]), (&json!(["turned"]), &rect(100, -20, 48, 64)));
    let info = place.json(&["info", project]);
    assert_eq!(info["frames"][0]["rect"], rect(0, 0, 64, 48), "the first picture made the frame");
    assert_eq!(info["bounds"], rect(0, -20, 148, 68));

    let upright = image::open(place.path("upright.jpg")).unwrap().into_rgba8();
    assert!(decode(&place.export(project, None)) == upright);
    let turned = decode(&place.export(project, Some("100,-20,48,64")));
    assert_eq!(turned.dimensions(), (48, 64));
    let expected = imageops::rotate90(&corners);
    for (x, y) in [(12, 16), (36, 16), (12, 48), (36, 48)] {
        let (is, should) = (turned.get_pixel(x, y).0, expected.get_pixel(x, y).0);
        let near = is.iter().zip(should).all(|(is, should)| is.abs_diff(should) < 12);
        assert!(near, "at {x},{y}: {is:?} instead of {should:?}");
    }
    // What nobody painted is transparent.
    assert_eq!(decode(&place.export(project, Some("80,0,10,10"))).get_pixel(5, 5).0[3], 0);
}

#[test]
fn a_project_begins_with_a_photograph_and_grows_to_the_left() {
    let place = Place::new();
    let picture = gradient(120, 90);
    picture.save(place.path("photo.png")).unwrap();
    place.run(&["import", "photo.outframe", "photo.png"]).ok();
    assert!(decode(&place.export("photo.outframe", None)) == picture);
    let grow = ["extend", "photo.outframe", "--left", "64", "--prompt", "a meadow", "--seed", "1", "--steps", "3"];
    let told = place.json(&grow);
    assert_eq!(told["frame"], rect(-64, 0, 184, 90));
    let grown = decode(&place.export("photo.outframe", None));
    assert!(part(&grown, 64, 0, 120, 90) == picture, "imported pixels changed");
    assert!(grown.pixels().all(|pixel| pixel.0[3] == 255));
    place.run(&["undo", "photo.outframe"]).ok();
    assert!(decode(&place.export("photo.outframe", None)) == picture);
}

/// Mean absolute difference of two columns' colours, in steps of 255.
fn step_between(picture: &RgbaImage, left: u32) -> f64 {
    let differences = (0..picture.height()).flat_map(|y| {
        let (a, b) = (picture.get_pixel(left, y).0, picture.get_pixel(left + 1, y).0);
        (0..3).map(move |channel| f64::from(a[channel].abs_diff(b[channel])))
    });
    differences.sum::<f64>() / f64::from(picture.height() * 3)
}

/// The step across the line right of column `seam - 1`, relative to the mean of the eight steps on both sides of it.
fn seam_factor(picture: &RgbaImage, seam: u32) -> f64 {
    let beside: f64 = (1..=4).map(|n| step_between(picture, seam - 1 - n) + step_between(picture, seam - 1 + n)).sum();
    step_between(picture, seam - 1) / (beside / 8.0)
}

/// Most that the step at a seam may stand out. Measured with six prompts at the model's own settings: 0.5 to 0.8 where the
/// extension lies, 19 and more where another part of the same picture is set in its place. At 2, an edge begins to show.
const SEAM: f64 = 2.0;

#[test]
fn an_extension_continues_the_scene() {
    let place = Place::new();
    for (seed, prompt) in [("1", "a lake below snowy mountains"), ("4", "a lighthouse by the sea at night")] {
        let project = format!("{seed}.outframe");
        place.run(&["generate", prompt, "--seed", seed, "--steps", "10", "--project", &project]).ok();
        place.run(&["extend", &project, "--right", "128", "--seed", "9", "--steps", "10"]).ok();
        let picture = decode(&place.export(&project, None));
        let factor = seam_factor(&picture, 256);
        assert!(factor < SEAM, "{prompt}: the step at the seam is {factor:.1} times that beside it");
        // The measure itself: a part that does not continue the scene must stand out.
        let mut foreign = picture.clone();
        imageops::replace(&mut foreign, &part(&picture, 0, 0, 128, 256), 256, 0);
        let factor = seam_factor(&foreign, 256);
        assert!(factor > 2.0 * SEAM, "{prompt}: a foreign part stands out by {factor:.1} only");
    }
}

#[test]
fn every_answer_can_be_read_by_a_script() {
    let place = Place::new();
    let models = place.json(&["models", "list"]);
    assert_eq!((&models[0]["name"], &models[0]["info"]["native_size"]), (&json!("starter"), &json!(256)), "{models}");
    assert_eq!(models[0]["problem"], Value::Null);
    generate(&place, "1", &["--project", "p.outframe"]);
    let told = place.json(&["export", "p.outframe", "--out", "p.png"]);
    assert_eq!((&told["file"], &told["rect"]), (&json!("p.png"), &rect(0, 0, 128, 128)));
    // Nothing to undo is no failure: the answer says so.
    assert_eq!(place.json(&["undo", "p.outframe"])["step"], "Generate");
    assert_eq!(place.json(&["undo", "p.outframe"])["step"], Value::Null);
    assert_eq!(place.run(&["undo", "p.outframe"]).ok().stdout, "There is nothing to undo.\n");
    // A failure, too, is one JSON document.
    let failed = place.run(&["info", "absent.outframe", "--json"]);
    assert_eq!(failed.code, Some(1));
    assert!(failed.json()["error"].as_str().unwrap().contains("absent.outframe does not exist"), "{failed:?}");
    assert_eq!(failed.json()["cancelled"], false);
    // What a person should know is still said, where it does not disturb the document.
    let told =
        place.run(&["generate", "a lake 🦄", "--steps", "1", "--size", "64x64", "--out", "x.png", "--json"]).ok();
    assert_eq!(told.json()["takes"][0]["width"], 64);
    assert!(told.stderr.contains("does not know") && told.stderr.contains('🦄'), "{told:?}");
}

#[test]
fn exit_codes_tell_wrong_usage_from_failure() {
    let place = Place::new();
    for usage in [
        &[][..],
        &["paint"],
        &["generate"],
        &["generate", "a lake"],
        &["generate", "a lake", "--out", "x.png", "--size", "big"],
        &["generate", "a lake", "--out", "x.png", "--steps", "-3"],
        &["extend"],
        &["import", "p.outframe"],
        &["export", "p.outframe"],
        &["export", "p.outframe", "--out", "x.png", "--rect", "0,0,0,5"],
    ] {
        place.run(usage).fails(2, &["--help"]);
    }
    for asked in [&["--help"][..], &["--version"], &["generate", "--help"], &["extend", "--help"]] {
        let told = place.run(asked).ok();
        assert!(!told.stdout.is_empty() && told.stderr.is_empty(), "{told:?}");
    }
    place.run(&["info", "absent.outframe"]).fails(1, &["absent.outframe does not exist"]);
    assert!(place.files().is_empty());
}

/// What only a system that shows its processes lets a test do.
#[cfg(target_os = "linux")]
mod processes {
    use std::os::unix::process::CommandExt as _;

    use outframe_tests::{
        Outcome, Place, Running,
        linux::{is_alive, kill, painting_worker, signal, signal_group, starting_worker},
        wait_for,
    };
    use rustix::process::Signal;

    const PROJECT: &str = "p.outframe";
    /// So many that the job is certainly under way when something happens to it.
    const LONG: &str = "900";

    fn extend(place: &Place, steps: &str) -> Running {
        let side = ["extend", PROJECT, "--right", "64", "--prompt", "a lake", "--seed", "5", "--steps", steps];
        let mut command = place.outframe(&side);
        // As a shell starts its jobs: a group of their own, which gets the terminal's signals.
        command.process_group(0);
        place.start(command)
    }

    fn next_extend_works(place: &Place) {
        let told = place.json(&["extend", PROJECT, "--left", "16", "--prompt", "a lake", "--steps", "2"]);
        assert_eq!(told["frame"]["width"], 112);
        assert_eq!(place.files(), [PROJECT.to_owned()].into());
    }

    #[test]
    fn interrupting_a_job_changes_nothing() {
        let place = Place::new();
        place.quick_project(PROJECT);
        let before = place.snapshot(PROJECT);
        // From a terminal, all processes of the group get the signal; from `kill`, one.
        for from_terminal in [true, false] {
            let mut job = extend(&place, LONG);
            let worker = painting_worker(&mut job, &[]);
            if from_terminal {
                signal_group(job.id(), Signal::INT);
            } else {
                signal(job.id(), Signal::INT);
            }
            let outcome: Outcome = job.wait().fails(130, &["Cancelled. Nothing was changed."]);
            assert!(!outcome.stderr.contains("unexpectedly"), "the worker was not hurt: {outcome:?}");
            wait_for("the worker's end", || (!is_alive(worker)).then_some(()));
            assert_eq!(place.snapshot(PROJECT), before);
        }
        next_extend_works(&place);
    }

    #[test]
    fn interrupting_a_generation_leaves_no_file() {
        let place = Place::new();
        // While the worker starts or loads its model, and in the middle of the job.
        for early in [true, false] {
            let mut command = place.outframe(&[
                "generate",
                "a lake",
                "--steps",
                LONG,
                "--project",
                "new.outframe",
                "--out",
                "new.png",
            ]);
            command.process_group(0);
            let mut job = place.start(command);
            let worker = if early { starting_worker(&mut job) } else { painting_worker(&mut job, &[]) };
            signal_group(job.id(), Signal::INT);
            job.wait().fails(130, &["Cancelled"]);
            wait_for("the worker's end", || (!is_alive(worker)).then_some(()));
            assert!(place.files().is_empty(), "{:?}", place.files());
        }
    }

    #[test]
    fn a_killed_worker_is_replaced_and_the_result_is_the_same() {
        let undisturbed = Place::new();
        undisturbed.quick_project(PROJECT);
        extend(&undisturbed, "24").wait().ok();

        let place = Place::new();
        place.quick_project(PROJECT);
        let mut job = extend(&place, "24");
        let worker = painting_worker(&mut job, &[]);
        kill(worker);
        let outcome = job.wait().ok();
        for words in ["The engine stopped unexpectedly", "signal 9", "The engine was restarted; the job begins again"] {
            assert!(outcome.stderr.contains(words), "{outcome:#?}");
        }
        assert_eq!(outcome.stderr.matches("was restarted").count(), 1);
        assert!(place.export(PROJECT, None) == undisturbed.export(PROJECT, None), "another picture than undisturbed");
        assert_eq!(place.files(), [PROJECT.to_owned()].into());
    }

    #[test]
    fn a_worker_killed_twice_is_reported_and_the_project_goes_on() {
        let place = Place::new();
        place.quick_project(PROJECT);
        let before = place.snapshot(PROJECT);
        let mut job = extend(&place, LONG);
        let first = painting_worker(&mut job, &[]);
        kill(first);
        let second = painting_worker(&mut job, &[first]);
        assert!(job.stderr().contains("was restarted"), "the restart is told when it happens: {}", job.stderr());
        kill(second);
        let words = ["The engine stopped unexpectedly", "again after a restart", "The project is unharmed"];
        job.wait().fails(1, &words);
        assert_eq!(place.snapshot(PROJECT), before);
        next_extend_works(&place);
    }

    #[test]
    fn killing_the_program_leaves_no_worker_and_an_unchanged_project() {
        let place = Place::new();
        place.quick_project(PROJECT);
        let before = place.snapshot(PROJECT);
        let mut job = extend(&place, LONG);
        let worker = painting_worker(&mut job, &[]);
        kill(job.id());
        assert_eq!(job.wait().code, None);
        wait_for("the end of the orphaned worker", || (!is_alive(worker)).then_some(()));
        let after = place.snapshot(PROJECT);
        assert_eq!((after.export, after.info), (before.export, before.info));
        // What the killed program left beside the project goes with the next one that works on it.
        next_extend_works(&place);
    }

    #[test]
    fn a_project_has_one_writer_at_a_time() {
        let place = Place::new();
        place.quick_project(PROJECT);
        let before = place.snapshot(PROJECT);
        let mut job = extend(&place, LONG);
        painting_worker(&mut job, &[]);
        let who = format!("is being edited by process {}", job.id());
        let words = [PROJECT, who.as_str()];
        place.run(&["undo", PROJECT]).fails(1, &words);
        place.run(&["extend", PROJECT, "--up", "16"]).fails(1, &words);
        let picture = place.aside("quick.png");
        place.run(&["import", PROJECT, picture.to_str().unwrap()]).fails(1, &words);
        place.run(&["generate", "a lake", "--project", PROJECT]).fails(1, &words);
        // Looking is always possible.
        let during = place.snapshot(PROJECT);
        assert_eq!((during.export, &during.info), (before.export.clone(), &before.info));
        assert!(job.is_running());
        signal(job.id(), Signal::INT);
        job.wait().fails(130, &[]);
        assert_eq!(place.snapshot(PROJECT), before);
    }
}

#[test]
fn an_upscaled_picture_is_a_project_of_its_own() {
    let place = Place::new();
    let half =
        RgbaImage::from_fn(60, 40, |x, y| Rgba([(x * 4) as u8, (y * 6) as u8, 90, if x < 30 { 255 } else { 0 }]));
    half.save(place.path("half.png")).unwrap();
    gradient(60, 40).save(place.path("whole.png")).unwrap();
    place.run(&["import", "half.outframe", "half.png"]).ok();
    place.run(&["import", "whole.outframe", "whole.png"]).ok();
    let before = fs::read(place.path("whole.outframe")).unwrap();

    let told = place.json(&["upscale", "whole.outframe"]);
    assert_eq!(
        (&told["file"], &told["width"], &told["height"]),
        (&json!("whole-2x.outframe"), &json!(120), &json!(80))
    );
    assert!(fs::read(place.path("whole.outframe")).unwrap() == before, "the project was changed");
    let large = decode(&place.export("whole-2x.outframe", None));
    assert_eq!(large.dimensions(), (120, 80));
    // The same picture, larger.
    let small = imageops::resize(&large, 60, 40, imageops::FilterType::Triangle);
    let apart: u32 = small.iter().zip(gradient(60, 40).iter()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    assert!(apart < 60 * 40 * 4 * 12, "{apart}");
    let info = place.json(&["info", "whole-2x.outframe"]);
    assert_eq!(info["frames"][0]["rect"], rect(0, 0, 120, 80));
    assert_eq!(info["layers"][0]["patches"][0]["model"], "realesr-animevideov3");
    place.run(&["upscale", "whole.outframe"]).fails(1, &["whole-2x.outframe", "exists"]);

    // Transparent parts stay so, in a file and in a project.
    place.run(&["upscale", "half.outframe", "--factor", "4", "--out", "half-4x.png"]).ok();
    let file = decode(&fs::read(place.path("half-4x.png")).unwrap());
    assert_eq!((file.dimensions(), file.get_pixel(20, 80).0[3], file.get_pixel(220, 80).0[3]), ((240, 160), 255, 0));
    place.run(&["upscale", "half.outframe", "--factor", "4", "--to", "large.outframe"]).ok();
    let project = decode(&place.export("large.outframe", None));
    assert_eq!((project.dimensions(), project.get_pixel(220, 80).0[3]), ((240, 160), 0));

    place.run(&["upscale", "half.outframe", "--out", "a.ora"]).fails(1, &["layers"]);
    place.run(&["upscale", "half.outframe", "--upscaler", "unicorn", "--to", "b.outframe"]).fails(1, &["unicorn"]);
    assert!(!place.path("b.outframe").exists());
}

#[test]
fn a_creative_upscaling_changes_a_little_and_is_the_same_again() {
    let place = Place::new();
    generate(&place, "3", &["--project", "lake.outframe"]);
    place.run(&["upscale", "lake.outframe", "--out", "subtle.png"]).ok();
    for name in ["one.outframe", "two.outframe"] {
        place
            .run(&["upscale", "lake.outframe", "--mode", "creative", "--seed", "5", "--steps", "6", "--to", name])
            .ok();
    }
    let subtle = decode(&fs::read(place.path("subtle.png")).unwrap());
    let [one, two] = ["one.outframe", "two.outframe"].map(|name| decode(&place.export(name, None)));
    assert!(one == two, "the same seed makes the same picture");
    assert_eq!(one.dimensions(), subtle.dimensions());
    let apart: u64 = one.iter().zip(subtle.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    let mean = apart as f64 / (one.len() as f64);
    assert!(mean > 0.3 && mean < 30.0, "{mean}");
    let patch = &place.json(&["info", "one.outframe"])["layers"][0]["patches"][0];
    assert_eq!((&patch["prompt"], &patch["seed"]), (&json!("a lake below snowy mountains"), &json!(5)));
}

/// The tiny model and adapters that the parity tests use.
fn fixture(name: &str) -> String {
    models_folder().join("tests/parity/fixtures").join(name).to_str().unwrap().to_owned()
}

fn models_folder() -> std::path::PathBuf {
    outframe_tests::models().parent().unwrap().to_path_buf()
}

/// What the newest generation of a project was made with.
fn record(place: &Place, project: &str) -> outframe_document::Generation {
    let project = outframe_document::Project::open_read_only(place.path(project)).unwrap();
    project.document().generations.values().last().unwrap().clone()
}

#[test]
fn a_lora_and_an_embedding_change_the_picture_and_are_recorded_so_that_it_is_made_again() {
    let place = Place::new();
    let (model, lora, word) =
        (fixture("models/painter"), fixture("adapters/kohya.safetensors"), fixture("adapters/cat-toy.safetensors"));
    let paint = |out: &str, more: &[&str]| {
        let common =
            ["generate", "a lake", "--model", &model, "--seed", "5", "--steps", "3", "--size", "32x32", "--out", out];
        place.run(&[&common[..], more].concat()).ok();
        fs::read(place.path(out)).unwrap()
    };
    let plain = paint("plain.png", &[]);
    let strong = format!("{lora}:0.9");
    let with = paint("with.png", &["--lora", &strong]);
    assert_ne!(with, plain, "the LoRA is in force");
    assert_eq!(paint("none.png", &["--lora", &format!("{lora}:0")]), plain, "one of weight 0 is not");
    assert_ne!(paint("less.png", &["--lora", &format!("{lora}:-0.9")]), with);

    let tuned =
        ["--lora", &strong, "--embedding", &format!("{word}=lake"), "--clip-skip", "1", "--guidance-rescale", "0.6"];
    let told = place.run(
        &[
            &["generate", "a lake", "--model", &model, "--seed", "5", "--steps", "3", "--size", "32x32"],
            &tuned[..],
            &["--project", "lake.outframe"],
        ]
        .concat(),
    );
    if told.code != Some(0) {
        // BERT models cannot be taught words; what they can is recorded all the same.
        assert!(told.stderr.contains("word") || told.stderr.contains("embedding"), "{}", told.stderr);
    }
    let tuned = ["--lora", strong.as_str(), "--clip-skip", "1", "--guidance-rescale", "0.6"];
    let direct = paint("direct.png", &tuned);
    assert_ne!(direct, with);
    place
        .run(
            &[
                &[
                    "generate",
                    "a lake",
                    "--model",
                    &model,
                    "--seed",
                    "5",
                    "--steps",
                    "3",
                    "--size",
                    "32x32",
                    "--project",
                    "tuned.outframe",
                ],
                &tuned[..],
            ]
            .concat(),
        )
        .ok();
    assert_eq!(decode(&place.export("tuned.outframe", None)), decode(&direct));

    // From the record alone, with the LoRA in the library, the same picture again.
    let made = record(&place, "tuned.outframe");
    let request = &made.provenance.request;
    let found = outframe_studio::Tuning::of(request);
    assert_eq!((found.clip_skip, found.loras[0].name.as_str()), (1, "kohya"));
    assert_eq!(request.extra["loras"][0]["hash"].as_str().map(str::len), Some(64));
    fs::create_dir(place.path("library")).unwrap();
    fs::copy(&lora, place.path("library/kohya.safetensors")).unwrap();
    let (seed, steps) = (made.takes[0].seed.to_string(), request.steps.to_string());
    let (skip, rescale) = (found.clip_skip.to_string(), found.guidance_rescale.to_string());
    let named = format!("{}:{}", found.loras[0].name, found.loras[0].weight);
    let mut again = place.outframe(&[
        "generate",
        request.prompt_of(made.takes[0].id),
        "--model",
        &model,
        "--seed",
        &seed,
        "--steps",
        &steps,
        "--size",
        "32x32",
        "--lora",
        &named,
        "--clip-skip",
        &skip,
        "--guidance-rescale",
        &rescale,
        "--out",
        "again.png",
    ]);
    again.env("OUTFRAME_MODELS", place.path("library"));
    place.start(again).wait().ok();
    assert_eq!(fs::read(place.path("again.png")).unwrap(), direct);

    // What cannot be is refused before anything is computed.
    let bad = ["generate", "x", "--model", &model, "--out", "bad.png", "--lora"];
    place.run(&[&bad[..], &["unicorn"]].concat()).fails(1, &["unicorn"]);
    place.run(&[&bad[..], &[&format!("{lora}:3")]].concat()).fails(1, &["-2 to 2"]);
    place.run(&[&bad[..], &[&word]].concat()).fails(1, &["textual inversion", "LoRA"]);
}

#[test]
fn alternatives_wildcards_and_styles_give_each_take_its_own_words() {
    let place = Place::new();
    let lists = place.aside("config/outframe/wildcards");
    fs::create_dir_all(&lists).unwrap();
    fs::write(lists.join("sky.txt"), "under clouds\nunder stars\nin the rain\nin fog\n").unwrap();
    let run = |arguments: &[&str]| {
        let mut command = place.outframe(arguments);
        command.env("XDG_CONFIG_HOME", place.aside("config"));
        place.start(command).wait()
    };
    let few = ["--steps", "2", "--size", "64x64", "--seed", "40", "--project", "barn.outframe", "--json"];
    let typed = "a {red,blue} barn __sky__";
    let told = run(&[&["generate", typed, "--style", "watercolour"], &few[..]].concat()).ok().json();
    let words: Vec<&str> =
        told["takes"].as_array().unwrap().iter().map(|take| take["prompt"].as_str().unwrap()).collect();
    assert_eq!(words.len(), 2, "one for each alternative: {words:?}");
    assert!(
        words[0].contains("a red barn") && words[1].contains("a blue barn") && !words[0].contains("__"),
        "{words:?}"
    );
    assert!(words[0].starts_with("watercolour of"), "{words:?}");

    let made = record(&place, "barn.outframe");
    let request = &made.provenance.request;
    let kept: Vec<&str> = made.takes.iter().map(|take| request.prompt_of(take.id)).collect();
    assert_eq!(kept, words);
    assert_eq!((&request.extra["typed_prompt"], &request.extra["style"]), (&json!(typed), &json!("watercolour")));
    assert!(request.negative.contains("photograph"));

    // The second take alone, from what was kept.
    let second = made.takes[1].seed.to_string();
    run(&[
        "generate",
        kept[1],
        "--negative",
        &request.negative,
        "--steps",
        "2",
        "--size",
        "64x64",
        "--seed",
        &second,
        "--out",
        "second.png",
    ])
    .ok();
    run(&["take", "barn.outframe", "choose", &made.takes[1].id.to_string()]).ok();
    assert_eq!(decode(&place.export("barn.outframe", None)), decode(&fs::read(place.path("second.png")).unwrap()));

    // An extension takes the words of the take that is shown, and its takes have words of their own when given some.
    let told = run(&["extend", "barn.outframe", "--right", "32", "--steps", "2", "--json"]).ok().json();
    assert!(told["generations"].is_array());
    assert_eq!(record(&place, "barn.outframe").provenance.request.prompt, words[1]);
    run(&["extend", "barn.outframe", "--left", "32", "--steps", "2", "--takes", "2", "--prompt", "{hills,sea}"]).ok();
    let made = record(&place, "barn.outframe");
    let kept: Vec<&str> = made.takes.iter().map(|take| made.provenance.request.prompt_of(take.id)).collect();
    assert_eq!(kept, ["hills", "sea"]);

    run(&["generate", "__nothing__", "--out", "x.png"]).fails(1, &["nothing.txt"]);
    run(&["generate", "a {b", "--out", "x.png"]).fails(1, &["brace"]);
    run(&["generate", "a", "--style", "unicorn", "--out", "x.png"]).fails(1, &["unicorn", "watercolour"]);
}
