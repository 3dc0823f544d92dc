"""A small server of the ctypes layer: ``small_server.py PORT``; it says ready, and stops when it is told a line."""

import sys

from s4g_gateway.errors import PermanentError
from s4g_gateway.model import ACCEPTED, AddCause, ControlModel, refused
from s4g_gateway.workers.libiec61850.model import Model
from s4g_gateway.workers.libiec61850.server import Hooks, Server, ServerSettings

ORIGIN = [{"name": "orCat", "fc": "CO", "type": "Enum"}, {"name": "orIdent", "fc": "CO", "type": "Octet64"}]
OPER = [
    {"name": "ctlVal", "type": "BOOLEAN"},
    {"name": "origin", "type": "Struct", "parts": ORIGIN},
    {"name": "ctlNum", "type": "INT8U"},
    {"name": "T", "type": "Timestamp"},
    {"name": "Test", "type": "BOOLEAN"},
    {"name": "Check", "type": "Check"},
]
DESCRIPTION = {
    "types": {
        "MV": [
            {
                "name": "mag",
                "fc": "MX",
                "type": "Struct",
                "triggers": "dchg",
                "parts": [{"name": "f", "type": "FLOAT32"}],
            },
            {"name": "q", "fc": "MX", "type": "Quality", "triggers": "qchg"},
            {"name": "t", "fc": "MX", "type": "Timestamp"},
            {"name": "d", "fc": "DC", "type": "VisString255"},
        ],
        "SPC": [
            {"name": "stVal", "fc": "ST", "type": "BOOLEAN", "triggers": "dchg"},
            {"name": "ctlModel", "fc": "CF", "type": "Enum"},
            {"name": "Oper", "fc": "CO", "type": "Struct", "parts": OPER},
        ],
    },
    "logical_devices": [
        {
            "name": "LD1",
            "nodes": [
                {"name": "LLN0", "objects": []},
                {
                    "name": "GGIO1",
                    "objects": [
                        {"name": "AnIn1", "type": "MV", "values": {"mag.f": 2.5, "q": 3, "d": "text"}},
                        {"name": "AnIn2", "type": "MV"},
                        {"name": "SPCSO1", "type": "SPC", "values": {"ctlModel": 3}},
                    ],
                },
            ],
        }
    ],
}


class Done:
    def __init__(self, answer):
        self.answer = answer

    def wait(self, timeout_s):
        return self.answer


def begin(request):
    if request.origin_identity == b"crash":
        raise RuntimeError("a fault of ours")
    return Done(ACCEPTED if request.value else refused(AddCause.BLOCKED_BY_INTERLOCKING, "no"))


def may_read(peer, path):
    if path.endswith("AnIn2"):
        raise RuntimeError("a fault of ours")
    return True


def port_is_taken(port):
    model = Model(DESCRIPTION)
    second = Server(model, Hooks(begin=begin), ServerSettings())
    try:
        second.start("127.0.0.1", port)
    except PermanentError as error:
        return "the port is taken" in str(error)
    finally:
        second.stop()
        model.close()
    return False


def main(port):
    faults = []
    model = Model(DESCRIPTION)
    server = Server(model, Hooks(begin=begin, may_read=may_read, fault=faults.append), ServerSettings())
    server.serve_control("LD1/GGIO1.SPCSO1", ControlModel.DIRECT_ENHANCED)
    server.start("127.0.0.1", port)
    if not port_is_taken(port):
        sys.exit("a second server took the port")
    print("ready", flush=True)
    sys.stdin.readline()
    server.stop()
    server.stop()
    model.close()
    print("stopped" if faults else "no callback failed", flush=True)


main(int(sys.argv[1]))
