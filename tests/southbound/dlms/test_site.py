"""A whole site with a DLMS meter: points in the RealTimeDatabase, and the load profile from the command line."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime

from click.testing import CliRunner

from s4g_gateway.cli.root import s4g
from s4g_gateway.model import quality as q
from s4g_gateway.runtime.config import load_site
from s4g_gateway.runtime.local_socket import local_socket
from s4g_gateway.runtime.supervisor import Site
from s4g_gateway.security import Principal

SITE = """
[site]
name = "house"
[[southbound]]
name = "meter"
type = "dlms"
[[southbound.device]]
meter = "landis-gyr-zmg310"
host = "127.0.0.1"
port = {port}
period_s = 0.2
security = {{ authentication = "hls-gmac", key_file = "keys.toml", system_title = "5334470000000001", ciphered = true }}
"""


async def test_points_arrive_with_sign_and_unit_and_the_profile_is_printed(
    tmp_path, meters, keys, wait_until
):
    meter = await meters("gmac-ciphered")
    for _ in range(20):
        meter.house.step(900.0)
        meter.household.show()
    meter.house.state.export_w = -2500.0
    path = tmp_path / "site.toml"
    path.write_text(SITE.format(port=meter.server.port))
    site = Site(load_site(path))
    task = asyncio.create_task(site.run())
    reader = Principal(name="test", roles=frozenset({"ENGINEER"}))

    def read(reference):
        return site.database.read(reader, reference)

    async def command(*arguments):
        return await asyncio.to_thread(CliRunner().invoke, s4g, ["dlms", "profile", str(path), *arguments])

    try:
        await asyncio.wait_for(site.ready.wait(), 20)
        await wait_until(lambda: read("PCC1/MMXU1.TotW").quality == q.GOOD, 30)
        assert read("PCC1/MMXU1.TotW").value == -2500.0
        assert read("PCC1/MMXU1.TotW").member.unit == "W"
        assert read("PCC1/MMXU1.W.phsA").value == round(-2500 / 3)
        assert read("PCC1/MMTR1.SupWh").value == round(meter.house.state.exported_wh)
        end = datetime.fromtimestamp(meter.house.state.time_s, UTC)
        times = ["--from", f"{end:%Y-%m-%d}", "--to", f"{end:%Y-%m-%dT%H:%M:%S}"]
        async with local_socket(path.parent / "state" / "s4g.sock", site):
            printed = await command("meter", *times)
            as_json = await command("meter", *times, "--format", "json")
            refused = await command("nobody", *times)
            backwards = await command("meter", "--from", "2026-01-02", "--to", "2026-01-01")
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert printed.exit_code == 0, printed.output
    heading, *rows = printed.output.splitlines()
    assert heading == "0.0.1.0.0.255,1.0.1.8.0.255 Wh,1.0.2.8.0.255 Wh,1.0.16.7.0.255 W"
    assert len(rows) == 20
    assert rows[-1].split(",")[1] == str(float(meter.household.profile.rows[-1][1].value))
    assert len(json.loads(as_json.output)["rows"]) == 20
    assert refused.exit_code == 1
    assert "expected one of: meter" in refused.output
    assert backwards.exit_code == 2
