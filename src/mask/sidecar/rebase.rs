//! A mask for a model whose vocabulary grew: added tokens change the architecture's fingerprint and nothing that a mask depends on.

use super::content::{Base, Sidecar};
use super::fit::{Model, check_model, strict};
use crate::mask::error::MaskError;
use std::path::Path;

/// Binds a mask to `model`, called `name`, and remembers what it was bound to. `file` only names the mask in errors.
///
/// # Errors
/// That the model differs in more than the size of its vocabulary: what [`check_model`] refuses and what it warns about.
pub fn rebase(
    sidecar: &Sidecar,
    model: &Model<'_>,
    name: &str,
    file: &Path,
) -> Result<Sidecar, MaskError> {
    let base = &sidecar.base;
    let mut arch = model.arch.clone();
    arch.vocab_size = base.arch.vocab_size;
    let but_for_vocabulary = Model {
        arch: &arch,
        ..*model
    };
    strict(&check_model(sidecar, &but_for_vocabulary, file)?, file)?;
    let (old, new) = (base.arch.fingerprint(), model.arch.fingerprint());
    if old == new {
        return Ok(sidecar.clone());
    }
    Ok(Sidecar {
        base: Base {
            model: name.to_owned(),
            revision: model.revision.map(str::to_owned),
            arch: model.arch.clone(),
            weights_sha256: base.weights_sha256.clone(),
            weights_modified: base.weights_modified,
            rebased_from: Some(old),
        },
        ..sidecar.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Coded;
    use crate::mask::provenance::tests::published;
    use crate::mask::sidecar::cut::{Target, TrainedGates, trained};
    use crate::mask::sidecar::read::parse;
    use crate::mask::sidecar::write;

    fn sample() -> Sidecar {
        let gates = TrainedGates {
            log_alpha: &[0.5; 256],
            num_steps: 1,
        };
        trained(gates, &published(), Target::NumRetrieval(76)).unwrap()
    }

    #[test]
    fn a_larger_vocabulary_is_accepted_and_recorded() {
        let sidecar = sample();
        let mut arch = sidecar.base.arch.clone();
        arch.vocab_size += 8;
        let model = Model {
            arch: &arch,
            revision: None,
            weights_sha256: None,
        };
        let file = Path::new("m");
        assert!(check_model(&sidecar, &model, file).is_err());
        let rebased = rebase(&sidecar, &model, "tuned", file).unwrap();
        assert_eq!(check_model(&rebased, &model, file).unwrap(), []);
        assert_eq!(rebased.base.model, "tuned");
        let old = sidecar.base.arch.fingerprint();
        assert_eq!(rebased.base.rebased_from, Some(old));
        assert_eq!(rebased.ranks, sidecar.ranks);
        let bytes = write::to_bytes(&rebased);
        assert_eq!(parse(&bytes, file).unwrap().sidecar, rebased);
        let again = rebase(&rebased, &model, "other", file).unwrap();
        assert_eq!(again, rebased);
    }

    #[test]
    fn whatever_else_differs_is_refused() {
        let mut sidecar = sample();
        sidecar.base.weights_sha256 = Some("aa".to_owned());
        let refused = |edit: fn(&mut crate::mask::arch::ArchFacts), weights| {
            let mut arch = sidecar.base.arch.clone();
            arch.vocab_size += 8;
            edit(&mut arch);
            let model = Model {
                arch: &arch,
                revision: None,
                weights_sha256: weights,
            };
            rebase(&sidecar, &model, "x", Path::new("m")).map_err(|error| error.code())
        };
        assert!(refused(|_| (), Some("aa")).is_ok());
        assert_eq!(refused(|_| (), Some("bb")), Err("mask.base_weights"));
        let longer = |arch: &mut crate::mask::arch::ArchFacts| arch.max_position_embeddings *= 2;
        assert_eq!(refused(longer, None), Err("mask.base_config"));
        let wider = |arch: &mut crate::mask::arch::ArchFacts| arch.hidden_size *= 2;
        assert_eq!(refused(wider, None), Err("mask.base_arch"));
    }
}
