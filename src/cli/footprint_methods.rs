//! The arguments of `prulong footprint` that say what is held, and what they mean as holdings.

use crate::cli::amounts::{parse_share, parse_word};
use crate::cli::footprint_masks::Masks;
use crate::cli::shape_args::Model;
use crate::eval::error::EvalError;
use crate::eval::method::Streaming;
use crate::eval::method_spec::MethodSpec;
use crate::fault::{AnyFault, Coded, Kind};
use crate::footprint::eviction::TokenSparsity;
use crate::footprint::gap::{Cause, Gap};
use crate::footprint::holdings::{Holdings, StreamingHeads};
use crate::footprint::locret::Locret;
use crate::footprint::workload::{Convention, Workload};
use crate::infer::policy::Policy as _;
use crate::infer::policy::evicting::EvictionPolicy;
use crate::mask::rounding::Rounding;
use crate::mask::sidecar::read::Checked;
use crate::span::{Span, StreamingRule};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The published sink and window, in tokens.
const PUBLISHED: (usize, usize) = (128, 1024);

/// What is held.
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true, id = "methods_group")]
pub(super) struct HeldArgs {
    /// Nominal shares of streaming kv heads, as published plots use them, separated by commas.
    #[arg(long = "sparsity", value_name = "SHARE", value_delimiter = ',', value_parser = parse_share)]
    sparsities: Vec<f64>,

    /// Masks whose heads are counted: each a `head_mask.safetensors`, or the folder that holds it.
    #[arg(long = "mask", value_name = "PATH", num_args = 1..)]
    masks: Vec<PathBuf>,

    /// Methods as `prulong eval` names them, separated by commas: `all-streaming`, `streaming-llm`, `snapkv:0.5`,
    /// `pyramidkv:0.7:patch`, ...; and `locret:SPARSITY`.
    #[arg(long = "method", value_name = "METHOD", value_delimiter = ',')]
    methods: Vec<Planned>,
}

/// How streaming heads stream.
#[derive(clap::Args, Debug)]
pub(super) struct SpanArgs {
    /// What a streaming head sees of a chunk: `sliding`, `duo-chunk` or `frozen-prompt`. Unless named, the mask file's, else
    /// `sliding`; the reference's script knows only `duo-chunk`.
    #[arg(long, value_parser = parse_word::<StreamingRule>)]
    rule: Option<StreamingRule>,

    /// Leading tokens a streaming head always sees. Unless named, the mask file's, else 128.
    #[arg(long, value_name = "TOKENS")]
    sink: Option<usize>,

    /// Most recent tokens a streaming head sees, the query's own included. Unless named, the mask file's, else 1024.
    #[arg(long, value_name = "TOKENS")]
    window: Option<usize>,
}

/// A method with a formula.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Planned {
    /// One that can be run, too.
    Run(MethodSpec),
    /// Locret, which needs trained heads.
    Locret(TokenSparsity),
}

/// One method with everything its figures depend on beside the lengths.
#[derive(Debug)]
pub(super) struct Subject {
    /// Its name.
    pub(super) name: String,
    /// What it holds.
    pub(super) holdings: Holdings,
    /// How its streaming heads stream, where it has some.
    pub(super) streaming: Option<Streaming>,
    /// Retrieval heads and all kv heads of a mask.
    pub(super) heads: Option<(usize, usize)>,
    policy: Option<EvictionPolicy>,
    nominal: Option<f64>,
}

/// Why a method has no figures.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeldError {
    #[error("the reference's script has no formula for {what}")]
    Script { what: String },
    #[error("heads of `{method}` choose for themselves, and how many there are is not known")]
    Heads { method: String },
    #[error("--{option} changes nothing: no method asked for has streaming heads")]
    Streaming { option: &'static str },
}

impl Coded for HeldError {
    fn code(&self) -> &'static str {
        match self {
            Self::Script { .. } => "footprint.reference",
            Self::Heads { .. } => "footprint.heads",
            Self::Streaming { .. } => "footprint.streaming",
        }
    }
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Script { .. } => "use --convention counted, or --rule duo-chunk",
            Self::Heads { .. } => "give them as the fourth number, as in --shape 32,8,128,32",
            Self::Streaming { .. } => "pass --sparsity, --mask or --method all-streaming, too",
        };
        Some(hint.to_owned())
    }
}

impl FromStr for Planned {
    type Err = EvalError;

    fn from_str(text: &str) -> Result<Self, EvalError> {
        let Some(share) = text.strip_prefix("locret:") else {
            return text.parse().map(Self::Run);
        };
        let refused = |reason: String| EvalError::Method {
            text: text.to_owned(),
            reason,
        };
        let share = share
            .parse()
            .map_err(|_| refused("it needs a token sparsity, as in `locret:0.5`".to_owned()))?;
        TokenSparsity::new(share)
            .map(Self::Locret)
            .map_err(|error| refused(error.to_string()))
    }
}

impl HeldArgs {
    /// Reads every mask.
    ///
    /// # Errors
    /// What is wrong with the first that is unusable.
    pub(super) fn masks(&self) -> Result<Masks, AnyFault> {
        Masks::load(&self.masks)
    }

    /// Everything that was asked for: sparsities, masks, methods.
    ///
    /// # Errors
    /// The first method that has no figures under `convention` or in `model`.
    pub(super) fn subjects(
        &self,
        span: &SpanArgs,
        masks: &Masks,
        (model, convention): (&Model, Convention),
    ) -> Result<Vec<Subject>, AnyFault> {
        let mut subjects = Vec::new();
        for &share in &self.sparsities {
            let streaming = span.streaming(None, convention)?;
            subjects.push(Subject::nominal(
                format!("sparsity {share}"),
                share,
                streaming,
            ));
        }
        for (path, checked) in masks.all() {
            subjects.push(Subject::masked(path, checked, span, convention)?);
        }
        for &method in &self.methods {
            subjects.push(Subject::method(method, span, (model, convention))?);
        }
        if convention == Convention::Reference {
            subjects.iter().try_for_each(Subject::check_script)?;
        }
        if let (Some(option), false) = (
            span.named(),
            subjects.iter().any(|subject| subject.streaming.is_some()),
        ) {
            return Err(HeldError::Streaming { option }.into());
        }
        Ok(subjects)
    }
}

impl SpanArgs {
    /// The first option that was named.
    fn named(&self) -> Option<&'static str> {
        let options = [
            ("rule", self.rule.is_some()),
            ("sink", self.sink.is_some()),
            ("window", self.window.is_some()),
        ];
        options
            .into_iter()
            .find_map(|(name, named)| named.then_some(name))
    }

    /// How heads stream: as named, as the mask file says, as published.
    fn streaming(
        &self,
        file: Option<&Checked>,
        convention: Convention,
    ) -> Result<Streaming, AnyFault> {
        let of_file = file.map(|checked| checked.sidecar.span);
        let (sink_len, window_len) =
            of_file.map_or(PUBLISHED, |span| (span.sink_len(), span.window_len()));
        let rule_of_file = file.and_then(|checked| checked.sidecar.streaming_rule);
        let usual = match convention {
            Convention::Counted => StreamingRule::Sliding,
            Convention::Reference => StreamingRule::DuoChunk,
        };
        Ok(Streaming {
            span: Span::new(
                self.sink.unwrap_or(sink_len),
                self.window.unwrap_or(window_len),
                1,
            )?,
            rule: self.rule.or(rule_of_file).unwrap_or(usual),
        })
    }
}

impl Subject {
    fn plain(name: String, holdings: Holdings) -> Self {
        Self {
            name,
            holdings,
            streaming: None,
            heads: None,
            policy: None,
            nominal: None,
        }
    }

    fn nominal(name: String, share: f64, streaming: Streaming) -> Self {
        let holdings = Holdings::Heads {
            streaming: StreamingHeads::Nominal(share),
            span: streaming.span,
            rule: streaming.rule,
        };
        Self {
            streaming: Some(streaming),
            nominal: Some(share),
            ..Self::plain(name, holdings)
        }
    }

    fn masked(
        path: &Path,
        checked: &Checked,
        span: &SpanArgs,
        convention: Convention,
    ) -> Result<Self, AnyFault> {
        let mask = &checked.sidecar.mask;
        let streaming = span.streaming(Some(checked), convention)?;
        Ok(Self {
            streaming: Some(streaming),
            heads: Some((mask.num_retrieval(), mask.flags().len())),
            ..Self::plain(format!("mask {}", path.display()), streaming.holdings(mask))
        })
    }

    fn method(
        method: Planned,
        span: &SpanArgs,
        (model, convention): (&Model, Convention),
    ) -> Result<Self, AnyFault> {
        let spec = match method {
            Planned::Run(spec) => spec,
            Planned::Locret(sparsity) => {
                let name = format!("locret:{}", sparsity.value());
                let holdings = Holdings::Locret(Locret::published(sparsity));
                return Ok(Self::plain(name, holdings));
            }
        };
        let name = spec.to_string();
        match spec {
            // Methods that skip keep everything.
            MethodSpec::Full | MethodSpec::Skipping(_) | MethodSpec::Nsa(_) => {
                Ok(Self::plain(name, Holdings::All))
            }
            MethodSpec::Mask => Err(EvalError::Missing {
                setting: "--method mask",
                missing: "a mask",
                remedy: "pass --mask alone",
            }
            .into()),
            MethodSpec::AllStreaming => {
                let streaming = span.streaming(None, convention)?;
                Ok(Self::nominal(name, 1.0, streaming))
            }
            MethodSpec::StreamingLlm => {
                let streaming = Streaming {
                    rule: StreamingRule::Sliding,
                    ..span.streaming(None, convention)?
                };
                Ok(Self::nominal(name, 1.0, streaming))
            }
            MethodSpec::Evicting(method, settings) => {
                let policy = EvictionPolicy::new(method, settings, model.shape.num_layers)?;
                let holdings = policy.holdings(model.shape.group_size());
                let alone = policy.holdings(usize::MAX) == policy.holdings(1);
                if !alone && !model.knows_heads {
                    return Err(HeldError::Heads { method: name }.into());
                }
                Ok(Self {
                    policy: Some(policy),
                    ..Self::plain(name, holdings)
                })
            }
        }
    }

    /// Checks that the reference's script has a formula.
    fn check_script(&self) -> Result<(), HeldError> {
        match self.streaming {
            Some(streaming) if streaming.rule != StreamingRule::DuoChunk => {
                let (name, rule) = (&self.name, streaming.rule.name());
                let what = format!("`{name}` under the rule {rule}");
                Err(HeldError::Script { what })
            }
            _ => Ok(()),
        }
    }

    /// Checks that it can work in chunks of `chunk_len` tokens.
    ///
    /// # Errors
    /// The setting that does not fit, named.
    pub(super) fn check(&self, chunk_len: usize) -> Result<(), AnyFault> {
        self.policy
            .as_ref()
            .map_or(Ok(()), |policy| policy.check(chunk_len))
    }

    /// What the mask that export would cut holds otherwise than the nominal share, where that is no whole number of heads.
    pub(super) fn whole_heads(&self, workload: &Workload, num_heads: usize) -> Option<Gap> {
        let Holdings::Heads { span, rule, .. } = &self.holdings else {
            return None;
        };
        let num_retrieval = Rounding::FloorRetrieval.num_retrieval(num_heads, self.nominal?)?;
        let cut = Holdings::Heads {
            streaming: StreamingHeads::Counted {
                per_layer: vec![num_heads - num_retrieval],
                num_kv_heads: num_heads,
            },
            span: *span,
            rule: *rule,
        };
        let gap = Gap {
            cause: Cause::WholeHeads {
                num_retrieval,
                num_heads,
            },
            from: self.holdings.predict(workload).kv_footprint,
            to: cut.predict(workload).kv_footprint,
        };
        (gap.difference().abs() > 1e-12).then_some(gap)
    }

    /// What a single chunk makes of it, where that is not what it is known for.
    pub(super) fn single_chunk(&self) -> Option<String> {
        let dense = "prefill is dense for every head, and only decoding is sparse";
        let effect = match (&self.streaming, &self.policy) {
            (Some(streaming), _) if streaming.rule == StreamingRule::DuoChunk => dense,
            (_, Some(policy)) if policy.settings().patch => "the patch does nothing",
            _ => return None,
        };
        Some(format!(
            "`{}`: the prompt is a single chunk: {effect}",
            self.name
        ))
    }
}
