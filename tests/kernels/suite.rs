//! Dispatches with random inputs, run on a GPU and by the CPU twins, and compared.

use crate::compare::compare;
use shiftnet::engine::{Engine, Target};
use shiftnet::kernels::{self, Access, Variant, choose};
use shiftnet::plan::{ALIGN, Dispatch, Elem, List, Plan, Role, View};
use shiftnet::rng::{Draws, Stream};
use std::collections::BTreeSet;
use std::sync::Arc;

/// One ULP of 1. A sum of k rounded products, in any order, is off by less than k / 2 of it times the sum
/// of the products' magnitudes; the bounds here leave a factor of two for the twin's own rounding.
pub const EPS: f64 = f32::EPSILON as f64;

/// How near the GPU must come to the twin.
#[derive(Clone, Debug)]
pub enum Tolerance {
    /// Equal numbers (0 equals -0).
    Exact,
    /// Equal bits.
    Bits,
    /// Sums of this many products: terms * EPS * the same sum of magnitudes, which is what the twin
    /// computes from the inputs' absolute values.
    Terms(usize),
    /// A bound for each element.
    Each(Vec<f64>),
    /// These elements must not be finite on either side; a bound for each of the others.
    NotFinite(Vec<usize>, Vec<f64>),
}

/// What is compared of one view that a dispatch writes.
struct Check {
    view: View,
    binding: &'static str,
    tolerance: Tolerance,
}

/// A dispatch and what is compared of it.
pub struct Case {
    pub stem: &'static str,
    pub name: String,
    checks: Vec<Check>,
}

/// Cases that share one plan, so that an engine compiles each kernel once for all of them.
#[derive(Default)]
pub struct Suite {
    pub plan: Plan,
    pub cases: Vec<Case>,
    data: Vec<(View, Vec<usize>, Vec<u32>)>,
}

/// Random numbers for `name`: independent of the order in which suites are built.
pub fn draws(name: &str) -> Draws {
    Draws::new(20_260_101, Stream::Synthetic, 0, crc32fast::hash(name.as_bytes()))
}

/// `dispatch` by the variant that `target` forces, where its kernel has that, the adapter runs it and it fits. A folded grid
/// stays folded.
fn varied(dispatch: &Dispatch, target: &Target) -> Dispatch {
    let forced = target.choices().forced.as_deref();
    let variant = forced.and_then(|name| kernels::get(dispatch.stem).variant(name));
    let able = |v: &&Variant| v.runs_on(&target.capabilities()) && choose::fits(v, dispatch);
    let Some(variant) = variant.filter(able) else {
        return dispatch.clone();
    };
    let mut other = kernels::with_variant(dispatch.clone(), variant);
    if let ([x @ (2..), 1], 2..) = (other.groups, dispatch.groups[1]) {
        other.groups = [x.div_ceil(2), 2];
    }
    other
}

impl Suite {
    fn place(&mut self, shape: &[usize], elem: Elem, words: Vec<u32>) -> View {
        let name = format!("buffer {}", self.plan.buffers.len());
        assert_eq!(words.len(), shape.iter().product::<usize>(), "{name}");
        // Views that do not start with their buffer, so that offsets are tested throughout.
        let whole = self.plan.buffer(name, &[ALIGN + words.len()], elem, Role::State);
        let view = whole.slice(ALIGN, words.len());
        self.data.push((view, shape.to_vec(), words));
        view
    }

    pub fn f32s(&mut self, shape: &[usize], mut value: impl FnMut() -> f32) -> View {
        let words = (0..shape.iter().product()).map(|_| value().to_bits()).collect();
        self.place(shape, Elem::F32, words)
    }

    pub fn u32s(&mut self, words: &[u32]) -> View {
        self.place(&[words.len()], Elem::U32, words.to_vec())
    }

    /// Standard normal numbers.
    pub fn normal(&mut self, draws: &mut Draws, shape: &[usize]) -> View {
        self.f32s(shape, || draws.normal())
    }

    /// A buffer whose every element must be written: it holds NaN before.
    pub fn output(&mut self, shape: &[usize]) -> View {
        self.f32s(shape, || f32::NAN)
    }

    /// Adds `dispatch` to the forward list; `tolerances` are those of the bindings that it writes.
    /// Every second grid of a kernel is folded to two rows, as large grids are.
    pub fn case(
        &mut self,
        name: impl Into<String>,
        dispatch: shiftnet::Result<Dispatch>,
        tolerances: impl IntoIterator<Item = Tolerance>,
    ) {
        let mut dispatch = dispatch.expect("shapes fit");
        let kernel = kernels::get(dispatch.stem);
        let written = kernel.bindings.iter().zip(&dispatch.views).filter(|(b, _)| b.access == Access::Write);
        let mut tolerances = tolerances.into_iter();
        let checks = written.map(|(binding, &view)| {
            let tolerance = tolerances.next().expect("a tolerance for every written binding");
            Check { view, binding: binding.name, tolerance }
        });
        let checks = checks.collect();
        assert!(tolerances.next().is_none(), "a written binding for every tolerance");
        let large = |d: &&Dispatch| d.stem == kernel.stem && d.groups != [1, 1];
        let before = self.plan.list(List::Forward).iter().filter(large).count();
        if let ([x @ (2..), 1], 0) = (dispatch.groups, before % 2) {
            dispatch.groups = [x.div_ceil(2), 2];
        }
        self.plan.push(List::Forward, dispatch);
        self.cases.push(Case { stem: kernel.stem, name: name.into(), checks });
    }

    /// The kernels that this suite runs.
    pub fn stems(&self) -> BTreeSet<&'static str> {
        List::ALL.iter().flat_map(|&list| self.plan.list(list)).map(|dispatch| dispatch.stem).collect()
    }

    /// What `view` holds before the run.
    pub fn values(&self, view: View) -> Vec<f32> {
        self.words(view).iter().map(|&word| f32::from_bits(word)).collect()
    }

    fn words(&self, view: View) -> &[u32] {
        &self.data[view.buffer.0].2
    }

    /// An engine with this suite's buffers and the dispatches of `stems`, ready to run.
    pub fn load(&self, target: &Target, stems: &BTreeSet<&str>) -> shiftnet::Result<Box<dyn Engine>> {
        let mut plan = Plan::default();
        plan.buffers = self.plan.buffers.clone();
        for list in List::ALL {
            for dispatch in self.plan.list(list).iter().filter(|d| stems.contains(d.stem)) {
                plan.push(list, varied(dispatch, target));
            }
        }
        let mut engine = target.load(Arc::new(plan))?;
        for (view, _, words) in &self.data {
            engine.write(*view, bytemuck::cast_slice(words))?;
        }
        Ok(engine)
    }

    /// Runs the cases of `stems` on `target` and returns what they wrote, a list of checks for each case.
    pub fn run(
        &self,
        target: &Target,
        stems: &BTreeSet<&str>,
        magnitudes: bool,
    ) -> shiftnet::Result<Outputs> {
        let mut engine = self.load(target, stems)?;
        for (view, _, words) in self.data.iter().filter(|_| magnitudes) {
            if self.plan.buffers[view.buffer.0].elem == Elem::F32 {
                let words: Vec<u32> = words.iter().map(|word| word & !(1 << 31)).collect();
                engine.write(*view, bytemuck::cast_slice(&words))?;
            }
        }
        engine.run(List::Forward)?;
        let mut fetch = |check: &Check| Ok(bytemuck::pod_collect_to_vec(&engine.fetch(check.view)?));
        let run = |case: &Case| case.checks.iter().map(&mut fetch).collect();
        self.cases.iter().filter(|case| stems.contains(case.stem)).map(run).collect()
    }

    /// Compares `target` with the twins on the cases of `stems`: each case with what is wrong, if anything.
    pub fn check(&self, target: &Target, stems: &BTreeSet<&str>) -> shiftnet::Result<Vec<(&Case, Report)>> {
        let got = self.run(target, stems, false)?;
        let expected = self.run(&Target::twins(), stems, false)?;
        let magnitudes = self.run(&Target::twins(), stems, true)?;
        let cases = self.cases.iter().filter(|case| stems.contains(case.stem));
        let outputs = got.iter().zip(&expected).zip(&magnitudes);
        Ok(cases.zip(outputs).map(|(case, ((g, e), m))| (case, self.report(case, g, e, m))).collect())
    }

    fn report(&self, case: &Case, got: &[Words], expected: &[Words], magnitudes: &[Words]) -> Report {
        for (((check, got), expected), magnitudes) in
            case.checks.iter().zip(got).zip(expected).zip(magnitudes)
        {
            self.compare(check, got, expected, magnitudes).map_err(|e| format!("{} {e}", check.binding))?;
        }
        Ok(())
    }

    fn compare(&self, check: &Check, got: &Words, expected: &Words, magnitudes: &Words) -> Report {
        let shape = &self.data[check.view.buffer.0].1;
        let integers = self.plan.buffers[check.view.buffer.0].elem == Elem::U32;
        let floats = |words: &Words| words.iter().map(|&w| f32::from_bits(w)).collect::<Vec<f32>>();
        match &check.tolerance {
            Tolerance::Exact if integers => compare(got, expected, 0.0, shape),
            Tolerance::Bits => compare(got, expected, 0.0, shape),
            Tolerance::Exact => compare(&floats(got), &floats(expected), 0.0, shape),
            Tolerance::Terms(terms) => {
                let bound = |m: f32| *terms as f64 * EPS * f64::from(m.abs());
                let bounds: Vec<f64> = floats(magnitudes).into_iter().map(bound).collect();
                compare(&floats(got), &floats(expected), &bounds[..], shape)
            }
            Tolerance::Each(bounds) => compare(&floats(got), &floats(expected), &bounds[..], shape),
            Tolerance::NotFinite(at, bounds) => {
                let [mut got, mut expected] = [floats(got), floats(expected)];
                for values in [&mut got, &mut expected] {
                    for &at in at {
                        if std::mem::take(&mut values[at]).is_finite() {
                            return Err(format!("[{at}] is finite"));
                        }
                    }
                }
                compare(&got, &expected, &bounds[..], shape)
            }
        }
    }
}

type Words = Vec<u32>;
pub type Outputs = Vec<Vec<Words>>;
pub type Report = Result<(), String>;
