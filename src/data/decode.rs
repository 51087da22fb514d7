//! Image files to pixels: JPEG, PNG and WebP, whatever their colours are, as RGB.

use image::{ImageReader, Limits};
use std::borrow::Cow;
use std::io::Cursor;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// The longest side of an image, in pixels.
const LONGEST: u32 = 65_535;

/// Bytes that decoding an image may take, at most.
const MOST_BYTES: usize = 1 << 30;

/// An image: rows of pixels, each R, G, B.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels<'a> {
    pub width: usize,
    pub height: usize,
    /// (height, width, 3)
    pub bytes: Cow<'a, [u8]>,
}

/// The image in a file's `bytes`. Transparency is ignored, as is EXIF orientation.
///
/// # Errors
/// What is wrong with a file that is no image, whose sides are longer than 65,535, or that is damaged or cut off.
pub fn decode(bytes: &[u8]) -> Result<Pixels<'static>, String> {
    match bytes.starts_with(&[0xFF, 0xD8]) {
        true => jpeg(bytes),
        false => other(bytes),
    }
}

/// Scans have to be whole and free of errors. What stands between headers is forgiven, as libjpeg does.
fn jpeg(bytes: &[u8]) -> Result<Pixels<'static>, String> {
    // The decoder may take a cut within the last rows for their end.
    if !ends(bytes) {
        return Err("it is cut off".into());
    }
    let options = DecoderOptions::default()
        .set_max_width(LONGEST as usize)
        .set_max_height(LONGEST as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options.set_strict_mode(false));
    decoder.decode_headers().map_err(|e| format!("{e:?}"))?;
    let (width, height) = decoder.dimensions().ok_or("it has no size")?;
    if width * height * 3 > MOST_BYTES {
        return Err(format!("{width} x {height} pixels are more than {MOST_BYTES} bytes"));
    }
    decoder.set_options(options.set_strict_mode(true));
    let bytes = decoder.decode().map_err(|e| format!("{e:?}"))?;
    match bytes.len() == width * height * 3 {
        true => Ok(Pixels { width, height, bytes: bytes.into() }),
        false => Err("its colours are not understood".into()),
    }
}

/// Whether an end of image stands behind the first scan's beginning. (A preview within a header has an end of its own.)
fn ends(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xDA;
    let mut rest = &bytes[2..];
    while let Some(at) = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0 | 0xFF)) {
        let (marker, behind) = (rest[at + 1], &rest[at + 2..]);
        if marker == START_OF_SCAN {
            return behind.windows(2).rposition(|pair| pair == [0xFF, 0xD9]).is_some();
        }
        let [Some(&high), Some(&low)] = [behind.first(), behind.get(1)] else { return false };
        rest = behind.get(usize::from(u16::from_be_bytes([high, low]))..).unwrap_or(&[]);
    }
    false
}

fn other(bytes: &[u8]) -> Result<Pixels<'static>, String> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MOST_BYTES as u64);
    limits.max_image_width = Some(LONGEST);
    limits.max_image_height = Some(LONGEST);
    reader.limits(limits);
    let image = reader.decode().map_err(|e| e.to_string())?.into_rgb8();
    let [width, height] = [image.width(), image.height()].map(|side| side as usize);
    Ok(Pixels { width, height, bytes: image.into_raw().into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageFormat, Rgb, RgbImage};

    /// A file of a picture with detail everywhere.
    fn file(format: ImageFormat) -> Vec<u8> {
        let image = RgbImage::from_fn(61, 47, |x, y| {
            Rgb([(x * y % 256) as u8, (x * 37 % 256) as u8, (y * 53 % 256) as u8])
        });
        let mut bytes = Vec::new();
        image.write_to(&mut Cursor::new(&mut bytes), format).expect("in memory");
        bytes
    }

    #[test]
    fn each_format_is_read() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let pixels = decode(&file(format)).expect("a whole file");
            assert_eq!((pixels.width, pixels.height, pixels.bytes.len()), (61, 47, 61 * 47 * 3));
            let at = 3 * (20 * 61 + 30);
            let expected = [600 % 256, 30 * 37 % 256, 20 * 53 % 256];
            for (got, expected) in pixels.bytes[at..at + 3].iter().zip(expected) {
                assert!(i32::from(*got).abs_diff(expected) < 90, "{format:?}: {got}, {expected}");
            }
        }
    }

    /// Wherever a file is cut, even within its last pixels, it is an error: no grey is made up.
    #[test]
    fn files_that_are_cut_off_are_refused() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let bytes = file(format);
            for share in [0, 1, 10, 40, 70, 95] {
                let cut = &bytes[..bytes.len() * share / 100];
                assert!(decode(cut).is_err(), "{format:?} at {share} %");
            }
            assert!(decode(&bytes[..bytes.len() - 16]).is_err(), "{format:?} without its end");
        }
    }

    #[test]
    fn other_files_are_refused() {
        for bytes in [&b""[..], b"\xFF\xD8", b"GIF89a, or is it?", b"text"] {
            assert!(decode(bytes).is_err());
        }
    }

    /// Libjpeg skips what stands between headers, and such files are in ImageNet.
    #[test]
    fn bytes_between_headers_are_forgiven() {
        let mut bytes = file(ImageFormat::Jpeg);
        let whole = decode(&bytes).expect("a whole file");
        // Behind the first segment.
        let at = 4 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        assert_eq!(bytes[at], 0xFF);
        bytes.splice(at..at, [0x11; 40]);
        assert_eq!(decode(&bytes).expect("the same image"), whole);
    }
}
