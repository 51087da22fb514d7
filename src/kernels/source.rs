//! WGSL sources: a line `#import <name>` stands for the text of `shaders/shared/<name>.wgsl`.

macro_rules! shared {
    ($($name:ident),* $(,)?) => {
        /// The shared texts, by name.
        const SHARED: &[(&str, &str)] = &[$((
            stringify!($name),
            include_str!(concat!("../../shaders/shared/", stringify!($name), ".wgsl")),
        )),*];
    };
}

shared! {
    codes,
    column_sums,
    columns,
    conv2d,
    conv2d_integer,
    conv_direct,
    conv_moments,
    conv_pixels,
    conv_registers,
    conv_subgroup,
    conv_tile,
    corners,
    direct,
    folded,
    folded_direct,
    folded_registers,
    folded_subgroup,
    folded_tile,
    gates,
    grid,
    input_grad_pixels,
    integers,
    latent_update,
    load_codes,
    moments,
    philox,
    products,
    relu,
    requantize,
    step,
    tile,
    weight_grad_entries,
    weights_bytes,
    weights_codes,
    weights_codes_shared,
    weights_f32,
    weights_f32_shared,
    words,
}

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
