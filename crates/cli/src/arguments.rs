//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use outframe_document::Rect;
use outframe_studio::Settings;

/// The command line.
#[derive(Debug, Parser)]
#[command(
    name = "outframe",
    version,
    about = "Generate pictures on your own machine, extend them past their frame, keep them in a project file.",
    after_help = "Examples:
  outframe generate \"a lighthouse by the sea at sunset\" --project sea.outframe
  outframe extend sea.outframe --right 128 --up 96
  outframe export sea.outframe --out sea.png

Exit codes: 0 done, 1 failed (the message says why and what to do), 2 wrong usage, 130 cancelled."
)]
pub(crate) struct Arguments {
    /// Print one JSON document on standard output, for scripts; messages go to standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Show no progress; warnings are still told
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make pictures from a prompt
    #[command(after_help = "Examples:
  outframe generate \"snowy mountains at dawn\" --out mountains.png --seed 7
  outframe generate \"a meadow in spring\" --count 4 --project meadow.outframe
  outframe generate \"a red canyon\" --negative clouds --steps 20 --guidance 4 --size 384x256 --out canyon.png")]
    Generate(Generate),
    /// Extend a project's picture past its frame
    #[command(after_help = "Examples:
  outframe extend sea.outframe --right 128
  outframe extend sea.outframe --left 64 --right 64 --prompt \"cliffs\" --seed 3")]
    Extend(Extend),
    /// Make a project's frame larger on all sides about its centre
    #[command(after_help = "Examples:
  outframe zoom-out sea.outframe --factor 1.5
  outframe zoom-out sea.outframe --factor 2 --takes 4 --seed 7")]
    ZoomOut(ZoomOut),
    /// Give a project's frame other proportions; nothing is cut off
    #[command(after_help = "Examples:
  outframe reframe sea.outframe --aspect 16:9
  outframe reframe sea.outframe --aspect 4:5 --prompt \"cliffs\"")]
    Reframe(Reframe),
    /// Make a region of a project's picture anew
    #[command(after_help = "Examples:
  outframe vary sea.outframe --rect 40,60,128,96 --prompt \"a small boat\" --strength 0.8
  outframe vary sea.outframe --mask sky.png --prompt \"storm clouds\" --takes 4")]
    Vary(Vary),
    /// Bring pictures or layered OpenRaster files into a project; makes the project if it is not there
    #[command(after_help = "Examples:
  outframe import trip.outframe photo.jpg
  outframe import trip.outframe a.png b.png --at 256,0 --each-as-layer
  outframe import trip.outframe drawing.ora")]
    Import(Import),
    /// Write a project's picture to a file: PNG, JPEG, WebP, TIFF, or OpenRaster with its layers
    #[command(after_help = "Examples:
  outframe export sea.outframe --out sea.png
  outframe export sea.outframe --out corner.jpg --rect 0,0,128,128 --strip-metadata
  outframe export sea.outframe --out sea.ora")]
    Export(Export),
    /// Show what a project holds
    Info {
        /// The project file
        file: PathBuf,
    },
    /// Take back the last step
    Undo {
        /// The project file
        file: PathBuf,
    },
    /// Do again what was taken back
    Redo {
        /// The project file
        file: PathBuf,
    },
    /// Show and change layers
    #[command(after_help = "Examples:
  outframe layer sea.outframe list
  outframe layer sea.outframe set 2 --opacity 0.5 --blend multiply --name Fog
  outframe layer sea.outframe move 2 --to 0
  outframe layer sea.outframe remove 2")]
    Layer {
        /// The project file
        file: PathBuf,
        #[command(subcommand)]
        command: LayerCommand,
    },
    /// Show the takes of a project's generations, and choose between them
    #[command(after_help = "Examples:
  outframe take sea.outframe list
  outframe take sea.outframe choose 12")]
    Take {
        /// The project file
        file: PathBuf,
        #[command(subcommand)]
        command: TakeCommand,
    },
    /// Show the history, go to any step of it, or forget parts of it
    #[command(after_help = "Examples:
  outframe history sea.outframe
  outframe history sea.outframe --go-to 4
  outframe history sea.outframe --forget before=4 --dry-run")]
    History {
        /// The project file
        file: PathBuf,
        /// Make the project as it was after this step
        #[arg(long, value_name = "STEP", conflicts_with = "forget")]
        go_to: Option<u64>,
        /// Forget the steps before a step (before=STEP), a step and what follows it (from=STEP), or all other branches (others)
        #[arg(long, value_name = "WHAT", value_parser = parse_purge)]
        forget: Option<outframe_document::Purge>,
        /// With --forget: only say what it would free
        #[arg(long, requires = "forget")]
        dry_run: bool,
    },
    /// Give a name to the present state, to find it again
    #[command(after_help = "Examples:
  outframe milestone sea.outframe set \"before the fog\"
  outframe milestone sea.outframe list
  outframe milestone sea.outframe go-to \"before the fog\"")]
    Milestone {
        /// The project file
        file: PathBuf,
        #[command(subcommand)]
        command: MilestoneCommand,
    },
    /// Examine a project file, and save what can be saved of a damaged one
    #[command(after_help = "Examples:
  outframe doctor sea.outframe
  outframe doctor broken.outframe --repair mended.outframe")]
    Doctor {
        /// The project file; it is never changed
        file: PathBuf,
        /// Write what can be saved to this new project
        #[arg(long, value_name = "FILE.outframe")]
        repair: Option<PathBuf>,
    },
    /// Copy a project to a new file, also while it is in use
    Copy {
        /// The project file
        file: PathBuf,
        /// The new file
        to: PathBuf,
    },
    /// Make a project file as small as it can be without forgetting anything
    Compact {
        /// The project file
        file: PathBuf,
    },
    /// The installed models
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List them, with what each is
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LayerCommand {
    /// List them, the topmost first
    List,
    /// Add an empty layer on top
    Add {
        /// Its name
        name: String,
    },
    /// Change a layer
    Set {
        /// Its number, from the list
        layer: u64,
        /// Its name
        #[arg(long)]
        name: Option<String>,
        /// Whether it is shown: true or false
        #[arg(long, value_name = "BOOL")]
        visible: Option<bool>,
        /// Whether it is protected from changes: true or false
        #[arg(long, value_name = "BOOL")]
        locked: Option<bool>,
        /// 0 (invisible) to 1 (opaque)
        #[arg(long, value_name = "SHARE")]
        opacity: Option<f64>,
        /// How it mixes with what is below
        #[arg(long, value_name = "MODE", value_parser = parse_blend)]
        blend: Option<outframe_document::BlendMode>,
        /// Distance from the camera: 1 is the picture plane
        #[arg(long, value_name = "DEPTH")]
        depth: Option<f64>,
    },
    /// Move a layer up or down
    Move {
        /// Its number, from the list
        layer: u64,
        /// Its place afterwards, 0 at the bottom
        #[arg(long, value_name = "PLACE")]
        to: usize,
    },
    /// Remove a layer
    Remove {
        /// Its number, from the list
        layer: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TakeCommand {
    /// List them, the newest generation first
    List,
    /// Show a take in place of the one that is shown now
    Choose {
        /// Its number, from the list
        take: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MilestoneCommand {
    /// List them
    List,
    /// Name the present state
    Set {
        /// The name
        name: String,
    },
    /// Take a name away; the state stays
    Remove {
        /// The name
        name: String,
    },
    /// Rename one
    Rename {
        /// The name
        name: String,
        /// The new name
        new_name: String,
    },
    /// Make the project as it was then
    GoTo {
        /// The name
        name: String,
    },
}

/// How to sample.
#[derive(Debug, Args)]
pub(crate) struct Sampling {
    /// What the picture should not show
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    negative: String,
    /// A model's name or folder [default: starter]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Denoising steps [default: the model's]
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Guidance scale: how strictly the prompt is followed [default: the model's]
    #[arg(long, value_name = "G")]
    guidance: Option<f64>,
    /// Sampler: ddim, dpmpp-2m or dpmpp-2m-karras [default: the model's]
    #[arg(long, value_name = "NAME")]
    sampler: Option<String>,
    /// Seed of the noise; the same seed makes the same picture [default: random]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    #[command(flatten)]
    pub(crate) engine: Engine,
}

/// How to compute.
#[derive(Debug, Args)]
pub(crate) struct Engine {
    /// Where to compute: auto, cpu, cuda, cuda:N or mps
    #[arg(long, value_name = "DEVICE", default_value = "auto", env = "OUTFRAME_DEVICE")]
    pub(crate) device: String,
    /// Number format: auto, f32, f16 or bf16
    #[arg(long, value_name = "FORMAT", default_value = "auto", env = "OUTFRAME_PRECISION")]
    pub(crate) precision: String,
    /// Compute threads [default: as many as cores]
    #[arg(long, value_name = "N", env = "OUTFRAME_THREADS")]
    pub(crate) threads: Option<usize>,
}

impl Sampling {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            negative: self.negative.clone(),
            model: self.model.clone(),
            steps: self.steps,
            guidance: self.guidance,
            sampler: self.sampler.clone(),
            seed: self.seed,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// What the picture should show
    pub(crate) prompt: String,
    /// Width and height in pixels [default: the model's native square]
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    pub(crate) size: Option<(u32, u32)>,
    /// Number of takes; take i has the seed S + i
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) count: u32,
    /// Write the picture to this PNG file; of several takes, FILE-1.png, FILE-2.png, ...
    #[arg(long, value_name = "FILE.png", required_unless_present = "project")]
    pub(crate) out: Option<PathBuf>,
    /// Add the takes to this project; it is made if it is not there
    #[arg(long, value_name = "FILE.outframe")]
    pub(crate) project: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
}

#[derive(Debug, Args)]
pub(crate) struct Extend {
    /// The project file
    pub(crate) file: PathBuf,
    /// Pixels to add on the left
    #[arg(long, value_name = "PX", default_value_t = 0, hide_default_value = true)]
    pub(crate) left: u32,
    /// Pixels to add on the right
    #[arg(long, value_name = "PX", default_value_t = 0, hide_default_value = true)]
    pub(crate) right: u32,
    /// Pixels to add at the top
    #[arg(long, value_name = "PX", default_value_t = 0, hide_default_value = true)]
    pub(crate) up: u32,
    /// Pixels to add at the bottom
    #[arg(long, value_name = "PX", default_value_t = 0, hide_default_value = true)]
    pub(crate) down: u32,
    #[command(flatten)]
    pub(crate) brush: Brush,
}

/// How to paint on the canvas.
#[derive(Debug, Args)]
pub(crate) struct Brush {
    /// What the painted area shows [default: the picture's own prompt]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Denoising strength, 0 to 1 [default: the model's; 0.6 to vary]
    #[arg(long, value_name = "D")]
    pub(crate) strength: Option<f64>,
    /// Number of takes, 1 to 8; take i has the seed S + i, and the first is shown
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) takes: u32,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
}

#[derive(Debug, Args)]
pub(crate) struct ZoomOut {
    /// The project file
    pub(crate) file: PathBuf,
    /// By how much the frame's sides grow: above 1, at most 4
    #[arg(long, value_name = "F", default_value_t = 1.5)]
    pub(crate) factor: f64,
    #[command(flatten)]
    pub(crate) brush: Brush,
}

#[derive(Debug, Args)]
pub(crate) struct Reframe {
    /// The project file
    pub(crate) file: PathBuf,
    /// The frame's proportions afterwards
    #[arg(long, value_name = "W:H", value_parser = parse_aspect)]
    pub(crate) aspect: (u32, u32),
    #[command(flatten)]
    pub(crate) brush: Brush,
}

#[derive(Debug, Args)]
pub(crate) struct Vary {
    /// The project file
    pub(crate) file: PathBuf,
    /// A rectangle of the canvas [default: the whole frame]
    #[arg(long, value_name = "X,Y,W,H", value_parser = parse_rect, allow_hyphen_values = true, conflicts_with = "mask")]
    pub(crate) rect: Option<Rect>,
    /// A picture that is white where to vary; its corner lies at the frame's
    #[arg(long, value_name = "FILE")]
    pub(crate) mask: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) brush: Brush,
}

#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The project file
    pub(crate) file: PathBuf,
    /// The pictures
    #[arg(required = true, value_name = "IMAGE")]
    pub(crate) images: Vec<PathBuf>,
    /// Where their top left corners go [default: the frame's]
    #[arg(long, value_name = "X,Y", value_parser = parse_point, allow_hyphen_values = true)]
    pub(crate) at: Option<(i64, i64)>,
    /// Make each picture a layer of its own; otherwise they share one, the last on top
    #[arg(long)]
    pub(crate) each_as_layer: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The project file
    pub(crate) file: PathBuf,
    /// The file to write; its ending (.png, .jpg, .webp, .tif, .ora) says the format
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The part of the canvas to write [default: the frame]
    #[arg(long, value_name = "X,Y,W,H", value_parser = parse_rect, allow_hyphen_values = true)]
    pub(crate) rect: Option<Rect>,
    /// Write nothing but the picture: no prompt, no seed, no note that a model made it
    #[arg(long)]
    pub(crate) strip_metadata: bool,
    /// For JPEG, 1 to 100
    #[arg(long, value_name = "Q", default_value_t = 92, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) quality: u8,
    /// Write OpenRaster with layers, whatever the file's ending
    #[arg(long)]
    pub(crate) ora: bool,
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let (width, height) = text.split_once(['x', 'X', '×']).ok_or("write it as WIDTHxHEIGHT, for instance 384x256")?;
    let side = |text: &str| text.trim().parse().map_err(|_| format!("“{text}” is no number of pixels"));
    Ok((side(width)?, side(height)?))
}

fn parse_aspect(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once(':').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    sides.filter(|(a, b)| *a > 0 && *b > 0).ok_or_else(|| "write it as WIDTH:HEIGHT, for instance 16:9".into())
}

fn numbers<const N: usize>(text: &str) -> Result<[i64; N], String> {
    let numbers: Result<Vec<i64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    numbers
        .ok()
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| format!("{N} whole numbers with commas between are expected"))
}

fn parse_blend(text: &str) -> Result<outframe_document::BlendMode, String> {
    outframe_document::BlendMode::from_name(text).ok_or_else(|| {
        let names: Vec<_> = outframe_document::BlendMode::ALL.iter().map(|mode| mode.as_str()).collect();
        format!("known are {}", names.join(", "))
    })
}

fn parse_purge(text: &str) -> Result<outframe_document::Purge, String> {
    use outframe_document::{Purge, StepId};
    let step = |text: &str| text.parse().map(StepId::from_raw).map_err(|_| format!("“{text}” is no number of a step"));
    match text.split_once('=') {
        Some(("before", number)) => Ok(Purge::Before(step(number)?)),
        Some(("from", number)) => Ok(Purge::From(step(number)?)),
        None if text == "others" => Ok(Purge::OtherBranches),
        _ => Err("write before=STEP, from=STEP or others".into()),
    }
}

fn parse_point(text: &str) -> Result<(i64, i64), String> {
    numbers::<2>(text).map(|[x, y]| (x, y))
}

fn parse_rect(text: &str) -> Result<Rect, String> {
    let [x, y, width, height] = numbers::<4>(text)?;
    let side =
        |value: i64| u32::try_from(value).ok().filter(|side| *side > 0).ok_or("width and height must be above 0");
    Ok(Rect::new(x, y, side(width)?, side(height)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_points_and_rectangles_are_read() {
        assert_eq!(parse_size("384x256"), Ok((384, 256)));
        assert!(parse_size("384").is_err() && parse_size("ax2").is_err() && parse_size("-1x2").is_err());
        assert_eq!(parse_aspect("16:9"), Ok((16, 9)));
        assert!(parse_aspect("16").is_err() && parse_aspect("0:9").is_err() && parse_aspect("1.5:1").is_err());
        assert_eq!(parse_point("-5, 7"), Ok((-5, 7)));
        assert_eq!(parse_rect("-1,2,3,4"), Ok(Rect::new(-1, 2, 3, 4)));
        assert!(parse_rect("1,2,0,4").is_err() && parse_rect("1,2,3").is_err());
    }
}
