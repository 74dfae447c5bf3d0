"""What a WebSocket client can do wrong: each time the answer that docs/PROTOCOL.md promises, while another session goes on.

    python3 tests/python/bad_input.py ws://127.0.0.1:7401/ws TOKEN OTHERS_TOKEN EXPIRED_TOKEN
"""

import json
import sys

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

PATIENCE_S = 20


def read(socket):
    return json.loads(socket.recv(timeout=PATIENCE_S))


def read_error(socket):
    while True:
        event = read(socket)
        if event["type"] == "error":
            return event
        assert event["type"] in ("ready", "synced", "pong"), event


def closed_with(socket):
    """The close code; events before it are read."""
    try:
        while True:
            socket.recv(timeout=PATIENCE_S)
    except ConnectionClosed as closed:
        assert closed.rcvd, "closed without a close frame"
        return closed.rcvd.code


def open_session(url, token):
    return connect(url, additional_headers={"Authorization": f"Bearer {token}"})


# What is said, the code answered, and the client_msg_id in the answer. The session goes on.
WRONG_EVENTS = [
    ({"type": "dance", "client_msg_id": "w0"}, "unsupported", "w0"),
    ({"type": 7}, "invalid_field", None),
    ({"no": "type"}, "invalid_field", None),
    ([1, 2, 3], "invalid_field", None),
    ("text", "invalid_field", None),
    ({"type": "message", "to": "9", "content": "x"}, "invalid_field", None),
    ({"type": "message", "to": "9", "content": "x", "client_msg_id": 5}, "invalid_field", None),
    ({"type": "message", "to": "9", "content": "x", "client_msg_id": ""}, "invalid_client_msg_id", None),
    ({"type": "message", "to": "9", "content": "x", "client_msg_id": "y" * 65}, "invalid_client_msg_id", None),
    ({"type": "message", "to": 9, "content": "x", "client_msg_id": "w1"}, "invalid_field", "w1"),
    ({"type": "message", "to": "0", "content": "x", "client_msg_id": "w2"}, "invalid_user", "w2"),
    ({"type": "message", "to": "-1", "content": "x", "client_msg_id": "w3"}, "invalid_user", "w3"),
    ({"type": "message", "to": "18446744073709551616", "content": "x", "client_msg_id": "w4"}, "invalid_user", "w4"),
    ({"type": "message", "to": "nine", "content": "x", "client_msg_id": "w5"}, "invalid_user", "w5"),
    ({"type": "message", "content": "x", "client_msg_id": "w6"}, "invalid_field", "w6"),
    ({"type": "message", "to": "9", "client_msg_id": "w7"}, "invalid_field", "w7"),
    ({"type": "message", "to": "9", "content": 5, "client_msg_id": "w8"}, "invalid_field", "w8"),
    ({"type": "message", "to": "9", "content_base64": "%%", "client_msg_id": "w9"}, "invalid_field", "w9"),
    ({"type": "message", "to": "9", "content": "x", "content_base64": "AA==", "client_msg_id": "w10"}, "invalid_field", "w10"),
    ({"type": "message", "chat_id": "no-uuid", "content": "x", "client_msg_id": "w11"}, "invalid_field", "w11"),
    ({"type": "message", "to": "9", "content": "x", "retry": "yes", "client_msg_id": "w12"}, "invalid_field", "w12"),
    (
        {"type": "message", "chat_id": "00000000-0000-8000-8000-000000000000", "content": "x", "client_msg_id": "w13"},
        "unknown_chat",
        "w13",
    ),
    ({"type": "ack", "message_id": "00000000-0000-1000-8000-000000000000", "status": "read"}, "chat_id_required", None),
    ({"type": "ack", "message_id": 4, "status": "read"}, "invalid_field", None),
    ({"type": "ack", "message_id": "00000000-0000-1000-8000-000000000000", "status": "eaten"}, "invalid_field", None),
    ({"type": "auth", "token": "again"}, "unsupported", None),
]


def wrong_events(url, token):
    with open_session(url, token) as socket:
        for event, code, client_msg_id in WRONG_EVENTS:
            socket.send(json.dumps(event))
            answer = read_error(socket)
            assert answer["code"] == code, (event, answer)
            assert answer.get("client_msg_id") == client_msg_id, (event, answer)
            assert isinstance(answer["text"], str) and answer["text"], answer
        # The session still works.
        socket.send(json.dumps({"type": "message", "to": "9", "content": "fine", "client_msg_id": "fine"}))
        while (event := read(socket))["type"] != "ack":
            assert event["type"] != "error", event
        socket.send(b"\x00\x01binary on a JSON session")
        assert read_error(socket)["code"] == "unsupported"


def ending_events(url, token):
    """What ends the session: not JSON, too large."""
    for text, code, close in (("{not json", "malformed_frame", 1002), ("x" * 70_000, "frame_too_large", 1009)):
        with open_session(url, token) as socket:
            socket.send(text)
            assert read_error(socket)["code"] == code
            assert closed_with(socket) == close, text[:10]


def wrong_tokens(url, token, expired):
    for wrong, code, close in (
        ("nonsense", "bad_token", 4401),
        (token[:-4] + "AAAA", "bad_token", 4401),
        ("a.b.c", "bad_token", 4401),
        (expired, "token_expired", 4401),
    ):
        with open_session(url, wrong) as socket:
            assert read_error(socket)["code"] == code, wrong[:8]
            assert closed_with(socket) == close
        with connect(f"{url}?token={wrong}") as socket:
            assert read_error(socket)["code"] == code
            assert closed_with(socket) == close
        with connect(url) as socket:
            socket.send(json.dumps({"type": "auth", "token": wrong}))
            assert read_error(socket)["code"] == code
            assert closed_with(socket) == close
    for first in ({"type": "message", "to": "9", "content": "x", "client_msg_id": "a"}, {"type": "ping"}, {"type": "auth"}):
        with connect(url) as socket:
            socket.send(json.dumps(first))
            assert read_error(socket)["code"] == "unauthenticated", first
            assert closed_with(socket) == 4401


def wrong_upgrades(url, token):
    for path, options, status in (
        (url.replace("/ws", "/other"), {}, 404),
        (url, {"subprotocols": ["smoke-signals"]}, 400),
        (url, {"origin": "http://evil.example"}, 403),
        (url, {"origin": "null"}, 403),
    ):
        try:
            with connect(path, additional_headers={"Authorization": f"Bearer {token}"}, **options):
                raise AssertionError(f"{path} {options} was taken")
        except InvalidStatus as refused:
            assert refused.response.status_code == status, (path, options, refused.response.status_code)
    # A page of this host, on any port, may.
    with connect(url, origin="http://localhost:3000", additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        assert read(socket)["type"] == "ready"


def main(url, token, others_token, expired):
    with open_session(url, others_token) as bystander:
        assert read(bystander)["type"] == "ready"
        for step in (
            lambda: wrong_events(url, token),
            lambda: ending_events(url, token),
            lambda: wrong_tokens(url, token, expired),
            lambda: wrong_upgrades(url, token),
        ):
            step()
            bystander.send(json.dumps({"type": "ping"}))
            while (event := read(bystander))["type"] != "pong":
                assert event["type"] in ("synced", "message"), event
    print("ok")


if __name__ == "__main__":
    main(*sys.argv[1:])
