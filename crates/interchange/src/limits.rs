//! How much a file may ask for.

/// Bounds that are checked before anything is allocated, so that a hostile file costs an error and not the memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the file itself.
    pub max_file_bytes: u64,
    /// Longest side of a picture, in pixels.
    pub max_side: u32,
    /// Most bytes of the decoded picture, or of all decoded layers of an .ora file together. Decoding needs about as much
    /// again for the decoder's own buffers.
    pub max_decoded_bytes: u64,
    /// Most bytes of one text (a PNG text chunk, an XMP packet, the layer list of an .ora file) after unpacking.
    pub max_text_bytes: usize,
    /// Most bytes of all texts of a file together.
    pub max_all_text_bytes: usize,
    /// Most bytes of a colour profile. Larger profiles are ignored with a warning.
    pub max_profile_bytes: usize,
    /// Deepest nesting of groups in an .ora file and of elements in XML.
    pub max_nesting: usize,
    /// Most layers and groups of an .ora file, and most nodes of a `ComfyUI` graph that are looked at.
    pub max_items: usize,
    /// Most files inside an .ora file.
    pub max_archive_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_file_bytes: 1 << 30,
            max_side: 32_768,
            // A 16384 x 16384 picture of 8 bits fits exactly.
            max_decoded_bytes: 1 << 30,
            max_text_bytes: 4 << 20,
            max_all_text_bytes: 16 << 20,
            max_profile_bytes: 8 << 20,
            max_nesting: 64,
            max_items: 10_000,
            max_archive_entries: 20_000,
        }
    }
}
