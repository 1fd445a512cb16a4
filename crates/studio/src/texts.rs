//! Texts beside the models: lists for wildcards, and styles; and what a prompt comes to with them.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{Settings, StudioError, prompts};

/// The styles that come with Outframe.
const STYLES: &str = include_str!("../../../models/styles.toml");
/// The name of the user's own.
const STYLES_FILE: &str = "styles.toml";
/// The folder of the user's lists, `NAME.txt` each.
const WILDCARDS: &str = "wildcards";
/// A longer file is no list and no styles.
const MAX_FILE: u64 = 4 << 20;
/// What stands for the prompt in a style.
const PLACE: &str = "{prompt}";

/// What is put around a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Style {
    /// By which it is asked for.
    pub name: String,
    /// The prompt, with `{prompt}` for what was typed; what was typed comes first where that is absent.
    pub prompt: String,
    /// Added to what shall not be there.
    #[serde(default)]
    pub negative: String,
}

impl Style {
    fn around(&self, prompt: &str) -> String {
        if self.prompt.contains(PLACE) {
            return self.prompt.replace(PLACE, prompt);
        }
        joined(prompt, &self.prompt)
    }
}

fn joined(a: &str, b: &str) -> String {
    let parts = [a.trim(), b.trim()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Styles {
    #[serde(default)]
    style: Vec<Style>,
}

/// The user's texts.
#[derive(Debug, Clone)]
pub struct Texts {
    folder: Option<PathBuf>,
}

impl Texts {
    /// Those in the user's configuration folder.
    pub fn discover() -> Self {
        let folders = directories::ProjectDirs::from("", "", "outframe");
        Self { folder: folders.map(|folders| folders.config_dir().to_path_buf()) }
    }

    /// Those in this folder: `styles.toml`, and the lists in `wildcards`.
    pub fn at(folder: PathBuf) -> Self {
        Self { folder: Some(folder) }
    }

    /// All styles, those that come with Outframe first; the user's replace those of the same name.
    pub fn styles(&self) -> Result<Vec<Style>, StudioError> {
        let read = |text: &str, file: &Path| {
            toml::from_str::<Styles>(text).map(|found| found.style).map_err(|error| {
                let why = error.message().to_owned();
                StudioError::InvalidRequest(format!(
                    "The styles in {} cannot be read: {why}. Each needs [[style]], name and prompt.",
                    file.display()
                ))
            })
        };
        let mut styles = read(STYLES, Path::new(STYLES_FILE))?;
        let Some(file) = self.folder.as_ref().map(|folder| folder.join(STYLES_FILE)).filter(|file| file.is_file())
        else {
            return Ok(styles);
        };
        for own in read(&bounded(&file)?, &file)? {
            match styles.iter_mut().find(|style| style.name == own.name) {
                Some(style) => *style = own,
                None => styles.push(own),
            }
        }
        Ok(styles)
    }

    /// The style of this name, whatever its capitals.
    pub fn style(&self, name: &str) -> Result<Style, StudioError> {
        let styles = self.styles()?;
        let wanted = name.trim().to_lowercase();
        styles.iter().find(|style| style.name.to_lowercase() == wanted).cloned().ok_or_else(|| {
            let names: Vec<_> = styles.iter().map(|style| style.name.as_str()).collect();
            StudioError::InvalidRequest(format!("There is no style “{name}”. Choose one of: {}.", names.join(", ")))
        })
    }

    /// The lines of a list, without empty ones and those that begin with `#`; nothing where there is no such list.
    pub fn lines(&self, name: &str) -> Option<Vec<String>> {
        // A name may have folders, and must not lead out of the lists' own.
        if name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
            return None;
        }
        let file = self.folder.as_ref()?.join(WILDCARDS).join(format!("{name}.txt"));
        let text = bounded(&file).ok()?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        Some(lines.map(str::to_owned).collect())
    }

    /// What each take is asked for: take i is given the i-th of the prompt's alternatives, beginning again after the last,
    /// and the lines that its own seed chooses; so it can be made again alone.
    pub(crate) fn wording(
        &self,
        prompt: &Prompt,
        settings: &Settings,
        seed: u64,
        takes: u32,
    ) -> Result<Wording, StudioError> {
        let style = settings.style.as_deref().map(|name| self.style(name)).transpose()?;
        let negative = joined(&settings.negative, style.as_ref().map_or("", |style| &style.negative));
        let Prompt::Given(text) = prompt else {
            // It has the style that it was made with; only what shall not be there is the same for all.
            let prompts = vec![prompt.text().to_owned(); takes as usize];
            return Ok(Wording { prompts, negative, typed: None, style: None });
        };
        let alternatives = prompts::permutations(text)?;
        let lists = |name: &str| self.lines(name);
        let mut prompts = Vec::new();
        for (index, alternative) in (0..takes).zip(alternatives.iter().cycle()) {
            let seed = seed.wrapping_add(u64::from(index));
            let drawn = prompts::wildcards(alternative, seed, &lists).map_err(|error| self.missing(error))?;
            prompts.push(style.as_ref().map_or(drawn.clone(), |style| style.around(&drawn)));
        }
        let typed = prompts.iter().any(|prompt| prompt != text).then(|| text.clone());
        Ok(Wording { prompts, negative, typed, style: style.map(|style| style.name) })
    }

    /// Says where a list belongs.
    fn missing(&self, error: prompts::PromptError) -> StudioError {
        match (&error, &self.folder) {
            (prompts::PromptError::NoList(name), Some(folder)) => {
                let file = folder.join(WILDCARDS).join(format!("{name}.txt"));
                StudioError::InvalidRequest(format!(
                    "{error} The list would be {}, a line for each choice.",
                    file.display()
                ))
            }
            _ => StudioError::from(error),
        }
    }
}

impl From<prompts::PromptError> for StudioError {
    fn from(error: prompts::PromptError) -> Self {
        Self::InvalidRequest(error.to_string())
    }
}

fn bounded(file: &Path) -> Result<String, StudioError> {
    let mut text = String::new();
    let read = fs::File::open(file).and_then(|opened| opened.take(MAX_FILE + 1).read_to_string(&mut text));
    read.map_err(StudioError::io("read", file))?;
    if text.len() as u64 > MAX_FILE {
        return Err(StudioError::InvalidRequest(format!(
            "{} is longer than {} MiB. Make it shorter.",
            file.display(),
            MAX_FILE >> 20
        )));
    }
    Ok(text)
}

/// Where a prompt comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prompt {
    /// It was typed: its braces and wildcards stand for others.
    Given(String),
    /// It is that of a picture in the project, and taken at its word.
    Known(String),
}

impl Prompt {
    pub(crate) fn of(given: Option<&str>, known: impl FnOnce() -> String) -> Self {
        given.map_or_else(|| Self::Known(known()), |text| Self::Given(text.to_owned()))
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Given(text) | Self::Known(text) => text,
        }
    }

    /// What was typed.
    pub(crate) fn given(&self) -> Option<&str> {
        match self {
            Self::Given(text) => Some(text),
            Self::Known(_) => None,
        }
    }
}

/// What the takes of a request are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wording {
    /// One for each take.
    pub(crate) prompts: Vec<String>,
    pub(crate) negative: String,
    /// What was typed, where that is not what the takes are asked for.
    pub(crate) typed: Option<String>,
    /// The style's name.
    pub(crate) style: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lists: &[(&str, &str)]) -> (tempfile::TempDir, Texts) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("wildcards/deep")).unwrap();
        for (name, text) in lists {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let texts = Texts::at(folder.path().into());
        (folder, texts)
    }

    #[test]
    fn our_own_styles_can_be_read_and_hold_the_prompt() {
        let (_folder, texts) = texts(&[]);
        let styles = texts.styles().unwrap();
        assert!(styles.len() >= 10);
        let names: std::collections::BTreeSet<_> = styles.iter().map(|style| style.name.to_lowercase()).collect();
        assert_eq!(names.len(), styles.len());
        for style in styles {
            assert!(style.around("a lake").contains("a lake") && style.prompt.contains(PLACE), "{style:?}");
        }
    }

    #[test]
    fn ones_own_styles_add_and_replace() {
        let own = "[[style]]\nname = \"Woodcut\"\nprompt = \"mine\"\n[[style]]\nname = \"woodcut\"\nprompt = \"x {prompt}\"\n";
        let (folder, texts) = texts(&[("styles.toml", own)]);
        assert_eq!(texts.style("woodcut").unwrap().around("a lake"), "x a lake");
        assert_eq!(texts.styles().unwrap().last().unwrap().around("a lake"), "a lake, mine");
        let error = texts.style("unicorn").unwrap_err().to_string();
        assert!(error.contains("unicorn") && error.contains("watercolour"), "{error}");
        fs::write(folder.path().join("styles.toml"), "[[style]]\nname = 3").unwrap();
        let error = texts.styles().unwrap_err().to_string();
        assert!(error.contains("styles.toml"), "{error}");
    }

    #[test]
    fn lists_stay_in_their_folder() {
        let (_folder, texts) = texts(&[
            ("wildcards/colour.txt", "# colours\n red \n\nblue\n"),
            ("wildcards/deep/sea.txt", "fish"),
            ("secret.txt", "no"),
        ]);
        assert_eq!(texts.lines("colour").unwrap(), ["red", "blue"]);
        assert_eq!(texts.lines("deep/sea").unwrap(), ["fish"]);
        for name in ["../secret", "/etc/hostname", "deep//sea", "deep/../colour", "none", ""] {
            assert_eq!(texts.lines(name), None, "{name}");
        }
    }

    #[test]
    fn each_take_has_its_words_and_can_be_asked_for_alone() {
        let (_folder, texts) = texts(&[("wildcards/sky.txt", "clouds\nstars\nrain\nfog")]);
        let given = Prompt::Given("a {red,blue} barn, __sky__".into());
        let settings = Settings { negative: "people".into(), style: Some("Woodcut".into()), ..Settings::default() };
        let wording = texts.wording(&given, &settings, 40, 5).unwrap();
        assert_eq!(wording.prompts.len(), 5);
        for (index, prompt) in wording.prompts.iter().enumerate() {
            assert!(prompt.contains(if index % 2 == 0 { "a red barn" } else { "a blue barn" }), "{prompt}");
            assert!(prompt.starts_with("woodcut print of") && !prompt.contains("__"), "{prompt}");
        }
        assert_eq!((wording.typed.as_deref(), wording.style.as_deref()), (Some(given.text()), Some("woodcut")));
        assert!(wording.negative.starts_with("people, ") && wording.negative.contains("photograph"));
        let again = texts.wording(&given, &settings, 40, 5).unwrap();
        assert_eq!(again, wording);
        // The third take alone: its own words at their word, its seed, no style.
        let alone = Prompt::Given(prompts::literal(&wording.prompts[2]));
        let alone = texts.wording(&alone, &Settings::default(), 42, 1).unwrap();
        assert_eq!(alone.prompts[0], wording.prompts[2]);
    }

    #[test]
    fn a_prompt_of_the_project_is_taken_at_its_word() {
        let (_folder, texts) = texts(&[]);
        let known = Prompt::Known("a {b __c__".into());
        let wording = texts.wording(&known, &Settings { style: Some("gouache".into()), ..Settings::default() }, 1, 2);
        let wording = wording.unwrap();
        assert_eq!((wording.prompts.len(), wording.prompts[1].as_str()), (2, "a {b __c__"));
        assert_eq!((wording.typed, wording.style), (None, None));
        let error = texts.wording(&Prompt::Given("__c__".into()), &Settings::default(), 1, 1).unwrap_err().to_string();
        assert!(error.contains("c.txt"), "{error}");
    }
}
