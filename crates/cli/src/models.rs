//! `outframe models`: what is known about one model, whether its weights are what they were, and into the library and out.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use outframe_studio::{CatalogEntry, HashCache, Hashes, Hub, LibraryItem, Models, Way, catalog};
use serde::Serialize;

use crate::{commands::on_runtime, progress::Progress, report};

#[derive(Debug, Serialize)]
struct Verified {
    file: PathBuf,
    #[serde(flatten)]
    hashes: Hashes,
    /// Whether there was a hash to compare with.
    compared: bool,
}

/// The item of this name, or at this path.
pub(crate) fn find(asked: &str) -> anyhow::Result<LibraryItem> {
    let library = Models::discover().library();
    let path = Path::new(asked).canonicalize().ok();
    let names: Vec<_> = library.iter().map(|item| item.name.clone()).collect();
    let same_place = |item: &LibraryItem| path.is_some() && item.path.canonicalize().ok() == path;
    library
        .into_iter()
        .find(|item| item.name == asked || same_place(item))
        .with_context(|| format!("There is no model “{asked}” in the library. It holds: {}.", names.join(", ")))
}

pub(crate) fn describe(item: &LibraryItem) -> String {
    let mut text = format!("{}: {}, {} MB\n", item.name, item.description(), item.bytes / 1_000_000);
    let mut line = |name: &str, value: Option<&str>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            text += &format!("  {name}: {value}\n");
        }
    };
    line("path", Some(&item.path.display().to_string()));
    line("title", item.title.as_deref());
    line("licence", item.licence.as_deref());
    line("source", item.source.as_deref());
    line("trigger words", Some(&item.trigger_words.join(", ")));
    line("cannot be used", item.problem.as_deref());
    text
}

#[derive(Debug, Serialize)]
struct Known {
    #[serde(flatten)]
    entry: CatalogEntry,
    /// Whether the library has a model of this name.
    installed: bool,
}

/// The well-known models that can be downloaded by their names.
pub(crate) fn catalogue(json: bool) -> anyhow::Result<()> {
    let library = Models::discover().library();
    let here = |entry: &CatalogEntry| library.iter().any(|item| item.name == entry.name);
    let entries: Vec<_> = catalog()?.into_iter().map(|entry| Known { installed: here(&entry), entry }).collect();
    report::print(json, entries.as_slice(), |entries| {
        let line = |Known { entry, installed }: &Known| {
            let size: u64 = entry.files.iter().filter_map(|file| file.bytes).sum();
            let size = if size == 0 { String::new() } else { format!(", {} MB", size / 1_000_000) };
            let here = if *installed { " (in the library)" } else { "" };
            format!(
                "{}{here}  {}\n  {}, {}{size}, from {}\n  {}. {}\n",
                entry.name,
                entry.title,
                entry.family.name(),
                entry.kind.name(),
                entry.repository,
                entry.licence,
                entry.obligations
            )
        };
        entries.iter().map(line).collect()
    })
}

/// Puts a model into the library, saying first what it is.
pub(crate) fn add(path: &Path, copy: bool, name: Option<&str>, json: bool, show: &Progress) -> anyhow::Result<()> {
    let item = Models::examine(path)?;
    show.say(&format!("{} is {}, {} MB.", path.display(), item.description(), item.bytes / 1_000_000));
    let way = if copy { Way::Copy } else { Way::Link };
    let added = on_runtime(async |cancel| {
        let mut tell = |done, all| show.bytes(done, all, &item.name);
        Ok(Models::discover().add(path, way, name, cancel, &mut tell)?)
    });
    show.finish();
    report::print(json, &added?, |item| format!("{} {}", if copy { "copied:" } else { "linked:" }, describe(item)))
}

/// Takes a model out of the library.
pub(crate) fn remove(asked: &str, yes: bool, json: bool) -> anyhow::Result<()> {
    let removed = Models::discover().remove(asked, yes)?;
    report::print(json, &removed, |removed| {
        let how = if removed.link { "unlinked; its original is untouched" } else { "removed" };
        format!("{}: {how}", removed.name)
    })
}

/// Downloads a model, saying first what it is and what its licence asks for.
pub(crate) fn download(
    asked: &str,
    file: Option<&str>,
    full: bool,
    name: Option<&str>,
    json: bool,
    show: &Progress,
) -> anyhow::Result<()> {
    let item = on_runtime(async |cancel| {
        let hub = Hub::from_environment()?;
        let order = hub.order(asked, file, full, cancel).await?;
        show.say(&format!("{} MB from {}.", order.bytes.div_ceil(1_000_000), order.source()));
        match (&order.licence, &order.obligations) {
            (Some(licence), Some(obligations)) => show.say(&format!("Licence: {licence}. {obligations}")),
            (Some(licence), None) => show.say(&format!("Licence, as the hub tells: {licence}. Read it.")),
            (None, _) => show.say("The hub tells no licence. Read the repository’s page before you use it."),
        }
        let mut tell =
            |progress: outframe_studio::DownloadProgress| show.bytes(progress.done, progress.all, &progress.file);
        let models = Models::discover();
        Ok(models.download(&hub, &order, name, &mut HashCache::open(), cancel, &mut tell).await?)
    });
    show.finish();
    report::print(json, &item?, describe)
}

/// Reads the weights of a model and compares them with the hash that was given, or the one that is recorded; `accept` records
/// what they are now.
pub(crate) fn verify(
    asked: &str,
    sha256: Option<&str>,
    accept: bool,
    json: bool,
    show: &Progress,
) -> anyhow::Result<()> {
    let item = find(asked)?;
    let files = item.weights();
    if sha256.is_some() && files.len() != 1 {
        bail!("“{asked}” is a folder of {} weight files; one SHA-256 cannot stand for them.", files.len());
    }
    let verified = on_runtime(async |cancel| {
        let mut cache = HashCache::open();
        let mut verified = Vec::new();
        for file in files {
            let recorded = cache.recorded(&file);
            let expected = sha256.map(str::to_lowercase).or(recorded.map(|hashes| hashes.sha256));
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let hashes = cache.hashes(&file, true, cancel, |done, all| show.bytes(done, all, &name))?;
            if accept {
                cache.accept(&file, hashes.clone())?;
                verified.push(Verified { file, hashes, compared: false });
                continue;
            }
            if let Some(expected) = expected.as_deref().filter(|expected| *expected != hashes.sha256) {
                bail!(
                    "{} is not what it should be: its SHA-256 is {}, expected was {expected}. It is damaged or another \
                     version: get it again, or if you changed it yourself, `outframe models verify --accept`.",
                    file.display(),
                    hashes.sha256
                );
            }
            verified.push(Verified { file, hashes, compared: expected.is_some() });
        }
        Ok(verified)
    });
    show.finish();
    report::print(json, verified?.as_slice(), |files| {
        let line = |one: &Verified| {
            let word = match (one.compared, accept) {
                (true, _) => "as it should be",
                (false, true) => "recorded as it is now",
                (false, false) => "recorded; there was no hash to compare with",
            };
            format!("{}  {word}\n  sha256 {}\n  blake3 {}\n", one.file.display(), one.hashes.sha256, one.hashes.blake3)
        };
        files.iter().map(line).collect()
    })
}
