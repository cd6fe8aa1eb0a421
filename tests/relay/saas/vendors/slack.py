"""Slack incoming webhook: plain text answers, no identity, no resolve.

UNVERIFIED: the limits of blocks, text and rate; that text with a bare & or < is taken all the same (it is, and shown wrong).
"""

from __future__ import annotations

import re
from typing import Any

from ..check import Any_, Flag, List, Map, Object, Text
from ..core import Apply, Refused, Request, Route, Vendor
from ..wire import Answer

BLOCKS = List(Map(Any_()), 50)
MESSAGE = Object(
    {
        "text": Text(40000), "blocks": BLOCKS, "attachments": List(Map(Any_()), 100), "channel": Text(), "username": Text(),
        "icon_emoji": Text(),
        "icon_url": Text(), "link_names": Flag(), "mrkdwn": Flag(), "unfurl_links": Flag(), "unfurl_media": Flag(), "thread_ts": Text(),
        "response_type": Text(), "replace_original": Flag(), "delete_original": Flag(), "parse": Text(), "agent_name": Text(),
    },
)  # fmt: skip
BLOCK_TYPES = ("section", "header", "divider", "context", "actions", "image", "rich_text", "markdown", "table", "video", "file", "input")
# What may follow a bare <: a link, a mention, a channel or a command.
UNESCAPED = re.compile(r"&(?!amp;|lt;|gt;)|<(?!(?:https?://|mailto:|[@#!])[^<>]*>)")


class Slack(Vendor):
    name = "slack"
    keys = ("T0123ABCD/B0123ABCD/abcdefghijklmnopqrstuvwx",)
    rate = (1, 1.0)
    retry_after = 1.0
    can_be_partial = True  # 200 with a text other than ok
    routes = (Route("POST", r"/services/(?P<key>[^/]+/[^/]+/[^/]+)", "post"),)

    def reset(self) -> None:
        self.messages: list[Any] = []

    def authenticate(self, request: Request) -> None:
        if request.groups["key"] not in self.valid:
            raise Refused(404, "no_service", kind="auth", violation=False)
        request.tenant = request.groups["key"]

    def refusal(self, refused: Refused, request: Request | None) -> Answer:
        known = {400: "invalid_payload", 403: "invalid_token", 404: "no_service", 410: "channel_is_archived", 500: "rollup_error"}
        text = refused.code or known.get(refused.status, str(refused))
        return Answer(refused.status, text, refused.headers | {"Content-Type": "text/html"})

    def post(self, request: Request) -> Apply:
        request.hold_to(MESSAGE)
        message = request.value
        if not (message.get("text") or message.get("blocks") or message.get("attachments")):
            raise Refused(400, "none of text, blocks, attachments is there", code="no_text")
        wrong = list(_wrong_blocks(message.get("blocks", []), "blocks"))
        for number, attachment in enumerate(message.get("attachments", [])):
            blocks = attachment.get("blocks", [])
            if not isinstance(blocks, list) or len(blocks) > 50:
                wrong.append(f"attachments[{number}].blocks is not an array of at most 50")
            else:
                wrong += _wrong_blocks(blocks, f"attachments[{number}].blocks")
            if not re.fullmatch(r"#?[0-9A-Fa-f]{6}|good|warning|danger", attachment.get("color", "good")):
                wrong.append(f"attachments[{number}].color is {attachment['color']!r}")
        if wrong:
            raise Refused(400, *wrong, code="invalid_blocks")
        for path, text in _texts(message, ""):
            found = UNESCAPED.search(text)
            if found:
                request.violate("escape", f"{path} holds {text[found.start() : found.start() + 12]!r}: & < > are written &amp; &lt; &gt;")

        def apply() -> Answer:
            if request.refuse_items:
                return Answer(200, "action_prohibited", {"Content-Type": "text/html"})
            self.messages.append(message)
            return Answer(200, "ok", {"Content-Type": "text/html"})

        return apply

    def state(self) -> Any:
        return {"messages": self.messages}


def _wrong_blocks(blocks: list[Any], path: str) -> list[str]:
    wrong = []
    for number, block in enumerate(blocks):
        here, kind = f"{path}[{number}]", block.get("type") if isinstance(block, dict) else None
        if kind not in BLOCK_TYPES:
            wrong.append(f"{here}.type is {kind!r}")
        elif kind == "header" and not _text_object(block.get("text"), 150, ("plain_text",)):
            wrong.append(f"{here}.text must be plain_text of 1..150 characters")
        elif kind == "section":
            fields = block.get("fields", [])
            if "text" in block and not _text_object(block["text"], 3000):
                wrong.append(f"{here}.text must be a text object of 1..3000 characters")
            elif "text" not in block and not fields:
                wrong.append(f"{here} has neither text nor fields")
            if not isinstance(fields, list) or len(fields) > 10 or not all(_text_object(item, 2000) for item in fields):
                wrong.append(f"{here}.fields must be at most 10 text objects of 1..2000 characters")
        elif kind == "context":
            elements = block.get("elements")
            if not isinstance(elements, list) or not 1 <= len(elements) <= 10:
                wrong.append(f"{here}.elements must be 1..10")
    return wrong


def _text_object(value: Any, most: int, kinds: tuple[str, ...] = ("plain_text", "mrkdwn")) -> bool:
    return isinstance(value, dict) and value.get("type") in kinds and isinstance(value.get("text"), str) and 1 <= len(value["text"]) <= most


def _texts(value: Any, path: str) -> list[tuple[str, str]]:
    """All texts that Slack reads as markup."""
    found = []
    if isinstance(value, dict):
        for name, item in value.items():
            if isinstance(item, str):
                if name in ("text", "pretext", "fallback") and value.get("type") != "plain_text":
                    found.append((f"{path}{name}", item))
            else:
                found += _texts(item, f"{path}{name}.")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += _texts(item, f"{path}{number}.")
    return found
