//! Models as ONNX files: the folded graph, with weights as i8 where they fit.
//!
//! Input `images` (N, 3, H, W), f32, normalized; output `logits` (N, classes). A folded convolution y = scale (x * w) + bias is
//! DequantizeLinear (w i8, |scale| a channel, the sign in w) and Conv with that bias. Operator set 17.

use super::{Conv, Model};
use crate::error::{Error, Result};
use crate::model::fuse::{self, Norm, Unit};
use crate::model::graph::{Graph, Op};
use proto::{attribute, float_tensor, int_tensor};

/// The bytes of `model` as an ONNX file.
///
/// # Errors
/// [`Error::Usage`] for a layer that has no place in it.
pub fn encode(model: &Model) -> Result<Vec<u8>> {
    let graph = model.graph()?;
    let mut writer = Writer { graph: &graph, model, proto: proto::Graph::default() };
    for unit in fuse::units(&graph)? {
        match unit {
            Unit::Norm(norm) => writer.conv(&norm),
            Unit::Layer(i) => writer.layer(i)?,
        }
    }
    let [height, width] = model.input.image;
    let proto = proto::Graph {
        name: model.arch.to_string(),
        inputs: vec![proto::value("images", &[None, Some(3), Some(height), Some(width)])],
        outputs: vec![proto::value("logits", &[None, Some(model.input.classes.len())])],
        ..writer.proto
    };
    let crate::data::Input { classes, mean, std, .. } = &model.input;
    let metadata = [
        ("classes", json(classes)),
        ("mean", json(mean)),
        ("std", json(std)),
        ("method", model.method.to_string()),
    ];
    Ok(proto::encode(proto, &metadata))
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("plain data")
}

struct Writer<'a> {
    graph: &'a Graph,
    model: &'a Model,
    proto: proto::Graph,
}

impl Writer<'_> {
    /// The name of layer `i`'s output.
    fn name(&self, i: usize) -> String {
        match i {
            0 => "images".into(),
            i if i + 1 == self.graph.nodes.len() => "logits".into(),
            i => self.graph.nodes[i].name.clone(),
        }
    }

    fn node(&mut self, op: &str, inputs: &[String], output: &str, attributes: Vec<proto::Attribute>) {
        self.proto.nodes.push(proto::Node {
            inputs: inputs.to_vec(),
            outputs: vec![output.into()],
            name: output.into(),
            op_type: op.into(),
            attributes,
        });
    }

    /// Adds a constant and returns its name.
    fn constant(&mut self, tensor: proto::Tensor) -> String {
        let name = tensor.name.clone();
        self.proto.initializers.push(tensor);
        name
    }

    fn conv(&mut self, norm: &Norm) {
        let (graph, model) = (self.graph, self.model);
        let node = &graph.nodes[norm.conv];
        // `Model::graph` found it.
        let (name, conv) = (node.name.as_str(), &model.convs[&node.name]);
        let Norm { size, stride, .. } = *norm;
        let weight = self.weight(name, conv);
        let bias = self.constant(float_tensor(&format!("{name}.bias"), &[conv.bias.len()], &conv.bias));
        let output = self.name(norm.output);
        let step =
            |used: bool, suffix: &str| if used { format!("{output}.{suffix}") } else { output.clone() };
        let sum = step(norm.relu || norm.residual.is_some(), "conv");
        let pad = size as i64 / 2;
        let attributes = vec![
            attribute("kernel_shape", &[size as i64; 2]),
            attribute("strides", &[stride as i64; 2]),
            attribute("pads", &[pad; 4]),
        ];
        let x = self.name(node.inputs[0]);
        self.node("Conv", &[x, weight, bias], &sum, attributes);
        let mut last = sum;
        if let Some(residual) = norm.residual {
            let added = step(norm.relu, "sum");
            let residual = self.name(residual);
            self.node("Add", &[last, residual], &added, vec![]);
            last = added;
        }
        if norm.relu {
            self.node("Relu", &[last], &output, vec![]);
        }
    }

    /// The weights times their scale: as i8 with a scale a channel, or as f32.
    fn weight(&mut self, name: &str, conv: &Conv) -> String {
        let per_channel = conv.weight.len() / conv.shape[0];
        let rows = || conv.weight.chunks_exact(per_channel).zip(&conv.scale);
        let fits = conv.discrete && conv.weight.iter().all(|w| w.abs() <= 64.0);
        if !fits {
            let scaled: Vec<f32> =
                rows().flat_map(|(row, scale)| row.iter().map(move |w| w * scale)).collect();
            return self.constant(float_tensor(&format!("{name}.weight"), &conv.shape, &scaled));
        }
        let sign = |scale: f32| if scale < 0.0 { -1.0 } else { 1.0 };
        let bytes: Vec<i8> =
            rows().flat_map(|(row, &scale)| row.iter().map(move |w| (w * sign(scale)) as i8)).collect();
        let scales: Vec<f32> = conv.scale.iter().map(|s| s.abs()).collect();
        let codes = self.constant(proto::byte_tensor(&format!("{name}.codes"), &conv.shape, &bytes));
        let scale = self.constant(float_tensor(&format!("{name}.scale"), &[scales.len()], &scales));
        let output = format!("{name}.weight");
        self.node("DequantizeLinear", &[codes, scale], &output, vec![attribute("axis", &[0])]);
        output
    }

    fn layer(&mut self, i: usize) -> Result<()> {
        let node = &self.graph.nodes[i];
        let (name, output) = (node.name.as_str(), self.name(i));
        let x = node.inputs.first().map(|&input| self.name(input)).unwrap_or_default();
        match node.op {
            // In the batch norm behind it; the graph's own input.
            Op::Conv { .. } | Op::Input => {}
            Op::MaxPool => {
                let attributes = vec![
                    attribute("kernel_shape", &[3; 2]),
                    attribute("strides", &[2; 2]),
                    attribute("pads", &[1; 4]),
                ];
                self.node("MaxPool", &[x], &output, attributes);
            }
            Op::GlobalAvgPool => self.node("GlobalAveragePool", &[x], &output, vec![]),
            Op::Linear { k } => {
                let [weight, bias] = &self.model.fc;
                let shape = [k, weight.len() / k];
                let flat = format!("{name}.input");
                self.node("Flatten", &[x], &flat, vec![attribute("axis", &[1])]);
                let weight = self.constant(float_tensor(&format!("{name}.weight"), &shape, weight));
                let bias = self.constant(float_tensor(&format!("{name}.bias"), &[k], bias));
                self.node("Gemm", &[flat, weight, bias], &output, vec![attribute("transB", &[1])]);
            }
            Op::ShortcutA { k } => {
                let c = self.graph.nodes[node.inputs[0]].shape[2];
                let front = (k - c) as i64 / 2;
                let ints = |suffix: &str, values: &[i64]| int_tensor(&format!("{name}.{suffix}"), values);
                let slice = [
                    ints("starts", &[0, 0]),
                    ints("ends", &[i64::MAX, i64::MAX]),
                    ints("axes", &[2, 3]),
                    ints("steps", &[2, 2]),
                ];
                let pads = ints("pads", &[0, front, 0, 0, 0, (k - c) as i64 - front, 0, 0]);
                let every_second = format!("{name}.slice");
                let constants = slice.map(|tensor| self.constant(tensor));
                let inputs = [vec![x], constants.to_vec()].concat();
                self.node("Slice", &inputs, &every_second, vec![]);
                let pads = self.constant(pads);
                self.node("Pad", &[every_second, pads], &output, vec![]);
            }
            op @ (Op::BatchNorm | Op::Relu | Op::Add) => {
                return Err(Error::Usage(format!(
                    "layer {name} ({op:?}) stands alone, which no export knows"
                )));
            }
        }
        Ok(())
    }
}

/// The part of ONNX's schema (onnx.proto, IR version 8) that is used here: numbers of fields are its own.
mod proto {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub struct Attribute {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(int64, tag = "3")]
        pub i: i64,
        #[prost(int64, repeated, packed = "false", tag = "8")]
        pub ints: Vec<i64>,
        #[prost(int32, tag = "20")]
        pub kind: i32,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Node {
        #[prost(string, repeated, tag = "1")]
        pub inputs: Vec<String>,
        #[prost(string, repeated, tag = "2")]
        pub outputs: Vec<String>,
        #[prost(string, tag = "3")]
        pub name: String,
        #[prost(string, tag = "4")]
        pub op_type: String,
        #[prost(message, repeated, tag = "5")]
        pub attributes: Vec<Attribute>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Tensor {
        #[prost(int64, repeated, packed = "false", tag = "1")]
        pub dims: Vec<i64>,
        #[prost(int32, tag = "2")]
        pub data_type: i32,
        #[prost(string, tag = "8")]
        pub name: String,
        #[prost(bytes = "vec", tag = "9")]
        pub raw_data: Vec<u8>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Dimension {
        #[prost(oneof = "Size", tags = "1, 2")]
        pub size: Option<Size>,
    }

    #[derive(Clone, PartialEq, prost::Oneof)]
    pub enum Size {
        #[prost(int64, tag = "1")]
        Value(i64),
        #[prost(string, tag = "2")]
        Name(String),
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Shape {
        #[prost(message, repeated, tag = "1")]
        pub dims: Vec<Dimension>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct TensorType {
        #[prost(int32, tag = "1")]
        pub elem_type: i32,
        #[prost(message, optional, tag = "2")]
        pub shape: Option<Shape>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Type {
        #[prost(message, optional, tag = "1")]
        pub tensor_type: Option<TensorType>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Value {
        #[prost(string, tag = "1")]
        pub name: String,
        #[prost(message, optional, tag = "2")]
        pub kind: Option<Type>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Graph {
        #[prost(message, repeated, tag = "1")]
        pub nodes: Vec<Node>,
        #[prost(string, tag = "2")]
        pub name: String,
        #[prost(message, repeated, tag = "5")]
        pub initializers: Vec<Tensor>,
        #[prost(message, repeated, tag = "11")]
        pub inputs: Vec<Value>,
        #[prost(message, repeated, tag = "12")]
        pub outputs: Vec<Value>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct OperatorSet {
        #[prost(string, tag = "1")]
        pub domain: String,
        #[prost(int64, tag = "2")]
        pub version: i64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Entry {
        #[prost(string, tag = "1")]
        pub key: String,
        #[prost(string, tag = "2")]
        pub value: String,
    }

    #[derive(Clone, PartialEq, Message)]
    pub struct Model {
        #[prost(int64, tag = "1")]
        pub ir_version: i64,
        #[prost(string, tag = "2")]
        pub producer_name: String,
        #[prost(string, tag = "3")]
        pub producer_version: String,
        #[prost(message, optional, tag = "7")]
        pub graph: Option<Graph>,
        #[prost(message, repeated, tag = "8")]
        pub operator_sets: Vec<OperatorSet>,
        #[prost(message, repeated, tag = "14")]
        pub metadata: Vec<Entry>,
    }

    // TensorProto.DataType and AttributeProto.AttributeType.
    const FLOAT: i32 = 1;
    const INT8: i32 = 3;
    const INT64: i32 = 7;
    const ATTRIBUTE_INT: i32 = 2;
    const ATTRIBUTE_INTS: i32 = 7;

    /// An attribute: a number where there is one, else a list.
    pub fn attribute(name: &str, values: &[i64]) -> Attribute {
        match values {
            &[i] => Attribute { name: name.into(), i, kind: ATTRIBUTE_INT, ints: vec![] },
            ints => Attribute { name: name.into(), i: 0, kind: ATTRIBUTE_INTS, ints: ints.to_vec() },
        }
    }

    fn tensor(name: &str, shape: &[usize], data_type: i32, raw_data: Vec<u8>) -> Tensor {
        Tensor { dims: shape.iter().map(|&d| d as i64).collect(), data_type, name: name.into(), raw_data }
    }

    pub fn float_tensor(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
        tensor(name, shape, FLOAT, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    pub fn byte_tensor(name: &str, shape: &[usize], values: &[i8]) -> Tensor {
        tensor(name, shape, INT8, values.iter().map(|&v| v as u8).collect())
    }

    pub fn int_tensor(name: &str, values: &[i64]) -> Tensor {
        tensor(name, &[values.len()], INT64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// An f32 input or output; a size that is none is the batch.
    pub fn value(name: &str, shape: &[Option<usize>]) -> Value {
        let size = |d: &Option<usize>| d.map_or(Size::Name("N".into()), |d| Size::Value(d as i64));
        let dims = shape.iter().map(|d| Dimension { size: Some(size(d)) }).collect();
        let tensor_type = Some(TensorType { elem_type: FLOAT, shape: Some(Shape { dims }) });
        Value { name: name.into(), kind: Some(Type { tensor_type }) }
    }

    pub fn encode(graph: Graph, metadata: &[(&str, String)]) -> Vec<u8> {
        let entry = |(key, value): &(&str, String)| Entry { key: key.to_string(), value: value.clone() };
        let model = Model {
            ir_version: 8,
            producer_name: "shiftnet".into(),
            producer_version: crate::VERSION.into(),
            graph: Some(graph),
            operator_sets: vec![OperatorSet { domain: String::new(), version: 17 }],
            metadata: metadata.iter().map(entry).collect(),
        };
        model.encode_to_vec()
    }
}
