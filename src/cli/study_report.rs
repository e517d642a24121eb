//! What a study found: critical footprints, scores with the spread of seeds, agreement of masks, settling of runs.

use crate::checkpoint::store::{self, CheckpointStore};
use crate::cli::export_source::provenance;
use crate::cli::study_plan::Plan;
use crate::config::study::Arm;
use crate::eval::critical::join::{self, join};
use crate::eval::critical::study::Study;
use crate::eval::grid::Grid;
use crate::eval::method::MethodKind;
use crate::eval::results::{MachineIdentity, MethodResult, Part, Provenance, Results, TaskResult};
use crate::eval::saved_run;
use crate::fault::AnyFault;
use crate::metrics::jsonl;
use crate::real::real;
use crate::train::settling::Settling;
use crate::train::validation::HeldOutLoss;
use agreement::{ArmAgreement, ArmMasks, MaskAgreement};
use ends::RunEnd;

mod agreement;
mod ends;
mod lines;

/// Name and version of the JSON form.
const SCHEMA: &str = "prulong.study/1";

/// Everything a study found.
#[derive(Debug, serde::Serialize)]
pub(super) struct StudyReport {
    schema: &'static str,
    seeds: Vec<u64>,
    sparsities: Vec<f64>,
    arms: Vec<ArmReport>,
    /// Between the masks of two arms.
    between_arms: Vec<ArmAgreement>,
    /// Critical footprints of all arms on the same items.
    critical: Study,
}

/// One arm.
#[derive(Debug, serde::Serialize)]
struct ArmReport {
    name: String,
    about: String,
    /// What its answers are from: no paths, so that a report can be passed on.
    answers: Answers,
    scores: Vec<SizeScores>,
    /// Among the masks of its seeds.
    agreement: Vec<MaskAgreement>,
    settling: Vec<SeedSettling>,
    /// Of training runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ends: Vec<RunEnd>,
    /// Of runs with a `[validation]`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held_out: Vec<SeedHeldOut>,
}

/// What computed answers, and to which items.
#[derive(Debug, serde::Serialize)]
struct Answers {
    version: String,
    commit: Option<String>,
    machine: MachineIdentity,
    grid: Grid,
}

impl From<Provenance> for Answers {
    fn from(provenance: Provenance) -> Self {
        Self {
            version: provenance.version,
            commit: provenance.commit,
            machine: provenance.machine,
            grid: provenance.grid,
        }
    }
}

/// Masks of one size on one task, one for each seed.
#[derive(Debug, serde::Serialize)]
struct SizeScores {
    model: String,
    chunk_len: usize,
    task: String,
    length: usize,
    num_retrieval: usize,
    /// What full attention scores on the same items.
    full: f64,
    /// One for each mask of this size.
    scores: Vec<f64>,
}

/// When a run's mask stopped changing.
#[derive(Debug, serde::Serialize)]
struct SeedSettling {
    seed: u64,
    sparsity: f64,
    settling: Settling,
}

/// Losses on held-out rows over a run.
#[derive(Debug, serde::Serialize)]
struct SeedHeldOut {
    seed: u64,
    looks: Vec<HeldOutLoss>,
}

/// Reads everything that the complete `arms` left.
///
/// # Errors
/// An answer, mask or checkpoint that cannot be read.
pub(super) fn report(plan: &Plan<'_>, arms: &[&Arm]) -> Result<StudyReport, AnyFault> {
    let (mut reports, mut studies, mut masks) = (Vec::new(), Vec::new(), Vec::new());
    for arm in arms {
        let results = saved_run::read(&plan.answers(arm))?;
        studies.push(join::Arm {
            name: arm.name().to_owned(),
            study: Study::of(&results, plan.study.keep)?,
        });
        let own = ArmMasks::load(plan, arm)?;
        reports.push(arm_report(plan, arm, (results, &own))?);
        masks.push(own);
    }
    let critical = join(studies).unwrap_or_else(|| unreachable!("there is an arm"));
    Ok(StudyReport {
        schema: SCHEMA,
        seeds: plan.study.seeds.clone(),
        sparsities: plan.study.sparsities.clone(),
        arms: reports,
        between_arms: agreement::between(&masks),
        critical,
    })
}

fn arm_report(
    plan: &Plan<'_>,
    arm: &Arm,
    (results, masks): (Results, &ArmMasks),
) -> Result<ArmReport, AnyFault> {
    Ok(ArmReport {
        name: arm.name().to_owned(),
        about: arm.about().to_owned(),
        scores: scores(&results),
        agreement: masks.among_seeds(),
        settling: settling(plan, arm)?,
        ends: ends::ends(plan, arm)?,
        held_out: held_out(plan, arm)?,
        answers: results.provenance.into(),
    })
}

/// Every size of masks on every task and length.
fn scores(results: &Results) -> Vec<SizeScores> {
    let mut all = Vec::new();
    for part in &results.parts {
        for task in &part.tasks {
            for length in &results.provenance.grid.lengths {
                all.extend(of_length(part, task, *length));
            }
        }
    }
    all
}

fn of_length(part: &Part, task: &TaskResult, length: usize) -> Vec<SizeScores> {
    let score_of = |method: &MethodResult| {
        let mut lengths = method.summary.lengths.iter();
        let mean = lengths.find(|mean| mean.length == length)?;
        let pair = mean.scores.get(&task.task.metric)?;
        Some(pair.of(task.task.headline).mean)
    };
    let mut methods = task.methods.iter();
    let full = methods.find(|method| method.kind == MethodKind::Full);
    let full = full.and_then(score_of).unwrap_or(0.0);
    let mut sizes: Vec<SizeScores> = Vec::new();
    let masks = task
        .methods
        .iter()
        .filter(|method| method.kind == MethodKind::Mask);
    for method in masks {
        let Some((num_retrieval, score)) = method.num_retrieval().zip(score_of(method)) else {
            continue;
        };
        match sizes
            .iter_mut()
            .find(|size| size.num_retrieval == num_retrieval)
        {
            Some(size) => size.scores.push(score),
            None => sizes.push(SizeScores {
                model: part.model.name.clone(),
                chunk_len: part.chunk_len,
                task: task.task.name.clone(),
                length,
                num_retrieval,
                full,
                scores: vec![score],
            }),
        }
    }
    sizes
}

/// Of every run, at every size.
fn settling(plan: &Plan<'_>, arm: &Arm) -> Result<Vec<SeedSettling>, AnyFault> {
    let mut all = Vec::new();
    if !matches!(arm, Arm::Train { .. }) {
        return Ok(all);
    }
    for seed in &plan.study.seeds {
        let run = plan.run(arm.name(), *seed);
        let plateaus = provenance(&run)?.plateaus;
        let checkpoints = CheckpointStore::read_only(run.join(store::DIR_NAME));
        for sparsity in &plan.study.sparsities {
            // A mask of a target that the run left is of the gates of then.
            let mut left = plateaus.iter();
            let left = left.find(|plateau| plateau.sparsity.to_bits() == sparsity.to_bits());
            let until = left.map(|plateau| plateau.step);
            let found = Settling::read(&checkpoints, *sparsity, until)?;
            all.extend(found.map(|settling| SeedSettling {
                seed: *seed,
                sparsity: *sparsity,
                settling,
            }));
        }
    }
    Ok(all)
}

/// Of every run that looked at held-out rows.
fn held_out(plan: &Plan<'_>, arm: &Arm) -> Result<Vec<SeedHeldOut>, AnyFault> {
    let mut all = Vec::new();
    if !matches!(arm, Arm::Train { .. }) {
        return Ok(all);
    }
    for seed in &plan.study.seeds {
        let metrics = plan.run(arm.name(), *seed).join(jsonl::FILE_NAME);
        let looks = HeldOutLoss::all(&jsonl::read(&metrics)?);
        if !looks.is_empty() {
            all.push(SeedHeldOut { seed: *seed, looks });
        }
    }
    Ok(all)
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0_usize), |(sum, count), value| {
        (sum + value, count + 1)
    });
    sum / real(count.max(1))
}
