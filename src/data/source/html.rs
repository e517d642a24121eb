//! Turns the main part of an HTML page into plain text.
//!
//! Text inside `pre` keeps its blanks and line ends, because there they are code; elsewhere runs of blanks become one.

use scraper::node::Node;
use scraper::{ElementRef, Html, Selector};

/// The text of the page's `main` element, or nothing if there is none or it is blank.
pub(super) fn text_of_main(html: &str) -> Option<String> {
    let page = Html::parse_document(html);
    let main = Selector::parse("main").ok()?;
    let mut text = Text::default();
    for element in page.select(&main) {
        text.element(element);
    }
    text.end_line();
    (!text.joined.trim().is_empty()).then_some(text.joined)
}

#[derive(Default)]
struct Text {
    joined: String,
    /// A blank was seen that is written only if text follows on the line.
    pending_blank: bool,
    in_pre: usize,
}

/// Work left to do; `N` is the parser's node handle, whose crate this file need not name.
enum Step<'a, N> {
    Enter(N),
    Leave(&'a str),
}

impl Text {
    /// Walks iteratively: nesting is the page author's choice and must not exhaust the stack.
    fn element(&mut self, root: ElementRef<'_>) {
        let mut pending = vec![Step::Enter(*root)];
        while let Some(step) = pending.pop() {
            match step {
                Step::Leave(tag) => self.leave(tag),
                Step::Enter(node) => match node.value() {
                    Node::Text(text) => self.text(text),
                    Node::Element(element) if !is_skipped(element.name()) => {
                        self.enter(element.name());
                        pending.push(Step::Leave(element.name()));
                        pending.extend(node.children().rev().map(Step::Enter));
                    }
                    _ => {}
                },
            }
        }
    }

    fn enter(&mut self, tag: &str) {
        if tag == "br" {
            self.joined.push('\n');
            self.pending_blank = false;
        } else if is_block(tag) {
            self.end_block();
        }
        self.in_pre += usize::from(tag == "pre");
    }

    fn leave(&mut self, tag: &str) {
        self.in_pre -= usize::from(tag == "pre");
        match tag {
            "td" | "th" => self.pending_blank = true,
            "li" | "tr" => self.end_line(),
            _ if is_block(tag) => self.end_block(),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        if self.in_pre > 0 {
            self.joined.push_str(text);
            return;
        }
        for (i, word) in text.split(|c: char| c.is_ascii_whitespace()).enumerate() {
            self.pending_blank |= i > 0;
            if word.is_empty() {
                continue;
            }
            if self.pending_blank && !self.joined.is_empty() && !self.joined.ends_with(['\n', ' '])
            {
                self.joined.push(' ');
            }
            self.pending_blank = false;
            self.joined.push_str(word);
        }
    }

    fn end_line(&mut self) {
        self.pending_blank = false;
        if !self.joined.is_empty() && !self.joined.ends_with('\n') {
            self.joined.push('\n');
        }
    }

    fn end_block(&mut self) {
        self.end_line();
        if !self.joined.is_empty() && !self.joined.ends_with("\n\n") {
            self.joined.push('\n');
        }
    }
}

fn is_skipped(tag: &str) -> bool {
    matches!(
        tag,
        "script" | "style" | "nav" | "svg" | "button" | "noscript" | "template"
    )
}

fn is_block(tag: &str) -> bool {
    matches!(
        tag,
        "p" | "pre"
            | "div"
            | "section"
            | "article"
            | "main"
            | "blockquote"
            | "ul"
            | "ol"
            | "dl"
            | "dt"
            | "dd"
            | "table"
            | "figure"
            | "details"
            | "summary"
            | "hr"
            | "h1"
            | "h2"
            | "h3"
            | "h4"
            | "h5"
            | "h6"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(main: &str, expected: &str) {
        let page =
            format!("<html><body><nav>menu</nav><main>{main}</main><p>foot</p></body></html>");
        assert_eq!(text_of_main(&page).unwrap(), expected);
    }

    #[test]
    fn blanks_collapse_outside_of_code_only() {
        check("<p>a   b\n  c</p><p>d</p>", "a b c\n\nd\n\n");
        check(
            "<pre><code>fn f() {\n    1\n}\n</code></pre>",
            "fn f() {\n    1\n}\n\n",
        );
        check(
            "<p>in <code>x  y</code>, and<em> z</em></p>",
            "in x y, and z\n\n",
        );
    }

    #[test]
    fn scripts_menus_and_pictures_vanish_and_entities_are_decoded() {
        check(
            "<nav>n</nav><script>s</script><style>t</style><svg><text>v</text></svg><p>a &lt; b &amp;&amp; c</p>",
            "a < b && c\n\n",
        );
    }

    #[test]
    fn lists_tables_and_breaks_become_lines() {
        check("<ul><li>one</li><li>two</li></ul>", "one\ntwo\n\n");
        check(
            "<table><tr><th>k</th><th>v</th></tr><tr><td>1</td><td>2</td></tr></table>",
            "k v\n1 2\n\n",
        );
        check("<p>a<br>b</p>", "a\nb\n\n");
    }

    #[test]
    fn deep_nesting_and_pages_without_main_are_survived() {
        let deep = format!(
            "<main>{}x{}</main>",
            "<div>".repeat(20_000),
            "</div>".repeat(20_000)
        );
        assert_eq!(text_of_main(&deep).unwrap(), "x\n\n");
        assert_eq!(text_of_main("<p>text</p>"), None);
        assert_eq!(text_of_main("<main> \n </main>"), None);
        assert_eq!(text_of_main(""), None);
    }
}
