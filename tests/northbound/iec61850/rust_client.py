"""Reads, reports and operates by the PyPI ``iec61850`` client, in a process of its own; prints JSON.

Usage: rust_client.py PORT. The package may crash when the interpreter ends, so the process leaves by os._exit.
"""

import asyncio
import json
import os
import sys

import iec61850
from iec61850 import FC

BLOCK = "PCC1/LLN0.RP.urcbMX0101"


async def ask(port):
    found = {}
    connection = await iec61850.IedConnection.connect(f"127.0.0.1:{port}")
    found["devices"] = sorted(await connection.get_server_directory())
    found["value"] = await connection.read_float("PCC1/MMXU1.TotW.mag.f", FC.MX)
    quality = await connection.read_quality("PCC1/MMXU1.TotW.q", FC.MX)
    found["validity"], found["old"] = quality.validity.name, quality.detail.old_data
    found["time"] = (await connection.read_timestamp("PCC1/MMXU1.TotW.t", FC.MX)).timestamp()
    found["description"] = await connection.read_string("ESS1/DSTO1.EffWh.d", FC.DC)

    reports = asyncio.Queue()
    loop = asyncio.get_running_loop()
    block = await connection.get_rcb_values(BLOCK)
    await connection.install_report_handler(
        BLOCK, lambda report: loop.call_soon_threadsafe(reports.put_nowait, report), rpt_id=block.rpt_id
    )
    block.resv = True
    block.rpt_ena = True
    await connection.set_rcb_values(block, iec61850.RcbWriteMask.fields("resv", "rpt_ena"))
    dispatcher = connection.spawn_report_dispatcher(20)
    await connection.trigger_gi(BLOCK)
    report = await asyncio.wait_for(reports.get(), 60)
    found["report"] = [report.rpt_id, len(report.entries)]
    del dispatcher

    for name, model in (("direct", "DIRECT_ENHANCED"), ("selected", "SBO_ENHANCED")):
        reference = {"direct": "SW1/GGIO1.SPCSO1", "selected": "SW1/GGIO1.SPCSO2"}[name]
        control = connection.create_control_object(reference, getattr(iec61850.ControlModel, model))
        if name == "selected":
            await control.select_with_value(True)
        outcome = await control.operate(True)
        found[name] = bool(outcome.success)
    return found


async def main():
    result = await ask(int(sys.argv[1]))
    print(json.dumps(result), flush=True)


code = 1
try:
    asyncio.run(main())
    code = 0
except Exception as error:  # noqa: BLE001 - told to the test
    print(repr(error), file=sys.stderr, flush=True)
os._exit(code)
