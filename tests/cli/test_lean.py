"""What a gateway does without."""

import subprocess
import sys


def run(script):
    subprocess.run([sys.executable, "-c", script], check=True)


def test_structlog_without_rich_logs_as_before_and_rich_can_be_had_later():
    run(
        "import io, sys\n"
        "from s4g_gateway.cli.run import load_structlog\n"
        "load_structlog()\n"
        "load_structlog()\n"
        "from s4g_gateway.runtime.logs import configure_logging\n"
        "import structlog\n"
        "out = io.StringIO()\n"
        "configure_logging(stream=out, human=True)\n"
        "try:\n"
        "    1 / 0\n"
        "except ZeroDivisionError:\n"
        "    structlog.get_logger('site').exception('it failed')\n"
        "assert 'it failed' in out.getvalue() and 'ZeroDivisionError' in out.getvalue(), out.getvalue()\n"
        "assert 'rich' not in sys.modules\n"
        "import rich.console\n"
    )


def test_a_gateway_loads_nothing_that_its_site_does_not_need(tmp_path):
    (tmp_path / "registers.toml").write_text(
        'title = "one"\nlogical_devices = { device = "D1" }\n[[register]]\naddress = 0\ntype = "int16"\n'
        'reference = "{device}/MMXU1.TotW"\nunit = "W"\n'
    )
    (tmp_path / "site.toml").write_text(
        '[site]\nname = "s"\n[[southbound]]\nname = "d"\ntype = "modbus"\nhost = "127.0.0.1"\n'
        '[[southbound.device]]\nregisters = "registers.toml"\n'
        '[[northbound]]\nname = "scada"\ntype = "iec104"\n'
        '[[northbound]]\nname = "cloud"\ntype = "mqtt"\nurl = "mqtt://127.0.0.1:1"\nformat = "cbor"\n'
    )
    run(
        "import sys\n"
        "from pathlib import Path\n"
        "from s4g_gateway.cli.run import load_structlog\n"
        "from s4g_gateway.cli.site_file import read_site\n"
        "load_structlog()\n"
        f"config = read_site(Path({str(tmp_path / 'site.toml')!r}))\n"
        "import s4g_gateway.runtime.listeners, s4g_gateway.runtime.supervisor\n"
        "assert len(config.northbound) == 2\n"
        "loaded = {'rich', 'pygments', 'lxml', 'jsonschema_rs', 'openpyxl', 'hypothesis'} & sys.modules.keys()\n"
        "assert not loaded, loaded\n"
    )
