"""/openapi.json, and the server against what it says of itself."""

import json

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from folio.server.app import api_routes
from folio.server.openapi import ENDPOINTS, VIEWS, describe_api

DESCRIBED = schemathesis.openapi.from_dict(describe_api())
CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
]


def test_it_describes_every_path_of_the_api(server):
    described = server.get("/openapi.json").json()
    assert described == json.loads(json.dumps(describe_api()))
    paths = {route.path for route in api_routes()}
    assert set(described["paths"]) == {*ENDPOINTS, *VIEWS} <= paths
    schema = described["paths"]["/v1/completions"]["post"]["requestBody"]["content"]["application/json"][
        "schema"
    ]
    assert schema["additionalProperties"] is False


@DESCRIBED.parametrize()
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_whatever_is_sent_is_answered_as_described(case, server):
    if isinstance(case.body, dict) and case.body.get("n") not in (None, 1):
        case.body["n"] = 1
    case.call_and_validate(base_url=server.address, checks=CHECKS, timeout=60)


@pytest.mark.parametrize("path", ENDPOINTS)
def test_required_fields(path):
    fields, _ = ENDPOINTS[path]
    schema = describe_api()["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == [name for name, field in fields.items() if field.is_required]
