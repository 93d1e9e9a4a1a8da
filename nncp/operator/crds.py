"""The CRDs and what admission refuses, made from the Structs: deploy/ holds the result, and a test compares.

python -m nncp.operator.crds deploy
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml
from msgspec import json

from nncp.desired import WRITTEN
from nncp.document.meaning import describe
from nncp.document.schema import schema_of
from nncp.operator import openapi
from nncp.operator.objects import GROUP, Condition, PolicySpec, Value
from nncp.operator.openapi import KEEP, NUMBER

POLICIES = "nodenetworkconfigurationpolicies"
# The first condition that holds, as kubernetes-nmstate's columns show it.
HOLDS = '.status.conditions[?(@.status=="True")]'
LABEL = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"  # a label's value (apimachinery, validation.go)
SHARE = "^([0-9]|[1-9][0-9]|100)%$"


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
    shape["properties"]["maxUnavailable"] = {
        "description": shape["properties"]["maxUnavailable"]["description"],
        NUMBER: True,
    }
    columns = [
        {"name": "Status", "type": "string", "jsonPath": f"{HOLDS}.type"},
        {"name": "Reason", "type": "string", "jsonPath": f"{HOLDS}.reason"},
    ]
    version = {
        "served": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": "A state that nodes are to have, and which nodes.",
                "properties": {
                    "apiVersion": {"type": "string"},
                    "kind": {"type": "string"},
                    "metadata": {"type": "object"},
                    "spec": shape,
                    "status": _status(),
                },
            }
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{POLICIES}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {
                "kind": "NodeNetworkConfigurationPolicy",
                "listKind": "NodeNetworkConfigurationPolicyList",
                "plural": POLICIES,
                "singular": "nodenetworkconfigurationpolicy",
                "shortNames": ["nncp"],
            },
            "versions": [
                {"name": "v1", "storage": True, **version},
                {"name": "v1beta1", "storage": False, "deprecated": True, **version},
            ],
        },
    }


def _status() -> dict[str, Any]:
    (ref,), defs = json.schema_components([Condition])
    describe(defs, [Condition])
    return {
        "type": "object",
        "description": "How far the nodes are; the controller writes it.",
        "properties": {
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "atomic",
                "items": openapi.typed({**ref, "$defs": defs}),
            },
            "observedGeneration": {
                "type": "integer",
                "format": "int64",
                "description": "The generation of the spec that the conditions are about.",
            },
        },
        KEEP: True,
    }


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
            f"{limit}.matches('{SHARE}'))",
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


MANIFESTS = {"crds.yaml": lambda: [policy()], "admission.yaml": admission}


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
