//! The tags of the records in the index, each kept once.

use std::collections::HashMap;
use std::sync::Mutex;

use super::locks::lock;
use super::place::MAX_TAGS;
use super::types::Tag;

/// Numbers for tags. A number is valid as long as a record has it; 0 is [`Tag::NONE`].
#[derive(Debug, Default)]
pub(super) struct Tags(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    numbers: HashMap<Tag, u32>,
    /// The tag with number n + 1, and how many records have it.
    tags: Vec<(Tag, u64)>,
    free: Vec<u32>,
}

impl Tags {
    /// The number of a tag for one more record; `None` where there are no more numbers.
    pub(super) fn take(&self, tag: Tag) -> Option<u32> {
        if tag == Tag::NONE {
            return Some(0);
        }
        let mut table = lock(&self.0);
        if let Some(number) = table.numbers.get(&tag).copied() {
            table.tags[number as usize - 1].1 += 1;
            return Some(number);
        }
        let number = match table.free.pop() {
            Some(number) => {
                table.tags[number as usize - 1] = (tag, 1);
                number
            }
            None if table.tags.len() as u32 + 1 < MAX_TAGS => {
                table.tags.push((tag, 1));
                table.tags.len() as u32
            }
            None => return None,
        };
        table.numbers.insert(tag, number);
        Some(number)
    }

    /// A record with this number is gone.
    pub(super) fn release(&self, number: u32) {
        if number == 0 {
            return;
        }
        let mut table = lock(&self.0);
        let (tag, records) = &mut table.tags[number as usize - 1];
        *records -= 1;
        if *records == 0 {
            let tag = *tag;
            table.numbers.remove(&tag);
            table.free.push(number);
        }
    }

    /// The tag with a number that some record has.
    pub(super) fn get(&self, number: u32) -> Tag {
        let tag = |at: usize| lock(&self.0).tags.get(at).map(|(tag, _)| *tag);
        (number as usize).checked_sub(1).and_then(tag).unwrap_or(Tag::NONE)
    }

    /// The number of a tag that some record has.
    pub(super) fn find(&self, tag: Tag) -> Option<u32> {
        if tag == Tag::NONE { Some(0) } else { lock(&self.0).numbers.get(&tag).copied() }
    }

    /// All records are gone.
    pub(super) fn clear(&self) {
        *lock(&self.0) = Table::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_again() {
        let tags = Tags::default();
        let [a, b] = [1, 2].map(|byte| Tag { owner: 0, bytes: [byte; 16] });
        assert_eq!(tags.take(Tag::NONE), Some(0));
        assert_eq!((tags.take(a), tags.take(a)), (Some(1), Some(1)));
        assert_eq!(tags.get(1), a);
        tags.release(1);
        assert_eq!(tags.find(a), Some(1));
        tags.release(1);
        assert_eq!(tags.find(a), None);
        assert_eq!(tags.take(b), Some(1));
        assert_eq!((tags.get(0), tags.get(1)), (Tag::NONE, b));
    }
}
