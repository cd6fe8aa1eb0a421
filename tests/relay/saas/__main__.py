"""python3 -m saas: starts all vendors on free loopback ports and prints {"control": port, "ports": {vendor: port}} on one line."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import stat

from .server import World, server_context


async def run(arguments: argparse.Namespace) -> None:
    world = World()
    tls = (
        server_context(arguments.certificate, arguments.key or arguments.certificate, arguments.client_ca)
        if arguments.certificate
        else None
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, world.stopped.set)
    print(json.dumps(await world.start(tls)), flush=True)
    if stat.S_ISFIFO(os.fstat(0).st_mode):  # held by a test: a killed one leaves no server behind
        loop.add_reader(0, lambda: None if os.read(0, 4096) else world.stopped.set())
    await world.stopped.wait()
    await world.stop()


def main() -> None:
    parser = argparse.ArgumentParser(prog="saas", description=__doc__)
    parser.add_argument("--certificate", help="PEM chain: every vendor speaks TLS with it")
    parser.add_argument("--key", help="its key, where it is not in the same file")
    parser.add_argument("--client-ca", help="PEM: clients must show a certificate of this authority")
    arguments = parser.parse_args()
    asyncio.run(run(arguments))


main()
