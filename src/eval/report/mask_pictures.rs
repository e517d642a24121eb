//! The masks under test, head by head.

use crate::eval::method::MethodKind;
use crate::eval::results::{MethodResult, Part};
use crate::mask::head_mask::HeadMask;
use crate::mask::heatmap_svg::{Picture, draw, escape};
use crate::span::Span;
use std::fmt::Write;

/// A picture of every mask of `part`; nothing where there are none.
pub(super) fn figures(part: &Part) -> Option<String> {
    let span = part
        .streaming
        .and_then(|of| Span::new(of.sink_len, of.window_len, 1).ok())?;
    let methods = &part.tasks.first()?.methods;
    let masks = methods
        .iter()
        .filter(|method| method.kind == MethodKind::Mask);
    let mut figures = String::new();
    for (method, identity) in masks.zip(&part.masks) {
        let Some(mask) = mask(method) else { continue };
        let picture = draw(&Picture {
            mask: &mask,
            log_alpha: None,
            model: &part.model.name,
            span,
        });
        let _ = write!(
            figures,
            "<figure class=\"mask\">\n{picture}<figcaption><code>{}</code>: {}, blake3 <code>{}</code></figcaption>\n\
             <details><summary>The numbers</summary>\n<pre>layer  kv heads (1 = retrieval)\n{}</pre></details>\n</figure>\n",
            escape(&method.name),
            escape(&identity.name),
            escape(&identity.blake3),
            rows(method)
        );
    }
    (!figures.is_empty()).then(|| format!("<div class=\"masks\">\n{figures}</div>\n"))
}

fn mask(method: &MethodResult) -> Option<HeadMask> {
    let layers = method.retrieval_mask.as_ref()?;
    let num_kv_heads = layers.first()?.len();
    let flags = layers
        .iter()
        .flat_map(|layer| layer.chars().map(|flag| flag == '1'));
    HeadMask::new(layers.len(), num_kv_heads, flags.collect())
}

fn rows(method: &MethodResult) -> String {
    let layers = method.retrieval_mask.iter().flatten().enumerate();
    let row = |(layer, heads): (usize, &String)| format!("{layer:>5}  {}\n", escape(heads));
    layers.map(row).collect()
}
