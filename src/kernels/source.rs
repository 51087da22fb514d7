//! WGSL sources: a line `#import <name>` stands for the text of `shaders/shared/<name>.wgsl`.

/// The shared texts, by name.
const SHARED: &[(&str, &str)] = &[
    ("columns", include_str!("../../shaders/shared/columns.wgsl")),
    ("conv2d", include_str!("../../shaders/shared/conv2d.wgsl")),
    ("grid", include_str!("../../shaders/shared/grid.wgsl")),
    ("moments", include_str!("../../shaders/shared/moments.wgsl")),
    ("philox", include_str!("../../shaders/shared/philox.wgsl")),
    ("step", include_str!("../../shaders/shared/step.wgsl")),
    ("tile", include_str!("../../shaders/shared/tile.wgsl")),
];

/// `text` with the values of a kernel's parameters as constants, which are `fields` of `params` in order and all u32. The
/// uniform stays bound, and unused.
pub fn specialize(text: &str, params: &[u8]) -> String {
    const UNIFORM: &str = "var<uniform> params: Params;";
    debug_assert!(text.contains(UNIFORM));
    let values: Vec<String> =
        bytemuck::pod_collect_to_vec::<u8, u32>(params).iter().map(|v| format!("{v}u")).collect();
    let constant = format!("var<uniform> unused: Params;\nconst params = Params({});", values.join(", "));
    text.replacen(UNIFORM, &constant, 1)
}

/// `source` with its imports replaced.
///
/// # Panics
/// On an import that does not exist. All sources are part of the program and a test expands each.
pub fn expand(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    for line in source.lines() {
        match line.strip_prefix("#import ") {
            Some(name) => {
                let shared = SHARED.iter().find(|(n, _)| *n == name.trim());
                text.push_str(shared.unwrap_or_else(|| panic!("no shared text `{name}`")).1);
            }
            None => text.push_str(line),
        }
        text.push('\n');
    }
    text
}
