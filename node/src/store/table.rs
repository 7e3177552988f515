//! A hash table of slot numbers whose lookups touch one cache line, nearly always.
//!
//! A bucket is a cache line: twelve numbers, and eight bits of the hash of each. An entry whose bucket is full goes to
//! the next one with room, and the buckets it passed count it, so that a lookup knows where to stop and nothing is left
//! behind when it goes. The table grows by half and holds up to 85 entries for 100 places: 6.3 to 9.4 bytes an entry.

const WIDTH: usize = 12;

/// A table of numbers. Hashes come from outside: the lowest 32 bits name the bucket, the highest 8 the entry.
#[derive(Debug, Default)]
pub(super) struct Table {
    buckets: Vec<Bucket>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    /// 0 where there is no entry.
    tags: [u8; WIDTH],
    /// Entries that would be here or in a bucket before, had there been room.
    passed: u32,
    numbers: [u32; WIDTH],
}

const EMPTY: Bucket = Bucket { tags: [0; WIDTH], passed: 0, numbers: [0; WIDTH] };

impl Table {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The first entry with this hash for which `is_it` says so.
    pub(super) fn find(&self, hash: u64, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag(hash);
        let mut at = self.home(hash)?;
        loop {
            let bucket = &self.buckets[at];
            for place in 0..WIDTH {
                if bucket.tags[place] == tag && is_it(bucket.numbers[place]) {
                    return Some(bucket.numbers[place]);
                }
            }
            if bucket.passed == 0 {
                return None;
            }
            at = self.after(at);
        }
    }

    /// Has the processor fetch what a lookup of this hash begins with. The value means nothing, but has to be used.
    pub(super) fn touch(&self, hash: u64) -> u8 {
        self.home(hash).map_or(0, |home| self.buckets[home].tags[0])
    }

    /// Whether the next entry needs a larger table: [`Self::grow`].
    pub(super) fn is_full(&self) -> bool {
        (self.len + 1) * 100 > self.buckets.len() * WIDTH * 85
    }

    /// Makes the table larger by half and puts all entries in anew.
    pub(super) fn grow(&mut self, entries: impl Iterator<Item = (u64, u32)>) {
        let buckets = self.buckets.len() + self.buckets.len() / 2 + 1;
        self.buckets = vec![EMPTY; buckets];
        self.len = 0;
        entries.for_each(|(hash, number)| self.insert(hash, number));
    }

    /// Puts an entry in. The table is not full.
    pub(super) fn insert(&mut self, hash: u64, number: u32) {
        let Some(mut at) = self.home(hash) else { return };
        loop {
            let bucket = &mut self.buckets[at];
            if let Some(place) = bucket.tags.iter().position(|tag| *tag == 0) {
                bucket.tags[place] = tag(hash);
                bucket.numbers[place] = number;
                self.len += 1;
                return;
            }
            bucket.passed += 1;
            at = self.after(at);
        }
    }

    /// Takes an entry out. It is in the table.
    pub(super) fn remove(&mut self, hash: u64, number: u32) {
        let Some(mut at) = self.home(hash) else { return };
        loop {
            let bucket = &mut self.buckets[at];
            let is_it = |place: &usize| bucket.tags[*place] == tag(hash) && bucket.numbers[*place] == number;
            if let Some(place) = (0..WIDTH).find(is_it) {
                bucket.tags[place] = 0;
                self.len -= 1;
                return;
            }
            bucket.passed -= 1;
            at = self.after(at);
        }
    }

    /// The bucket where a lookup begins, `None` in a table without any.
    fn home(&self, hash: u64) -> Option<usize> {
        let home = ((hash & 0xffff_ffff) * self.buckets.len() as u64) >> 32;
        (!self.buckets.is_empty()).then_some(home as usize)
    }

    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }
}

fn tag(hash: u64) -> u8 {
    ((hash >> 56) as u8).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn insert(table: &mut Table, model: &HashMap<u32, u64>, hash: u64, number: u32) {
        if table.is_full() {
            table.grow(model.iter().map(|(number, hash)| (*hash, *number)));
        }
        table.insert(hash, number);
    }

    #[test]
    fn a_bucket_is_a_cache_line() {
        assert_eq!((size_of::<Bucket>(), align_of::<Bucket>()), (64, 64));
    }

    proptest! {
        /// Few different hashes: buckets overflow, and entries wrap around the end of the table.
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec((0..300u32, 0..6u64, any::<bool>()), 1..600)) {
            let (mut table, mut model) = (Table::default(), HashMap::new());
            for (number, kind, put) in steps {
                let hash = (kind * 0x3333_3333) | (kind << 60);
                let held: Option<u64> = model.get(&number).copied();
                match held {
                    None if put => {
                        insert(&mut table, &model, hash, number);
                        model.insert(number, hash);
                    }
                    Some(hash) if !put => {
                        table.remove(hash, number);
                        model.remove(&number);
                    }
                    _ => {}
                }
                prop_assert_eq!(table.len(), model.len());
            }
            for number in 0..300 {
                for kind in 0..6 {
                    let hash = (kind * 0x3333_3333) | (kind << 60);
                    let expected = (model.get(&number) == Some(&hash)).then_some(number);
                    prop_assert_eq!(table.find(hash, |found| found == number), expected);
                }
            }
            for (number, hash) in model {
                table.remove(hash, number);
            }
            prop_assert!(table.buckets.iter().all(|bucket| bucket.passed == 0 && bucket.tags == [0; WIDTH]));
        }
    }

    #[test]
    fn entries_take_less_than_ten_bytes() {
        let (mut table, mut model) = (Table::default(), HashMap::new());
        let mut hash = 1u64;
        for number in 0..20_000 {
            hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ 0x5555;
            insert(&mut table, &model, hash, number);
            model.insert(number, hash);
            if number > 1000 {
                assert!(table.buckets.len() * 64 < 10 * table.len(), "{} buckets for {}", table.buckets.len(), number);
            }
        }
    }
}
