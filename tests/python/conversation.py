"""A conversation that is amended: by REST and over WebSocket, on several devices, with nothing of ours but the documents.

    python3 tests/python/conversation.py ws://HOST:PORT/ws http://HOST:PORT

The server hands out development tokens, and its `limits.edit_window_s` is short. Prints a group's id and a direct chat's.
"""

import calendar
import sys
import time
import urllib.parse

from chat import PATIENCE_S, TIME
from group import Member, Rest
from websockets.exceptions import ConnectionClosed

FOR_GOOD = "9999-12-31T23:59:59.999Z"


class Person:
    """A user's device: its token, its requests, its session."""

    def __init__(self, url, base, user, device):
        self.url, self.base, self.user, self.device = url, base, str(user), device
        self.renew()
        self.session = self.connect()
        self.synced = self.session.expect("synced")["server_time"]
        assert TIME.fullmatch(self.synced), self.synced

    def renew(self):
        wanted = {"user_id": self.user, "device_id": self.device}
        self.token = Rest(self.base, "").ask("POST", "/api/v1/dev/token", wanted)["token"]
        self.rest = Rest(self.base, self.token)

    def connect(self, query=""):
        return Member(self.url + query, self.token, "header")

    def says(self, kind, **fields):
        """Over WebSocket, and its acknowledgement."""
        fields["client_msg_id"] = f"{kind}{time.monotonic_ns()}"
        self.session.say(type=kind, **fields)
        return self.session.expect("ack", client_msg_id=fields["client_msg_id"])

    def is_refused(self, code, kind, **fields):
        self.session.say(type=kind, client_msg_id="refused", **fields)
        error = self.session.expect("error", client_msg_id="refused")
        assert error["code"] == code, error

    def entries(self, chat):
        """The chat as it is now: entries by their message_id, and the seqs that the page covers without one."""
        page = self.rest.ask("GET", f"/api/chats/{chat}/messages?limit=100")
        entries = {entry["message_id"]: entry for entry in page["messages"]}
        covered = range(page["covered"]["first_seq"], page["covered"]["last_seq"] + 1)
        return entries, sorted(set(covered) - {entry["seq"] for entry in entries.values()})


def until(what, ready, pause_s=0.1):
    """Until `ready` gives something."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        got = ready()
        if got:
            return got
        assert time.monotonic() < deadline, what
        time.sleep(pause_s)


def answers(seven, nine, eleven, chat):
    """A reply, a mention, a forward: what is said is what is shown."""
    first = nine.says("message", chat_id=chat, content="where shall we go?")
    path = f"/api/chats/{chat}/messages"
    reply = {"message": "@11 knows", "refers_to": first["message_id"], "mentions": ["11"], "forwarded": 2}
    second = seven.rest.ask("POST", path, reply)
    got = eleven.session.expect("message", message_id=second["message_id"])
    assert (got["refers_to"], got["mentions"], got["forwarded"]) == (first["message_id"], ["11"], 2), got
    passed_on = eleven.says("message", chat_id=chat, content="up", forwarded=1, after_seq=second["seq"])
    got = nine.session.expect("message", message_id=passed_on["message_id"])
    assert (got["forwarded"], got["after_seq"]) == (1, second["seq"]) and "mentions" not in got, got
    seven.rest.refused("POST", path, {"message": "@99", "mentions": ["99"]}, 404, "unknown_member")
    nine.is_refused("unknown_member", "message", chat_id=chat, content="@99", mentions=["99"])


def edits(seven, nine, eleven, chat):
    """A message says what its last edit says; only its sender edits it, and not for ever."""
    sent = seven.rest.ask("POST", f"/api/chats/{chat}/messages", {"message": "to teh lake"})
    path = f"/api/chats/{chat}/messages/{sent['message_id']}"
    first = seven.rest.ask("PUT", path, {"message": "to the lake"}, key="e1")
    assert first == seven.rest.ask("PUT", path, {"message": "to the lake"}, key="e1"), "the same key, the same edit"
    entry = nine.session.expect("entry", kind="edited", message_id=first["message_id"])
    assert (entry["refers_to"], entry["refers_seq"]) == (sent["message_id"], sent["seq"]), entry
    assert entry["content"] == "to the lake" and "replaces_seq" not in entry, entry
    edit = {"refers_to": sent["message_id"], "content": "to the sea, @9", "mentions": ["9"]}
    second = seven.says("edited", chat_id=chat, **edit)
    entry = nine.session.expect("entry", kind="edited", message_id=second["message_id"])
    assert (entry["replaces_seq"], entry["mentions"]) == (first["seq"], ["9"]), entry
    entries, _ = eleven.entries(chat)
    shown = entries[sent["message_id"]]
    assert (shown["content"], shown["mentions"]) == ("to the sea, @9", ["9"]), shown
    assert (shown["edited_seq"], shown["edited_at"]) == (second["seq"], second["timestamp"]), shown
    assert shown["timestamp"] == sent["timestamp"] and "deleted_at" not in shown, shown
    replaced = entries[first["message_id"]]
    assert replaced["content"] == "" and TIME.fullmatch(replaced["deleted_at"]), replaced
    assert entries[second["message_id"]]["content"] == "to the sea, @9"
    nine.rest.refused("PUT", path, {"message": "mine"}, 403, "not_the_sender")
    eleven.is_refused("not_the_sender", "edited", chat_id=chat, refers_to=sent["message_id"], content="mine")
    seven.rest.refused("PUT", path[:-4] + "0000", {"message": "nothing"}, 404, "unknown_message")
    seven.rest.refused("PUT", f"/api/chats/{chat}/messages/{first['message_id']}", {"message": "x"}, 404, "unknown_message")
    return sent["message_id"]


def reactions(seven, nine, eleven, chat, message):
    """One of each user, the last; taken back it is empty."""
    path = f"/api/chats/{chat}/messages/{message}/reaction"
    put = nine.rest.ask("PUT", path, {"reaction": "👍"})
    entry = seven.session.expect("entry", kind="reacted", message_id=put["message_id"])
    assert (entry["reaction"], entry["refers_to"], entry["sender_id"]) == ("👍", message, "9"), entry
    back = nine.rest.ask("DELETE", path)
    assert seven.session.expect("entry", message_id=back["message_id"])["reaction"] == ""
    mine = eleven.says("reacted", chat_id=chat, refers_to=message, reaction="🌊")
    shown, _ = nine.entries(chat)
    assert shown[mine["message_id"]]["reaction"] == "🌊" and shown[back["message_id"]]["reaction"] == "", shown
    nine.rest.refused("PUT", path, {"reaction": "r" * 65}, 422, "invalid_reaction")
    nine.is_refused("invalid_reaction", "reacted", chat_id=chat, refers_to=message, reaction="r" * 65)


def deletions(seven, nine, eleven, chat):
    """For everyone: the body and those of its edits are nowhere any more."""
    sent = nine.says("message", chat_id=chat, content="the secret of the bay")
    message = sent["message_id"]
    edit = nine.says("edited", chat_id=chat, refers_to=message, content="the secret of the cove")
    path = f"/api/chats/{chat}/messages/{message}"
    eleven.rest.refused("DELETE", path, None, 403, "not_the_sender")
    gone = seven.rest.ask("DELETE", f"{path}?for=everyone")
    entry = eleven.session.expect("entry", kind="deleted", message_id=gone["message_id"])
    assert (entry["refers_to"], entry["refers_seq"], entry["replaces_seq"]) == (message, sent["seq"], edit["seq"]), entry
    for who in (seven, nine, eleven):
        entries, missing = who.entries(chat)
        assert entries[message]["content"] == "" and TIME.fullmatch(entries[message]["deleted_at"]), entries[message]
        assert entries[edit["message_id"]]["content"] == "" and missing == [], entries
        assert "secret of the" not in str(entries), entries
    nine.is_refused("message_deleted", "edited", chat_id=chat, refers_to=message, content="back again")
    nine.rest.refused("PUT", f"{path}/reaction", {"reaction": "?"}, 410, "message_deleted")


def hidden(seven, other, nine, chat):
    """For me: on none of my devices, whichever said so; others see it still."""
    sent = nine.says("message", chat_id=chat, content="seven will not want this")
    edit = nine.says("edited", chat_id=chat, refers_to=sent["message_id"], content="not this either")
    hide = other.says("hidden", subject=chat, refers_to=sent["message_id"])
    entry = seven.session.expect("entry", kind="hidden", message_id=hide["message_id"])
    assert (entry["subject"], entry["refers_to"], entry["chat_id"]) == (chat, sent["message_id"], hide["chat_id"]), entry
    for who in (seven, other):
        entries, missing = who.entries(chat)
        assert missing == [sent["seq"], edit["seq"]], (who.device, missing)
        assert "this" not in str([entry.get("content") for entry in entries.values()]), entries
    assert nine.entries(chat)[0][sent["message_id"]]["content"] == "not this either"
    again = nine.says("message", chat_id=chat, content="nor this")
    place = seven.rest.ask("DELETE", f"/api/chats/{chat}/messages/{again['message_id']}?for=me")
    assert place["chat_id"] == hide["chat_id"] and place["seq"] > hide["seq"], (place, hide)
    last = lambda who: [one["last_message"] for one in who.rest.ask("GET", "/api/chats")["chats"] if one["chat_id"] == chat]
    assert (last(seven), [one["content"] for one in last(nine)]) == ([None], ["nor this"]), "in no list either"
    other.session.say(type="account", request_id=1, chat_id=chat)
    account = other.session.expect("account", request_id=1)
    assert set(account["hidden"]) == {sent["message_id"], again["message_id"]}, account
    assert again["message_id"] not in other.entries(chat)[0]


def chat_settings(seven, other, chat):
    """Pinned, archived, muted on one device: so it is on the other."""
    path = f"/api/chats/{chat}/settings"
    wanted = {"pinned": True, "archived": True, "muted_until": FOR_GOOD}
    for _ in range(2):
        assert seven.rest.ask("PUT", path, wanted, key="s1") == {"chat_id": chat}, "twice is once"
    for key, value in (("pinned", "on"), ("archived", "on"), ("muted_until", str(2**64 - 1))):
        entry = other.session.expect("entry", kind="setting", key=key)
        assert (entry["value"], entry["subject"]) == (value, chat), entry

    def listed(device):
        [by_rest] = [one for one in device.rest.ask("GET", "/api/chats")["chats"] if one["chat_id"] == chat]
        device.session.say(type="chats", request_id=7)
        page = device.session.expect("chats", request_id=7)
        [by_event] = [one for one in page["chats"] if one["chat_id"] == chat]
        assert all(by_rest[name] == by_event[name] for name in wanted), (by_rest, by_event)
        return {name: by_rest[name] for name in wanted}

    assert listed(other) == wanted
    seven.rest.ask("PUT", path, {"archived": False, "muted_until": "2199-01-02T03:04:05.678Z"})
    assert listed(other) == {"pinned": True, "archived": False, "muted_until": "2199-01-02T03:04:05.678Z"}
    assert other.session.expect("entry", kind="setting", key="archived")["value"] == "off", "nothing came twice"
    other.says("setting", subject=chat, key="pinned", value="")
    seven.rest.ask("PUT", path, {"muted_until": None})
    assert listed(seven) == {"pinned": False, "archived": False, "muted_until": None}
    other.is_refused("invalid_setting", "setting", subject=chat, key="pinned", value="perhaps")


def receipts(seven, nine, eleven, chat):
    """Who tells nobody what they read is told of nobody."""
    sent = seven.rest.ask("POST", f"/api/chats/{chat}/messages", {"message": "read me"})
    status = f"/api/chats/{chat}/messages/{sent['message_id']}/status"
    nine.rest.ask("PUT", "/api/account/settings/read_receipts", {"value": "off"})
    for who in (nine, eleven):
        who.rest.ask("POST", f"/api/chats/{chat}/read", {"message_id": sent["message_id"]}, 202)
    answer = seven.rest.eventually(status, read=1)
    assert {one["user_id"]: one["status"] for one in answer["members"]}["9"] != "read", answer
    own = until("their own mark", lambda: nine.rest.ask("GET", f"/api/chats/{chat}")["unread"] == 0)
    assert own
    seen = {one["user_id"]: one["read_seq"] for one in nine.rest.ask("GET", f"/api/chats/{chat}")["members"]}
    assert seen["11"] == 0, ("nine sees nobody's", seen)
    read_by = lambda who: {one["user_id"] for one in who.rest.ask("GET", status)["members"] if one["status"] == "read"}
    assert (read_by(nine), read_by(seven)) == ({"9"}, {"11"}), "each sees what they may"
    settings = nine.rest.ask("GET", "/api/account")["settings"]
    assert settings == [{"key": "read_receipts", "value": "off"}], settings
    nine.rest.ask("PUT", "/api/account/settings/read_receipts", {"value": ""})
    assert nine.rest.ask("GET", "/api/account")["settings"] == []
    assert "11" in read_by(nine)
    nine.rest.refused("PUT", "/api/account/settings/colour", {"value": "red"}, 422, "invalid_setting")


def ticks(seven, nine, chat):
    """What others read meanwhile, a device is told when it says when it was last there."""
    sent = seven.says("message", chat_id=chat, content="while I am away")
    seven.session.close()
    nine.rest.ask("POST", f"/api/chats/{chat}/read", {"message_id": sent["message_id"]}, 202)
    status = f"/api/chats/{chat}/messages/{sent['message_id']}/status"
    until("nine's mark", lambda: "read" in str(seven.rest.ask("GET", status)["members"]))
    seven.session = seven.connect("?" + urllib.parse.urlencode({"synced": seven.synced}))
    told = seven.session.expect("ticks", chat_id=chat)
    assert {one["user_id"]: one["read_seq"] for one in told["members"]}["9"] >= sent["seq"], told
    seven.synced = seven.session.expect("synced")["server_time"]


def devices(seven, other):
    """A device has a name; once revoked, it and its old token are out, a new one is not."""
    named = seven.rest.ask("PUT", "/api/account/devices/2", {"name": "Ada's phone"})
    entry = other.session.expect("entry", kind="device", message_id=named["message_id"])
    assert (entry["device_id"], entry["name"]) == (2, "Ada's phone"), entry
    device = {"device_id": 2, "name": "Ada's phone", "named_at": named["timestamp"], "revoked_at": None}
    assert device in other.rest.ask("GET", "/api/account")["devices"]
    other.rest.refused("DELETE", "/api/account/devices/2", None, 403, "forbidden")
    revoked = seven.rest.ask("DELETE", "/api/account/devices/2")
    assert closed(other.session) == 4401
    try:
        again = other.connect()
        assert closed(again) == 4401
    except ConnectionClosed as error:
        assert error.rcvd.code == 4401, error
    except AssertionError as error:
        assert "token_revoked" in str(error), error
    for path in ("/api/account", "/api/chats"):
        other.rest.refused("GET", path, None, 401, "token_revoked")
    note = {"senderId": "7", "receiverId": "9", "message": "not from here"}
    other.rest.refused("POST", "/api/v1/messages", note, 401, "token_revoked")
    [device] = [one for one in seven.rest.ask("GET", "/api/account")["devices"] if one["device_id"] == 2]
    assert device["revoked_at"] == revoked["timestamp"], device
    # A token names the second in which it was made: the next one is not of before.
    until("the next second", lambda: time.time() * 1_000 > ms(revoked["timestamp"]) // 1_000 * 1_000 + 1_000)
    other.renew()
    other.rest.ask("GET", "/api/account")
    other.session = other.connect()
    other.session.expect("synced")


def ms(text):
    """A time as documents show it, in ms since 1970."""
    whole = time.strptime(text[:19] + "UTC", "%Y-%m-%dT%H:%M:%S%Z")
    return calendar.timegm(whole) * 1_000 + int(text[20:23])


def closed(session):
    """The code that a session is closed with; what came before is no matter."""
    try:
        while True:
            session.read()
    except ConnectionClosed as error:
        return error.rcvd.code


def disappearing(seven, nine, direct):
    """Messages of a chat with a timer are given to nobody once it is over; those before it stay."""
    path = f"/api/chats/{direct}"
    seven.rest.refused("PUT", f"{path}/timer", {"ttl_s": 4}, 422, "invalid_timer")
    timer = seven.rest.ask("PUT", f"{path}/timer", {"ttl_s": 5})
    assert nine.session.expect("entry", kind="timer", message_id=timer["message_id"])["ttl_s"] == 5
    sent = nine.says("message", chat_id=direct, content="gone in five seconds")
    assert seven.session.expect("message", message_id=sent["message_id"])["ttl_s"] == 5
    over = nine.says("timer", chat_id=direct, ttl_s=0)
    assert seven.session.expect("entry", message_id=over["message_id"])["ttl_s"] == 0
    stays = nine.says("message", chat_id=direct, content="this one stays")
    until("it is gone", lambda: sent["message_id"] not in seven.entries(direct)[0])
    assert time.time() * 1_000 >= ms(sent["timestamp"]) + 5_000, "not before its time"
    for who in (seven, nine):
        entries, missing = who.entries(direct)
        assert missing == [sent["seq"]] and entries[stays["message_id"]]["content"] == "this one stays", entries
    nine.is_refused("unknown_message", "reacted", chat_id=direct, refers_to=sent["message_id"], reaction="?")


def too_late(seven, chat, message):
    """What was sent long ago is not edited any more; it may be deleted."""
    path = f"/api/chats/{chat}/messages/{message}"

    def refused():
        try:
            seven.rest.refused("PUT", path, {"message": "to the sea, @9"}, 409, "too_late")
            return True
        except AssertionError as error:
            assert "200" in str(error), error
            return False

    until("the window is over", refused, 1)


def main(url, base):
    person = lambda user, device: Person(url, base, user, device)
    seven, other, nine, eleven = person(7, 1), person(7, 2), person(9, 1), person(11, 1)
    group = seven.rest.ask("POST", "/api/groups", {"name": "Hiking", "participants": ["9", "11"]}, 201)
    chat = group["chat_id"]
    first = seven.rest.ask("POST", "/api/v1/messages", {"senderId": "7", "receiverId": "9", "message": "just us"})
    direct = first["chat_id"]
    answers(seven, nine, eleven, chat)
    message = edits(seven, nine, eleven, chat)
    reactions(seven, nine, eleven, chat, message)
    deletions(seven, nine, eleven, chat)
    hidden(seven, other, nine, chat)
    chat_settings(seven, other, chat)
    receipts(seven, nine, eleven, chat)
    ticks(seven, nine, chat)
    devices(seven, other)
    disappearing(seven, nine, direct)
    too_late(seven, chat, message)
    for who in (seven, other, nine, eleven):
        who.session.close()
    print(chat, direct)


if __name__ == "__main__":
    main(*sys.argv[1:])
