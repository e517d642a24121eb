//! Records spans of the thread that computes, while somebody listens.
//!
//! # Decisions
//! The recorder belongs to the thread and is not handed down. Spans are opened in five layers, and a recorder in every
//! signature between them would be read far more often than used. Nothing that is computed depends on it. Off, a span costs
//! one look at a thread-local flag; the case `spans` of `benches/engine.rs` measures it.
//!
//! On CUDA an operator returns before the device has done it, so a span waits for the device at both ends. A profiled step is
//! therefore slower than another one: its shares count, not its sum.

use super::span::{Part, Pass, Span};
use crate::torch::device;
use std::cell::{Cell, RefCell};
use std::time::Instant;
use tch::{Device, Tensor};

thread_local! {
    static IS_ON: Cell<bool> = const { Cell::new(false) };
    static RECORDING: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

/// Spans so far, and those that are still open.
struct Recording {
    device: Device,
    began: Instant,
    spans: Vec<Span>,
    open: Vec<usize>,
}

impl Recording {
    fn now_ns(&self) -> u64 {
        device::wait(self.device);
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn begin(&mut self, mut span: Span) {
        span.parent = self.open.last().copied();
        let is_inside_backward = |at: &usize| self.spans[*at].pass == Pass::Backward;
        if span.pass == Pass::Forward && self.open.iter().any(is_inside_backward) {
            span.pass = Pass::Recompute;
        }
        self.open.push(self.spans.len());
        span.start_ns = self.now_ns();
        self.spans.push(span);
    }

    /// Drops the span of `part` that just ended; one with others inside stays.
    fn forget(&mut self, part: Part) {
        let is_last = self.spans.last().is_some_and(|span| span.part == part);
        if is_last {
            self.spans.pop();
        }
    }

    fn end(&mut self) {
        let now = self.now_ns();
        if let Some(at) = self.open.pop() {
            self.spans[at].end_ns = now;
        }
    }
}

/// Begins to record what this thread does on `device`; what was recorded before is forgotten.
pub fn start(device: Device) {
    let recording = Recording {
        device,
        began: Instant::now(),
        spans: Vec::new(),
        open: Vec::new(),
    };
    RECORDING.set(Some(recording));
    IS_ON.set(true);
}

/// Ends the recording, and spans that are still open with it; returns them in the order in which they began.
pub fn stop() -> Vec<Span> {
    IS_ON.set(false);
    let Some(mut recording) = RECORDING.take() else {
        return Vec::new();
    };
    while !recording.open.is_empty() {
        recording.end();
    }
    recording.spans
}

/// Does `work` as forward work on tensors; inside a layer's backward pass it counts as recomputed.
///
/// # Shapes
/// Any; only their shapes are looked at.
pub fn forward<T>(part: Part, tensors: &[&Tensor], work: impl FnOnce() -> T) -> T {
    timed(part, Pass::Forward, tensors, work)
}

/// Does `work` as backward work on tensors.
///
/// # Shapes
/// Any; only their shapes are looked at.
pub fn backward<T>(part: Part, tensors: &[&Tensor], work: impl FnOnce() -> T) -> T {
    timed(part, Pass::Backward, tensors, work)
}

/// Does `work` that is of both directions, or of neither.
///
/// # Shapes
/// Any; only their shapes are looked at.
pub fn timed<T>(part: Part, pass: Pass, tensors: &[&Tensor], work: impl FnOnce() -> T) -> T {
    if !IS_ON.get() {
        return work();
    }
    recorded(part, pass, None, tensors, work)
}

/// Does `work` that may not apply; where it gives nothing, nothing is recorded.
///
/// # Shapes
/// Any; only their shapes are looked at.
pub fn tried<T>(
    part: Part,
    pass: Pass,
    tensors: &[&Tensor],
    work: impl FnOnce() -> Option<T>,
) -> Option<T> {
    let result = timed(part, pass, tensors, work);
    if result.is_none() && IS_ON.get() {
        with(|recording| recording.forget(part));
    }
    result
}

/// Does `work` as step, micro-batch or layer number `index`.
pub fn frame<T>(part: Part, pass: Pass, index: u64, work: impl FnOnce() -> T) -> T {
    if !IS_ON.get() {
        return work();
    }
    recorded(part, pass, Some(index), &[], work)
}

fn recorded<T>(
    part: Part,
    pass: Pass,
    index: Option<u64>,
    tensors: &[&Tensor],
    work: impl FnOnce() -> T,
) -> T {
    let span = Span {
        part,
        pass,
        index,
        parent: None,
        shapes: tensors.iter().map(|tensor| tensor.size()).collect(),
        start_ns: 0,
        end_ns: 0,
    };
    with(|recording| recording.begin(span));
    let result = work();
    with(Recording::end);
    result
}

fn with(change: impl FnOnce(&mut Recording)) {
    RECORDING.with_borrow_mut(|recording| {
        if let Some(recording) = recording {
            change(recording);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_know_their_parent_and_what_is_done_again() {
        start(Device::Cpu);
        let x = Tensor::from_slice(&[1.0_f32, 2.0]);
        frame(Part::Layer, Pass::Forward, 3, || {
            forward(Part::Norm, &[&x], || ());
        });
        let seven = frame(Part::Layer, Pass::Backward, 3, || {
            forward(Part::Norm, &[], || ());
            let nothing: Option<u8> = tried(Part::Fused, Pass::Backward, &[], || None);
            assert_eq!(nothing, None);
            backward(Part::Qkv, &[], || 7)
        });
        let spans = stop();
        assert_eq!(seven, 7);
        assert_eq!(spans.len(), 5, "what does not apply is not recorded");
        let found: Vec<(Part, Pass, Option<usize>)> = spans
            .iter()
            .map(|span| (span.part, span.pass, span.parent))
            .collect();
        assert_eq!(
            found,
            [
                (Part::Layer, Pass::Forward, None),
                (Part::Norm, Pass::Forward, Some(0)),
                (Part::Layer, Pass::Backward, None),
                (Part::Norm, Pass::Recompute, Some(2)),
                (Part::Qkv, Pass::Backward, Some(2)),
            ]
        );
        assert_eq!(spans[1].shapes, [[2]]);
        assert_eq!(spans[0].index, Some(3));
        for span in &spans {
            assert!(span.end_ns >= span.start_ns);
            if let Some(parent) = span.parent {
                assert!(spans[parent].start_ns <= span.start_ns);
                assert!(span.end_ns <= spans[parent].end_ns);
            }
        }
    }

    #[test]
    fn nothing_is_recorded_unless_somebody_listens() {
        forward(Part::Norm, &[], || ());
        assert_eq!(stop(), []);
        start(Device::Cpu);
        let elsewhere = std::thread::spawn(|| {
            forward(Part::Norm, &[], || ());
            stop()
        });
        assert_eq!(elsewhere.join().unwrap(), []);
        assert_eq!(stop(), []);
    }
}
