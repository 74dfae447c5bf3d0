"""Reads schema/vectors with the Python FlatBuffers runtime and compares with manifest.json.

    python3 tests/python/conformance.py            (flatc beside this python, or on PATH)

Every valid frame gives the fields of the manifest through the code that flatc generates; every other one is refused by
swc1.verify for the manifest's reason.
"""

import importlib
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "docs" / "examples"))
import swc1  # noqa: E402
from generated import generated  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIELDS = {
    "Hello": "version_min version_max features token agent synced_ms user_id device_id marks",
    "Welcome": "version features session_id server_incarnation user_id device_id server_time_ms frame_limit_bytes window "
    "sends_per_second burst ping_interval_ms idle_timeout_ms",
    "Send": "client_msg_id chat_id to kind content_type body refers_to after_seq retry users role ttl_s "
    "forwarded subject key device",
    "SendAck": "client_msg_id chat_id message_id seq status timestamp_ms",
    "Entry": "chat_id message_id seq sender_id sender_device kind content_type body client_msg_id refers_to after_seq timestamp_ms "
    "users role ttl_s forwarded subject key device refers_seq replaces_seq edited_seq edited_ms deleted_ms",
    "Mark": "chat_id message_id seq status",
    "Receipt": "chat_id message_id seq user_id status",
    "Synced": "server_time_ms",
    "Covered": "chat_id first_seq last_seq",
    "Ping": "nonce",
    "Pong": "nonce",
    "Error": "code fault retry scope retry_after_ms text client_msg_id",
    "HistoryRequest": "request_id chat_id after_seq limit",
    "HistoryPage": "request_id chat_id covers_first_seq covers_last_seq head_seq entries",
    "Window": "window",
    "Goodbye": "code close_code retry retry_after_ms text",
    "ChatRequest": "request_id chat_id after_user limit",
    "ChatInfo": "request_id chat_id kind name created_by members member_count next_user head_seq last_ms read_seq unread present "
    "last_entry",
    "ChatsRequest": "request_id before_ms before_chat limit",
    "Chats": "request_id chats has_more",
    "StatusRequest": "request_id chat_id message_id",
    "MessageStatus": "request_id chat_id message_id seq total delivered read members",
    "Ticks": "chat_id members",
    "AccountRequest": "request_id chat_id",
    "Account": "request_id settings devices hidden",
}
ITEMS = {
    "members": "user_id delivered_seq read_seq role".split(),
    "chats": "frame pinned archived muted_until_ms".split(),
    "settings": "key value".split(),
    "devices": "device name named_ms revoked_ms".split(),
}
UUIDS = {"chat_id", "message_id", "refers_to", "before_chat", "subject"}
VECTORS = {"token", "agent", "body", "client_msg_id", "text", "frame", "name", "last_entry", "key", "value"}
LONGS = set(
    "features session_id server_incarnation user_id server_time_ms to after_seq seq timestamp_ms sender_id first_seq last_seq "
    "nonce request_id covers_first_seq covers_last_seq head_seq after_user created_by next_user last_ms read_seq before_ms "
    "delivered_seq synced_ms refers_seq replaces_seq edited_seq edited_ms deleted_ms named_ms revoked_ms muted_until_ms".split()
)


def accessor(table, field, suffix=""):
    return getattr(table, "".join(part.capitalize() for part in field.split("_")) + suffix)


def hex_of(uuid):
    return bytes(uuid.Bytes(i) for i in range(16)).hex()


def vector(table, field):
    """A [ubyte] field as hex, or None."""
    if accessor(table, field, "IsNone")():
        return None
    item = accessor(table, field)
    return bytes(item(i) for i in range(accessor(table, field, "Length")())).hex()


def value(table, field):
    """A field as the manifest shows it."""
    if field in ITEMS.keys() | {"users", "entries", "hidden"}:
        if accessor(table, field, "IsNone")():
            return None
        items = [accessor(table, field)(i) for i in range(accessor(table, field, "Length")())]
        if field == "users":
            return [str(item) for item in items]
        if field == "entries":
            return [vector(item, "frame") for item in items]
        if field == "hidden":
            return [hex_of(item) for item in items]
        return [{name: value(item, name) for name in ITEMS[field]} for item in items]
    if field in VECTORS:
        return vector(table, field)
    if field in UUIDS:
        uuid = accessor(table, field)()
        return None if uuid is None else hex_of(uuid)
    number = accessor(table, field)()
    return str(number) if field in LONGS else number


def read(frame):
    """(body kind, fields) of a verified frame."""
    module = importlib.import_module("shardwire.client.Frame")
    names = {number: name for name, number in vars(importlib.import_module("shardwire.client.Body").Body).items() if name[0] != "_"}
    root = module.Frame.GetRootAs(frame, swc1.PREFIX_BYTES)
    name = names.get(root.BodyType())
    if name is None:
        return "unknown", {}
    body, table = root.Body(), getattr(importlib.import_module(f"shardwire.client.{name}"), name)()
    table.Init(body.Bytes, body.Pos)
    return name, {field: value(table, field) for field in FIELDS[name].split()}


def check(entry, frame):
    """None, or what is wrong."""
    try:
        swc1.verify(frame, entry["from"] == "server")
    except swc1.BadFrame as refusal:
        if entry["verdict"] != "refused":
            return f"refused ({refusal}), but it is valid"
        return None if refusal.reason == entry["reason"] else f"refused for {refusal.reason}, not for {entry['reason']}"
    if entry["verdict"] != "valid":
        return "taken, but it must be refused"
    body, fields = read(frame)
    if body != entry["body"]:
        return f"is a {body}, not a {entry['body']}"
    wrong = [field for field in entry["fields"].keys() | fields.keys() if entry["fields"].get(field) != fields.get(field)]
    return f"differs in {', '.join(sorted(wrong))}" if wrong else None


def main():
    sys.path.insert(0, str(generated(ROOT / "schema" / "fbs" / "client.fbs")))
    folder = ROOT / "schema" / "vectors"
    entries = json.loads((folder / "manifest.json").read_text())["frames"]
    failures = 0
    for entry in entries:
        wrong = check(entry, (folder / entry["file"]).read_bytes())
        if wrong:
            failures += 1
            print(f"{entry['file']}: {wrong}", file=sys.stderr)
    valid = sum(entry["verdict"] == "valid" for entry in entries)
    print(f"{len(entries)} frames: {valid} valid, {len(entries) - valid} refused; {failures} wrong")
    return 1 if failures or not valid or valid == len(entries) else 0


if __name__ == "__main__":
    sys.exit(main())
