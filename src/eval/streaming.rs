//! How streaming heads stream: as their mask's file says, or as was asked for.

use super::error::EvalError;
use super::mask_file::MaskUnderTest;
use super::method::Streaming;
use crate::config::eval::StreamingSettings;
use crate::fault::AnyFault;
use crate::span::{Span, StreamingRule};

/// Sink, window and rule for `masks`, which hold what was `asked` already, and for methods without a mask; nothing if neither
/// knows a sink and a window.
///
/// # Errors
/// [`EvalError::Missing`] if something was asked where `any_streaming` says that no head streams, [`EvalError::Streaming`] for
/// masks that stream differently, [`crate::span::SpanError`] for an impossible span.
pub fn streaming(
    asked: &StreamingSettings,
    masks: &[MaskUnderTest],
    any_streaming: bool,
) -> Result<Option<Streaming>, AnyFault> {
    let any = asked.rule.is_some() || asked.sink_len.is_some() || asked.window_len.is_some();
    if any && !any_streaming {
        return Err(EvalError::Missing {
            setting: "a --rule, --sink or --window",
            missing: "a method with streaming heads",
            remedy: "pass --mask, --method all-streaming or --method streaming-llm",
        }
        .into());
    }
    if let Some((first, others)) = masks.split_first()
        && let Some(other) = others.iter().find(|mask| mask.streaming != first.streaming)
    {
        let [first, other] = [first, other].map(|mask| mask.streaming.to_string());
        return Err(EvalError::Streaming { first, other }.into());
    }
    Ok(match (masks.first(), asked.sink_len, asked.window_len) {
        (Some(mask), ..) => Some(mask.streaming),
        (None, Some(sink), Some(window)) => Some(Streaming {
            span: Span::new(sink, window, 1)?,
            rule: asked.rule.unwrap_or(StreamingRule::Sliding),
        }),
        _ => None,
    })
}
