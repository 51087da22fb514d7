//! Shaders broken on purpose: at least one case of the kernel must object to each.

mod convolutions;
mod others;

use shiftnet::kernels::{self, Variant};
use std::borrow::Cow;
use std::sync::LazyLock;

/// A change to a kernel's WGSL that leaves it a shader, but a wrong one.
pub struct Break {
    pub stem: &'static str,
    /// None for the first.
    pub variant: Option<&'static str>,
    pub what: Cow<'static, str>,
    change: Change,
}

enum Change {
    /// A text in place of another.
    Text(&'static str, &'static str),
    /// A value in place of a parameter: this fits every shader with the kernel's interface.
    Param(&'static str, &'static str),
    /// Two parameters, each in the other's place.
    Swap(&'static str, &'static str),
    /// The n-th barrier, of those that it imports too, left out.
    Barrier(usize),
}

const BARRIER: &str = "workgroupBarrier();";

use Change::{Barrier, Param, Swap, Text};

impl Break {
    pub fn variant(&self) -> &'static Variant {
        let kernel = kernels::get(self.stem);
        self.variant
            .map_or(&kernel.variants[0], |name| kernel.variant(name).expect("a variant of the kernel"))
    }

    /// What names the shader.
    pub fn shader(&self) -> String {
        let name = [self.stem, self.variant().name].join("/");
        name.trim_end_matches('/').into()
    }

    /// The broken shader.
    ///
    /// # Panics
    /// Where the change changes nothing: then it would test nothing.
    pub fn source(&self) -> String {
        let own = self.variant().source;
        // A text that is not the shader's own is of what it imports.
        let source = &match self.change {
            Text(from, _) if own.contains(from) => own.to_string(),
            _ => kernels::source::expand(own),
        };
        let broken = match self.change {
            Text(from, to) => source.replace(from, to),
            Param(name, value) => word(source, &format!("params.{name}"), value),
            Swap(a, b) => {
                let [a, b] = [a, b].map(|name| format!("params.{name}"));
                word(&word(source, &a, "\0"), &b, &a).replace('\0', &b)
            }
            Barrier(n) => {
                let at = source.match_indices(BARRIER).nth(n).map_or(0, |(at, _)| at);
                [&source[..at], source[at..].replacen(BARRIER, "", 1).as_str()].concat()
            }
        };
        assert!(broken != *source, "{}, {}: the shader has no such text any more", self.stem, self.what);
        broken
    }
}

/// `source` with `to` for each `from` that is not the beginning of a longer word.
fn word(source: &str, from: &str, to: &str) -> String {
    let mut parts = source.split(from);
    let mut text = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let longer = part.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        text.push_str(if longer { from } else { to });
        text.push_str(part);
    }
    text
}

const fn broken(stem: &'static str, what: &'static str, change: Change) -> Break {
    Break { stem, variant: None, what: Cow::Borrowed(what), change }
}

const fn varied(stem: &'static str, variant: &'static str, what: &'static str, change: Change) -> Break {
    Break { stem, variant: Some(variant), what: Cow::Borrowed(what), change }
}

/// Each barrier of each kernel, by the smallest variant of each family: an invocation that does not wait reads what others have
/// yet to write, or writes what they have yet to read.
fn barriers() -> Vec<Break> {
    let mut found: Vec<Break> = Vec::new();
    for kernel in kernels::all() {
        for variant in kernel.variants {
            let known = |b: &Break| b.stem == kernel.stem && b.variant().family() == variant.family();
            if found.iter().any(known) {
                continue;
            }
            let count = kernels::source::expand(variant.source).matches(BARRIER).count();
            found.extend((0..count).map(|n| Break {
                stem: kernel.stem,
                variant: (variant.name != kernel.variants[0].name).then_some(variant.name),
                what: format!("barrier {} of {count} left out", n + 1).into(),
                change: Barrier(n),
            }));
        }
    }
    found
}

static BARRIERS: LazyLock<Vec<Break>> = LazyLock::new(barriers);

/// Those of all kernels.
pub fn breaks() -> impl Iterator<Item = &'static Break> {
    others::BREAKS.iter().chain(convolutions::BREAKS).chain(&*BARRIERS)
}
