"""A group's life: changed by REST and over WebSocket, seen by its members, with nothing of ours but the documents.

    python3 tests/python/group.py ws://HOST:PORT/ws http://HOST:PORT TOKEN...   (of users 7, 9, 11, 12 and 99)

Prints the id of the group, which has 9 and 11 in it at the end.
"""

import json
import sys
import time
import urllib.error
import urllib.request

from chat import PATIENCE_S, TIME, Session, check_ack


class Rest:
    """Requests of one user."""

    def __init__(self, base, token):
        self.base, self.token = base, token

    def ask(self, method, path, body=None, status=200, key=None):
        headers = {"Authorization": f"Bearer {self.token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if key:
            headers["Idempotency-Key"] = key
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
                got, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            got, text = error.code, error.read()
        assert got == status, (method, path, got, text)
        return json.loads(text) if text else None

    def refused(self, method, path, body, status, code):
        problem = self.ask(method, path, body, status)
        assert problem["code"] == code, (method, path, problem)

    def eventually(self, path, **fields):
        """Marks are not waited for: until what is asked says so."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            answer = self.ask("GET", path)
            if all(answer[name] == value for name, value in fields.items()):
                return answer
            assert time.monotonic() < deadline, (path, fields, answer)
            time.sleep(0.05)


def made(rest, sessions):
    """It is made once, however often it is asked for, and its members are told."""
    body = {"name": "Hiking", "participants": ["11", "9"]}
    group = rest.ask("POST", "/api/groups", body, 201, key="g1")
    assert group == rest.ask("POST", "/api/groups", body, 201, key="g1")
    assert group["seq"] == 1 and group["client_msg_id"] == "g1", group
    check_ack({**group, "status": "sent"})
    for session in sessions:
        entry = session.expect("entry", kind="created", chat_id=group["chat_id"])
        assert (entry["name"], entry["users"], entry["seq"]) == ("Hiking", ["7", "9", "11"], 1), entry
        assert (entry["sender_id"], entry["message_id"]) == ("7", group["message_id"]), entry
    return group["chat_id"]


def messages(rest, nine, eleven, chat):
    """By REST and over WebSocket, in one order; who has one is said."""
    nine.say(type="message", chat_id=chat, content="over WebSocket", client_msg_id="w1")
    first = nine.expect("ack", client_msg_id="w1")
    second = rest[7].ask("POST", f"/api/chats/{chat}/messages", {"message": "by REST", "client_msg_id": "r1"})
    assert (first["seq"], second["seq"]) == (2, 3), (first, second)
    assert eleven.expect("message", seq=2)["content"] == "over WebSocket"
    for session in (nine, eleven):
        got = session.expect("message", message_id=second["message_id"])
        assert (got["content"], got["sender_id"], got["client_msg_id"]) == ("by REST", "7", "r1"), got
    page = rest[7].ask("GET", f"/api/chats/{chat}/messages")
    shown = [(entry["type"], entry.get("kind"), entry.get("content")) for entry in page["messages"]]
    assert shown == [("entry", "created", None), ("message", None, "over WebSocket"), ("message", None, "by REST")], shown
    status = f"/api/chats/{chat}/messages/{second['message_id']}/status"
    pending = [{"user_id": user, "status": "pending"} for user in ("9", "11")]
    nobody = {"total": 2, "delivered": 0, "read": 0, "pending": 2, "members": pending}
    assert rest[7].ask("GET", status) == nobody
    nine.say(type="ack", chat_id=chat, message_id=second["message_id"], status="delivered")
    rest[7].eventually(status, delivered=1, read=0, pending=1)
    rest[11].ask("POST", f"/api/chats/{chat}/read", {"message_id": second["message_id"]}, 202)
    answer = rest[7].eventually(status, delivered=1, read=1, pending=0)
    assert [member["status"] for member in answer["members"]] == ["delivered", "read"], answer
    nine.say(type="status", request_id=5, chat_id=chat, message_id=first["message_id"])
    answer = nine.expect("status", request_id=5)
    assert (answer["seq"], answer["total"], answer["read"]) == (2, 2, 1), answer


def changes(rest, nine, eleven, twelve, chat):
    """Only admins change it; who joins sees it from then on, who goes until then."""
    path = f"/api/chats/{chat}"
    rest[9].refused("PUT", f"{path}/name", {"name": "Mine"}, 403, "not_an_admin")
    rest[9].refused("DELETE", f"{path}/members/11", None, 403, "not_an_admin")
    rest[7].ask("PUT", f"{path}/members/9/role", {"role": "admin"})
    entry = eleven.expect("entry", kind="role")
    assert (entry["users"], entry["role"], entry["sender_id"]) == (["9"], "admin", "7"), entry
    nine.say(type="renamed", chat_id=chat, name="Climbing", client_msg_id="w2")
    nine.expect("ack", client_msg_id="w2")
    assert eleven.expect("entry", kind="renamed")["name"] == "Climbing"
    added = rest[9].ask("POST", f"{path}/members", {"users": ["12", "11"]})
    entry = twelve.expect("entry", kind="added")
    assert (entry["users"], entry["seq"]) == (["12"], added["seq"]), "who is in already is not added again"
    rest[7].refused("POST", f"{path}/members", {"users": ["12"]}, 409, "no_change")
    twelve.say(type="message", chat_id=chat, content="hello", client_msg_id="w3")
    twelve.expect("ack", client_msg_id="w3")
    removed = rest[7].ask("DELETE", f"{path}/members/12")
    assert twelve.expect("entry", kind="removed")["seq"] == removed["seq"]
    rest[7].refused("DELETE", f"{path}/members/12", None, 404, "unknown_member")
    rest[9].ask("POST", f"{path}/messages", {"message": "among us"})
    rest[12].refused("POST", f"{path}/messages", {"message": "still here?"}, 403, "not_a_member")
    page = rest[12].ask("GET", f"{path}/messages")
    seqs = [entry["seq"] for entry in page["messages"]]
    assert seqs == list(range(added["seq"], removed["seq"] + 1)), "they see what they were there for"
    assert paged(rest[12], path, "before", "first_seq") == seqs[::-1], "from the newest down"
    assert paged(rest[12], path, "after", "last_seq") == seqs, "from the oldest up"
    assert [event for event in twelve.waiting if event["type"] in ("message", "entry")] == [], twelve.waiting


def paged(rest, path, direction, end):
    """The seqs of all pages, an entry each, in the order of the pages."""
    seqs, place = [], "" if direction == "before" else "&after=0"
    for _ in range(100):
        page = rest.ask("GET", f"{path}/messages?limit=1{place}")
        seqs += [entry["seq"] for entry in page["messages"]]
        if not page["has_more"]:
            return seqs
        place = f"&{direction}={page['covered'][end]}"
    raise AssertionError(f"no end of pages: {seqs}")


def lists(rest, nine, chat):
    """What it is and which there are, over both."""
    direct = rest[9].ask("POST", "/api/v1/messages", {"senderId": "9", "receiverId": "11", "message": "just us"})
    page = rest[9].ask("GET", "/api/chats?limit=1")
    [newest] = page["chats"]
    assert (newest["chat_id"], newest["type"], newest["name"]) == (direct["chat_id"], "direct", None), newest
    assert (newest["last_message"]["content"], newest["participants"]) == ("just us", ["9", "11"]), newest
    assert page["has_more"] and page["next"]["before"] == newest["last"] and TIME.fullmatch(newest["last"]), page
    following = rest[9].ask("GET", "/api/chats?before={before}&before_chat={before_chat}".format(**page["next"]))
    [group] = following["chats"]
    assert not following["has_more"] and following["next"] is None, following
    assert (group["chat_id"], group["type"], group["name"]) == (chat, "group", "Climbing"), group
    assert (group["participants"], group["member_count"]) == (["7", "9", "11"], 3), group
    assert group["last_message"]["content"] == "among us", group
    about = rest[9].ask("GET", f"/api/chats/{chat}")
    roles = [(member["user_id"], member["role"]) for member in about["members"]]
    assert roles == [("7", "admin"), ("9", "admin"), ("11", "member")], about
    assert (about["created_by"], about["next_user"], about["present"]) == ("7", None, True), about
    part = rest[9].ask("GET", f"/api/chats/{chat}?after_user=7&limit=1")
    assert ([member["user_id"] for member in part["members"]], part["next_user"]) == (["9"], "9"), part
    nine.say(type="chat", request_id=1, chat_id=chat)
    same = nine.expect("chat", request_id=1)
    for name in ("kind", "name", "members", "member_count", "head_seq", "last", "unread", "present"):
        assert same[name] == about[name], (name, same, about)
    nine.say(type="chats", request_id=2, before={"last": newest["last"], "chat_id": newest["chat_id"]})
    same = nine.expect("chats", request_id=2)
    assert [one["chat_id"] for one in same["chats"]] == [chat] and not same["has_more"], same
    assert same["chats"][0]["last_entry"] == group["last_message"], same


def ends(rest, nine, chat):
    """Who leaves reads on but writes no more; a group that cannot be is not made."""
    path = f"/api/chats/{chat}"
    rest[7].ask("DELETE", f"{path}/members/7")
    assert nine.expect("entry", kind="left")["sender_id"] == "7"
    assert rest[7].ask("GET", path)["present"] is False
    rest[7].refused("POST", f"{path}/messages", {"message": "one more thing"}, 403, "not_a_member")
    rest[99].refused("GET", path, None, 403, "not_a_member")
    rest[99].refused("GET", f"{path}/messages", None, 403, "not_a_member")
    crowd = [str(user) for user in range(1_000, 1_500)]
    rest[7].refused("POST", "/api/groups", {"name": "Crowd", "participants": crowd}, 422, "too_many_members")
    rest[7].refused("POST", f"/api/chats/{chat[:-4]}0000/members", {"users": ["9"]}, 404, "unknown_chat")
    nine.say(type="added", chat_id=chat, users=["x"], client_msg_id="bad")
    error = nine.read_error()
    assert (error["code"], error["client_msg_id"]) == ("invalid_user", "bad"), error


class Member(Session):
    """A session that may be told of an error."""

    def read_error(self):
        while True:
            event = self.read()
            if event["type"] == "error":
                return event


def main(url, base, *tokens):
    users = dict(zip((7, 9, 11, 12, 99), tokens, strict=True))
    rest = {user: Rest(base, token) for user, token in users.items()}
    nine, eleven, twelve = sessions = [Member(url, users[user], "header") for user in (9, 11, 12)]
    for session in sessions:
        session.expect("synced")
    chat = made(rest[7], (nine, eleven))
    messages(rest, nine, eleven, chat)
    changes(rest, nine, eleven, twelve, chat)
    lists(rest, nine, chat)
    ends(rest, nine, chat)
    for session in sessions:
        session.close()
    print(chat)


if __name__ == "__main__":
    main(*sys.argv[1:])
