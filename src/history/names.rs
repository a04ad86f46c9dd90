//! Names by number: each distinct text once.

use std::hash::BuildHasher;

use hashbrown::HashTable;

/// Names by number.
///
/// The texts stand one behind the other in one string, so that a million names are not a million
/// allocations.
#[derive(Clone, Debug, Default)]
pub struct Names {
    texts: String,
    /// Where each text ends.
    ends: Vec<usize>,
    ids: HashTable<u32>,
}

fn hash(text: &str) -> u64 {
    foldhash::fast::FixedState::default().hash_one(text.as_bytes())
}

fn text<'a>(texts: &'a str, ends: &[usize], id: u32) -> Option<&'a str> {
    let id = id as usize;
    let start = if id == 0 { 0 } else { *ends.get(id - 1)? };
    texts.get(start..*ends.get(id)?)
}

impl Names {
    /// The number of this text, a new one where it is new.
    pub fn id(&mut self, name: &str) -> u32 {
        let Self { texts, ends, ids } = self;
        let hashed = hash(name);
        if let Some(id) = ids.find(hashed, |id| text(texts, ends, *id) == Some(name)) {
            return *id;
        }
        let id = u32::try_from(ends.len()).unwrap_or(u32::MAX);
        texts.push_str(name);
        ends.push(texts.len());
        ids.insert_unique(hashed, id, |id| hash(text(texts, ends, *id).unwrap_or_default()));
        id
    }

    /// The number of this text, where it has one.
    pub fn find(&self, name: &str) -> Option<u32> {
        let same = |id: &u32| text(&self.texts, &self.ends, *id) == Some(name);
        self.ids.find(hash(name), same).copied()
    }

    /// The text of a number.
    pub fn text(&self, id: u32) -> &str {
        text(&self.texts, &self.ends, id).unwrap_or("?")
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_has_one_number() {
        let mut names = Names::default();
        let texts: Vec<String> = (0..1000).map(|n| "a".repeat(n % 7) + &n.to_string()).collect();
        for (n, text) in texts.iter().enumerate() {
            assert_eq!(names.id(text) as usize, n);
        }
        assert_eq!(names.id(""), 1000);
        for (n, text) in texts.iter().enumerate() {
            assert_eq!(names.id(text) as usize, n);
            assert_eq!(names.find(text), Some(n as u32));
            assert_eq!(names.text(n as u32), text);
        }
        assert_eq!((names.text(1000), names.text(1001)), ("", "?"));
        assert_eq!((names.len(), names.find("?")), (1001, None));
    }
}
