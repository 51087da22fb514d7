//! The flags that choose a deployed model's arithmetic.

use crate::deploy::Arith;
use crate::error::{Error, Result};

/// How a deployed model computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Name {
    /// f32 activations
    #[default]
    Float,
    /// Integer activations; convolutions by shifts, flips of sign and additions
    Shift,
    /// 8-bit activations; convolutions by dot products of 4 bytes
    Dp4a,
}

#[derive(Clone, Copy, Debug, clap::Args)]
#[group(id = "arithmetic")]
pub struct Args {
    /// Arithmetic of the convolutions [default: float]
    #[arg(long, value_name = "ARITH")]
    pub arith: Option<Name>,

    /// Bits of an integer activation: 8 or 16 [default: 8]
    #[arg(long, value_name = "N")]
    pub activation_bits: Option<u32>,
}

impl Args {
    /// # Errors
    /// [`Error::Setting`] for bits that there are not, [`Error::Usage`] for bits of what has none.
    pub fn arith(self) -> Result<Arith> {
        match (self.arith.unwrap_or_default(), self.activation_bits) {
            (Name::Shift, bits @ (None | Some(8 | 16))) => Ok(Arith::Shift { bits: bits.unwrap_or(8) }),
            (Name::Dp4a, None | Some(8)) => Ok(Arith::Dp4a),
            (Name::Float, None) => Ok(Arith::Float),
            (Name::Float, Some(_)) => {
                Err(Error::Usage("--activation-bits is for integers: add --arith shift".into()))
            }
            (Name::Shift, Some(bits)) => Err(Error::setting("--activation-bits", bits, "8 or 16")),
            (Name::Dp4a, Some(bits)) => Err(Error::setting("--activation-bits", bits, "8 with --arith dp4a")),
        }
    }
}
