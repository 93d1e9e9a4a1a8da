"""Any configuration and any environment: the plugin answers with a result or with an error object.

Run by its path in a node that has br1 and the namespace c; ends with an assertion that failed, or prints how
many calls there were.
"""

from __future__ import annotations

import collections
import copy
import io
import json
import os
import sys
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from vmnet.cni import plugin
from vmnet.cni.given import read_given
from vmnet.cni.request import VERSIONS

MADE_FOR = {
    "host-local": {"type": "host-local", "dataDir": "/run/ipam", "ranges": [[{"subnet": "10.9.0.0/24"}]]}
}
RESULT = {"cniVersion": "1.0.0", "interfaces": [{"name": "net1", "sandbox": "/run/netns/c"}], "ips": []}
BASE: dict[str, Any] = {"cniVersion": "1.1.0", "name": "net", "type": "cnv-bridge", "bridge": "br1"}
KEYS = {
    "ipam": MADE_FOR["host-local"], "args": {"cni": {"mac": "02:00:00:00:00:66"}},
    "runtimeConfig": {"mac": "02:00:00:00:00:67"}, "prevResult": RESULT, "vlan": 33, "vlanTrunk": [{"id": 7}],
    "mtu": 1400, "macspoofchk": True, "isGateway": True, "ipMasq": True, "forceAddress": True,
    "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "net1"}], "dns": {"search": ["a"]},
    "capabilities": {"mac": True}, "portIsolation": True, "hairpinMode": True, "enabledad": True,
    "name": "net", "bridge": "br1", "cniVersion": "1.0.0", "type": "x", "disableCheck": False,
}  # fmt: skip
ENVIRONMENT = {
    "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c", "CNI_IFNAME": "net1", "CNI_ARGS": "",
    "CNI_PATH": "/usr/lib/cni", "CNI_COMMAND": "ADD",
}  # fmt: skip

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
values = st.sampled_from(["", "..", "a/b", "net1", 'x";drop#', "/dev/null", "MAC=1", "a" * 300]) | words
verbs = st.sampled_from(["ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION"])
seen: collections.Counter[tuple[str, int]] = collections.Counter()


@st.composite
def configurations(draw: st.DrawFn) -> Any:
    """One that works, with a few keys more, and a few values that are anything."""
    conf = copy.deepcopy(BASE)
    for key in draw(st.lists(st.sampled_from(sorted(KEYS)), max_size=5)):
        conf[key] = copy.deepcopy(KEYS[key])
    for _ in range(draw(st.integers(0, 2))):
        at: Any = conf
        while isinstance(at, dict) and at:
            key = draw(st.sampled_from(sorted(at)))
            if not isinstance(at[key], dict) or draw(st.booleans()):
                at[key] = draw(anything)
                break
            at = at[key]
    return conf


@settings(
    max_examples=int(sys.argv[1]),
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(
    verbs,
    configurations() | anything,
    st.dictionaries(st.sampled_from(sorted(ENVIRONMENT)), values, max_size=1),
)
def fuzz(verb: str, conf: Any, environment: dict[str, str]) -> None:
    """Call the plugin once."""
    os.environ.update({**ENVIRONMENT, "CNI_COMMAND": verb, **environment})
    sink = io.StringIO()
    code = plugin.main(io.StringIO(json.dumps(conf)), sink)
    answer = json.loads(sink.getvalue() or "null")
    seen[verb, answer["code"] if code else 0] += 1
    said = (verb, conf, environment, answer)
    if code:
        assert sorted(answer) in (["cniVersion", "code", "msg"], ["cniVersion", "code", "details", "msg"]), (
            said
        )
        assert answer["cniVersion"] in VERSIONS, said
        assert answer["code"] in {1, 4, 5, 6, 7, 8, 11, 50, 100}, said
        assert not any(word in answer["msg"] for word in ("Error", "NoneType", "Expected", "object at 0x")), (
            said
        )
    elif os.environ["CNI_COMMAND"] == "ADD":
        assert not read_given(answer)[1], said
        assert len(answer["interfaces"]) == 3, said
    else:
        assert answer is None or verb == "VERSION", said


if __name__ == "__main__":
    fuzz()
    print(*sorted(seen.items()), sep="\n")
