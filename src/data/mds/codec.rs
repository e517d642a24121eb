//! Compression of whole shards: zstd both ways, gzip for reading.

use super::error::MdsError;
use std::io::Read;
use std::path::Path;

/// How a shard file is compressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Codec {
    /// `zstd`, `zstd:LEVEL`.
    Zstd(i32),
    /// `gz`, `gz:LEVEL`.
    Gz,
    /// A codec that Python's tools know and this build does not: `br`, `bz2`, `snappy`, ...
    Unsupported(String),
}

impl Codec {
    /// Parses the index's spelling; a missing level is zstd's default.
    pub fn parse(text: &str) -> Self {
        let (name, level) = text.split_once(':').unwrap_or((text, "3"));
        match (name, level.parse()) {
            ("zstd", Ok(level)) => Self::Zstd(level),
            ("gz", Ok(_)) => Self::Gz,
            _ => Self::Unsupported(text.to_owned()),
        }
    }
}

/// Decompresses one frame that must hold exactly `raw_bytes` bytes and nothing after them.
///
/// # Errors
/// [`MdsError::Codec`] for an unsupported codec, a broken frame or trailing bytes, [`MdsError::Bomb`] for more output than
/// declared, [`MdsError::Size`] for less.
pub fn decompress(
    codec: &Codec,
    path: &Path,
    packed: &[u8],
    raw_bytes: u64,
) -> Result<Vec<u8>, MdsError> {
    let broken = |reason: String| MdsError::Codec {
        path: path.to_path_buf(),
        reason,
    };
    let (raw, rest) = match codec {
        Codec::Zstd(_) => {
            let decoder = zstd::stream::read::Decoder::with_buffer(packed)
                .map_err(|error| broken(error.to_string()))?
                .single_frame();
            let (raw, decoder) = read_capped(decoder, raw_bytes).map_err(broken)?;
            (raw, decoder.finish().len())
        }
        Codec::Gz => {
            let decoder = flate2::bufread::GzDecoder::new(packed);
            let (raw, decoder) = read_capped(decoder, raw_bytes).map_err(broken)?;
            (raw, decoder.into_inner().len())
        }
        Codec::Unsupported(name) => {
            return Err(broken(format!(
                "compression `{name}` is not supported; zstd, gz and none are"
            )));
        }
    };
    let found = u64::try_from(raw.len()).unwrap_or(u64::MAX);
    if found > raw_bytes {
        return Err(MdsError::Bomb {
            path: path.to_path_buf(),
            declared: raw_bytes,
        });
    }
    if found < raw_bytes {
        return Err(broken(format!(
            "{found} bytes of output, index.json declares {raw_bytes}"
        )));
    }
    if rest > 0 {
        return Err(broken(format!("{rest} bytes after the end of the frame")));
    }
    Ok(raw)
}

/// Reads at most one byte more than `raw_bytes`, so that excess is noticed and not stored.
fn read_capped<R: Read>(reader: R, raw_bytes: u64) -> Result<(Vec<u8>, R), String> {
    let mut raw = Vec::new();
    let mut capped = reader.take(raw_bytes.saturating_add(1));
    capped
        .read_to_end(&mut raw)
        .map_err(|error| error.to_string())?;
    Ok((raw, capped.into_inner()))
}
