//! What is generated, held against the rules that it is generated from.

mod values;
