//! AV1 by rav1e, in MP4.
//!
//! The file follows "AV1 Codec ISO Media File Format Binding" 1.2 and ISO/IEC 14496-12.

use std::{
    io::{BufWriter, Seek, SeekFrom, Write},
    num::{NonZeroU16, NonZeroU32},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use rav1e::{
    color::{
        ChromaSamplePosition, ChromaSampling, ColorDescription, ColorPrimaries, MatrixCoefficients, PixelRange,
        TransferCharacteristics,
    },
    prelude::{Config, Context, EncoderConfig, EncoderStatus, FrameType, Packet, Rational},
};
use shiguredo_mp4::{
    BoxSize, BoxType, TrackKind, Uint,
    boxes::{Av01Box, Av1cBox, SampleEntry, UnknownBox, VisualSampleEntryFields},
    mux::{Mp4FileMuxer, Mp4FileMuxerOptions, Sample, estimate_maximum_moov_box_size},
};

use crate::{
    Encoder, Error, FilmSettings, Picture, Result, Shared, h264::timescale, place::UnfinishedFile, planes::Planes,
};

/// BT.709 in primaries, transfer and matrix (ITU-T H.273).
const BT709: u8 = 1;

/// An AV1 film on its way.
pub(crate) struct Av1 {
    encoder: Context<u8>,
    shared: Arc<Shared>,
    file: Mp4,
}

impl Av1 {
    pub(crate) fn create(path: &Path, settings: &FilmSettings, shared: Arc<Shared>) -> Result<Self> {
        let film = UnfinishedFile::create(path)?;
        let level = level(settings);
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(16);
        let config = Config::new().with_encoder_config(encoder_config(settings, level, threads)).with_threads(threads);
        let encoder = config.new_context().map_err(|error| Error::Encoder { why: error.to_string() })?;
        Ok(Self { encoder, shared, file: Mp4::create(film, settings, level)? })
    }

    fn send(&mut self, planes: &Planes) -> Result<()> {
        let mut frame = self.encoder.new_frame();
        for (plane, (samples, stride)) in frame.planes.iter_mut().zip(planes.split()) {
            plane.copy_from_raw_u8(samples, stride, 1);
        }
        self.encoder.send_frame(frame).map_err(failed)
    }

    /// Writes what is ready. Returns whether the stream has ended.
    fn receive(&mut self) -> Result<bool> {
        loop {
            if self.shared.cancelled.load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            match self.encoder.receive_packet() {
                Ok(packet) => {
                    self.file.add(&packet)?;
                    self.shared.encoded.fetch_add(1, Ordering::Relaxed);
                }
                // It has coded a picture that is shown later.
                Err(EncoderStatus::Encoded) => {}
                Err(EncoderStatus::NeedMoreData) => return Ok(false),
                Err(EncoderStatus::LimitReached) => return Ok(true),
                Err(status) => return Err(failed(status)),
            }
        }
    }
}

fn failed(status: EncoderStatus) -> Error {
    Error::Encoder { why: status.to_string() }
}

impl Encoder for Av1 {
    fn encode(&mut self, picture: Picture) -> Result<()> {
        let Picture::Planes(planes) = picture else {
            return Err(Error::Encoder { why: "a picture of another format came".into() });
        };
        self.send(&planes)?;
        self.receive().map(drop)
    }

    fn complete(&mut self) -> Result<()> {
        self.encoder.flush();
        while !self.receive()? {}
        self.file.complete()
    }

    fn place(self: Box<Self>) -> Result<u64> {
        self.file.place()
    }
}

fn encoder_config(settings: &FilmSettings, level: u8, threads: usize) -> EncoderConfig {
    let mut config = EncoderConfig::with_speed_preset(SPEED);
    config.width = settings.width as usize;
    config.height = settings.height as usize;
    config.time_base = Rational::new(u64::from(settings.rate.1), u64::from(settings.rate.0));
    config.bit_depth = 8;
    config.chroma_sampling = ChromaSampling::Cs420;
    config.chroma_sample_position = ChromaSamplePosition::Vertical;
    config.pixel_range = PixelRange::Limited;
    config.color_description = Some(ColorDescription {
        color_primaries: ColorPrimaries::BT709,
        transfer_characteristics: TransferCharacteristics::BT709,
        matrix_coefficients: MatrixCoefficients::BT709,
    });
    config.level_idx = Some(level);
    let interval = u64::from(settings.keyframe_interval());
    config.set_key_frame_interval(interval.min(12), interval);
    config.quantizer = quantizer(settings.quality);
    config.tune = rav1e::prelude::Tune::Psnr;
    config.tiles = threads;
    // Pictures are coded in their order: reordering takes twice the time for a sixth of the bytes.
    config.low_latency = true;
    config
}

/// rav1e's fastest preset: presets 6 to 9 take two to three times the time for a tenth of the bytes and half a decibel.
const SPEED: u8 = 10;

/// The base quantizer index for a quality.
fn quantizer(quality: u8) -> usize {
    220 - usize::from(quality.min(100)) * 2
}

/// The lowest AV1 level that the film keeps to (AV1 specification, A.3), or 31 for none.
fn level(settings: &FilmSettings) -> u8 {
    /// Index, pixels per picture, width, height, pixels per second.
    const LEVELS: [(u8, u64, u32, u32, u64); 13] = [
        (0, 147_456, 2048, 1152, 4_423_680),
        (1, 278_784, 2816, 1584, 8_363_520),
        (4, 665_856, 4352, 2448, 19_975_680),
        (5, 1_065_024, 5504, 3096, 31_950_720),
        (8, 2_359_296, 6144, 3456, 70_778_880),
        (9, 2_359_296, 6144, 3456, 141_557_760),
        (12, 8_912_896, 8192, 4352, 267_386_880),
        (13, 8_912_896, 8192, 4352, 534_773_760),
        (14, 8_912_896, 8192, 4352, 1_069_547_520),
        (16, 35_651_584, 16384, 8704, 1_069_547_520),
        (17, 35_651_584, 16384, 8704, 2_139_095_040),
        (18, 35_651_584, 16384, 8704, 4_278_190_080),
        (31, u64::MAX, u32::MAX, u32::MAX, u64::MAX),
    ];
    let FilmSettings { width, height, rate, .. } = *settings;
    let area = u64::from(width) * u64::from(height);
    let display = area * u64::from(rate.0).div_ceil(u64::from(rate.1));
    LEVELS
        .into_iter()
        .find(|&(_, most, wide, high, fast)| area <= most && width <= wide && height <= high && display <= fast)
        .map_or(31, |(index, ..)| index)
}

/// The file around the stream.
struct Mp4 {
    muxer: Mp4FileMuxer,
    out: BufWriter<std::fs::File>,
    film: UnfinishedFile,
    position: u64,
    width: u16,
    height: u16,
    level: u8,
    timescale: NonZeroU32,
    duration: u32,
    /// The next picture's number.
    next: u64,
}

impl Mp4 {
    fn create(film: UnfinishedFile, settings: &FilmSettings, level: u8) -> Result<Self> {
        // Place before the pictures, so that players have the index first.
        let reserved_moov_box_size = estimate_maximum_moov_box_size(&[settings.frames as usize]);
        let options = Mp4FileMuxerOptions { reserved_moov_box_size, ..Mp4FileMuxerOptions::default() };
        let muxer = Mp4FileMuxer::with_options(options).map_err(mp4)?;
        let file = film.file.reopen().map_err(|source| film.failed(source))?;
        let (over, under) = settings.rate;
        let timescale = timescale(over);
        let side = |side: u32| u16::try_from(side).map_err(mp4);
        let mut this = Self {
            out: BufWriter::new(file),
            film,
            position: 0,
            width: side(settings.width)?,
            height: side(settings.height)?,
            level,
            timescale: NonZeroU32::new(timescale).unwrap_or(NonZeroU32::MIN),
            // The numerator was multiplied as a whole.
            duration: under * (timescale / over),
            next: 0,
            muxer,
        };
        let start = this.muxer.initial_boxes_bytes().to_vec();
        this.write(&start)?;
        Ok(this)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|source| self.film.failed(source))?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn add(&mut self, packet: &Packet<u8>) -> Result<()> {
        if packet.input_frameno != self.next {
            return Err(Error::Encoder { why: format!("picture {} came for {}", packet.input_frameno, self.next) });
        }
        let (unit, header) = units(&packet.data)?;
        let sample_entry = if self.next == 0 {
            let header = header.ok_or_else(|| Error::Encoder { why: "its stream has no header".into() })?;
            Some(self.entry(header.to_vec()))
        } else {
            None
        };
        let data_offset = self.position;
        self.write(&unit)?;
        self.muxer
            .append_sample(&Sample {
                track_kind: TrackKind::Video,
                sample_entry,
                keyframe: packet.frame_type == FrameType::KEY,
                timescale: self.timescale,
                duration: self.duration,
                composition_time_offset: None,
                data_offset,
                data_size: unit.len(),
            })
            .map_err(mp4)?;
        self.next += 1;
        Ok(())
    }

    /// What the file says about the stream.
    fn entry(&self, config_obus: Vec<u8>) -> SampleEntry {
        // Colour as code points of H.273, and the top bit for full range.
        let mut colour = b"nclx".to_vec();
        for code in [BT709; 3] {
            colour.extend(u16::from(code).to_be_bytes());
        }
        colour.push(0);
        let size = 8 + colour.len() as u32;
        SampleEntry::Av01(Av01Box {
            visual: VisualSampleEntryFields {
                data_reference_index: NonZeroU16::MIN,
                width: self.width,
                height: self.height,
                horizresolution: VisualSampleEntryFields::DEFAULT_HORIZRESOLUTION,
                vertresolution: VisualSampleEntryFields::DEFAULT_VERTRESOLUTION,
                frame_count: VisualSampleEntryFields::DEFAULT_FRAME_COUNT,
                compressorname: VisualSampleEntryFields::NULL_COMPRESSORNAME,
                depth: VisualSampleEntryFields::DEFAULT_DEPTH,
            },
            av1c_box: Av1cBox {
                seq_profile: Uint::new(0),
                seq_level_idx_0: Uint::new(self.level),
                seq_tier_0: Uint::new(0),
                high_bitdepth: Uint::new(0),
                twelve_bit: Uint::new(0),
                monochrome: Uint::new(0),
                chroma_subsampling_x: Uint::new(1),
                chroma_subsampling_y: Uint::new(1),
                chroma_sample_position: Uint::new(ChromaSamplePosition::Vertical as u8),
                initial_presentation_delay_minus_one: None,
                config_obus,
            },
            unknown_boxes: vec![UnknownBox {
                box_type: BoxType::Normal(*b"colr"),
                box_size: BoxSize::U32(size),
                payload: colour,
            }],
        })
    }

    fn complete(&mut self) -> Result<()> {
        let last = self.muxer.finalize().map_err(mp4)?;
        let parts: Vec<_> = last.offset_and_bytes_pairs().map(|(at, bytes)| (at, bytes.to_vec())).collect();
        let write = |(at, bytes): (u64, Vec<u8>)| {
            self.out.seek(SeekFrom::Start(at))?;
            self.out.write_all(&bytes)
        };
        let written = parts.into_iter().try_for_each(write).and_then(|()| self.out.flush());
        written.map_err(|source| self.film.failed(source))
    }

    fn place(self) -> Result<u64> {
        let Self { out, film, .. } = self;
        // Its handle is a second one, which some systems do not let be open while the file is renamed.
        drop(out);
        film.place()
    }
}

fn mp4(error: impl std::fmt::Display) -> Error {
    Error::Encoder { why: format!("MP4: {error}") }
}

/// A temporal unit as MP4 holds it, without delimiters, and the sequence header in it, if any.
fn units(data: &[u8]) -> Result<(Vec<u8>, Option<&[u8]>)> {
    const SEQUENCE_HEADER: u8 = 1;
    const TEMPORAL_DELIMITER: u8 = 2;
    let damaged = || Error::Encoder { why: "its stream has a damaged unit".into() };
    let mut unit = Vec::with_capacity(data.len());
    let mut header = None;
    let mut rest = data;
    while let [first, after @ ..] = rest {
        // Open bitstream unit: type in four bits, then whether there is an extension byte, then whether a size.
        let (kind, extended, sized) = (first >> 3 & 15, first & 4 != 0, first & 2 != 0);
        let mut payload = after.get(usize::from(extended)..).ok_or_else(damaged)?;
        if !sized {
            return Err(damaged());
        }
        let mut size = 0_usize;
        for shift in (0..).step_by(7) {
            let (&byte, after) = payload.split_first().filter(|_| shift < 56).ok_or_else(damaged)?;
            payload = after;
            size |= usize::from(byte & 127) << shift;
            if byte & 128 == 0 {
                break;
            }
        }
        let end = rest.len() - payload.len() + size;
        let (this, after) = rest.split_at_checked(end).ok_or_else(damaged)?;
        if kind != TEMPORAL_DELIMITER {
            unit.extend_from_slice(this);
        }
        if kind == SEQUENCE_HEADER {
            header = header.or(Some(this));
        }
        rest = after;
    }
    Ok((unit, header))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    fn settings(width: u32, height: u32, rate: (u32, u32)) -> FilmSettings {
        FilmSettings { width, height, rate, frames: 1, format: Format::Mp4Av1, quality: 80 }
    }

    #[test]
    fn delimiters_are_left_out_and_the_header_is_found() {
        let stream = [0x12, 0x00, 0x0a, 0x02, 7, 8, 0x32, 0x01, 9];
        let (unit, header) = units(&stream).unwrap();
        assert_eq!(unit, stream[2..]);
        assert_eq!(header, Some(&stream[2..6]));
    }

    #[test]
    fn damaged_units_are_errors() {
        for stream in [
            &[0x0a][..],
            &[0x0a, 0x05, 1],
            &[0x08, 1],
            &[0x0e],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(units(stream).is_err(), "{stream:?}");
        }
    }

    #[test]
    fn levels_are_those_of_the_specification() {
        assert_eq!(level(&settings(256, 256, (24, 1))), 0);
        assert_eq!(level(&settings(1280, 720, (24, 1))), 5);
        assert_eq!(level(&settings(1280, 720, (60, 1))), 8);
        assert_eq!(level(&settings(1920, 1080, (30, 1))), 8);
        assert_eq!(level(&settings(1920, 1080, (60000, 1001))), 9);
        assert_eq!(level(&settings(3840, 2160, (24, 1))), 12);
        assert_eq!(level(&settings(7680, 4320, (24, 1))), 16);
        assert_eq!(level(&settings(7680, 4320, (1000, 1))), 31);
    }
}
