//! PyTorch's own files (`.pth`, `.pt`, `.th`): their pickle is parsed, never executed.

use super::state::Tensors;
use crate::error::{Error, Result};
use pytorch_reader::{DType, PytorchReader};
use std::path::Path;

/// Bytes of all tensors, at most, over those of the file: views can claim more than there is.
const MOST: u64 = 4;

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
    let length = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?.len();
    let mut claimed = 0u64;
    for (name, tensor) in file.tensors() {
        let Some(name) = name.strip_prefix(place) else { continue };
        claimed = claimed.saturating_add(tensor.byte_len() as u64);
        if claimed > MOST * length {
            return Err(broken(format!(
                "claims more than {claimed} bytes of weights, but has {length} bytes"
            )));
        }
        let Some(convert) = floats(tensor.dtype()) else { continue };
        let bytes = tensor.read().map_err(|e| broken(format!("is damaged ({e})")))?;
        tensors.insert(name.into(), (tensor.shape().to_vec(), convert(&bytes)));
    }
    Ok(tensors)
}

/// From a tensor's bytes to f32.
type Convert = fn(&[u8]) -> Vec<f32>;

/// How the bytes of a type become f32; none for integers, of which no weights are.
fn floats(dtype: DType) -> Option<Convert> {
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
    use super::*;
    use crate::model::weights;

    /// tests/fixtures/torch_files.py wrote them, in PyTorch's two formats.
    #[test]
    fn weights_are_found_in_what_training_scripts_save() {
        for name in ["torch_zip.pth", "torch_legacy.th"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
            let tensors = weights::read(&path).expect("a whole file");
            let names: Vec<&str> = tensors.keys().map(String::as_str).collect();
            assert_eq!(names, ["bn1.running_var", "conv1.weight", "fc.bias", "fc.weight"]);
            let expected: Vec<f32> = (0..24).map(|i| i as f32 / 8.0).collect();
            assert_eq!(tensors["conv1.weight"], (vec![2, 3, 2, 2], expected));
            assert_eq!(tensors["bn1.running_var"], (vec![2], vec![0.5, 1.5]));
            assert_eq!(tensors["fc.weight"], (vec![3, 2], vec![0.0, 3.0, 1.0, 4.0, 2.0, 5.0]));
            assert_eq!(tensors["fc.bias"], (vec![3], vec![1.0, -2.0, 3.5]));
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/torch_zip.pth");
        let bytes = std::fs::read(path).expect("a small file");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let damaged = directory.path().join("damaged.pth");
        for len in (5..bytes.len()).step_by(97) {
            std::fs::write(&damaged, &bytes[..len]).expect("a small file");
            assert!(read(&damaged).is_err(), "{len} of {} bytes", bytes.len());
        }
        // A changed byte of a tensor does not match its checksum; elsewhere it may go unnoticed, but never panics.
        for at in (0..bytes.len()).step_by(31) {
            let mut changed = bytes.clone();
            changed[at] ^= 0x55;
            std::fs::write(&damaged, changed).expect("a small file");
            let _ = read(&damaged);
        }
    }

    #[test]
    fn files_are_told_apart() {
        assert!(is_torch(b"PK\x03\x04rest"));
        assert!(is_torch(b"\x80\x02\x8a\nl\xfc"));
        // 128 bytes of header.
        assert!(!is_torch(b"\x80\0\0\0\0\0\0\0{\"a\""));
        assert!(!is_torch(b""));
    }
}
