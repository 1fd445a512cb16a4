//! Which picture is due: the film's rate against a clock that only goes forward.

/// A playhead. Times are seconds of any clock that never goes back.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Clock {
    /// Pictures per second.
    rate: f64,
    /// Pictures of the film, at least 1.
    frames: u32,
    /// Whether the end is followed by the beginning.
    pub(crate) looped: bool,
    /// The picture under the playhead.
    position: u32,
    run: Option<Run>,
    dropped: u64,
}

/// What is known since the playhead was set going.
#[derive(Debug, Clone, PartialEq)]
struct Run {
    /// When the first picture was due.
    since: f64,
    first: u32,
    /// Pictures that have been due since then, without the first.
    due: u64,
    /// Whether the picture that is due has been shown.
    shown: bool,
}

impl Clock {
    pub(crate) fn new(rate: f64, frames: u32) -> Self {
        Self { rate, frames: frames.max(1), looped: true, position: 0, run: None, dropped: 0 }
    }

    /// The film has changed; the playhead stays where it can.
    pub(crate) fn change(&mut self, rate: f64, frames: u32, now: f64) {
        let (rate, frames) = (rate, frames.max(1));
        if (rate, frames) == (self.rate, self.frames) {
            return;
        }
        let playing = self.playing();
        self.pause();
        (self.rate, self.frames) = (rate, frames);
        self.position = self.position.min(frames - 1);
        if playing {
            self.play(now);
        }
    }

    pub(crate) fn position(&self) -> u32 {
        self.position
    }

    pub(crate) fn playing(&self) -> bool {
        self.run.is_some()
    }

    /// Pictures that were due since playing began and were not shown.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Plays from the playhead; from the beginning where it stands at the end and nothing is looped.
    pub(crate) fn play(&mut self, now: f64) {
        if self.run.is_some() {
            return;
        }
        if !self.looped && self.position + 1 == self.frames {
            self.position = 0;
        }
        self.dropped = 0;
        self.run = Some(Run { since: now, first: self.position, due: 0, shown: false });
    }

    pub(crate) fn pause(&mut self) {
        self.run = None;
    }

    /// Puts the playhead on a picture, or on the last if there is none such. Playing goes on from there.
    pub(crate) fn seek(&mut self, frame: u32, now: f64) {
        self.position = frame.min(self.frames - 1);
        if self.run.is_some() {
            self.run = Some(Run { since: now, first: self.position, due: 0, shown: false });
        }
    }

    /// Goes so many pictures on, or back, and pauses.
    pub(crate) fn step(&mut self, by: i64) {
        self.pause();
        self.position = (i64::from(self.position) + by).clamp(0, i64::from(self.frames) - 1) as u32;
    }

    /// Puts the playhead where the time wants it. Returns the seconds until the next picture is due, if it plays.
    pub(crate) fn tick(&mut self, now: f64) -> Option<f64> {
        let run = self.run.as_mut()?;
        // A clock read a rounding error before a picture's moment must not show the picture before it twice.
        let elapsed = ((now - run.since) * self.rate + 1e-6).max(0.0);
        let due = elapsed as u64;
        let frames = u64::from(self.frames);
        let last = u64::from(self.frames - 1 - run.first);
        let ended = !self.looped && due > last;
        let due = if ended { last } else { due };
        if due > run.due {
            // Those between were never seen, and the one before only if it was there in time.
            self.dropped += due - run.due - 1 + u64::from(!run.shown);
            run.due = due;
            run.shown = false;
        }
        self.position = ((u64::from(run.first) + due) % frames) as u32;
        if ended {
            self.run = None;
            return None;
        }
        Some(((due + 1) as f64 - elapsed) / self.rate)
    }

    /// The picture under the playhead is on the screen.
    pub(crate) fn shown(&mut self) {
        if let Some(run) = &mut self.run {
            run.shown = true;
        }
    }
}

/// Hours, minutes, seconds and pictures, without dropping numbers: at 24000/1001 a second of it has 24 pictures.
pub(crate) fn timecode(frame: u32, rate: f64) -> String {
    let nominal = (rate.round() as u32).max(1);
    let seconds = frame / nominal;
    let digits = (nominal - 1).to_string().len().max(2);
    format!("{:02}:{:02}:{:02}:{:0digits$}", seconds / 3600, seconds / 60 % 60, seconds % 60, frame % nominal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_picture_has_its_time() {
        let mut clock = Clock::new(24000.0 / 1001.0, 1000);
        clock.play(100.0);
        for frame in 0..1000_u32 {
            let begins = 100.0 + f64::from(frame) * 1001.0 / 24000.0;
            clock.tick(begins);
            assert_eq!(clock.position(), frame);
            clock.shown();
            let next = clock.tick(begins + 0.03).unwrap();
            assert_eq!(clock.position(), frame);
            assert!((next - (1001.0 / 24000.0 - 0.03)).abs() < 1e-6, "{next}");
        }
        assert_eq!(clock.dropped(), 0);
    }

    #[test]
    fn what_is_late_is_dropped_and_does_not_drift() {
        let mut clock = Clock::new(25.0, 100);
        clock.play(0.0);
        clock.tick(0.0);
        clock.shown();
        // Half a second of nothing: pictures 1 to 11 are gone, 12 is due.
        clock.tick(0.5);
        assert_eq!((clock.position(), clock.dropped()), (12, 11));
        // 12 is not there in time, 13 is.
        clock.tick(0.52);
        assert_eq!((clock.position(), clock.dropped()), (13, 12));
        clock.shown();
        clock.tick(0.56);
        assert_eq!((clock.position(), clock.dropped()), (14, 12));
    }

    #[test]
    fn it_loops_or_stops_at_the_last() {
        let mut clock = Clock::new(10.0, 5);
        clock.play(0.0);
        assert!(clock.tick(0.62).is_some());
        assert_eq!(clock.position(), 1);
        clock.pause();
        clock.looped = false;
        clock.seek(3, 1.0);
        clock.play(1.0);
        clock.tick(1.15);
        assert!(clock.playing());
        assert_eq!(clock.position(), 4);
        assert_eq!(clock.tick(7.0), None);
        assert_eq!((clock.position(), clock.playing()), (4, false));
        // Once more from the beginning.
        clock.play(8.0);
        assert_eq!(clock.position(), 0);
    }

    #[test]
    fn the_last_picture_is_shown_for_its_time() {
        let mut clock = Clock::new(10.0, 2);
        clock.looped = false;
        clock.play(0.0);
        clock.tick(0.19);
        assert!(clock.playing());
        clock.tick(0.21);
        assert!(!clock.playing());
    }

    #[test]
    fn seeking_and_stepping_stay_inside() {
        let mut clock = Clock::new(24.0, 10);
        clock.seek(99, 0.0);
        assert_eq!(clock.position(), 9);
        clock.step(5);
        assert_eq!(clock.position(), 9);
        clock.step(-100);
        assert_eq!(clock.position(), 0);
        clock.play(0.0);
        clock.seek(5, 3.0);
        clock.tick(3.0);
        assert_eq!((clock.position(), clock.dropped()), (5, 0));
    }

    #[test]
    fn a_changed_film_keeps_the_playhead() {
        let mut clock = Clock::new(24.0, 100);
        clock.seek(50, 0.0);
        clock.play(0.0);
        clock.change(30.0, 20, 0.0);
        assert_eq!((clock.position(), clock.playing()), (19, true));
    }

    #[test]
    fn timecodes_count_whole_seconds() {
        assert_eq!(timecode(0, 24.0), "00:00:00:00");
        assert_eq!(timecode(24 * 3725 + 7, 24000.0 / 1001.0), "01:02:05:07");
        assert_eq!(timecode(119, 120.0), "00:00:00:119");
    }
}
