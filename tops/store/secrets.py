"""Removing the keys and passwords that an address may carry, before the address is written to a file."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"\b([a-z][a-z0-9+.-]*://)([^\s/?#@]*@)?([^\s?#'\"]*)(\?[^\s#'\"]*)?(#[^\s'\"]*)?", re.IGNORECASE)


def without_secrets(text: str) -> str:
    """A text whose addresses have lost user, password, query and fragment: ``https://u:k@host/v1?key=x`` is
    ``https://host/v1``.
    """
    return _ADDRESS.sub(lambda m: f"{m[1]}{m[3]}", text)
