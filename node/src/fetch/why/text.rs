//! The story as text: neighbours with the same story share a paragraph.

use std::fmt;

use super::{Explanation, ProbeStory, SegmentStory, ServerAnswer, ServerNote};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = &self.sources;
        writeln!(
            f,
            "{} from the cache, {} from peers, {} from the origin",
            Size(sources.cache),
            Size(sources.all_peers()),
            Size(sources.origin)
        )?;
        for (peer, bytes) in &sources.peers {
            writeln!(f, "  peer {peer}: {}", Size(*bytes))?;
        }
        for (reason, bytes) in &self.origin_reasons {
            writeln!(f, "  origin: {} because {reason}", Size(*bytes))?;
        }
        let mut rest = &self.segments[..];
        while let Some((first, more)) = rest.split_first() {
            let same = more.iter().take_while(|next| same_story(first, next)).count();
            let (group, after) = rest.split_at(1 + same);
            self.group(f, group)?;
            rest = after;
        }
        if self.probes_omitted > 0 {
            writeln!(f, "{} further probes were not written down", self.probes_omitted)?;
        }
        Ok(())
    }
}

impl Explanation {
    fn group(&self, f: &mut fmt::Formatter<'_>, group: &[SegmentStory]) -> fmt::Result {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
        let end = last.offset + u64::from(last.length);
        if group.len() == 1 {
            writeln!(f, "segment {} at {}, {}", first.id, first.offset, Size(end - first.offset))?;
        } else {
            writeln!(
                f,
                "{} segments at {}, {}, {} to {}",
                group.len(),
                first.offset,
                Size(end - first.offset),
                first.id,
                last.id
            )?;
        }
        for probe in first.probes.iter().filter_map(|index| self.probes.get(*index)) {
            writeln!(f, "  {probe}")?;
        }
        for noted in &first.notes {
            let often = group.iter().flat_map(|story| &story.notes);
            let often: u32 = often.filter(|n| n.peer == noted.peer && n.note == noted.note).map(|n| n.count).sum();
            match often {
                1 => writeln!(f, "  {}: {}", noted.peer, noted.note)?,
                often => writeln!(f, "  {}: {} ({often} times)", noted.peer, noted.note)?,
            }
        }
        let sum = |bytes: &dyn Fn(&SegmentStory) -> u64| group.iter().map(bytes).sum::<u64>();
        if first.sources.cache > 0 {
            writeln!(f, "  {} from the cache", Size(sum(&|story| story.sources.cache)))?;
        }
        for peer in first.sources.peers.keys() {
            let bytes = sum(&|story| story.sources.peers.get(peer).copied().unwrap_or_default());
            writeln!(f, "  {} from {peer}", Size(bytes))?;
        }
        if first.sources.origin > 0 {
            let bytes = Size(sum(&|story| story.sources.origin));
            match first.missing {
                Some(reason) => writeln!(f, "  {bytes} from the origin: {reason}")?,
                None => writeln!(f, "  {bytes} from the origin, unasked")?,
            }
        } else if let Some(reason) = first.missing {
            writeln!(f, "  had to come from the origin: {reason}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ProbeStory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.hosted_caches.is_empty() {
            write!(f, "hosted caches asked at {} ms for {} of the segments: ", self.at_ms, self.ids)?;
            return write_list(f, &self.hosted_caches);
        }
        write!(f, "asked at {} ms naming {} of the segments: ", self.at_ms, self.ids)?;
        match (&self.answers[..], self.ended_ms) {
            ([], Some(ended)) => write!(f, "nobody answered until {ended} ms"),
            ([], None) => f.write_str("no answer yet"),
            (answers, _) => {
                for (index, answer) in answers.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{} holds {} at {} ms", answer.peer, answer.segments, answer.at_ms)?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for ServerAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_ms, server, note, asked, segments } = self;
        match note {
            ServerNote::Answered => write!(f, "{server} holds {segments} of {asked} at {at_ms} ms"),
            ServerNote::NoList | ServerNote::AskedAgain | ServerNote::Out => write!(f, "{server} {note}"),
            note => write!(f, "{server} {note} at {at_ms} ms"),
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, items: &[ServerAnswer]) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{item}")?;
    }
    Ok(())
}

/// Whether two neighbours differ in nothing but numbers.
fn same_story(one: &SegmentStory, next: &SegmentStory) -> bool {
    let notes = |story: &SegmentStory| story.notes.iter().map(|n| (n.peer, n.note)).collect::<Vec<_>>();
    one.probes == next.probes
        && one.missing == next.missing
        && (one.sources.cache > 0) == (next.sources.cache > 0)
        && (one.sources.origin > 0) == (next.sources.origin > 0)
        && one.sources.peers.keys().eq(next.sources.peers.keys())
        && notes(one) == notes(next)
}

/// A number of bytes in the unit that suits it.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        while value >= 1024.0 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        write!(f, "{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use peerdist_protocol::content::SegmentId;

    use crate::fetch::Moment;
    use crate::fetch::plan::PlannedSegment;
    use crate::fetch::why::{MissingReason, PeerNote, Source, Why};

    #[test]
    fn neighbours_with_one_story_share_a_paragraph() {
        let peer: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let liar: SocketAddr = "10.0.0.2:80".parse().unwrap();
        let segments: Vec<_> = (0..4)
            .map(|i| PlannedSegment::v2(SegmentId::from_slice(&[i]).unwrap(), u64::from(i) * 100_000, 100_000))
            .collect();
        let mut why = Why::default();
        let probe = why.asked(Moment::from_millis(5), 0..400_000, 4);
        why.matched(Moment::from_millis(9), probe, peer, 3);
        for offset in [0, 100_000] {
            why.note(Moment::from_millis(10), offset, liar, PeerNote::BadHash);
            why.bytes(offset, Source::Peer(peer), 100_000);
        }
        why.bytes(200_000, Source::Cache, 100_000);
        why.missing(300_000, MissingReason::NobodyHoldsIt);
        why.bytes(300_000, Source::Origin, 100_000);
        let expected = "\
97.7 KiB from the cache, 195.3 KiB from peers, 97.7 KiB from the origin
  peer 10.0.0.1:80: 195.3 KiB
  origin: 97.7 KiB because no peer that answered holds it
2 segments at 0, 195.3 KiB, 00 to 01
  asked at 5 ms naming 4 of the segments: 10.0.0.1:80 holds 3 at 9 ms
  10.0.0.2:80: sent wrong bytes (2 times)
  195.3 KiB from 10.0.0.1:80
segment 02 at 200000, 97.7 KiB
  asked at 5 ms naming 4 of the segments: 10.0.0.1:80 holds 3 at 9 ms
  97.7 KiB from the cache
segment 03 at 300000, 97.7 KiB
  asked at 5 ms naming 4 of the segments: 10.0.0.1:80 holds 3 at 9 ms
  97.7 KiB from the origin: no peer that answered holds it
";
        assert_eq!(why.explain(&segments).to_string(), expected);
        let json = serde_json::to_value(why.explain(&segments)).unwrap();
        assert_eq!(json["sources"]["peers"]["10.0.0.1:80"], 200_000);
        assert_eq!(json["segments"][0]["notes"][0]["note"], "bad_hash");
    }
}
