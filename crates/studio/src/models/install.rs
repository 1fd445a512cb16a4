//! Into the user's own library folder and out of it: linking, copying, taking away.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    INDEX, Models,
    kind::Kind,
    library::{LibraryItem, SOURCE, entries, is_generic, is_weights, preview},
};
use crate::{StudioError, engine::EngineError};

/// Copied at a time.
const CHUNK: usize = 1 << 20;
/// What belongs to a file of weights: the original configuration, which tells what the tensors cannot, and its source.
const COMPANIONS: [&str; 4] = ["yaml", "yml", "json", SOURCE];
/// A companion is a page of text or a picture.
const MAX_COMPANION: u64 = 16 << 20;
/// A name must fit into a file name, its ending included.
const MAX_NAME: usize = 200;
/// Files of other frameworks, and pickles: a copied model does not need them.
const NOT_COPIED: [&str; 9] = ["ckpt", "bin", "pt", "pth", "onnx", "onnx_data", "msgpack", "h5", "pb"];

/// How a model comes into the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    /// The library points to where the model is: no space is used, and the original must stay where it is.
    #[default]
    Link,
    /// The library has a copy of its own.
    Copy,
}

/// What was taken out of the library.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Removed {
    /// Its name.
    pub name: String,
    /// The files and folders that are gone from there.
    pub paths: Vec<PathBuf>,
    /// Whether it was a link: then its original is untouched.
    pub link: bool,
}

impl Models {
    /// The user's own library folder, where models are added and removed; it may not exist yet.
    pub fn own_folder(&self) -> Option<&Path> {
        self.own.as_deref()
    }

    /// Whether an item lies in the user's own folder, from where it can be removed.
    pub fn is_own(&self, item: &LibraryItem) -> bool {
        let own = self.own.as_deref().and_then(|own| own.canonicalize().ok());
        let folder = item.path.parent().and_then(|folder| folder.canonicalize().ok());
        folder.zip(own).is_some_and(|(folder, own)| folder.starts_with(own))
    }

    /// What lies at a path, and that it can be used: told from its header before anything is done with it.
    pub fn examine(path: &Path) -> Result<LibraryItem, StudioError> {
        let absolute = std::path::absolute(path).map_err(StudioError::io("open", path))?;
        absolute.metadata().map_err(StudioError::io("open", path))?;
        let item = if !absolute.is_dir() {
            LibraryItem::at(&absolute)?
        } else if super::is_model(&absolute) {
            LibraryItem::of_folder(&absolute)
        } else {
            return Err(StudioError::InvalidRequest(format!(
                "{} is no model folder: there is no {INDEX} in it. Add the files in it one by one, or put the folder into \
                 OUTFRAME_MODELS.",
                path.display()
            )));
        };
        if let Some(problem) = &item.problem {
            return Err(StudioError::InvalidRequest(problem.clone()));
        }
        if item.kind == Kind::Unknown {
            return Err(StudioError::InvalidRequest(format!(
                "{} holds weights, but not of a kind that Outframe knows; it was not added.",
                path.display()
            )));
        }
        if item.kind == Kind::Folder && item.weights().is_empty() {
            return Err(StudioError::InvalidRequest(format!(
                "{} holds no .safetensors weights. Outframe does not open pickles (.bin, .ckpt), which can run any program: \
                 get the model as .safetensors.",
                path.display()
            )));
        }
        Ok(item)
    }

    /// Puts a model into the user's own folder, under its own name unless another is given. `progress` is told the bytes
    /// copied and the bytes in all. What is there already is never overwritten; when something fails or is cancelled,
    /// nothing is left behind.
    pub fn add(
        &self,
        path: &Path,
        way: Way,
        name: Option<&str>,
        cancel: &CancellationToken,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<LibraryItem, StudioError> {
        let item = Self::examine(path)?;
        let name = name.unwrap_or(&item.name);
        let folder = self.place_for(item.kind, name)?;
        // A link should lead to the model itself, not to a link that may go.
        let original = item.path.canonicalize().map_err(StudioError::io("open", path))?;
        fs::create_dir_all(&folder).map_err(StudioError::io("make", &folder))?;
        let target = if item.kind == Kind::Folder { folder.join(name) } else { file_in(&folder, name) };
        let companions = companions(&item);
        match way {
            Way::Link => link(&original, &target)?,
            Way::Copy => {
                let files = if item.kind == Kind::Folder { files_under(&original)? } else { vec![original.clone()] };
                let bytes = files.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum();
                room(&folder, bytes, fs4::available_space(&folder).ok())?;
                copy(&original, &files, &target, cancel, &mut |done| progress(done, bytes))?;
            }
        }
        for companion in companions {
            let Some(ending) = ending_of(&companion, &item.path) else { continue };
            let beside = folder.join(format!("{name}.{ending}"));
            let done = match way {
                Way::Link => companion
                    .canonicalize()
                    .map_err(StudioError::io("open", &companion))
                    .and_then(|companion| link(&companion, &beside)),
                Way::Copy => copy(&companion, std::slice::from_ref(&companion), &beside, cancel, &mut |_| ()),
            };
            if let Err(error) = done {
                take_away(&LibraryItem { path: target, ..item.clone() }, self.own_folder())?;
                return Err(error);
            }
        }
        if item.kind == Kind::Folder { Ok(LibraryItem::of_folder(&target)) } else { LibraryItem::at(&target) }
    }

    /// Takes a model out of the user's own folder. A link is only unlinked; what is no link is gone for good, and therefore
    /// refused unless `for_good`. Elsewhere nothing is touched.
    pub fn remove(&self, asked: &str, for_good: bool) -> Result<Removed, StudioError> {
        let own = self.own()?;
        let named = |item: &LibraryItem| {
            item.name == asked || super::is_file_name(&item.path, asked) || item.path == Path::new(asked)
        };
        let found: Vec<_> = self.everything().into_iter().filter(named).collect();
        let mut here = found.iter().filter(|item| self.is_own(item));
        match (here.next(), here.next(), found.first()) {
            (Some(item), None, _) if for_good || is_link(&item.path) => take_away(item, self.own_folder()),
            (Some(item), None, _) => Err(StudioError::InvalidRequest(format!(
                "{} ({} MB) would be gone for good: it is no link. Say that this is meant (--yes).",
                item.path.display(),
                item.bytes / 1_000_000
            ))),
            (Some(one), Some(other), _) => Err(StudioError::InvalidRequest(format!(
                "“{asked}” can be {} or {}. Say which by its path.",
                one.path.display(),
                other.path.display()
            ))),
            (None, _, Some(item)) => Err(StudioError::InvalidRequest(format!(
                "“{asked}” is {}, outside of your own library folder {}. It was not removed; delete it there yourself if it \
                 is yours.",
                item.path.display(),
                own.display()
            ))),
            (None, _, None) => Err(StudioError::InvalidRequest(format!(
                "There is no “{asked}” in your library folder {}.",
                own.display()
            ))),
        }
    }

    pub(super) fn own(&self) -> Result<&Path, StudioError> {
        self.own_folder().ok_or_else(|| {
            StudioError::InvalidRequest(
                "This system has no folder for a user’s own data, so that nothing can be added to the library. Put models \
                 into a folder of OUTFRAME_MODELS."
                    .into(),
            )
        })
    }

    /// The folder for a model of this kind, when its name can be used and is free.
    pub(super) fn place_for(&self, kind: Kind, name: &str) -> Result<PathBuf, StudioError> {
        check_name(name)?;
        let folder = self.own()?.join(folder_of(kind));
        let target = if kind == Kind::Folder { folder.join(name) } else { file_in(&folder, name) };
        // Also a link whose original is gone takes the place.
        let taken = target.symlink_metadata().is_ok().then_some(target).or_else(|| {
            let group = |kind: Kind| if kind == Kind::Folder { Kind::Checkpoint } else { kind };
            let same = |item: &LibraryItem| item.name == name && group(item.kind) == group(kind);
            self.everything().into_iter().find(same).map(|item| item.path)
        });
        match taken {
            None => Ok(folder),
            Some(path) => Err(StudioError::InvalidRequest(format!(
                "There is a {} “{name}” already: {}. Give another name, or remove it first.",
                kind.name(),
                path.display()
            ))),
        }
    }
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|about| about.is_symlink())
}

/// Removes what is listed as this item.
fn take_away(item: &LibraryItem, own: Option<&Path>) -> Result<Removed, StudioError> {
    let mut paths = vec![item.path.clone()];
    match item.path.parent().filter(|_| is_generic(&item.path)) {
        // A folder of its own goes as a whole, unless other weights are in it.
        Some(folder) if own != Some(folder) && is_alone(folder) => paths = vec![folder.into()],
        _ => paths.extend(companions(item)),
    }
    let link = is_link(&item.path);
    for path in &paths {
        let gone = if path.is_dir() && !is_link(path) { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        gone.map_err(StudioError::io("remove", path))?;
    }
    Ok(Removed { name: item.name.clone(), paths, link })
}

/// The folder inside of the library where models of this kind are put; they are found anywhere in it.
fn folder_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Lora => "loras",
        Kind::ControlNet => "controlnet",
        Kind::Vae => "vae",
        Kind::Upscaler => "upscale",
        Kind::TextualInversion => "embeddings",
        Kind::Folder | Kind::Checkpoint | Kind::Unet | Kind::Unknown => "",
    }
}

fn file_in(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.safetensors"))
}

/// Whether a name can be a file's on every system.
fn check_name(name: &str) -> Result<(), StudioError> {
    let bad = |letter: char| letter.is_control() || r#"/\:*?"<>|"#.contains(letter);
    let fits = !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('.') && name.trim() == name;
    if fits && !name.contains(bad) && !name.ends_with('.') {
        return Ok(());
    }
    Err(StudioError::InvalidRequest(format!(
        "“{name}” cannot be a model’s name: it must have 1 to {MAX_NAME} letters, none of / \\ : * ? \" < > |, and not begin \
         or end with a dot or a space."
    )))
}

/// The files that belong to a file of weights.
fn companions(item: &LibraryItem) -> Vec<PathBuf> {
    if item.kind == Kind::Folder {
        return Vec::new();
    }
    let beside = COMPANIONS.iter().map(|ending| item.path.with_extension(ending)).chain(preview(&item.path));
    let small = |path: &PathBuf| path.metadata().is_ok_and(|about| about.is_file() && about.len() <= MAX_COMPANION);
    beside.filter(small).collect()
}

/// What follows the name of the weights in a companion's name: `preview.png`.
fn ending_of(companion: &Path, weights: &Path) -> Option<String> {
    let (name, stem) = (companion.file_name()?.to_str()?, weights.file_stem()?.to_str()?);
    Some(name.strip_prefix(stem)?.strip_prefix('.')?.to_owned())
}

/// Whether the weights in a folder are one file.
fn is_alone(folder: &Path) -> bool {
    let inside = entries(folder);
    inside.iter().filter(|path| is_weights(path)).count() == 1 && !inside.iter().any(|path| path.is_dir())
}

/// Points to the original: by a symbolic link, where that is not allowed (Windows) by a hard one.
fn link(original: &Path, target: &Path) -> Result<(), StudioError> {
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(original, target);
    #[cfg(windows)]
    let linked = if original.is_dir() {
        std::os::windows::fs::symlink_dir(original, target)
    } else {
        std::os::windows::fs::symlink_file(original, target)
    };
    let linked = match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists && original.is_file() => {
            fs::hard_link(original, target)
        }
        other => other,
    };
    linked.map_err(|source| {
        StudioError::InvalidRequest(format!(
            "{} could not be linked to {}: {source}. Copy it instead.",
            target.display(),
            original.display()
        ))
    })
}

/// All files of a model folder that are needed, those of other frameworks left out.
pub(super) fn files_under(folder: &Path) -> Result<Vec<PathBuf>, StudioError> {
    let mut files = Vec::new();
    let mut folders = vec![(folder.to_path_buf(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for path in entries(&folder) {
            if path.is_dir() && depth < 3 {
                folders.push((path, depth + 1));
            } else if path.is_file() {
                let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
                if !ending.is_some_and(|ending| NOT_COPIED.contains(&ending.as_str())) {
                    files.push(path);
                }
            }
        }
        if files.len() > 10_000 {
            return Err(StudioError::InvalidRequest(format!("{} has too many files for a model.", folder.display())));
        }
    }
    files.sort();
    Ok(files)
}

/// Whether there is room, where that can be told; some is left for everything else.
pub(super) fn room(folder: &Path, bytes: u64, free: Option<u64>) -> Result<(), StudioError> {
    const SPARE: u64 = 64 << 20;
    match free {
        Some(free) if free < bytes.saturating_add(SPARE) => Err(StudioError::InvalidRequest(format!(
            "{} has not enough room: {} MB are needed, {} MB are free. Make room, or link a model that is on a disk already.",
            folder.display(),
            bytes.div_ceil(1_000_000),
            free / 1_000_000
        ))),
        _ => Ok(()),
    }
}

/// A failed write in words.
pub(super) fn written(path: &Path) -> impl FnOnce(io::Error) -> StudioError {
    let path = path.to_path_buf();
    move |source| {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            return StudioError::InvalidRequest(format!(
                "The disk became full while {} was written. Make room and do it again.",
                path.display()
            ));
        }
        StudioError::Io { what: "write", path, source }
    }
}

/// Copies a file or the files of a folder beside the target, and only then gives them its name.
pub(super) fn copy(
    original: &Path,
    files: &[PathBuf],
    target: &Path,
    cancel: &CancellationToken,
    progress: &mut dyn FnMut(u64),
) -> Result<(), StudioError> {
    let folder = target.parent().unwrap_or(Path::new("."));
    // Hidden, so that it is in no list while it grows, and gone when anything fails.
    let beside = tempfile::Builder::new().prefix(".adding-").tempdir_in(folder).map_err(written(folder))?;
    let mut done = 0;
    for file in files {
        let inner = file.strip_prefix(original).unwrap_or(file);
        // A file stripped of itself has no path left.
        let to = if inner.as_os_str().is_empty() {
            beside.path().join("whole")
        } else {
            beside.path().join("whole").join(inner)
        };
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(written(target))?;
        }
        copy_file(file, &to, target, cancel, &mut |bytes| {
            done += bytes;
            progress(done);
        })?;
    }
    if target.symlink_metadata().is_ok() {
        return Err(StudioError::InvalidRequest(format!(
            "{} came to be meanwhile; nothing was changed.",
            target.display()
        )));
    }
    fs::rename(beside.path().join("whole"), target).map_err(written(target))
}

fn copy_file(
    from: &Path,
    to: &Path,
    target: &Path,
    cancel: &CancellationToken,
    progress: &mut dyn FnMut(u64),
) -> Result<(), StudioError> {
    let mut source = File::open(from).map_err(StudioError::io("open", from))?;
    let mut copy = File::create_new(to).map_err(written(target))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        if cancel.is_cancelled() {
            return Err(EngineError::Cancelled.into());
        }
        let read = source.read(&mut chunk).map_err(StudioError::io("read", from))?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
        copy.write_all(part).map_err(written(target))?;
        progress(part.len() as u64);
    }
    copy.sync_all().map_err(written(target))
}

#[cfg(test)]
mod tests {
    use super::{
        super::header::tests::{checkpoint, file},
        *,
    };

    struct Place {
        folder: tempfile::TempDir,
        models: Models,
    }

    impl Place {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let own = folder.path().join("own");
            fs::create_dir(folder.path().join("from")).unwrap();
            let shared = folder.path().join("shared");
            fs::create_dir(&shared).unwrap();
            Self { models: Models::at(vec![own.clone(), shared]).owning(own), folder }
        }

        fn from(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.folder.path().join("from").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, bytes).unwrap();
            path
        }

        fn own(&self, name: &str) -> PathBuf {
            self.folder.path().join("own").join(name)
        }

        fn add(&self, path: &Path, way: Way, name: Option<&str>) -> Result<LibraryItem, StudioError> {
            self.models.add(path, way, name, &CancellationToken::new(), &mut |_, _| ())
        }

        /// Everything below the own folder.
        fn inside(&self) -> Vec<String> {
            fn all(folder: &Path, root: &Path, found: &mut Vec<String>) {
                for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                    if entry.file_type().unwrap().is_dir() {
                        all(&entry.path(), root, found);
                    } else {
                        found.push(entry.path().strip_prefix(root).unwrap().to_string_lossy().into_owned());
                    }
                }
            }
            let mut found = Vec::new();
            all(&self.own(""), &self.own(""), &mut found);
            found.sort();
            found
        }
    }

    #[test]
    fn a_checkpoint_is_linked_with_what_belongs_to_it_and_only_unlinked() {
        let place = Place::new();
        let original = place.from("big.safetensors", &checkpoint(768, 9));
        place.from("big.yaml", b"parameterization: v");
        place.from("big.preview.png", b"picture");
        let item = place.add(&original, Way::Link, Some("meadow")).unwrap();
        assert_eq!(item.description(), "SD 1.x, inpainting, f16");
        assert_eq!(place.inside(), ["meadow.preview.png", "meadow.safetensors", "meadow.yaml"]);
        assert_eq!(place.models.resolve(Some("meadow")).unwrap().path, place.own("meadow.safetensors"));
        let error = place.add(&original, Way::Link, Some("meadow")).unwrap_err().to_string();
        assert!(error.contains("already"), "{error}");

        let removed = place.models.remove("meadow", false).unwrap();
        assert!(removed.link && removed.paths.len() == 3, "{removed:?}");
        assert!(original.is_file() && place.inside().is_empty());
    }

    #[test]
    fn copies_are_whole_and_cancelled_ones_leave_nothing() {
        let place = Place::new();
        let mut weights =
            file(&[("lora_unet_x_attn2_to_k.lora_down.weight", &[4, 2048]), ("x.alpha", &[1 << 20])], &[]);
        let last = weights.len() - 1;
        weights[last] = 7;
        let original = place.from("ink.safetensors", &weights);
        let mut seen = Vec::new();
        let cancel = CancellationToken::new();
        let item =
            place.models.add(&original, Way::Copy, None, &cancel, &mut |done, all| seen.push((done, all))).unwrap();
        assert_eq!((item.path.clone(), fs::read(&item.path).unwrap()), (place.own("loras/ink.safetensors"), weights));
        assert!(seen.len() > 1 && seen.last().unwrap().0 == seen.last().unwrap().1, "{seen:?}");

        let mut stop = |_, _| cancel.cancel();
        let error = place.models.add(&original, Way::Copy, Some("two"), &cancel, &mut stop).unwrap_err();
        assert!(error.is_cancelled());
        assert_eq!(place.inside(), ["loras/ink.safetensors"]);

        let error = place.models.remove("ink", false).unwrap_err().to_string();
        assert!(error.contains("--yes") && place.inside() == ["loras/ink.safetensors"], "{error}");
        assert!(!place.models.remove("ink", true).unwrap().link);
        assert!(original.is_file() && place.inside().is_empty());
    }

    #[test]
    fn a_model_folder_is_copied_without_pickles() {
        let place = Place::new();
        for (name, bytes) in [("sd/model_index.json", &b"{}"[..]), ("sd/unet/diffusion_pytorch_model.bin", b"pickle")] {
            place.from(name, bytes);
        }
        let folder = place.folder.path().join("from/sd");
        let error = place.add(&folder, Way::Copy, None).unwrap_err().to_string();
        assert!(error.contains("pickles"), "{error}");
        let unet = file(&[("conv_in.weight", &[1, 4, 3, 3]), ("down_blocks.0.attn2.to_k.weight", &[1, 768])], &[]);
        place.from("sd/unet/diffusion_pytorch_model.safetensors", &unet);
        assert_eq!(place.add(&folder, Way::Copy, None).unwrap().description(), "SD 1.x, f16");
        assert_eq!(place.inside(), ["sd/model_index.json", "sd/unet/diffusion_pytorch_model.safetensors"]);
        assert_eq!(place.models.resolve(Some("sd")).unwrap().path, place.own("sd"));
        let linked = place.add(&folder, Way::Link, Some("linked")).unwrap();
        assert!(place.models.remove(linked.path.to_str().unwrap(), true).unwrap().link);
        place.models.remove("sd", true).unwrap();
        assert!(place.inside().is_empty() && folder.join("unet/diffusion_pytorch_model.safetensors").is_file());
    }

    #[test]
    fn what_cannot_be_used_or_removed_is_refused_in_words() {
        let place = Place::new();
        for (name, bytes, word) in [
            ("old.ckpt", &b"pickle"[..], "pickle"),
            ("broken.safetensors", b"no header at all", "header"),
            ("other.safetensors", &file(&[("what", &[3, 7, 1])], &[]), "kind"),
            ("refiner.safetensors", &checkpoint(1280, 4), "refiner"),
            ("notes.txt", b"text", "no model"),
        ] {
            let error = place.add(&place.from(name, bytes), Way::Link, None).unwrap_err().to_string();
            assert!(error.contains(word), "{name}: {error}");
        }
        assert!(place.add(&place.folder.path().join("from"), Way::Link, None).unwrap_err().to_string().contains(INDEX));
        let good = place.from("good.safetensors", &checkpoint(768, 4));
        for name in ["", "../out", ".hidden", "a/b", "con:", "end.", " a"] {
            assert!(place.add(&good, Way::Link, Some(name)).unwrap_err().to_string().contains("name"), "{name}");
        }
        assert!(place.inside().is_empty());
        fs::write(place.folder.path().join("shared/not-mine.safetensors"), checkpoint(768, 4)).unwrap();
        let error = place.models.remove("not-mine", true).unwrap_err().to_string();
        assert!(error.contains("outside"), "{error}");
        assert!(place.models.remove("unicorn", true).unwrap_err().to_string().contains("unicorn"));
        // A second of this name would never be found.
        let error = place.add(&good, Way::Link, Some("not-mine")).unwrap_err().to_string();
        assert!(error.contains("already"), "{error}");
    }

    #[test]
    fn a_full_disk_is_said_beforehand_and_during_the_copy() {
        let folder = Path::new("folder");
        assert!(room(folder, 1_000_000_000, Some(2_000_000_000)).is_ok());
        assert!(room(folder, u64::MAX, None).is_ok());
        let error = room(folder, 6_900_000_000, Some(1_200_000_000)).unwrap_err().to_string();
        assert!(error.contains("6900 MB") && error.contains("1200 MB"), "{error}");
        let error = written(folder)(io::Error::from(io::ErrorKind::StorageFull)).to_string();
        assert!(error.contains("full"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_whose_original_is_gone_is_listed_as_such_and_can_be_removed() {
        let place = Place::new();
        let original = place.from("big.safetensors", &checkpoint(768, 4));
        place.add(&original, Way::Link, None).unwrap();
        fs::remove_file(&original).unwrap();
        let item = place.models.library().pop().unwrap();
        assert!(item.problem.unwrap().contains("gone"));
        assert!(place.models.list().is_empty());
        assert!(place.models.remove("big", false).unwrap().link);
        assert!(place.inside().is_empty());
    }
}
