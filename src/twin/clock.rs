//! Simulated time: how long things take in the twin.
//!
//! Only durations are simulated. Timestamps in objects and the validity of certificates use the wall
//! clock, so that programs outside of the twin see a cluster of today.

use std::time::Duration;

use jiff::Timestamp;

/// Divides every simulated duration by a speed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimClock {
    speed: f64,
}

impl SimClock {
    /// A clock on which `speed` simulated seconds pass in one real second. A speed that is not a
    /// positive number counts as 1.
    pub fn new(speed: f64) -> SimClock {
        let usable = speed.is_finite() && speed > 0.0;
        SimClock {
            speed: if usable { speed } else { 1.0 },
        }
    }

    /// Simulated seconds per real second.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// The real duration of a simulated one.
    pub fn real(&self, simulated: Duration) -> Duration {
        simulated.div_f64(self.speed)
    }

    /// Waits for a simulated duration.
    pub async fn sleep(&self, simulated: Duration) {
        tokio::time::sleep(self.real(simulated)).await;
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

impl Default for SimClock {
    fn default() -> SimClock {
        SimClock::new(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simulated_durations_are_divided_by_the_speed() {
        let clock = SimClock::new(20.0);
        assert_eq!(
            clock.real(Duration::from_secs(1)),
            Duration::from_millis(50)
        );
    }

    #[test]
    fn a_senseless_speed_is_real_time() {
        for speed in [0.0, -3.0, f64::NAN, f64::INFINITY] {
            assert_eq!(SimClock::new(speed), SimClock::default());
        }
    }
}
