//! AVIF.

use crate::{Error, Format, Limits, Result, read::Decoded};

pub(crate) fn read(_bytes: &[u8], _limits: &Limits) -> Result<Decoded> {
    Err(Error::Unsupported { format: Format::Avif, what: "AVIF".into() })
}
