//! Records as text for people.

use super::record::{Bound, Ceilings, DataTimes, KernelTimes, Phases, RunTimes, ScalePoint};
use super::runs::GRAPH;
use crate::columns::columns;

/// The ceilings, one a line.
pub fn ceilings(c: &Ceilings) -> String {
    let mut lines = vec![
        ("copy".to_string(), c.copy_gb_per_s, "GB/s"),
        ("f32 multiply-add".into(), c.fma_f32_gflop_per_s, "GFLOP/s"),
    ];
    lines.extend(c.fma_f16_gflop_per_s.map(|rate| ("f16 multiply-add".into(), rate, "GFLOP/s")));
    lines.extend(c.dot4i8_gop_per_s.map(|rate| ("dot4I8Packed".into(), rate, "GOP/s")));
    let gemm = format!("f32 1024x1024 matrix product ({})", c.gemm_kernel);
    lines.push((gemm, c.gemm_f32_gflop_per_s, "GFLOP/s"));
    let row = |(name, rate, unit): (String, f64, &str)| vec![name, unit.to_string(), number(rate)];
    let rows: Vec<_> = lines.into_iter().map(row).collect();
    columns(&["ceilings", "", ""], 2.., &rows)
}

/// How fast images are read.
pub fn data(times: &[DataTimes]) -> String {
    let row = |t: &DataTimes| {
        vec![t.work.clone(), t.threads.to_string(), t.images.to_string(), number(t.images_per_s)]
    };
    let rows: Vec<_> = times.iter().map(row).collect();
    columns(&["reading", "threads", "images", "images/s"], 1.., &rows)
}

/// Kernels at their shapes.
pub fn kernels(kernels: &[KernelTimes]) -> String {
    let head = [
        "kernel", "layer", "shape", "a step", "of it", "ms", "+-", "n", "GFLOP/s", "GB/s", "ceiling",
        "of that",
    ];
    let row = |k: &KernelTimes| {
        let name =
            if k.variant.is_empty() { k.kernel.clone() } else { format!("{} {}", k.kernel, k.variant) };
        let bound = match (k.bound, k.share_of_gemm) {
            (Bound::Memory, _) => "copy".to_string(),
            (Bound::Compute, None) => "FMA".into(),
            (Bound::Compute, Some(share)) => format!("FMA, {} of GEMM", percent(share)),
        };
        vec![
            if k.checked { name } else { format!("{name} (unchecked)") },
            k.layer.clone(),
            k.shape.clone(),
            k.count.to_string(),
            format!("{:.1} %", 100.0 * k.share_of_step),
            number(k.ms.median),
            number(k.ms.spread),
            k.ms.samples.to_string(),
            number(k.gflop_per_s),
            number(k.gb_per_s),
            bound,
            percent(k.share),
        ]
    };
    columns(&head, 3.., &kernels.iter().map(row).collect::<Vec<_>>())
}

/// The head of a column of times: above 1, a row is slower than full precision.
const OVER_FP32: &str = "time over fp32's";

/// Training steps or evaluations, and what the last column compares.
pub fn runs(what: &str, runs: &[RunTimes]) -> String {
    let head = [
        what, "method", "form", "batch", "images/s", "ms", "+-", "n", "GFLOP/s", "forward", "backward",
        "update", "host", OVER_FP32,
    ];
    let row = |r: &RunTimes| {
        let method =
            if r.method == "fp32" { r.method.clone() } else { format!("{} {}-bit", r.method, r.bits) };
        let phase = |of: fn(&Phases) -> f64| r.phases_ms.as_ref().map_or("-".into(), |p| number(of(p)));
        vec![
            r.arch.clone(),
            method,
            r.precision.clone(),
            r.batch.to_string(),
            number(r.images_per_s),
            number(r.ms.median),
            number(r.ms.spread),
            r.ms.samples.to_string(),
            number(r.gflop_per_s),
            phase(|p| p.forward),
            phase(|p| p.backward),
            phase(|p| p.update),
            phase(|p| p.host),
            r.time_over_fp32.map_or("-".into(), |ratio| format!("{ratio:.3}")),
        ]
    };
    let table = columns(&head, 3.., &runs.iter().map(row).collect::<Vec<_>>());
    match forms_of_fp32(runs) {
        None => table,
        Some(forms) => format!(
            "{table}\n{OVER_FP32}: the median of the ratios of times measured in turn, above 1 where a row is slower; {forms}"
        ),
    }
}

/// Whether `other` is what `own` is compared with, if it is the first such: what is deployed with what is deployed.
fn is_full(own: &RunTimes, other: &RunTimes) -> bool {
    let graph = |run: &RunTimes| run.precision == GRAPH;
    other.method == "fp32"
        && graph(own) == graph(other)
        && (&own.arch, own.batch) == (&other.arch, other.batch)
}

/// Which form of full precision the rows of each form are compared with, in words; `None` where no row is.
fn forms_of_fp32(runs: &[RunTimes]) -> Option<String> {
    let mut forms: Vec<(&str, Vec<&str>)> = Vec::new();
    for own in runs.iter().filter(|own| own.time_over_fp32.is_some()) {
        let Some(plain) = runs.iter().find(|other| is_full(own, other)) else { continue };
        let at = forms.iter().position(|(form, _)| *form == plain.precision).unwrap_or_else(|| {
            forms.push((&plain.precision, vec![]));
            forms.len() - 1
        });
        if !forms[at].1.contains(&own.precision.as_str()) {
            forms[at].1.push(&own.precision);
        }
    }
    let words = forms.iter().map(|(plain, own)| format!("{} over fp32's form {plain}", own.join(", ")));
    (!forms.is_empty()).then(|| format!("form {}", words.collect::<Vec<_>>().join("; ")))
}

/// Training at several sizes.
pub fn scale(points: &[ScalePoint]) -> String {
    let head =
        ["against", "network", "bits", "batch", "images/s", "ms", "+-", "n", "plan MiB", "resident MiB"];
    let mebibytes = |bytes: u64| number(bytes as f64 / f64::from(1 << 20));
    let row = |p: &ScalePoint| {
        vec![
            p.sweep.clone(),
            p.arch.clone(),
            p.bits.to_string(),
            p.batch.to_string(),
            number(p.images_per_s),
            number(p.ms.median),
            number(p.ms.spread),
            p.ms.samples.to_string(),
            mebibytes(p.plan_bytes),
            p.resident_bytes.map_or("-".into(), mebibytes),
        ]
    };
    columns(&head, 2.., &points.iter().map(row).collect::<Vec<_>>())
}

/// Three or four digits that count.
pub fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        v if v >= 0.001 => format!("{value:.4}"),
        _ => format!("{value:.1e}"),
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::record::Times;

    fn times(method: &str, precision: &str, time_over_fp32: Option<f64>) -> RunTimes {
        RunTimes {
            arch: "resnet8".into(),
            method: method.into(),
            bits: 3,
            batch: 8,
            precision: precision.into(),
            images_per_s: 100.0,
            gflop_per_s: 1.0,
            phases_ms: None,
            dispatches: 1,
            plan_bytes: 1,
            time_over_fp32,
            ms: Times::of(&[80.0]),
        }
    }

    #[test]
    fn what_a_row_is_compared_with_is_said() {
        let graph = [times("fp32", "fp32", None), times("s3", "fp32", Some(1.25))];
        let text = runs("training", &graph);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("host  time over fp32's") && lines[2].ends_with("1.250"), "{text}");
        assert!(lines[3].starts_with("time over fp32's: the median of the ratios"), "{text}");
        assert!(lines[3].ends_with("slower; form fp32 over fp32's form fp32"), "{text}");
        let deployed = [
            times("fp32", "fp32 folded", None),
            times("s3", "fp32 packed", Some(0.9)),
            times("s3", "int8 dp4a", Some(0.8)),
        ];
        let text = runs("inference", &[&graph[..], &deployed].concat());
        assert!(
            text.ends_with("fp32's form fp32; fp32 packed, int8 dp4a over fp32's form fp32 folded"),
            "{text}"
        );
        assert_eq!(runs("training", &graph[..1]).lines().count(), 2, "nothing is compared");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let texts = [0.0, 12345.6, 12.34, 1.234, 0.01234, 0.00001234].map(number);
        assert_eq!(texts, ["0", "12346", "12.3", "1.23", "0.0123", "1.2e-5"]);
    }
}
