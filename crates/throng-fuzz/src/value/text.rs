//! Texts: plain ones first, so that what fails shrinks to letters, and odd ones often.

use std::ops::RangeInclusive;

use proptest::char::range;
use proptest::collection::vec;
use proptest::num::usize::BinarySearch;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{NewTree, SBoxedStrategy, Union, ValueTree};
use proptest::test_runner::TestRunner;

/// How many characters more than it must have a text has, as a rule.
const USUAL_LENGTH: usize = 16;
/// The length of a long text where nothing limits it, in characters.
const LONG: usize = 5_000;
/// The longest text at an upper edge, in characters: what allows more is not tried to the end.
const LONGEST: usize = 100_000;

/// Texts that programs read as something else than text.
const SPECIAL: [&str; 24] = [
    "0",
    "-1",
    " ",
    "\t",
    "\n",
    "null",
    "undefined",
    "true",
    "NaN",
    "1e309",
    "[]",
    "{}",
    "%00",
    "%s%n",
    "../../etc/passwd",
    "' OR '1'='1",
    "\"; --",
    "<script>alert(1)</script>",
    "${7*7}",
    "{{7*7}}",
    "\u{1f3f3}\u{fe0f}\u{200d}\u{1f308}",
    "e\u{301}",
    "\u{202e}txt.exe",
    "A\u{30a}\u{327}",
];

/// A letter, a digit or a space; shrinks to `a`.
fn plain_character() -> SBoxedStrategy<char> {
    weighted![
        12 => range('a', 'z'),
        3 => range('A', 'Z'),
        3 => range('0', '9'),
        1 => Just(' '),
    ]
    .sboxed()
}

/// Any character that text may have in it, those that programs stumble over far more often than they are used.
fn odd_character() -> SBoxedStrategy<char> {
    weighted![
        4 => range('a', 'z'),
        2 => range(' ', '~'),
        2 => range('\u{a1}', '\u{17f}'),
        // Greek and Cyrillic, whose lower and upper cases aren't simple; `ß`, `İ` and ligatures change their length.
        1 => range('\u{391}', '\u{3c9}'),
        1 => select(&['\u{df}', '\u{130}', '\u{149}', '\u{1e9e}', '\u{fb03}'][..]),
        // Hebrew and Arabic: from right to left.
        2 => range('\u{5d0}', '\u{5ea}'),
        1 => range('\u{627}', '\u{64a}'),
        // Combining marks.
        2 => range('\u{300}', '\u{36f}'),
        2 => range('\u{4e00}', '\u{9fff}'),
        // Beyond the basic plane: two units in UTF-16, four bytes in UTF-8.
        4 => range('\u{1f300}', '\u{1f64f}'),
        1 => range('\u{20000}', '\u{2a6df}'),
        // Zero width, joiners, marks of direction, byte order mark.
        2 => select(&['\u{200b}', '\u{200c}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{202e}', '\u{2060}', '\u{feff}'][..]),
        1 => select(&['\u{85}', '\u{a0}', '\u{2028}', '\u{2029}', '\u{3000}'][..]),
        2 => Just('\0'),
        1 => range('\u{1}', '\u{1f}'),
        1 => select(&['\u{7f}', '\u{fffd}', '\u{fffe}', '\u{ffff}', '\u{e000}', '\u{10ffff}'][..]),
    ]
    .sboxed()
}

fn joined(
    character: impl Strategy<Value = char> + Send + Sync + 'static,
    length: RangeInclusive<usize>,
) -> SBoxedStrategy<String> {
    vec(character, length).prop_map(String::from_iter).sboxed()
}

/// Texts of so many characters (Unicode code points), most of them short: half of them letters and digits, the others with odd
/// characters, and some exactly as short or as long as is allowed. `least` above `most` gives texts of `most`.
pub fn text(least: usize, most: Option<usize>) -> SBoxedStrategy<String> {
    let least = most.map_or(least, |most| least.min(most));
    let usual = most.map_or(least + USUAL_LENGTH, |most| most.min(least + USUAL_LENGTH));
    let mut choices = vec![
        (10, joined(plain_character(), least..=usual)),
        (8, joined(odd_character(), least..=usual)),
        (1, joined(plain_character(), least..=least)),
    ];
    let fitting: Vec<&'static str> = SPECIAL
        .into_iter()
        .filter(|text| (least..=most.unwrap_or(usize::MAX)).contains(&text.chars().count()))
        .collect();
    if !fitting.is_empty() {
        choices.push((
            2,
            Special {
                texts: fitting,
                least,
            }
            .sboxed(),
        ));
    }
    let edge = most.unwrap_or(LONG).min(LONGEST);
    if edge > usual {
        choices.push((1, repeated(least, edge)));
    }
    let texts = Union::new_weighted(choices).sboxed();
    Simplest {
        texts,
        simplest: "a".repeat(least),
    }
    .sboxed()
}

/// Texts with odd characters only as [`text`] has them in its other half.
pub fn odd_text(least: usize, most: usize) -> SBoxedStrategy<String> {
    joined(odd_character(), least.min(most)..=most)
}

/// One character again and again, `most` times: a long text that shrinks in few steps, to `least` characters at the shortest.
pub(super) fn repeated(least: usize, most: usize) -> SBoxedStrategy<String> {
    let character = weighted![4 => range('a', 'z'), 1 => Just('\u{e9}'), 1 => Just('\u{1f600}')];
    (character, Down(most))
        .prop_map(move |(character, length)| {
            String::from_iter(std::iter::repeat_n(character, length.max(least)))
        })
        .sboxed()
}

/// Texts that are shrunk by trying the simplest of all first: where the text doesn't matter, that is one try, and not one for
/// each of its characters.
#[derive(Clone, Debug)]
struct Simplest {
    texts: SBoxedStrategy<String>,
    simplest: String,
}

struct SimplestTree {
    tree: Box<dyn ValueTree<Value = String>>,
    simplest: String,
    shrinking: Shrinking,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shrinking {
    /// Nothing was tried.
    Not,
    /// The simplest is being tried.
    Simplest,
    /// It did not do: step by step.
    Stepwise,
}

impl Strategy for Simplest {
    type Tree = SimplestTree;
    type Value = String;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        Ok(SimplestTree {
            tree: self.texts.new_tree(runner)?,
            simplest: self.simplest.clone(),
            shrinking: Shrinking::Not,
        })
    }
}

impl ValueTree for SimplestTree {
    type Value = String;

    fn current(&self) -> String {
        match self.shrinking {
            Shrinking::Simplest => self.simplest.clone(),
            Shrinking::Not | Shrinking::Stepwise => self.tree.current(),
        }
    }

    fn simplify(&mut self) -> bool {
        match self.shrinking {
            Shrinking::Not if self.tree.current() != self.simplest => {
                self.shrinking = Shrinking::Simplest;
                true
            }
            Shrinking::Simplest => false,
            Shrinking::Not | Shrinking::Stepwise => {
                self.shrinking = Shrinking::Stepwise;
                self.tree.simplify()
            }
        }
    }

    fn complicate(&mut self) -> bool {
        match self.shrinking {
            // Back to where it was, and on from there.
            Shrinking::Simplest => {
                self.shrinking = Shrinking::Stepwise;
                true
            }
            Shrinking::Not | Shrinking::Stepwise => self.tree.complicate(),
        }
    }
}

/// One of some texts, which shrinks by losing characters, down to `least`.
#[derive(Clone, Debug)]
struct Special {
    texts: Vec<&'static str>,
    least: usize,
}

struct SpecialTree {
    kept: Vec<char>,
    least: usize,
    /// Which character goes next.
    next: usize,
    gone: Option<char>,
}

impl Strategy for Special {
    type Tree = SpecialTree;
    type Value = String;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let place = (0..self.texts.len()).new_tree(runner)?.current();
        Ok(SpecialTree {
            kept: self.texts[place].chars().collect(),
            least: self.least,
            next: 0,
            gone: None,
        })
    }
}

impl ValueTree for SpecialTree {
    type Value = String;

    fn current(&self) -> String {
        self.kept.iter().collect()
    }

    fn simplify(&mut self) -> bool {
        if self.kept.len() <= self.least || self.next >= self.kept.len() {
            return false;
        }
        self.gone = Some(self.kept.remove(self.next));
        true
    }

    fn complicate(&mut self) -> bool {
        let Some(gone) = self.gone.take() else {
            return false;
        };
        self.kept.insert(self.next, gone);
        self.next += 1;
        true
    }
}

/// One number, which shrinks toward 0.
#[derive(Clone, Copy, Debug)]
struct Down(usize);

impl Strategy for Down {
    type Tree = BinarySearch;
    type Value = usize;

    fn new_tree(&self, _: &mut TestRunner) -> NewTree<Self> {
        Ok(BinarySearch::new(self.0))
    }
}
