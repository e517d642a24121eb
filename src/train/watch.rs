//! In which steps attention's gradients are looked at.

use crate::attention::Backend;
use crate::model::watch::Watch;

/// Steps from the first on: a defect that depends on shapes shows at once.
const FIRST: u64 = 10;
/// Of the later ones, every step that is a multiple of this.
const EVERY: u64 = 50;

/// Whether the step after `step` finished ones looks.
pub(super) fn at_step(backend: &dyn Backend, step: u64) -> Watch {
    if backend.is_watched() && (step < FIRST || step.is_multiple_of(EVERY)) {
        Watch::On
    } else {
        Watch::Off
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attention::flash::Flash;
    use crate::attention::reference::Reference;
    use crate::torch::cuda_symbols::CudaSymbols;

    #[test]
    fn the_first_steps_and_some_later_ones_of_watched_backends_alone() {
        let flash = Flash::new(CudaSymbols::loaded());
        let watched: Vec<u64> = (0..120)
            .filter(|step| at_step(&flash, *step) == Watch::On)
            .collect();
        assert_eq!(watched, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 50, 100]);
        assert!((0..120).all(|step| at_step(&Reference, step) == Watch::Off));
    }
}
