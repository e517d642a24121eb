//! Memory of this process and its device: the largest amount since a moment.

use crate::profile::measure::{reset_peak_rss, status_bytes};
use crate::torch::error::TorchError;
use crate::torch::shim;
use tch::Device;

/// A peak being watched.
pub(super) struct Watch {
    device: Device,
    /// Whether the peak leaves out what came before.
    pub(super) is_peak_of_watch: bool,
    /// Held at the beginning, in bytes; nothing where the kernel does not tell.
    pub(super) start_bytes: Option<u64>,
}

impl Watch {
    /// Begins anew: tensors of a CUDA device, else this process's resident memory without what is mapped from files, so that a
    /// library's code does not count when it is first used.
    ///
    /// # Errors
    /// If the device's allocator cannot be asked.
    pub(super) fn start(device: Device) -> Result<Self, TorchError> {
        if let Device::Cuda(index) = device {
            shim::reset_peak(index)?;
            return Ok(Self {
                device,
                is_peak_of_watch: true,
                start_bytes: Some(shim::device_memory(index)?.allocated_bytes),
            });
        }
        Ok(Self {
            device,
            is_peak_of_watch: reset_peak_rss(),
            start_bytes: status_bytes("RssAnon:"),
        })
    }

    /// The peak so far, in bytes; nothing where the kernel does not tell.
    ///
    /// # Errors
    /// If the device's allocator cannot be asked.
    pub(super) fn peak_bytes(&self) -> Result<Option<u64>, TorchError> {
        match self.device {
            Device::Cuda(index) => Ok(Some(shim::device_memory(index)?.peak_bytes)),
            // The peak is told with files; they stay mapped, so the last amount is the largest.
            _ => Ok(status_bytes("VmHWM:")
                .zip(status_bytes("RssFile:"))
                .map(|(peak, files)| peak.saturating_sub(files))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_raises_the_peak_by_its_size() {
        let watch = Watch::start(Device::Cpu).unwrap();
        let start = watch.start_bytes.unwrap();
        let tensor = tch::Tensor::ones([1 << 26], (tch::Kind::Uint8, Device::Cpu));
        let peak = watch.peak_bytes().unwrap().unwrap();
        drop(tensor);
        assert!(peak >= start + (1 << 26), "{start} {peak}");
    }
}
