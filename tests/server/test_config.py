"""Settings of the server."""

import pytest

from folio.errors import UserError
from folio.server.config import ServerConfig, is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_addresses_of_this_machine_alone(host):
    assert is_loopback(host)
    assert ServerConfig(host=host).is_local


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "", "localhost.evil.com"])
def test_addresses_that_others_can_reach(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "change", [{"port": 70_000}, {"rows": 0}, {"timeout": 0}, {"memory": 0}, {"queue": -1}]
)
def test_values_out_of_range(change):
    with pytest.raises(UserError, match=next(iter(change))):
        ServerConfig(**change)
