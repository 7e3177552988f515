//! The story as text: neighbours with the same story share a paragraph.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use super::{Explanation, MissingReason, PeerNote, ProbeStory, SegmentStory, ServerAnswer, ServerNote, Sources};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = &self.sources;
        let hosted: u64 = self.hosted_caches.iter().filter_map(|address| sources.peers.get(address)).sum();
        let peers = sources.all_peers() - hosted;
        write!(f, "{} from the cache", Size(sources.cache))?;
        if self.is_hosted() {
            write!(f, ", {} from hosted caches", Size(hosted))?;
        }
        if !self.is_hosted() || peers > 0 {
            write!(f, ", {} from peers", Size(peers))?;
        }
        writeln!(f, ", {} from the origin", Size(sources.origin))?;
        for (peer, bytes) in &sources.peers {
            writeln!(f, "  {} {peer}: {}", self.kind(*peer), Size(*bytes))?;
        }
        for (reason, bytes) in &self.origin_reasons {
            writeln!(f, "  origin: {} because {reason}", Size(*bytes))?;
        }
        let mut rest = &self.segments[..];
        while let Some((first, more)) = rest.split_first() {
            let same = more.iter().take_while(|next| self.is_same_story(first, next)).count();
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
    fn kind(&self, address: SocketAddr) -> &'static str {
        if self.hosted_caches.contains(&address) { "hosted cache" } else { "peer" }
    }

    /// Whether hosted caches were to give it.
    #[must_use]
    pub fn is_hosted(&self) -> bool {
        !self.hosted_caches.is_empty()
            || self.origin_reasons.keys().any(|reason| reason.is_hosted())
            || self.probes.iter().any(|probe| !probe.hosted_caches.is_empty())
    }

    /// Whether two neighbours were asked about together and ended alike. Which of several hosts gave each, or failed, would
    /// make a paragraph of nearly every segment, and so would the ends of segments that belong to several hosted caches; a
    /// program finds all that in the story itself.
    fn is_same_story(&self, one: &SegmentStory, next: &SegmentStory) -> bool {
        let end = |story: &SegmentStory| {
            let sources = &story.sources;
            (story.missing, sources.cache > 0, sources.all_peers() > 0, sources.origin > 0)
        };
        let is_hosted = |story: &SegmentStory| {
            story.missing.is_some_and(MissingReason::is_hosted)
                || story.sources.peers.keys().any(|peer| self.hosted_caches.contains(peer))
        };
        one.probes == next.probes && (end(one) == end(next) || is_hosted(one) && is_hosted(next))
    }

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
        let mut notes: Vec<((SocketAddr, PeerNote), u32)> = Vec::new();
        for noted in group.iter().flat_map(|story| &story.notes) {
            let key = (noted.peer, noted.note);
            match notes.iter_mut().find(|(known, _)| *known == key) {
                Some((_, often)) => *often = often.saturating_add(noted.count),
                None => notes.push((key, noted.count)),
            }
        }
        for ((peer, note), often) in notes {
            write!(f, "  {} {peer}: {note}", self.kind(peer))?;
            match often {
                1 => writeln!(f)?,
                often => writeln!(f, " ({often} times)")?,
            }
        }
        let mut sources = Sources::default();
        group.iter().for_each(|story| sources.merge(&story.sources));
        if sources.cache > 0 {
            writeln!(f, "  {} from the cache", Size(sources.cache))?;
        }
        for (peer, bytes) in &sources.peers {
            writeln!(f, "  {} from {} {peer}", Size(*bytes), self.kind(*peer))?;
        }
        // With the longest time for which a reason was remembered.
        let mut origin: BTreeMap<Option<MissingReason>, (u64, Option<u64>)> = BTreeMap::new();
        for story in group.iter().filter(|story| story.sources.origin > 0 || story.missing.is_some()) {
            let (bytes, remembered) = origin.entry(story.missing).or_default();
            *bytes += story.sources.origin;
            *remembered = (*remembered).max(story.remembered_s);
        }
        for (reason, (bytes, remembered)) in origin {
            let source = match bytes {
                0 if reason.is_some() => "had to come from the origin".to_owned(),
                bytes => format!("{} from the origin", Size(bytes)),
            };
            match (reason, remembered) {
                (Some(reason), Some(age)) => writeln!(f, "  {source}: {reason} (remembered from {age} s ago)")?,
                (Some(reason), None) => writeln!(f, "  {source}: {reason}")?,
                (None, _) => writeln!(f, "  {source}, unasked")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for ProbeStory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.hosted_caches.is_empty() {
            write!(f, "hosted caches asked at {} ms for {} of the segments: ", self.at_ms, self.ids)?;
            write_list(f, &self.hosted_caches)?;
            return if self.unreachable { f.write_str("; none can be reached, peers are asked") } else { Ok(()) };
        }
        if self.unreachable {
            let Self { at_ms, ids, .. } = self;
            return write!(
                f,
                "hosted caches asked at {at_ms} ms for {ids} of the segments: they could not be reached, peers are asked"
            );
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

/// A number of bytes in the unit that suits it.
pub(crate) struct Size(pub(crate) u64);

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
        why.missing(300_000, MissingReason::NobodyHoldsIt, None);
        why.bytes(300_000, Source::Origin, 100_000);
        let expected = "\
97.7 KiB from the cache, 195.3 KiB from peers, 97.7 KiB from the origin
  peer 10.0.0.1:80: 195.3 KiB
  origin: 97.7 KiB because no peer that answered holds it
2 segments at 0, 195.3 KiB, 00 to 01
  asked at 5 ms naming 4 of the segments: 10.0.0.1:80 holds 3 at 9 ms
  peer 10.0.0.2:80: sent wrong bytes (2 times)
  195.3 KiB from peer 10.0.0.1:80
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
        assert_eq!(json.get("hosted_caches"), None);
    }

    #[test]
    fn two_hosted_caches_that_share_the_segments_are_one_paragraph_and_no_peers() {
        let caches: [SocketAddr; 2] = ["10.0.0.1:80".parse().unwrap(), "10.0.0.2:80".parse().unwrap()];
        let segments: Vec<_> = (0..100)
            .map(|i| PlannedSegment::v2(SegmentId::from_slice(&[i]).unwrap(), u64::from(i) * 102_400, 102_400))
            .collect();
        let mut why = Why::default();
        why.asked(Moment::ZERO, 0..10_240_000, 100);
        caches.iter().for_each(|cache| why.is_hosted_cache(*cache));
        for (segment, cache) in segments.iter().zip(caches.iter().cycle()) {
            if segment.offset % 3 == 0 {
                why.note(Moment::ZERO, segment.offset, *cache, PeerNote::TimedOut);
            }
            why.bytes(segment.offset, Source::Peer(*cache), 102_400);
        }
        // Those that nobody gave are part of the same story.
        for (offset, reason) in [(204_800, MissingReason::NotInHostedCache), (409_600, MissingReason::HostedCachesOut)]
        {
            why.missing(offset, reason, None);
            why.bytes(offset, Source::Origin, 1024);
        }
        let explanation = why.explain(&segments);
        let expected = "\
0 B from the cache, 9.8 MiB from hosted caches, 2.0 KiB from the origin
  hosted cache 10.0.0.1:80: 4.9 MiB
  hosted cache 10.0.0.2:80: 4.9 MiB
  origin: 1.0 KiB because the hosted cache does not hold it
  origin: 1.0 KiB because the hosted cache that may hold it was unreachable or failed
100 segments at 0, 9.8 MiB, 00 to 63
  asked at 0 ms naming 100 of the segments: no answer yet
  hosted cache 10.0.0.1:80: timed out (17 times)
  hosted cache 10.0.0.2:80: timed out (17 times)
  4.9 MiB from hosted cache 10.0.0.1:80
  4.9 MiB from hosted cache 10.0.0.2:80
  1.0 KiB from the origin: the hosted cache does not hold it
  1.0 KiB from the origin: the hosted cache that may hold it was unreachable or failed
";
        assert_eq!(explanation.to_string(), expected);
        assert_eq!(serde_json::to_value(explanation).unwrap()["hosted_caches"][1], "10.0.0.2:80");
    }

    #[test]
    fn times_count_from_the_start_of_the_content_and_hosted_caches_that_went_out_are_no_silence() {
        let segment = PlannedSegment::v2(SegmentId::from_slice(&[1]).unwrap(), 0, 100_000);
        let mut why = Why::default();
        let probe = why.asked(Moment::from_millis(60_005), 0..100_000, 1);
        why.unreachable(Moment::from_millis(60_009), probe);
        let mut explanation = why.explain(&[segment]);
        explanation.count_from(Moment::from_millis(60_000));
        let [probe] = &explanation.probes[..] else { panic!("{explanation:?}") };
        let expected = "hosted caches asked at 5 ms for 1 of the segments: they could not be reached, peers are asked";
        assert_eq!((probe.to_string().as_str(), probe.ended_ms), (expected, Some(9)));
    }
}
