//! Memory-mapped `SafeTensors` files.
//!
//! A tensor whose number format is already the wanted one is used where it lies in the file, without a copy: loading
//! a model of several gigabytes takes milliseconds and its memory is shared with the operating system's file cache.
//! Others are converted one by one. Each name and shape is checked before use.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::adapters::slot::{Slot, Slots};
use crate::config::Config;
use crate::layers::channels_last;

/// No real header comes near this; the largest models' have about 400 kB.
const MAX_HEADER: u64 = 32 << 20;

/// No real model is split into more files.
const MAX_SHARDS: usize = 1000;

/// Keeps mapped files alive for the tensors that lie in them.
#[derive(Debug, Clone)]
pub(crate) struct Keep {
    /// The weights that adapters can patch. Before the maps, because fields are dropped in order.
    pub(crate) slots: Slots,
    /// Only held, never read: the tensors point into them.
    _maps: Vec<Arc<Mmap>>,
}

impl Keep {
    /// What keeps nothing, until the loading has ended.
    pub(crate) fn nothing() -> Self {
        Self { slots: Slots::default(), _maps: Vec::new() }
    }
}

/// Where the weights of one network are.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// One file, or the shards of a split one.
    pub(crate) files: Vec<PathBuf>,
    /// For files in another layout: the wanted name to the place in the file. Nothing else in the file counts.
    pub(crate) names: Option<BTreeMap<String, Place>>,
}

/// A tensor in a file of another layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Its name there.
    pub(crate) key: String,
    /// Which of how many equal parts along the first axis.
    pub(crate) part: Option<(i64, i64)>,
    /// Whether its two axes are stored the other way round.
    pub(crate) transposed: bool,
}

impl Source {
    /// One file whose names are already the wanted ones.
    pub(crate) fn file(path: &Path) -> Self {
        Self { files: vec![path.to_path_buf()], names: None }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    dtype: Dtype,
    shape: Vec<i64>,
    start: usize,
    end: usize,
    /// Which of the files it lies in.
    file: usize,
    /// Whether it is handed out with its two axes swapped; the shape is already the swapped one.
    transposed: bool,
}

/// An open weights file.
#[derive(Debug)]
pub(crate) struct Weights {
    path: PathBuf,
    maps: Vec<(PathBuf, Arc<Mmap>)>,
    metadata: BTreeMap<String, String>,
    entries: BTreeMap<String, Entry>,
    used: RefCell<BTreeSet<String>>,
    slots: RefCell<Slots>,
    borrowed: RefCell<bool>,
    device: Device,
    kind: Kind,
    /// Whether convolutions' weights are handed out with the channels last in memory, where they are copied anyway.
    channels_last: bool,
}

/// The weights of a network in a folder of a model: the plain name first, then the half-precision variant, then the
/// index of a file that was split.
pub(crate) fn find_files(folder: &Path, stem: &str) -> Result<Source, Error> {
    for name in [format!("{stem}.safetensors"), format!("{stem}.fp16.safetensors")] {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(Source::file(&path));
        }
    }
    for name in [
        format!("{stem}.safetensors.index.json"),
        format!("{stem}.safetensors.index.fp16.json"),
        format!("{stem}.fp16.safetensors.index.json"),
    ] {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(Source { files: shards(folder, &Config::read(&path)?)?, names: None });
        }
    }
    let mut reason = format!("there is no {stem}.safetensors");
    if folder.join(format!("{stem}.bin")).exists() || folder.join("pytorch_model.bin").exists() {
        reason.push_str(
            "; a .bin file can run programs when it is read and is therefore never loaded: convert it to SafeTensors",
        );
    }
    Err(Error::NotAModel { path: folder.to_path_buf(), reason })
}

/// The files that an index names: they must lie beside it.
fn shards(folder: &Path, index: &Config) -> Result<Vec<PathBuf>, Error> {
    let refuse = |why: &str| index.refuse("weight_map", why);
    let map = index.get("weight_map").and_then(serde_json::Value::as_object);
    let map = map.ok_or_else(|| refuse("an object of tensor names and file names is expected"))?;
    let names: Option<BTreeSet<&str>> = map.values().map(serde_json::Value::as_str).collect();
    let names = names.ok_or_else(|| refuse("a file name is expected for each tensor"))?;
    if names.is_empty() || names.len() > MAX_SHARDS {
        return Err(refuse("1 to 1000 files are expected"));
    }
    let mut files = Vec::new();
    for name in names {
        // An index is untrusted: it must not reach outside of its folder.
        let plain = !name.contains(['/', '\\', ':', '\0']) && !name.starts_with('.') && name.ends_with(".safetensors");
        if !plain {
            return Err(refuse("plain names of .safetensors files in the same folder are expected"));
        }
        let path = folder.join(name);
        if !path.is_file() {
            let reason = format!("the index names {name}, which is not there; the download is incomplete");
            return Err(Error::NotAModel { path: folder.to_path_buf(), reason });
        }
        files.push(path);
    }
    Ok(files)
}

impl Weights {
    /// Maps a file and reads its header; `kind` and `device` are what tensors will be handed out as.
    pub(crate) fn open(path: &Path, device: Device, kind: Kind) -> Result<Self, Error> {
        let mut weights = Self {
            path: path.to_path_buf(),
            maps: Vec::new(),
            metadata: BTreeMap::new(),
            entries: BTreeMap::new(),
            used: RefCell::default(),
            slots: RefCell::default(),
            borrowed: RefCell::new(false),
            device,
            kind,
            channels_last: false,
        };
        weights.add_file(path)?;
        Ok(weights)
    }

    /// Maps the files of a network and gives its tensors the wanted names.
    pub(crate) fn open_source(source: &Source, device: Device, kind: Kind) -> Result<Self, Error> {
        let [first, rest @ ..] = source.files.as_slice() else {
            return Err(Error::NotAModel { path: PathBuf::new(), reason: "no file holds its weights".to_owned() });
        };
        let mut weights = Self::open(first, device, kind)?;
        for path in rest {
            weights.add_file(path)?;
        }
        if let Some(names) = &source.names {
            weights.rename(names)?;
        }
        Ok(weights)
    }

    /// Hands out copies of convolutions' weights as a network on the processor wants them that computes with the channels
    /// last. What lies in the file in the wanted format stays there as it is.
    pub(crate) fn with_channels_last(mut self) -> Self {
        self.channels_last = self.device == Device::Cpu;
        self
    }

    /// Replaces the names of the file by the wanted ones.
    fn rename(&mut self, names: &BTreeMap<String, Place>) -> Result<(), Error> {
        let bad = |problem: String| Error::Weights { path: self.path.clone(), problem };
        let mut renamed = BTreeMap::new();
        for (name, place) in names {
            let key = &place.key;
            let stored = self.entries.get(key).ok_or_else(|| bad(format!("it lacks the tensor `{key}`")))?;
            let mut entry = stored.clone();
            if let Some((index, of)) = place.part {
                let whole = entry.end - entry.start;
                match entry.shape.first_mut() {
                    Some(rows) if *rows % of == 0 => *rows /= of,
                    _ => return Err(bad(format!("tensor `{key}` cannot be split into {of} equal parts"))),
                }
                let size = whole / of as usize;
                entry.start += size * index as usize;
                entry.end = entry.start + size;
            }
            if place.transposed {
                if entry.shape.len() != 2 {
                    return Err(bad(format!("tensor `{key}` should have two axes")));
                }
                entry.shape.reverse();
                entry.transposed = true;
            }
            renamed.insert(name.clone(), entry);
        }
        self.entries = renamed;
        Ok(())
    }

    fn add_file(&mut self, path: &Path) -> Result<(), Error> {
        let read = |source| Error::Read { path: path.to_path_buf(), source };
        let bad = |problem: String| Error::Weights { path: path.to_path_buf(), problem };
        let file = File::open(path).map_err(read)?;
        let len = file.metadata().map_err(read)?.len();
        if len < 10 {
            return Err(bad(format!("it has only {len} bytes; the download is incomplete")));
        }
        let map = map_file(&file).map_err(read)?;
        check_magic(&map).map_err(&bad)?;
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(|error| {
            bad(format!("its header is damaged or the file is incomplete ({error}); download or copy it again"))
        })?;
        let data_start = header + 8;
        let data_len = map.len().checked_sub(data_start).ok_or_else(|| bad("it ends within its header".to_owned()))?;
        self.metadata.extend(metadata.metadata().iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
        let file = self.maps.len();
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            if start > end || end > data_len {
                return Err(bad(format!(
                    "tensor `{name}` would end at byte {end} of {data_len}; the file is incomplete, download or copy it again"
                )));
            }
            let shape: Option<Vec<i64>> = info.shape.iter().map(|&n| i64::try_from(n).ok()).collect();
            let shape = shape.ok_or_else(|| bad(format!("tensor `{name}` has an impossible shape")))?;
            let (start, end) = (data_start + start, data_start + end);
            let entry = Entry { dtype: info.dtype, shape, start, end, file, transposed: false };
            if let Some(kind) = kind_of(entry.dtype) {
                let wanted =
                    entry.shape.iter().try_fold(kind.elt_size_in_bytes(), |all, &n| all.checked_mul(n as usize));
                if wanted != Some(end - start) {
                    return Err(bad(format!("tensor `{name}` has {} bytes, which is not its shape", end - start)));
                }
            }
            if self.entries.insert(name.clone(), entry).is_some() {
                return Err(bad(format!("tensor `{name}` is in another of the model's files, too")));
            }
        }
        self.maps.push((path.to_path_buf(), Arc::new(map)));
        Ok(())
    }

    /// The names and shapes of all tensors.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&str, &[i64])> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry.shape.as_slice()))
    }

    /// The shape of a tensor.
    pub(crate) fn shape(&self, name: &str) -> Option<&[i64]> {
        self.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// What the file says about itself under a key.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// The number format that most of the bytes are stored in, such as `f16`.
    pub(crate) fn stored_as(&self) -> String {
        let mut bytes: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.entries.values() {
            *bytes.entry(format!("{:?}", entry.dtype)).or_default() += entry.end - entry.start;
        }
        bytes.into_iter().max_by_key(|(_, size)| *size).map_or_else(String::new, |(name, _)| name.to_lowercase())
    }

    /// Bytes that the tensors take where they lie in the files, and those that they take converted to the wanted format or
    /// on another device.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        let (mut mapped, mut copied) = (0, 0);
        for entry in self.entries.values() {
            let stored = (entry.end - entry.start) as u64;
            let aligned = kind_of(entry.dtype).is_some_and(|kind| entry.start.is_multiple_of(kind.elt_size_in_bytes()));
            if kind_of(entry.dtype) == Some(self.kind) && self.device == Device::Cpu && aligned && !entry.transposed {
                mapped += stored;
            } else {
                let numbers: u64 = entry.shape.iter().map(|&n| n as u64).fold(1, u64::saturating_mul);
                copied += numbers.saturating_mul(self.kind.elt_size_in_bytes() as u64);
            }
        }
        (mapped, copied)
    }

    /// Whether the file has a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The root of the tensor names.
    pub(crate) fn root(&self) -> Scope<'_> {
        Scope { weights: self, prefix: String::new() }
    }

    /// Checks that a tensor of this name and shape exists.
    pub(crate) fn check(&self, name: &str, shape: &[i64]) -> Result<(), Error> {
        self.entry(name, shape).map(|_| ())
    }

    fn entry(&self, name: &str, shape: &[i64]) -> Result<&Entry, Error> {
        let entry = self.entries.get(name).ok_or_else(|| Error::MissingTensor {
            path: self.path.clone(),
            tensor: name.to_owned(),
            expected: shape.to_vec(),
        })?;
        // A linear layer over channels is stored as a 1x1 convolution by some tools, and the other way round.
        let same_but_for_ones = entry.shape.iter().filter(|&&n| n != 1).eq(shape.iter().filter(|&&n| n != 1));
        if entry.shape != shape && !same_but_for_ones {
            return Err(Error::TensorShape {
                path: self.path.clone(),
                tensor: name.to_owned(),
                expected: shape.to_vec(),
                found: entry.shape.clone(),
            });
        }
        Ok(entry)
    }

    /// The tensor of this name, which must have this shape.
    pub(crate) fn take(&self, name: &str, shape: &[i64]) -> Result<Tensor, Error> {
        let entry = self.entry(name, shape)?;
        let stored = kind_of(entry.dtype).ok_or_else(|| Error::TensorType {
            path: self.path.clone(),
            tensor: name.to_owned(),
            found: format!("{:?}", entry.dtype),
        })?;
        let bytes = self.maps.get(entry.file).and_then(|(_, map)| map.get(entry.start..entry.end));
        let bytes = bytes.ok_or_else(|| Error::Weights {
            path: self.path.clone(),
            problem: format!("tensor `{name}` lies outside the file"),
        })?;
        self.used.borrow_mut().insert(name.to_owned());
        if entry.transposed {
            let stored_shape: Vec<i64> = entry.shape.iter().rev().copied().collect();
            let turned = Tensor::f_from_data_size(bytes, &stored_shape, stored)?.f_tr()?;
            return Ok(turned.f_to_device(self.device)?.f_to_kind(self.kind)?.f_contiguous()?);
        }
        let aligned = (bytes.as_ptr() as usize).is_multiple_of(stored.elt_size_in_bytes().max(1));
        let view =
            if aligned { view_of(bytes, shape, stored)? } else { Tensor::f_from_data_size(bytes, shape, stored)? };
        if aligned && stored == self.kind && self.device == Device::Cpu {
            *self.borrowed.borrow_mut() = true;
            return Ok(view);
        }
        // Another device or format: these copy, and so does an unaligned tensor above; the map is not needed for it.
        // The pages are no longer needed: otherwise the file would count as memory of this process, beside the copies.
        let done = Pages { map: self.maps.get(entry.file).map(|(_, map)| &**map), start: entry.start, end: entry.end };
        let copy = if self.channels_last && shape.len() == 4 {
            channels_last(&view)?.f_to_kind(self.kind)?
        } else {
            view.f_to_device(self.device)?.f_to_kind(self.kind)?
        };
        drop(view);
        done.release();
        Ok(copy)
    }

    /// Ends the loading: every tensor in the file must have been used, but for those that are `harmless`.
    ///
    /// The result must be kept as long as any tensor that was taken.
    pub(crate) fn finish(self, harmless: impl Fn(&str) -> bool) -> Result<Keep, Error> {
        let used = self.used.borrow();
        let mut extra = self.entries.keys().filter(|name| !used.contains(*name) && !harmless(name));
        let names: Vec<String> = extra.by_ref().take(5).cloned().collect();
        if names.is_empty() {
            let borrowed = *self.borrowed.borrow();
            let maps = self.maps.iter().filter(|_| borrowed).map(|(_, map)| Arc::clone(map)).collect();
            Ok(Keep { slots: self.slots.take(), _maps: maps })
        } else {
            let count = names.len() + extra.count();
            Err(Error::UnexpectedTensors { path: self.path.clone(), names, count })
        }
    }
}

/// A place in the hierarchy of tensor names.
#[derive(Debug, Clone)]
pub(crate) struct Scope<'a> {
    weights: &'a Weights,
    prefix: String,
}

impl<'a> Scope<'a> {
    /// A place below this one; `name` may hold dots.
    pub(crate) fn at(&self, name: impl std::fmt::Display) -> Scope<'a> {
        let prefix = if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) };
        Scope { weights: self.weights, prefix }
    }

    /// Whether there is a tensor `name` here.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.weights.has(&self.at(name).prefix)
    }

    /// The tensor `name` here, which must have this shape.
    pub(crate) fn take(&self, name: &str, shape: &[i64]) -> Result<Tensor, Error> {
        self.weights.take(&self.at(name).prefix, shape)
    }

    /// Like [`Scope::take`], for a weight that adapters can patch; it is known by the path of this place.
    pub(crate) fn slot(&self, name: &str, shape: &[i64]) -> Result<Slot, Error> {
        let slot = Slot::new(self.take(name, shape)?);
        self.weights.slots.borrow_mut().insert(self.prefix.clone(), slot.clone());
        Ok(slot)
    }
}

fn kind_of(dtype: Dtype) -> Option<Kind> {
    match dtype {
        Dtype::F32 => Some(Kind::Float),
        Dtype::F16 => Some(Kind::Half),
        Dtype::BF16 => Some(Kind::BFloat16),
        Dtype::F64 => Some(Kind::Double),
        _ => None,
    }
}

#[allow(unsafe_code, reason = "mapping a file is unsafe because another process may change it")]
fn map_file(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the mapping is private and read-only, and nothing here writes to weights. That no other process shortens
    // the file while it is in use is the same trust that every program puts into its own shared libraries; should it
    // happen, this process gets a bus error, which the engine's supervisor reports and survives.
    unsafe { Mmap::map(file) }
}

/// A stretch of a mapped file that was copied.
struct Pages<'a> {
    map: Option<&'a Mmap>,
    start: usize,
    end: usize,
}

impl Pages<'_> {
    /// Lets the operating system take back the whole pages in this stretch. Nothing is lost: should they be asked for
    /// again, they come from the file.
    #[cfg(unix)]
    #[allow(unsafe_code, reason = "giving pages back is unsafe for mappings whose memory is not that of a file")]
    fn release(&self) {
        const PAGE: usize = 1 << 16;
        let (first, last) = (self.start.next_multiple_of(PAGE), self.end / PAGE * PAGE);
        if let (Some(map), true) = (self.map, first < last) {
            // SAFETY: the mapping is read-only and of a file, so its pages hold what the file holds, before and after.
            // It is only advice: when it fails, the memory stays in use.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, first, last - first) };
        }
    }

    #[cfg(not(unix))]
    fn release(&self) {}
}

#[allow(unsafe_code, reason = "a tensor over mapped memory borrows it, which the type system cannot follow into C++")]
fn view_of(bytes: &[u8], shape: &[i64], kind: Kind) -> Result<Tensor, Error> {
    let mut strides = vec![1_i64; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    // SAFETY: `bytes` holds exactly the elements of this shape (checked when the file was opened), the pointer is
    // aligned for them (checked by the caller), and the map outlives the tensor: it is handed to the model by
    // `Weights::finish` and dropped after the tensors. Weights are never written to.
    Ok(unsafe { Tensor::f_from_blob(bytes.as_ptr(), shape, &strides, kind, Device::Cpu)? })
}

/// Recognises files that are something else in disguise, to say so in plain words.
fn check_magic(map: &[u8]) -> Result<(), String> {
    let text = |start: &str| map.starts_with(start.as_bytes());
    if text("version https://git-lfs") {
        return Err("it is a Git LFS pointer, not the weights themselves; fetch them with `git lfs pull`".to_owned());
    }
    if text("<!DOCTYPE") || text("<html") {
        return Err("it is a web page; the download did not deliver the file".to_owned());
    }
    if text("PK\u{3}\u{4}") || map.starts_with(&[0x80, 0x02]) {
        return Err("it is a pickle, which can run programs when it is read and is therefore never loaded; convert it to SafeTensors".to_owned());
    }
    if text("GGUF") {
        return Err("it is a GGUF file, not a SafeTensors file".to_owned());
    }
    let mut length = [0; 8];
    length.copy_from_slice(map.get(..8).ok_or("it is too short")?);
    let header = u64::from_le_bytes(length);
    if map.get(8) != Some(&b'{') {
        return Err("it does not begin like a SafeTensors file".to_owned());
    }
    if header > MAX_HEADER {
        return Err(format!("its header claims {header} bytes; at most {MAX_HEADER} are accepted"));
    }
    if header + 8 > map.len() as u64 {
        return Err(format!(
            "its header claims {header} bytes, but the file has {}; the file is incomplete",
            map.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A small valid file: `a` f32 [2, 3] = 0..6 and `b` f16 [2] = 1, 2.
    fn sample() -> Vec<u8> {
        let a: Vec<u8> = (0..6).flat_map(|n| (n as f32).to_le_bytes()).collect();
        let b: Vec<u8> = [1.0, 2.0].iter().flat_map(|&n| half::f16::from_f32(n).to_le_bytes()).collect();
        let views = [
            ("a", safetensors::tensor::TensorView::new(Dtype::F32, vec![2, 3], &a).unwrap()),
            ("b", safetensors::tensor::TensorView::new(Dtype::F16, vec![2], &b).unwrap()),
        ];
        safetensors::serialize(views, None).unwrap()
    }

    fn open(bytes: &[u8]) -> Result<Weights, Error> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        // The map outlives the file's name.
        Weights::open(file.path(), Device::Cpu, Kind::Float)
    }

    #[test]
    fn tensors_are_borrowed_or_converted() {
        let weights = open(&sample()).unwrap();
        let a = weights.take("a", &[2, 3]).unwrap();
        assert_eq!(Vec::<f32>::try_from(a.reshape(-1)).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let map = weights.maps[0].1.as_ptr_range();
        assert!(map.contains(&a.data_ptr().cast_const().cast()), "f32 on f32 is not copied");
        let b = weights.take("b", &[2]).unwrap();
        assert_eq!(Vec::<f32>::try_from(&b).unwrap(), [1.0, 2.0]);
        assert!(!map.contains(&b.data_ptr().cast_const().cast()));
        let map = Arc::downgrade(&weights.maps[0].1);
        let keep = weights.finish(|_| false).unwrap();
        assert!(map.upgrade().is_some(), "a borrowed tensor keeps the map");
        drop(keep);
        assert!(map.upgrade().is_none());
    }

    #[test]
    fn pages_that_were_copied_can_be_read_again() {
        let numbers: Vec<u8> = (0..200_000).flat_map(|n| half::f16::from_f32(n as f32).to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(Dtype::F16, vec![200_000], &numbers).unwrap();
        let weights = open(&safetensors::serialize([("a", view)], None).unwrap()).unwrap();
        let first = weights.take("a", &[200_000]).unwrap();
        let again = weights.take("a", &[200_000]).unwrap();
        assert!(first.equal(&again) && (again.double_value(&[150]) - 150.0).abs() < 1e-6);
    }

    #[test]
    fn names_and_shapes_are_checked() {
        let weights = open(&sample()).unwrap();
        assert!(matches!(weights.take("c", &[1]), Err(Error::MissingTensor { tensor, .. }) if tensor == "c"));
        let wrong = weights.take("a", &[3, 2]);
        assert!(
            matches!(&wrong, Err(Error::TensorShape { expected, found, .. }) if expected == &[3, 2] && found == &[2, 3])
        );
        assert!(weights.take("a", &[2, 3, 1, 1]).is_ok(), "a linear layer may be stored as a 1x1 convolution");
        let extra = weights.finish(|_| false);
        assert!(matches!(&extra, Err(Error::UnexpectedTensors { names, count: 1, .. }) if names == &["b"]));
        let weights = open(&sample()).unwrap();
        assert!(weights.finish(|name| name.len() == 1).is_ok());
    }

    #[test]
    fn files_in_disguise_are_named() {
        for (bytes, word) in [
            (&b"version https://git-lfs.github.com/spec/v1\n"[..], "LFS"),
            (b"<!DOCTYPE html><html></html>", "web page"),
            (b"PK\x03\x04aaaaaaaaaaaa", "pickle"),
            (b"hello, I am a text file, not weights", "SafeTensors"),
            (b"short", "5 bytes"),
            (b"\xff\xff\xff\xff\xff\xff\xff\x7f{}", "header"),
            (b"\x00\x01\x00\x00\x00\x00\x00\x00{}", "incomplete"),
            (b"\x02\x00\x00\x00\x00\x00\x00\x00[]", "SafeTensors"),
        ] {
            let error = open(bytes).unwrap_err().to_string();
            assert!(error.contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn a_truncated_file_is_refused_at_every_length() {
        let bytes = sample();
        for len in 0..bytes.len() {
            assert!(open(&bytes[..len]).is_err(), "{len} of {}", bytes.len());
        }
    }

    #[test]
    fn lying_headers_are_refused() {
        for (header, why) in [
            (r#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,8]}}"#, "bytes against shape"),
            (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, "backwards"),
            (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}}"#, "overflow"),
            (r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}}"#, "shape overflow"),
            (r#"{"a":{"dtype":"F99","shape":[2],"data_offsets":[0,8]}}"#, "dtype"),
            (
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#,
                "overlap",
            ),
            (r#"{"a":3}"#, "no tensor"),
        ] {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(&[0; 8]);
            assert!(open(&bytes).is_err(), "{why}");
        }
    }

    proptest! {
        #[test]
        fn mutations_never_crash(changes in prop::collection::vec((0_usize..10_000, any::<u8>()), 1..8)) {
            let mut bytes = sample();
            for (at, value) in changes {
                let len = bytes.len();
                bytes[at % len] = value;
            }
            if let Ok(weights) = open(&bytes) {
                let names: Vec<(String, Vec<i64>)> =
                    weights.entries.iter().map(|(name, entry)| (name.clone(), entry.shape.clone())).collect();
                for (name, shape) in names {
                    if let Ok(tensor) = weights.take(&name, &shape) {
                        prop_assert_eq!(tensor.size(), shape);
                        let _ = tensor.f_sum(Kind::Float).unwrap();
                    }
                }
            }
        }
    }
}
