"""Names for the numbers of IEC 60870-5-101 and -104: types, causes, quality bits, qualifiers."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

MAX_ASDU_BYTES: Final = 249
ASDU_HEADER_BYTES: Final = 6
BROADCAST_ADDRESS: Final = 0xFFFF
MAX_OBJECT_ADDRESS: Final = 0xFFFFFF


class TypeId(IntEnum):
    """Type identification of an ASDU.

    Source: IEC 60870-5-104 §6 and IEC 60870-5-101 §7.2.1 (clauses unverified).
    """

    M_SP_NA_1 = 1
    M_DP_NA_1 = 3
    M_ST_NA_1 = 5
    M_BO_NA_1 = 7
    M_ME_NA_1 = 9
    M_ME_NB_1 = 11
    M_ME_NC_1 = 13
    M_IT_NA_1 = 15
    M_SP_TB_1 = 30
    M_DP_TB_1 = 31
    M_ST_TB_1 = 32
    M_BO_TB_1 = 33
    M_ME_TD_1 = 34
    M_ME_TE_1 = 35
    M_ME_TF_1 = 36
    M_IT_TB_1 = 37
    C_SC_NA_1 = 45
    C_DC_NA_1 = 46
    C_RC_NA_1 = 47
    C_SE_NA_1 = 48
    C_SE_NB_1 = 49
    C_SE_NC_1 = 50
    C_BO_NA_1 = 51
    C_SC_TA_1 = 58
    C_DC_TA_1 = 59
    C_RC_TA_1 = 60
    C_SE_TA_1 = 61
    C_SE_TB_1 = 62
    C_SE_TC_1 = 63
    C_BO_TA_1 = 64
    M_EI_NA_1 = 70
    C_IC_NA_1 = 100
    C_CI_NA_1 = 101
    C_RD_NA_1 = 102
    C_CS_NA_1 = 103
    C_TS_NA_1 = 104
    C_RP_NA_1 = 105
    C_TS_TA_1 = 107


COMMAND_TYPES: Final = frozenset(TypeId(number) for number in (*range(45, 52), *range(58, 65)))
TIMED_COMMAND_OFFSET: Final = 13
"""C_SC_TA_1 - C_SC_NA_1, the same for all seven commands."""


class Cause(IntEnum):
    """Cause of transmission, 6 bits.

    INTERROGATED_BY_STATION + n is group n (1 to 16), COUNTERS_GENERAL + n is counter group n (1 to 4).

    Source: IEC 60870-5-101 §7.2.3 (clause unverified).
    """

    PERIODIC = 1
    BACKGROUND = 2
    SPONTANEOUS = 3
    INITIALIZED = 4
    REQUEST = 5
    ACTIVATION = 6
    ACTIVATION_CON = 7
    DEACTIVATION = 8
    DEACTIVATION_CON = 9
    ACTIVATION_TERM = 10
    RETURN_REMOTE = 11
    RETURN_LOCAL = 12
    INTERROGATED_BY_STATION = 20
    COUNTERS_GENERAL = 37
    UNKNOWN_TYPE = 44
    UNKNOWN_CAUSE = 45
    UNKNOWN_COMMON_ADDRESS = 46
    UNKNOWN_OBJECT_ADDRESS = 47


class QualityBit(IntFlag):
    """Quality bits as they stand in SIQ, DIQ and QDS; a counter (BCR) has only INVALID.

    Source: IEC 60870-5-101 §7.2.6.1 to 7.2.6.3 (clauses unverified).
    """

    GOOD = 0
    OVERFLOW = 0x01
    BLOCKED = 0x10
    SUBSTITUTED = 0x20
    NOT_TOPICAL = 0x40
    INVALID = 0x80


class CounterQualifier(IntFlag):
    """The qualifier column of a counter: 5 bits sequence number and two flags.

    Source: IEC 60870-5-101 §7.2.6.9 (clause unverified).
    """

    SEQUENCE = 0x1F
    CARRY = 0x20
    ADJUSTED = 0x40


class FreezeMode(IntEnum):
    """What a counter interrogation asks of the counters (FRZ).

    Source: IEC 60870-5-101 §7.2.6.23 (clause unverified, via lib60870-sys documentation).
    """

    READ = 0
    FREEZE = 1
    FREEZE_AND_RESET = 2
    RESET = 3


class ResetQualifier(IntEnum):
    """What a reset process command asks for (QRP). Source: IEC 60870-5-101 §7.2.6.27 (clause unverified)."""

    GENERAL = 1
    EVENT_BUFFER = 2
