//! The window, driven as a person does: the real program on a virtual display, its real worker and the starter model.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "also the helpers beside the tests fail the test when they cannot go on")]

use std::{collections::BTreeMap, fs, path::Path};

use fantoccini::key::Key;
use outframe_tests::{
    Hub, Place, control_network,
    desktop::{self, Desktop, DropTarget, RETURN},
    gradient, linux, models, program,
    window::{self, DISPLAY, Window},
};
use serde_json::{Value, json};

/// The parameters that another program leaves in its pictures.
const FOREIGN: &str =
    "a red barn in a field\nNegative prompt: blurry\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Size: 64x64";

fn start(place: &Place, home: &Path, arguments: &[&str]) -> Window {
    Window::start(place, home, arguments)
}

/// The hash of every tile of the picture, as the stage gets them.
fn tiles(window: &Window) -> BTreeMap<String, String> {
    let script = r"
        const done = arguments[0];
        (async () => {
            const project = await window.__TAURI_INTERNALS__.invoke('current_project');
            const found = {};
            const { x, y, width, height } = project.bounds ?? { x: 0, y: 0, width: 0, height: 0 };
            for (let row = Math.floor(y / 512); row * 512 < y + height; row++)
                for (let column = Math.floor(x / 512); column * 512 < x + width; column++) {
                    const address = `stage://localhost/${project.key}/${project.revision}/tile/0/${column}/${row}`;
                    const bytes = await (await fetch(address)).arrayBuffer();
                    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
                    found[`${column},${row}`] = Array.from(hash, byte => byte.toString(16).padStart(2, '0')).join('');
                }
            return found;
        })().then(done, error => done({ error: String(error) }))";
    let found = window.script_async(script, vec![]);
    assert!(found["error"].is_null(), "{found}");
    found.as_object().unwrap().iter().map(|(tile, hash)| (tile.clone(), hash.as_str().unwrap().to_owned())).collect()
}

fn project(window: &Window) -> Value {
    window.ask("current_project", json!({}))
}

/// Waits until every job is over and returns the last one.
fn jobs_done(window: &Window) -> Value {
    window.wait("the jobs end", |window| {
        let jobs = window.ask("jobs", json!({}));
        let jobs = jobs.as_array()?;
        let over = |job: &Value| !["queued", "running"].contains(&job["state"].as_str().unwrap_or_default());
        (!jobs.is_empty() && jobs.iter().all(over)).then(|| jobs.last().cloned())?
    })
}

fn done(window: &Window) -> Value {
    let job = jobs_done(window);
    assert_eq!(job["state"], "done", "{job}");
    job
}

fn id(name: &str) -> String {
    format!("[data-testid=\"{name}\"]")
}

/// A point of the canvas in the page's pixels.
fn on_page(window: &Window, x: f64, y: f64) -> (f64, f64) {
    let outline = window.script(
        "const box = document.querySelector('svg .frame').getBoundingClientRect(); \
         return [box.x, box.y, box.width, box.height]",
        vec![],
    );
    let number = |index: usize| outline[index].as_f64().unwrap();
    let frame = project(window)["frames"][0]["rect"].clone();
    let side = |name: &str| frame[name].as_f64().unwrap();
    (number(0) + (x - side("x")) / side("width") * number(2), number(1) + (y - side("y")) / side("height") * number(3))
}

fn export_film(window: &Window, shot: &str, path: &Path, format: &str) -> BTreeMap<String, Vec<u8>> {
    window.ask("clear_jobs", json!({}));
    window.ask("export_film", json!({ "input": { "shot": shot, "path": path, "format": format, "quality": 80 } }));
    done(window);
    if path.is_file() {
        return [(String::new(), fs::read(path).unwrap())].into();
    }
    let files = fs::read_dir(path).unwrap().map(Result::unwrap);
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

#[test]
#[allow(clippy::too_many_lines, reason = "one journey, told from its beginning to its end")]
fn from_a_prompt_to_a_film_and_back_again() {
    let place = Place::new();
    let home = place.aside("home");
    fs::create_dir_all(&home).unwrap();
    let file = place.path("coast.outframe");
    let window = start(&place, &home, &[]);

    // The page asks for nothing that its content security policy refuses.
    window.script(
        "window.refused = []; document.addEventListener('securitypolicyviolation', \
         event => window.refused.push(event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sample))",
        vec![],
    );

    // The start page offers a beginning; the project gets its own name at once, so that the second start can open it.
    window.wait_for(&id("start"));
    window.click(&id("new"));
    window.wait_for(&id("stage"));
    window.ask("save_project_as", json!({ "path": file }));

    // A prompt, two takes, the second is chosen.
    window.fill(&id("prompt"), "sunset over a calm sea, orange and pink sky");
    window.fill(&id("takes"), "2");
    window.click(&id("settings"));
    window.fill(&id("seed"), "4");
    window.click(&id("generate"));
    window.wait("two takes", |window| (window.count(&id("take")) == 2).then_some(()));
    done(&window);
    let first = tiles(&window);
    let takes = project(&window)["generations"][0]["takes"].as_array().unwrap().clone();
    assert_eq!(takes[0]["seed"], "4");
    window.click(&format!("{}:nth-of-type(2), li:nth-of-type(2) > {}", id("take"), id("take")));
    window.wait("the second take is chosen", |window| {
        (project(window)["generations"][0]["chosen"] == takes[1]["id"]).then_some(())
    });
    let second = tiles(&window);
    assert_ne!(first, second, "another take is another picture");
    window.click(&id("undo"));
    window.wait("undone", |window| (tiles(window) == first).then_some(()));

    // Extended to the right by dragging the arrow.
    window.click(&id("tool-extend"));
    let (x, y, ..) = window.middle(&id("extend-right"));
    let zoom = on_page(&window, 1.0, 0.0).0 - on_page(&window, 0.0, 0.0).0;
    window.drag(&[(x, y), (x + 40.0 * zoom, y), (x + 96.0 * zoom, y)]);
    window.click(&id("extend-paint"));
    window
        .wait("the extension is there", |window| (project(window)["generations"].as_array()?.len() == 2).then_some(()));
    done(&window);
    let frame = project(&window)["frames"][0]["rect"].clone();
    let width = frame["width"].as_u64().unwrap();
    assert!((320..=400).contains(&width), "about 96 pixels more than 256: {frame}");
    assert_eq!((&frame["x"], &frame["height"]), (&json!(0), &json!(256)));
    let extended = tiles(&window);

    // A brushed region, varied; one step undone and done again.
    window.click(&id("tool-brush"));
    let stroke: Vec<_> = (0..5).map(|step| on_page(&window, 90.0 + 12.0 * f64::from(step), 190.0)).collect();
    window.drag(&stroke);
    window.fill(&id("region-prompt"), "a small boat");
    window.click(&id("region-vary"));
    window
        .wait("the variation is there", |window| (project(window)["generations"].as_array()?.len() == 3).then_some(()));
    done(&window);
    let varied = tiles(&window);
    assert_ne!(varied, extended);
    window.click(&id("undo"));
    window.wait("undone", |window| (tiles(window) == extended).then_some(()));
    window.click(&id("redo"));
    window.wait("done again", |window| (tiles(window) == varied).then_some(()));

    // A picture dropped from a file manager becomes a layer where it was dropped, and its prompt is offered.
    let foreign = place.aside("barn.png");
    fs::write(&foreign, with_parameters(64, 64, FOREIGN)).unwrap();
    let to = on_page(&window, 200.0, 60.0);
    window.drop_files(&[foreign], to.0, to.1);
    window.wait("the layer is there", |window| (project(window)["layers"].as_array()?.len() == 2).then_some(()));
    let dropped = project(&window)["layers"][1]["bounds"].clone();
    let near = |side: &str, about: f64| (dropped[side].as_f64().unwrap() + 32.0 - about).abs() < 12.0;
    assert!(near("x", 200.0) && near("y", 60.0), "{dropped}");
    window.click(&id("toast-action"));
    window.wait("its prompt is there", |window| {
        let prompt = window.script("return document.querySelector('[data-testid=prompt]').value", vec![]);
        (prompt == "a red barn in a field").then_some(())
    });

    // A shot that trucks and zooms; what it lacks is painted; a film.
    window.click(&id("mode-director"));
    window.click(&id("add-shot"));
    window.wait_for(&id("dial-truck"));
    window.wait("a shot", |window| (project(window)["shots"].as_array()?.len() == 1).then_some(()));
    for (dial, keys) in [("truck", 20), ("zoom", 10)] {
        window.script("document.querySelector(arguments[0]).focus()", vec![json!(id(&format!("dial-{dial}")))]);
        window.keys(&[], &char::from(Key::Up).to_string().repeat(keys));
    }
    window.wait("two moves", |window| (project(window)["shots"][0]["moves"].as_array()?.len() == 2).then_some(()));
    let shot = project(&window)["shots"][0].clone();
    let name = shot["id"].as_str().unwrap().to_owned();
    // Shorter and smaller than a person would want it, as the encoder takes most of the test's time.
    let mut short = shot.clone();
    short["frames"] = json!(12);
    short["width"] = json!(192);
    short["height"] = json!(128);
    for index in 0..2 {
        short["moves"][index]["to"] = json!(11);
    }
    window.ask("set_shot", json!({ "shot": short }));
    let lack = |window: &Window| window.ask("coverage", json!({ "shot": name }))["missing"].as_f64().unwrap();
    let before = lack(&window);
    if before > 0.0 {
        window.click(&id("cover"));
        window.wait("it is painted", |window| (lack(window) == 0.0).then_some(()));
        done(&window);
    }
    assert!(before > 0.0, "a truck to the right lacks picture: {short}");
    let film = place.path("coast.mp4");
    // The dialog is the page's; the file chooser behind it is the desktop's own, and no test can answer it by the page.
    window.click(&id("film"));
    window.wait_for(&id("film-write"));
    window.keys(&[], &char::from(Key::Escape).to_string());
    export_film(&window, &name, &film, "mp4-av1");
    let kept = tiles(&window);
    let frames = export_film(&window, &name, &place.path("frames"), "png-sequence");
    assert_eq!(frames.len(), 12);
    for (file, png) in &frames {
        let picture = outframe_tests::decode(png);
        assert_eq!(picture.dimensions(), (192, 128), "{file}");
        assert!(picture.pixels().all(|pixel| pixel.0[3] == 255), "{file}: nothing unpainted");
    }

    assert_eq!(window.script("return window.refused", vec![]), json!([]), "refused by the policy");

    // Closed and opened again from the start page: the same pixels, the same film.
    window.close();
    let window = start(&place, &home, &[]);
    window.click(&id("recent"));
    window.wait_for(&id("stage"));
    assert_eq!(tiles(&window), kept);
    assert_eq!(export_film(&window, &name, &place.path("again"), "png-sequence"), frames);
    let again = place.path("again.mp4");
    assert_eq!(export_film(&window, &name, &again, "mp4-av1")[""], fs::read(&film).unwrap());
    window.close();
}

/// A PNG with the text that A1111 writes.
fn with_parameters(width: u32, height: u32, parameters: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.add_text_chunk("parameters".into(), parameters.into()).unwrap();
    encoder.write_header().unwrap().write_image_data(gradient(width, height).as_raw()).unwrap();
    bytes
}

#[test]
fn a_killed_worker_costs_nothing_and_a_killed_window_loses_nothing() {
    let place = Place::new();
    let home = place.aside("home");
    fs::create_dir_all(&home).unwrap();
    place.quick_project("lake.outframe");
    let window = start(&place, &home, &["lake.outframe"]);
    window.wait_for(&id("stage"));
    let before = tiles(&window);

    // The worker dies in the midst of a job: it is started again, and the person reads so.
    let long = json!({ "input": { "left": 0, "right": 64, "up": 0, "down": 0, "prompt": null, "takes": 1,
        "settings": { "model": null, "negative": "", "steps": 200, "guidance": null, "sampler": null, "seed": "3" } } });
    window.ask("extend", long.clone());
    let running = |window: &Window, least: f64| {
        window.wait("the job paints", |window| {
            let job = window.ask("jobs", json!({})).as_array()?.last()?.clone();
            (job["state"] == "running" && job["progress"].as_f64()? > least).then_some(())
        });
    };
    running(&window, 0.02);
    linux::kill(linux::worker_of(window.pid()));
    let job = done(&window);
    let warned = job["warnings"].to_string();
    assert!(warned.contains("restarted") || warned.contains("again"), "the person reads what happened: {job}");
    let extended = tiles(&window);
    assert_ne!(extended, before);

    // The window's program dies in the midst of the next one.
    window.ask("extend", long);
    running(&window, 0.05);
    window.kill();
    let window = start(&place, &home, &["lake.outframe"]);
    window.wait_for(&id("stage"));
    assert_eq!(tiles(&window), extended, "what was shown as done is there");
    window.close();
    place.run(&["doctor", "lake.outframe"]).ok();
}

/// What is not of the page: the desktop's own file choosers, a drag to another program, the monitor, a second start.
#[test]
fn the_window_lives_on_a_desktop() {
    let place = Place::new();
    let home = place.aside("home");
    fs::create_dir_all(&home).unwrap();
    place.quick_project("lake.outframe");
    place.quick_project("other.outframe");
    let bus = linux::Bus::start();
    let variables = [("DBUS_SESSION_BUS_ADDRESS", bus.address()), ("OUTFRAME_ADAPTER", "software")];
    let window = Window::start_sized(&place, &home, &["lake.outframe"], DISPLAY, &variables);
    window.wait_for(&id("stage"));
    let desktop = Desktop::of(window.display());
    let alone = desktop.windows();
    let main = *alone.iter().max_by_key(|window| u32::from(window.width) * u32::from(window.height)).unwrap();

    // The picture, exported through the desktop's chooser.
    let exported = place.path("exported.png");
    window.click(&id("export"));
    window.click(&id("export-save"));
    answer(&desktop, &alone, &exported);
    window.wait("the export is there", |_| exported.is_file().then_some(()));
    done(&window);
    let picture = outframe_tests::decode(&fs::read(&exported).unwrap());
    assert!(picture.pixels().all(|pixel| pixel.0[3] == 255));

    // The same picture, dragged out into another program's window.
    window.click(&id("export"));
    let target = DropTarget::on(window.display());
    let (x, y, ..) = window.middle(&id("drag-out"));
    let handle = window.on_display(x, y);
    desktop.walk((handle.0 - 4, handle.1), handle);
    desktop.button(true);
    desktop.walk(handle, (handle.0 - 40, handle.1 - 40));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    desktop.walk((handle.0 - 40, handle.1 - 40), DropTarget::MIDDLE);
    desktop.walk(DropTarget::MIDDLE, (DropTarget::MIDDLE.0 + 6, DropTarget::MIDDLE.1));
    std::thread::sleep(std::time::Duration::from_millis(500));
    desktop.button(false);
    let dropped = target.files();
    assert_eq!(dropped.len(), 1, "{dropped:?}");
    let path = dropped[0].strip_prefix("file://").expect("a file's address");
    assert_eq!(outframe_tests::decode(&fs::read(path).unwrap()), picture, "what was dragged out is the picture");
    window.keys(&[], &char::from(Key::Escape).to_string());
    window.wait_gone(&id("export-save"));

    // A picture that was copied in another program becomes a layer, by the keyboard; its prompt is not lost on the way.
    desktop::copy_picture(window.display(), with_parameters(48, 32, FOREIGN));
    desktop.focus(main);
    let (x, y, ..) = window.middle(&id("stage"));
    desktop.walk((0, 0), window.on_display(x, y));
    desktop.control('v');
    window.wait("the pasted layer is there", |window| (project(window)["layers"].as_array()?.len() == 2).then_some(()));
    let pasted = project(&window)["layers"][1].clone();
    assert_eq!((&pasted["bounds"]["width"], &pasted["bounds"]["height"]), (&json!(48), &json!(32)), "{pasted}");
    window.wait_for(&id("toast-action"));

    // A shot, its monitor in a window of its own, and its film through the chooser.
    window.click(&id("mode-director"));
    window.click(&id("add-shot"));
    window.wait("a shot", |window| (project(window)["shots"].as_array()?.len() == 1).then_some(()));
    let mut short = project(&window)["shots"][0].clone();
    (short["frames"], short["width"], short["height"]) = (json!(6), json!(128), json!(128));
    window.ask("set_shot", json!({ "shot": short }));
    let before = desktop.windows();
    window.click(&id("monitor"));
    desktop.new_window("the monitor is shown", &before);
    assert!(window::child_named(window.pid(), "outframe-monito").is_some());
    let before = desktop.windows();
    let film = place.path("film.mp4");
    window.ask("clear_jobs", json!({}));
    desktop.focus(main);
    window.click(&id("film"));
    window.click(&id("film-write"));
    answer(&desktop, &before, &film);
    window.wait("the film is there", |_| film.is_file().then_some(()));
    done(&window);
    assert!(fs::metadata(&film).unwrap().len() > 500);

    // A second start hands its project to the first and ends.
    let mut second = std::process::Command::new(program("outframe-desktop"));
    second
        .arg("other.outframe")
        .current_dir(place.path(""))
        .env("DISPLAY", window.display())
        .env("HOME", &home)
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("XDG_DATA_HOME", home.join("data"))
        .env("XDG_CACHE_HOME", home.join("cache"))
        .env("OUTFRAME_MODELS", models())
        .envs(variables)
        .env_remove("WAYLAND_DISPLAY");
    let mut second = second.spawn().unwrap();
    outframe_tests::wait_for("the second start ends", || second.try_wait().unwrap());
    window.wait("the other project is shown", |window| {
        project(window)["path"].as_str()?.ends_with("other.outframe").then_some(())
    });

    // The monitor ends with the window.
    let pid = window::child_named(window.pid(), "outframe-monito").unwrap();
    window.close();
    outframe_tests::wait_for("the monitor ends", || (!linux::is_alive(pid)).then_some(()));
}

/// Answers the desktop's file chooser with a path, by the keyboard.
fn answer(desktop: &Desktop, before: &[desktop::Seen], path: &Path) {
    let chooser = desktop.new_window("the file chooser is shown", before);
    desktop.focus(chooser);
    std::thread::sleep(std::time::Duration::from_millis(700));
    desktop.control('a');
    desktop.write(path.to_str().unwrap());
    std::thread::sleep(std::time::Duration::from_millis(500));
    desktop.press(RETURN, &[]);
    desktop.gone("the file chooser goes", chooser);
}

#[test]
fn adapters_alternatives_and_upscaling_are_at_hand() {
    let place = Place::new();
    let home = place.aside("home");
    let library = home.join("data/outframe/models");
    fs::create_dir_all(&library).unwrap();
    let adapters = models().parent().unwrap().join("tests/parity/fixtures/adapters");
    fs::copy(adapters.join("kohya.safetensors"), library.join("ink.safetensors")).unwrap();
    let picture = ["--size", "64x64", "--steps", "2", "--seed", "3"];
    place.run(&[&["generate", "green hills", "--project", "hills.outframe"], &picture[..]].concat()).ok();
    let window = start(&place, &home, &["hills.outframe"]);
    window.wait_for(&id("stage"));

    // What lies in the library can be added and taken away.
    window.click(&id("advanced"));
    window.click(&id("lora-add"));
    window.wait_for("[data-select-item][data-highlighted]");
    window.keys(&[], &char::from(Key::Enter).to_string());
    window.wait_for(&format!("{} [title^=\"ink\"]", id("lora")));
    // The starter is of another family; the worker says so, and nothing changes.
    window.fill(&id("prompt"), "a {red,blue} barn");
    window.fill(&id("takes"), "2");
    window.click(&id("generate"));
    let refused = jobs_done(&window);
    assert_eq!(refused["state"], "failed", "{refused}");
    assert_eq!(project(&window)["generations"].as_array().unwrap().len(), 1);
    window.click(&id("lora-remove"));
    window.wait_gone(&id("lora"));

    // Each take gets its alternative.
    window.ask("clear_jobs", json!({}));
    window.click(&id("generate"));
    done(&window);
    let made = project(&window)["generations"][1].clone();
    let words: Vec<_> = made["takes"].as_array().unwrap().iter().map(|take| take["prompt"].clone()).collect();
    assert_eq!(words, ["a red barn", "a blue barn"]);

    // The whole picture twice as large, and as it was again.
    let before = tiles(&window);
    let frame = |window: &Window| project(window)["frames"][0]["rect"]["width"].as_u64().unwrap();
    let small = frame(&window);
    window.ask("clear_jobs", json!({}));
    window.click(&id("picture-upscale"));
    window.click(&id("upscale-start"));
    done(&window);
    assert_eq!(frame(&window), 2 * small);
    assert_ne!(tiles(&window), before);
    window.click(&id("undo"));
    window.wait("it is as it was", |window| (frame(window) == small).then_some(()));
    assert_eq!(tiles(&window), before);
    window.close();
}

#[test]
fn a_control_network_steers_what_is_painted() {
    let place = Place::new();
    let home = place.aside("home");
    let library = home.join("data/outframe/models");
    fs::create_dir_all(&library).unwrap();
    let small = ["--size", "64x64", "--steps", "2", "--seed", "3"];
    place.run(&[&["generate", "green hills", "--project", "hills.outframe"], &small[..]].concat()).ok();
    let window = start(&place, &home, &["hills.outframe"]);
    window.wait_for(&id("stage"));
    window.click(&id("advanced"));
    window.wait_text("No ControlNet in the library");

    // One that is laid into the library meanwhile is there when the settings are opened again.
    control_network(&library.join("pale-edges"));
    window.click(&id("advanced"));
    window.click(&id("advanced"));
    window.click(&id("control-add"));
    window.wait_for("[data-select-item][data-highlighted]");
    window.keys(&[], &char::from(Key::Enter).to_string());
    window.wait_for(&format!("{}[alt=\"The edges of: The picture as it is\"]", id("control-preview")));
    window.click(&id("control-edges"));
    window.wait_for(&format!("{}[alt=\"The picture as it is\"]", id("control-preview")));

    // The same seed with it, with it at no strength, and without it.
    window.fill(&id("prompt"), "green hills");
    window.fill(&id("takes"), "1");
    window.click(&id("settings"));
    window.fill(&id("seed"), "9");
    let paint = |window: &Window| {
        window.ask("clear_jobs", json!({}));
        window.click(&id("generate"));
        done(window);
        tiles(window)
    };
    let steered = paint(&window);
    let made = project(&window)["generations"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(made["controls"][0]["network"], "pale-edges");
    assert_eq!(
        (&made["controls"][0]["picture"]["kind"], &made["controls"][0]["canny"]),
        (&json!("stored"), &json!(null))
    );
    window.script("document.querySelector(arguments[0]).focus()", vec![json!(id("control-scale"))]);
    window.keys(&[], &char::from(Key::Home).to_string());
    window.wait("no strength", |window| {
        let scale = window.script(
            "return document.querySelector(arguments[0]).getAttribute('aria-valuenow')",
            vec![json!(id("control-scale"))],
        );
        (scale == "0").then_some(())
    });
    let silent = paint(&window);
    window.click(&id("control-remove"));
    window.wait_gone(&id("control"));
    let alone = paint(&window);
    assert_eq!(silent, alone);
    assert_ne!(steered, alone);
    window.close();
}

/// Models into the library by a drop and out of it by the dialog; without a network a download says so.
#[test]
fn models_come_by_a_drop_and_go_by_the_dialog() {
    let place = Place::new();
    let home = place.aside("home");
    fs::create_dir_all(&home).unwrap();
    let adapters = models().parent().unwrap().join("tests/parity/fixtures/adapters");
    let ink = place.aside("ink.safetensors");
    fs::copy(adapters.join("kohya.safetensors"), &ink).unwrap();
    let pickle = place.aside("old.ckpt");
    fs::write(&pickle, "stands for a pickle").unwrap();
    let variables = [("HF_HUB_OFFLINE", "1"), ("OUTFRAME_ADAPTER", "software")];
    let window = Window::start_sized(&place, &home, &[], DISPLAY, &variables);
    window.wait_for(&id("start"));

    // What cannot be used is refused with the reason, also beside what can.
    window.drop_files(&[ink.clone(), pickle], 400.0, 300.0);
    window.wait("both are looked at", |window| (window.count(&id("add-model")) == 2).then_some(()));
    window.wait_text("pickle");
    window.wait_text("LoRA");
    window.click(&id("add-link"));
    window.wait("the link is there", |window| {
        window.ask("adapters", json!({}))["loras"].as_array()?.iter().any(|lora| lora["name"] == "ink").then_some(())
    });
    assert!(home.join("data/outframe/models/loras/ink.safetensors").is_symlink());
    window.wait("only the pickle is left", |window| (window.count(&id("add-model")) == 1).then_some(()));
    window.keys(&[], &char::from(Key::Escape).to_string());
    window.wait_gone(&id("add-models"));
    assert_eq!(window.ask("current_project", json!({})), Value::Null, "a model begins no project");

    // The list in the prompt panel follows, also what changes behind the window's back.
    window.click(&id("new"));
    window.wait_for(&id("stage"));
    window.click(&id("advanced"));
    window.wait_for(&format!("{}:not([disabled])", id("lora-add")));
    fs::remove_file(home.join("data/outframe/models/loras/ink.safetensors")).unwrap();
    window.wait_text("No LoRA in the library");
    fs::copy(&ink, home.join("data/outframe/models/loras/wash.safetensors")).unwrap();
    window.wait_for(&format!("{}:not([disabled])", id("lora-add")));

    // The dialog: what is there, away with it, and the catalogue, which asks nobody.
    window.click(&id("models-open"));
    window.wait("one is one's own", |window| (window.count(&id("library-remove")) == 1).then_some(()));
    let all = window.count(&id("library-item"));
    window.click(&id("library-remove"));
    window.click(&id("library-remove-yes"));
    window.wait("one less", |window| (window.count(&id("library-item")) == all - 1).then_some(()));
    assert!(!home.join("data/outframe/models/loras/wash.safetensors").exists() && ink.is_file());
    window.click(&id("models-catalogue"));
    window.click(&id("catalogue-download"));
    window.wait_for(&id("catalogue-ending"));
    let refused = jobs_done(&window);
    assert_eq!((&refused["kind"], &refused["state"]), (&json!("download"), &json!("failed")));
    assert!(refused["error"].as_str().unwrap().contains("HF_HUB_OFFLINE"), "{refused}");
    window.close();
}

/// A download by the dialog: nobody is asked before the button is pressed, it can be stopped, and goes on where it stopped.
#[test]
fn a_model_of_the_catalogue_is_downloaded_stopped_and_continued() {
    const NAME: &str = "controlnet-canny-sd15";
    const FILE: &str = "diffusion_pytorch_model.fp16.safetensors";
    let place = Place::new();
    let home = place.aside("home");
    fs::create_dir_all(&home).unwrap();
    control_network(&place.aside("network"));
    let network = place.aside("network/diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&network).unwrap();
    let never = outframe_studio::CancellationToken::new();
    let mut hashes = outframe_studio::HashCache::at(place.aside("hashes.json"));
    let hash = hashes.hashes(&network, false, &never, |_, _| ()).unwrap().sha256;
    let entry = outframe_studio::catalog().unwrap().into_iter().find(|entry| entry.name == NAME).unwrap();
    assert_eq!(entry.files[0].path, FILE);
    let hub = Hub::start(&entry.repository, FILE, bytes.clone(), &hash);
    let variables = [("HF_ENDPOINT", hub.address()), ("OUTFRAME_ADAPTER", "software")];
    let window = Window::start_sized(&place, &home, &[], DISPLAY, &variables);
    window.wait_for(&id("start"));

    window.click(&id("engine"));
    window.click(&id("engine-models"));
    window.click(&id("models-catalogue"));
    let item = |part: &str| format!("[data-name=\"{NAME}\"] {}", id(part));
    window.wait_for(&item("catalogue-download"));
    assert!(hub.asked().is_empty(), "{:?}", hub.asked());
    window.click(&item("catalogue-download"));
    let half = |window: &Window| {
        let job = window.ask("jobs", json!({})).as_array()?.last()?.clone();
        (job["progress"].as_f64()? > 0.45).then_some(())
    };
    window.wait("half of it is there", half);
    window.click(&item("catalogue-cancel"));
    window.wait_text("What has arrived is kept");
    assert_eq!(jobs_done(&window)["state"], "cancelled");
    assert!(window.ask("adapters", json!({}))["controls"].as_array().unwrap().is_empty());

    hub.flow();
    window.ask("clear_jobs", json!({}));
    window.wait_gone(&item("catalogue-ending"));
    window.click(&item("catalogue-download"));
    done(&window);
    window.wait_gone(&item("catalogue-download"));
    assert_eq!(window.ask("adapters", json!({}))["controls"][0]["name"], NAME);
    let written = home.join(format!("data/outframe/models/controlnet/{NAME}.safetensors"));
    assert!(fs::read(written).unwrap() == bytes, "what was sent in two parts is whole");
    let asked = hub.asked();
    assert!(asked.last().is_some_and(|last| last.contains("/resolve/") && !last.ends_with(" 0-")), "{asked:?}");
    window.close();
}
