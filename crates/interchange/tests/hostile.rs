//! Files that mean harm: every reader must refuse or cut them, without a panic and without taking memory for them.
//!
//! The mutation runner is a fuzzer for stable Rust: it changes the fixtures at random, from a fixed seed, for a bounded number of
//! rounds. `OUTFRAME_FUZZ_ROUNDS` makes it longer. The targets in `fuzz/` do the same with coverage.

#![allow(unsafe_code, reason = "counting what is allocated needs an allocator of our own")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests may fail as tests do")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use outframe_interchange::{
    Error, Format, Limits, a1111, from_texts,
    ora::{read_ora, read_ora_merged},
    read_picture, sniff,
};

/// Counts bytes in use and remembers the most.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One measurement at a time, because memory is counted for the whole program.
static TURN: Mutex<()> = Mutex::new(());

/// The most that is in use at once while something runs, beyond what was in use before.
fn most_in_use<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW.load(Ordering::Relaxed);
    MOST.store(before, Ordering::Relaxed);
    let result = run();
    (result, MOST.load(Ordering::Relaxed).saturating_sub(before))
}

fn fixtures() -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| name != "expected.json")
        .collect();
    files.sort();
    files
}

/// Small, so that what goes beyond them shows.
fn small() -> Limits {
    Limits {
        max_file_bytes: 4 << 20,
        max_side: 2048,
        max_decoded_bytes: 4 << 20,
        max_text_bytes: 256 << 10,
        max_all_text_bytes: 512 << 10,
        max_profile_bytes: 1 << 20,
        ..Limits::default()
    }
}

/// What a reader may use under `small()`: the decoded picture, as much again for the decoder, parsed texts and profiles.
const BOUND: usize = 48 << 20;

/// The TIFF decoder has buffers by bounds of its own while it opens a file: 256 and 128 MiB.
const TIFF_BOUND: usize = 400 << 20;

fn bound(bytes: &[u8]) -> usize {
    if sniff(bytes) == Some(Format::Tiff) { TIFF_BOUND } else { BOUND }
}

fn everything(bytes: &[u8], limits: &Limits) {
    let check = |error: Error| {
        assert!(!matches!(error, Error::Decoder { .. }), "a decoder panicked: {error}");
        assert!(!error.to_string().is_empty());
    };
    let _ = sniff(bytes);
    if let Err(error) = read_picture(bytes, None, limits) {
        check(error);
    }
    if bytes.starts_with(b"PK") {
        if let Err(error) = read_ora(bytes, limits) {
            check(error);
        }
        if let Err(error) = read_ora_merged(bytes, limits) {
            check(error);
        }
    }
}

#[test]
fn hostile_files_cost_little() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for (name, bytes) in fixtures() {
        let started = Instant::now();
        let ((), most) = most_in_use(|| everything(&bytes, &small()));
        assert!(most < bound(&bytes), "{name} took {} kB", most >> 10);
        assert!(started.elapsed() < Duration::from_secs(5), "{name} took {:?}", started.elapsed());
    }
}

#[test]
fn sizes_are_refused_before_memory_is_taken() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let files = fixtures();
    let file = |name: &str| &files.iter().find(|(found, _)| found == name).unwrap().1;
    // With the limits that the editor uses.
    let limits = Limits::default();
    let (result, most) = most_in_use(|| read_picture(file("hostile-60000.png"), None, &limits));
    assert!(matches!(result, Err(Error::TooLarge { found: 60_000, .. })) && most < 64 << 10, "{most}");
    let (result, most) = most_in_use(|| read_picture(file("hostile-ztxt.png"), None, &limits));
    assert!(result.unwrap().warnings[0].contains("too long") && most < 32 << 20, "{most}");
    let (result, most) = most_in_use(|| read_picture(file("hostile-iccp.png"), None, &limits));
    assert!(result.is_ok_and(|picture| picture.warnings[0].contains("too large")) && most < 80 << 20, "{most}");
    let (result, most) = most_in_use(|| read_picture(file("hostile-json.png"), None, &limits));
    assert!(result.unwrap().metadata.generation.is_none() && most < 4 << 20, "{most}");
    for name in ["hostile-laughs.ora", "hostile-nesting.ora"] {
        let (result, most) = most_in_use(|| read_ora(file(name), &limits));
        assert!(result.is_err() && most < 8 << 20, "{name} {most}");
    }
}

/// A generator that is the same everywhere (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    const NUMBERS: [u32; 8] = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff];
    for _ in 0..=random.below(6) {
        if bytes.is_empty() {
            return;
        }
        // Headers are where the sizes are.
        let reach = if random.below(3) == 0 { bytes.len() } else { bytes.len().min(512) };
        let at = random.below(reach);
        match random.below(8) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => {
                let number = NUMBERS[random.below(NUMBERS.len())];
                let number = if random.below(2) == 0 { number.to_be_bytes() } else { number.to_le_bytes() };
                let end = (at + 1 + random.below(4)).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[4 - (end - at)..]);
            }
            4 => {
                let end = (at + random.below(64)).min(bytes.len());
                bytes.drain(at..end);
            }
            5 => {
                let end = (at + random.below(64)).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            6 if !other.is_empty() => {
                let from = random.below(other.len());
                let part = &other[from..(from + random.below(128)).min(other.len())];
                let end = (at + part.len()).min(bytes.len());
                bytes.splice(at..end, part.iter().copied());
            }
            _ => bytes.swap(at, (at + 1) % reach.max(1)),
        }
    }
}

#[test]
fn changed_files_never_panic_nor_take_memory() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let rounds: usize =
        std::env::var("OUTFRAME_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(200);
    let files: Vec<_> = fixtures().into_iter().filter(|(_, bytes)| bytes.len() < 12_000).collect();
    let mut random = Random(4);
    let started = Instant::now();
    let (mut count, mut worst) = (0, (0, String::new()));
    for round in 0..rounds {
        for (name, bytes) in &files {
            let other = &files[random.below(files.len())].1;
            let mut changed = bytes.clone();
            mutate(&mut changed, other, &mut random);
            let one = Instant::now();
            let ((), most) = most_in_use(|| everything(&changed, &small()));
            assert!(most < bound(&changed), "{name} in round {round} took {} kB", most >> 10);
            assert!(one.elapsed() < Duration::from_secs(10), "{name} in round {round} took {:?}", one.elapsed());
            if most > worst.0 {
                worst = (most, name.clone());
            }
            count += 1;
        }
        // A slow machine does less rather than take longer.
        if started.elapsed() > Duration::from_secs(15) && std::env::var_os("OUTFRAME_FUZZ_ROUNDS").is_none() {
            break;
        }
    }
    println!("{count} changed files in {:?}, at most {} kB ({})", started.elapsed(), worst.0 >> 10, worst.1);
}

#[test]
fn changed_texts_never_panic() {
    let texts = [
        ("parameters", "a\nNegative prompt: b\nSteps: 2, Seed: 3, X: \"q, \\\" r\", Y: [{\"a\": 1}], Size: 5x6"),
        (
            "prompt",
            r#"{"1":{"class_type":"KSampler","inputs":{"seed":["2",0],"positive":["3",0],"model":["1",0]}},"3":{"class_type":"CLIPTextEncode","inputs":{"text":"x"}}}"#,
        ),
        (
            "workflow",
            r#"{"nodes":[{"id":1,"type":"KSampler","widgets_values":[1,2,3],"inputs":[{"name":"positive","link":1}]}],"links":[[1,2,0,1,0,"C"]]}"#,
        ),
        ("invokeai_metadata", r#"{"positive_prompt":"a","seed":1,"model":{"name":"x"}}"#),
        ("Comment", r#"{"seed":1,"uc":"x","scale":2}"#),
        ("outframe", r#"{"version":1,"generation":{"prompt":"x","seed":1,"extra":{}},"data":{"a":[1]}}"#),
    ];
    let mut random = Random(5);
    for _ in 0..3000 {
        for (keyword, text) in texts {
            let mut bytes = text.as_bytes().to_vec();
            mutate(&mut bytes, texts[random.below(texts.len())].1.as_bytes(), &mut random);
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let _ = a1111::parse(&text);
            let _ = from_texts(&[(keyword.to_owned(), text)], &small());
        }
    }
}
