"""Mask secrets in all that is written, logged, printed or sent to a store.

What is masked: user and password of URIs, secret query values, ``Authorization`` headers, values under names that say
that they are secret, tokens of well-known forms, private keys, and the values of environment variables whose names say
that they are secret. Nothing can recognise a secret under an ordinary name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")

MASK = "***"

PRIVATE = 0o700
"""Mode of a directory for its owner alone. What is below it has the usual modes, and keeps them where it is copied."""

SECRET_WORDS = frozenset(
    [
        "apikey",
        "authorization",
        "credential",
        "credentials",
        "passcode",
        "passphrase",
        "passwd",
        "password",
        "passwords",
        "pwd",
        "secret",
        "secrets",
    ]
)
"""Last words of names whose value is a secret, whatever it looks like."""

KEY_WORDS = frozenset({"key", "token"})
"""Last words of names whose value is a secret where the word before says so, or where it looks random."""

KINDS_OF_KEYS = frozenset(
    [
        "access",
        "account",
        "api",
        "auth",
        "client",
        "encryption",
        "private",
        "refresh",
        "secret",
        "security",
        "session",
        "shared",
        "signing",
    ]
)

QUERY_WORDS = frozenset({"auth", "code", "jwt", "sig", "signature", *KEY_WORDS})
"""Last words of names in a query, where nothing but a secret is under such a name."""

LEAST_LENGTH = 8
"""Characters of a shorter value of an environment variable, which may be any word, or of a shorter key."""

BLOCK = 1 << 20

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_NOTHING = frozenset({"", "none", "null", "true", "false", MASK})
_RANDOM = re.compile(r"(?=.*\d)[\w+/=~:-]{8,}|[A-Za-z0-9+/=~-]{20,}")
_USER = re.compile(r"(?<=://)(?=[^\s'\"/]{0,999}[:@])[^\s'\"]{1,999}(?=@)")
"""A password may itself hold ``/`` or ``@``: everything up to the last ``@`` of a word is taken for it."""
_PASSWORD = re.compile(r"://[^\s:/@]*:([^\s@]+)@")
_QUERY = re.compile(r"(?<=[?&;])([\w.-]+)=([^&#\s'\"]+)")
_HEADER = re.compile(r"(authorization[\"']?[ \t]*[=:][ \t]*[\"']?)([^\s'\",;}][^\r\n'\",;}]*)", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer[ \t]+)[\w.~+/=-]{8,}", re.IGNORECASE)
_ASSIGNED = re.compile(
    r"(?:(?<![\w\\])|(?<=\\[nrt]))(?P<name>[A-Za-z_][\w.-]{0,99})(?P<sign>\\?[\"']?[ \t]*[=:][ \t]*)"
    r"(?P<value>\"[^\"\n]*\"|'[^'\n]*'|[^\s,;&'\"()\[\]{}<>]*[^\s,;&'\"()\[\]{}<>:])"
)
_KNOWN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[oprsu]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|sk-[\w-]{20,}|xox[abprs]-[\w-]{10,}"
    r"|A[KS]IA[A-Z0-9]{16}|dapi[0-9a-f]{32}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,})"
)
_PRIVATE_KEY = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)


def mask(value: T) -> T:
    """Return the value with every secret in it replaced by ``***``: a text, or texts in containers and records.

    Masking what is masked already changes nothing.
    """
    given: Any = value
    if type(given) is str:  # not a member of an enumeration, which is a text too
        return cast("T", _text(given))
    if isinstance(given, Mapping):
        return cast("T", {key: _entry(str(key), each) for key, each in given.items()})
    if type(given) in {list, tuple}:
        return cast("T", type(given)(map(mask, given)))
    if is_dataclass(given) and not isinstance(given, type):
        return cast("T", replace(given, **{each.name: mask(getattr(given, each.name)) for each in fields(given)}))
    return value


def mask_uri(uri: str) -> str:
    """Return one URI without user, password and query values: the same text whatever the environment."""
    return re.sub(r"([?&][^=&]+)=[^&#]*", rf"\1={MASK}", re.sub(r"(?<=://)[^\s'\"]+(?=@)", MASK, uri))


def mask_file(path: Path) -> None:
    """Mask a text file in place, block by block, since a log may be large."""
    part = path.with_name(f".{path.name}.part")
    form = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}
    with path.open(**form) as lines, part.open("w", **form) as stream:  # type: ignore[call-overload]
        while block := lines.readlines(BLOCK):
            stream.write(_text("".join(block)))
    part.replace(path)


def printable(text: str) -> str:
    """Return the text with control characters replaced, which would command the terminal that shows it."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in text)


def _entry(name: str, value: Any) -> Any:
    kind = _kind(name)
    if kind == "secret":
        return _all_masked(value)
    return MASK if kind and isinstance(value, str) and _RANDOM.fullmatch(value.replace(".", "-")) else mask(value)


def _all_masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _all_masked(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_all_masked(each) for each in value]
    return value if value is None or isinstance(value, bool) or str(value).lower() in _NOTHING else MASK


def _kind(name: str) -> str | None:
    """Return ``secret`` for a name of secrets, ``key`` for one that may be; by its last word: not ``num_key_heads``."""
    words = [word.lower() for word in _WORD.findall(name)[-2:]]
    last, before = (words or [""])[-1], words[0] if len(words) > 1 else ""
    if last in SECRET_WORDS or (last in KEY_WORDS and before in KINDS_OF_KEYS):
        return "secret"
    return "key" if last in KEY_WORDS else None


def _text(text: str) -> str:
    text = _PRIVATE_KEY.sub(MASK, text)
    if secret := _values(tuple(sorted(set(_environment()), key=len, reverse=True))):
        text = secret.sub(MASK, text)
    text = _USER.sub(MASK, text)
    text = _HEADER.sub(rf"\1{MASK}", text)
    text = _BEARER.sub(rf"\1{MASK}", text)
    text = _QUERY.sub(_query, text)
    text = _ASSIGNED.sub(_assigned, text)
    return _KNOWN.sub(MASK, text)


def _query(match: re.Match[str]) -> str:
    words = _WORD.findall(match[1])
    secret = _kind(match[1]) == "secret" or (words and words[-1].lower() in QUERY_WORDS)
    return f"{match[1]}={MASK}" if secret else match[0]


def _assigned(match: re.Match[str]) -> str:
    kind, value = _kind(match["name"]), match["value"]
    quote = value[0] if value[0] in "\"'" else ""
    bare = value.strip(quote) if quote else value
    if kind is None or bare.lower() in _NOTHING or (kind == "key" and not _RANDOM.fullmatch(bare)):
        return f"{match['name']}{match['sign']}{quote}{_ASSIGNED.sub(_assigned, bare)}{quote}" if quote else match[0]
    return f"{match['name']}{match['sign']}{quote}{MASK}{quote}"


def _environment() -> list[str]:
    """Return the secrets in the environment: values by the variables' names, and passwords of URIs."""
    secrets = []
    for name, value in os.environ.items():
        if name in {"PWD", "OLDPWD"}:  # the shell's directories
            continue
        if _kind(name) and (_kind(name) == "secret" or _RANDOM.fullmatch(value)):
            secrets.append(value)
        secrets += _PASSWORD.findall(value)
    return [each for each in secrets if len(each) >= LEAST_LENGTH]


@lru_cache(maxsize=8)
def _values(values: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(re.escape, values))) if values else None
