//! Generation texts by keyword: the first line of the input is the keyword.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outframe_interchange::{Limits, a1111, from_texts};

fuzz_target!(|text: &str| {
    let (keyword, text) = text.split_once('\n').unwrap_or(("parameters", text));
    if let Some(read) = a1111::parse(text) {
        a1111::format(&read);
    }
    from_texts(&[(keyword.to_owned(), text.to_owned())], &Limits::default());
});
