//! Sizes of compressed bytes.

use std::io::{self, Write};

/// Window of zstd when it may look back into the training text: 128 MiB, `zstd --long=27`.
const LONG_WINDOW_LOG: u32 = 27;

/// Counts bytes and forgets them.
#[derive(Default)]
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that DEFLATE at level 9 makes of `bytes`, header and checksum included, as in `gzip -9`.
///
/// # Errors
/// If the encoder fails.
pub(crate) fn gzip_bytes(bytes: &[u8]) -> io::Result<u64> {
    let mut encoder =
        flate2::write::GzEncoder::new(Counter::default(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.0)
}

/// Bytes that `zstd -LEVEL` makes of `bytes`.
///
/// # Errors
/// If the encoder fails.
pub(crate) fn zstd_bytes(bytes: &[u8], level: i32) -> io::Result<u64> {
    finish(zstd::Encoder::new(Counter::default(), level)?, bytes)
}

/// Bytes that `zstd -LEVEL --long=27 --patch-from` makes of `bytes` for a reader who has `known`: the compressor's
/// counterpart of a model that was trained on it. It looks back 128 MiB at most.
///
/// # Errors
/// If the encoder fails.
pub(crate) fn zstd_bytes_after(known: &[u8], bytes: &[u8], level: i32) -> io::Result<u64> {
    let mut encoder = zstd::Encoder::with_ref_prefix(Counter::default(), level, known)?;
    encoder.window_log(LONG_WINDOW_LOG)?;
    encoder.long_distance_matching(true)?;
    finish(encoder, bytes)
}

fn finish(mut encoder: zstd::Encoder<'_, Counter>, bytes: &[u8]) -> io::Result<u64> {
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use prulong::random;
    use rand::Rng;

    #[test]
    fn repeats_shrink_noise_does_not_and_known_text_is_free() {
        let mut noise = vec![0; 200_000];
        random::stream("compress-test", &[]).fill_bytes(&mut noise);
        let repeats = b"let value = compute(argument);\n".repeat(1000);
        let both = |bytes: &[u8]| [gzip_bytes(bytes).unwrap(), zstd_bytes(bytes, 19).unwrap()];
        assert!(both(&noise).iter().all(|size| *size > 200_000));
        assert!(both(&repeats).iter().all(|size| *size < 500));
        let known = zstd_bytes_after(&noise, &noise[50_000..150_000], 19).unwrap();
        assert!(known < 200, "{known}");
    }
}
