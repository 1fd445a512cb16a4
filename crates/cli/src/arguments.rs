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
    /// Bring pictures into a project, each as a layer of its own; makes the project if it is not there
    #[command(after_help = "Examples:
  outframe import trip.outframe photo.jpg
  outframe import trip.outframe a.png b.png --at 256,0")]
    Import(Import),
    /// Write a project's picture to a PNG file
    #[command(after_help = "Examples:
  outframe export sea.outframe --out sea.png
  outframe export sea.outframe --out corner.png --rect 0,0,128,128")]
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
    /// Sampler: ddim or dpmpp-2m [default: the model's]
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
    /// What the new area shows [default: the picture's own prompt]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Denoising strength, 0 to 1 [default: the model's]
    #[arg(long, value_name = "D")]
    pub(crate) strength: Option<f64>,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
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
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The project file
    pub(crate) file: PathBuf,
    /// The PNG file to write
    #[arg(long, value_name = "FILE.png")]
    pub(crate) out: PathBuf,
    /// The part of the canvas to write [default: the frame]
    #[arg(long, value_name = "X,Y,W,H", value_parser = parse_rect, allow_hyphen_values = true)]
    pub(crate) rect: Option<Rect>,
}

fn parse_size(text: &str) -> Result<(u32, u32), String> {
    let (width, height) = text.split_once(['x', 'X', '×']).ok_or("write it as WIDTHxHEIGHT, for instance 384x256")?;
    let side = |text: &str| text.trim().parse().map_err(|_| format!("“{text}” is no number of pixels"));
    Ok((side(width)?, side(height)?))
}

fn numbers<const N: usize>(text: &str) -> Result<[i64; N], String> {
    let numbers: Result<Vec<i64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    numbers
        .ok()
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| format!("{N} whole numbers with commas between are expected"))
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
        assert_eq!(parse_point("-5, 7"), Ok((-5, 7)));
        assert_eq!(parse_rect("-1,2,3,4"), Ok(Rect::new(-1, 2, 3, 4)));
        assert!(parse_rect("1,2,0,4").is_err() && parse_rect("1,2,3").is_err());
    }
}
