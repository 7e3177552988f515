//! What a configuration says that works, but surely not as it is meant.

use std::net::{IpAddr, UdpSocket};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use peerdist_protocol::hosted_cache::Version;

use super::{Config, Discovery, Fallback, HostedCache, HostedClient, Mode, Node, Retrieval, ServerName, Subnet};

impl Config {
    /// What the administrator should look at once more, each as a sentence. It asks the system which addresses are this
    /// host's, but nobody else.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        let mode = self.node.mode;
        let unused = self.unused_sections().into_iter();
        let mut notes: Vec<_> =
            unused.map(|section| format!("[{section}] is not used: node.mode is \"{mode}\"")).collect();
        if self.discovery != Discovery::default() {
            let why = match mode {
                Mode::Distributed | Mode::Client => None,
                Mode::HostedClient if self.hosted_client.fallback == Fallback::Distributed => None,
                Mode::HostedClient => Some("hosted_client.fallback is \"origin\"".to_owned()),
                Mode::HostedCache | Mode::Local => Some(format!("node.mode is \"{mode}\"")),
            };
            notes.extend(why.map(|why| format!("[discovery] is not used: {why}")));
        }
        if mode == Mode::HostedCache && self.retrieval.max_uploads != Retrieval::default().max_uploads {
            notes.push("retrieval.max_uploads is not used: a hosted cache has hosted_cache.max_uploads".to_owned());
        }
        match mode {
            Mode::HostedClient => notes.extend(self.hosted_client.notes(&self.node, &self.discovery)),
            Mode::HostedCache => notes.extend(self.hosted_cache.notes(&self.node)),
            Mode::Distributed | Mode::Client | Mode::Local => {}
        }
        notes
    }
}

impl HostedClient {
    fn notes(&self, node: &Node, discovery: &Discovery) -> Vec<String> {
        let mut notes = Vec::new();
        if self.retrieval_port == node.port {
            notes.extend(self.servers.iter().filter(|server| is_this_host(server)).map(|server| {
                format!(
                    "hosted_client.servers names {server}, an address of this host: without another program there it asks \
                     itself. On the hosted cache node.mode is \"hosted-cache\""
                )
            }));
        }
        let unused = match self.version.0 {
            Version::V1 => [("http_port", self.http_port != Self::default().http_port), ("", false)],
            Version::V2 => {
                [("https_port", self.https_port != Self::default().https_port), ("trust", self.trust_file().is_some())]
            }
        };
        let version = self.version;
        let unused = unused.into_iter().filter(|(_, is_unused)| *is_unused);
        notes.extend(
            unused.map(|(key, _)| format!("hosted_client.{key} is not used: hosted_client.version is \"{version}\"")),
        );
        if self.fallback == Fallback::Distributed && !discovery.ipv4 && !discovery.ipv6 {
            notes.push(
                "hosted_client.fallback is \"distributed\", and no peer is looked for: discovery.ipv4 and discovery.ipv6 \
                 are off"
                    .to_owned(),
            );
        }
        notes
    }
}

impl HostedCache {
    fn notes(&self, node: &Node) -> Vec<String> {
        let mut notes = Vec::new();
        for (key, total, of_one) in [
            ("max_pulls", self.max_pulls, self.max_pulls_per_source),
            ("max_queued", self.max_queued, self.max_queued_per_source),
        ] {
            if of_one > total {
                notes.push(format!(
                    "hosted_cache.{key}_per_source is {of_one}, but {key} is {total} for all clients together: one client \
                     can take all of it"
                ));
            }
        }
        let has_certificate = !self.certificate.as_os_str().is_empty();
        if self.blind && self.certificate_files().is_none() {
            let why = if has_certificate { "https_port is 0" } else { "there is no certificate" };
            notes.push(format!(
                "hosted_cache.blind does nothing: it is for offers of version 1.0, and none come, since {why}"
            ));
        }
        if has_certificate && self.https_port == 0 {
            notes.push("hosted_cache.certificate is not used: https_port is 0".to_owned());
        } else if !has_certificate && !matches!(self.https_port, 0 | 443) {
            notes.push("hosted_cache.https_port is not used: there is no certificate".to_owned());
        }
        let refused = self.sources(node).into_iter().filter(|net| self.denies_all_of(net));
        notes.extend(refused.map(|net| format!("hosted_cache.deny refuses the offers from all of {net}")));
        notes
    }

    /// Whether there is no source whose offers are taken.
    pub(super) fn denies_everybody(&self, node: &Node) -> bool {
        self.sources(node).iter().all(|net| self.denies_all_of(net))
    }

    /// Where offers may come from, but for what is denied.
    fn sources(&self, node: &Node) -> Vec<IpNet> {
        if !self.allow.is_empty() {
            return self.allow.iter().map(|subnet| subnet.0).collect();
        }
        let listens = |family: fn(&IpAddr) -> bool| node.listen.iter().any(family);
        let families = [
            (Ipv4Net::default().into(), listens(IpAddr::is_ipv4)),
            (Ipv6Net::default().into(), listens(IpAddr::is_ipv6)),
        ];
        families.into_iter().filter_map(|(net, listens)| listens.then_some(net)).collect()
    }

    fn denies_all_of(&self, net: &IpNet) -> bool {
        // Two halves are a whole.
        let denied = IpNet::aggregate(&self.deny.iter().map(|Subnet(net)| *net).collect());
        denied.iter().any(|denied| denied.contains(net))
    }
}

fn is_this_host(server: &ServerName) -> bool {
    match server.address() {
        // Who can bind it has it.
        Some(address) => UdpSocket::bind((address, 0)).is_ok(),
        None => {
            let host = rustix::system::uname();
            let host = host.nodename().to_string_lossy();
            let name = server.as_str().trim_end_matches('.');
            let own = ["localhost", &host, host.split('.').next().unwrap_or(&host)];
            own.iter().any(|own| own.eq_ignore_ascii_case(name))
        }
    }
}
