//! The CUDA attention backends on a real device, against the reference in f32 on the same device.
//!
//! Without a CUDA device these tests say so and check nothing; the same cases run on the CPU, through stand-ins for
//! libtorch's functions, among the unit tests of `attention`.

use prulong::attention::choose::{Case, choose};
use prulong::attention::reference::Reference;
use prulong::attention::{Attended, Backend, InputGrads, Qkv, Visibility, streaming};
use prulong::span::Span;
use prulong::torch::capability::Capability;
use prulong::torch::cuda;
use tch::{Device, Kind, Tensor};

const CUDA: Device = Device::Cuda(0);

/// The backends of the first CUDA device that can run bf16; none without one.
#[expect(clippy::print_stderr, reason = "a test that does not run says so")]
fn backends() -> Vec<Box<dyn Backend>> {
    if let Err(reason) = cuda::usable_devices() {
        eprintln!("not run: {reason}");
        return Vec::new();
    }
    let case = Case {
        device: CUDA,
        kind: Kind::BFloat16,
    };
    // Nothing but an old device keeps them from running where CUDA does.
    match Capability::of(0) {
        Ok(capability) if capability < Capability::new(8, 0) => {
            eprintln!("not run: compute capability {capability}");
            Vec::new()
        }
        _ => ["flash", "cudnn"]
            .map(|name| choose(name, case).unwrap_or_else(|error| panic!("{name}: {error}")))
            .map(|choice| choice.backend)
            .into(),
    }
}

/// Reproducible numbers that look drawn, in bf16 on the device.
fn waves(seed: f64, shape: &[i64]) -> Tensor {
    let count: i64 = shape.iter().product();
    let steps = Tensor::arange(count, (Kind::Double, CUDA));
    let wave = ((steps + 1) * (seed + 0.37)).sin() * 1.5;
    wave.view(shape).to_kind(Kind::BFloat16)
}

/// q, k, v and dout of a square problem, or of one with `s` keys.
struct Problem {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dout: Tensor,
}

impl Problem {
    fn new((b, t, s): (i64, i64, i64), (kv, group, d): (i64, i64, i64)) -> Self {
        Self {
            q: waves(1.0, &[b, t, kv * group, d]),
            k: waves(2.0, &[b, s, kv, d]),
            v: waves(3.0, &[b, s, kv, d]),
            dout: waves(4.0, &[b, t, kv * group, d]),
        }
    }

    fn in_f32(&self) -> Self {
        let wide = |x: &Tensor| x.to_kind(Kind::Float);
        Self {
            q: wide(&self.q),
            k: wide(&self.k),
            v: wide(&self.v),
            dout: wide(&self.dout),
        }
    }

    fn qkv(&self) -> Qkv<'_> {
        Qkv {
            q: &self.q,
            k: &self.k,
            v: &self.v,
        }
    }
}

fn largest(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

/// Twice the error of the plain composition in bf16, and one unit in the last place.
#[track_caller]
fn assert_within(found: &Tensor, naive: &Tensor, oracle: &Tensor, what: &str) {
    assert_eq!(found.size(), oracle.size(), "{what}");
    let error = |x: &Tensor| largest(&(x.to_kind(Kind::Float) - oracle));
    let allowed = 2.0 * error(naive) + 2.0_f64.powi(-8) * largest(oracle);
    assert!(
        error(found) <= allowed,
        "{what}: {:e} > {allowed:e}",
        error(found)
    );
}

type Solve<'a> = &'a dyn Fn(&dyn Backend, &Problem) -> (Attended, InputGrads);

/// `solve` by `backend` in bf16 against the reference in f32, with the reference in bf16 as the plain composition.
fn check(backend: &dyn Backend, problem: &Problem, solve: Solve<'_>, what: &str) {
    let (oracle, oracle_grads) = solve(&Reference, &problem.in_f32());
    let (naive, naive_grads) = solve(&Reference, problem);
    let (found, grads) = solve(backend, problem);
    let what = format!("{} {what}", backend.name());
    assert_within(&found.out, &naive.out, &oracle.out, &format!("{what}: out"));
    assert_within(&found.lse, &naive.lse, &oracle.lse, &format!("{what}: lse"));
    for (name, found, naive, oracle) in [
        ("dq", &grads.dq, &naive_grads.dq, &oracle_grads.dq),
        ("dk", &grads.dk, &naive_grads.dk, &oracle_grads.dk),
        ("dv", &grads.dv, &naive_grads.dv, &oracle_grads.dv),
    ] {
        assert_within(found, naive, oracle, &format!("{what}: {name}"));
    }
}

fn check_dense(backend: &dyn Backend, problem: &Problem, visibility: Visibility) {
    let what = format!(
        "{visibility:?} q {:?} k {:?}",
        problem.q.size(),
        problem.k.size()
    );
    let solve = |backend: &dyn Backend, problem: &Problem| {
        let attended = backend.forward(problem.qkv(), visibility);
        let grads = backend.backward(&problem.dout, problem.qkv(), &attended, visibility);
        (attended, grads)
    };
    check(backend, problem, &solve, &what);
}

#[test]
fn causal_attention_at_every_kind_of_length_and_number_of_kv_heads() {
    for backend in backends() {
        for n in [1, 113, 128, 256, 1023, 1024, 4096] {
            for d in [64, 128] {
                let problem = Problem::new((1, n, n), (8, 4, d));
                check_dense(&*backend, &problem, Visibility::Causal);
            }
        }
        for kv in 1..8 {
            let problem = Problem::new((1, 256, 256), (kv, 4, 128));
            check_dense(&*backend, &problem, Visibility::Causal);
        }
    }
}

#[test]
fn unequal_lengths_windows_and_one_query() {
    for backend in backends() {
        for (t, s) in [(1, 1023), (1, 4096), (5, 40), (128, 1152), (256, 1024)] {
            let problem = Problem::new((2, t, s), (8, 4, 128));
            check_dense(&*backend, &problem, Visibility::All);
            check_dense(&*backend, &problem, Visibility::Causal);
            check_dense(&*backend, &problem, Visibility::Window(37));
        }
    }
}

#[test]
fn rows_of_very_negative_lse() {
    for backend in backends() {
        let Problem { q, k, v, dout } = Problem::new((1, 192, 192), (2, 4, 128));
        let problem = Problem {
            q: q.abs() * 8.0,
            k: k.abs() * -8.0,
            v,
            dout,
        };
        let lse = Reference.forward(problem.qkv(), Visibility::Causal).lse;
        assert!(lse.max().double_value(&[]) < -88.7);
        check_dense(&*backend, &problem, Visibility::Causal);
    }
}

#[test]
fn streaming_in_blocks_and_exact_to_the_token() {
    for backend in backends() {
        for (sink, window, block) in [(128, 1024, 128), (128, 1024, 1), (0, 256, 1), (16, 64, 16)] {
            let span = Span::new(sink, window, block).unwrap();
            let problem = Problem::new((1, 3000, 3000), (2, 4, 128));
            let solve = |backend: &dyn Backend, problem: &Problem| {
                let attended = streaming::forward(backend, problem.qkv(), &span);
                let (dout, qkv) = (&problem.dout, problem.qkv());
                let grads = streaming::backward(backend, dout, qkv, &attended, &span);
                (attended, grads)
            };
            check(&*backend, &problem, &solve, &format!("{span:?}"));
        }
    }
}
