//! Rendered pictures of one shot, within a budget of bytes.

use std::{collections::BTreeMap, sync::Arc};

/// A rendered picture: rows of opaque RGBA.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) size: [usize; 2],
    pub(crate) rgba: Vec<u8>,
    /// Which state of the shot, at which size, it shows.
    pub(crate) version: u64,
}

/// The pictures around the playhead. Those of an older version are shown until newer ones are there.
#[derive(Debug)]
pub(crate) struct Cache {
    images: BTreeMap<u32, Arc<Image>>,
    /// Bytes that pictures may take.
    budget: u64,
}

impl Cache {
    pub(crate) fn new(budget: u64) -> Self {
        Self { images: BTreeMap::new(), budget }
    }

    pub(crate) fn clear(&mut self) {
        self.images.clear();
    }

    pub(crate) fn get(&self, frame: u32) -> Option<&Arc<Image>> {
        self.images.get(&frame)
    }

    /// How many pictures of so many bytes there is room for, of a film; at least 2, so that there is always one to come.
    fn room(&self, bytes: u64, frames: u32) -> u32 {
        u32::try_from(self.budget / bytes.max(1)).unwrap_or(u32::MAX).clamp(2, frames.max(2)).min(frames)
    }

    /// The picture to render next: the first from the playhead on, around the end, that is not there in this version.
    pub(crate) fn next(&self, playhead: u32, frames: u32, version: u64, bytes: u64) -> Option<u32> {
        (0..self.room(bytes, frames))
            .map(|ahead| (playhead + ahead) % frames)
            .find(|frame| self.images.get(frame).is_none_or(|image| image.version != version))
    }

    /// Keeps a picture, and forgets what the playhead will come to last where there is no room.
    pub(crate) fn put(&mut self, frame: u32, image: Image, playhead: u32, frames: u32) {
        self.images.insert(frame, Arc::new(image));
        self.images.retain(|&frame, _| frame < frames);
        let ahead = |frame: u32| (frame + frames - playhead % frames) % frames;
        let mut bytes: u64 = self.images.values().map(|image| image.rgba.len() as u64).sum();
        while bytes > self.budget && self.images.len() > 2 {
            let Some(farthest) = self.images.keys().copied().max_by_key(|&frame| ahead(frame)) else { return };
            if let Some(image) = self.images.remove(&farthest) {
                bytes -= image.rgba.len() as u64;
            }
        }
    }

    /// Runs of pictures that are there in this version: first and one past the last.
    pub(crate) fn ranges(&self, version: u64) -> Vec<(u32, u32)> {
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (&frame, image) in &self.images {
            if image.version != version {
                continue;
            }
            match ranges.last_mut() {
                Some((_, end)) if *end == frame => *end += 1,
                _ => ranges.push((frame, frame + 1)),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(version: u64) -> Image {
        Image { size: [5, 5], rgba: vec![0; 100], version }
    }

    #[test]
    fn pictures_are_rendered_from_the_playhead_on() {
        let mut cache = Cache::new(1000);
        let mut order = Vec::new();
        while let Some(frame) = cache.next(3, 5, 1, 100) {
            cache.put(frame, image(1), 3, 5);
            order.push(frame);
        }
        assert_eq!(order, [3, 4, 0, 1, 2]);
        assert_eq!(cache.ranges(1), [(0, 5)]);
    }

    #[test]
    fn the_budget_holds_what_comes_next() {
        let mut cache = Cache::new(450);
        for _ in 0..2 {
            while let Some(frame) = cache.next(8, 10, 1, 100) {
                cache.put(frame, image(1), 8, 10);
            }
        }
        assert_eq!(cache.ranges(1), [(0, 2), (8, 10)]);
        // The playhead goes on: what it has left makes room.
        assert_eq!(cache.next(9, 10, 1, 100), Some(2));
        cache.put(2, image(1), 9, 10);
        assert_eq!(cache.ranges(1), [(0, 3), (9, 10)]);
    }

    #[test]
    fn a_budget_below_a_picture_still_shows_it() {
        let mut cache = Cache::new(1);
        for playhead in 0..4 {
            let frame = cache.next(playhead, 4, 1, 100).unwrap();
            cache.put(frame, image(1), playhead, 4);
            assert!(cache.get(playhead).is_some());
        }
        assert_eq!(Cache::new(1).next(0, 1, 1, 100), Some(0));
    }

    #[test]
    fn older_versions_are_shown_and_replaced() {
        let mut cache = Cache::new(1000);
        cache.put(0, image(1), 0, 2);
        assert_eq!(cache.next(0, 2, 2, 100), Some(0));
        assert!(cache.get(0).is_some());
        assert!(cache.ranges(2).is_empty());
    }
}
