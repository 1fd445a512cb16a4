//! Control networks, as they are typed.

use std::path::Path;

use outframe_studio::{
    Models,
    controls::{CANNY, Control, Prepare, read_control_picture},
};

const HOW: &str = "write it as NAME=PICTURE, and after commas scale=0.8, from=0.1, to=0.6, canny or canny=100-200";

/// What a control's text says, before anything is looked for.
#[derive(Debug, Clone, PartialEq)]
struct Words<'a> {
    network: &'a str,
    picture: &'a str,
    scale: f64,
    start: f64,
    end: f64,
    prepare: Prepare,
}

/// Reads a control and its picture. What is wrong with either is told before any work.
pub(crate) fn parse_control(text: &str) -> Result<Control, String> {
    let words = Words::parse(text)?;
    let network = Models::discover().control(words.network).map_err(|error| error.to_string())?;
    let picture = read_control_picture(Path::new(words.picture)).map_err(|error| error.to_string())?;
    let Words { scale, start, end, prepare, .. } = words;
    Ok(Control { scale, start, end, prepare, ..Control::new(network, picture) })
}

impl<'a> Words<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let (network, rest) = text.split_once('=').ok_or(HOW)?;
        let mut parts = rest.split(',');
        let picture = parts.next().unwrap_or_default();
        if network.is_empty() || picture.is_empty() {
            return Err(HOW.into());
        }
        let mut words = Self { network, picture, scale: 1.0, start: 0.0, end: 1.0, prepare: Prepare::Nothing };
        for part in parts {
            let (key, value) =
                part.split_once('=').map_or((part.trim(), None), |(key, value)| (key.trim(), Some(value)));
            let number = || -> Result<f64, String> {
                let value = value.and_then(|value| value.trim().parse().ok()).filter(|number: &f64| number.is_finite());
                value.ok_or_else(|| format!("“{part}” has no number; {HOW}"))
            };
            match key {
                "scale" => words.scale = number()?,
                "from" => words.start = number()?,
                "to" => words.end = number()?,
                "canny" => words.prepare = thresholds(value)?,
                _ => return Err(format!("“{part}” is not understood; {HOW}")),
            }
        }
        Ok(words)
    }
}

fn thresholds(text: Option<&str>) -> Result<Prepare, String> {
    let (low, high) = match text {
        None => CANNY,
        Some(text) => {
            let both = text
                .split_once('-')
                .and_then(|(low, high)| Some((low.trim().parse().ok()?, high.trim().parse().ok()?)));
            both.ok_or_else(|| format!("the thresholds “{text}” are not two numbers such as 100-200"))?
        }
    };
    Ok(Prepare::Canny { low, high })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_control_is_read() {
        let usual =
            Words { network: "edges", picture: "a=b.png", scale: 1.0, start: 0.0, end: 1.0, prepare: Prepare::Nothing };
        assert_eq!(Words::parse("edges=a=b.png"), Ok(usual.clone()));
        let canny = Words { scale: 0.8, end: 0.6, prepare: Prepare::Canny { low: 100, high: 200 }, ..usual.clone() };
        assert_eq!(Words::parse("edges=a=b.png,scale=0.8,to=0.6,canny"), Ok(canny));
        let other = Words { start: 0.25, prepare: Prepare::Canny { low: 20, high: 300 }, ..usual };
        assert_eq!(Words::parse("edges=a=b.png, from=0.25, canny=20-300"), Ok(other));
        for wrong in [
            "edges",
            "=a.png",
            "edges=",
            "edges=a.png,scale",
            "edges=a.png,scale=inf",
            "edges=a.png,blur",
            "e=a,canny=1",
        ] {
            assert!(Words::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = parse_control("unicorn=a.png").unwrap_err();
        assert!(error.contains("unicorn") && error.contains("Installed"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let network = folder.path().join("control.safetensors");
        std::fs::write(&network, "x").unwrap();
        let picture = folder.path().join("gone.png");
        let error = parse_control(&format!("{}={}", network.display(), picture.display())).unwrap_err();
        assert!(error.contains("gone.png"), "{error}");
    }
}
