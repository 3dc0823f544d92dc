import struct

import pytest

from s4g_gateway.profiles.sunspec import (
    Chain,
    compile_layout,
    discover,
    encode_model,
    full_length,
    load_definition,
)
from s4g_gateway.profiles.sunspec.layout import count_points


class FakeDevice:
    """Registers of a SunSpec device; answers reads and writes, notes both."""

    def __init__(self, models, *, base=40000, end=True, lengths=None, unknown=(), repeats=2):
        self.base = base
        self.lengths = lengths or {}
        self.address = {}
        self.layout = {}
        data = bytearray(b"SunS")
        for model_id, values in models.items():
            definition = load_definition(model_id)
            counts = {name: int(values.get(name, 0)) for name in count_points(definition)}
            length = self.lengths.get(model_id, full_length(definition, counts, repeats))
            layout = compile_layout(definition, length, counts)
            self.address[model_id], self.layout[model_id] = base + len(data) // 2, layout
            data += encode_model(layout, {k: v for k, v in values.items() if k in layout.index})
        for model_id, registers in unknown:
            data += struct.pack(">HH", model_id, registers) + bytes(2 * registers)
        if end:
            data += b"\xff\xff\0\0"
        self.data = data
        self.reads, self.writes = [], []
        self.refuse = {}

    def read(self, read):
        self.reads.append(read)
        start = 2 * (read.address - self.base)
        if read.count > 125 or start < 0 or start + 2 * read.count > len(self.data):
            return None
        return bytes(self.data[start : start + 2 * read.count])

    def write(self, address, data):
        self.writes.append((address, data))
        start = 2 * (address - self.base)
        self.data[start : start + len(data)] = data

    def place(self, model_id, path):
        point = self.layout[model_id].index[path]
        return self.address[model_id] + point.offset

    def raw(self, model_id, path):
        at = 2 * (self.place(model_id, path) - self.base)
        return int.from_bytes(self.data[at : at + 2], "big", signed=True)

    def chain(self) -> Chain:
        walk = discover()
        try:
            read = next(walk)
            while True:
                read = walk.send(self.read(read))
        except StopIteration as end:
            return end.value


@pytest.fixture
def fake_device():
    return FakeDevice


INVERTER = {
    "A_SF": -2, "V_SF": -1, "W_SF": 0, "Hz_SF": -2, "VA_SF": 0, "VAr_SF": 0, "PF_SF": -1, "WH_SF": 0,
    "DCW_SF": 0, "Tmp_SF": -1, "W": 3500, "Hz": 50.01, "PhVphA": 230.4, "AphA": 5.12, "VA": 3510, "VAr": -200,
    "PF": 99.7, "WH": 123456, "DCW": 3600, "TmpCab": 41.5, "St": 4, "Evt1": 0,
}  # fmt: skip
CONTROLS = {
    "Conn": 1, "WMaxLimPct": 100, "WMaxLimPct_SF": -2, "WMaxLim_Ena": 0, "WMaxLimPct_RvrtTms": 0,
    "OutPFSet": -0.95, "OutPFSet_SF": -3, "OutPFSet_Ena": 0, "VArMaxPct": 0, "VArPct_SF": 0, "VArPct_Mod": 0,
    "VArPct_Ena": 0,
}  # fmt: skip
STORAGE = {
    "WChaMax": 4000, "WChaMax_SF": 0, "StorCtl_Mod": 0, "MinRsvPct": 5, "MinRsvPct_SF": -2, "ChaState": 63.5,
    "ChaState_SF": -2, "ChaSt": 4, "OutWRte": 100, "InWRte": 100, "InOutWRte_SF": -2, "ChaGriSet": 0,
    "WChaGra": 100, "WDisChaGra": 100, "WChaDisChaGra_SF": 0,
}  # fmt: skip
DC = {
    "DCA_SF": -2, "DCV_SF": -1, "DCW_SF": 0, "DCWH_SF": 0, "N": 2, "module[1].DCW": 5000, "module[1].DCV": 610,
    "module[1].DCA": 8.2, "module[2].DCW": 1400, "module[2].DCV": 220,
}  # fmt: skip
NAMEPLATE = {"DERTyp": 82, "WRtg": 5000, "WRtg_SF": 1, "WHRtg": 9600, "WHRtg_SF": 1}


@pytest.fixture
def hybrid_models():
    return {
        1: {"Mn": "Maker", "Md": "Hybrid", "Vr": "1.2", "SN": "0815", "DA": 1},
        103: dict(INVERTER),
        120: dict(NAMEPLATE),
        121: {"WMax": 5000, "WMax_SF": 1},
        122: {"ECPConn": 1, "ActWh": 777},
        123: dict(CONTROLS),
        160: dict(DC),
        124: dict(STORAGE),
    }
