"""Probes as the WSDiscovery package does it, and prints what answered as JSON.

usage: probe.py NAMESPACE [PREFIX:]TYPE [MATCH_BY SCOPE...]

Without PREFIX the package makes one up.
"""

import json
import sys

from wsdiscovery import QName, Scope
from wsdiscovery.discovery import ThreadedWSDiscovery

namespace, kind, *rest = sys.argv[1:]
prefix, _, kind = kind.rpartition(":")
scopes = [Scope(value, rest[0]) for value in rest[1:]]

discovery = ThreadedWSDiscovery()
discovery.start()
discovery.searchServices(types=[QName(namespace, kind, prefix or None)], scopes=scopes, timeout=2)
# All that answered: searchServices itself returns those alone whose scopes are equal to the ones asked for, and
# version 2 answers with bits in their place.
found = [
    {
        "address": service.getEPR(),
        "types": [[name.getNamespace(), name.getLocalname()] for name in service.getTypes()],
        "scopes": [scope.getValue() for scope in service.getScopes()],
        "xaddrs": service.getXAddrs(),
    }
    for service in discovery._remoteServices.values()
]
discovery.stop()
print(json.dumps(found))
