//! Learning-rate schedules.

/// How the learning rate moves.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Epoch e of E runs at lr/2 (1 + cos(pi e / E)).
    #[default]
    Cosine,
    /// Every epoch runs at lr.
    Constant,
}

impl Schedule {
    /// The learning rate of `epoch` (from 0) of `epochs`, for the initial rate `lr`.
    pub fn lr(self, lr: f32, epoch: u64, epochs: u64) -> f32 {
        match self {
            Schedule::Constant => lr,
            Schedule::Cosine => {
                let phase = std::f64::consts::PI * epoch as f64 / epochs.max(1) as f64;
                (f64::from(lr) / 2.0 * (1.0 + phase.cos())) as f32
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosine_by_hand() {
        let lr = |epoch| Schedule::Cosine.lr(0.8, epoch, 4);
        assert_eq!(lr(0), 0.8);
        assert!((lr(1) - 0.4 * (1.0 + 0.5f32.sqrt())).abs() < 1e-6);
        assert!((lr(2) - 0.4).abs() < 1e-6 && (lr(4)).abs() < 1e-6);
        assert_eq!(Schedule::Constant.lr(0.8, 3, 4), 0.8);
    }
}
