//! `assert_close!` itself: what it must object to, and what it says.

use crate::assert_close;
use crate::compare::compare;

#[test]
fn equal_and_nearly_equal_pass() {
    assert_close!([1.0f32, -2.5], [1.0f32, -2.5], 0.0);
    assert_close!([1.0f32, 2.0], [1.125f32, 2.0], 0.125);
    assert_close!([1u32, u32::MAX], [1u32, u32::MAX], 0.0);
    assert_close!([1.0f32, 2.0], [1.5f32, 2.0], &[0.5, 0.0][..]);
}

#[test]
#[should_panic(expected = "NaN")]
fn nan_is_refused() {
    assert_close!([1.0f32, f32::NAN], [1.0f32, 2.0], 1e30);
}

#[test]
#[should_panic(expected = "NaN")]
fn nan_on_both_sides_is_refused() {
    assert_close!([f32::NAN], [f32::NAN], 1e30);
}

#[test]
#[should_panic(expected = "inf")]
fn infinity_on_both_sides_is_refused() {
    assert_close!([f32::INFINITY], [f32::INFINITY], f64::INFINITY);
}

#[test]
#[should_panic(expected = "expected NaN")]
fn an_expected_nan_is_refused() {
    assert_close!([1.0f32], [f32::NAN], f64::INFINITY);
}

#[test]
#[should_panic(expected = "off")]
fn an_expected_infinity_is_refused() {
    assert_close!([1.0f32], [f32::INFINITY], 1e30);
}

#[test]
#[should_panic(expected = "tolerance NaN")]
fn a_nan_tolerance_is_refused() {
    assert_close!([1.0f32], [1.0f32], f64::NAN);
}

#[test]
#[should_panic(expected = "2 values, 3 expected")]
fn a_missing_value_is_refused() {
    assert_close!([1.0f32, 2.0], [1.0f32, 2.0, 3.0], 1e30);
}

#[test]
#[should_panic(expected = "1 tolerances")]
fn a_missing_tolerance_is_refused() {
    assert_close!([1.0f32, 2.0], [1.0f32, 2.0], &[0.0][..]);
}

#[test]
#[should_panic(expected = "nothing to compare")]
fn empty_slices_are_refused() {
    assert_close!([0.0f32; 0], [0.0f32; 0], 1.0);
}

#[test]
fn the_message_names_place_values_tolerance_and_count() {
    let expected: Vec<f32> = (0..24).map(|i| i as f32).collect();
    let mut got = expected.clone();
    got[17] += 0.5;
    got[20] -= 0.75;
    let message = compare(&got, &expected, 0.25, &[2, 3, 4]).unwrap_err();
    assert_eq!(
        message,
        "at (1, 1, 1): got 1.75e1, expected 1.7e1, differ by 5e-1, tolerance 2.5e-1; 2 of 24 compared are off"
    );
    assert!(compare(&got, &expected, 0.25, &[]).unwrap_err().starts_with("at [17]"));
}
