//! Every picture reader, with its metadata.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outframe_interchange::{Error, Limits, read_picture};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_side: 2048, max_decoded_bytes: 8 << 20, ..Limits::default() };
    if let Err(error @ Error::Decoder { .. }) = read_picture(bytes, None, &limits) {
        panic!("{error}");
    }
});
