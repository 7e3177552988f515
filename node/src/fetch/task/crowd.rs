//! Who else was heard asking for segments lately.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use peerdist_protocol::content::SegmentId;

use crate::fetch::Moment;

/// A host that asked so long ago is no part of the crowd any more.
const MEMORY: Duration = Duration::from_secs(60);
/// Segments that are remembered; the ones heard of first are forgotten first.
const MAX_SEGMENTS: usize = 16_384;
/// Hosts that are remembered for each.
const MAX_HOSTS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Crowd {
    hosts: HashMap<SegmentId, Vec<(IpAddr, Moment)>>,
    order: VecDeque<SegmentId>,
}

impl Crowd {
    /// A host asks for segments.
    pub(super) fn heard(&mut self, now: Moment, host: IpAddr, ids: &[SegmentId]) {
        for id in ids {
            let hosts = self.hosts.entry(*id).or_insert_with(|| {
                self.order.push_back(*id);
                Vec::new()
            });
            hosts.retain(|(known, at)| *known != host && *at + MEMORY > now);
            if hosts.len() < MAX_HOSTS {
                hosts.push((host, now));
            }
            if self.order.len() > MAX_SEGMENTS
                && let Some(oldest) = self.order.pop_front()
            {
                self.hosts.remove(&oldest);
            }
        }
    }

    /// How many different hosts asked for any of these segments lately.
    pub(super) fn size<'a>(&self, now: Moment, ids: impl IntoIterator<Item = &'a SegmentId>) -> usize {
        let lately = ids.into_iter().filter_map(|id| self.hosts.get(id)).flatten();
        let hosts: BTreeSet<_> = lately.filter(|(_, at)| *at + MEMORY > now).map(|(host, _)| host).collect();
        hosts.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_counted_once_and_forgotten() {
        let id = |byte| SegmentId::from_slice(&[byte; 32]).unwrap();
        let host = |byte| IpAddr::from([10, 0, 0, byte]);
        let mut crowd = Crowd::default();
        crowd.heard(Moment::ZERO, host(1), &[id(1), id(2)]);
        crowd.heard(Duration::from_secs(1), host(1), &[id(2)]);
        crowd.heard(Duration::from_secs(30), host(2), &[id(2)]);
        let size = |seconds, ids: &[SegmentId]| crowd.size(Duration::from_secs(seconds), ids);
        assert_eq!(size(31, &[id(1), id(2)]), 2);
        assert_eq!(size(31, &[id(1)]), 1);
        assert_eq!(size(31, &[id(3)]), 0);
        assert_eq!(size(62, &[id(1), id(2)]), 1);
        assert_eq!(size(91, &[id(1), id(2)]), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let mut crowd = Crowd::default();
        for n in 0..2 * MAX_SEGMENTS as u32 {
            let id = SegmentId::from_slice(&n.to_be_bytes().repeat(8)).unwrap();
            crowd.heard(Moment::ZERO, IpAddr::from([10, 0, 0, 1]), &[id]);
        }
        assert_eq!((crowd.hosts.len(), crowd.order.len()), (MAX_SEGMENTS, MAX_SEGMENTS));
    }
}
