//! How far the masks of a study agree: among the seeds of an arm, and between arms.

use super::mean;
use crate::cli::study_plan::Plan;
use crate::config::study::Arm;
use crate::fault::AnyFault;
use crate::mask::agreement::Agreement;
use crate::mask::export::SIDECAR_NAME;
use crate::mask::sidecar::content::Sidecar;
use crate::mask::sidecar::read;
use crate::real::real;
use crate::train::error::TrainError;
use std::path::Path;

/// How far pairs of masks of one size agree.
#[derive(Debug, serde::Serialize)]
pub(super) struct MaskAgreement {
    pub(super) sparsity: f64,
    pub(super) num_pairs: usize,
    pub(super) mean_jaccard: f64,
    pub(super) least_jaccard: f64,
    /// Of two random masks of this size: shared heads expected, over the union that leaves.
    pub(super) chance_jaccard: f64,
    /// Correlation of the orders.
    pub(super) mean_spearman: Option<f64>,
}

/// How far the masks of two arms agree, over all pairs of their seeds.
#[derive(Debug, serde::Serialize)]
pub(super) struct ArmAgreement {
    pub(super) first: String,
    pub(super) second: String,
    pub(super) agreement: MaskAgreement,
}

/// The masks of an arm.
pub(super) struct ArmMasks {
    name: String,
    /// By sparsity, one for each seed.
    sizes: Vec<(f64, Vec<Sidecar>)>,
}

impl ArmMasks {
    /// Reads every mask that `arm` cut.
    ///
    /// # Errors
    /// A mask that cannot be read.
    pub(super) fn load(plan: &Plan<'_>, arm: &Arm) -> Result<Self, AnyFault> {
        let mut sizes = Vec::new();
        for sparsity in plan.study.sparsities.iter().filter(|_| arm.has_seeds()) {
            let seeds = plan.study.seeds.iter();
            let masks = seeds.map(|seed| sidecar(&plan.mask(arm.name(), *seed, *sparsity)));
            sizes.push((*sparsity, masks.collect::<Result<_, _>>()?));
        }
        let name = arm.name().to_owned();
        Ok(Self { name, sizes })
    }

    /// Over all pairs of seeds; nothing for a single one.
    pub(super) fn among_seeds(&self) -> Vec<MaskAgreement> {
        let size = |(sparsity, masks): &(f64, Vec<Sidecar>)| {
            let pairs = masks.iter().enumerate().flat_map(|(at, first)| {
                let others = masks.iter().skip(at + 1);
                others.map(move |second| (first, second))
            });
            MaskAgreement::of(*sparsity, pairs)
        };
        self.sizes.iter().filter_map(size).collect()
    }
}

/// Of every pair of arms, at every size.
pub(super) fn between(arms: &[ArmMasks]) -> Vec<ArmAgreement> {
    let pairs = arms.iter().enumerate().flat_map(|(at, first)| {
        let others = arms.iter().skip(at + 1);
        others.map(move |second| (first, second))
    });
    let of_pair = |(first, second): (&ArmMasks, &ArmMasks)| -> Vec<ArmAgreement> {
        let sizes = first.sizes.iter().zip(&second.sizes);
        let agreement = sizes.filter_map(|((sparsity, masks), (_, others))| {
            let pairs = masks
                .iter()
                .flat_map(|mask| others.iter().map(move |other| (mask, other)));
            MaskAgreement::of(*sparsity, pairs)
        });
        let named = agreement.map(|agreement| ArmAgreement {
            first: first.name.clone(),
            second: second.name.clone(),
            agreement,
        });
        named.collect()
    };
    pairs.flat_map(of_pair).collect()
}

impl MaskAgreement {
    fn of<'a>(
        sparsity: f64,
        pairs: impl Iterator<Item = (&'a Sidecar, &'a Sidecar)>,
    ) -> Option<Self> {
        let pairs = pairs.filter_map(|(first, second)| Agreement::of(first, second));
        let pairs: Vec<Agreement> = pairs.collect();
        let spearman: Option<Vec<f64>> = pairs.iter().map(|pair| pair.spearman).collect();
        let least = pairs.iter().map(|pair| pair.jaccard).reduce(f64::min);
        least.map(|least_jaccard| Self {
            sparsity,
            num_pairs: pairs.len(),
            mean_jaccard: mean(pairs.iter().map(|pair| pair.jaccard)),
            least_jaccard,
            chance_jaccard: mean(pairs.iter().map(by_chance)),
            mean_spearman: spearman.map(|all| mean(all.into_iter())),
        })
    }
}

fn sidecar(folder: &Path) -> Result<Sidecar, AnyFault> {
    let path = folder.join(SIDECAR_NAME);
    let file = std::fs::File::open(&path).map_err(|source| TrainError::Open {
        path: path.clone(),
        source,
    })?;
    Ok(read::read(file, &path)?.sidecar)
}

fn by_chance(pair: &Agreement) -> f64 {
    let kept = 2 * pair.both + pair.only_first + pair.only_second;
    let union = real(kept) - pair.both_by_chance;
    if union > 0.0 {
        pair.both_by_chance / union
    } else {
        1.0
    }
}
