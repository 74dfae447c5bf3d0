"""Two users chat over WebSocket JSON with nothing of ours but docs/PROTOCOL.md.

    python3 tests/python/chat.py ws://127.0.0.1:7401/ws TOKEN_OF_USER TOKEN_OF_ANOTHER

Logs in by each of the three ways, sends, gets acknowledgements, deliveries and receipts, sends again under the same
client_msg_id, and comes back as an absent user.
"""

import asyncio
import base64
import json
import re
import sys
import uuid

from websockets.asyncio.client import connect

PATIENCE_S = 20
# Not the synchronous client: it reads and writes one TLS connection from two threads, which Python's ssl before 3.13 does
# not survive (a write is lost when a session ticket comes at the same moment).
LOOP = asyncio.new_event_loop()
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Session:
    """One connection and the events that came and were not asked for yet."""

    def __init__(self, url, token, way):
        headers = {"Authorization": f"Bearer {token}"} if way == "header" else None
        query = f"?token={token}" if way == "query" else ""
        subprotocols = ["json"] if way == "event" else None
        self.socket = self.run(connect(url + query, additional_headers=headers, subprotocols=subprotocols))
        if way == "event":
            assert self.socket.subprotocol == "json", self.socket.subprotocol
            self.say(type="auth", token=token)
        self.waiting = []
        first = self.read()
        assert first["type"] == "ready", first
        assert TIME.fullmatch(first["server_time"]), first
        self.user, self.device = first["user_id"], first["device_id"]
        assert isinstance(self.user, str) and isinstance(self.device, int), first

    @staticmethod
    def run(task):
        return LOOP.run_until_complete(asyncio.wait_for(task, PATIENCE_S))

    def say(self, **event):
        self.run(self.socket.send(json.dumps(event)))

    def read(self):
        text = self.run(self.socket.recv())
        assert isinstance(text, str), "JSON comes as text"
        return json.loads(text)

    def expect(self, kind, /, **fields):
        """The next event of a kind with these fields; others wait."""
        fits = lambda event: event["type"] == kind and all(event.get(name) == value for name, value in fields.items())
        for at, event in enumerate(self.waiting):
            if fits(event):
                return self.waiting.pop(at)
        while True:
            event = self.read()
            if fits(event):
                return event
            assert event["type"] != "error", f"waiting for {kind} {fields}: {event}"
            self.waiting.append(event)

    def close(self):
        self.run(self.socket.close())


def check_ack(ack):
    assert UUID.fullmatch(ack["chat_id"]) and UUID.fullmatch(ack["message_id"]), ack
    assert uuid.UUID(ack["message_id"]).version == 1 and uuid.UUID(ack["chat_id"]).version == 8, ack
    assert isinstance(ack["seq"], int) and TIME.fullmatch(ack["timestamp"]) and ack["status"] == "sent", ack


def exchange(first, second, text, number):
    """A message from one to the other: ack, delivery, delivered, read."""
    first.say(type="message", to=second.user, content=text, client_msg_id=f"m{number}")
    ack = first.expect("ack", client_msg_id=f"m{number}")
    check_ack(ack)
    got = second.expect("message", message_id=ack["message_id"])
    same = ("chat_id", "message_id", "seq", "client_msg_id", "timestamp")
    assert {name: got[name] for name in same} == {name: ack[name] for name in same}, (got, ack)
    assert got["content"] == text and got["sender_id"] == first.user, got
    # The chat may be left out for what was pushed here lately.
    second.say(type="ack", message_id=ack["message_id"], status="delivered")
    receipt = first.expect("ack", status="delivered", message_id=ack["message_id"])
    assert receipt["user_id"] == second.user and receipt["chat_id"] == ack["chat_id"], receipt
    second.say(type="ack", chat_id=ack["chat_id"], message_id=ack["message_id"], status="read")
    receipt = first.expect("ack", status="read", message_id=ack["message_id"])
    assert receipt["user_id"] == second.user, receipt
    return ack


def bodies(first, second, chat):
    """A body that is no text comes as base64; one by chat_id arrives like one by user."""
    raw = bytes([0, 255, 254, 10])
    content = base64.b64encode(raw).decode()
    first.say(type="message", chat_id=chat, content_base64=content, client_msg_id="raw")
    ack = first.expect("ack", client_msg_id="raw")
    got = second.expect("message", message_id=ack["message_id"])
    assert "content" not in got and base64.b64decode(got["content_base64"]) == raw, got
    first.say(type="message", chat_id=chat, content="", client_msg_id="empty", unknown_field=[1, {"x": None}])
    ack = first.expect("ack", client_msg_id="empty")
    assert second.expect("message", message_id=ack["message_id"])["content"] == ""


def absence(url, tokens, first, second, chat):
    """What was missed comes without asking, in order, once, then `synced`."""
    second.close()
    acks = []
    for number in range(50):
        first.say(type="message", chat_id=chat, content=f"missed {number}", client_msg_id=f"missed{number}")
        acks.append(first.expect("ack", client_msg_id=f"missed{number}"))
    back = Session(url, tokens[1], "query")
    seqs = []
    while True:
        event = back.read()
        if event["type"] == "message" and event["client_msg_id"].startswith("missed"):
            seqs.append((event["seq"], event["message_id"], event["content"]))
        if event["type"] == "synced":
            break
    assert seqs == [(ack["seq"], ack["message_id"], f"missed {n}") for n, ack in enumerate(acks)], seqs
    return back


def main(url, *tokens):
    for way in ("header", "query", "event"):
        session = Session(url, tokens[0], way)
        session.expect("synced")
        session.close()
    first, second = Session(url, tokens[0], "header"), Session(url, tokens[1], "event")
    first.expect("synced")
    second.expect("synced")
    acks = [exchange(first, second, "grüße " + "x" * number, number) for number in range(5)]
    assert [ack["seq"] for ack in acks] == list(range(acks[0]["seq"], acks[0]["seq"] + 5)), acks
    answer = exchange(second, first, "and back", "back")
    assert answer["chat_id"] == acks[0]["chat_id"] and answer["seq"] == acks[-1]["seq"] + 1, answer
    bodies(first, second, acks[0]["chat_id"])
    first.say(type="ping")
    first.expect("pong")
    # The same client_msg_id: the same answer, now and on another connection.
    first.say(type="message", to=second.user, content="again", client_msg_id="m1", retry=True)
    again = first.expect("ack", client_msg_id="m1")
    assert again == acks[1], (again, acks[1])
    first.close()
    first = Session(url, tokens[0], "header")
    first.say(type="message", to=second.user, content="again", client_msg_id="m2", retry=True)
    again = first.expect("ack", client_msg_id="m2")
    assert again == acks[2], (again, acks[2])
    second = absence(url, tokens, first, second, acks[0]["chat_id"])
    assert second.user != first.user
    first.close()
    second.close()
    print("ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
