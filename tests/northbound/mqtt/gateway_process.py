"""A gateway in a process of its own, to be killed: publishes numbers, notes what its journal has confirmed."""

import asyncio
import importlib.util
import sys
from pathlib import Path

import structlog

spec = importlib.util.spec_from_file_location("conftest", Path(__file__).with_name("conftest.py"))
conftest = importlib.util.module_from_spec(spec)
spec.loader.exec_module(conftest)

# Standard output is for what has been confirmed.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))


async def main(state, url, first):
    house = conftest.House(Path(state))
    log = (Path(state) / "executed").open("a", buffering=1)

    async def execute(control):
        log.write(f"{control.value}\n")
        await asyncio.sleep(0.002)
        return conftest.ACCEPTED

    house.connect(execute)
    async with house.running(url, connected=False, integrity_period_s=1000):
        number = first
        await asyncio.sleep(0.2)
        while True:
            for _ in range(10):
                house.count(number)
                sys.stdout.write(f"{number}\n")
                number += 1
            sys.stdout.flush()
            await asyncio.sleep(0.01)


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
