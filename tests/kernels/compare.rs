//! Comparison of numbers that cannot pass by accident.

/// How far each value may be from the expected one.
pub trait Bound {
    /// The tolerance of element `i`.
    fn at(&self, i: usize) -> f64;

    /// Elements that the bound covers, where that is a fixed number.
    fn len(&self) -> Option<usize> {
        None
    }
}

impl Bound for f64 {
    fn at(&self, _: usize) -> f64 {
        *self
    }
}

impl Bound for &[f64] {
    fn at(&self, i: usize) -> f64 {
        self[i]
    }

    fn len(&self) -> Option<usize> {
        Some(<[f64]>::len(self))
    }
}

/// Compares `got` with `expected`, element by element; `shape`, outermost first, is for the message.
///
/// # Errors
/// Says what is wrong where an element is off or not finite, the lengths differ or there is nothing
/// to compare.
#[allow(clippy::neg_cmp_op_on_partial_ord)] // A NaN must fail.
pub fn compare<T: Copy + Into<f64>>(
    got: &[T],
    expected: &[T],
    bound: impl Bound,
    shape: &[usize],
) -> Result<(), String> {
    let count = expected.len();
    if got.len() != count || bound.len().is_some_and(|len| len != count) {
        let tolerances = bound.len().unwrap_or(count);
        return Err(format!("{} values, {count} expected and {tolerances} tolerances", got.len()));
    }
    if count == 0 {
        return Err("nothing to compare".into());
    }
    let pairs = || got.iter().zip(expected).map(|(&g, &e)| (g.into(), e.into())).enumerate();
    // Not `diff > tolerance`, which a NaN passes; and infinities that are equal differ by NaN.
    let off = |&(i, (g, e)): &(usize, (f64, f64))| !((g - e).abs() <= bound.at(i)) || !g.is_finite();
    let Some((i, (g, e))) = pairs().find(off) else { return Ok(()) };
    Err(format!(
        "at {}: got {g:e}, expected {e:e}, differ by {:e}, tolerance {:e}; {} of {count} compared are off",
        index(i, shape),
        (g - e).abs(),
        bound.at(i),
        pairs().filter(off).count(),
    ))
}

/// Element `i` of a tensor of this shape as (n, h, w, c), or as a number where the shape does not say.
fn index(i: usize, shape: &[usize]) -> String {
    if shape.len() < 2 || i >= shape.iter().product() {
        return format!("[{i}]");
    }
    let mut rest = i;
    let mut places: Vec<String> = Vec::new();
    for &len in shape.iter().rev() {
        places.push((rest % len).to_string());
        rest /= len;
    }
    places.reverse();
    format!("({})", places.join(", "))
}

/// Panics unless two slices of equal, nonzero length hold finite numbers that differ by at most the
/// tolerance: an `f64`, or a `&[f64]` with one for each element. A shape, for the message, may follow.
#[macro_export]
macro_rules! assert_close {
    ($got:expr, $expected:expr, $tolerance:expr) => {
        $crate::assert_close!($got, $expected, $tolerance, &[])
    };
    ($got:expr, $expected:expr, $tolerance:expr, $shape:expr) => {
        if let Err(problem) = $crate::compare::compare(&$got[..], &$expected[..], $tolerance, $shape) {
            panic!("{} against {}: {problem}", stringify!($got), stringify!($expected));
        }
    };
}
