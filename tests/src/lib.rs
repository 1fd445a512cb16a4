//! Helpers shared by the tests that cross crates: they run the programs as a person would and look at what comes out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    reason = "these are the tests' own tools: what they cannot do fails the test that asked for it"
)]

mod control;
#[cfg(target_os = "linux")]
pub mod desktop;
mod hub;
#[cfg(target_os = "linux")]
pub mod linux;
#[cfg(target_os = "linux")]
pub mod window;
#[cfg(target_os = "linux")]
mod xdnd;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub use control::control_network;
pub use hub::Hub;
use image::RgbaImage;
use serde_json::Value;
use tempfile::TempDir;

/// After this, a program counts as hung. Nothing in the tests takes a tenth of it on an idle machine.
const HANG: Duration = Duration::from_mins(4);

/// A program of the workspace: from the folder `OUTFRAME_PROGRAMS` where that is set (the benchmarks want the optimised ones),
/// else what lies in the target folder, as it was built last.
pub fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("OUTFRAME_PROGRAMS") {
        return Path::new(&folder).join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    }
    let own = std::env::current_exe().expect("a test program knows its own path");
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let found = own.ancestors().skip(2).take(2).map(|folder| folder.join(&file)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{file} is not built yet: it was looked for above {}. `make test` builds it first; by hand: cargo build --workspace \
             --bins",
            own.display()
        )
    })
}

/// The folder of the models that come with the sources.
pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie inside the sources").join("models")
}

/// Waits until `probe` gives something; fails the test when it does not within a time that only a hang needs.
pub fn wait_for<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(started.elapsed() < HANG, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A folder of its own for each test; the programs run in it.
#[derive(Debug)]
pub struct Place {
    folder: TempDir,
    /// What programs print, and exports that are only looked at: kept apart, so that [`Place::files`] shows strays.
    aside: TempDir,
}

/// What a project shows: two equal ones look and say the same.
#[derive(Debug, PartialEq)]
pub struct Snapshot {
    /// The export of its frame, as PNG bytes; nothing when the project is empty.
    pub export: Vec<u8>,
    /// What `outframe info --json` says.
    pub info: Value,
    /// The files in the folder.
    pub files: BTreeSet<String>,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty folder.
    pub fn new() -> Self {
        let folder = || tempfile::Builder::new().prefix("outframe-test-").tempdir().expect("a temporary folder");
        Self { folder: folder(), aside: folder() }
    }

    /// A file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file beside it, which [`Place::files`] does not show.
    pub fn aside(&self, name: &str) -> PathBuf {
        self.aside.path().join(name)
    }

    /// What lies in it.
    pub fn files(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.folder.path()).expect("the test's folder");
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    /// `outframe` with these arguments, not started yet: one compute thread, the models of these sources, no settings of the
    /// person who runs the tests.
    pub fn outframe(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("outframe"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("OUTFRAME_") {
                command.env_remove(name);
            }
        }
        command.args(arguments).current_dir(self.folder.path());
        command.env("OUTFRAME_MODELS", models()).env("OUTFRAME_THREADS", "1").env("OUTFRAME_DEVICE", "cpu");
        command
    }

    /// Starts a command and lets it run.
    pub fn start(&self, mut command: Command) -> Running {
        let log = tempfile::Builder::new().tempdir_in(self.aside.path()).expect("a folder for the output").keep();
        let file = |name: &str| File::create(log.join(name)).expect("a file for the output");
        command.stdin(Stdio::null()).stdout(file("stdout")).stderr(file("stderr"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
        Running { child, log, command: format!("{command:?}") }
    }

    /// Runs `outframe` to its end.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        self.start(self.outframe(arguments)).wait()
    }

    /// Runs `outframe --json`, which must succeed, and reads its answer.
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.run(&[arguments, &["--json"]].concat()).ok().json()
    }

    /// The frame of a project, or a part of its canvas, as PNG bytes.
    pub fn export(&self, project: &str, rect: Option<&str>) -> Vec<u8> {
        let out = self.aside("look.png");
        let out = out.to_str().unwrap();
        let mut arguments = vec!["export", project, "--out", out];
        arguments.extend(rect.iter().flat_map(|rect| ["--rect", rect]));
        self.run(&arguments).ok();
        let bytes = fs::read(out).unwrap();
        fs::remove_file(out).unwrap();
        bytes
    }

    /// What the project shows now.
    pub fn snapshot(&self, project: &str) -> Snapshot {
        let info = self.json(&["info", project]);
        let export = if info["bounds"].is_null() { Vec::new() } else { self.export(project, None) };
        Snapshot { export, info, files: self.files() }
    }

    /// Makes a project out of a picture that needs no engine: smooth colours with some structure, 96 x 64.
    pub fn quick_project(&self, name: &str) {
        let picture = self.aside("quick.png");
        gradient(96, 64).save(&picture).unwrap();
        self.run(&["import", name, picture.to_str().unwrap()]).ok();
    }
}

/// A picture in which no two neighbours are the same: a misplaced or changed pixel shows.
pub fn gradient(width: u32, height: u32) -> RgbaImage {
    RgbaImage::from_fn(width, height, |x, y| {
        let code = |value: u32| (value % 256) as u8;
        image::Rgba([code(x * 5 + y), code(y * 7 + x / 3), code(x * y / 4 + 40), 255])
    })
}

/// Decodes a PNG.
pub fn decode(png: &[u8]) -> RgbaImage {
    image::load_from_memory_with_format(png, image::ImageFormat::Png).expect("a readable PNG").into_rgba8()
}

/// The part of a picture that begins at `x`, `y`.
pub fn part(picture: &RgbaImage, x: u32, y: u32, width: u32, height: u32) -> RgbaImage {
    image::imageops::crop_imm(picture, x, y, width, height).to_image()
}

/// A started program; killed when the test ends before it does.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    command: String,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Outcome {
        let what = format!("the end of {}", self.command);
        let status = wait_for(&what, || self.child.try_wait().unwrap());
        let (stdout, stderr) = (self.read("stdout"), self.read("stderr"));
        Outcome { code: status.code(), stdout, stderr, command: self.command.clone() }
    }

    fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.log.join(name)).unwrap()).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a program ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its exit code; nothing when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    /// What was run.
    pub command: String,
}

impl Outcome {
    /// It must have succeeded.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// It must have ended with this code, and its message must hold these words.
    pub fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words {
            assert!(self.stderr.contains(word), "the message lacks “{word}”: {self:#?}");
        }
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("RUST_BACKTRACE"), "{self:#?}");
        self
    }

    /// What it printed, read as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:#?}"))
    }
}
