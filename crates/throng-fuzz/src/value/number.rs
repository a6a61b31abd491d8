//! Numbers: small ones, any, and the edges of the types that programs keep them in.

use proptest::num::{f64::BinarySearch as FloatSearch, i128::BinarySearch};
use proptest::prelude::*;
use proptest::strategy::{NewTree, SBoxedStrategy, Union, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Number, Value};

/// The edges of integer types: signed and unsigned of 8, 16, 32 and 64 bits, and of the integers that a double can count.
const EDGES: [i128; 17] = [
    0,
    1,
    -1,
    i8::MAX as i128,
    u8::MAX as i128,
    i16::MAX as i128,
    u16::MAX as i128,
    i32::MIN as i128,
    i32::MAX as i128,
    u32::MAX as i128,
    -(1 << 53),
    (1 << 53) - 1,
    1 << 53,
    i64::MIN as i128,
    i64::MAX as i128,
    u64::MAX as i128,
    -129,
];

/// Doubles that programs stumble over.
const ODD_DOUBLES: [f64; 12] = [
    0.0,
    -0.0,
    0.1,
    -0.1,
    1.5,
    1e-7,
    5e-324,
    f64::MIN_POSITIVE,
    1e21,
    1e308,
    f64::MAX,
    f64::MIN,
];

/// An integer of a set, or one beside it; shrinks toward 0 in few steps, to the smallest that still fails.
#[derive(Clone, Debug)]
struct Edges(Vec<i128>);

impl Strategy for Edges {
    type Tree = BinarySearch;
    type Value = i128;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let place = (0..self.0.len()).new_tree(runner)?.current();
        Ok(BinarySearch::new(self.0[place]))
    }
}

/// The same for doubles.
#[derive(Clone, Debug)]
struct OddDoubles(Vec<f64>);

impl Strategy for OddDoubles {
    type Tree = FloatSearch;
    type Value = f64;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let place = (0..self.0.len()).new_tree(runner)?.current();
        Ok(FloatSearch::new(self.0[place]))
    }
}

/// As JSON: integers beyond 64 bits become doubles.
pub(super) fn json_integer(number: i128) -> Value {
    if let Ok(number) = i64::try_from(number) {
        return Value::from(number);
    }
    match u64::try_from(number) {
        Ok(number) => Value::from(number),
        Err(_) => json_double(number as f64),
    }
}

fn json_double(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::from(0), Value::Number)
}

/// Integers from `least` to `most`, both allowed; of `step` only multiples. Without bounds: those of 64 bits, signed and
/// unsigned. `None` where there's none.
pub(super) fn integers(
    least: Option<i128>,
    most: Option<i128>,
    step: Option<i128>,
) -> Option<SBoxedStrategy<i128>> {
    let step = step.filter(|step| *step > 0).unwrap_or(1);
    let low = least.unwrap_or_else(|| most.unwrap_or(0).min(i128::from(i64::MIN)));
    let high = most.unwrap_or_else(|| low.max(i128::from(u64::MAX)));
    let low = -(-low).div_euclid(step);
    let high = high.div_euclid(step);
    if low > high {
        return None;
    }
    let small = (low.max(-100).min(high))..=(high.min(100).max(low));
    let edges: Vec<i128> = EDGES
        .into_iter()
        .flat_map(|edge| [edge / step, edge / step + 1])
        .chain([low, high, low.saturating_add(1), high - 1])
        .filter(|edge| (low..=high).contains(edge))
        .collect();
    let clamped = Edges(edges).prop_map(move |number| number.clamp(low, high));
    let choices = Union::new_weighted(vec![
        (5, small.sboxed()),
        (3, (low..=high).sboxed()),
        (4, clamped.sboxed()),
    ]);
    Some(choices.prop_map(move |number| number * step).sboxed())
}

/// Doubles from `least` to `most`, both allowed. `None` where there's none.
pub(super) fn doubles(least: Option<f64>, most: Option<f64>) -> Option<SBoxedStrategy<f64>> {
    let low = least.unwrap_or(f64::MIN);
    let high = most.unwrap_or(f64::MAX);
    if low > high {
        return None;
    }
    let clamp = move |number: f64| number.clamp(low, high);
    let small = (-1000.0..1000.0_f64).prop_map(clamp);
    // Half of the range on each side, since the whole would overflow.
    let any = (low / 2.0..=high / 2.0).prop_map(move |number| clamp(number * 2.0));
    let odd: Vec<f64> = ODD_DOUBLES
        .into_iter()
        .chain([low, high])
        .filter(|number| (low..=high).contains(number))
        .collect();
    let odd = OddDoubles(odd).prop_map(clamp);
    let choices = vec![(4, small.sboxed()), (2, any.sboxed()), (3, odd.sboxed())];
    Some(Union::new_weighted(choices).sboxed())
}

/// Doubles as JSON.
pub(super) fn json_doubles(numbers: SBoxedStrategy<f64>) -> super::Values {
    numbers.prop_map(json_double).sboxed()
}

/// Any number that JSON can carry in 64 bits or as a double.
pub(super) fn any_number() -> super::Values {
    let mut choices = Vec::new();
    if let Some(integers) = integers(None, None, None) {
        choices.push((3, integers.prop_map(json_integer).sboxed()));
    }
    if let Some(doubles) = doubles(None, None) {
        choices.push((2, json_doubles(doubles)));
    }
    Union::new_weighted(choices).sboxed()
}
