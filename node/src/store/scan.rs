//! Reads the files of a pack from one end to the other, trusting nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::entry::{ALIGNMENT, ENTRY_SIZE, Entry, EntryBytes, FileKind, Header, RecordEntry};

const WINDOW: usize = 1 << 20;

/// The header of a file of a pack; `None` where there is no sound one.
pub(super) fn read_header(file: &File, kind: FileKind) -> Option<Header> {
    let mut bytes: EntryBytes = [0; ENTRY_SIZE];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Header::decode(kind, &bytes)
}

/// Shows every entry of a sidecar, `None` for one that is not sound. Returns where they end.
pub(super) fn sidecar(file: &File, mark: u64, mut show: impl FnMut(Option<Entry>)) -> io::Result<u64> {
    let mut window = vec![0; WINDOW];
    let mut at = ENTRY_SIZE as u64;
    loop {
        let read = read_up_to(file, &mut window, at)?;
        // An entry that is cut off at the end was being written when the process was killed.
        let (entries, _) = window[..read].as_chunks::<ENTRY_SIZE>();
        if entries.is_empty() {
            return Ok(at);
        }
        entries.iter().for_each(|bytes| show(Entry::decode(bytes, mark)));
        at += (entries.len() * ENTRY_SIZE) as u64;
    }
}

/// The last entry of a sidecar.
pub(super) fn last_entry(file: &File, mark: u64) -> Option<Entry> {
    let mut bytes: EntryBytes = [0; ENTRY_SIZE];
    let end = file.metadata().ok()?.len() / ENTRY_SIZE as u64;
    file.read_exact_at(&mut bytes, end.checked_sub(1)? * ENTRY_SIZE as u64).ok()?;
    Entry::decode(&bytes, mark)
}

/// What [`records`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scanned {
    /// A sound record.
    Record(RecordEntry),
    /// Where a record was that is removed.
    Removed,
    /// What is no record, or a damaged one.
    Damaged,
}

/// Shows every record of a pack between two offsets, checksums compared. Where a record is damaged, the next sound one
/// is looked for. Returns where the last sound or removed record ends.
pub(super) fn records(file: &File, mark: u64, from: u64, to: u64, mut show: impl FnMut(Scanned)) -> io::Result<u64> {
    let mut entry: EntryBytes = [0; ENTRY_SIZE];
    let mut tail = Vec::new();
    let (mut at, mut end) = (from, from);
    while at + (ENTRY_SIZE as u64) < to {
        file.read_exact_at(&mut entry, at)?;
        let (decoded, removed) = match Entry::decode(&entry, mark) {
            None => (Entry::decode_removed(&entry, mark), true),
            sound => (sound, false),
        };
        let record = match decoded {
            Some(Entry::Record(record)) if u64::from(record.offset) == at && record.end() <= to => record,
            _ => {
                show(Scanned::Damaged);
                at = next_mark(file, mark, at + ALIGNMENT, to)?;
                continue;
            }
        };
        show(match record {
            _ if removed => Scanned::Removed,
            _ if has_right_tail(file, &record, &mut tail)? => Scanned::Record(record),
            _ => Scanned::Damaged,
        });
        at = record.end();
        end = at;
    }
    Ok(end)
}

/// Whether the bytes of a record are those that were written.
pub(super) fn has_right_tail(file: &File, record: &RecordEntry, buffer: &mut Vec<u8>) -> io::Result<bool> {
    buffer.resize(peerdist_protocol::retrieval::tail_size(record.size_of_block, record.algorithm), 0);
    match file.read_exact_at(buffer, u64::from(record.offset) + ENTRY_SIZE as u64) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        result => result.map(|()| crc32c::crc32c(buffer) == record.tail_crc),
    }
}

/// The first place at or after `from` where the mark is, inverted or not; `to` where there is none.
fn next_mark(file: &File, mark: u64, from: u64, to: u64) -> io::Result<u64> {
    let marks = [mark.to_le_bytes(), (!mark).to_le_bytes()];
    let mut window = vec![0; WINDOW];
    let mut at = from;
    while at < to {
        let read = read_up_to(file, &mut window, at)?;
        let (places, _) = window[..read].as_chunks::<{ ALIGNMENT as usize }>();
        if let Some(place) = places.iter().position(|place| marks.iter().any(|mark| place.starts_with(mark))) {
            return Ok(to.min(at + place as u64 * ALIGNMENT));
        }
        if places.is_empty() {
            break;
        }
        at += places.len() as u64 * ALIGNMENT;
    }
    Ok(to)
}

/// Fills the buffer from `at` on, or up to the end of the file.
fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
