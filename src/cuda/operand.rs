//! From a tensor to the address a kernel is given, after every check that a kernel cannot make itself.

use super::error::CudaError;
use super::runner::Kernels;
use tch::{Device, Kind, Tensor};

/// Address of a tensor's first number on its device; 0 for an operand that is absent.
pub(super) type Address = u64;

/// The dtypes kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    Bf16,
}

impl Element {
    /// The element type of a tensor of this kind, if kernels take it.
    pub(super) fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Float => Some(Self::F32),
            Kind::BFloat16 => Some(Self::Bf16),
            _ => None,
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::F32 => Kind::Float,
            Self::Bf16 => Kind::BFloat16,
        }
    }

    /// The entry compiled for it.
    pub(super) fn pick(self, f32: &'static str, bf16: &'static str) -> &'static str {
        match self {
            Self::F32 => f32,
            Self::Bf16 => bf16,
        }
    }
}

/// Checks the operands of one operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    name: &'static str,
    device: Device,
}

impl Operation {
    pub(super) fn new(name: &'static str, kernels: &Kernels) -> Self {
        Self {
            name,
            device: kernels.device(),
        }
    }

    /// The element type of `tensor`.
    pub(super) fn element(self, name: &'static str, tensor: &Tensor) -> Result<Element, CudaError> {
        let kind = tensor.kind();
        Element::of(kind).ok_or_else(|| self.refuse(name, "f32 or bf16", format!("{kind:?}")))
    }

    /// The sizes of `tensor`, of which there must be `N`.
    pub(super) fn dims<const N: usize>(
        self,
        name: &'static str,
        tensor: &Tensor,
    ) -> Result<[i64; N], CudaError> {
        let size = tensor.size();
        <[i64; N]>::try_from(size.as_slice()).map_err(|_| {
            self.refuse(
                name,
                &format!("of {N} dimensions"),
                format!("of shape {size:?}"),
            )
        })
    }

    /// The address of a contiguous tensor of this dtype and shape on the kernels' device.
    pub(super) fn address(
        self,
        name: &'static str,
        tensor: &Tensor,
        kind: Kind,
        shape: &[i64],
    ) -> Result<Address, CudaError> {
        let size = tensor.size();
        if size != shape {
            return Err(self.refuse(
                name,
                &format!("of shape {shape:?}"),
                format!("of shape {size:?}"),
            ));
        }
        if !tensor.is_contiguous() {
            let strides = format!("with strides {:?}", tensor.stride());
            return Err(self.refuse(name, "contiguous", strides));
        }
        self.strided_address(name, tensor, kind)
    }

    /// The address of a tensor of this dtype on the kernels' device, wherever its numbers lie.
    pub(super) fn strided_address(
        self,
        name: &'static str,
        tensor: &Tensor,
        kind: Kind,
    ) -> Result<Address, CudaError> {
        if tensor.kind() != kind {
            return Err(self.refuse(name, &format!("{kind:?}"), format!("{:?}", tensor.kind())));
        }
        if tensor.device() != self.device {
            let expected = format!("on {:?}", self.device);
            return Err(self.refuse(name, &expected, format!("on {:?}", tensor.device())));
        }
        Ok(tensor.data_ptr().expose_provenance() as Address)
    }

    /// [`Self::address`], or 0 for an absent operand.
    pub(super) fn optional(
        self,
        name: &'static str,
        tensor: Option<&Tensor>,
        kind: Kind,
        shape: &[i64],
    ) -> Result<Address, CudaError> {
        tensor.map_or(Ok(0), |tensor| self.address(name, tensor, kind, shape))
    }

    /// A size as the kernel's 32-bit integer.
    pub(super) fn int(self, what: &'static str, found: i64) -> Result<i32, CudaError> {
        i32::try_from(found).map_err(|_| self.limit(what, found, i64::from(i32::MAX)))
    }

    /// A count of thread blocks along y or z, of which a launch takes fewer than along x.
    pub(super) fn grid_side(self, what: &'static str, found: i64) -> Result<u32, CudaError> {
        let side = u16::try_from(found).map(u32::from);
        side.map_err(|_| self.limit(what, found, i64::from(u16::MAX)))
    }

    /// A size beyond a limit.
    pub(super) fn limit(self, what: &'static str, found: i64, limit: i64) -> CudaError {
        CudaError::Limit {
            operation: self.name,
            what,
            found,
            limit,
        }
    }

    /// An operand that does not fit.
    pub(super) fn refuse(self, tensor: &'static str, expected: &str, found: String) -> CudaError {
        CudaError::Operand {
            operation: self.name,
            tensor,
            expected: expected.to_owned(),
            found,
        }
    }
}
