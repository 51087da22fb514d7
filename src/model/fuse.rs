//! Which layers run in one dispatch: a batch norm with the sum and the ReLU behind it.

use super::graph::{Graph, Node, Op};
use crate::error::{Error, Result};

/// A batch norm with what is computed in its dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Norm {
    /// The batch norm's own layer, and the convolution that it reads.
    pub norm: usize,
    pub conv: usize,
    /// Side and stride of the convolution, and whether its weights are the family's.
    pub size: usize,
    pub stride: usize,
    pub family: bool,
    /// The layer that is added to it.
    pub residual: Option<usize>,
    pub relu: bool,
    /// The layer whose output the dispatch writes.
    pub output: usize,
}

/// What runs together, in the order of the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Layer(usize),
    Norm(Norm),
}

/// Cuts `graph` into units. A batch norm takes the sum that it is the first input of, and the ReLU after it, where
/// nothing else reads what is between.
///
/// # Errors
/// [`Error::Usage`] for a batch norm without a convolution of its own before it, and for a ReLU that goes with none: there
/// are no kernels for these alone.
pub fn units(graph: &Graph) -> Result<Vec<Unit>> {
    let mut consumers = vec![Vec::new(); graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&input| consumers[input].push(i));
    }
    let only = |i: usize| match consumers[i][..] {
        [consumer] => Some(consumer),
        _ => None,
    };
    let mut units: Vec<Option<Unit>> = (0..graph.nodes.len()).map(|i| Some(Unit::Layer(i))).collect();
    for (i, node) in graph.nodes.iter().enumerate().filter(|(_, node)| node.op == Op::BatchNorm) {
        let conv = node.inputs[0];
        let (Op::Conv { size, stride, family, .. }, Some(_)) = (graph.nodes[conv].op, only(conv)) else {
            return Err(alone(node, "a convolution that nothing else reads"));
        };
        let mut norm = Norm { norm: i, conv, size, stride, family, residual: None, relu: false, output: i };
        units[i] = None;
        if let Some(add) = only(norm.output)
            && let (Op::Add, &[first, second]) = (graph.nodes[add].op, &graph.nodes[add].inputs[..])
            && first == i
        {
            units[add] = None;
            norm = Norm { residual: Some(second), output: add, ..norm };
        }
        if let Some(relu) = only(norm.output)
            && graph.nodes[relu].op == Op::Relu
        {
            units[relu] = None;
            norm = Norm { relu: true, output: relu, ..norm };
        }
        units[norm.output] = Some(Unit::Norm(norm));
    }
    let units: Vec<Unit> = units.into_iter().flatten().collect();
    for unit in &units {
        match *unit {
            Unit::Layer(i) if graph.nodes[i].op == Op::Relu => {
                return Err(alone(&graph.nodes[i], "a batch norm, or a sum that one begins"));
            }
            _ => {}
        }
    }
    Ok(units)
}

fn alone(node: &Node, needs: &str) -> Error {
    Error::Usage(format!("layer {} ({:?}) must follow {needs}", node.name, node.op))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Arch, Shortcut};

    /// In ResNet-8 every ReLU and every sum goes with a batch norm; those of the shortcuts stand alone.
    #[test]
    fn resnet8() {
        let graph =
            "resnet8".parse::<Arch>().expect("known").build(Shortcut::B, [32, 32], 10).expect("legal");
        let units = units(&graph).expect("every layer has a kernel");
        let name = |i: usize| graph.nodes[i].name.as_str();
        let norms: Vec<_> = units
            .iter()
            .filter_map(|unit| match unit {
                Unit::Norm(n) => Some((name(n.norm), n.residual.map(name), n.relu, name(n.output))),
                Unit::Layer(_) => None,
            })
            .collect();
        assert_eq!(norms.len(), 9);
        assert_eq!(norms[0], ("bn1", None, true, "relu"));
        assert_eq!(norms[1], ("layer1.0.bn1", None, true, "layer1.0.relu1"));
        assert_eq!(norms[2], ("layer1.0.bn2", Some("relu"), true, "layer1.0.relu"));
        let shortcut = ("layer2.0.downsample.1", None, false, "layer2.0.downsample.1");
        assert!(norms.contains(&shortcut));
        assert!(norms.contains(&("layer2.0.bn2", Some("layer2.0.downsample.1"), true, "layer2.0.relu")));
        let left = units.iter().filter(|unit| matches!(unit, Unit::Layer(_))).count();
        // Input, 9 convolutions, pool, linear.
        assert_eq!(left, 12);
    }

    #[test]
    fn layers_without_a_kernel_are_refused() {
        let conv = Op::Conv { k: 8, size: 3, stride: 1, family: false };
        let mut graph = Graph::new(8, 8);
        let x = graph.then("conv1", conv, 0);
        graph.then("relu", Op::Relu, x);
        let message = units(&graph).expect_err("a ReLU alone").to_string();
        assert!(message.contains("layer relu") && message.contains("batch norm"), "{message}");

        let mut graph = Graph::new(8, 8);
        let x = graph.then("conv1", conv, 0);
        graph.then("bn1", Op::BatchNorm, x);
        graph.then("bn2", Op::BatchNorm, x);
        let message = units(&graph).expect_err("two of one convolution").to_string();
        assert!(message.contains("layer bn1") && message.contains("convolution"), "{message}");
    }
}
