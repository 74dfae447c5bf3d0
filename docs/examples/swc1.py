"""Frames of the client protocol in Python: cut, verified, then read with what flatc generates.

The `flatbuffers` package for Python has no verifier: reading a hostile frame raises, or worse, returns what is not there. So
every frame goes through `verify` first. Copy this file; it needs nothing but Python.
"""

import struct

PREFIX_BYTES = 4
MIN_FRAME_BYTES = 12
IDENTIFIER = b"SWC1"
MAX_TABLES_FROM_CLIENT = 16
MAX_TABLES_FROM_SERVER = 1_100

# Fields of each table in the order of the schema: the size of a scalar in bytes, BYTES for [ubyte], LONGS for [ulong], MEMBERS for
# [Member], UUIDS for [Uuid], a list for vectors of tables with these fields. Structs may stand anywhere.
BYTES, LONGS, MEMBERS, UUID, UUIDS = "bytes", "longs", "members", "uuid", "uuids"
UUID_BYTES = 16
MEMBER_BYTES = 32
ENTRIES = [BYTES]
CHATS = [BYTES, 1, 1, 8]
SETTINGS = [BYTES, BYTES]
DEVICES = [4, BYTES, 8, 8]
TABLES = {
    1: ("Hello", [2, 2, 8, BYTES, BYTES, 8]),
    2: ("Welcome", [2, 8, 8, 8, 8, 4, 8, 4, 4, 4, 4, 4, 4]),
    3: ("Send", [BYTES, UUID, 8, 1, 1, BYTES, UUID, 8, 1, LONGS, 1, 4, 1, UUID, BYTES, 4]),
    4: ("SendAck", [BYTES, UUID, UUID, 8, 1, 8]),
    5: ("Entry", [UUID, UUID, 8, 8, 4, 1, 1, BYTES, BYTES, UUID, 8, 8, LONGS, 1, 4, 1, UUID, BYTES, 4, 8, 8, 8, 8, 8]),
    6: ("Mark", [UUID, UUID, 8, 1]),
    7: ("Receipt", [UUID, UUID, 8, 8, 1]),
    8: ("Synced", [8]),
    9: ("Covered", [UUID, 8, 8]),
    10: ("Ping", [8]),
    11: ("Pong", [8]),
    12: ("Error", [2, 1, 1, 1, 4, BYTES, BYTES]),
    13: ("HistoryRequest", [8, UUID, 8, 4]),
    14: ("HistoryPage", [8, UUID, 8, 8, 8, ENTRIES]),
    15: ("Window", [4]),
    16: ("Goodbye", [2, 2, 1, 4, BYTES]),
    17: ("ChatRequest", [8, UUID, 8, 4]),
    18: ("ChatInfo", [8, UUID, 1, BYTES, 8, MEMBERS, 4, 8, 8, 8, 8, 4, 1, BYTES]),
    19: ("ChatsRequest", [8, 8, UUID, 4]),
    20: ("Chats", [8, CHATS, 1]),
    21: ("StatusRequest", [8, UUID, UUID]),
    22: ("MessageStatus", [8, UUID, UUID, 8, 4, 4, 4, MEMBERS]),
    23: ("Ticks", [UUID, MEMBERS]),
    24: ("AccountRequest", [8, UUID]),
    25: ("Account", [8, SETTINGS, DEVICES, UUIDS]),
}


class BadFrame(Exception):
    """`reason` is `length`, `identifier` or `tables`, as in the vectors' manifest."""

    def __init__(self, reason, detail):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


def frame_length(stream):
    """The first frame's length with its prefix, or None while the prefix is not whole."""
    if len(stream) < PREFIX_BYTES:
        return None
    return struct.unpack_from("<I", stream)[0] + PREFIX_BYTES


class _Reader:
    """Bounds, alignment and counts; positions count from the first byte of the prefix."""

    def __init__(self, data, max_tables):
        self.data, self.tables_left = data, max_tables

    def need(self, at, size, align=1):
        if at < 0 or at + size > len(self.data):
            raise BadFrame("tables", f"{size} bytes at {at} of {len(self.data)}")
        if at % align:
            raise BadFrame("tables", f"{at} is not aligned to {align}")

    def number(self, form, at):
        size = struct.calcsize(form)
        self.need(at, size, size)
        return struct.unpack_from("<" + form, self.data, at)[0]

    def follow(self, at):
        offset = self.number("I", at)
        self.need(at + offset, 4, 4)
        return at + offset

    def table(self, at):
        """Checks a table's frame; returns a function from slot to the field's place or None."""
        self.tables_left -= 1
        if self.tables_left < 0:
            raise BadFrame("tables", "too many tables")
        vtable = at - self.number("i", at)
        length, inline = self.number("H", vtable), self.number("H", vtable + 2)
        if length < 4 or length % 2:
            raise BadFrame("tables", f"a vtable of {length} bytes")
        self.need(vtable, length, 2)
        self.need(at, inline)

        def field(slot):
            if 4 + 2 * slot + 2 > length:
                return None
            offset = self.number("H", vtable + 4 + 2 * slot)
            return at + offset if offset else None

        return field

    def vector(self, at, item, align):
        start = self.follow(at)
        count = self.number("I", start)
        self.need(start + 4, count * item, align)
        return start + 4, count

    def fields(self, field, kinds):
        for slot, kind in enumerate(kinds):
            at = field(slot)
            if at is None:
                continue
            if kind == UUID:
                self.need(at, UUID_BYTES)
            elif kind == BYTES:
                self.vector(at, 1, 1)
            elif kind == LONGS:
                self.vector(at, 8, 8)
            elif kind == MEMBERS:
                self.vector(at, MEMBER_BYTES, 1)
            elif kind == UUIDS:
                self.vector(at, UUID_BYTES, 1)
            elif isinstance(kind, list):
                start, count = self.vector(at, 4, 4)
                for place in range(start, start + 4 * count, 4):
                    self.fields(self.table(self.follow(place)), kind)
            else:
                self.need(at, kind, kind)


def verify(frame, from_server=False):
    """Raises BadFrame unless `frame` (bytes, with its prefix) is one whole frame that can be read without harm.

    Returns the number of its body kind.
    """
    if len(frame) < MIN_FRAME_BYTES or frame_length(frame) != len(frame):
        raise BadFrame("length", f"{len(frame)} bytes, the prefix says {frame_length(frame)}")
    if frame[8:12] != IDENTIFIER:
        raise BadFrame("identifier", "not SWC1")
    reader = _Reader(frame, MAX_TABLES_FROM_SERVER if from_server else MAX_TABLES_FROM_CLIENT)
    root = reader.table(reader.follow(PREFIX_BYTES))
    kind_at, body_at = root(0), root(1)
    if kind_at is None or body_at is None:
        raise BadFrame("tables", "a frame without kind or body")
    kind = reader.number("B", kind_at)
    if kind in TABLES:
        reader.fields(reader.table(reader.follow(body_at)), TABLES[kind][1])
    return kind
