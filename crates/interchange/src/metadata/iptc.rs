//! IPTC-IIM: the older form of captions and names, in JPEG and TIFF files of agencies and cameras.

use super::{Metadata, fill, some};
use crate::container::{iptc_of_photoshop, latin1_or_utf8};

/// Most datasets that are looked at.
const MAX_DATASETS: usize = 4096;

/// Fills what is not yet known. Accepts the datasets alone or inside Photoshop's resources.
pub(super) fn read(bytes: &[u8], metadata: &mut Metadata) {
    let unwrapped = iptc_of_photoshop(bytes);
    let mut rest = unwrapped.as_deref().unwrap_or(bytes);
    let mut creators: Vec<String> = Vec::new();
    for _ in 0..MAX_DATASETS {
        // 1c, record, dataset, size, data
        let Some((&[0x1c, record, dataset, high, low], after)) = rest.split_first_chunk::<5>() else { break };
        let size = usize::from(u16::from_be_bytes([high, low]));
        // The highest bit announces a size of more than 32 kB, which no text here has.
        let Some(data) = after.get(..size).filter(|_| high & 0x80 == 0) else { break };
        rest = &after[size..];
        if record != 2 {
            continue;
        }
        let text = some(&latin1_or_utf8(data));
        match dataset {
            5 => fill(&mut metadata.title, text),
            25 => metadata.keywords.extend(text.filter(|word| !metadata.keywords.contains(word))),
            80 => creators.extend(text),
            116 => fill(&mut metadata.rights, text),
            120 => fill(&mut metadata.description, text),
            _ => {}
        }
    }
    fill(&mut metadata.creator, some(&creators.join(", ")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_basic_fields_are_read() {
        let mut bytes = Vec::new();
        for (dataset, text) in
            [(5_u8, "Title"), (80, "Ann"), (80, "Bob"), (116, "© me"), (120, "A caption"), (25, "sea"), (25, "sea")]
        {
            bytes.extend([0x1c, 2, dataset]);
            bytes.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
            bytes.extend(text.as_bytes());
        }
        let mut metadata = Metadata::default();
        read(&bytes, &mut metadata);
        assert_eq!(metadata.title.as_deref(), Some("Title"));
        assert_eq!(metadata.creator.as_deref(), Some("Ann, Bob"));
        assert_eq!(metadata.rights.as_deref(), Some("© me"));
        assert_eq!(metadata.description.as_deref(), Some("A caption"));
        assert_eq!(metadata.keywords, ["sea"]);
    }
}
