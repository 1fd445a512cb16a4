//! Measures what opening and changing a project costs, and how that grows with the project.
//!
//! `cargo run --release -p outframe-document --example bench_document [-- --quick] [--folder FOLDER]`
//!
//! Prints one line of JSON per figure, then a table. Times are wall-clock seconds; where a thing is done several times,
//! the median and the worst are given. Every change is on the disk when its time ends. The files are written into a
//! temporary folder (inside FOLDER, if given) and removed; the full run takes about 6 GB there. Pages of the files that
//! the system keeps in memory are not dropped: openings are those of a file that was used lately.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on ends")]

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use outframe_document::{Edit, Layer, Origin, Patch, PatchContent, PatchImage, Project, Rect, Step};

/// How large the measured projects are.
struct Plan {
    patches: usize,
    /// Of each patch, in bytes.
    bytes: usize,
    undos: usize,
    growth: &'static [usize],
}

const FULL: Plan = Plan { patches: 2000, bytes: 1 << 20, undos: 1000, growth: &[10, 100, 1000, 10_000] };
const QUICK: Plan = Plan { patches: 100, bytes: 1 << 18, undos: 50, growth: &[10, 100, 1000] };
/// What a PNG of 1024 x 1024 pixels of a photograph takes, in bytes.
const LARGE_PATCH: usize = 1_500_000;
/// The size of the patches in the measurement of growth, in bytes: small, so that their number is what counts.
const SMALL_PATCH: usize = 16_384;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let plan = if arguments.iter().any(|argument| argument == "--quick") { QUICK } else { FULL };
    let base = arguments.iter().position(|argument| argument == "--folder").and_then(|at| arguments.get(at + 1));
    let base = base.map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(base).unwrap();
    let mut figures = Figures::default();
    large_project(folder.path(), &plan, &mut figures);
    archive(folder.path(), &plan, &mut figures);
    for patches in plan.growth {
        growth(folder.path(), *patches, &mut figures);
    }
    figures.print_table();
}

fn large_project(folder: &Path, plan: &Plan, figures: &mut Figures) {
    let path = folder.join("large.outframe");
    let size = format!("{} patches, {} MB", plan.patches, plan.patches * plan.bytes / 1_000_000);
    let mut noise = Noise(1);
    let mut project = Project::create(&path, "Large").unwrap();
    let layer = add_layer(&mut project);
    let started = Instant::now();
    for _ in 0..plan.patches {
        add_patch(&mut project, layer, &noise.bytes(plan.bytes));
    }
    figures.add(&format!("project, {size}: build, one step per patch"), &[started.elapsed()]);
    figures.add(&format!("project, {size}: close"), &[time(|| project.close().unwrap())]);
    measure_open(&format!("project, {size}"), &path, figures);

    let mut project = Project::open(&path).unwrap();
    let pictures: Vec<_> = (0..20).map(|_| noise.bytes(LARGE_PATCH)).collect();
    let times: Vec<_> = pictures.iter().map(|picture| time(|| add_patch(&mut project, layer, picture))).collect();
    figures.add(&format!("project, {size}: append a patch of 1.5 MB"), &times);
    let undo: Vec<_> = (0..plan.undos).map(|_| time(|| drop(project.undo().unwrap().unwrap()))).collect();
    figures.add(&format!("project, {size}: undo {} steps, each", plan.undos), &undo);
    figures.add(&format!("project, {size}: undo {} steps, all", plan.undos), &[undo.iter().sum()]);
    let redo: Vec<_> = (0..plan.undos).map(|_| time(|| drop(project.redo().unwrap().unwrap()))).collect();
    figures.add(&format!("project, {size}: redo {} steps, each", plan.undos), &redo);
    figures.add(&format!("project, {size}: redo {} steps, all", plan.undos), &[redo.iter().sum()]);
    let copy = folder.join("copy.outframe");
    figures.add(&format!("project, {size}: save a copy"), &[time(|| project.save_copy(&copy).unwrap())]);
    std::fs::remove_file(copy).unwrap();
    project.close().unwrap();
    std::fs::remove_file(path).unwrap();
}

/// The same pictures as an archive that must be written as a whole, as OpenRaster's and Krita's files are.
fn archive(folder: &Path, plan: &Plan, figures: &mut Figures) {
    let path = folder.join("large.zip");
    let size = format!("{} patches, {} MB", plan.patches, plan.patches * plan.bytes / 1_000_000);
    let mut noise = Noise(1);
    let pictures: Vec<_> = (0..plan.patches).map(|_| noise.bytes(plan.bytes)).collect();
    let save = time(|| {
        let mut archive = zip::ZipWriter::new(File::create(&path).unwrap());
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        for (number, picture) in pictures.iter().enumerate() {
            archive.start_file(format!("data/layer{number}.png"), stored).unwrap();
            archive.write_all(picture).unwrap();
        }
        archive.finish().unwrap().sync_all().unwrap();
    });
    figures.add(&format!("zip, {size}: save (after every change, the whole)"), &[save]);
    drop(pictures);
    let load = time(|| {
        let mut archive = zip::ZipArchive::new(File::open(&path).unwrap()).unwrap();
        let mut bytes = Vec::new();
        for number in 0..archive.len() {
            bytes.clear();
            archive.by_index(number).unwrap().read_to_end(&mut bytes).unwrap();
        }
    });
    figures.add(&format!("zip, {size}: load"), &[load]);
    std::fs::remove_file(path).unwrap();
}

fn growth(folder: &Path, patches: usize, figures: &mut Figures) {
    let path = folder.join(format!("growth-{patches}.outframe"));
    let mut noise = Noise(patches as u64);
    let mut project = Project::create(&path, "Growth").unwrap();
    let layer = add_layer(&mut project);
    // In steps of ten, for the bench's own sake.
    for _ in 0..patches / 10 {
        let edits = (0..10).map(|_| patch_edit(&mut project, layer, &noise.bytes(SMALL_PATCH))).collect();
        project.apply(Step::new("Add ten", edits)).unwrap();
    }
    project.close().unwrap();
    let name = format!("growth, {patches} patches");
    measure_open(&name, &path, figures);
    let mut project = Project::open(&path).unwrap();
    let pictures: Vec<_> = (0..50).map(|_| noise.bytes(SMALL_PATCH)).collect();
    let times: Vec<_> = pictures.iter().map(|picture| time(|| add_patch(&mut project, layer, picture))).collect();
    figures.add(&format!("{name}: append a patch of 16 kB"), &times);
    let times: Vec<_> = (0..50).map(|_| time(|| drop(project.undo().unwrap().unwrap()))).collect();
    figures.add(&format!("{name}: undo"), &times);
    project.close().unwrap();
    std::fs::remove_file(path).unwrap();
}

fn measure_open(name: &str, path: &Path, figures: &mut Figures) {
    let mut times = Vec::new();
    for _ in 0..7 {
        let started = Instant::now();
        let project = Project::open(path).unwrap();
        times.push(started.elapsed());
        drop(project);
    }
    figures.add(&format!("{name}: open"), &times);
}

fn add_layer(project: &mut Project) -> outframe_document::LayerId {
    let layer = Box::new(Layer::new(project.next_layer_id(), "Layer"));
    let id = layer.id;
    project.apply(Step::new("Add layer", vec![Edit::AddLayer { index: 0, layer }])).unwrap();
    id
}

fn patch_edit(project: &mut Project, layer: outframe_document::LayerId, picture: &[u8]) -> Edit {
    let image = project.put_blob(picture, "image/png").unwrap();
    let content = PatchContent::Image(Box::new(PatchImage { image, mask: None, origin: Origin::Drawn }));
    let patch = Box::new(Patch::new(project.next_patch_id(), Rect::new(0, 0, 1024, 1024), content));
    // At the bottom, where the others must make room.
    Edit::AddPatch { layer, index: 0, patch }
}

fn add_patch(project: &mut Project, layer: outframe_document::LayerId, picture: &[u8]) {
    let edit = patch_edit(project, layer, picture);
    project.apply(Step::new("Add patch", vec![edit])).unwrap();
}

fn time(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

/// Bytes that do not compress (`SplitMix64`).
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend((z ^ (z >> 31)).to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

#[derive(Default)]
struct Figures(Vec<(String, Duration, Duration)>);

impl Figures {
    fn add(&mut self, name: &str, times: &[Duration]) {
        let mut times = times.to_vec();
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "{}",
            serde_json::json!({
                "name": name,
                "count": times.len(),
                "median_s": median.as_secs_f64(),
                "worst_s": worst.as_secs_f64(),
            })
        );
        self.0.push((name.to_owned(), median, worst));
    }

    fn print_table(&self) {
        let width = self.0.iter().map(|(name, ..)| name.chars().count()).max().unwrap_or(0);
        println!("\n{:width$}  {:>12}  {:>12}", "", "median", "worst");
        for (name, median, worst) in &self.0 {
            let milliseconds = |time: &Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
            println!("{name:width$}  {:>12}  {:>12}", milliseconds(median), milliseconds(worst));
        }
    }
}
