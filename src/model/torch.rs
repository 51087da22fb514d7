//! PyTorch's own files (`.pth`, `.pt`, `.th`): their pickle is parsed, never executed.

use super::state::Tensors;
use crate::error::{Error, Result};
use pytorch_reader::{DType, PytorchReader};
use std::path::Path;

/// Elements of a tensor, at most: a small file can claim a huge one.
const MOST: usize = 1 << 27;

/// Where training scripts keep the weights in what they save.
const PLACES: [&str; 6] = ["", "state_dict.", "model_state_dict.", "model.", "net.", "params."];

/// Whether a file that begins with `bytes` is one of PyTorch's: a ZIP archive or a pickle.
pub fn is_torch(bytes: &[u8]) -> bool {
    // The ninth byte of a safetensors file begins its JSON.
    let safetensors = bytes.get(8) == Some(&b'{');
    !safetensors && (bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(&[0x80]))
}

/// The floating-point tensors of a file by their own names, without what is around the weights.
///
/// # Errors
/// [`Error::Checkpoint`] for a damaged file.
pub fn read(path: &Path) -> Result<Tensors> {
    let broken = |problem: String| {
        let remedy = "Give a file that torch.save wrote of a ResNet's state_dict";
        Error::checkpoint(path, problem, remedy)
    };
    let file = PytorchReader::new(path).map_err(|e| broken(format!("is not a whole PyTorch file ({e})")))?;
    let holds = |place: &&&str| {
        ["", "module."].iter().any(|inner| file.get(&format!("{place}{inner}conv1.weight")).is_some())
    };
    let place = PLACES.iter().find(holds).copied().unwrap_or_default();
    let mut tensors = Tensors::new();
    for (name, tensor) in file.tensors() {
        let Some(name) = name.strip_prefix(place) else { continue };
        if tensor.num_elements() > MOST {
            return Err(broken(format!("has {name} of {} elements", tensor.num_elements())));
        }
        let Some(convert) = floats(tensor.dtype()) else { continue };
        let bytes = tensor.read().map_err(|e| broken(format!("is damaged ({e})")))?;
        tensors.insert(name.into(), (tensor.shape().to_vec(), convert(&bytes)));
    }
    Ok(tensors)
}

/// How the bytes of a type become f32; none for integers, of which no weights are.
fn floats(dtype: DType) -> Option<fn(&[u8]) -> Vec<f32>> {
    Some(match dtype {
        DType::F32 => |bytes| bytemuck::pod_collect_to_vec(bytes),
        DType::F64 => |bytes| bytes.as_chunks().0.iter().map(|&b| f64::from_ne_bytes(b) as f32).collect(),
        DType::F16 => {
            |bytes| bytes.as_chunks().0.iter().map(|&b| half::f16::from_ne_bytes(b).to_f32()).collect()
        }
        DType::BF16 => {
            |bytes| bytes.as_chunks().0.iter().map(|&b| half::bf16::from_ne_bytes(b).to_f32()).collect()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::is_torch;

    #[test]
    fn files_are_told_apart() {
        assert!(is_torch(b"PK\x03\x04rest"));
        assert!(is_torch(b"\x80\x02\x8a\nl\xfc"));
        // 128 bytes of header.
        assert!(!is_torch(b"\x80\0\0\0\0\0\0\0{\"a\""));
        assert!(!is_torch(b""));
    }
}
