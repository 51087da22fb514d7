//! Safetensors files whose metadata is one JSON string with checksums: what checkpoints and packed models are.
//!
//! The JSON's keys are sorted. Among them are `version`, `crc_data`, a CRC-32 of the data section, and `crc_header`, one of the
//! header (length field included), in which its own eight digits count as zeros.

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use std::collections::{BTreeMap, HashMap};

/// What tells a kind of file from others.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The metadata's key.
    pub key: &'static str,
    pub version: u32,
    /// What it is called in messages.
    pub name: &'static str,
}

/// The bytes of a file with `tensors` and the plain data `json`.
///
/// # Errors
/// What safetensors says.
pub fn encode(
    kind: Kind,
    tensors: &BTreeMap<String, TensorView>,
    mut json: serde_json::Value,
) -> Result<Vec<u8>, String> {
    json["version"] = kind.version.into();
    for crc in ["crc_data", "crc_header"] {
        json[crc] = "00000000".into();
    }
    let metadata = HashMap::from([(kind.key.to_string(), json.to_string())]);
    let mut bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|e| e.to_string())?;
    seal(&mut bytes);
    Ok(bytes)
}

/// Bytes before the data section: the length field and the header.
pub fn header_len(bytes: &[u8]) -> Option<usize> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let end = usize::try_from(length).ok()?.checked_add(8)?;
    (end <= bytes.len()).then_some(end)
}

/// Where the digits of a header's checksum begin, of the data or of the header itself.
fn crc_digits(header: &[u8], key: &str) -> Option<usize> {
    let before = format!(r#"\"{key}\":\""#);
    let at = header.windows(before.len()).position(|window| window == before.as_bytes())? + before.len();
    (at + 8 <= header.len()).then_some(at)
}

/// Makes the checksums right, of a file that still has a header with places for them.
fn seal(bytes: &mut [u8]) {
    let Some(header) = header_len(bytes) else { return };
    let digits = |crc: u32| format!("{crc:08x}").into_bytes();
    if let Some(at) = crc_digits(&bytes[..header], "crc_data") {
        let crc = digits(crc32fast::hash(&bytes[header..]));
        bytes[at..at + 8].copy_from_slice(&crc);
    }
    if let Some(at) = crc_digits(&bytes[..header], "crc_header") {
        bytes[at..at + 8].copy_from_slice(b"00000000");
        let crc = digits(crc32fast::hash(&bytes[..header]));
        bytes[at..at + 8].copy_from_slice(&crc);
    }
}

/// Whether the bytes, the first ones of a file or all, are of this kind, intact or not.
pub fn begins(kind: Kind, bytes: &[u8]) -> bool {
    let named = format!(r#"{{"__metadata__":{{"{}":"#, kind.key).into_bytes();
    bytes.get(8..).is_some_and(|header| header.starts_with(&named))
}

/// Whether the bytes have a header's checksum, of whatever kind.
pub fn is_any(bytes: &[u8]) -> bool {
    header_len(bytes).is_some_and(|end| crc_digits(&bytes[..end], "crc_header").is_some())
}

/// Calls `read` on `bytes` with changes of every kind, their checksums right, until `SHIFTNET_FUZZ_SECONDS` have passed, or a
/// second: it must not panic. Returns how many of them it refused.
#[cfg(test)]
pub fn fuzz(bytes: &[u8], mut read: impl FnMut(&[u8]) -> bool) -> usize {
    let seconds = std::env::var("SHIFTNET_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(1.0);
    let began = std::time::Instant::now();
    let header = header_len(bytes).expect("a whole file");
    let mut refused = 0;
    for round in 0.. {
        if began.elapsed().as_secs_f64() >= seconds && round >= 200 {
            break;
        }
        let mut draws = crate::rng::Draws::new(round, crate::rng::Stream::Synthetic, 0, 7);
        let mut changed = bytes.to_vec();
        for _ in 0..=draws.below(3) {
            // Most changes are in the header, where lengths, shapes and names are.
            let end = if draws.below(4) == 0 { changed.len() } else { header.min(changed.len()) };
            let at = draws.below(end.max(1) as u32) as usize;
            match draws.below(5) {
                _ if changed.is_empty() => {}
                0 => changed[at] = draws.below(256) as u8,
                1 => changed[at] = b"0123456789-.,:[]{}\"e"[draws.below(20) as usize],
                2 => changed[at] ^= 1 << draws.below(8),
                // Text moved to another place, of the same length.
                3 => {
                    let len = (1 + draws.below(12) as usize).min(changed.len() - at);
                    let from = draws.below((changed.len() - len + 1) as u32) as usize;
                    changed.copy_within(from..from + len, at);
                }
                _ => changed.truncate(changed.len() - draws.below(64).min(changed.len() as u32) as usize),
            }
        }
        seal(&mut changed);
        refused += usize::from(!read(&changed));
    }
    refused
}

/// The tensors and the plain data of a file.
///
/// # Errors
/// What is wrong, where any byte is not what was written.
pub fn decode(kind: Kind, bytes: &[u8]) -> Result<(SafeTensors<'_>, serde_json::Value), String> {
    let header = header_len(bytes).ok_or("is truncated, or not a safetensors file")?;
    let digits = crc_digits(&bytes[..header], "crc_header")
        .ok_or_else(|| format!("is not {}, or its header is damaged", kind.name))?;
    let mut zeroed = bytes[..header].to_vec();
    zeroed[digits..digits + 8].copy_from_slice(b"00000000");
    if bytes[digits..digits + 8] != *format!("{:08x}", crc32fast::hash(&zeroed)).as_bytes() {
        return Err("is damaged: its header does not match its checksum".into());
    }
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|e| format!("is damaged or truncated ({e})"))?;
    let json = metadata.metadata().as_ref().and_then(|m| m.get(kind.key));
    let json = json.ok_or_else(|| format!("is not {}", kind.name))?;
    let json: serde_json::Value =
        serde_json::from_str(json).map_err(|e| format!("has damaged metadata ({e})"))?;
    if json["version"] != kind.version {
        return Err(format!("is of version {}, but this program reads {}", json["version"], kind.version));
    }
    if json["crc_data"] != format!("{:08x}", crc32fast::hash(&bytes[header..])) {
        return Err("is damaged or truncated: its data does not match its checksum".into());
    }
    let file = SafeTensors::deserialize(bytes).map_err(|e| format!("is damaged ({e})"))?;
    Ok((file, json))
}
