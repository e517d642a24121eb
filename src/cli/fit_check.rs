//! Whether a run's steps fit into the memory of its device, said before the first one.

use crate::cli::estimate_report::{beside, way_out};
use crate::cli::machine;
use crate::estimate::memory::Memory;
use crate::estimate::plan::Plan;
use crate::estimate::remedy::{offloaded, remedies};
use crate::torch::error::TorchError;
use crate::torch::{device, shim};
use tch::Device;

/// A warning where the largest step of `plan` needs more than `device` has; nothing where it fits, or where the system does
/// not tell.
///
/// # Errors
/// If a CUDA device's allocator cannot be asked.
pub(super) fn warning(plan: &Plan, device: Device) -> Result<Option<String>, TorchError> {
    let limit = match device {
        Device::Cuda(index) => {
            let memory = shim::device_memory(index)?;
            Some(memory.free_bytes + memory.allocated_bytes)
        }
        _ => machine::memory().map(|memory| memory.total_bytes),
    };
    let of_device = limit.and_then(|limit| text(plan, limit, device));
    let of_host = machine::memory().and_then(|memory| host_text(plan, memory.available_bytes));
    Ok(of_device
        .into_iter()
        .chain(of_host)
        .reduce(|all, more| format!("{all}\n{more}")))
}

/// What is to wait in host memory, where that has no room for it.
fn host_text(plan: &Plan, available: u64) -> Option<String> {
    #[expect(clippy::cast_precision_loss, reason = "memory below 2^52 bytes")]
    let available = available as f64;
    let needed = Memory::new(plan).host;
    (needed > available).then(|| {
        format!(
            "warning[memory.host]: {:.1} GB are to wait in host memory, of which {:.1} are free: use shorter rows, `memory.saving` \
             = \"x\", or `memory.offload` = \"none\"",
            needed / 1e9,
            available / 1e9
        )
    })
}

fn text(plan: &Plan, limit: u64, device: Device) -> Option<String> {
    #[expect(clippy::cast_precision_loss, reason = "memory below 2^52 bytes")]
    let limit = limit as f64;
    let needed = Memory::new(plan).peak();
    (needed > limit).then(|| {
        let offloaded = device.is_cuda().then(|| offloaded(plan, limit)).flatten();
        let way_out = way_out(&remedies(plan, limit)) + &beside(offloaded.as_ref());
        let device = device::name(device);
        format!(
            "warning[memory.plan]: a step may need {:.1} GB, and {device} has {:.1}; {way_out} (prulong estimate has the parts)",
            needed / 1e9,
            limit / 1e9
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::dtype::Dtype;
    use crate::config::loss::{LossSettings, MemorySettings, Offload, Saving};
    use crate::estimate::known;
    use crate::estimate::plan::{Gates, WeightUpdates};
    use crate::span::Span;

    #[test]
    fn a_step_that_is_too_large_is_warned_of_with_the_way_out() {
        let plan = Plan {
            model: known::sizes("llama-3.1-8b").unwrap(),
            num_tokens: 131_072,
            span: Span::new(128, 1024, 128).unwrap(),
            dtype: Dtype::Bf16,
            memory: MemorySettings::default(),
            loss: LossSettings::default(),
            gates: Gates::Between,
            weights: WeightUpdates::Frozen,
        };
        let warning = text(&plan, 100_000_000_000, Device::Cuda(0)).unwrap();
        assert!(warning.starts_with("warning[memory.plan]: "), "{warning}");
        assert!(
            warning.contains("cuda:0 has 100.0; memory.saving = \"x\""),
            "{warning}"
        );
        assert!(
            warning.contains("; or memory.offload = \"host\" needs "),
            "{warning}"
        );
        let here = text(&plan, 100_000_000_000, Device::Cpu).unwrap();
        assert!(!here.contains("offload"), "{here}");
        assert_eq!(text(&plan, 1_000_000_000_000, Device::Cuda(0)), None);
        let hopeless = text(&plan, 8_000_000_000, Device::Cpu).unwrap();
        assert!(hopeless.contains("no row fits"), "{hopeless}");
        let memory = MemorySettings {
            saving: Saving::Inputs,
            offload: Offload::Host,
            mlp_chunk_len: 512,
        };
        let loss = LossSettings {
            chunk_len: 512,
            ..plan.loss.clone()
        };
        let nothing_left = Plan {
            memory,
            loss,
            ..plan
        };
        let hopeless = text(&nothing_left, 8_000_000_000, Device::Cuda(0)).unwrap();
        assert!(hopeless.contains("no row fits"), "{hopeless}");
        // 31 layers' inputs of 1.07 GB each wait on the host.
        let host = host_text(&nothing_left, 32_000_000_000).unwrap();
        assert!(host.starts_with("warning[memory.host]: 33.3 GB"), "{host}");
        assert_eq!(host_text(&nothing_left, 64_000_000_000), None);
    }

    #[test]
    fn this_machine_says_how_much_memory_it_has() {
        let plan = Plan {
            model: known::sizes("tiny").unwrap(),
            num_tokens: 64,
            span: Span::new(16, 64, 1).unwrap(),
            dtype: Dtype::F32,
            memory: MemorySettings::default(),
            loss: LossSettings::default(),
            gates: Gates::Between,
            weights: WeightUpdates::Frozen,
        };
        assert_eq!(warning(&plan, Device::Cpu).unwrap(), None);
        let huge = Plan {
            num_tokens: 1 << 30,
            ..plan
        };
        assert!(warning(&huge, Device::Cpu).unwrap().is_some());
    }
}
