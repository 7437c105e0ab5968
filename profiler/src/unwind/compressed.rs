//! Expands a compressed section, up to a bound.
//!
//! ```text
//! SHF_COMPRESSED   kind: 4 (1: zlib, 2: zstd)   0: 4   bytes: 8   alignment: 8   stream…
//! .zdebug_…        ZLIB   bytes: 8, big-endian   stream…
//! ```

use std::io::Read;

/// How a section says that it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// By a flag, with a header.
    Header,
    /// By its name, as GNU tools and Go did at first.
    Gnu,
}

/// It has more bytes than are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// The bytes; none if they are damaged or compressed in another way. What the header claims is not believed: the
/// memory grows with what the stream holds.
pub fn expand(bytes: &[u8], compression: Compression, limit: u64) -> Result<Option<Vec<u8>>, TooLong> {
    let header = if compression == Compression::Gnu { 12 } else { 24 };
    let Some((header, stream)) = bytes.split_at_checked(header) else { return Ok(None) };
    let expanded = match (compression, header) {
        (Compression::Gnu, [b'Z', b'L', b'I', b'B', ..]) | (Compression::Header, [1, 0, 0, 0, ..]) => {
            read(flate2::bufread::ZlibDecoder::new(stream), limit)
        }
        (Compression::Header, [2, 0, 0, 0, ..]) => {
            let Ok(mut decoder) = zstd::stream::read::Decoder::with_buffer(stream) else { return Ok(None) };
            // The window is memory too, which the stream itself asks for.
            if decoder.window_log_max(WINDOW_LOG).is_err() {
                return Ok(None);
            }
            read(decoder, limit)
        }
        _ => return Ok(None),
    };
    match expanded {
        Some(bytes) if bytes.len() as u64 > limit => Err(TooLong),
        expanded => Ok(expanded),
    }
}

/// Largest window of zstd: 8 MiB, which any decoder has to support.
const WINDOW_LOG: u32 = 23;

/// One byte more than `limit` shows that there are more.
fn read(stream: impl Read, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![];
    stream.take(limit.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
