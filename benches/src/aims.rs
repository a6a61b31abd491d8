//! What throng aims for, and whether it is met.

use serde_json::{Value, json};

/// One figure beside its limit.
pub(crate) struct Aim {
    pub(crate) what: String,
    pub(crate) value: f64,
    /// The figure may be at most this.
    pub(crate) limit: f64,
}

impl Aim {
    pub(crate) fn met(&self) -> bool {
        self.value <= self.limit
    }

    pub(crate) fn as_json(&self) -> Value {
        json!({"aim": self.what, "value": self.value, "limit": self.limit, "met": self.met()})
    }
}

/// Print them, a line each.
pub(crate) fn print<'a>(aims: impl IntoIterator<Item = &'a Aim>) {
    println!("\naims (at most)");
    for aim in aims {
        let outcome = if aim.met() { "met" } else { "MISSED" };
        println!(
            "  {:<62} {:>9.3} {:>9.3}  {outcome}",
            aim.what, aim.value, aim.limit
        );
    }
}
