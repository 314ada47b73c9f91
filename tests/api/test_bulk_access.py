"""Where the sockets for much data are."""

import asyncio
import sys

import pytest

from mabeam_p2p.api.bulk import BulkAccess
from mabeam_p2p.config import Limits
from tests.in_loop import in_loop


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the loopback has one address")
@in_loop
async def test_bulk_data_listens_on_the_interface_where_the_peer_is_at_the_moment() -> None:
    address = "127.0.0.1:7946"

    async def peer_address() -> str:
        return address

    access = BulkAccess(peer_address, Limits())
    first = await access.endpoint()
    assert first.address.startswith("127.0.0.1:")
    assert (await access.endpoint()).thread is first.thread
    address = "127.0.0.2:7946"
    second = await access.endpoint()
    assert second.address.startswith("127.0.0.2:")
    await asyncio.wrap_future(first.thread.ended)
    assert (await access.endpoint()).thread is second.thread
    access.close()
    await asyncio.wrap_future(second.thread.ended)
