//! What only files of other programs get wrong, and what only importing them asks for.

use crate::mask::head_mask::HeadMask;

/// Why a foreign file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignProblem {
    /// A Python pickle.
    #[error("this is a pickle, which can run code when it is loaded")]
    Pickle,
    /// Nothing says what the numbers mean.
    #[error("nothing says which program wrote this, hence which values mean retrieval")]
    FormatUnstated,
    /// A decision that was asked to be another one.
    #[error(
        "holds a decision ({found} retrieval heads of {num_heads}) and no order to cut it again at {asked}"
    )]
    AlreadyBinary {
        /// Retrieval heads in the file.
        found: usize,
        /// Heads in all.
        num_heads: usize,
        /// Retrieval heads asked for.
        asked: usize,
    },
    /// Query heads of one kv head disagree.
    #[error(
        "layer {layer}: heads {} to {}, which share kv head {kv_head}, hold {found}",
        .kv_head * .group_size, (.kv_head + 1) * .group_size - 1
    )]
    GroupNotUniform {
        /// Decoder block.
        layer: usize,
        /// Kv head within it.
        kv_head: usize,
        /// Query heads per kv head.
        group_size: usize,
        /// Their values.
        found: String,
        /// What makes one of them, as an option.
        fold: &'static str,
    },
    /// A way to fold groups that the format has no use for.
    #[error("`--fold {given}` does not apply: {reason}")]
    Fold {
        /// The option's value.
        given: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// One name twice.
    #[error("names `{key}` twice")]
    DuplicateKey {
        /// The name.
        key: String,
    },
    /// No sink or window, in the file or on the command line.
    #[error("the format does not state the {what} to deploy with")]
    SizesUnstated {
        /// Which.
        what: &'static str,
        /// The option that gives it.
        option: &'static str,
    },
    /// Scores that the order of heads cannot be taken from.
    #[error("{found} scores for a mask of {expected} kv heads, or scores that are not finite")]
    Scores {
        /// Scores there are.
        found: usize,
        /// Heads there are.
        expected: usize,
    },
}

impl ForeignProblem {
    /// A decision that was asked to have `asked` retrieval heads.
    pub(crate) fn already_binary(mask: &HeadMask, asked: usize) -> Self {
        Self::AlreadyBinary {
            found: mask.num_retrieval(),
            num_heads: mask.flags().len(),
            asked,
        }
    }

    /// Stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Pickle => "model.pickle_refused",
            Self::FormatUnstated => "mask.polarity_unstated",
            Self::AlreadyBinary { .. } => "mask.already_binary",
            Self::GroupNotUniform { .. } => "mask.group_not_uniform",
            Self::Fold { .. } => "mask.usage",
            Self::DuplicateKey { .. } => "mask.duplicate_key",
            Self::SizesUnstated { .. } => "mask.span",
            Self::Scores { .. } => "mask.values",
        }
    }

    /// The way out.
    pub fn hint(&self) -> String {
        match self {
            Self::Pickle => "convert it with Python where you trust it: `import torch; from \
                             safetensors.torch import save_file`, then `save_file({\"head_score\": \
                             torch.load(\"IN.pt\").float().contiguous()}, \"OUT.safetensors\")`"
                .to_owned(),
            Self::FormatUnstated => {
                "name the format with `--from`; `prulong mask import --help` lists them".to_owned()
            }
            Self::AlreadyBinary { found, .. } => format!(
                "leave the sparsity out, or pass `--num-retrieval {found}`; other counts need scores"
            ),
            Self::GroupNotUniform { fold, .. } => format!("fold the groups with `--fold {fold}`"),
            Self::Fold { .. } => "leave the option out".to_owned(),
            Self::DuplicateKey { .. } => "remove one of the two".to_owned(),
            Self::SizesUnstated { option, .. } => {
                format!("pass `{option}`, with the value the mask was made for")
            }
            Self::Scores { .. } => "check the file against the model".to_owned(),
        }
    }
}
