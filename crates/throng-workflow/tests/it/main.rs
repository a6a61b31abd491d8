//! Tests of the crate as others use it.

/// A test that holds a text against its snapshot.
macro_rules! snapshot {
    ($name:ident, $found:expr) => {
        #[test]
        fn $name() {
            insta::with_settings!({ omit_expression => true }, { insta::assert_snapshot!($found); });
        }
    };
}

mod crowd;
mod fake;
mod format;
mod http;
mod http_keys;
mod listening;
mod load;
mod problems;
mod roster;
mod run;
mod shop;
mod tokens;
