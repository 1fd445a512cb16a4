//! The .ora reader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outframe_interchange::{
    Error, Limits,
    ora::{read_ora, read_ora_merged},
};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { max_side: 2048, max_decoded_bytes: 8 << 20, ..Limits::default() };
    if let Err(error @ Error::Decoder { .. }) = read_ora(bytes, &limits) {
        panic!("{error}");
    }
    let _ = read_ora_merged(bytes, &limits);
});
