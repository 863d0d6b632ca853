"""A peer in a process of its own, to be killed or stopped: listens, says where, and reads or does not."""

import asyncio
import sys
from pathlib import Path

from parley.core.errors import PeerError
from parley.net.certificates import Identity
from parley.net.websocket import PeerListener, PeerPin


async def serve(folder: Path, peer: str, certificate_pem: str) -> None:
    async def on_connection(_peer, path, transport):
        await transport.send(b"welcome")
        try:
            while path != "/deaf":
                await transport.send(await transport.recv())
            await asyncio.sleep(60)
        except PeerError:
            return

    pins = {peer: PeerPin(peer, certificate_pem)}
    async with PeerListener("127.0.0.1", 0, Identity.load(folder), pins, on_connection) as listener:
        sys.stdout.write(listener.address + "\n")
        sys.stdout.flush()
        await asyncio.sleep(60)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).read_text()))
