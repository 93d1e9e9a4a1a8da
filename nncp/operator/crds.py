"""The CRDs and what admission refuses, made from the Structs: deploy/ holds the result, and a test compares.

python -m nncp.operator.crds deploy
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct, json

from nncp.desired import WRITTEN
from nncp.document.meaning import describe
from nncp.document.schema import schema_of
from nncp.document.spec import SHARE, PolicySpec, Value
from nncp.operator import openapi
from nncp.operator.objects import (
    ENACTMENTS,
    GROUP,
    POLICIES,
    STATES,
    CapturedState,
    EnactmentSpec,
    EnactmentStatus,
    PolicyStatus,
    StateStatus,
)
from nncp.operator.openapi import NUMBER

# The first condition that holds, as kubernetes-nmstate's columns show it.
HOLDS = '.status.conditions[?(@.status=="True")]'
STATUS = {"name": "Status", "type": "string", "jsonPath": f"{HOLDS}.type"}
SINCE = {"name": "Status Age", "type": "date", "jsonPath": f"{HOLDS}.lastTransitionTime"}
REASON = {"name": "Reason", "type": "string", "jsonPath": f"{HOLDS}.reason"}
LABEL = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"  # a label's value (apimachinery, validation.go)


CHANGED = "has(object.spec) && (oldObject == null || !has(oldObject.spec) || object.spec != oldObject.spec)"


class Kind(Struct, frozen=True):
    """A kind of the API."""

    kind: str
    plural: str
    short: str
    description: str
    versions: tuple[str, ...]
    """The first one is stored; the others are served, and told to be old."""
    columns: tuple[dict[str, str], ...] = ()
    selectable: tuple[str, ...] = ()
    """Paths that a watch may choose objects by, besides their names."""

    def crd(self, *, status: dict[str, Any], spec: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return its CustomResourceDefinition, with the schemas of its objects."""
        first, *others = self.versions
        version = self._version(status, spec)
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{self.plural}.{GROUP}"},
            "spec": {
                "group": GROUP,
                "scope": "Cluster",
                "names": {
                    "kind": self.kind,
                    "listKind": f"{self.kind}List",
                    "plural": self.plural,
                    "singular": self.kind.lower(),
                    "shortNames": [self.short],
                },
                "versions": [
                    {"name": first, "storage": True, **version},
                    *({"name": name, "storage": False, "deprecated": True, **version} for name in others),
                ],
            },
        }

    def _version(self, status: dict[str, Any], spec: dict[str, Any] | None) -> dict[str, Any]:
        properties = {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            **({} if spec is None else {"spec": spec}),
            "status": status,
        }
        schema = {"type": "object", "description": self.description, "properties": properties}
        return {
            "served": True,
            "subresources": {"status": {}},
            **({"additionalPrinterColumns": list(self.columns)} if self.columns else {}),
            **(
                {"selectableFields": [{"jsonPath": path} for path in self.selectable]}
                if self.selectable
                else {}
            ),
            "schema": {"openAPIV3Schema": schema},
        }


POLICY = Kind(
    "NodeNetworkConfigurationPolicy",
    POLICIES,
    "nncp",
    "A state that nodes are to have, and which nodes.",
    ("v1", "v1beta1"),
    (STATUS, REASON),
)
ENACTMENT = Kind(
    "NodeNetworkConfigurationEnactment",
    ENACTMENTS,
    "nnce",
    "One node's part in a policy, named NODE.POLICY.",
    ("v1beta1",),
    (STATUS, SINCE, REASON),
    (".spec.nodeName",),
)
STATE = Kind(
    "NodeNetworkState",
    STATES,
    "nns",
    "What a node's network is now, by the node's name.",
    ("v1beta1",),
)


def spec() -> dict[str, Any]:
    """Return the JSON Schema of a policy's spec."""
    (ref,), defs = json.schema_components([PolicySpec])
    describe(defs, [PolicySpec, Value])
    wanted = openapi.document(schema_of(WRITTEN))
    defs |= wanted.pop("$defs")
    made: dict[str, Any] = defs[ref["$ref"].rpartition("/")[2]]
    wanted["description"] = made["properties"]["desiredState"]["description"]
    made["properties"]["desiredState"] = wanted
    return {**made, "$defs": defs}


def policy() -> dict[str, Any]:
    """Return the CRD of NodeNetworkConfigurationPolicies."""
    shape = openapi.typed(spec())
    shape["properties"]["nodeSelector"]["maxProperties"] = 256
    limit = {"description": shape["properties"]["maxUnavailable"]["description"], NUMBER: True}
    shape["properties"]["maxUnavailable"] = limit
    return POLICY.crd(spec=shape, status=_shape(PolicyStatus))


def enactment() -> dict[str, Any]:
    """Return the CRD of NodeNetworkConfigurationEnactments."""
    return ENACTMENT.crd(spec=_shape(EnactmentSpec), status=_shape(EnactmentStatus, CapturedState))


def state() -> dict[str, Any]:
    """Return the CRD of NodeNetworkStates."""
    return STATE.crd(status=_shape(StateStatus))


def _shape(*structs: type[Struct]) -> dict[str, Any]:
    """Return the structural schema of the first Struct; the others are what its mappings hold."""
    (ref, *_), defs = json.schema_components(structs)
    describe(defs, structs)
    return openapi.typed({**ref, "$defs": defs})


def admission() -> list[dict[str, Any]]:
    """Return what refuses a bad policy, whoever sends it: a ValidatingAdmissionPolicy and its binding."""
    parts = openapi.unknown(spec(), value="object.spec", path="spec")
    variables = [{"name": f"unknown{at}", "expression": part} for at, part in enumerate(parts)]
    every = " + ".join(f"variables.{each['name']}" for each in variables)
    limit = "object.spec.maxUnavailable"
    validations = [
        {
            "expression": f"({every}) == ''",
            "messageExpression": f"'unknown keys: ' + ({every}).trim().replace(' ', ', ')",
        },
        {
            "expression": f"size(object.metadata.name) <= 63 && object.metadata.name.matches('{LABEL}')",
            "message": "metadata.name becomes a label's value: at most 63 letters, digits, '-', '_' and '.', "
            "and a letter or digit at both ends",
        },
        {
            "expression": f"!has({limit}) || (type({limit}) == int ? {limit} >= 0 : "
            f"{limit}.matches('^({SHARE})$'))",
            "message": "spec.maxUnavailable must be a number of nodes or a share of them, from 0% to 100%",
        },
    ]
    name = f"policies.{GROUP}"
    rule = {
        "apiGroups": [GROUP],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": [POLICIES],
    }
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": [rule]},
                # What was stored before is not judged again when only its labels or finalizers change.
                "matchConditions": [{"name": "spec", "expression": CHANGED}],
                "variables": variables,
                "validations": validations,
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    ]


MANIFESTS = {"crds.yaml": lambda: [policy(), enactment(), state()], "admission.yaml": admission}


def text(file: str) -> str:
    """Return one of the generated manifests."""
    head = "# Made from the Structs by `make manifests`.\n"
    return head + yaml.safe_dump_all(MANIFESTS[file](), sort_keys=False, width=110, allow_unicode=True)


def main() -> None:
    """Write them into the folder that the command line names."""
    for file in MANIFESTS:
        Path(sys.argv[1], file).write_text(text(file), encoding="utf-8")


if __name__ == "__main__":
    main()
