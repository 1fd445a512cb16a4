//! What lies in the model folders, told from headers alone: no weight is read and no engine is needed.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use base64::Engine as _;
use serde::Serialize;

use super::{
    INDEX, Models, STARTER,
    header::Header,
    kind::{Family, Kind, Sort},
};

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
        let name = path.file_stem()?.to_string_lossy().into_owned();
        let mut item = Self::new(path, name, Kind::Unknown);
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
        item.preview = ["preview.png", "png", "jpg", "jpeg", "webp"]
            .iter()
            .map(|ending| path.with_extension(ending))
            .find(|picture| picture.is_file());
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
        if let Some(family @ (Family::Sd3 | Family::Flux)) = self.family {
            self.problem =
                Some(format!("{} is a {} model, which this version cannot run.", self.path.display(), family.name()));
        }
    }
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

fn scan(folder: &Path, depth: usize, found: &mut Vec<LibraryItem>) {
    for path in entries(folder) {
        if found.len() >= MAX_ENTRIES {
            return;
        }
        if !path.is_dir() {
            found.extend(LibraryItem::of_file(&path));
        } else if super::is_model(&path) {
            found.push(LibraryItem::of_folder(&path));
        } else if depth < MAX_DEPTH {
            scan(&path, depth + 1, found);
        }
    }
}

impl Models {
    /// Everything in the library's folders, the starter first, then by kind and name. What is found under two folders is listed
    /// once.
    pub fn library(&self) -> Vec<LibraryItem> {
        let mut found = Vec::new();
        for root in &self.roots {
            scan(root, 0, &mut found);
        }
        let mut seen = std::collections::HashSet::new();
        found.retain(|item| seen.insert(item.path.canonicalize().unwrap_or_else(|_| item.path.clone())));
        found.sort_by(|a, b| (a.name != STARTER, a.kind, &a.name).cmp(&(b.name != STARTER, b.kind, &b.name)));
        found
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
    fn the_starter_is_in_the_library() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
        let items = Models::at(vec![root]).library();
        assert_eq!((items[0].name.as_str(), items[0].kind, items[0].inpainting), (STARTER, Kind::Folder, true));
        assert!(items[0].bytes > 1_000_000 && items[0].problem.is_none(), "{:?}", items[0]);
    }
}
