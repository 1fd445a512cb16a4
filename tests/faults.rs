//! Faults: each gets a clear error that names its cause, and loses nothing.
#![allow(clippy::unwrap_used, reason = "also the helpers beside the tests fail the test when they cannot go on")]

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use outframe_tests::{Outcome, Place, decode, gradient, models, part};
use serde_json::Value;

const PROJECT: &str = "p.outframe";
const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
const TEXT: &str = "text_encoder/model.safetensors";

/// A small extension that takes a second when nothing is wrong.
const EXTEND: [&str; 8] = ["extend", PROJECT, "--right", "32", "--prompt", "a lake", "--steps", "2"];

fn with_project() -> Place {
    let place = Place::new();
    place.quick_project(PROJECT);
    place
}

/// Runs what must fail with exit code 1 and these words, and checks that the project and its folder are as before.
fn refused(place: &Place, arguments: &[&str], words: &[&str]) -> Outcome {
    refused_by(place, place.outframe(arguments), words)
}

fn refused_by(place: &Place, command: Command, words: &[&str]) -> Outcome {
    let before = place.snapshot(PROJECT);
    let outcome = place.start(command).wait().fails(1, words);
    assert!(place.snapshot(PROJECT) == before, "the project or its folder changed: {outcome:#?}");
    outcome
}

fn still_works(place: &Place) {
    place.run(&EXTEND).ok();
    let grown = decode(&place.export(PROJECT, None));
    assert!(part(&grown, 0, 0, 96, 64) == gradient(96, 64));
}

/// A copy of the starter model, kept aside, in which one file is as `damage` leaves it; the others are links.
fn damaged_model(place: &Place, file: &str, damage: impl FnOnce(&Path)) -> String {
    fn link(from: &Path, to: &Path, file: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().flatten() {
            let (from, to) = (entry.path(), to.join(entry.file_name()));
            if from.is_dir() {
                link(&from, &to, file);
            } else if to.ends_with(file) {
                fs::copy(&from, &to).unwrap();
            } else {
                std::os::unix::fs::symlink(&from, &to).unwrap();
            }
        }
    }
    let model = place.aside("damaged");
    link(&models().join("starter"), &model, Path::new(file));
    damage(&model.join(file));
    model.to_str().unwrap().to_owned()
}

/// Neither extending nor generating works with the model; the list of models says why, and names the others.
fn model_refused(place: &Place, model: &str, words: &[&str]) {
    refused(place, &[&EXTEND[..], &["--model", model]].concat(), words);
    let generate =
        ["generate", "a lake", "--steps", "2", "--model", model, "--out", "x.png", "--project", "new.outframe"];
    refused(place, &generate, words);
}

#[test]
fn a_truncated_weights_file() {
    for file in [UNET, VAE, TEXT] {
        let place = with_project();
        let model = damaged_model(&place, file, |path| {
            let weights = fs::OpenOptions::new().write(true).open(path).unwrap();
            weights.set_len(weights.metadata().unwrap().len() / 2).unwrap();
        });
        model_refused(&place, &model, &[file, "incomplete"]);
    }
}

#[test]
fn a_weights_file_cut_within_its_header() {
    let place = with_project();
    let model =
        damaged_model(&place, VAE, |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(99).unwrap());
    model_refused(&place, &model, &[VAE, "not a usable weights file"]);
    fs::write(Path::new(&model).join(VAE), b"").unwrap();
    model_refused(&place, &model, &[VAE, "0 bytes"]);
}

#[test]
fn a_tensor_of_a_wrong_shape() {
    let place = with_project();
    let model = damaged_model(&place, UNET, |path| {
        let mut bytes = Vec::new();
        fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        header["conv_in.weight"]["shape"].as_array_mut().unwrap().swap(0, 1);
        let header = header.to_string();
        let mut file = fs::File::create(path).unwrap();
        file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
        file.write_all(header.as_bytes()).unwrap();
        file.write_all(&bytes[8 + length..]).unwrap();
    });
    model_refused(&place, &model, &[UNET, "conv_in.weight", "has shape [9, ", "implies ["]);
}

#[test]
fn a_text_that_is_named_like_weights() {
    let place = with_project();
    let text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 31863896\n";
    let model = damaged_model(&place, UNET, |path| fs::write(path, text).unwrap());
    model_refused(&place, &model, &[UNET, "not a usable weights file"]);
}

#[test]
fn weights_or_configuration_that_are_missing_or_broken() {
    for (file, words) in [
        (UNET, &["unet", "there is no diffusion_pytorch_model.safetensors"][..]),
        (TEXT, &["text_encoder", "there is no model.safetensors"]),
        ("unet/config.json", &["unet/config.json"]),
        ("tokenizer/tokenizer.json", &["tokenizer"]),
    ] {
        let place = with_project();
        let model = damaged_model(&place, file, |path| fs::remove_file(path).unwrap());
        model_refused(&place, &model, words);
    }
    let place = with_project();
    let model = damaged_model(&place, "vae/config.json", |path| fs::write(path, "{ \"act_fn\":").unwrap());
    model_refused(&place, &model, &["vae/config.json"]);
}

#[test]
fn a_damaged_model_in_the_list() {
    let place = Place::new();
    damaged_model(&place, "unet/config.json", |path| fs::write(path, "[]").unwrap());
    let mut command = place.outframe(&["models", "list", "--json"]);
    command.env("OUTFRAME_MODELS", place.aside(""));
    let list = place.start(command).wait().ok().json();
    let damaged = list.as_array().unwrap().iter().find(|model| model["name"] == "damaged").expect("it is listed");
    assert!(damaged["problem"].as_str().unwrap().contains("unet/config.json"), "{damaged}");
}

#[test]
fn a_model_that_is_not_there() {
    let place = with_project();
    model_refused(&place, "unicorn", &["unicorn", "Installed: starter"]);
    let folder = place.aside("empty");
    fs::create_dir(&folder).unwrap();
    model_refused(&place, folder.to_str().unwrap(), &["empty"]);
}

#[test]
fn numbers_out_of_range() {
    let place = with_project();
    let generate = ["generate", "a lake", "--out", "x.png", "--project", "new.outframe"];
    for (option, words) in [
        (["--size", "0x256"], &["0x256", "16 to 4096"][..]),
        (["--size", "256x0"], &["256x0"]),
        (["--size", "100000x100000"], &["100000x100000", "16 to 4096"]),
        (["--steps", "0"], &["0 steps", "1 to 999"]),
        (["--steps", "1001"], &["1001 steps"]),
        (["--guidance", "NaN"], &["NaN", "0 to 100"]),
        (["--guidance", "inf"], &["inf", "0 to 100"]),
        (["--guidance=-1", "--quiet"], &["-1", "0 to 100"]),
        (["--count", "0"], &["0 takes", "1 to 64"]),
        (["--device", "toaster"], &["toaster", "cpu"]),
        (["--precision", "f7"], &["f7", "f16"]),
    ] {
        refused(&place, &[&generate[..], &option].concat(), words);
    }
    place.run(&[&generate[..], &["--sampler", "magic"]].concat()).fails(2, &["magic", "ddim"]);
    for (option, words) in [
        (["--strength", "2"], &["Strength 2", "0 to 1"][..]),
        (["--strength", "NaN"], &["Strength NaN", "0 to 1"]),
        (["--steps", "0"], &["0 steps"]),
        (["--guidance", "NaN"], &["NaN"]),
        (["--left", "100000"], &["100000 pixels", "8192"]),
    ] {
        refused(&place, &[&["extend", PROJECT, "--right", "32"], &option[..]].concat(), words);
    }
    refused(&place, &["extend", PROJECT], &["on which side"]);
    refused(&place, &["extend", PROJECT, "--left", "0"], &["on which side"]);
    refused(&place, &["export", PROJECT, "--out", "x.png", "--rect", "0,0,100000,1"], &["100000x1"]);
    still_works(&place);
}

#[test]
fn words_that_the_model_does_not_know_are_told_and_the_rest_is_painted() {
    let place = Place::new();
    let prompt = "a lake 🦄 under 𓀀";
    let told = place.run(&["generate", prompt, "--steps", "2", "--size", "64x64", "--project", PROJECT]).ok();
    for word in ["does not know", "“🦄”", "“𓀀”"] {
        assert!(told.stderr.contains(word), "{told:?}");
    }
    assert!(!told.stderr.contains("lake"), "what it knows is not complained about: {told:?}");
    assert_eq!(place.json(&["info", PROJECT])["layers"][0]["patches"][0]["prompt"], prompt);
}

#[test]
fn what_is_cut_from_a_long_prompt_is_told() {
    let place = Place::new();
    let prompt = format!("a lake {}and at last a zeppelin", "with a red boat ".repeat(150));
    let told = place.run(&["generate", &prompt, "--steps", "2", "--size", "64x64", "--out", "x.png"]).ok();
    assert!(told.stderr.contains("longer than 480 tokens") && told.stderr.contains("left out"), "{told:?}");
    let place = with_project();
    refused(&place, &["generate", &"lake ".repeat(5000), "--out", "x.png"], &["prompt", "16384"]);
}

#[test]
fn a_file_that_is_no_project() {
    let place = with_project();
    let foreign = [
        ("text.outframe", b"Dear diary".to_vec()),
        ("empty.outframe", Vec::new()),
        ("picture.outframe", {
            let mut png = std::io::Cursor::new(Vec::new());
            gradient(8, 8).write_to(&mut png, image::ImageFormat::Png).unwrap();
            png.into_inner()
        }),
    ];
    for (name, bytes) in &foreign {
        fs::write(place.path(name), bytes).unwrap();
    }
    fs::create_dir(place.path("folder.outframe")).unwrap();
    for name in foreign.iter().map(|(name, _)| *name).chain(["folder.outframe"]) {
        let words = [name, "is not an Outframe project"];
        refused(&place, &["info", name], &words);
        refused(&place, &["extend", name, "--right", "32"], &words);
        refused(&place, &["export", name, "--out", "x.png"], &words);
        refused(&place, &["undo", name], &words);
        refused(&place, &["import", name, place.aside("quick.png").to_str().unwrap()], &words);
        refused(&place, &["generate", "a lake", "--project", name], &words);
    }
    for (name, bytes) in &foreign {
        assert_eq!(&fs::read(place.path(name)).unwrap(), bytes, "{name} was touched");
    }
}

#[test]
fn a_project_that_is_not_there_or_empty() {
    let place = with_project();
    for command in [&["info", "gone.outframe"][..], &["undo", "gone.outframe"], &["redo", "gone.outframe"]] {
        refused(&place, command, &["gone.outframe does not exist"]);
    }
    refused(&place, &["extend", "gone.outframe", "--up", "32"], &["gone.outframe does not exist"]);
    refused(&place, &["export", "gone.outframe", "--out", "x.png"], &["gone.outframe does not exist"]);
    // Said before the work: so many steps would take minutes.
    let long = ["generate", "a lake", "--steps", "999", "--size", "1024x1024"];
    refused(&place, &[&long[..], &["--project", "no/such/new.outframe"]].concat(), &["no/such/new.outframe"]);
    refused(&place, &[&long[..], &["--out", "no/such/x.png"]].concat(), &["no/such/x.png"]);
    refused(&place, &["export", PROJECT, "--out", "no/such/x.png"], &["no/such/x.png"]);
    // Everything taken back: there is nothing to extend or to export, and that is said.
    place.run(&["undo", PROJECT]).ok();
    refused(&place, &EXTEND, &["holds no picture yet"]);
    refused(&place, &["export", PROJECT, "--out", "x.png"], &["holds no picture yet"]);
}

/// CRC-32 as PNG asks for it (ISO 3309).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    })
}

/// A PNG whose header promises this size, and that ends soon after.
fn promising_png(width: u32, height: u32) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (name, data) in [
        (b"IHDR", [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat()),
        (b"IDAT", vec![0x78, 1]),
    ] {
        let chunk = [&name[..], &data].concat();
        png.extend((data.len() as u32).to_be_bytes());
        png.extend(&chunk);
        png.extend(crc(&chunk).to_be_bytes());
    }
    png
}

#[test]
fn pictures_that_cannot_be_read() {
    let place = with_project();
    let write = |name: &str, bytes: &[u8]| {
        let path: PathBuf = place.aside(name);
        fs::write(&path, bytes).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = fs::read(place.aside("quick.png")).unwrap();
    let cut = write("cut.png", &good[..good.len() / 2]);
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 0xff;
    let flipped = write("flipped.png", &flipped);
    let broken = [
        cut.clone(),
        flipped,
        write("wide.png", &promising_png(2_000_000_000, 1)),
        write("huge.png", &promising_png(32_000, 32_000)),
        write("nothing.png", &promising_png(0, 7)),
        write("text.jpg", b"not a picture"),
        write("empty.webp", b""),
        place.aside("absent.png").to_str().unwrap().to_owned(),
        place.aside("").to_str().unwrap().to_owned(),
    ];
    for picture in &broken {
        refused(&place, &["import", PROJECT, picture], &[picture]);
        // A new project is not made for a picture that cannot be read.
        refused(&place, &["import", "new.outframe", picture], &[picture]);
    }
    // All or none.
    let quick = place.aside("quick.png").to_str().unwrap().to_owned();
    refused(&place, &["import", PROJECT, &quick, &cut, &quick], &["cut.png"]);
    refused(&place, &["import", "new.outframe", &quick, &cut], &["cut.png"]);
    let told = place.json(&["import", PROJECT, &quick, &quick]);
    assert_eq!(told.as_array().unwrap().len(), 2);
}

#[test]
fn an_engine_that_is_missing_or_something_else() {
    let place = with_project();
    let with = |engine: &str| {
        let mut command = place.outframe(&EXTEND);
        command.env("OUTFRAME_ENGINE", engine);
        command
    };
    refused_by(&place, with("/nonexistent/engine"), &["/nonexistent/engine", "was not found", "OUTFRAME_ENGINE"]);
    // Programs that end at once, that answer nonsense, that fail, and what is no program at all.
    let script = place.aside("script");
    fs::write(&script, "#!/bin/sh\necho 'a strange program: bad luck' >&2\nexit 7\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let outcome = refused_by(&place, with(script.to_str().unwrap()), &["The engine could not be started", "code 7"]);
    assert!(outcome.stderr.contains("bad luck"), "what it said is told: {outcome:?}");
    // One that Ctrl-C reached before it was up: nobody's fault.
    let interrupted = place.aside("interrupted");
    fs::write(&interrupted, "#!/bin/sh\nkill -INT $$\n").unwrap();
    fs::set_permissions(&interrupted, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let before = place.snapshot(PROJECT);
    place.start(with(interrupted.to_str().unwrap())).wait().fails(130, &["Cancelled. Nothing was changed."]);
    assert_eq!(place.snapshot(PROJECT), before);
    for engine in ["/bin/true", "/bin/cat", "/bin/ls"] {
        refused_by(&place, with(engine), &["The engine could not be started", engine]);
    }
    let text = place.aside("text");
    fs::write(&text, "no program").unwrap();
    refused_by(&place, with(text.to_str().unwrap()), &["does not run", text.to_str().unwrap()]);
    still_works(&place);
}

#[test]
fn a_picture_is_not_written_over_a_folder() {
    let place = with_project();
    fs::create_dir(place.path("folder.png")).unwrap();
    refused(&place, &["generate", "a lake", "--out", "folder.png"], &["folder.png is a folder"]);
    refused(&place, &["export", PROJECT, "--out", "folder.png"], &["folder.png"]);
}

/// On file systems of the tests' own: nobody, not even root, can write to one that is read-only or full.
#[cfg(target_os = "linux")]
mod disks {
    use std::collections::BTreeSet;

    use outframe_tests::linux::Disk;

    use super::*;

    const ON_DISK: &str = "disk/p.outframe";

    /// A project on a small disk; nothing where this system does not let tests mount one, and then says so.
    fn small_disk() -> Option<(Place, Disk)> {
        let place = Place::new();
        match Disk::mount(&place.path("disk"), "600k") {
            Ok(disk) => {
                gradient(96, 64).save(place.aside("quick.png")).unwrap();
                let picture = place.aside("quick.png");
                run(&place, &disk, &["import", ON_DISK, picture.to_str().unwrap()]).ok();
                Some((place, disk))
            }
            Err(why) => {
                println!("skipped: {why}");
                None
            }
        }
    }

    fn run(place: &Place, disk: &Disk, arguments: &[&str]) -> Outcome {
        place.start(disk.command(&place.outframe(arguments))).wait()
    }

    fn export(place: &Place, disk: &Disk) -> Vec<u8> {
        let out = place.aside("look.png");
        run(place, disk, &["export", ON_DISK, "--out", out.to_str().unwrap()]).ok();
        fs::read(out).unwrap()
    }

    fn info(place: &Place, disk: &Disk) -> Value {
        run(place, disk, &["info", ON_DISK, "--json"]).ok().json()
    }

    fn names(files: &[&str]) -> BTreeSet<String> {
        files.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Everything that writes there; pictures are generated as `how` says.
    fn commands(place: &Place, how: &str) -> Vec<Vec<String>> {
        let picture = place.aside("quick.png").to_str().unwrap().to_owned();
        let generate = format!("generate lake {how}");
        [
            "extend disk/p.outframe --right 64 --prompt lake --steps 2".to_owned(),
            format!("import disk/p.outframe {picture}"),
            format!("{generate} --project disk/p.outframe"),
            format!("{generate} --project disk/new.outframe"),
            format!("import disk/new.outframe {picture}"),
            format!("{generate} --out disk/new.png"),
            "export disk/p.outframe --out disk/new.png".to_owned(),
        ]
        .iter()
        .map(|line| line.split(' ').map(str::to_owned).collect())
        .collect()
    }

    #[test]
    fn a_read_only_folder() {
        let Some((place, disk)) = small_disk() else { return };
        let before = (export(&place, &disk), info(&place, &disk));
        disk.make_read_only();
        // Said before the work: this picture would take hours.
        for command in commands(&place, "--steps 999 --size 2048x2048") {
            let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            let outcome = run(&place, &disk, &arguments).fails(1, &["disk/"]);
            let lower = outcome.stderr.to_lowercase();
            assert!(lower.contains("read-only") || lower.contains("write-protected"), "{outcome:#?}");
            assert_eq!(disk.files(), names(&["p.outframe"]));
        }
        run(&place, &disk, &["undo", ON_DISK]).fails(1, &["disk/p.outframe"]);
        // Looking at it and exporting it elsewhere works.
        assert!((export(&place, &disk), info(&place, &disk)) == before);
    }

    #[test]
    fn a_full_disk() {
        let Some((place, disk)) = small_disk() else { return };
        let before = (export(&place, &disk), info(&place, &disk));
        for command in commands(&place, "--steps 2 --size 256x256") {
            disk.fill();
            let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
            let outcome = run(&place, &disk, &arguments).fails(1, &[]);
            let lower = outcome.stderr.to_lowercase();
            assert!(lower.contains("disk is full") || lower.contains("no space left"), "{outcome:#?}");
            assert_eq!(disk.files(), names(&["ballast", "p.outframe"]), "strays: {outcome:#?}");
            assert!((export(&place, &disk), info(&place, &disk)) == before, "{outcome:#?}");
            disk.free();
        }
        run(&place, &disk, &["extend", ON_DISK, "--right", "16", "--prompt", "lake", "--steps", "2"]).ok();
        assert_eq!(disk.files(), names(&["p.outframe"]));
    }

    #[test]
    fn takes_reach_the_project_when_only_the_picture_file_has_no_room() {
        let Some((place, disk)) = small_disk() else { return };
        disk.fill();
        let quick = ["generate", "lake", "--steps", "2", "--size", "128x128"];
        let both = ["--out", "disk/x.png", "--project", "kept.outframe"];
        run(&place, &disk, &[&quick[..], &both].concat()).fails(1, &["disk/x.png", "No space left"]);
        assert_eq!(decode(&place.export("kept.outframe", None)).dimensions(), (128, 128));
        assert_eq!(disk.files(), names(&["ballast", "p.outframe"]));
    }

    #[test]
    fn a_disk_that_fills_up_on_the_way() {
        // Room to open and to begin, not for the picture.
        let Some((place, disk)) = small_disk() else { return };
        let before = (export(&place, &disk), info(&place, &disk));
        let noise = image::RgbaImage::from_fn(512, 512, |x, y| {
            let mixed = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(40_503)).wrapping_mul(2_246_822_519);
            image::Rgba(mixed.rotate_left(x % 31).to_le_bytes())
        });
        let picture = place.aside("noise.png");
        noise.save(&picture).unwrap();
        assert!(fs::metadata(&picture).unwrap().len() > 700_000, "too large for the disk");
        for project in [ON_DISK, "disk/new.outframe"] {
            run(&place, &disk, &["import", project, picture.to_str().unwrap()]).fails(1, &["disk is full"]);
            assert_eq!(disk.files(), names(&["p.outframe"]));
            assert!((export(&place, &disk), info(&place, &disk)) == before);
        }
        let generate = ["generate", "lake", "--steps", "1", "--size", "640x640", "--project", "disk/new.outframe"];
        run(&place, &disk, &generate).fails(1, &["disk is full"]);
        assert_eq!(disk.files(), names(&["p.outframe"]));
        let large = place.path("large.outframe");
        run(&place, &disk, &["import", "large.outframe", picture.to_str().unwrap()]).ok();
        let export_there = ["export", large.to_str().unwrap(), "--out", "disk/large.png"];
        run(&place, &disk, &export_there).fails(1, &["disk/large.png", "No space left"]);
        assert_eq!(disk.files(), names(&["p.outframe"]));
    }
}
