//! Picks the backend once, by name or by measurement rules.
//!
//! # Decisions
//! On CUDA `auto` takes cuDNN from compute capability 9.0 on, where its published speed is about twice FlashAttention-2's;
//! before that FlashAttention-2; and the reference for dtypes that neither takes. Which one and why is a sentence for the
//! log and the results.

use super::cudnn::Cudnn;
use super::flash::Flash;
use super::{AttentionError, Backend, cpu_flash::CpuFlash, fused::CpuFused, reference::Reference};
use crate::torch::capability::Capability;
use crate::torch::cuda_symbols::CudaSymbols;
use tch::{Device, Kind};

/// Names a user may ask for besides `auto`.
pub const BACKENDS: [&str; 5] = ["reference", "cpu-flash", "cpu-fused", "flash", "cudnn"];

/// From here on both CUDA kernels run.
const OLDEST: Capability = Capability::new(8, 0);
/// From here on cuDNN is the faster one.
const HOPPER: Capability = Capability::new(9, 0);

/// What a backend will compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// Where.
    pub device: Device,
    /// In which dtype.
    pub kind: Kind,
}

impl Case {
    /// On the CPU.
    pub fn on_cpu(kind: Kind) -> Self {
        Self {
            device: Device::Cpu,
            kind,
        }
    }
}

/// A backend and why it was chosen.
pub struct Choice {
    /// The backend.
    pub backend: Box<dyn Backend>,
    /// One sentence for the log and the results.
    pub reason: String,
}

/// The backend called `request`, or the best one that runs the case for `auto`.
///
/// # Errors
/// [`AttentionError::Unknown`] for an unknown name, [`AttentionError::Unavailable`] for one that cannot run the case: never
/// another backend instead.
pub fn choose(request: &str, case: Case) -> Result<Choice, AttentionError> {
    let (pick, reason) = pick(request, case, &Machine::of(case.device))?;
    let backend: Box<dyn Backend> = match pick {
        Pick::Reference => Box::new(Reference),
        Pick::CpuFlash => Box::new(CpuFlash),
        Pick::CpuFused => Box::new(CpuFused::default()),
        Pick::Flash => Box::new(Flash::new(CudaSymbols::loaded())),
        Pick::Cudnn => Box::new(Cudnn::new(CudaSymbols::loaded())),
    };
    Ok(Choice { backend, reason })
}

/// Refuses heads that are too wide for a backend's kernels.
///
/// # Errors
/// [`AttentionError::Unavailable`] with both widths.
pub fn check_head_dim(backend: &dyn Backend, head_dim: usize) -> Result<(), AttentionError> {
    let most = backend
        .max_head_dim()
        .and_then(|most| usize::try_from(most).ok());
    match most {
        Some(most) if head_dim > most => Err(AttentionError::Unavailable {
            backend: backend.name().to_owned(),
            reason: format!("its heads are at most {most} wide, the model's are {head_dim}"),
        }),
        _ => Ok(()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pick {
    Reference,
    CpuFlash,
    CpuFused,
    Flash,
    Cudnn,
}

/// What the choice depends on besides the case.
struct Machine {
    capability: Result<Capability, String>,
    flash: Result<(), String>,
    cudnn: Result<(), String>,
}

impl Machine {
    /// Asks driver and libtorch, for a CUDA device.
    fn of(device: Device) -> Self {
        let Device::Cuda(index) = device else {
            let none = || Err("it runs on CUDA only".to_owned());
            return Self {
                capability: Err("no CUDA device".to_owned()),
                flash: none(),
                cudnn: none(),
            };
        };
        let symbols = CudaSymbols::loaded();
        Self {
            capability: Capability::of(index),
            flash: symbols.has_flash().map_err(str::to_owned),
            cudnn: symbols.has_cudnn().map_err(str::to_owned),
        }
    }

    /// Why FlashAttention-2 cannot run the case.
    fn flash(&self, case: Case) -> Result<Capability, String> {
        if !case.device.is_cuda() {
            return Err("it runs on CUDA only".to_owned());
        }
        if !matches!(case.kind, Kind::BFloat16 | Kind::Half) {
            let kind = name(case.kind);
            return Err(format!(
                "it computes in bf16 and f16 only, the model is {kind}"
            ));
        }
        let capability = self.capability.clone()?;
        if capability < OLDEST {
            return Err(format!(
                "it needs compute capability {OLDEST}, the device has {capability}"
            ));
        }
        self.flash.clone()?;
        Ok(capability)
    }

    /// Why cuDNN cannot run the case; windows and decoding are FlashAttention-2's there too.
    fn cudnn(&self, case: Case) -> Result<Capability, String> {
        let capability = self.flash(case)?;
        self.cudnn.clone()?;
        Ok(capability)
    }
}

fn pick(request: &str, case: Case, machine: &Machine) -> Result<(Pick, String), AttentionError> {
    let unavailable = |reason: String| AttentionError::Unavailable {
        backend: request.to_owned(),
        reason,
    };
    let asked = |pick| Ok((pick, "asked for".to_owned()));
    match request {
        "auto" => Ok(automatic(case, machine)),
        "reference" => asked(Pick::Reference),
        "cpu-flash" if case.device == Device::Cpu => asked(Pick::CpuFlash),
        "cpu-fused" if case.device == Device::Cpu => {
            fused(case).map_err(unavailable).and(asked(Pick::CpuFused))
        }
        "cpu-flash" | "cpu-fused" => Err(unavailable("it runs on the CPU only".to_owned())),
        "flash" => machine
            .flash(case)
            .map_err(unavailable)
            .and(asked(Pick::Flash)),
        "cudnn" => machine
            .cudnn(case)
            .map_err(unavailable)
            .and(asked(Pick::Cudnn)),
        _ => Err(AttentionError::Unknown {
            backend: request.to_owned(),
        }),
    }
}

fn automatic(case: Case, machine: &Machine) -> (Pick, String) {
    if case.device == Device::Cpu {
        return match fused(case) {
            Ok(()) => (Pick::CpuFused, "for f32 and bf16 on the CPU".to_owned()),
            Err(reason) => (Pick::CpuFlash, format!("cpu-fused: {reason}")),
        };
    }
    let flash = match machine.flash(case) {
        Ok(capability) => capability,
        Err(reason) => return (Pick::Reference, format!("FlashAttention-2: {reason}")),
    };
    match machine.cudnn(case) {
        Ok(capability) if capability >= HOPPER => (
            Pick::Cudnn,
            format!("compute capability {capability}; windows and decoding by FlashAttention-2"),
        ),
        Ok(_) => (
            Pick::Flash,
            format!("compute capability {flash}, cuDNN's is taken from {HOPPER} on"),
        ),
        Err(reason) => (Pick::Flash, format!("cuDNN: {reason}")),
    }
}

/// Why our kernel for the CPU cannot run the case there.
fn fused(case: Case) -> Result<(), String> {
    if CpuFused::takes(case.kind) {
        return Ok(());
    }
    let kind = name(case.kind);
    Err(format!(
        "it computes f32 and bf16 only, the model is {kind}"
    ))
}

/// The dtype as users write it.
fn name(kind: Kind) -> String {
    crate::config::dtype::Dtype::of(kind)
        .map_or_else(|| format!("{kind:?}"), |dtype| dtype.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;

    fn machine(major: i32) -> Machine {
        Machine {
            capability: Ok(Capability::new(major, 0)),
            flash: Ok(()),
            cudnn: Ok(()),
        }
    }

    fn cuda(kind: Kind) -> Case {
        Case {
            device: Device::Cuda(0),
            kind,
        }
    }

    #[test]
    fn auto_on_cuda_follows_dtype_capability_and_symbols_and_says_why() {
        let bf16 = cuda(Kind::BFloat16);
        let lacks = |family: &str| format!("libtorch_cuda.so has no `{family}`");
        let cases = [
            (
                machine(9),
                bf16,
                Pick::Cudnn,
                "compute capability 9.0; windows and decoding by FlashAttention-2",
            ),
            (
                machine(12),
                cuda(Kind::Half),
                Pick::Cudnn,
                "compute capability 12.0; windows and decoding by FlashAttention-2",
            ),
            (
                machine(8),
                bf16,
                Pick::Flash,
                "compute capability 8.0, cuDNN's is taken from 9.0 on",
            ),
            (
                machine(7),
                bf16,
                Pick::Reference,
                "FlashAttention-2: it needs compute capability 8.0, the device has 7.0",
            ),
            (
                machine(9),
                cuda(Kind::Float),
                Pick::Reference,
                "FlashAttention-2: it computes in bf16 and f16 only, the model is f32",
            ),
            (
                Machine {
                    cudnn: Err(lacks("c")),
                    ..machine(9)
                },
                bf16,
                Pick::Flash,
                "cuDNN: libtorch_cuda.so has no `c`",
            ),
            (
                Machine {
                    flash: Err(lacks("f")),
                    ..machine(9)
                },
                bf16,
                Pick::Reference,
                "FlashAttention-2: libtorch_cuda.so has no `f`",
            ),
            (
                Machine {
                    capability: Err("there is no NVIDIA driver".to_owned()),
                    ..machine(9)
                },
                bf16,
                Pick::Reference,
                "FlashAttention-2: there is no NVIDIA driver",
            ),
        ];
        for (machine, case, expected, reason) in cases {
            let found = pick("auto", case, &machine).unwrap();
            assert_eq!(found, (expected, reason.to_owned()));
        }
    }

    #[test]
    fn an_explicit_backend_runs_or_says_why_not_and_is_never_replaced() {
        let bf16 = cuda(Kind::BFloat16);
        let asked = |pick| (pick, "asked for".to_owned());
        assert_eq!(
            pick("flash", bf16, &machine(9)).unwrap(),
            asked(Pick::Flash)
        );
        assert_eq!(
            pick("cudnn", bf16, &machine(8)).unwrap(),
            asked(Pick::Cudnn)
        );
        assert_eq!(
            pick("reference", cuda(Kind::Float), &machine(9)).unwrap(),
            asked(Pick::Reference)
        );
        let refused = |request, case, machine: &Machine| {
            let error = pick(request, case, machine).unwrap_err();
            assert_eq!(
                (error.code(), error.kind().exit_code()),
                ("attention.unavailable", 3)
            );
            assert_eq!(error.hint().unwrap(), "use `attention.backend = \"auto\"`");
            error.to_string()
        };
        assert_eq!(
            refused("flash", cuda(Kind::Float), &machine(9)),
            "attention backend `flash` cannot run: it computes in bf16 and f16 only, the model is f32"
        );
        assert_eq!(
            refused("cpu-fused", bf16, &machine(9)),
            "attention backend `cpu-fused` cannot run: it runs on the CPU only"
        );
        let cpu = Case {
            device: Device::Cpu,
            kind: Kind::BFloat16,
        };
        for request in ["flash", "cudnn"] {
            let text = refused(request, cpu, &Machine::of(Device::Cpu));
            assert_eq!(
                text,
                format!("attention backend `{request}` cannot run: it runs on CUDA only")
            );
        }
        let error = pick("fast", bf16, &machine(9)).unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
        assert!(
            BACKENDS
                .iter()
                .all(|name| error.to_string().contains(&format!("`{name}`")))
        );
    }

    #[test]
    fn every_name_is_known_and_is_its_backends_own() {
        let case = Case {
            device: Device::Cpu,
            kind: Kind::Float,
        };
        for name in BACKENDS {
            match choose(name, case) {
                Ok(choice) => assert_eq!(choice.backend.name(), name),
                Err(error) => assert_eq!(error.code(), "attention.unavailable"),
            }
        }
        let automatic = choose("auto", case).unwrap();
        assert_eq!(automatic.backend.name(), "cpu-fused");
        assert_eq!(automatic.reason, "for f32 and bf16 on the CPU");
    }

    #[test]
    fn heads_too_wide_for_the_kernels_are_refused_with_both_widths() {
        let flash = Flash::new(CudaSymbols::loaded());
        check_head_dim(&flash, 256).unwrap();
        check_head_dim(&Reference, 512).unwrap();
        assert_eq!(
            check_head_dim(&flash, 320).unwrap_err().to_string(),
            "attention backend `flash` cannot run: its heads are at most 256 wide, the model's are 320"
        );
    }
}
