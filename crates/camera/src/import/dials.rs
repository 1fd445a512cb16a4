//! Dials as Runway shows them, and Kling's `camera_control`.

use serde::{Deserialize, Serialize};

use super::Imported;
use crate::error::check;
use crate::{Dial, Error, Move, MoveKind};

/// The longest text of Kling's that is read, in bytes.
const MAX_KLING: usize = 64 << 10;

/// Six dials from -10 to 10: two translations, three rotations, and the zoom.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RunwayDials {
    /// Goes right: truck.
    pub horizontal: f64,
    /// Goes up: pedestal.
    pub vertical: f64,
    /// Turns to the right.
    pub pan: f64,
    /// Turns up.
    pub tilt: f64,
    /// Turns clockwise.
    pub roll: f64,
    /// Comes closer.
    pub zoom: f64,
}

impl RunwayDials {
    /// The moves from rest to the dials over a film of so many pictures. Dials are rounded to one decimal; it is an error
    /// if one is beyond 10.
    pub fn moves(&self, frames: u32) -> Result<Vec<Move>, Error> {
        let last = f64::from(frames.saturating_sub(1));
        let mut moves = Vec::new();
        for (name, kind, value) in [
            ("horizontal", MoveKind::Truck, self.horizontal),
            ("vertical", MoveKind::Pedestal, self.vertical),
            ("pan", MoveKind::Pan, self.pan),
            ("tilt", MoveKind::Tilt, self.tilt),
            ("roll", MoveKind::Roll, self.roll),
            ("zoom", MoveKind::Zoom, self.zoom),
        ] {
            check(|| format!("The dial \"{name}\""), value, -10.0, 10.0, "-10 to 10")?;
            let dial = Dial::nearest(value);
            if dial != Dial::default() {
                moves.push(Move::from_dial(kind, 0.0, last, dial));
            }
        }
        Ok(moves)
    }
}

/// What Kling's "pan" means: its descriptions contradict each other. The other of the two is its "tilt".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KlingPan {
    /// It turns to the right and left, as the word means elsewhere.
    #[default]
    Horizontal,
    /// It turns up and down, about the x axis.
    Vertical,
}

#[derive(Debug, Deserialize)]
struct Wrapped {
    camera_control: CameraControl,
}

#[derive(Debug, Deserialize)]
struct CameraControl {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    config: Option<RunwayDials>,
}

/// Reads Kling's `camera_control` (or an object that holds one): "simple" with six axes, or one of its four named moves.
/// Kling's zoom has the opposite sign: negative is the longer lens, that is, in.
pub fn kling(json: &str, frames: u32, pan: KlingPan) -> Result<Imported, Error> {
    if json.len() > MAX_KLING {
        return Err(Error::TooMany { what: "bytes in the camera control", count: json.len(), limit: MAX_KLING });
    }
    let control = match serde_json::from_str::<Wrapped>(json) {
        Ok(wrapped) => wrapped.camera_control,
        Err(_) => serde_json::from_str::<CameraControl>(json).map_err(|error| {
            // serde_json counts lines and columns.
            let before: usize = json.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
            let position = before + error.column().saturating_sub(1);
            Error::Syntax { format: "Kling camera_control", what: error.to_string(), position }
        })?,
    };
    let mut imported = Imported::default();
    let last = f64::from(frames.saturating_sub(1));
    let named = |moves: &[(MoveKind, f64)]| {
        moves.iter().map(|(kind, dial)| Move::from_dial(*kind, 0.0, last, Dial::nearest(*dial))).collect::<Vec<_>>()
    };
    match control.kind.as_deref() {
        None | Some("simple") => {
            let mut dials = control.config.unwrap_or_default();
            dials.zoom = -dials.zoom;
            if pan == KlingPan::Vertical {
                std::mem::swap(&mut dials.pan, &mut dials.tilt);
            }
            imported.moves = dials.moves(frames)?;
            if imported.moves.iter().any(|one| matches!(one.kind, MoveKind::Pan | MoveKind::Tilt)) {
                imported.notes.push(match pan {
                    KlingPan::Horizontal => "Kling's pan was read as left and right, its tilt as up and down.".into(),
                    KlingPan::Vertical => "Kling's pan was read as up and down, its tilt as left and right.".into(),
                });
            }
            return Ok(imported);
        }
        Some("down_back") => imported.moves = named(&[(MoveKind::Pedestal, -3.0), (MoveKind::Dolly, -5.0)]),
        Some("forward_up") => imported.moves = named(&[(MoveKind::Dolly, 5.0), (MoveKind::Tilt, 3.0)]),
        Some("right_turn_forward") => imported.moves = named(&[(MoveKind::Pan, 3.0), (MoveKind::Dolly, 5.0)]),
        Some("left_turn_forward") => imported.moves = named(&[(MoveKind::Pan, -3.0), (MoveKind::Dolly, 5.0)]),
        Some(other) => {
            let what = format!("there is no camera movement \"{}\"", other.chars().take(40).collect::<String>());
            return Err(Error::Syntax { format: "Kling camera_control", what, position: 0 });
        }
    }
    imported.notes.push("Kling does not say how far its named moves go; middling amounts were chosen.".into());
    Ok(imported)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kling_zoom_is_turned_round() {
        let json = r#"{"type": "simple", "config": {"horizontal": 0, "vertical": 0, "pan": 0, "tilt": 0, "roll": 0, "zoom": -5}}"#;
        let imported = kling(json, 25, KlingPan::default()).unwrap();
        assert_eq!(imported.moves.len(), 1);
        assert_eq!((imported.moves[0].kind, imported.moves[0].to), (MoveKind::Zoom, 24.0));
        assert!((imported.moves[0].end - 2.0).abs() < 1e-12);
    }

    #[test]
    fn kling_pan_is_as_asked_and_names_are_known() {
        let json = r#"{"model": "x", "camera_control": {"type": "simple", "config": {"pan": 2.5}}}"#;
        assert_eq!(kling(json, 25, KlingPan::Horizontal).unwrap().moves[0].kind, MoveKind::Pan);
        assert_eq!(kling(json, 25, KlingPan::Vertical).unwrap().moves[0].kind, MoveKind::Tilt);
        for name in ["down_back", "forward_up", "right_turn_forward", "left_turn_forward"] {
            assert_eq!(kling(&format!(r#"{{"type": "{name}"}}"#), 25, KlingPan::Horizontal).unwrap().moves.len(), 2);
        }
        for bad in ["", "[", "{\"type\": \"up\"}", "{\"config\": {\"zoom\": 11}}", "{\"config\": 3}"] {
            assert!(kling(bad, 25, KlingPan::Horizontal).is_err(), "{bad}");
        }
        assert!(kling(&"[".repeat(MAX_KLING), 25, KlingPan::Horizontal).is_err());
    }

    #[test]
    fn runway_dials_become_units() {
        let moves = RunwayDials { horizontal: 5.0, roll: -10.0, ..RunwayDials::default() }.moves(10).unwrap();
        assert_eq!(
            moves.iter().map(|one| (one.kind, one.end)).collect::<Vec<_>>(),
            [(MoveKind::Truck, 0.5), (MoveKind::Roll, -45.0)]
        );
        assert!(RunwayDials { pan: f64::NAN, ..RunwayDials::default() }.moves(10).is_err());
    }
}
