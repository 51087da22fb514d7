//! ResNets: the CIFAR ones of He et al. 2016 (section 4.2) and torchvision's for ImageNet, from one builder.

use super::graph::{Graph, Op};
use crate::error::{Error, Result};
use std::str::FromStr;

/// What stands on the skip path where the shape changes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Shortcut {
    /// Stride-2 subsampling and zero channels, half in front and half behind; no parameters (CIFAR networks only).
    A,
    /// 1x1 convolution and batch norm.
    #[default]
    B,
}

/// An architecture by name: `resnet8`, `resnet14`, ... `resnet110` (6n + 2 layers, for CIFAR) or `resnet18`,
/// `resnet34`, `resnet50`, `resnet101`, `resnet152` (for ImageNet).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Arch {
    depth: usize,
}

/// The ImageNet networks: depth, blocks of the four stages, bottleneck.
const IMAGENET: [(usize, [usize; 4], bool); 5] = [
    (18, [2, 2, 2, 2], false),
    (34, [3, 4, 6, 3], false),
    (50, [3, 4, 6, 3], true),
    (101, [3, 4, 23, 3], true),
    (152, [3, 8, 36, 3], true),
];

impl FromStr for Arch {
    type Err = Error;

    fn from_str(name: &str) -> Result<Arch> {
        let depth = name.strip_prefix("resnet").and_then(|d| d.parse().ok());
        match depth {
            Some(depth) if is_known(depth) && name == format!("resnet{depth}") => Ok(Arch { depth }),
            _ => Err(unknown(name, depth)),
        }
    }
}

fn is_imagenet(depth: usize) -> bool {
    IMAGENET.iter().any(|(d, ..)| *d == depth)
}

fn is_known(depth: usize) -> bool {
    is_imagenet(depth) || ((8..=110).contains(&depth) && depth % 6 == 2)
}

fn unknown(name: &str, depth: Option<usize>) -> Error {
    let in_capitals = name.to_lowercase().strip_prefix("resnet").and_then(|d| d.parse().ok());
    let wanted = depth.or(in_capitals).unwrap_or(20);
    let nearest = (8..=152).filter(|&d| is_known(d)).min_by_key(|d| d.abs_diff(wanted)).unwrap_or(20);
    Error::Setting {
        setting: "the architecture (--arch)".into(),
        got: format!("`{name}`"),
        expected: "resnet8, resnet14, resnet20 ... resnet110 (6n + 2, for 32x32 images) or resnet18, 34, 50, 101, 152 (for ImageNet)".into(),
        remedy: format!("Did you mean `resnet{nearest}`?"),
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "resnet{}", self.depth)
    }
}

impl From<Arch> for String {
    fn from(arch: Arch) -> String {
        arch.to_string()
    }
}

impl TryFrom<String> for Arch {
    type Error = Error;

    fn try_from(name: String) -> Result<Arch> {
        name.parse()
    }
}

impl Arch {
    /// Whether this is one of the ImageNet networks.
    pub fn is_imagenet(self) -> bool {
        is_imagenet(self.depth)
    }

    /// The network for `height` x `width` images and `classes` classes.
    ///
    /// # Errors
    /// [`Error::Usage`] for shortcut A on an ImageNet network; [`Error::Setting`] for images without pixels and for no classes.
    pub fn build(self, shortcut: Shortcut, [height, width]: [usize; 2], classes: usize) -> Result<Graph> {
        if height == 0 || width == 0 {
            let got = format!("{height}x{width}");
            return Err(Error::setting("the size of the images", got, "at least 1x1"));
        }
        if classes == 0 {
            return Err(Error::setting("the number of classes", classes, "at least 1"));
        }
        let imagenet = IMAGENET.iter().find(|(depth, ..)| *depth == self.depth);
        if imagenet.is_some() && shortcut == Shortcut::A {
            return Err(Error::Usage(format!("{self} has no shortcut A: use --shortcut b")));
        }
        let mut builder = Builder { graph: Graph::new(height, width), shortcut };
        let mut x = 0;
        match imagenet {
            Some((_, blocks, bottleneck)) => {
                x = builder.conv_bn("conv1", "bn1", x, 64, 7, 2, false);
                x = builder.graph.then("relu", Op::Relu, x);
                x = builder.graph.then("maxpool", Op::MaxPool, x);
                x = builder.stages(x, blocks, 64, *bottleneck);
            }
            None => {
                x = builder.conv_bn("conv1", "bn1", x, 16, 3, 1, false);
                x = builder.graph.then("relu", Op::Relu, x);
                x = builder.stages(x, &[(self.depth - 2) / 6; 3], 16, false);
            }
        }
        x = builder.graph.then("avgpool", Op::GlobalAvgPool, x);
        builder.graph.then("fc", Op::Linear { k: classes }, x);
        Ok(builder.graph)
    }
}

struct Builder {
    graph: Graph,
    shortcut: Shortcut,
}

impl Builder {
    #[allow(clippy::too_many_arguments)]
    fn conv_bn(
        &mut self,
        conv: &str,
        bn: &str,
        x: usize,
        k: usize,
        size: usize,
        stride: usize,
        family: bool,
    ) -> usize {
        let y = self.graph.then(conv, Op::Conv { k, size, stride, family }, x);
        self.graph.then(bn, Op::BatchNorm, y)
    }

    /// Stages of `blocks` residual blocks; the width doubles and the resolution halves at each but the first.
    fn stages(&mut self, mut x: usize, blocks: &[usize], width: usize, bottleneck: bool) -> usize {
        for (stage, &count) in blocks.iter().enumerate() {
            for block in 0..count {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                x = self.block(&format!("layer{}.{block}", stage + 1), x, width << stage, stride, bottleneck);
            }
        }
        x
    }

    /// Basic block (two 3x3) or bottleneck (1x1, 3x3 with the stride, 1x1 to four times the width).
    fn block(&mut self, name: &str, x: usize, width: usize, stride: usize, bottleneck: bool) -> usize {
        let convolutions: &[(usize, usize, usize)] = match bottleneck {
            true => &[(width, 1, 1), (width, 3, stride), (4 * width, 1, 1)],
            false => &[(width, 3, stride), (width, 3, 1)],
        };
        let mut y = x;
        for (i, &(k, size, stride)) in convolutions.iter().enumerate() {
            let number = i + 1;
            y = self.conv_bn(
                &format!("{name}.conv{number}"),
                &format!("{name}.bn{number}"),
                y,
                k,
                size,
                stride,
                true,
            );
            if number < convolutions.len() {
                y = self.graph.then(format!("{name}.relu{number}"), Op::Relu, y);
            }
        }
        let skip = self.skip(name, x, self.graph.nodes[y].shape[2], stride);
        y = self.graph.add(format!("{name}.add"), y, skip);
        self.graph.then(format!("{name}.relu"), Op::Relu, y)
    }

    fn skip(&mut self, name: &str, x: usize, k: usize, stride: usize) -> usize {
        match (stride != 1 || self.graph.nodes[x].shape[2] != k, self.shortcut) {
            (false, _) => x,
            (true, Shortcut::A) => self.graph.then(format!("{name}.shortcut"), Op::ShortcutA { k }, x),
            (true, Shortcut::B) => {
                let [conv, bn] = [0, 1].map(|i| format!("{name}.downsample.{i}"));
                self.conv_bn(&conv, &bn, x, k, 1, stride, true)
            }
        }
    }
}
