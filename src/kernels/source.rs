//! WGSL sources: a line `#import <name>` stands for the text of `shaders/shared/<name>.wgsl`.

/// The shared texts, by name.
const SHARED: &[(&str, &str)] = &[
    ("codes", include_str!("../../shaders/shared/codes.wgsl")),
    ("column_sums", include_str!("../../shaders/shared/column_sums.wgsl")),
    ("columns", include_str!("../../shaders/shared/columns.wgsl")),
    ("conv2d", include_str!("../../shaders/shared/conv2d.wgsl")),
    ("conv2d_integer", include_str!("../../shaders/shared/conv2d_integer.wgsl")),
    ("conv_direct", include_str!("../../shaders/shared/conv_direct.wgsl")),
    ("conv_pixels", include_str!("../../shaders/shared/conv_pixels.wgsl")),
    ("conv_registers", include_str!("../../shaders/shared/conv_registers.wgsl")),
    ("conv_subgroup", include_str!("../../shaders/shared/conv_subgroup.wgsl")),
    ("conv_tile", include_str!("../../shaders/shared/conv_tile.wgsl")),
    ("corners", include_str!("../../shaders/shared/corners.wgsl")),
    ("direct", include_str!("../../shaders/shared/direct.wgsl")),
    ("folded", include_str!("../../shaders/shared/folded.wgsl")),
    ("folded_direct", include_str!("../../shaders/shared/folded_direct.wgsl")),
    ("folded_registers", include_str!("../../shaders/shared/folded_registers.wgsl")),
    ("folded_subgroup", include_str!("../../shaders/shared/folded_subgroup.wgsl")),
    ("folded_tile", include_str!("../../shaders/shared/folded_tile.wgsl")),
    ("gates", include_str!("../../shaders/shared/gates.wgsl")),
    ("grid", include_str!("../../shaders/shared/grid.wgsl")),
    ("input_grad_pixels", include_str!("../../shaders/shared/input_grad_pixels.wgsl")),
    ("integers", include_str!("../../shaders/shared/integers.wgsl")),
    ("latent_update", include_str!("../../shaders/shared/latent_update.wgsl")),
    ("load_codes", include_str!("../../shaders/shared/load_codes.wgsl")),
    ("moments", include_str!("../../shaders/shared/moments.wgsl")),
    ("philox", include_str!("../../shaders/shared/philox.wgsl")),
    ("products", include_str!("../../shaders/shared/products.wgsl")),
    ("relu", include_str!("../../shaders/shared/relu.wgsl")),
    ("requantize", include_str!("../../shaders/shared/requantize.wgsl")),
    ("step", include_str!("../../shaders/shared/step.wgsl")),
    ("tile", include_str!("../../shaders/shared/tile.wgsl")),
    ("weight_grad_entries", include_str!("../../shaders/shared/weight_grad_entries.wgsl")),
    ("weights_bytes", include_str!("../../shaders/shared/weights_bytes.wgsl")),
    ("weights_codes", include_str!("../../shaders/shared/weights_codes.wgsl")),
    ("weights_codes_shared", include_str!("../../shaders/shared/weights_codes_shared.wgsl")),
    ("weights_f32", include_str!("../../shaders/shared/weights_f32.wgsl")),
    ("weights_f32_shared", include_str!("../../shaders/shared/weights_f32_shared.wgsl")),
    ("words", include_str!("../../shaders/shared/words.wgsl")),
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
