//! What every page is made of. Text that comes from files goes through [`escape`].

/// The style sheet of all pages.
pub const STYLE: &str = include_str!("style.css");

/// `text` for the inside of an element or of a quoted attribute.
pub fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, c| {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
        escaped
    })
}

/// A self-contained page: `body` in the style of all, with further variables by day and by night.
pub fn document(title: &str, [light, dark]: [&str; 2], body: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>\n{STYLE}:root {{ {light} }}\n\
         @media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n</style>\n</head>\n<body>\n{body}</body>\n</html>\n",
    )
}

/// A section, unless it would be empty.
pub fn section(title: &str, body: String) -> String {
    if body.is_empty() { body } else { format!("<section>\n<h2>{title}</h2>\n{body}</section>\n") }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The declarations of a rule of the style sheet.
    fn rule(selector: &str) -> &'static str {
        let rule = STYLE.lines().find_map(|line| line.strip_prefix(selector)?.strip_prefix(" {"));
        rule.unwrap_or_else(|| panic!("no rule for {selector}"))
    }

    #[test]
    fn a_chart_alone_is_no_wider_than_beside_another() {
        assert!(rule(".charts").contains("repeat(auto-fill,"));
    }

    #[test]
    fn texts_beside_numbers_wrap() {
        assert!(rule(".numbers td").contains("white-space: nowrap"));
        assert!(rule(".numbers td.text, .numbers thead th.text").contains("white-space: normal"));
    }

    /// Elements are closed in the order in which they were opened.
    pub fn assert_balanced(html: &str) {
        const VOID: [&str; 4] = ["meta", "img", "br", "!DOCTYPE"];
        let mut open = Vec::new();
        for tag in html.split('<').skip(1).filter_map(|part| part.split_once('>')).map(|(tag, _)| tag) {
            let name = tag.split([' ', '\n']).next().unwrap_or_default();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{tag}"),
                None if VOID.contains(&name) || tag.ends_with('/') => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?} are not closed");
    }
}
