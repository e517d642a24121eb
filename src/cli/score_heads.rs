//! `prulong score-heads`.

use crate::attention::gated::GatedAttention;
use crate::cli::coded_text::{CodedText, coded};
use crate::cli::compute::{Compute, ComputeArgs};
use crate::cli::export_report::{Exported, Report};
use crate::cli::foreign_file::CutArgs;
use crate::cli::mask_out::WriteArgs;
use crate::cli::output::{self, Output};
use crate::cli::publish::{self, Overwrite, Product};
use crate::cli::run_setup::pass_settings;
use crate::config::data::{StreamSpec, StreamWeight};
use crate::config::loss::{LossSettings, MemorySettings};
use crate::data::generate::needle_tokens::NeedleTokens;
use crate::data::loader::{Loader, LoaderSettings, PackedRow};
use crate::data::tokenizer::Tokenizer;
use crate::fault::{AnyFault, Coded, Kind};
use crate::mask::error::MaskWarning;
use crate::mask::export::files;
use crate::mask::foreign::content::{Content, Foreign};
use crate::mask::foreign::import::{Request, import};
use crate::mask::provenance::folder_name;
use crate::mask::sidecar::content::{Base, Sidecar};
use crate::mask::sidecar::read::one_class;
use crate::model::fingerprint::arch_facts;
use crate::model::llama::Llama;
use crate::model::train_pass::{Row, TrainPass};
use crate::model::weights::Weights;
use crate::random;
use crate::span::Span;
use crate::train::head_scores::loss_slope::loss_slope;
use crate::train::head_scores::needle_mass::{Probe, needle_mass, probe};
use crate::train::head_scores::outside_mass::outside_mass;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

/// Score kv heads without training, and write a mask with their order.
///
/// Reads a few packed rows of text and scores every kv head by how much it looks further than a streaming head could. The mask is
/// cut at `--sparsity` or `--num-retrieval`; it holds the scores and the whole order, so `prulong export-mask MASK` cuts others
/// from it, and `gates.init = { kind = "scores", path = MASK }` starts a training run from it.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Folder of the model: config.json, safetensors, tokenizer.json.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// Folder of packed rows, tokenized for this model; several are mixed, each with its share of all rows. Every score but
    /// `random` needs one.
    #[arg(long, value_name = "DIR")]
    data: Vec<PathBuf>,

    /// What a head's score is.
    #[arg(long, value_enum, value_name = "SCORE", default_value_t = ScoreName::LossSlope)]
    by: ScoreName,

    /// Rows to read.
    #[arg(long, value_name = "N", default_value = "16")]
    rows: NonZeroUsize,

    /// Seed of the rows' order, and of needles.
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,

    /// Leading tokens that a streaming head would see.
    #[arg(long, value_name = "TOKENS")]
    sink_len: usize,

    /// Most recent tokens that a streaming head would see, the query's own included.
    #[arg(long, value_name = "TOKENS")]
    window_len: usize,

    /// Granularity of the streaming pattern, in tokens.
    #[arg(long, value_name = "TOKENS", default_value_t = 1)]
    block_len: usize,

    #[command(flatten)]
    cut: CutArgs,

    /// Folder to write.
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    #[command(flatten)]
    write: WriteArgs,

    #[command(flatten)]
    compute: ComputeArgs,

    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A score.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum ScoreName {
    /// How much the next-token loss falls as the head opens, to first order, with every gate half open.
    LossSlope,
    /// Mean attention mass outside sinks and window.
    OutsideMass,
    /// Mean attention mass on a line hidden in the text, where the number that it states is asked for.
    NeedleMass,
    /// Drawn from the seed: the control. Reads no rows.
    Random,
}

impl ScoreName {
    /// `prulong.source` of the mask.
    fn source(self) -> &'static str {
        match self {
            Self::LossSlope => "loss-slope",
            Self::OutsideMass => "outside-mass",
            Self::NeedleMass => "needle-mass",
            Self::Random => "random",
        }
    }
}

/// Why there are no scores.
#[derive(Debug, thiserror::Error)]
enum ScoreError {
    #[error(
        "no document of the {num_rows} rows is longer than sink {sink_len} + window {window_len} tokens"
    )]
    TooShort {
        num_rows: usize,
        sink_len: usize,
        window_len: usize,
    },
    #[error("`--by {by}` reads rows, and no `--data` names any")]
    NoData { by: &'static str },
    #[error("`--by random` reads no rows, and `--data` names some")]
    UnusedData,
    #[error("none of the {num_rows} rows has a token to predict")]
    NoTarget { num_rows: usize },
    #[error("a head's score is not finite")]
    NotFinite,
}

impl Coded for ScoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::TooShort { .. } => "score.short_rows",
            Self::NoData { .. } => "score.no_data",
            Self::UnusedData => "score.unused_data",
            Self::NoTarget { .. } => "score.no_target",
            Self::NotFinite => "score.not_finite",
        }
    }
    fn kind(&self) -> Kind {
        match self {
            Self::NoData { .. }
            | Self::UnusedData
            | Self::TooShort { .. }
            | Self::NoTarget { .. } => Kind::Input,
            Self::NotFinite => Kind::Numerical,
        }
    }
    fn hint(&self) -> Option<String> {
        match self {
            Self::TooShort { .. } => {
                Some("give longer rows, more of them, or a smaller `--window-len`".to_owned())
            }
            Self::NoData { .. } => Some("`prulong pack` makes rows of text".to_owned()),
            Self::UnusedData => Some("leave `--data` out".to_owned()),
            Self::NoTarget { .. } => Some("give rows of plain text".to_owned()),
            Self::NotFinite => None,
        }
    }
}

/// Scores the heads and writes the mask.
///
/// # Errors
/// If model, data or span are unusable, or other files are in the way.
pub fn run(args: Args) -> Result<(), AnyFault> {
    let span = Span::new(args.sink_len, args.window_len, args.block_len)?;
    let compute = args.compute.choose()?;
    let model = Llama::load(&args.model, compute.dtype.kind(), compute.device)?;
    compute.check(&model.config().shape)?;
    let (rows, data_id) = args.read_rows(&model)?;
    let scores = args.scores(&model, &compute, &span, &rows)?;
    if scores.iter().any(|score| !score.is_finite()) {
        return Err(ScoreError::NotFinite.into());
    }
    let (sidecar, warnings) = args.sidecar(&model, scores, data_id)?;
    let report = args.publish(&sidecar, coded(&warnings))?;
    if args.json {
        output::json(&report)?;
        return Ok(());
    }
    args.print(&sidecar)?;
    for mask in &report.masks {
        mask.warnings.iter().for_each(CodedText::note);
    }
    report.print()
}

impl Args {
    /// The rows, and the fingerprint of the data they are from, for a score that reads any.
    fn read_rows(&self, model: &Llama) -> Result<(Vec<PackedRow>, Option<String>), AnyFault> {
        if self.by == ScoreName::Random && !self.data.is_empty() {
            return Err(ScoreError::UnusedData.into());
        }
        if self.by == ScoreName::Random {
            return Ok((Vec::new(), None));
        }
        if self.data.is_empty() {
            let by = self.by.source();
            return Err(ScoreError::NoData { by }.into());
        }
        let streams: Vec<StreamSpec> = self
            .data
            .iter()
            .map(|path| StreamSpec {
                path: path.clone(),
                weight: StreamWeight::Repeat(1.0),
            })
            .collect();
        let settings = LoaderSettings {
            seed: self.seed,
            vocab_size: Some(model.config().vocab_size as u64),
            ..LoaderSettings::default()
        };
        let mut loader = Loader::open(&streams, &settings)?;
        let rows = (0..self.rows.get()).map(|_| loader.next_row());
        let rows: Vec<PackedRow> = rows.collect::<Result<_, _>>()?;
        Ok((rows, Some(loader.fingerprint())))
    }

    fn scores(
        &self,
        model: &Llama,
        compute: &Compute,
        span: &Span,
        rows: &[PackedRow],
    ) -> Result<Vec<f64>, AnyFault> {
        let pass = TrainPass {
            model,
            attention: GatedAttention {
                backend: &*compute.backend,
                span: Some(span),
            },
            settings: pass_settings(
                &MemorySettings::default(),
                &LossSettings::default(),
                compute.device,
            )?,
        };
        let num_rows = rows.len();
        let of_text = || -> Vec<Row> {
            let row = |row: &PackedRow| Row::new(model, &row.ids, &row.labels, &row.doc_lens);
            rows.iter().map(row).collect()
        };
        let too_short = ScoreError::TooShort {
            num_rows,
            sink_len: self.sink_len,
            window_len: self.window_len,
        };
        Ok(match self.by {
            ScoreName::LossSlope => {
                loss_slope(&pass, &of_text()).ok_or(ScoreError::NoTarget { num_rows })?
            }
            ScoreName::OutsideMass => outside_mass(&pass, span, &of_text()).ok_or(too_short)?,
            ScoreName::NeedleMass => {
                needle_mass(&pass, &self.probes(rows)?).ok_or(ScoreError::NoTarget { num_rows })?
            }
            ScoreName::Random => {
                let mut rng = random::stream("random head scores", &[self.seed]);
                let gates = 0..model.config().shape.num_gates();
                gates.map(|_| random::uniform(&mut rng)).collect()
            }
        })
    }

    /// A needle in every row's text.
    fn probes(&self, rows: &[PackedRow]) -> Result<Vec<Probe>, AnyFault> {
        let tokenizer = Arc::new(Tokenizer::from_file(&self.model)?);
        let tokens = NeedleTokens::new(tokenizer)?;
        let probe = |(index, row): (u64, &PackedRow)| {
            let text: Vec<u32> = row
                .ids
                .iter()
                .filter_map(|id| u32::try_from(*id).ok())
                .filter(|id| *id != tokens.bos())
                .collect();
            probe(&tokens, &text, row.ids.len(), (self.seed, index))
        };
        let probes = (0..).zip(rows).map(probe);
        Ok(probes.collect::<Result<_, _>>()?)
    }

    fn sidecar(
        &self,
        model: &Llama,
        scores: Vec<f64>,
        data_id: Option<String>,
    ) -> Result<(Sidecar, Vec<MaskWarning>), AnyFault> {
        let config = model.config();
        let shape = config.shape;
        let foreign = Foreign::of(Content::Scores {
            num_layers: shape.num_layers,
            num_kv_heads: shape.num_kv_heads,
            scores,
        });
        let request = Request {
            target: self.cut.target(),
            sink_len: Some(self.sink_len),
            window_len: Some(self.window_len),
            block_len: self.block_len,
            base: Base {
                model: folder_name(&self.model),
                revision: None,
                arch: arch_facts(config),
                weights_sha256: Some(Weights::open(&self.model, config)?.base_sha256(config)?),
                weights_modified: false,
                rebased_from: None,
            },
            source: self.by.source(),
        };
        let (mut sidecar, mut warnings) = import(foreign, request)?;
        let mut note =
            |key: &str, value| sidecar.other.insert(format!("prulong.score.{key}"), value);
        note("seed", self.seed.to_string());
        if let Some(data_id) = data_id {
            note("data_id", data_id);
            note("num_rows", self.rows.to_string());
        }
        warnings.extend(one_class(&sidecar.mask));
        Ok((sidecar, warnings))
    }

    fn publish(&self, sidecar: &Sidecar, warnings: Vec<CodedText>) -> Result<Report, AnyFault> {
        let files = files(sidecar);
        let overwrite = Overwrite::if_asked(self.write.force);
        publish::check(&self.output, &files, overwrite, Product::Mask)?;
        if !self.write.dry_run {
            publish::write(&self.output, &files)?;
        }
        let names = files.into_iter().map(|file| file.name).collect();
        let place = (self.output.clone(), names);
        let exported = Exported::new(sidecar, place, !self.write.dry_run, warnings);
        Ok(Report::new(vec![exported]))
    }

    /// The scores, layer by layer.
    fn print(&self, sidecar: &Sidecar) -> Result<(), AnyFault> {
        let mut out = Output::stdout();
        out.line(format!("{} of every kv head:", self.by.source()))?;
        let scores = sidecar.gate_score.as_deref().unwrap_or_default();
        let layers = scores.chunks(sidecar.mask.num_kv_heads().max(1));
        for (layer, scores) in layers.enumerate() {
            let scores: Vec<String> = scores.iter().map(|score| format!("{score:9.2e}")).collect();
            out.line(format!("  layer {layer:>3}: {}", scores.join(" ")))?;
        }
        out.finish()?;
        Ok(())
    }
}
