//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use outframe_camera::{Easing, MoveKind};
use outframe_document::Rect;
use outframe_studio::{
    EmbeddingChoice, LoraChoice, Settings, Tuning,
    controls::Control,
    film::{AdapterChoice, FilmOptions, Format},
};

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
  outframe generate \"a red canyon\" --negative clouds --steps 20 --guidance 4 --size 384x256 --out canyon.png
  outframe generate \"a stone bridge\" --model sd15 --control edges=bridge.jpg,canny,scale=0.8 --out bridge.png")]
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
    /// Make a larger picture of a project's: a new project beside it, or a file
    #[command(after_help = "Examples:
  outframe upscale sea.outframe
  outframe upscale sea.outframe --factor 4 --out sea-large.png
  outframe upscale sea.outframe --mode creative --strength 0.25 --to sea-detailed.outframe")]
    Upscale(Upscale),
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
  outframe export sea.outframe --out large.tif --scale 4 --depth 16
  outframe export sea.outframe --out sea.ora")]
    Export(Export),
    /// Write a project's picture as tiles for publishing: PNGs in folders, and what viewers need to know of them
    #[command(after_help = "Examples:
  outframe tiles sea.outframe --out sea-tiles
  outframe tiles sea.outframe --level 2 --out sea-tiles")]
    Tiles(Tiles),
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
    /// Make and change shots: what a camera does over the picture
    #[command(after_help = "Examples:
  outframe shot sea.outframe add --truck 0.5 --zoom 1.4 --seconds 4
  outframe shot sea.outframe set \"Shot 1\" --dial pan=-2.5 --easing out --motion-blur 180
  outframe shot sea.outframe add --dolly 0..0.4 --handheld 0.6 --size 1280x720 --fps 25
  outframe shot sea.outframe import --deforum settings.json
  outframe shot sea.outframe list")]
    Shot {
        /// The project file
        file: PathBuf,
        #[command(subcommand)]
        command: Box<ShotCommand>,
    },
    /// Paint what a shot sees and the picture lacks
    #[command(after_help = "Examples:
  outframe cover sea.outframe \"Shot 1\" --dry-run
  outframe cover sea.outframe \"Shot 1\" --prompt \"cliffs\"")]
    Cover(Cover),
    /// Write the film of a shot
    #[command(after_help = "Examples:
  outframe film sea.outframe \"Shot 1\" --out sea.mp4
  outframe film sea.outframe \"Shot 1\" --out sea.mp4 --format mp4-h264 --quality 90
  outframe film sea.outframe \"Shot 1\" --out pictures")]
    Film(Film),
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
    /// List the styles that --style takes
    Styles,
    /// The installed models
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// List them, with what each is
    List {
        /// The well-known open models that can be downloaded by their names instead
        #[arg(long)]
        catalog: bool,
    },
    /// Show everything that is known about one
    Info {
        /// Its name, or its file or folder
        model: String,
    },
    /// Read its weights again and compare their SHA-256
    #[command(after_help = "Examples:
  outframe models verify meadow
  outframe models verify meadow --sha256 6ce0161689b3853acaa03779ec93eafe75a02f4ced659bee03f50797806fa2fa")]
    Verify {
        /// Its name, or its file or folder
        model: String,
        /// The SHA-256 that its hub quotes; without it, the one that was recorded when it was read before
        #[arg(long)]
        sha256: Option<String>,
        /// Record what it holds now: it was changed on purpose
        #[arg(long, conflicts_with = "sha256")]
        accept: bool,
    },
    /// Put a model into your own library folder
    #[command(
        after_help = "What it is is told from its header before anything is done. Pickles (.ckpt, .bin, .pt) are refused.

Examples:
  outframe models add ~/Downloads/meadow.safetensors
  outframe models add /mnt/models/sdxl --copy --name big"
    )]
    Add {
        /// A .safetensors file, or a folder in diffusers layout
        path: PathBuf,
        /// Let the library point to where it is: no space is used, and it must stay there. This is what happens without --copy
        #[arg(long, conflicts_with = "copy")]
        link: bool,
        /// Copy it into the library
        #[arg(long)]
        copy: bool,
        /// The name in the library; its own when absent
        #[arg(long)]
        name: Option<String>,
    },
    /// Take a model out of your own library folder; a link is only unlinked
    Remove {
        /// Its name, or its file or folder
        model: String,
        /// What is no link is gone for good: this is meant
        #[arg(long)]
        yes: bool,
    },
    /// Download a model from the hub into your own library folder
    #[command(after_help = "What was transferred before a break is used the next time. Size and SHA-256 are verified.
HF_TOKEN is sent to the hub where it asks who you are; HF_ENDPOINT names another hub; HTTPS_PROXY is used.

Examples:
  outframe models download sd-1.5-inpainting
  outframe models download owner/name --file model.safetensors --name meadow")]
    Download {
        /// A name of the catalogue (`outframe models list --catalog`), or a repository, owner/name
        model: String,
        /// One file of the repository
        #[arg(long)]
        file: Option<String>,
        /// Full precision, where half precision is there too: twice the size
        #[arg(long)]
        full: bool,
        /// The name in the library
        #[arg(long)]
        name: Option<String>,
    },
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
pub(crate) enum ShotCommand {
    /// List them
    List,
    /// Add a shot of the first frame, in its size and five seconds long unless said otherwise
    Add {
        #[command(flatten)]
        options: ShotOptions,
    },
    /// Change a shot; a move replaces those of its kind
    Set {
        /// Its number or name, from the list
        shot: String,
        /// First take away all its moves and keyframes
        #[arg(long)]
        clear: bool,
        #[command(flatten)]
        options: ShotOptions,
    },
    /// Remove a shot
    Remove {
        /// Its number or name, from the list
        shot: String,
    },
    /// Add a shot that does what another program's file says
    Import {
        #[command(flatten)]
        from: ImportFrom,
        #[command(flatten)]
        options: ShotOptions,
    },
}

/// What a shot is and does. Amounts are END, or START..END; positive is right, up, in and clockwise.
#[derive(Debug, Args)]
pub(crate) struct ShotOptions {
    /// Its name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Its duration
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    pub(crate) seconds: Option<f64>,
    /// Pictures per second, such as 24 or 24000/1001
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub(crate) fps: Option<(u32, u32)>,
    /// The film's width and height in pixels
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    pub(crate) size: Option<(u32, u32)>,
    /// Turn to the right, in degrees
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true, value_parser = parse_amount)]
    pub(crate) pan: Option<Amount>,
    /// Turn up, in degrees
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true, value_parser = parse_amount)]
    pub(crate) tilt: Option<Amount>,
    /// Turn clockwise, in degrees
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true, value_parser = parse_amount)]
    pub(crate) roll: Option<Amount>,
    /// Go right, in frame widths
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true, value_parser = parse_amount)]
    pub(crate) truck: Option<Amount>,
    /// Go up, in frame heights
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true, value_parser = parse_amount)]
    pub(crate) pedestal: Option<Amount>,
    /// Go in, in parts of the picture plane's distance
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true, value_parser = parse_amount)]
    pub(crate) dolly: Option<Amount>,
    /// Longer lens, as a factor: 2 shows everything twice as large
    #[arg(long, value_name = "AMOUNT", value_parser = parse_amount)]
    pub(crate) zoom: Option<Amount>,
    /// Go around the frame's centre to the right, in degrees
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true, value_parser = parse_amount)]
    pub(crate) orbit: Option<Amount>,
    /// Go around the frame's centre upwards, in degrees
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true, value_parser = parse_amount)]
    pub(crate) elevation: Option<Amount>,
    /// Go up and keep looking at the subject, in frame heights
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true, value_parser = parse_amount)]
    pub(crate) crane: Option<Amount>,
    /// Go in while the subject keeps its size, in parts of the distance
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true, value_parser = parse_amount)]
    pub(crate) dolly_zoom: Option<Amount>,
    /// Shake as a hand does, in percent of the frame
    #[arg(long, value_name = "PERCENT")]
    pub(crate) handheld: Option<f64>,
    /// Which shaking; the same seed shakes the same
    #[arg(long, value_name = "S", requires = "handheld")]
    pub(crate) shake_seed: Option<u64>,
    /// Go from the frame to this rectangle of the canvas
    #[arg(long, value_name = "X,Y,W,H", value_parser = parse_rect, allow_hyphen_values = true)]
    pub(crate) reframe: Option<Rect>,
    /// A move by its dial, -10 to 10, such as truck=3.5; may be given several times
    #[arg(long, value_name = "MOVE=DIAL", value_parser = parse_dial)]
    pub(crate) dial: Vec<(MoveKind, f64)>,
    /// How the given moves begin and end: linear, in, out, in-out, hold, easy-ease, or X1,Y1,X2,Y2 [default: in-out]
    #[arg(long, value_name = "EASING", value_parser = parse_easing)]
    pub(crate) easing: Option<Easing>,
    /// Focal length at rest, in millimetres on film 36 mm wide [default: 50]
    #[arg(long, value_name = "MM")]
    pub(crate) lens: Option<f64>,
    /// What is seen at rest where frame and film differ in proportions
    #[arg(long, value_parser = ["crop", "contain", "stretch"])]
    pub(crate) fit: Option<String>,
    /// Shutter angle in degrees and moments averaged; 0 switches the blur off
    #[arg(long, value_name = "ANGLE[,SAMPLES]", value_parser = parse_blur)]
    pub(crate) motion_blur: Option<(f64, u32)>,
}

/// How far a move goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Amount {
    /// At rest when absent.
    pub(crate) start: Option<f64>,
    pub(crate) end: f64,
}

/// The file to read a shot from.
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct ImportFrom {
    /// A settings file of Deforum
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["runway", "kling"])]
    pub(crate) deforum: Option<PathBuf>,
    /// Dials as Runway shows them: horizontal, vertical, pan, tilt, roll, zoom
    #[arg(long, value_name = "FILE.json", conflicts_with = "kling")]
    pub(crate) runway: Option<PathBuf>,
    /// A `camera_control` of Kling's
    #[arg(long, value_name = "FILE.json")]
    pub(crate) kling: Option<PathBuf>,
    /// Read Kling's pan as up and down, as some of its descriptions have it
    #[arg(long, requires = "kling")]
    pub(crate) kling_pan_vertical: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Cover {
    /// The project file
    pub(crate) file: PathBuf,
    /// The shot's number or name
    pub(crate) shot: String,
    /// Only say what is missing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// What the painted area shows [default: the picture's own prompt]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Denoising strength, 0 to 1 [default: the model's]
    #[arg(long, value_name = "D")]
    pub(crate) strength: Option<f64>,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
}

#[derive(Debug, Args)]
pub(crate) struct Film {
    /// The project file
    pub(crate) file: PathBuf,
    /// The shot's number or name
    pub(crate) shot: String,
    /// The film: a file that ends in .mp4, or a folder for numbered PNGs
    #[arg(long, value_name = "FILE.mp4|FOLDER")]
    pub(crate) out: PathBuf,
    /// mp4-av1, mp4-h264 (needs ffmpeg) or png-sequence [default: mp4-av1 for .mp4, else png-sequence]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<Format>,
    /// 0 (small) to 100 (near perfect)
    #[arg(long, value_name = "Q", default_value_t = FilmOptions::QUALITY, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) quality: u8,
    /// The graphics adapter: auto, software, or a part of its name
    #[arg(long, value_name = "NAME", default_value = "auto", env = "OUTFRAME_ADAPTER")]
    pub(crate) adapter: AdapterChoice,
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
    /// A style around the prompt, such as watercolour; `outframe styles` lists them
    #[arg(long, value_name = "NAME")]
    style: Option<String>,
    /// A model's name or folder [default: starter]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Denoising steps [default: the model's]
    #[arg(long, value_name = "N")]
    steps: Option<u32>,
    /// Guidance scale: how strictly the prompt is followed [default: the model's]
    #[arg(long, value_name = "G")]
    guidance: Option<f64>,
    /// Sampler [default: the model's]
    #[arg(long, value_name = "NAME", value_parser = outframe_studio::SAMPLERS)]
    sampler: Option<String>,
    /// Seed of the noise; the same seed makes the same picture [default: random]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Paint with a LoRA of the library, by its name or file, and how strongly, -2 to 2; may be given several times
    #[arg(long, value_name = "NAME[:WEIGHT]", value_parser = parse_lora)]
    lora: Vec<LoraChoice>,
    /// Teach the prompt a textual inversion of the library, by its name or file, and the word for it; may be given several
    /// times
    #[arg(long, value_name = "NAME[=WORD]", value_parser = parse_embedding)]
    embedding: Vec<EmbeddingChoice>,
    /// Layers of the text encoder to leave out at its end; 0 is none
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    clip_skip: u32,
    /// How far to bring the contrast back that a strong guidance adds, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, hide_default_value = true)]
    guidance_rescale: f64,
    /// Another VAE than the model's own, by its name in the library, its file or its folder
    #[arg(long, value_name = "NAME|PATH")]
    vae: Option<String>,
    /// Follow a picture by a ControlNet: NAME=PICTURE, and after commas scale=0.8, from=0.1, to=0.6 (parts of the steps), canny
    /// or canny=100-200 (follow the picture's edges); may be given several times
    #[arg(long = "control", value_name = "NAME=PICTURE[,...]", value_parser = crate::control::parse_control)]
    controls: Vec<Control>,
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
            style: self.style.clone(),
            model: self.model.clone(),
            steps: self.steps,
            guidance: self.guidance,
            sampler: self.sampler.clone(),
            seed: self.seed,
            tuning: Tuning {
                loras: self.lora.clone(),
                embeddings: self.embedding.clone(),
                clip_skip: self.clip_skip,
                guidance_rescale: self.guidance_rescale,
                vae: self.vae.clone(),
            },
            controls: self.controls.clone(),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// What the picture should show; {a,b} stands for each of them, __name__ for a line of wildcards/name.txt in the
    /// configuration folder
    pub(crate) prompt: String,
    /// Width and height in pixels [default: the model's native square]
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    pub(crate) size: Option<(u32, u32)>,
    /// Number of takes; take i has the seed S + i and the prompt's i-th alternative [default: one for each alternative]
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u32>,
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
pub(crate) struct Upscale {
    /// The project file; it is not changed
    pub(crate) file: PathBuf,
    /// How many times as large the picture becomes along each side: 2 or 4
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = parse_factor)]
    pub(crate) factor: u32,
    /// Whether only sharpness changes (subtle), or the model adds detail (creative)
    #[arg(long, default_value = "subtle", value_parser = ["subtle", "creative"])]
    pub(crate) mode: String,
    /// Write the picture to this file (.png, .jpg, .webp, .tif) and make no project
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    pub(crate) out: Option<PathBuf>,
    /// The new project [default: NAME-2x.outframe beside the old one]
    #[arg(long, value_name = "FILE.outframe")]
    pub(crate) to: Option<PathBuf>,
    /// An upscaler's name or .safetensors file [default: realesr-animevideov3]
    #[arg(long, value_name = "NAME|PATH")]
    pub(crate) upscaler: Option<String>,
    /// The part of the canvas [default: the frame]
    #[arg(long, value_name = "X,Y,W,H", value_parser = parse_rect, allow_hyphen_values = true)]
    pub(crate) rect: Option<Rect>,
    /// With --out: write nothing but the picture
    #[arg(long, requires = "out")]
    pub(crate) strip_metadata: bool,
    /// With --mode creative: what the picture shows [default: its own prompt]
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// With --mode creative: denoising strength, 0 to 1 [default: 0.3]
    #[arg(long, value_name = "D")]
    pub(crate) strength: Option<f64>,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The project file
    pub(crate) file: PathBuf,
    /// The file to write; its ending (.png, .jpg, .webp, .tif, .ora) says the format
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The part of the canvas to write [default: the first frame]
    #[arg(long, value_name = "X,Y,W,H", value_parser = parse_rect, allow_hyphen_values = true)]
    pub(crate) rect: Option<Rect>,
    /// The frame to write, by its name
    #[arg(long, value_name = "NAME", conflicts_with = "rect")]
    pub(crate) frame: Option<String>,
    /// How many times as wide and high as the canvas the picture is, such as 2 or 0.5
    #[arg(long, value_name = "F", value_parser = parse_scale, conflicts_with = "ora")]
    pub(crate) scale: Option<f64>,
    /// Bits a channel; 16 for PNG and TIFF
    #[arg(long, value_name = "BITS", default_value = "8", value_parser = ["8", "16"])]
    pub(crate) depth: String,
    /// Write nothing but the picture: no prompt, no seed, no note that a model made it
    #[arg(long)]
    pub(crate) strip_metadata: bool,
    /// For JPEG, 1 to 100
    #[arg(long, value_name = "Q", default_value_t = 92, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) quality: u8,
    /// Write OpenRaster with layers, whatever the file's ending
    #[arg(long)]
    pub(crate) ora: bool,
    /// The graphics adapter: auto, software, or a part of its name
    #[arg(long, value_name = "NAME", default_value = "auto", env = "OUTFRAME_ADAPTER")]
    pub(crate) adapter: AdapterChoice,
}

#[derive(Debug, Args)]
pub(crate) struct Tiles {
    /// The project file
    pub(crate) file: PathBuf,
    /// The folder to write
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Only this level, in a folder of its own: 0 is one to one, each further one half as large [default: all, as a Deep
    /// Zoom picture]
    #[arg(long, value_name = "L")]
    pub(crate) level: Option<u32>,
    /// The part of the canvas to write [default: the first frame]
    #[arg(long, value_name = "X,Y,W,H", value_parser = parse_rect, allow_hyphen_values = true)]
    pub(crate) rect: Option<Rect>,
    /// The graphics adapter: auto, software, or a part of its name
    #[arg(long, value_name = "NAME", default_value = "auto", env = "OUTFRAME_ADAPTER")]
    pub(crate) adapter: AdapterChoice,
}

fn parse_lora(text: &str) -> Result<LoraChoice, String> {
    // A file's path may have a colon of its own.
    let (name, weight) = match text.rsplit_once(':') {
        Some((name, weight)) if !weight.contains(['/', '\\']) => {
            (name, weight.trim().parse().map_err(|_| format!("“{weight}” is no weight; write NAME:0.8"))?)
        }
        _ => (text, 1.0),
    };
    if name.trim().is_empty() {
        return Err("the LoRA’s name is missing; write NAME or NAME:0.8".into());
    }
    Ok(LoraChoice { name: name.trim().into(), weight })
}

fn parse_embedding(text: &str) -> Result<EmbeddingChoice, String> {
    let (name, word) = text.split_once('=').map_or((text, None), |(name, word)| (name, Some(word.trim().to_owned())));
    if name.trim().is_empty() || word.as_ref().is_some_and(String::is_empty) {
        return Err("write NAME, or NAME=WORD for another word in the prompt".into());
    }
    Ok(EmbeddingChoice { name: name.trim().into(), word })
}

fn parse_scale(text: &str) -> Result<f64, String> {
    let scale: f64 = text.parse().map_err(|_| format!("“{text}” is no number"))?;
    if scale > 0.0 && scale <= 64.0 { Ok(scale) } else { Err("choose more than 0, at most 64".into()) }
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

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("“{text}” is no number of seconds"))?;
    if seconds > 0.0 && seconds <= 36_000.0 { Ok(seconds) } else { Err("choose more than 0, at most 36000".into()) }
}

fn parse_rate(text: &str) -> Result<(u32, u32), String> {
    let (over, under) = text.split_once('/').unwrap_or((text, "1"));
    let number = |text: &str| text.trim().parse().ok().filter(|number| (1..=1_000_000).contains(number));
    number(over).zip(number(under)).ok_or_else(|| "write 24, or a fraction such as 24000/1001".into())
}

fn parse_amount(text: &str) -> Result<Amount, String> {
    let number = |text: &str| -> Result<f64, String> {
        let found = text.trim().parse().ok().filter(|number: &f64| number.is_finite());
        found.ok_or_else(|| format!("“{text}” is no number; write 0.5, or from 0 to 0.5 as 0..0.5"))
    };
    match text.split_once("..") {
        Some((start, end)) => Ok(Amount { start: Some(number(start)?), end: number(end)? }),
        None => Ok(Amount { start: None, end: number(text)? }),
    }
}

fn parse_dial(text: &str) -> Result<(MoveKind, f64), String> {
    let (name, dial) = text.split_once('=').ok_or("write it as MOVE=DIAL, for instance truck=3.5")?;
    // The names are those of the project file.
    let kind =
        serde_json::from_value(name.into()).ok().filter(|kind| !matches!(kind, MoveKind::Static | MoveKind::Reframe));
    let kind = kind.ok_or_else(|| format!("there is no move “{name}” with a dial"))?;
    let dial = dial.parse().ok().filter(|dial| (-10.0..=10.0).contains(dial)).ok_or("a dial goes from -10 to 10")?;
    Ok((kind, dial))
}

fn parse_easing(text: &str) -> Result<Easing, String> {
    if text == "easy-ease" {
        return Ok(Easing::EASY_EASE);
    }
    if let Ok(named) = serde_json::from_value(text.into()) {
        return Ok(named);
    }
    let handles: Result<Vec<f64>, _> = text.split(',').map(|part| part.trim().parse()).collect();
    let handles = handles.ok().and_then(|handles| handles.try_into().ok());
    handles.map(Easing::CubicBezier).ok_or_else(|| {
        "known are linear, in, out, in-out, hold, easy-ease, and the handles X1,Y1,X2,Y2 of a cubic curve".into()
    })
}

fn parse_blur(text: &str) -> Result<(f64, u32), String> {
    let (angle, samples) = text.split_once(',').unwrap_or((text, "8"));
    let angle = angle.trim().parse().ok().filter(|angle| (0.0..=360.0).contains(angle));
    let samples = samples.trim().parse().ok().filter(|samples| (1..=256).contains(samples));
    angle.zip(samples).ok_or_else(|| "write the angle, 0 to 360, and if you like the samples, 1 to 256: 180,8".into())
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

fn parse_factor(text: &str) -> Result<u32, String> {
    text.trim_end_matches(['x', '×']).parse().ok().filter(|factor| [2, 4].contains(factor)).ok_or("2 or 4".into())
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
    fn adapters_are_read() {
        let lora = |name: &str, weight| Ok(LoraChoice { name: name.into(), weight });
        assert_eq!(parse_lora("ink"), lora("ink", 1.0));
        assert_eq!(parse_lora("ink:-0.5"), lora("ink", -0.5));
        assert_eq!(parse_lora("C:\\loras\\ink.safetensors"), lora("C:\\loras\\ink.safetensors", 1.0));
        assert_eq!(parse_lora("C:/loras/ink.safetensors:2"), lora("C:/loras/ink.safetensors", 2.0));
        assert!(parse_lora("ink:strong").is_err() && parse_lora(":1").is_err() && parse_lora("").is_err());
        let word =
            |name: &str, word: Option<&str>| Ok(EmbeddingChoice { name: name.into(), word: word.map(Into::into) });
        assert_eq!(parse_embedding("calm"), word("calm", None));
        assert_eq!(parse_embedding("calm=<calm>"), word("calm", Some("<calm>")));
        assert!(parse_embedding("=x").is_err() && parse_embedding("calm=").is_err());
    }

    #[test]
    fn an_unknown_sampler_is_refused_with_those_that_exist() {
        let with =
            |sampler| Arguments::try_parse_from(["outframe", "generate", "x", "--out", "x.png", "--sampler", sampler]);
        for sampler in outframe_studio::SAMPLERS {
            assert!(with(sampler).is_ok(), "{sampler}");
        }
        let error = with("dpm").unwrap_err().to_string();
        assert!(outframe_studio::SAMPLERS.iter().all(|sampler| error.contains(sampler)), "{error}");
    }

    #[test]
    fn sizes_points_and_rectangles_are_read() {
        assert_eq!(parse_size("384x256"), Ok((384, 256)));
        assert!(parse_size("384").is_err() && parse_size("ax2").is_err() && parse_size("-1x2").is_err());
        assert_eq!(parse_amount("-0.5"), Ok(Amount { start: None, end: -0.5 }));
        assert_eq!(parse_amount("-1..2"), Ok(Amount { start: Some(-1.0), end: 2.0 }));
        assert!(parse_amount("far").is_err() && parse_amount("0..inf").is_err());
        assert_eq!(parse_dial("dolly-zoom=-2.5"), Ok((MoveKind::DollyZoom, -2.5)));
        assert!(parse_dial("pan=11").is_err() && parse_dial("reframe=1").is_err() && parse_dial("truck").is_err());
        assert_eq!(parse_easing("in-out"), Ok(Easing::InOut));
        assert_eq!(parse_easing(".3, 0, .6, 1"), Ok(Easing::CubicBezier([0.3, 0.0, 0.6, 1.0])));
        assert!(parse_easing("bouncy").is_err() && parse_easing("1,2,3").is_err());
        assert_eq!(parse_rate("24000/1001"), Ok((24000, 1001)));
        assert!(parse_rate("0").is_err() && parse_rate("25.5").is_err());
        assert_eq!((parse_blur("180"), parse_blur("90,16")), (Ok((180.0, 8)), Ok((90.0, 16))));
        assert!(parse_blur("500").is_err() && parse_seconds("0").is_err());
        assert_eq!(parse_aspect("16:9"), Ok((16, 9)));
        assert!(parse_aspect("16").is_err() && parse_aspect("0:9").is_err() && parse_aspect("1.5:1").is_err());
        assert_eq!((parse_factor("2"), parse_factor("4x")), (Ok(2), Ok(4)));
        assert!(parse_factor("3").is_err() && parse_factor("big").is_err());
        assert_eq!(parse_point("-5, 7"), Ok((-5, 7)));
        assert_eq!(parse_rect("-1,2,3,4"), Ok(Rect::new(-1, 2, 3, 4)));
        assert!(parse_rect("1,2,0,4").is_err() && parse_rect("1,2,3").is_err());
    }
}
