//! Demand over time: its mean over a window that ends now, in a ring of a few numbers.

use std::time::{Duration, Instant};

/// How long each number of the ring stands for.
const STEP: Duration = Duration::from_millis(500);
/// How many there are: together they are longer than the longest window.
const STEPS: usize = 21;

/// What was asked for at once, lately.
#[derive(Debug, Clone)]
pub(crate) struct Demand {
    /// Demand times seconds, in each step of time.
    ring: [f32; STEPS],
    /// The step that is being filled, counted from the beginning.
    step: u64,
    began: Instant,
    /// Until when the last demand is counted in.
    counted: Instant,
    last: u32,
}

impl Demand {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            ring: [0.0; STEPS],
            step: 0,
            began: now,
            counted: now,
            last: 0,
        }
    }

    /// The demand from now on.
    pub(crate) fn observe(&mut self, now: Instant, demand: u32) {
        self.count(now);
        self.last = demand;
    }

    /// The last that was observed.
    pub(crate) fn last(&self) -> u32 {
        self.last
    }

    /// The mean over a window that ends now; over what there is, where that is shorter.
    pub(crate) fn mean(&mut self, now: Instant, window: Duration) -> f64 {
        self.count(now);
        let age = now.saturating_duration_since(self.began);
        let window = window.min(age);
        if window.is_zero() {
            return f64::from(self.last);
        }
        let filled = age.saturating_sub(STEP * u32::try_from(self.step).unwrap_or(u32::MAX));
        let mut sum = f64::from(self.at(self.step));
        let mut covered = filled;
        let mut back = 1;
        while covered < window && back < STEPS as u64 && back <= self.step {
            let part = (window - covered).min(STEP);
            sum += f64::from(self.at(self.step - back)) * part.as_secs_f64() / STEP.as_secs_f64();
            covered += part;
            back += 1;
        }
        sum / covered.max(Duration::from_micros(1)).as_secs_f64()
    }

    fn at(&self, step: u64) -> f32 {
        self.ring[(step % STEPS as u64) as usize]
    }

    fn count(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.began);
        let current = (age.as_nanos() / STEP.as_nanos()) as u64;
        if current - self.step >= STEPS as u64 {
            // Longer ago than anybody asks for: the same all the time since.
            self.ring = [self.last as f32 * STEP.as_secs_f32(); STEPS];
            self.step = current;
            self.ring[(current % STEPS as u64) as usize] = 0.0;
            self.counted = self.began + STEP * u32::try_from(current).unwrap_or(u32::MAX);
        }
        while self.counted < now {
            let end = self.began + STEP * u32::try_from(self.step + 1).unwrap_or(u32::MAX);
            let until = end.min(now);
            let time = until.saturating_duration_since(self.counted).as_secs_f32();
            self.ring[(self.step % STEPS as u64) as usize] += self.last as f32 * time;
            self.counted = until;
            if until == end {
                self.step += 1;
                self.ring[(self.step % STEPS as u64) as usize] = 0.0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 0.05
    }

    #[test]
    fn the_mean_is_weighed_by_time() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut demand = Demand::new(begin);
        demand.observe(at(0), 10);
        assert!(near(demand.mean(at(0), Duration::from_secs(1)), 10.0));
        demand.observe(at(1_000), 30);
        assert!(near(demand.mean(at(2_000), Duration::from_secs(2)), 20.0));
        assert!(near(demand.mean(at(2_000), Duration::from_secs(1)), 30.0));
        demand.observe(at(2_000), 0);
        assert!(near(demand.mean(at(5_000), Duration::from_secs(2)), 0.0));
    }

    #[test]
    fn what_nobody_observed_for_long_stayed_as_it_was() {
        let begin = Instant::now();
        let mut demand = Demand::new(begin);
        demand.observe(begin, 4);
        let later = begin + Duration::from_secs(3_600);
        assert!(near(demand.mean(later, Duration::from_secs(10)), 4.0));
    }
}
