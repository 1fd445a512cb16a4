//! Length-delimited frames: a small JSON header plus raw binary attachments.
//!
//! Layout, little endian: magic `OFE1` (4 bytes), header length (u32), number of attachments (u32), the header, then for each
//! attachment its length (u64) and its bytes. All lengths are bounded before anything is allocated.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

/// First four bytes of every frame.
pub const MAGIC: [u8; 4] = *b"OFE1";
/// Length in bytes of what precedes the header.
pub const PRELUDE_LEN: usize = 12;
/// Longest header, in bytes.
pub const MAX_HEADER: u32 = 1 << 20;
/// Most attachments in a frame.
pub const MAX_ATTACHMENTS: u32 = 8;
/// Longest attachment, in bytes: a 16384 x 16384 RGB picture fits.
pub const MAX_ATTACHMENT: u64 = 1 << 30;

/// What can go wrong between the two processes.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The other side closed the pipe between two frames.
    #[error("the other side closed the connection")]
    Closed,
    /// Reading or writing failed, or the pipe closed in the middle of a frame.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The bytes are not a frame: something else writes to the pipe.
    #[error("not a frame of the engine's protocol: it begins with {0:02x?}")]
    Magic([u8; 4]),
    /// A length exceeds its bound.
    #[error("a frame announces {what} of {found}, more than the {limit} allowed")]
    TooLarge {
        /// Which length.
        what: &'static str,
        /// The announced value.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// The header is no message that this side knows.
    #[error("a frame's header cannot be understood: {0}")]
    Header(#[from] serde_json::Error),
}

/// One message with its attachments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame<T> {
    /// The typed header.
    pub header: T,
    /// Raw bytes that the header describes, pictures for instance.
    pub attachments: Vec<Vec<u8>>,
}

impl<T> Frame<T> {
    /// A frame without attachments.
    pub fn new(header: T) -> Self {
        Self { header, attachments: Vec::new() }
    }

    /// A frame with attachments.
    pub fn with(header: T, attachments: Vec<Vec<u8>>) -> Self {
        Self { header, attachments }
    }
}

/// The lengths in front of a header, already checked against their bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prelude {
    /// Header length in bytes.
    pub header: u32,
    /// Number of attachments.
    pub attachments: u32,
}

impl Prelude {
    /// Reads and checks the fixed-size start of a frame.
    pub fn parse(bytes: [u8; PRELUDE_LEN]) -> Result<Self, FrameError> {
        let [m0, m1, m2, m3, h0, h1, h2, h3, a0, a1, a2, a3] = bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(FrameError::Magic([m0, m1, m2, m3]));
        }
        let header = u32::from_le_bytes([h0, h1, h2, h3]);
        let attachments = u32::from_le_bytes([a0, a1, a2, a3]);
        bounded("a header", u64::from(header), u64::from(MAX_HEADER))?;
        bounded("a number of attachments", u64::from(attachments), u64::from(MAX_ATTACHMENTS))?;
        Ok(Self { header, attachments })
    }
}

/// Checks an attachment's announced length.
pub fn attachment_len(bytes: [u8; 8]) -> Result<usize, FrameError> {
    let length = u64::from_le_bytes(bytes);
    bounded("an attachment", length, MAX_ATTACHMENT)?;
    Ok(length as usize)
}

fn bounded(what: &'static str, found: u64, limit: u64) -> Result<(), FrameError> {
    if found > limit { Err(FrameError::TooLarge { what, found, limit }) } else { Ok(()) }
}

/// Encodes a frame up to its attachments; each attachment follows as its u64 length and its bytes.
pub fn encode_head<T: Serialize>(frame: &Frame<T>) -> Result<Vec<u8>, FrameError> {
    let header = serde_json::to_vec(&frame.header)?;
    bounded("a header", header.len() as u64, u64::from(MAX_HEADER))?;
    bounded("a number of attachments", frame.attachments.len() as u64, u64::from(MAX_ATTACHMENTS))?;
    for attachment in &frame.attachments {
        bounded("an attachment", attachment.len() as u64, MAX_ATTACHMENT)?;
    }
    let mut head = Vec::with_capacity(PRELUDE_LEN + header.len());
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&(header.len() as u32).to_le_bytes());
    head.extend_from_slice(&(frame.attachments.len() as u32).to_le_bytes());
    head.extend_from_slice(&header);
    Ok(head)
}

/// Writes one frame and flushes.
pub fn write<T: Serialize>(out: &mut impl Write, frame: &Frame<T>) -> Result<(), FrameError> {
    out.write_all(&encode_head(frame)?)?;
    for attachment in &frame.attachments {
        out.write_all(&(attachment.len() as u64).to_le_bytes())?;
        out.write_all(attachment)?;
    }
    out.flush()?;
    Ok(())
}

/// Reads one frame; [`FrameError::Closed`] when the pipe ended between two frames.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> Result<Frame<T>, FrameError> {
    let mut prelude = [0; PRELUDE_LEN];
    let first = loop {
        match from.read(&mut prelude) {
            Ok(count) => break count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    };
    if first == 0 {
        return Err(FrameError::Closed);
    }
    from.read_exact(&mut prelude[first..])?;
    let prelude = Prelude::parse(prelude)?;
    let mut header = vec![0; prelude.header as usize];
    from.read_exact(&mut header)?;
    let header = serde_json::from_slice(&header)?;
    let mut attachments = Vec::with_capacity(prelude.attachments as usize);
    for _ in 0..prelude.attachments {
        let mut length = [0; 8];
        from.read_exact(&mut length)?;
        let length = attachment_len(length)?;
        // Grows with what really arrives, so that a false length costs nothing.
        let mut bytes = Vec::new();
        let arrived = from.by_ref().take(length as u64).read_to_end(&mut bytes)?;
        if arrived < length {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        attachments.push(bytes);
    }
    Ok(Frame { header, attachments })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(frame: &Frame<String>) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, frame).unwrap();
        bytes
    }

    proptest! {
        #[test]
        fn round_trip(header in ".{0,64}", attachments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..4)) {
            let frame = Frame::with(header, attachments);
            let bytes = bytes_of(&frame);
            let mut from = bytes.as_slice();
            prop_assert_eq!(read::<String>(&mut from).unwrap(), frame);
            prop_assert!(matches!(read::<String>(&mut from), Err(FrameError::Closed)));
        }

        #[test]
        fn any_bytes_give_a_result_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = read::<String>(&mut bytes.as_slice());
        }

        #[test]
        fn a_cut_frame_is_an_error(cut in 1usize..40) {
            let bytes = bytes_of(&Frame::with("hello".to_owned(), vec![vec![7; 20]]));
            let end = bytes.len() - cut.min(bytes.len() - 1);
            prop_assert!(matches!(read::<String>(&mut &bytes[..end]), Err(FrameError::Io(_))));
        }
    }

    #[test]
    fn false_lengths_are_refused_before_allocation() {
        let mut bytes = bytes_of(&Frame::new("x".to_owned()));
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(read::<String>(&mut bytes.as_slice()), Err(FrameError::TooLarge { what: "a header", .. })));
        let mut bytes = bytes_of(&Frame::with("x".to_owned(), vec![vec![1]]));
        let at = bytes.len() - 9;
        bytes[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(
            read::<String>(&mut bytes.as_slice()),
            Err(FrameError::TooLarge { what: "an attachment", .. })
        ));
        assert!(matches!(read::<String>(&mut &b"GET / HTTP/1.1\r\n"[..]), Err(FrameError::Magic(_))));
    }
}
