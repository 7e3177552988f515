//! `peerdist probe SEGMENT_ID...`: who on the LAN holds what.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use indicatif::HumanDuration;
use peerdist_discovery::{Config, Discovery, Event, InterfaceState, Interfaces, ProbeError, SocketState, StartError};
use peerdist_protocol::content::SegmentId;
use peerdist_protocol::discovery::{Availability, Form};
use serde::Serialize;
use thiserror::Error;
use tokio::sync::mpsc;

use super::{ExitStatus, Failure, Output, ProbeArguments};

/// Asks, waits for the request timer, and prints who answered. Fails where nobody did.
pub async fn run(arguments: ProbeArguments) -> Result<(), Failure> {
    let form = if arguments.v2 { Form::V2 } else { Form::V1 };
    let ids: BTreeSet<SegmentId> = arguments.segment_ids.iter().copied().collect();
    let config = Config {
        interfaces: match arguments.interface.as_slice() {
            [] => Interfaces::All,
            names => Interfaces::Only(names.to_vec()),
        },
        port: arguments.port,
        serve: false,
        ..Config::default()
    };
    let (discovery, mut events) = Discovery::start(config, Arc::new(|_: &SegmentId| None))?;
    let interfaces = discovery.interfaces();
    if !interfaces.iter().any(|interface| interface.probing == SocketState::Open) {
        return Err(nowhere_to_ask(&interfaces));
    }
    let mut found = Found::new(form, &ids);
    let ids: Vec<_> = ids.into_iter().collect();
    for ids in ids.chunks(form.max_ids_per_datagram()) {
        discovery.probe(ids.to_vec(), form).await?;
        found.take_until_expired(&mut events).await;
    }
    discovery.shutdown().await;
    Output::new(arguments.json).print(&found, Found::write)?;
    if found.hosts.is_empty() {
        return Err(Failure::new(ExitStatus::NobodyAnswered, NobodyAnswered)
            .help("a host answers only for segments that it holds; the other version of ids has other owners (--v2)"));
    }
    Ok(())
}

fn nowhere_to_ask(interfaces: &[InterfaceState]) -> Failure {
    let failed = interfaces.iter().find_map(|interface| match interface.probing {
        SocketState::Failed(kind) => Some(CannotAsk { name: interface.name.clone(), source: kind.into() }),
        SocketState::Open => None,
    });
    match failed {
        Some(failed) => Failure::new(ExitStatus::Failure, failed),
        None => Failure::new(ExitStatus::Failure, NoInterface).help(
            "an interface has to be up and able to do multicast; the loopback takes part where --interface names it",
        ),
    }
}

#[derive(Debug, Error)]
#[error("no interface takes part")]
struct NoInterface;

#[derive(Debug, Error)]
#[error("cannot ask on {name}: {source}")]
struct CannotAsk {
    name: String,
    source: io::Error,
}

#[derive(Debug, Error)]
#[error("nobody answered")]
struct NobodyAnswered;

/// What `probe --json` prints.
#[derive(Debug, Serialize)]
struct Found {
    form: &'static str,
    asked: usize,
    hosts: BTreeMap<String, Host>,
    /// Ids that nobody claimed to hold.
    unanswered: BTreeSet<String>,
}

/// A host, by its endpoint address.
#[derive(Debug, Default, Serialize)]
struct Host {
    /// Where it serves blocks.
    addresses: BTreeSet<SocketAddr>,
    segments: BTreeMap<String, Claim>,
}

/// What a host says it holds of a segment.
#[derive(Debug, Serialize)]
struct Claim {
    /// Known from version 1 answers.
    blocks: Option<u32>,
    /// Known from version 2 answers.
    complete: Option<bool>,
    /// Version 2 answers may say it.
    age_seconds: Option<u64>,
}

impl Found {
    fn new(form: Form, ids: &BTreeSet<SegmentId>) -> Self {
        let form = match form {
            Form::V1 => "v1",
            Form::V2 => "v2",
        };
        Self { form, asked: ids.len(), hosts: BTreeMap::new(), unanswered: BTreeSet::new() }
    }

    /// Takes matches until the one Probe under way has expired.
    async fn take_until_expired(&mut self, events: &mut mpsc::Receiver<Event>) {
        while let Some(event) = events.recv().await {
            match event {
                Event::Match { host, peers, segments, .. } => {
                    let host = self.hosts.entry(host.to_string()).or_default();
                    host.addresses.extend(peers);
                    host.segments
                        .extend(segments.iter().map(|(id, availability)| (id.to_string(), Claim::of(availability))));
                }
                Event::Expired { unanswered, .. } => {
                    self.unanswered.extend(unanswered.iter().map(SegmentId::to_string));
                    return;
                }
                Event::Overheard { .. } => {}
            }
        }
    }

    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        for (name, host) in &self.hosts {
            let addresses: Vec<_> = host.addresses.iter().map(SocketAddr::to_string).collect();
            writeln!(to, "{} ({name})", addresses.join(" "))?;
            for (id, claim) in &host.segments {
                writeln!(to, "  {id}  {}", claim.text())?;
            }
        }
        for id in &self.unanswered {
            writeln!(to, "nobody holds {id}")?;
        }
        Ok(())
    }
}

impl Claim {
    fn of(availability: &Availability) -> Self {
        let Availability { blocks, complete, age } = *availability;
        Self { blocks, complete, age_seconds: age.map(|age| age.as_secs()) }
    }

    fn text(&self) -> String {
        let how_much = match (self.complete, self.blocks) {
            (Some(true), _) => "complete".to_owned(),
            (Some(false), _) => "in part".to_owned(),
            (None, Some(blocks)) => format!("{blocks} blocks"),
            (None, None) => "held".to_owned(),
        };
        match self.age_seconds {
            Some(age) => format!("{how_much}, {} old", HumanDuration(Duration::from_secs(age))),
            None => how_much,
        }
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::new(ExitStatus::Failure, error)
    }
}

impl From<ProbeError> for Failure {
    fn from(error: ProbeError) -> Self {
        Self::new(ExitStatus::Failure, error)
    }
}
