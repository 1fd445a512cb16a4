//! A folder of PNGs.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use tempfile::{Builder, TempDir};

use crate::{
    Encoder, Error, FilmSettings, Picture, Result,
    place::{CLAIM, UNFINISHED, claim, failed, folder, is_numbered, sweep},
    size_of,
};

/// A sequence on its way, in a folder beside its place.
pub(crate) struct Sequence {
    folder: TempDir,
    /// Held open, and thereby claimed, until the film is complete.
    claim: Option<File>,
    target: PathBuf,
    width: u32,
    height: u32,
    /// Digits in each name.
    digits: usize,
    next: u32,
}

impl Sequence {
    pub(crate) fn create(path: &Path, settings: &FilmSettings) -> Result<Self> {
        let parent = folder(path)?;
        vacant(path)?;
        sweep(&parent);
        let mut builder = Builder::new();
        builder.prefix(UNFINISHED);
        // As readable as any folder (the process's mask applies).
        #[cfg(unix)]
        builder.permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o777));
        let folder = builder.tempdir_in(parent).map_err(|source| Error::Place { path: path.to_owned(), source })?;
        let writing = File::create_new(folder.path().join(CLAIM))
            .map_err(|source| Error::Place { path: path.to_owned(), source })?;
        claim(&writing);
        Ok(Self {
            folder,
            claim: Some(writing),
            target: path.to_owned(),
            width: settings.width,
            height: settings.height,
            digits: (settings.frames - 1).to_string().len().max(5),
            next: 0,
        })
    }

    fn write(&self, rgb: &[u8]) -> Result<(), png::EncodingError> {
        let name = format!("{:0digits$}.png", self.next, digits = self.digits);
        let mut out = BufWriter::new(File::create_new(self.folder.path().join(name))?);
        let mut encoder = png::Encoder::new(&mut out, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_source_srgb(png::SrgbRenderingIntent::Perceptual);
        encoder.set_compression(png::Compression::Fast);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(rgb)?;
        writer.finish()?;
        out.flush()?;
        // What has its name after a power cut has its pictures too.
        out.get_ref().sync_data()?;
        Ok(())
    }
}

impl Encoder for Sequence {
    fn encode(&mut self, picture: Picture) -> Result<()> {
        let Picture::Rgb(rgb) = picture else {
            return Err(Error::Encoder { why: "a picture of another format came".into() });
        };
        self.write(&rgb).map_err(|error| match error {
            png::EncodingError::IoError(source) => failed(&self.target, source),
            other => Error::Encoder { why: format!("PNG: {other}") },
        })?;
        self.next += 1;
        Ok(())
    }

    fn complete(&mut self) -> Result<()> {
        self.claim = None;
        fs::remove_file(self.folder.path().join(CLAIM)).map_err(|source| failed(&self.target, source))
    }

    fn place(self: Box<Self>) -> Result<u64> {
        let bytes = size_of(self.folder.path());
        let failed = |source| failed(&self.target, source);
        let old = vacant(&self.target)?;
        // A folder cannot be renamed over another that has files: the old one steps aside, and back if the new one cannot
        // take its place.
        let aside = if old.is_some() {
            let parent = folder(&self.target)?;
            let aside = Builder::new().prefix(UNFINISHED).tempdir_in(parent).map_err(failed)?;
            fs::rename(&self.target, aside.path().join("old")).map_err(failed)?;
            Some(aside)
        } else {
            None
        };
        if let Err(source) = fs::rename(self.folder.path(), &self.target) {
            if let Some(aside) = aside {
                let back = fs::rename(aside.path().join("old"), &self.target);
                if back.is_err() {
                    // Better a film under a strange name than none.
                    let _kept = aside.keep();
                }
            }
            return Err(failed(source));
        }
        // It has moved: nothing is left to remove.
        let _moved = self.folder.keep();
        if let (Some(aside), Some(names)) = (aside, old) {
            let old = aside.path().join("old");
            // What came into the old folder in the meantime is not ours to remove.
            let removed: io::Result<()> = names.iter().try_for_each(|name| fs::remove_file(old.join(name)));
            if removed.and_then(|()| fs::remove_dir(&old)).is_err() {
                let _kept = aside.keep();
            }
        }
        Ok(bytes)
    }
}

/// The numbered PNGs in the folder that the sequence is to replace, or `None` where nothing is.
fn vacant(target: &Path) -> Result<Option<Vec<PathBuf>>> {
    let occupied = |what| Err(Error::Occupied { path: target.to_owned(), what });
    let entries = match fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return occupied("a file"),
        Err(source) => return Err(Error::Place { path: target.to_owned(), source }),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| Error::Place { path: target.to_owned(), source })?;
        let name = PathBuf::from(entry.file_name());
        if !is_numbered(&name) || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            return occupied("a folder that holds other things than a film's pictures");
        }
        names.push(name);
    }
    Ok(Some(names))
}
