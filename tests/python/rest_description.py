"""Asks REST everything its description allows, and much it does not: schemathesis against /openapi.json.

usage: rest_description.py http://HOST:PORT TOKEN CHAT_ID GROUP_ID MESSAGE_ID
(an operator's token of user 7; a chat of theirs; a group of theirs, and a message in it)
"""

import pathlib
import re
import subprocess
import sys
import tempfile

# Ids that exist, so that more than refusals is seen; everything else is made up.
CONFIG = """
[[operations]]
include-operation-id = "direct_messages"
parameters = { user1 = "7" }

[[operations]]
include-operation-id = "chat_messages"
parameters = { chat_id = "CHAT" }

[[operations]]
include-operation-id = ["chat", "send_chat_message", "add_members", "remove_member", "set_role", "mark_read"]
parameters = { chat_id = "GROUP" }

[[operations]]
include-operation-id = "message_status"
parameters = { chat_id = "GROUP", message_id = "MESSAGE" }

# A description counts a name's characters, the server its bytes.
[[operations]]
include-operation-id = "create_group"
checks.positive_data_acceptance.expected-statuses = ["2xx", "409", "422"]

[[operations]]
include-operation-id = "rename_group"
parameters = { chat_id = "GROUP" }
checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "409", "422"]

[[operations]]
include-operation-id = "set_chat_settings"
parameters = { chat_id = "GROUP" }

# What a message is by now, and what else a description cannot say, decides what may be done.
[[operations]]
include-operation-id = ["edit_message", "delete_message", "react", "unreact"]
parameters = { chat_id = "GROUP", message_id = "MESSAGE" }
checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "404", "409", "410", "422"]

[[operations]]
include-operation-id = "set_timer"
parameters = { chat_id = "GROUP" }
checks.positive_data_acceptance.expected-statuses = ["2xx", "403", "409", "422"]

[[operations]]
include-operation-id = "set_setting"
parameters = { key = "app.colour" }
checks.positive_data_acceptance.expected-statuses = ["2xx", "422"]

[[operations]]
include-operation-id = ["name_device", "revoke_device"]
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "403", "422"]

# It needs `before` too, which no description can say.
[[operations]]
include-operation-id = "chats"
parameters = { before = "2026-01-02T03:04:05.678Z" }
"""


def main() -> int:
    base, token, chat, group, message = sys.argv[1:]
    program = pathlib.Path(sys.executable).parent / "schemathesis"
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / "schemathesis.toml"
        config.write_text(CONFIG.replace("CHAT", chat).replace("GROUP", group).replace("MESSAGE", message))
        run = [program, "--config-file", config, "run", f"{base}/openapi.json"]
        run += ["-H", f"Authorization: Bearer {token}", "--checks", "all", "--max-examples", "30", "--seed", "1"]
        run += ["--generation-database", "none", "--no-color"]
        done = subprocess.run(run, cwd=folder, capture_output=True, text=True)
    if done.returncode != 0 or not re.search(r"(\d+) selected / \1 total", done.stdout):
        print(done.stdout, done.stderr, file=sys.stderr)
        return 1
    print("ok")
    return 0


sys.exit(main())
