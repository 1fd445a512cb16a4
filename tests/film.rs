//! Journeys from a picture to a film: growing and varying it, directing a shot, painting what the shot lacks, writing the film.
//! Through the real programs, with the starter model; few steps, as the pictures need not be good.
#![allow(clippy::unwrap_used, reason = "also the helpers beside the tests fail the test when they cannot go on")]

use std::fs;

use image::{GrayImage, Luma, RgbaImage};
use outframe_document::{Project, Rect as CanvasRect};
use outframe_studio::{Pictures, shots};
use outframe_tests::{Place, decode, part};
use serde_json::{Value, json};

const PROJECT: &str = "p.outframe";
const STEPS: [&str; 4] = ["--steps", "3", "--prompt", "a lake"];

fn rect(x: i64, y: i64, width: u32, height: u32) -> Value {
    json!({ "x": x, "y": y, "width": width, "height": height })
}

/// A project with a picture that needs no engine.
fn place() -> Place {
    let place = Place::new();
    place.quick_project(PROJECT);
    place
}

fn paint(place: &Place, command: &str, more: &[&str]) -> Value {
    place.json(&[&[command, PROJECT], more, &STEPS[..]].concat())
}

fn is_opaque(picture: &RgbaImage) -> bool {
    picture.pixels().all(|pixel| pixel.0[3] == 255)
}

#[test]
fn zooming_out_and_reframing_keep_what_is_known_to_the_bit() {
    let place = place();
    let before = decode(&place.export(PROJECT, None));
    let told = paint(&place, "zoom-out", &["--factor", "1.5", "--seed", "3"]);
    assert_eq!((&told["frame_before"], &told["frame"]), (&rect(0, 0, 96, 64), &rect(-24, -16, 144, 96)));
    assert_eq!(told["painted"].as_array().unwrap().len(), 4);
    assert_eq!(told["generations"].as_array().unwrap().len(), 1, "all sides are one generation");
    let wide = decode(&place.export(PROJECT, None));
    assert!(part(&wide, 24, 16, 96, 64) == before, "known pixels changed");
    assert!(is_opaque(&wide));

    let told = paint(&place, "reframe", &["--aspect", "16:9", "--seed", "4", "--takes", "2"]);
    assert_eq!(told["frame"], rect(-37, -16, 171, 96), "16:9 to the nearest pixel, the odd one on the right");
    let first = decode(&place.export(PROJECT, None));
    assert!(part(&first, 13, 0, 144, 96) == wide, "known pixels changed");
    assert!(is_opaque(&first));
    place.run(&["reframe", PROJECT, "--aspect", "16:9"]).fails(1, &["has the shape 16:9 already"]);
    place.run(&["zoom-out", PROJECT, "--factor", "0.5"]).fails(1, &["more than 1, at most 4"]);

    // The other take switches both sides at once, and known pixels stay.
    let listed = place.json(&["take", PROJECT, "list"]);
    let takes = listed[0]["takes"].as_array().unwrap();
    assert_eq!((takes.len(), &takes[0]["chosen"], &takes[1]["seed"]), (2, &json!(true), &json!(5)), "{listed}");
    let other = takes[1]["take"].to_string();
    let listed = place.json(&["take", PROJECT, "choose", &other]);
    assert_eq!(listed[0]["takes"][1]["chosen"], true);
    let second = decode(&place.export(PROJECT, None));
    assert!(part(&second, 13, 0, 144, 96) == wide);
    for x in [0, 157] {
        assert!(part(&second, x, 0, 13, 96) != part(&first, x, 0, 13, 96), "the side at {x} did not switch");
    }
    place.run(&["take", PROJECT, "choose", "999"]).fails(1, &["no take 999"]);

    // Each command is one step back, and the frame goes back with it.
    let names: Vec<_> = (0..3).map(|_| place.json(&["undo", PROJECT])["step"].clone()).collect();
    assert_eq!(names, ["Choose take", "Reframe to 16:9", "Zoom out"]);
    assert!(decode(&place.export(PROJECT, None)) == before);
}

#[test]
fn a_varied_region_changes_and_nothing_beside_it() {
    let place = place();
    let before = decode(&place.export(PROJECT, None));
    let told = paint(&place, "vary", &["--rect", "30,10,40,30", "--strength", "0.8", "--takes", "2", "--seed", "7"]);
    assert_eq!((&told["frame"], &told["generations"].as_array().unwrap().len()), (&Value::Null, &1));
    let after = decode(&place.export(PROJECT, None));
    let (mut inside, mut kept) = (0, 0);
    for (x, y, pixel) in after.enumerate_pixels() {
        let same = pixel == before.get_pixel(x, y);
        if (30..70).contains(&x) && (10..40).contains(&y) {
            inside += u32::from(!same);
        } else {
            assert!(same, "the pixel at {x},{y} changed");
            kept += 1;
        }
    }
    assert_eq!(kept, 96 * 64 - 40 * 30);
    assert!(inside > 40 * 30 / 2, "only {inside} pixels of the region changed");
    let info = place.json(&["info", PROJECT]);
    let patches = info["layers"][0]["patches"].as_array().unwrap();
    assert_eq!((patches.len(), &patches[1]["takes"]), (2, &json!(2)), "{info}");
    place.json(&["undo", PROJECT]);
    assert!(decode(&place.export(PROJECT, None)) == before);

    // A round brush, as the picture of a mask.
    let mask = GrayImage::from_fn(96, 64, |x, y| {
        let (dx, dy) = (f64::from(x) - 48.0, f64::from(y) - 32.0);
        Luma([if dx.hypot(dy) < 20.0 { 255 } else { 0 }])
    });
    mask.save(place.path("mask.png")).unwrap();
    paint(&place, "vary", &["--mask", "mask.png", "--strength", "1", "--seed", "7"]);
    let round = decode(&place.export(PROJECT, None));
    for (x, y, pixel) in round.enumerate_pixels() {
        if mask.get_pixel(x, y).0[0] == 0 {
            assert_eq!(pixel, before.get_pixel(x, y), "at {x},{y}");
        }
    }
    assert!(part(&round, 40, 24, 16, 16) != part(&before, 40, 24, 16, 16));
    for wrong in [&["--strength", "0"][..], &["--takes", "9"], &["--rect", "5000,5000,10,10"]] {
        place.run(&[&["vary", PROJECT], wrong].concat()).fails(1, &[]);
    }
}

/// Whether the shot shows a pixel that no opaque picture covers, seen at the middle of each film pixel in each picture: reckoned
/// here on its own, from the flat picture and the camera.
fn unpainted(place: &Place) -> usize {
    let project = Project::open_read_only(place.path(PROJECT)).unwrap();
    let document = project.document();
    let bounds = document.bounds().unwrap();
    let flat = Pictures::new(&project).flatten(bounds).unwrap();
    let shot = shots::to_camera(document, &document.shots[0]).unwrap();
    let track = shot.track().unwrap();
    let mut holes = 0;
    for frame in 0..shot.frames {
        let homography = track.camera(f64::from(frame)).homography(1.0).unwrap();
        for y in 0..shot.height {
            for x in 0..shot.width {
                let point = outframe_camera::Point::new(f64::from(x) + 0.5, f64::from(y) + 0.5);
                let seen = homography.unproject(point).unwrap();
                let (u, v) = (seen.x.floor() as i64, seen.y.floor() as i64);
                let covered = CanvasRect::contains_point(&bounds, u, v)
                    && flat.get_pixel((u - bounds.x) as u32, (v - bounds.y) as u32).0[3] == 255;
                holes += usize::from(!covered);
            }
        }
    }
    holes
}

#[test]
fn from_a_shot_to_its_film() {
    let place = place();
    let before = decode(&place.export(PROJECT, None));
    let moves = ["--truck", "0.5", "--zoom", "0.8", "--seconds", "0.5", "--fps", "12", "--easing", "linear"];
    let told = place.json(&[&["shot", PROJECT, "add"], &moves[..]].concat());
    let shot = &told[0];
    assert_eq!((&shot["width"], &shot["height"], &shot["frames"]), (&json!(96), &json!(64), &json!(6)), "{told}");
    assert_eq!((&shot["moves"][0]["move"], &shot["moves"][0]["end"]), (&json!("truck"), &json!(0.5)));
    assert_eq!(shot["moves"][0]["dial"], 5.0);

    let lacks = place.json(&["cover", PROJECT, "Shot 1", "--dry-run"]);
    assert!(lacks["lack"]["right"].as_f64().unwrap() > 0.2, "{lacks}");
    assert!(lacks["fills"].as_u64().unwrap() >= 1 && lacks["says"].as_str().unwrap().contains("on the right"));
    assert!(unpainted(&place) > 0);
    let told = paint(&place, "cover", &["Shot 1", "--seed", "5"]);
    assert_eq!(told["frame"], Value::Null, "frames stay");
    let lacks = place.json(&["cover", PROJECT, "Shot 1", "--dry-run"]);
    assert_eq!((&lacks["says"], &lacks["missing"]), (&json!("lacks nothing"), &json!([])));
    assert_eq!(unpainted(&place), 0);
    assert!(decode(&place.export(PROJECT, None)) == before, "known pixels changed");
    assert!(place.run(&["cover", PROJECT, "Shot 1"]).ok().stdout.contains("lacks nothing"));
    let history = place.json(&["history", PROJECT]);
    assert_eq!(history.as_array().unwrap().last().unwrap()["name"], "Paint what is missing");

    // A longer way lacks only what is new; less than all of it anew.
    place.json(&["shot", PROJECT, "set", "Shot 1", "--truck", "0.7"]);
    let more = place.json(&["cover", PROJECT, "Shot 1", "--dry-run"]);
    let right = more["lack"]["right"].as_f64().unwrap();
    assert!(right > 0.0 && right < 0.2, "{more}");
    place.json(&["undo", PROJECT]);

    let film = place.json(&["film", PROJECT, "Shot 1", "--out", "pictures", "--adapter", "software"]);
    assert_eq!((&film["frames"], &film["format"]), (&json!(6), &json!("png-sequence")), "{film}");
    let frames = pictures(&place, "pictures");
    assert_eq!(frames.len(), 6);
    assert!(frames.windows(2).all(|pair| pair[0] != pair[1]), "the camera moves from picture to picture");
    assert!(frames[0] == before, "the first picture is the frame at rest");
    let film = place.json(&["film", PROJECT, "Shot 1", "--out", "film.mp4", "--adapter", "software"]);
    assert_eq!((&film["frames"], &film["format"]), (&json!(6), &json!("mp4-av1")), "{film}");
    let bytes = fs::read(place.path("film.mp4")).unwrap();
    assert_eq!((bytes.len() as u64, &bytes[4..8]), (film["bytes"].as_u64().unwrap(), b"ftyp".as_slice()));
    assert!(bytes.len() > 2000);
    place.run(&["film", PROJECT, "2", "--out", "x.mp4"]).fails(1, &["no shot “2”"]);
    place.run(&["film", PROJECT, "Shot 1", "--out", "x.mp4", "--format", "png-sequence"]).fails(1, &["does not fit"]);
}

fn pictures(place: &Place, folder: &str) -> Vec<RgbaImage> {
    let mut names: Vec<_> = fs::read_dir(place.path(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.iter().map(|path| decode(&fs::read(path).unwrap())).collect()
}

#[test]
fn a_shot_in_which_nothing_moves_is_the_picture_again_and_again() {
    let place = place();
    place.json(&["shot", PROJECT, "add", "--seconds", "0.25", "--name", "Still"]);
    let lacks = place.json(&["cover", PROJECT, "Still", "--dry-run"]);
    assert_eq!(lacks["says"], "lacks nothing");
    place.json(&["film", PROJECT, "Still", "--out", "still", "--adapter", "software"]);
    let frames = pictures(&place, "still");
    let picture = decode(&place.export(PROJECT, None));
    assert_eq!(frames.len(), 6);
    assert!(frames.iter().all(|frame| *frame == picture));
}

#[test]
fn shots_are_made_changed_and_read_from_other_programs() {
    let place = place();
    let add = ["--dial", "pan=-2.5", "--dial", "dolly=4", "--handheld", "0.5", "--shake-seed", "9", "--size", "64x36"];
    let told = place.json(&[&["shot", PROJECT, "add", "--motion-blur", "180,4"], &add[..]].concat());
    let moves = told[0]["moves"].as_array().unwrap();
    let amount = |kind: &str| {
        let found = moves.iter().find(|one| one["move"] == kind).unwrap();
        (found["end"].as_f64().unwrap(), found["dial"].as_f64().unwrap())
    };
    assert_eq!((amount("pan"), amount("dolly")), ((-11.25, -2.5), (0.2, 4.0)));
    assert_eq!((&told[0]["width"], moves.len()), (&json!(64), 3));

    let told =
        place.json(&["shot", PROJECT, "set", "Shot 1", "--clear", "--orbit", "5..10", "--seconds", "2", "--fps", "25"]);
    assert_eq!((&told[0]["frames"], told[0]["moves"].as_array().unwrap().len()), (&json!(50), 1));
    assert_eq!((&told[0]["moves"][0]["start"], &told[0]["moves"][0]["to"]), (&json!(5.0), &json!(49)));
    place.run(&["shot", PROJECT, "set", "Shot 1"]).fails(1, &["Say what to change"]);
    place.run(&["shot", PROJECT, "add", "--zoom", "0"]).fails(1, &["Change the shot"]);

    fs::write(place.path("deforum.json"), r#"{"max_frames": 9, "translation_x": "0:(4)", "animation_mode": "2D"}"#)
        .unwrap();
    fs::write(place.path("dials.json"), r#"{"horizontal": 5, "zoom": -2}"#).unwrap();
    fs::write(place.path("kling.json"), r#"{"type": "simple", "config": {"zoom": -5}}"#).unwrap();
    for (kind, file) in [("--deforum", "deforum.json"), ("--runway", "dials.json"), ("--kling", "kling.json")] {
        place.json(&["shot", PROJECT, "import", kind, file]);
    }
    let told = place.json(&["shot", PROJECT, "list"]);
    assert_eq!((&told[1]["frames"], told[1]["keyframes"].as_u64().unwrap() > 0), (&json!(9), true), "{told}");
    assert_eq!((&told[2]["moves"][0]["move"], &told[2]["moves"][0]["end"]), (&json!("truck"), &json!(0.5)));
    assert_eq!((&told[3]["moves"][0]["move"], &told[3]["moves"][0]["dial"]), (&json!("zoom"), &json!(5.0)));
    let third = told[3]["shot"].to_string();
    let told = place.json(&["shot", PROJECT, "remove", &third]);
    assert_eq!(told.as_array().unwrap().len(), 3);
    place.run(&["shot", PROJECT, "import", "--kling", "dials.json"]).fails(1, &["nothing that moves a camera"]);
}
