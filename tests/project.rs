//! Journeys of looking after a project: layers, history, milestones, examination, copies, and other programs' files.
#![allow(clippy::unwrap_used, reason = "also the helpers beside the tests fail the test when they cannot go on")]

use std::fs;

use outframe_tests::{Place, decode, gradient};
use serde_json::{Value, json};

const PROJECT: &str = "two.outframe";

/// Two layers without a model: a gradient below, a smaller one above.
fn two_layers(place: &Place) {
    gradient(96, 64).save(place.path("below.png")).unwrap();
    gradient(40, 30).save(place.path("above.png")).unwrap();
    place.run(&["import", PROJECT, "below.png"]).ok();
    place.run(&["import", PROJECT, "above.png", "--at", "10,12"]).ok();
}

fn names(layers: &Value) -> Vec<String> {
    layers.as_array().unwrap().iter().map(|layer| layer["name"].as_str().unwrap().to_owned()).collect()
}

fn number(layers: &Value, name: &str) -> String {
    let found = layers.as_array().unwrap().iter().find(|layer| layer["name"] == name).unwrap();
    found["layer"].to_string()
}

#[test]
fn layers_are_changed_and_every_change_is_undone() {
    let place = Place::new();
    two_layers(&place);
    let before = place.export(PROJECT, None);
    let layers = place.json(&["layer", PROJECT, "list"]);
    assert_eq!(names(&layers), ["above", "below"], "the topmost first");
    let above = number(&layers, "above");

    let told =
        place.json(&["layer", PROJECT, "set", &above, "--opacity", "0.5", "--blend", "multiply", "--name", "Fog"]);
    assert_eq!(
        (&told[0]["name"], &told[0]["opacity"], &told[0]["blend"]),
        (&json!("Fog"), &json!(0.5), &json!("multiply"))
    );
    assert_ne!(place.export(PROJECT, None), before);
    place.run(&["layer", PROJECT, "move", &above, "--to", "0"]).ok();
    assert_eq!(names(&place.json(&["layer", PROJECT, "list"])), ["below", "Fog"]);
    place.run(&["layer", PROJECT, "remove", &above]).ok();
    place.run(&["layer", PROJECT, "add", "Empty"]).ok();
    assert_eq!(names(&place.json(&["layer", PROJECT, "list"])), ["Empty", "below"]);
    for _ in 0..4 {
        place.run(&["undo", PROJECT]).ok();
    }
    assert_eq!(place.json(&["layer", PROJECT, "list"]), layers);
    assert_eq!(place.export(PROJECT, None), before);

    place.run(&["layer", PROJECT, "set", "999", "--opacity", "1"]).fails(1, &["999"]);
    place.run(&["layer", PROJECT, "set", &above, "--opacity", "NaN"]).fails(1, &["opacity"]);
    place.run(&["layer", PROJECT, "set", &above]).fails(1, &["--opacity"]);
    assert_eq!(place.json(&["layer", PROJECT, "list"]), layers);
}

#[test]
fn a_left_branch_and_a_milestone_are_found_again() {
    let place = Place::new();
    two_layers(&place);
    let here = place.export(PROJECT, None);
    place.run(&["milestone", PROJECT, "set", "both"]).ok();
    // Undo, then do something else: the old branch is left, not lost.
    place.run(&["undo", PROJECT]).ok();
    place.run(&["layer", PROJECT, "add", "Other"]).ok();
    let other = place.export(PROJECT, None);
    let history = place.json(&["history", PROJECT]);
    let left = history.as_array().unwrap().iter().find(|step| step["milestones"] == json!(["both"])).unwrap();
    assert_eq!(left["applied"], false, "{history}");

    place.run(&["milestone", PROJECT, "go-to", "both"]).ok();
    assert_eq!(place.export(PROJECT, None), here);
    let current = history.as_array().unwrap().iter().find(|step| step["current"] == true).unwrap();
    place.run(&["history", PROJECT, "--go-to", &current["step"].to_string()]).ok();
    assert_eq!(place.export(PROJECT, None), other);

    place.run(&["milestone", PROJECT, "rename", "both", "pair"]).ok();
    assert_eq!(place.json(&["milestone", PROJECT, "list"])[0]["name"], "pair");
    place.run(&["milestone", PROJECT, "go-to", "both"]).fails(1, &["both"]);
    place.run(&["milestone", PROJECT, "remove", "pair"]).ok();

    // What is forgotten is told first, and then gone; the picture stays.
    let would = place.json(&["history", PROJECT, "--forget", "others", "--dry-run"]);
    assert_eq!((&would["done"], &would["steps"], &would["pictures"]), (&json!(false), &json!(1), &json!(1)), "{would}");
    let size = |place: &Place| fs::metadata(place.path(PROJECT)).unwrap().len();
    let did = place.json(&["history", PROJECT, "--forget", "others"]);
    assert_eq!((&did["done"], &did["bytes"]), (&json!(true), &would["bytes"]));
    let large = size(&place);
    place.run(&["compact", PROJECT]).ok();
    assert!(size(&place) <= large);
    assert_eq!(place.export(PROJECT, None), other);
    assert_eq!(place.json(&["doctor", PROJECT])["clean"], true);
}

#[test]
fn a_copy_is_whole_and_a_damaged_file_is_mended() {
    let place = Place::new();
    two_layers(&place);
    let picture = place.export(PROJECT, None);
    place.run(&["copy", PROJECT, "copy.outframe"]).ok();
    assert_eq!(place.export("copy.outframe", None), picture);
    place.run(&["copy", PROJECT, "copy.outframe"]).fails(1, &["copy.outframe", "exists"]);

    // A page in the middle of the file is overwritten, as by a failing disk.
    let mut bytes = fs::read(place.path(PROJECT)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3000].fill(0xA5);
    fs::write(place.path("broken.outframe"), &bytes).unwrap();
    let told = place.run(&["doctor", "broken.outframe"]).fails(1, &["--repair"]);
    assert!(told.stdout.contains("damaged"), "{}", told.stdout);
    assert_eq!(fs::read(place.path("broken.outframe")).unwrap(), bytes, "only looked at");
    place.run(&["doctor", "broken.outframe", "--repair", "mended.outframe"]).ok();
    assert_eq!(fs::read(place.path("broken.outframe")).unwrap(), bytes, "the damaged file is kept as it is");
    assert_eq!(place.json(&["doctor", "mended.outframe"])["clean"], true);
    place.run(&["info", "mended.outframe"]).ok();
}

#[test]
fn layers_travel_by_openraster() {
    let place = Place::new();
    two_layers(&place);
    let layers = place.json(&["layer", PROJECT, "list"]);
    place.run(&["layer", PROJECT, "set", &number(&layers, "above"), "--blend", "screen", "--opacity", "0.25"]).ok();
    place.run(&["layer", PROJECT, "set", &number(&layers, "below"), "--name", "Grund & Boden"]).ok();
    let picture = place.export(PROJECT, None);
    place.run(&["export", PROJECT, "--out", "two.ora"]).ok();
    let told = place.json(&["import", "back.outframe", "two.ora"]);
    assert_eq!(told[0]["layers"], json!(["above", "Grund & Boden"]));
    assert_eq!(decode(&place.export("back.outframe", None)), decode(&picture), "pixels, modes, opacity, offsets");
    let back = place.json(&["layer", "back.outframe", "list"]);
    assert_eq!((&back[0]["blend"], &back[0]["opacity"]), (&json!("screen"), &json!(0.25)));
    place.run(&["undo", "back.outframe"]).ok();
    assert_eq!(names(&place.json(&["layer", "back.outframe", "list"])), Vec::<String>::new(), "one step");
}

#[test]
fn a_picture_says_how_it_was_made_unless_told_not_to() {
    let place = Place::new();
    let quick = ["--size", "64x64", "--steps", "2"];
    place.run(&[&["generate", "a quiet lake", "--seed", "5", "--project", "lake.outframe"], &quick[..]].concat()).ok();
    for name in ["lake.png", "lake.jpg", "lake.webp"] {
        place.run(&["export", "lake.outframe", "--out", name]).ok();
        let bytes = fs::read(place.path(name)).unwrap();
        let has = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(has("trainedAlgorithmicMedia"), "{name} says in IPTC's terms that a model made it");
        // What was written is found again on import, by us as by other programs.
        let told = place.json(&["import", &format!("{name}.outframe"), name]);
        assert_eq!((&told[0]["prompt"], &told[0]["seed"]), (&json!("a quiet lake"), &json!(5)), "{name}: {told}");
    }
    place.run(&["export", "lake.outframe", "--out", "bare.png", "--strip-metadata"]).ok();
    let bare = fs::read(place.path("bare.png")).unwrap();
    assert!(!bare.windows(5).any(|part| part == b"quiet"));
    assert_eq!(decode(&bare), decode(&fs::read(place.path("lake.png")).unwrap()), "the same pixels");

    // With a photograph in it, it is a composite.
    gradient(32, 32).save(place.path("photo.png")).unwrap();
    place.run(&["import", "lake.outframe", "photo.png"]).ok();
    place.run(&["export", "lake.outframe", "--out", "both.png"]).ok();
    let both = fs::read(place.path("both.png")).unwrap();
    let composite = b"compositeWithTrainedAlgorithmicMedia";
    assert!(both.windows(composite.len()).any(|part| part == composite));
    place.run(&["export", "lake.outframe", "--out", "both.xyz"]).fails(1, &[".png", ".ora"]);
}

#[test]
fn several_pictures_come_as_one_layer_or_as_many() {
    let place = Place::new();
    two_layers(&place);
    let told = place.json(&["import", "one.outframe", "below.png", "above.png"]);
    assert_eq!(told.as_array().unwrap().len(), 2);
    assert_eq!(names(&place.json(&["layer", "one.outframe", "list"])), ["below"]);
    place.run(&["import", "many.outframe", "below.png", "above.png", "--each-as-layer"]).ok();
    assert_eq!(names(&place.json(&["layer", "many.outframe", "list"])), ["above", "below"]);
    assert_eq!(decode(&place.export("one.outframe", None)), decode(&place.export("many.outframe", None)));
}
