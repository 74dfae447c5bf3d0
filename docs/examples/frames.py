"""Native frames written and read with the FlatBuffers runtime and the code that flatc makes of the schema."""

import importlib
import pathlib
import sys

import flatbuffers

import swc1
from generated import generated

SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "schema" / "fbs" / "client.fbs"
sys.path.insert(0, str(generated(SCHEMA)))


def module(name):
    return importlib.import_module(f"shardwire.client.{name}")


KINDS = {name: number for name, number in vars(module("Body").Body).items() if not name.startswith("_")}
NAMES = {number: name for name, number in KINDS.items()}


def frame(kind, **fields):
    """One frame. bytes become [ubyte], tuples of 16 numbers UUIDs."""
    builder = flatbuffers.Builder(256)
    vectors = {name: builder.CreateByteVector(value) for name, value in fields.items() if isinstance(value, bytes)}
    table = module(kind)
    table.Start(builder)
    for name, value in fields.items():
        add = getattr(table, "Add" + "".join(part.capitalize() for part in name.split("_")))
        if isinstance(value, tuple):
            value = module("Uuid").CreateUuid(builder, value)
        add(builder, vectors.get(name, value))
    body = table.End(builder)
    root = module("Frame")
    root.Start(builder)
    root.AddBodyType(builder, KINDS[kind])
    root.AddBody(builder, body)
    builder.FinishSizePrefixed(root.End(builder), file_identifier=swc1.IDENTIFIER)
    return bytes(builder.Output())


def opened(data):
    """A server's frame as (kind's name, table); None when its kind is of a later version."""
    # Nothing is read from a frame that has not been verified.
    kind = swc1.verify(data, from_server=True)
    if kind not in NAMES:
        return None
    body = module("Frame").Frame.GetRootAs(data, swc1.PREFIX_BYTES).Body()
    table = getattr(module(NAMES[kind]), NAMES[kind])()
    table.Init(body.Bytes, body.Pos)
    return NAMES[kind], table


def octets(table, field):
    """A [ubyte] field."""
    item, length = getattr(table, field), getattr(table, field + "Length")
    return bytes(item(i) for i in range(length()))


def id_of(struct):
    """A UUID as a tuple of 16 numbers."""
    return tuple(struct.Bytes(i) for i in range(16))
