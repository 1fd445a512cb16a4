//! The control networks of a job, with their pictures.

use image::RgbImage;
use outframe_diffusion as diffusion;
use outframe_engine::Control;

/// Puts controls and the attachments that are their pictures together.
pub(crate) fn with_pictures(controls: Vec<Control>, pictures: Vec<Vec<u8>>) -> Result<Vec<diffusion::Control>, String> {
    if controls.len() != pictures.len() {
        let (named, attached) = (controls.len(), pictures.len());
        return Err(format!("{named} ControlNets came with {attached} pictures; each needs one"));
    }
    let both = controls.into_iter().zip(pictures);
    both.map(|(control, bytes)| {
        let Control { path, scale, start, end, picture } = control;
        picture.check(&bytes, 3).map_err(|error| error.to_string())?;
        let image = RgbImage::from_raw(picture.width, picture.height, bytes)
            .ok_or_else(|| "the picture of a ControlNet has a wrong size".to_owned())?;
        Ok(diffusion::Control { path, image, scale, start, end })
    })
    .collect()
}
