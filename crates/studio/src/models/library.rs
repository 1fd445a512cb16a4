//! What lies in the model folders, told from headers alone: no weight is read and no engine is needed.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use base64::Engine as _;
use serde::Serialize;

use super::{
    INDEX, Models, STARTER,
    header::Header,
    is_file_name,
    kind::{Family, Kind, Sort},
};
use crate::StudioError;

/// Folders inside folders are followed this far; links that lead in a circle end here.
const MAX_DEPTH: usize = 4;
/// A folder with more entries is no model folder but a whole disk.
const MAX_ENTRIES: usize = 20_000;
/// A thumbnail in the metadata, in bytes after decoding.
const MAX_THUMBNAIL: usize = 8 << 20;
/// Words that trigger an adapter, the most frequent of its training first.
const MAX_TRIGGERS: usize = 12;
/// `model_index.json` is a page of text.
const MAX_INDEX: u64 = 1 << 20;
/// Names that diffusers gives every file of a kind: the folder's name tells more.
const GENERIC: [&str; 5] =
    ["diffusion_pytorch_model", "pytorch_lora_weights", "model", "adapter_model", "learned_embeds"];

/// What the files' headers said, as long as size and time are as they were: a header can be megabytes.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<PathBuf, (u64, SystemTime, LibraryItem)>>);

impl Known {
    fn file(&self, path: &Path) -> Option<LibraryItem> {
        if !is_weights(path) {
            return None;
        }
        let about = path.metadata().ok()?;
        let (bytes, modified) = (about.len(), about.modified().ok()?);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, _, item)) = known.get(path).filter(|known| (known.0, known.1) == (bytes, modified)) {
            return Some(LibraryItem { preview: preview(path), ..item.clone() });
        }
        let item = LibraryItem::of_file(path)?;
        if known.len() >= MAX_ENTRIES {
            known.clear();
        }
        known.insert(path.into(), (bytes, modified, item.clone()));
        Some(item)
    }
}

/// One model of the library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LibraryItem {
    /// The file's name without its ending, or the folder's.
    pub name: String,
    /// The file or folder.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// To which models it belongs, where that can be told.
    pub family: Option<Family>,
    /// Whether it was made for filling: it sees the mask and the picture around.
    pub inpainting: bool,
    /// The type of most of its weights: `f16`, `bf16`, `f32`.
    pub precision: Option<String>,
    /// Bytes of its weights on the disk.
    pub bytes: u64,
    /// The title that its makers gave it.
    pub title: Option<String>,
    /// Its licence, as its makers wrote it.
    pub licence: Option<String>,
    /// Words that its makers advise, or those most frequent in its training.
    pub trigger_words: Vec<String>,
    /// A picture beside the file.
    pub preview: Option<PathBuf>,
    /// Why it cannot be used, in words.
    pub problem: Option<String>,
}

impl LibraryItem {
    /// What it is in a few words: `SDXL, inpainting, f16`.
    pub fn description(&self) -> String {
        let parts = [
            Some(self.family.map_or(self.kind.name(), Family::name)),
            Some(self.kind.name())
                .filter(|_| self.family.is_some() && !matches!(self.kind, Kind::Checkpoint | Kind::Folder)),
            self.inpainting.then_some("inpainting"),
            self.precision.as_deref(),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// The files that hold its weights.
    pub fn weights(&self) -> Vec<PathBuf> {
        if self.path.is_dir() { weights_in(&self.path) } else { vec![self.path.clone()] }
    }

    /// Its thumbnail as the bytes of a picture file: the one in its metadata, else the one beside it.
    pub fn thumbnail(&self) -> Option<Vec<u8>> {
        let inside = || {
            let header = Header::read(&self.path).ok()?;
            let (_, encoded) = header.metadata.get("modelspec.thumbnail")?.split_once(";base64,")?;
            if encoded.len() / 4 * 3 > MAX_THUMBNAIL {
                return None;
            }
            base64::engine::general_purpose::STANDARD.decode(encoded).ok()
        };
        inside().or_else(|| read_bounded(self.preview.as_deref()?, MAX_THUMBNAIL as u64))
    }

    /// What a file is, wherever it lies.
    pub(super) fn at(path: &Path) -> Result<Self, StudioError> {
        Self::of_file(path).ok_or_else(|| {
            StudioError::InvalidRequest(format!(
                "{} is no model file: models are .safetensors files or folders with a {INDEX}.",
                path.display()
            ))
        })
    }

    /// Whether pictures can be painted with it alone. Folders count unread: the engine says what is wrong with one.
    pub fn paints(&self) -> bool {
        self.kind == Kind::Folder || (self.kind == Kind::Checkpoint && self.problem.is_none())
    }

    pub(super) fn paints_or_says_why(&self) -> Result<(), StudioError> {
        if self.paints() {
            return Ok(());
        }
        let advice = match self.kind {
            Kind::Lora | Kind::ControlNet | Kind::Vae | Kind::TextualInversion => {
                "It goes with a model: choose the model, and add this to it."
            }
            Kind::Unet => "It lacks the VAE and the text encoder; get the complete checkpoint.",
            Kind::Upscaler => "It enlarges pictures: use it with `upscale`.",
            _ => "It is not known what it is for.",
        };
        let refused = format!("“{}” is no model to paint with ({}). {advice}", self.name, self.description());
        Err(StudioError::InvalidRequest(self.problem.clone().unwrap_or(refused)))
    }

    fn new(path: &Path, name: String, kind: Kind) -> Self {
        Self {
            name,
            path: path.into(),
            kind,
            family: None,
            inpainting: false,
            precision: None,
            bytes: 0,
            title: None,
            licence: None,
            trigger_words: Vec::new(),
            preview: None,
            problem: None,
        }
    }

    fn of_file(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        let mut item = Self::new(path, name_of(path)?, Kind::Unknown);
        item.bytes = path.metadata().ok().filter(fs::Metadata::is_file)?.len();
        match ending.as_str() {
            "safetensors" => match Header::read(path) {
                Ok(header) => item.tell(&header),
                Err(why) => item.problem = Some(format!("{} cannot be used: {why}.", path.display())),
            },
            "ckpt" | "pt" | "pth" | "bin" => {
                item.problem = Some(format!(
                    "{} is a pickle, which can run any program when it is opened; Outframe does not open it. Get the \
                     model as .safetensors.",
                    path.display()
                ));
            }
            _ => return None,
        }
        item.preview = preview(path);
        Some(item)
    }

    fn of_folder(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut item = Self::new(path, name, Kind::Folder);
        let weights = weights_in(path);
        item.bytes = weights.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum();
        if let Some(Ok(header)) = weights
            .iter()
            .find(|file| file.parent().is_some_and(|folder| folder.ends_with("unet")))
            .map(|file| Header::read(file))
        {
            let sort = Sort::of(&header);
            (item.family, item.inpainting, item.precision) = (sort.family, sort.inpainting, header.precision());
        }
        let readable = read_bounded(&path.join(INDEX), MAX_INDEX)
            .is_some_and(|text| serde_json::from_slice::<serde_json::Map<_, _>>(&text).is_ok());
        if !readable {
            item.problem = Some(format!("{} cannot be understood; the folder is damaged.", path.join(INDEX).display()));
        }
        item
    }

    fn tell(&mut self, header: &Header) {
        let sort = Sort::of(header);
        (self.kind, self.family, self.inpainting) = (sort.kind, sort.family, sort.inpainting);
        self.precision = header.precision();
        let said = |name: &str| {
            header
                .metadata
                .get(name)
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty() && text != "None")
        };
        self.title = said("modelspec.title").or_else(|| said("ss_output_name"));
        self.licence = said("modelspec.license");
        self.trigger_words = match said("modelspec.trigger_phrase") {
            Some(phrase) => vec![phrase],
            None => said("ss_tag_frequency").map(|tags| frequent(&tags)).unwrap_or_default(),
        };
        let path = self.path.display();
        self.problem = match self.family {
            Some(family @ (Family::Sd3 | Family::Flux)) => {
                Some(format!("{path} is a {} model, which this version cannot run.", family.name()))
            }
            Some(Family::SdxlRefiner) if matches!(self.kind, Kind::Checkpoint | Kind::Unet) => Some(format!(
                "{path} is SDXL’s refiner, which only improves other models’ pictures; get the base model."
            )),
            _ => None,
        };
    }
}

/// Whether a file has the ending of one that holds weights, those that are refused included.
pub(super) fn is_weights(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| matches!(ending.as_str(), "safetensors" | "ckpt" | "pt" | "pth" | "bin"))
}

/// The file's name without its ending; where every file of its kind is called so, the folder's, and the variant.
fn name_of(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_string_lossy().into_owned();
    let (base, variant) = stem.split_once('.').map_or((stem.as_str(), None), |(base, rest)| (base, Some(rest)));
    let folder = path.parent().and_then(Path::file_name).filter(|_| GENERIC.contains(&base));
    Some(match (folder, variant) {
        (Some(folder), Some(variant)) => format!("{}.{variant}", folder.to_string_lossy()),
        (Some(folder), None) => folder.to_string_lossy().into_owned(),
        (None, _) => stem,
    })
}

/// The picture beside a file of weights.
fn preview(path: &Path) -> Option<PathBuf> {
    let endings = ["preview.png", "preview.jpg", "preview.jpeg", "preview.webp", "png", "jpg", "jpeg", "webp"];
    endings.iter().map(|ending| path.with_extension(ending)).find(|picture| picture.is_file())
}

/// The tags that trainers count by data set, the most frequent over all of them first.
fn frequent(tags: &str) -> Vec<String> {
    let sets: BTreeMap<String, BTreeMap<String, u64>> = serde_json::from_str(tags).unwrap_or_default();
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for (tag, count) in sets.into_values().flatten() {
        let sum = sums.entry(tag.trim().to_owned()).or_default();
        *sum = sum.saturating_add(count);
    }
    let mut sums: Vec<_> = sums.into_iter().filter(|(tag, _)| !tag.is_empty()).collect();
    sums.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    sums.into_iter().take(MAX_TRIGGERS).map(|(tag, _)| tag).collect()
}

fn read_bounded(path: &Path, most: u64) -> Option<Vec<u8>> {
    let file = fs::File::open(path).ok()?;
    let length = file.metadata().ok().filter(fs::Metadata::is_file)?.len();
    let mut bytes = Vec::new();
    (length <= most && file.take(most).read_to_end(&mut bytes).is_ok()).then_some(bytes)
}

/// Entries of a folder in the order of their names, hidden ones left out.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().take(MAX_ENTRIES);
    let visible = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    let mut paths: Vec<_> = visible.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn weights_in(folder: &Path) -> Vec<PathBuf> {
    let parts = entries(folder).into_iter().filter(|path| path.is_dir());
    let files = parts.flat_map(|part| entries(&part));
    files.filter(|file| file.extension().is_some_and(|ending| ending == "safetensors")).collect()
}

fn scan(folder: &Path, depth: usize, known: &Known, seen: &mut usize, found: &mut Vec<LibraryItem>) {
    for path in entries(folder) {
        *seen += 1;
        if *seen > MAX_ENTRIES {
            return;
        }
        if !path.is_dir() {
            found.extend(known.file(&path));
        } else if super::is_model(&path) {
            found.push(LibraryItem::of_folder(&path));
        } else if depth < MAX_DEPTH {
            scan(&path, depth + 1, known, seen, found);
        }
    }
}

impl Models {
    /// Everything, in the order of the folders; what is found under two of them once.
    pub(super) fn scan(&self) -> Vec<LibraryItem> {
        let mut found = Vec::new();
        for root in &self.roots {
            scan(root, 0, &self.known, &mut 0, &mut found);
        }
        let mut seen = std::collections::HashSet::new();
        found.retain(|item| seen.insert(item.path.canonicalize().unwrap_or_else(|_| item.path.clone())));
        found
    }

    /// Everything in the library's folders, the starter first, then by kind and name. What is found under two folders is listed
    /// once.
    pub fn library(&self) -> Vec<LibraryItem> {
        let mut found = self.scan();
        found.sort_by(|a, b| (a.name != STARTER, a.kind, &a.name).cmp(&(b.name != STARTER, b.kind, &b.name)));
        found
    }

    /// What can be used of one kind ([`Kind::Lora`], [`Kind::TextualInversion`], [`Kind::Vae`], [`Kind::ControlNet`],
    /// [`Kind::Upscaler`], …), by name; of two with one name, the first found counts.
    pub fn items(&self, kind: Kind) -> Vec<LibraryItem> {
        let mut found: Vec<LibraryItem> = Vec::new();
        for item in self.scan() {
            if item.kind == kind && item.problem.is_none() && !found.iter().any(|other| other.name == item.name) {
                found.push(item);
            }
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// The item of this kind with this name (that of the file with or without its ending), or at this path. What is of
    /// another kind or cannot be used is refused with what it is.
    pub fn item(&self, kind: Kind, asked: &str) -> Result<LibraryItem, StudioError> {
        let items = self.items(kind);
        if let Some(item) = items.iter().find(|item| item.name == asked || is_file_name(&item.path, asked)) {
            return Ok(item.clone());
        }
        let path = Path::new(asked);
        if path.is_file() {
            let item = LibraryItem::at(&path.canonicalize().map_err(StudioError::io("open", path))?)?;
            return match &item.problem {
                Some(problem) => Err(StudioError::InvalidRequest(problem.clone())),
                None if item.kind == kind => Ok(item),
                None => Err(StudioError::InvalidRequest(format!(
                    "{asked} is of another kind ({}); a {} is needed.",
                    item.description(),
                    kind.name()
                ))),
            };
        }
        let names: Vec<_> = items.iter().map(|item| item.name.as_str()).collect();
        Err(StudioError::InvalidRequest(format!(
            "There is no {} “{asked}” in the library. It holds: {}. Give one of these names or the path of a .safetensors \
             file.",
            kind.name(),
            if names.is_empty() { "none".into() } else { names.join(", ") }
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::header::tests::file, *};

    fn find<'a>(items: &'a [LibraryItem], name: &str) -> &'a LibraryItem {
        items.iter().find(|item| item.name == name).unwrap()
    }

    #[test]
    fn a_folder_of_many_kinds_is_told_apart() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("loras/deep")).unwrap();
        fs::create_dir_all(at("sd/unet")).unwrap();
        fs::write(at("sd").join(INDEX), "{}").unwrap();
        let unet = file(&[("conv_in.weight", &[1, 9, 3, 3]), ("down_blocks.0.attn2.to_k.weight", &[1, 768])], &[]);
        fs::write(at("sd/unet/diffusion_pytorch_model.safetensors"), &unet).unwrap();
        let thumbnail =
            format!("data:image/jpeg;base64,{}", base64::engine::general_purpose::STANDARD.encode("picture"));
        let key = "lora_unet_x_attn2_to_k.lora_down.weight";
        let said = [
            ("modelspec.title", "Ink"),
            ("modelspec.license", "MIT"),
            ("modelspec.thumbnail", thumbnail.as_str()),
            ("ss_tag_frequency", r#"{"a":{"ink":3,"paper":9},"b":{"ink":8}}"#),
        ];
        fs::write(at("loras/deep/ink.safetensors"), file(&[(key, &[4, 2048])], &said)).unwrap();
        fs::write(at("vae.safetensors"), file(&[("decoder.conv_in.weight", &[1, 4, 3, 3])], &[])).unwrap();
        fs::write(at("vae.png"), "beside").unwrap();
        fs::write(at("old.ckpt"), "anything").unwrap();
        fs::write(at("broken.safetensors"), "no header at all").unwrap();
        fs::write(at("notes.txt"), "not a model").unwrap();

        let items = Models::at(vec![root.path().into(), root.path().into()]).library();
        assert_eq!(items.len(), 5, "{items:?}");
        let ink = find(&items, "ink");
        assert_eq!((ink.description().as_str(), ink.title.as_deref()), ("SDXL, LoRA, f16", Some("Ink")));
        assert_eq!((ink.licence.as_deref(), ink.trigger_words.join(",")), (Some("MIT"), "ink,paper".into()));
        assert_eq!(ink.thumbnail().unwrap(), b"picture");
        let folder = find(&items, "sd");
        assert_eq!(folder.description(), "SD 1.x, inpainting, f16");
        assert_eq!((folder.bytes, folder.weights().len()), (unet.len() as u64, 1));
        assert_eq!(find(&items, "vae").description(), "VAE, f16");
        assert_eq!(find(&items, "vae").thumbnail().unwrap(), b"beside");
        assert!(find(&items, "old").problem.as_deref().unwrap().contains("pickle"));
        assert!(find(&items, "broken").problem.as_deref().unwrap().contains("length"));
    }

    #[test]
    fn adapters_are_listed_by_kind_and_asked_for_by_name_or_path() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir_all(at("lcm")).unwrap();
        fs::create_dir_all(at("control")).unwrap();
        let lora = file(&[("lora_unet_x_attn2_to_k.lora_down.weight", &[4, 768])], &[]);
        fs::write(at("b.safetensors"), &lora).unwrap();
        fs::write(at("lcm/pytorch_lora_weights.safetensors"), &lora).unwrap();
        fs::write(at("control/diffusion_pytorch_model.fp16.safetensors"), {
            file(&[("controlnet_cond_embedding.conv_in.weight", &[1]), ("x.attn2.to_k.weight", &[1, 768])], &[])
        })
        .unwrap();
        fs::write(at("word.safetensors"), file(&[("emb_params", &[2, 1024])], &[])).unwrap();
        fs::write(at("b.ckpt"), "pickle").unwrap();
        let models = Models::at(vec![root.path().into()]);
        let names = |kind| models.items(kind).into_iter().map(|item| item.name).collect::<Vec<_>>();
        assert_eq!(names(Kind::Lora), ["b", "lcm"]);
        assert_eq!(names(Kind::ControlNet), ["control.fp16"]);
        assert_eq!(models.item(Kind::TextualInversion, "word").unwrap().family, Some(Family::Sd2));
        assert_eq!(models.item(Kind::Lora, "b.safetensors").unwrap().path, at("b.safetensors"));
        assert_eq!(models.item(Kind::Lora, at("b.safetensors").to_str().unwrap()).unwrap().name, "b");
        let said = |kind, asked: &str| models.item(kind, asked).unwrap_err().to_string();
        assert!(said(Kind::Lora, "unicorn").contains("b, lcm"));
        assert!(said(Kind::Vae, at("b.safetensors").to_str().unwrap()).contains("LoRA"));
        assert!(said(Kind::Lora, at("b.ckpt").to_str().unwrap()).contains("pickle"));

        // What changes on the disk changes in the list, although the headers are kept.
        fs::write(at("b.safetensors"), file(&[("emb_params", &[2, 768])], &[])).unwrap();
        fs::write(at("b.preview.png"), "new").unwrap();
        assert_eq!(names(Kind::Lora), ["lcm"]);
        assert_eq!(models.item(Kind::TextualInversion, "b").unwrap().thumbnail().unwrap(), b"new");
    }

    #[test]
    fn the_starter_is_in_the_library() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
        let items = Models::at(vec![root]).library();
        assert_eq!((items[0].name.as_str(), items[0].kind, items[0].inpainting), (STARTER, Kind::Folder, true));
        assert!(items[0].bytes > 1_000_000 && items[0].problem.is_none(), "{:?}", items[0]);
    }
}
