//! Shaders broken on purpose: at least one case of the kernel must object to each.

use shiftnet::kernels::{self, Variant};

/// A change to a kernel's WGSL that leaves it a shader, but a wrong one.
pub struct Break {
    pub stem: &'static str,
    /// None for the first.
    pub variant: Option<&'static str>,
    pub what: &'static str,
    change: Change,
}

enum Change {
    /// A text in place of another.
    Text(&'static str, &'static str),
    /// A value in place of a parameter: this fits every shader with the kernel's interface.
    Param(&'static str, &'static str),
    /// Two parameters, each in the other's place.
    Swap(&'static str, &'static str),
}

use Change::{Param, Swap, Text};

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
    Break { stem, variant: None, what, change }
}

const fn varied(stem: &'static str, variant: &'static str, what: &'static str, change: Change) -> Break {
    Break { stem, variant: Some(variant), what, change }
}

const NO_FOLD: &str = "fn invocation(group: vec3<u32>, groups: vec3<u32>, local: u32) -> u32 {
    return group.x * 64u + local;
}";

pub const BREAKS: &[Break] = &[
    broken("add", "difference", Text("a[i] + b[i]", "a[i] - b[i]")),
    broken("add", "grid's second dimension forgotten", Text("#import grid", NO_FOLD)),
    broken("augment", "flip reversed", Text("(random.z & 1u) == 1u", "(random.z & 1u) == 0u")),
    broken("augment", "crop's axes swapped", Text("random.x %", "random.y %")),
    broken(
        "augment",
        "padding after the normalization",
        Text(
            "y[i] = vec4<f32>(color * scale + shift, 0.0)",
            "y[i] = vec4<f32>(color * scale + select(vec3<f32>(0.0), shift, any(color > vec3<f32>(0.0))), 0.0)",
        ),
    ),
    broken("augment", "H and W swapped", Swap("h", "w")),
    broken("batch_norm", "eps missing", Text(" + EPS", "")),
    broken("batch_norm", "beta forgotten", Text(" + shift", "")),
    broken("batch_norm", "residual forgotten", Text("value += residual[i]", "value += 0.0 * residual[i]")),
    broken("batch_norm", "rectified before the sum", Text("relu(value)", "value")),
    broken("batch_norm", "always the batch's statistics", Text("params.chunks > 0u", "params.chunks >= 0u")),
    broken("batch_norm", "distance of the means forgotten", Text(" + d * d * (a.count * share)", "")),
    broken("batch_norm", "biased running variance", Text("max(moments.count - 1.0, 1.0)", "moments.count")),
    broken(
        "batch_norm",
        "last chunk counted whole",
        Text("f32(min(params.chunk, params.rows - chunk * params.chunk))", "f32(params.chunk)"),
    ),
    broken("batch_norm", "a chunk forgotten", Text("chunk = at.row;", "chunk = at.row + 1u;")),
    broken(
        "batch_norm",
        "every fourth chunk forgotten",
        Text("merge(merge(merge(merge(moments, a), b), c), d)", "merge(merge(merge(moments, a), b), c)"),
    ),
    broken(
        "batch_norm",
        "deviations past the last chunk",
        Text("select(vec4<f32>(0.0), partial[i + params.quads], live)", "partial[i + params.quads]"),
    ),
    broken("batch_norm", "every second four of chunks forgotten", Text("chunk += 4u", "chunk += 8u")),
    broken(
        "batch_norm",
        "an invocation's moments forgotten",
        Text("row + half < count", "row + half + 1u < count"),
    ),
    broken("batch_norm", "last row of a run forgotten", Text("row < end;", "row + 1u < end;")),
    broken("batch_norm_backward", "eps missing", Text(" + EPS", "")),
    broken("batch_norm_backward", "sum of dy * xhat subtracted", Text("+ xhat *", "- xhat *")),
    broken(
        "batch_norm_backward",
        "an invocation's sum forgotten",
        Text("row + half < count", "row + half + 1u < count"),
    ),
    broken("batch_norm_backward", "every fourth chunk forgotten", Text("+ c_x) + d_x", "+ c_x)")),
    broken(
        "batch_norm_backward",
        "every second four of chunks forgotten",
        Text("chunk += 4u", "chunk += 8u"),
    ),
    broken(
        "batch_norm_backward",
        "chunks past the last",
        Text("params.quads + quad], live)", "params.quads + quad], true)"),
    ),
    broken("batch_norm_backward", "overwrites", Text("accumulate == 1u", "accumulate == 2u")),
    broken(
        "batch_norm_backward",
        "dgamma and dbeta swapped",
        Text("(dbeta[at.quad], dgamma[at.quad])", "(dgamma[at.quad], dbeta[at.quad])"),
    ),
    broken(
        "batch_norm_backward",
        "dbeta is dgamma",
        Text("dbeta[at.quad] = sum +", "dbeta[at.quad] = sum_x +"),
    ),
    broken("batch_norm_backward_reduce", "eps missing", Text(" + EPS", "")),
    broken(
        "batch_norm_backward_reduce",
        "an invocation's sum forgotten",
        Text("row + half < count", "row + half + 1u < count"),
    ),
    broken("batch_norm_backward_reduce", "last row forgotten", Text("row < end;", "row + 1u < end;")),
    broken(
        "batch_norm_backward_reduce",
        "second gradient forgotten",
        Text("d += second[i]", "d += 0.0 * second[i]"),
    ),
    broken("batch_norm_backward_reduce", "derivative 1 at 0", Text("y[i] > vec4", "y[i] >= vec4")),
    broken(
        "batch_norm_backward_reduce",
        "gathered gradient not kept",
        Text("dy[i] = d;", "dy[i] += 0.0 * d;"),
    ),
    broken("conv2d_dot", "residual forgotten", Text("high += (added", "high += 0 * (added")),
    broken("conv2d_dot", "no rounding of negative weights", Text("(sign * 255u)) + sign", "(sign * 255u))")),
    broken("conv2d_dot", "magnitude's highest bit ignored", Text("((v << 4u) & m2)", "(v & m2)")),
    broken("conv2d_dot", "H and W swapped", Swap("h", "w")),
    broken("conv2d_dot", "sums not raised", Text("sum << vec4<u32>(params.raise)", "sum")),
    broken("conv2d_dot", "carry forgotten", Text(" + (low >> vec4<u32>(16u))", "")),
    varied(
        "conv2d_dot",
        "tile-32x32",
        "even channels for the odd ones",
        Text("(codes >> vec2<u32>(4u))", "codes"),
    ),
    varied("conv2d_dot", "tile-32x32", "first pair for the second one", Text("w[at + 1u]", "w[at]")),
    varied("conv2d_dot", "tile-32x32", "pixels past the image's border", Text(", inside(four, r, s) &", ",")),
    varied(
        "conv2d_dot",
        "tile-128x128",
        "last quarter of the sums forgotten",
        Text("k + 4u * TX, a11", "k + 4u * TX, a01"),
    ),
    varied("conv2d_dot", "tile-32x32", "stride ignored", Param("stride", "1u")),
    varied(
        "conv2d_folded",
        "direct-2",
        "an image goes on below its last row",
        Text("h < vec4<u32>(shape.height)", "h < vec4<u32>(shape.height + 1u)"),
    ),
    varied("conv2d_forward", "direct-2", "second row like the first", Text("(t.b, below", "(t.b, above")),
    varied(
        "conv2d_forward",
        "direct-1",
        "threads that are past the end counted",
        Text("own < len % BM", "len % BM > 0u"),
    ),
    varied(
        "conv2d_forward",
        "direct-2",
        "last places of the inputs forgotten",
        Text("place.w < PATCH", "place.w < 384u"),
    ),
    varied("conv2d_input_grad", "direct-2", "taps not turned", Text("(8u - tap)", "tap")),
    varied(
        "conv2d_input_grad",
        "direct-1",
        "weights not transposed",
        Text("transpose(mat4x4<f32>(", "(mat4x4<f32>("),
    ),
    varied(
        "conv2d_packed",
        "direct-1",
        "the first entry at each tap",
        Text("(params.c / 4u) + entry", "(params.c / 4u)"),
    ),
    varied(
        "conv2d_packed",
        "direct-2",
        "channels past the last",
        Text("pixel < end && k < k4", "pixel < end"),
    ),
    broken("conv2d_folded", "bias forgotten", Text(" + affine[params.k / 4u + k]", "")),
    broken(
        "conv2d_folded",
        "residual behind the ReLU",
        Text(
            "if (params.residual == 1u) { v += residual[at]; }\n    if (params.relu == 1u) { v = relu(v); }",
            "if (params.relu == 1u) { v = relu(v); }\n    if (params.residual == 1u) { v += residual[at]; }",
        ),
    ),
    broken(
        "conv2d_folded",
        "another channel's scale",
        Text("put(at + 2u, k + 2u, c)", "put(at + 2u, k + 1u, c)"),
    ),
    broken("conv2d_folded", "stride ignored", Param("stride", "1u")),
    broken("conv2d_packed", "zero is one", Text(">> vec4<u32>(1u));", ">> min(vec4<u32>(1u), codes));")),
    broken("conv2d_packed", "sign ignored", Text("vec4<u32>(8u)) << ", "vec4<u32>(0u)) << ")),
    broken("conv2d_packed", "even and odd channels swapped", Text("even, even >> 4u", "even >> 4u, even")),
    broken("conv2d_packed", "always rectified", Text("params.relu == 1u", "true")),
    broken("conv2d_forward", "H and W swapped", Swap("h", "w")),
    broken("conv2d_forward", "stride ignored", Param("stride", "1u")),
    broken("conv2d_forward", "padding ignored", Param("pad", "0u")),
    broken("conv2d_forward", "distance of the means forgotten", Text(" + d * d * (done * share)", "")),
    broken(
        "conv2d_forward",
        "pixels past the end counted",
        Text("i1 < vec4<u32>(end)", "i1 >= vec4<u32>(0u)"),
    ),
    broken("conv2d_input_grad", "H and W swapped", Swap("h", "w")),
    broken("conv2d_input_grad", "a row of taps dropped", Param("r", "max(params.r - 1u, 1u)")),
    broken("conv2d_input_grad", "padding ignored", Param("pad", "0u")),
    broken(
        "conv2d_shift",
        "zero is one",
        Text(
            "vec4<u32>(0x1f1f1f1fu)) &",
            "(vec4<u32>(0x1f1f1f1fu) * min(bytes & vec4<u32>(7u), vec4<u32>(1u)))) &",
        ),
    ),
    broken("conv2d_shift", "negated without the carry", Text("flips_a += flips", "flips_a += 0u * flips")),
    broken("conv2d_shift", "parts of sums overflow", Param("run", "2u * params.run")),
    broken(
        "conv2d_shift",
        "second pixels' parts with the carry of the first ones'",
        Text("(sums - first_part(sums)) >>", "sums >>"),
    ),
    broken(
        "conv2d_shift",
        "bytes of negative numbers",
        Text("bytes - vec4<u32>(0x00800080u)", "bytes - vec4<u32>(0x00800000u)"),
    ),
    broken(
        "conv2d_shift",
        "sums doubled beyond an i32",
        Text("64u, params.run == 0u", "0xffffffffu, params.run == 0u"),
    ),
    broken(
        "conv2d_shift",
        "16-bit channels swapped",
        Text("field(a, 16u, 16u), field(a, 0u, 16u)", "field(a, 0u, 16u), field(a, 16u, 16u)"),
    ),
    broken("conv2d_shift", "padding ignored", Param("pad", "0u")),
    broken("conv2d_shift", "never rectified", Text("params.relu == 1u", "params.relu == 2u")),
    broken("conv2d_shift", "last channels forgotten", Text("if (other > 0u)", "if (other > 2u)")),
    varied(
        "conv2d_shift",
        "tile-64x32",
        "pixels past the image's border",
        Text("inside(first, r, s) & vec4", "vec4"),
    ),
    varied(
        "conv2d_shift",
        "tile-64x32",
        "totals forgotten",
        Text("*totals = emptied(*totals", "*totals = emptied(Totals()"),
    ),
    varied(
        "conv2d_shift",
        "tile-128x64",
        "second words like the first",
        Text(
            "(start + (ty + TY) * each, end, k, emptied(totals_below",
            "(start + (ty + TY) * each, end, k, emptied(totals",
        ),
    ),
    varied("conv2d_shift", "tile-64x32", "stride ignored", Param("stride", "1u")),
    varied("conv2d_shift", "tile-64x32", "short runs overflow", Text("run() < Q && count", "false && count")),
    varied(
        "conv2d_shift",
        "tile-64x32",
        "long runs overflow",
        Text("count + Q > run()", "count > 2u * run()"),
    ),
    broken("conv2d_weight_grad", "H and W swapped", Swap("h", "w")),
    broken("conv2d_weight_grad", "last image forgotten", Param("n", "max(params.n - 1u, 1u)")),
    broken("conv2d_weight_grad", "P and Q swapped", Swap("p", "q")),
    broken("global_avg_pool", "sum, not mean", Text(" / f32(params.area)", "")),
    broken("global_avg_pool", "first pixel forgotten", Text("pixel = 0u", "pixel = 1u")),
    broken("global_avg_pool_backward", "not divided", Text(" / f32(params.area)", "")),
    broken(
        "global_avg_pool_integer",
        "unsigned",
        Text("i32(x[at])) << vec4<u32>(24u, 16u", "i32(x[at] & 0x7f7f7f7fu)) << vec4<u32>(24u, 16u"),
    ),
    broken("global_avg_pool_integer", "first pixel forgotten", Text("pixel = 0u", "pixel = 1u")),
    broken("linear", "bias forgotten", Text(" + b[k]", "")),
    broken("linear", "last inputs forgotten", Text("c < params.c_quads", "c + 1u < params.c_quads")),
    broken("linear_input_grad", "first output forgotten", Text("k = 0u", "k = 1u")),
    broken("linear_weight_grad", "bias overwritten", Text("bias += db[k]", "bias += 0.0")),
    broken("linear_weight_grad", "weight overwritten", Text("sum = dw[i]", "sum = vec4<f32>(0.0)")),
    broken("linear_weight_grad", "first row forgotten", Text("n = 0u", "n = 1u")),
    broken("max_pool", "last of equals wins", Text("!(value <= best)", "!(value < best)")),
    broken("max_pool", "padding wins", Text("h < params.h && w < params.w", "true")),
    broken("max_pool", "H and W swapped", Swap("h", "w")),
    broken("max_pool_backward", "second window forgotten", Text("(h + 1u) / 2u", "h / 2u")),
    broken("max_pool_backward", "H and W swapped", Swap("h", "w")),
    broken("quantize", "rounded down", Text("round(", "floor(")),
    broken(
        "quantize",
        "halves away from zero",
        Text("round(x[i] * params.scale)", "sign(x[i]) * floor(abs(x[i] * params.scale) + 0.5)"),
    ),
    broken("quantize", "not limited", Text("vec4<f32>(most))", "vec4<f32>(most + 1.0))")),
    broken(
        "s3_update",
        "order of the gates reversed",
        Text("ones(latents[(first + t - 1u)", "ones(latents[(first + gates - t)"),
    ),
    broken(
        "s3_update",
        "H(0) = 1 for old gates",
        Text("* params.quads + i] > vec4<f32>(0.0)) <<", "* params.quads + i] >= vec4<f32>(0.0)) <<"),
    ),
    broken("s3_update", "H(0) = 1 for new gates", Text("moved > vec4<f32>(0.0)", "moved >= vec4<f32>(0.0)")),
    broken("s3_update", "H(0) = 1 for new sparsity", Text("new_sparse > vec4", "new_sparse >= vec4")),
    broken(
        "s3_update",
        "H(0) = 1 for old sparsity",
        Text("sparse > vec4<f32>(0.0));\n    let bits", "sparse >= vec4<f32>(0.0));\n    let bits"),
    ),
    broken("s3_update", "sgn(0) = -1", Text("vec4<f32>(1.0), x >= vec4", "vec4<f32>(1.0), x > vec4")),
    broken(
        "s3_update",
        "flips from sgn(0) = -1",
        Text("positive = latents[i] >= vec4", "positive = latents[i] > vec4"),
    ),
    broken(
        "s3_update",
        "zero is -0",
        Text("select(vec4<f32>(0.0), sign_of(new_sign)", "select(vec4<f32>(-0.0), sign_of(new_sign)"),
    ),
    broken("s3_update", "regularizer at 0", Text("sparse < vec4<f32>(0.0));", "sparse <= vec4<f32>(0.0));")),
    broken("s3_update", "log2 forgotten", Text(" * LN_2", "")),
    broken("s3_update", "counters of the wrong layer", Text("i / 16u", "i / 32u")),
    broken("s3_update", "goes on after a stop", Text("&& status[0] == 0u", "")),
    broken("s3_update", "no step of the last flip", Text("f32(step.step)", "0.0")),
    broken("s3_update", "zeros that stay are counted", Text("was_zero != is_zero", "was_zero | is_zero")),
    broken("s3_update", "shifts from zero are counted", Text("!was_zero & !is_zero &", "!is_zero &")),
    broken(
        "denseshift_update",
        "the weight's own gradient",
        Text(
            "sqrt(vec4<f32>(shifts_below(params.form + 1u, bits)) + 1.0)",
            "vec4<f32>(power(shifts_below(params.form + 1u, bits)))",
        ),
    ),
    broken("denseshift_update", "slope of the root forgotten", Text("(0.5 / root)", "0.5")),
    broken("denseshift_update", "first gate forgotten", Text("open_gates(i, 1u", "open_gates(i, 2u")),
    broken("deepshift_q_update", "rounded at the arithmetic mean", Text("0x3504f3u", "0x400000u")),
    broken(
        "deepshift_q_update",
        "latent not kept in its range",
        Text("latents[i] = select(-size, size, positive);", ""),
    ),
    broken(
        "deepshift_q_update",
        "smallest power one too small",
        Text("127u - params.form", "126u - params.form"),
    ),
    broken("deepshift_q_update", "sgn(0) = -1", Text("moved >= vec4", "moved > vec4")),
    broken("deepshift_ps_update", "log2 forgotten", Text(" * LN_2", "")),
    broken(
        "deepshift_ps_update",
        "sign not rounded",
        Text("abs(s) > vec4<f32>(0.5)", "abs(s) > vec4<f32>(0.0)"),
    ),
    broken("deepshift_ps_update", "shift rounded down", Text("round(p)", "floor(p)")),
    broken(
        "deepshift_ps_update",
        "shift not kept in its range",
        Text("vec4<f32>(-f32(params.form))", "vec4<f32>(-126.0)"),
    ),
    broken(
        "deepshift_ps_update",
        "gradient of the new sign",
        Text("g * sign * power", "g * rounded_sign(s) * power"),
    ),
    broken("inq_update", "fixed weights move", Text("select(descend(i, g), old, still)", "descend(i, g)")),
    broken("inq_update", "momentum of fixed weights moves", Text("velocity, still)", "momenta[i], still)")),
    broken("inq_update", "changes of real weights are counted", Param("counted", "1u")),
    broken("ternary_update", "weights overwritten", Text("return w[i]", "return latents[i]")),
    broken("fp32_update", "decay forgotten", Text("params.weight_decay * old", "0.0 * old")),
    broken("layer_means", "first of each layer forgotten", Text("var i = local", "var i = local + 1u")),
    broken("layer_means", "mean of the blocks", Text("3u * layer + 2u", "3u * layer + 1u")),
    broken("magnitudes", "signs kept", Text("abs(v[16u * i + quad])", "v[16u * i + quad]")),
    broken("magnitudes", "a quad forgotten", Text("quad < 16u", "quad < 15u")),
    broken("ternarize", "border is not zero", Text("v[i] > border", "v[i] >= border")),
    broken("ternarize", "no negative weights", Text("v[i] < -border", "v[i] < -4.0 * border")),
    broken(
        "ternarize",
        "zeros that stay are counted",
        Text("!= (next == vec4<f32>(0.0))", "| (next == vec4<f32>(0.0))"),
    ),
    broken("sgd", "decay forgotten", Text("params.weight_decay * old", "0.0 * old")),
    broken("sgd", "goes on after a stop", Text("&& status[0] == 0u", "")),
    broken("shortcut_a", "all zero channels behind", Text("quad - params.front / 4u", "quad")),
    broken("shortcut_a", "H and W swapped", Swap("h", "w")),
    broken("shortcut_a_backward", "all zero channels behind", Text(" + params.front / 4u", "")),
    broken("shortcut_a_integer", "all zero channels behind", Text("quad - params.front / 4u", "quad")),
    broken("shortcut_a_integer", "second word forgotten", Text("x[2u * at + 1u]", "x[2u * at]")),
    broken("shortcut_a_backward", "odd columns", Text("(h | w)", "h")),
    broken("softmax_cross_entropy", "ties in reverse", Text("k < label", "k > label")),
    broken("softmax_cross_entropy", "onehot forgotten", Text(" - onehot", "")),
    broken(
        "softmax_cross_entropy",
        "images without a label count",
        Text("vec4<f32>(loss, hits, f32(winner)), counts", "vec4<f32>(loss, hits, f32(winner)), true"),
    ),
    broken("softmax_cross_entropy", "not shifted by the largest", Text("log(sum) + largest", "log(sum)")),
    broken(
        "softmax_cross_entropy",
        "second micro-batch overwrites",
        Text("step.micro > 0u", "step.micro > 1u"),
    ),
    broken("softmax_cross_entropy", "status is not sticky", Text("!finite && status[0] == 0u", "!finite")),
    broken(
        "softmax_cross_entropy",
        "infinity passes",
        Text("!= 0x7f800000u;", "!= 0x7f800000u || row.x > 1e38;"),
    ),
    broken("softmax_cross_entropy", "a run forgotten", Text("other = 1u", "other = 2u")),
    broken("softmax_cross_entropy", "logs without training", Text("params.log == 1u", "true")),
    broken("sum_partials", "a split forgotten", Text("split = local / 16u", "split = local / 16u + 4u")),
    broken("sum_partials", "every eighth split forgotten", Text(" + b[3]", "")),
    broken("sum_partials", "every second eight of splits forgotten", Text("split += 32u", "split += 64u")),
    broken("sum_partials", "splits past the last", Text("partial[at.w], live.w", "partial[at.w], true")),
    broken("sum_partials", "an invocation's sum forgotten", Text(" + sums[quad + 48u]", "")),
    broken("sum_partials", "overwrites", Text("accumulate == 1u", "accumulate == 2u")),
    broken("sum_partials", "whole blocks", Text("quad < row.w", "true")),
    broken(
        "sum_partials",
        "blocks without parts cleared",
        Text("live && local < 16u && row.z > 0u", "i < params.quads && local < 16u"),
    ),
    varied("conv2d_forward", "subgroup", "another column's weights", Text("lane0 + 1u", "lane0 + 2u")),
    varied("conv2d_forward", "subgroup", "a lane's statistics forgotten", Text("lane ^ step", "lane & step")),
    varied("conv2d_forward", "subgroup", "padding ignored", Param("pad", "0u")),
    varied(
        "conv2d_forward",
        "subgroup",
        "goes on into the next chunk",
        Text("i1 < vec4<u32>(end)", "i1 >= vec4<u32>(0u)"),
    ),
    varied("conv2d_folded", "subgroup", "another column's weights", Text("lane0 + 1u", "lane0 + 2u")),
    varied("conv2d_folded", "subgroup", "scale forgotten", Text("value * affine[k]", "value")),
    varied("conv2d_folded", "tile-32x32", "H and W swapped", Swap("h", "w")),
    varied(
        "conv2d_folded",
        "tile-32x32",
        "a quarter forgotten",
        Text("put(pixel * k4 + k, k, a)", "put(pixel * k4 + k, k4 - 1u, a)"),
    ),
    varied("conv2d_packed", "subgroup", "another channel's codes", Text("2u + half", "3u - half")),
    varied(
        "conv2d_packed",
        "tile-32x32",
        "another channel's codes",
        Text("of_channel(even, odd, 2u)", "of_channel(even, odd, 1u)"),
    ),
    varied("conv2d_input_grad", "subgroup", "another channel's weights", Text("row1 + k", "row0 + k")),
    varied("conv2d_input_grad", "subgroup", "H and W swapped", Swap("h", "w")),
    varied("conv2d_weight_grad", "subgroup", "another pixel's gradient", Text("holder + 1u", "holder + 2u")),
    varied("conv2d_weight_grad", "subgroup", "pixels behind the last", Text("q + lane < params.q", "true")),
    varied("conv2d_forward", "tile-32x32", "padding ignored", Param("pad", "0u")),
    varied("conv2d_forward", "tile-32x32", "last entries forgotten", Text("entries + Q", "entries")),
    varied(
        "conv2d_forward",
        "tile-32x32",
        "a thread's statistics counted twice",
        Text("done += count", "done += 2u * count"),
    ),
    varied(
        "conv2d_input_grad",
        "tile-32x32",
        "taps of a row as one",
        Text("tap_r * params.q + tap_s", "tap_r * params.q"),
    ),
    varied("conv2d_input_grad", "tile-32x32", "P and Q swapped", Swap("p", "q")),
    varied(
        "conv2d_weight_grad",
        "tile-32x32",
        "rows of the last image",
        Text("p == vec4<u32>(params.p)", "p > vec4<u32>(params.p)"),
    ),
    varied("conv2d_weight_grad", "tile-32x32", "stride ignored", Param("stride", "1u")),
];
