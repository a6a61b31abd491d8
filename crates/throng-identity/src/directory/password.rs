//! Random login passwords that common password policies accept.

use rand::Rng;
use rand::seq::SliceRandom;

use crate::secret::Secret;

/// Length in characters. Policies that cap the length do so at 64 or 72 (bcrypt).
const LENGTH: usize = 24;
// Without 0 O 1 l I, so that nobody has to guess when typing one by hand; with those special characters only that URLs, forms,
// JSON and HTML leave as they are, so that a page which repeats a password has it as we know it.
const LOWER: &[u8] = b"abcdefghijkmnopqrstuvwxyz";
const UPPER: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZ";
const DIGIT: &[u8] = b"23456789";
const SPECIAL: &[u8] = b"-._";

/// A password of 24 characters (about 135 bits) with at least two of each: small, capital, digit, special; and no
/// character three times in a row.
pub fn generate() -> Secret {
    let mut rng = rand::rng();
    let all = [LOWER, UPPER, DIGIT, SPECIAL].concat();
    loop {
        let mut bytes: Vec<u8> = [LOWER, UPPER, DIGIT, SPECIAL]
            .iter()
            .flat_map(|class| {
                [
                    class[rng.random_range(0..class.len())],
                    class[rng.random_range(0..class.len())],
                ]
            })
            .collect();
        while bytes.len() < LENGTH {
            bytes.push(all[rng.random_range(0..all.len())]);
        }
        bytes.shuffle(&mut rng);
        let repeats = bytes.windows(3).any(|w| w[0] == w[1] && w[1] == w[2]);
        // A leading letter: some directories refuse passwords that look like options or comments.
        if !repeats && bytes[0].is_ascii_alphabetic() {
            return Secret::new(bytes.iter().map(|b| char::from(*b)).collect::<String>());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_is_there_and_no_two_are_equal() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..500 {
            let secret = generate();
            let password = secret.expose();
            assert_eq!(password.len(), LENGTH);
            for class in [LOWER, UPPER, DIGIT, SPECIAL] {
                assert!(password.bytes().filter(|b| class.contains(b)).count() >= 2);
            }
            assert!(password.as_bytes()[0].is_ascii_alphabetic());
            assert!(seen.insert(password.to_owned()));
        }
    }
}
