//! What a program tried, what it was told, and so what must be left.
//!
//! A program says, in lines on its standard output, `> try KEY MARK` before each change and one of
//!
//! * `> ok KEY MARK REVISION`: acknowledged, with the revision it got
//! * `> gone KEY`: a deletion was acknowledged, without its revision
//! * `> no KEY MARK`: refused; it must never be found
//! * `> unknown KEY MARK`: it may be found after a restart, until the next `ok` of the same key
//!
//! after it. A mark names the state after the change and is unique; the mark `-` means that there is
//! nothing under the key. The changes of one key come one after the other.

use std::collections::{BTreeMap, BTreeSet};

/// The state of a key: the mark of its last change, or none for nothing.
pub type State = Option<String>;

/// What is known at some moment.
#[derive(Debug, Default, Clone)]
pub struct Ledger {
    keys: BTreeMap<String, Known>,
    /// Acknowledged changes by their revisions.
    pub acknowledged: BTreeMap<u64, (String, State)>,
    /// The keys of acknowledged deletions whose revisions are not known.
    pub gone: Vec<String>,
    /// How many changes were refused.
    pub refused: usize,
    /// How many have an unknown end.
    pub unknown: usize,
    /// Lines that begin with `> ` and are not of a ledger, in their order.
    pub remarks: Vec<String>,
}

#[derive(Debug, Default, Clone)]
struct Known {
    now: State,
    /// What may be found instead.
    perhaps: Vec<State>,
}

impl Ledger {
    /// Takes what a program said; only whole lines, with `> ` before them, count.
    pub fn hear(&mut self, said: &str) {
        for line in said.lines() {
            if let Some(line) = line.strip_prefix("> ") {
                self.line(line);
            }
        }
    }

    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let state = |mark: &str| Some(mark.to_owned()).filter(|mark| mark != "-");
        match words.as_slice() {
            ["try", key, mark] => {
                let known = self.keys.entry((*key).into()).or_default();
                known.perhaps.push(state(mark));
            }
            ["ok", key, mark, revision] => {
                let known = self.keys.entry((*key).into()).or_default();
                known.now = state(mark);
                known.perhaps.clear();
                let entry = ((*key).into(), state(mark));
                let before = self.acknowledged.insert(revision.parse().unwrap(), entry);
                assert!(before.is_none(), "revision {revision} was given out twice");
            }
            ["no", key, _] => {
                let known = self.keys.entry((*key).into()).or_default();
                known.perhaps.pop();
                self.refused += 1;
            }
            ["gone", key] => {
                let known = self.keys.entry((*key).into()).or_default();
                known.now = None;
                known.perhaps.clear();
                self.gone.push((*key).into());
            }
            ["unknown", ..] => self.unknown += 1,
            _ => self.remarks.push(line.into()),
        }
    }

    /// Whether a key may be found in this state.
    pub fn allows(&self, key: &str, found: &State) -> bool {
        match self.keys.get(key) {
            Some(known) => known.now == *found || known.perhaps.contains(found),
            None => found.is_none(),
        }
    }

    /// Compares with what was found: every fault, in words.
    pub fn faults(&self, found: &BTreeMap<String, String>) -> Vec<String> {
        let keys: BTreeSet<&String> = self.keys.keys().chain(found.keys()).collect();
        let wrong = keys
            .into_iter()
            .filter(|key| !self.allows(key, &found.get(*key).cloned()));
        wrong
            .map(|key| {
                let known = self.keys.get(key);
                format!("{key} is {:?}, but {known:?} is known", found.get(key))
            })
            .collect()
    }

    /// Takes what was found after a restart as what is; it must be without [faults](Self::faults).
    /// Returns the changes that nobody had acknowledged and that were done all the same.
    pub fn settle(&mut self, found: &BTreeMap<String, String>) -> Vec<(String, State)> {
        let mut done = Vec::new();
        for (key, known) in &mut self.keys {
            let state = found.get(key).cloned();
            known.perhaps.clear();
            if known.now != state {
                done.push((key.clone(), state.clone()));
                known.now = state;
            }
        }
        done
    }

    /// The newest revision that was acknowledged.
    pub fn revision(&self) -> u64 {
        self.acknowledged
            .keys()
            .next_back()
            .copied()
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_stays_refused_does_not_and_the_rest_is_open() {
        let mut ledger = Ledger::default();
        ledger.hear("noise\n> try a 1\n> ok a 1 5\n> try a 2\n");
        let state = |mark: &str| Some(mark.to_owned());
        assert!(ledger.allows("a", &state("1")) && ledger.allows("a", &state("2")));
        assert!(!ledger.allows("a", &None) && !ledger.allows("b", &state("9")));
        ledger.hear("> no a 2\n");
        assert!(!ledger.allows("a", &state("2")));
        ledger.hear("> try a -\n> unknown a -\n> try a 3\n");
        assert!(
            [None, state("1"), state("3")]
                .iter()
                .all(|s| ledger.allows("a", s))
        );
        ledger.hear("> ok a 3 7\n");
        assert!(!ledger.allows("a", &None));
        assert_eq!(ledger.faults(&BTreeMap::new()).len(), 1);
    }
}
