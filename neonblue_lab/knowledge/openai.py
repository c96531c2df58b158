"""Text vectors by OpenAI's embeddings interface, or by any server that speaks it. The texts leave the machine."""

import http.client
import json
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from neonblue_lab.errors import BadInput, Corrupt, Unavailable

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"
DEFAULT_URL = "https://api.openai.com/v1"

_BATCH_TEXTS = 256
_BATCH_CHARACTERS = 200_000  # a request may hold 300,000 tokens, and few texts have more tokens than characters
_ATTEMPTS = 6
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_TIMEOUT = 60.0
_PASSING = {408, 409, 429, 500, 502, 503, 504}  # what another attempt may get past
_SPENT = "insufficient_quota"


class OpenAIEmbedder:
    """text-embedding-3-small. One instance may be used by several threads at once.

    The key comes from the environment variable OPENAI_API_KEY and nowhere else, is sent to the server of OPENAI_BASE_URL alone
    (redirections are refused), and is in no message.

    Attributes:
        name: "text-embedding-3-small".
        dimensions: 1,536.
    """

    name = "text-embedding-3-small"
    dimensions = 1536

    def __init__(self, *, first_wait: float = _FIRST_WAIT) -> None:
        """
        Args:
            first_wait: seconds before the second attempt; each further wait is twice as long, up to 30 s, unless the server
                says how long to wait.

        Raises:
            Unavailable: OPENAI_API_KEY is not set, or is no key.
            BadInput: OPENAI_BASE_URL is no http address, or holds what may be a secret.
        """
        self._key = os.environ.get(KEY_VARIABLE, "").strip()
        if not self._key:
            raise Unavailable(
                f"The embedder openai needs a key: set {KEY_VARIABLE} (and {URL_VARIABLE} for a server other than "
                f"{DEFAULT_URL}), or choose NEONBLUE_EMBEDDER=minilm."
            )
        if not (self._key.isascii() and self._key.isprintable()):  # no header holds it, and the refusal would show it
            raise Unavailable(f"{KEY_VARIABLE} holds a line break, or a character that no key has: set it anew.")
        base = os.environ.get(URL_VARIABLE, "").strip() or DEFAULT_URL
        self._server = _server(base)
        self._url = f"{base.rstrip('/')}/embeddings"
        self._first_wait = first_wait
        self._opener = urllib.request.build_opener(_NoRedirection)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, asked for in batches; a batch that fails for a passing reason is asked for again.

        Returns:
            float32, len(texts) x 1,536, each row of Euclidean norm 1.

        Raises:
            BadInput: a text is blank, or the server refuses a text (too long: its limit is 8,192 tokens).
            Unavailable: the server cannot be reached, refuses the key, or fails again and again.
            Corrupt: what it answers is not one vector of 1,536 numbers for each text.
        """
        if isinstance(texts, str):
            raise BadInput("embed() takes a sequence of texts: put the one text into a list.")
        for position, text in enumerate(texts):
            if not text.strip():
                raise BadInput(f"Text {position} of {len(texts)} is blank: {self._server} embeds no blank texts.")
        parts = [self._batch(batch) for batch in _batches(texts)]
        return np.concatenate(parts) if parts else np.empty((0, self.dimensions), np.float32)

    def _batch(self, texts: Sequence[str]) -> np.ndarray:
        answer = self._post(
            {"model": self.name, "input": list(texts), "dimensions": self.dimensions, "encoding_format": "float"}
        )
        try:
            rows = sorted(json.loads(answer)["data"], key=lambda row: row["index"])
            positions = [row["index"] for row in rows]
            vectors = np.array([row["embedding"] for row in rows], np.float64)
        except (ValueError, KeyError, TypeError) as error:
            raise Corrupt(f"{self._server} answered with something that is no list of embeddings.") from error
        if positions != list(range(len(texts))) or vectors.shape != (len(texts), self.dimensions):
            raise Corrupt(
                f"{self._server} answered {len(texts)} texts with {len(rows)} vectors of shape {vectors.shape}; "
                f"{self.name} gives one of {self.dimensions} numbers for each."
            )
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not (np.isfinite(norms).all() and (norms > 0).all()):
            raise Corrupt(f"{self._server} answered with vectors that are zero or not finite.")
        return np.asarray(vectors / norms, np.float32)

    def _post(self, body: Mapping[str, Any]) -> bytes:
        request = urllib.request.Request(
            self._url,
            json.dumps(body).encode(),
            {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
            method="POST",
        )
        wait, reason = self._first_wait, ""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._opener.open(request, timeout=_TIMEOUT) as response:
                    return bytes(response.read())
            except urllib.error.HTTPError as error:
                with error:
                    told = _told(error.read())
                if error.code not in _PASSING or told.get("code") == _SPENT:
                    raise self._refused(error.code, told) from None
                reason = f"answers {error.code}"
                asked = _seconds(error.headers.get("Retry-After"))
            except (OSError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
                reason = f"cannot be reached ({getattr(error, 'reason', error)})"
                asked = None
            if attempt < _ATTEMPTS:
                # A random part keeps several processes from coming back at the same moment.
                time.sleep(min(asked if asked is not None else wait * random.uniform(0.75, 1.25), _LONGEST_WAIT))
                wait *= 2
        raise Unavailable(
            f"{self._server} {reason}, after {_ATTEMPTS} attempts. Try again later, or choose NEONBLUE_EMBEDDER=minilm."
        )

    def _refused(self, code: int, told: Mapping[str, Any]) -> BadInput | Unavailable:
        if code in (401, 403):  # its message repeats parts of the key
            return Unavailable(
                f"{self._server} refuses the key ({code}): set {KEY_VARIABLE} to one that may embed texts."
            )
        said = str(told.get("message") or "no reason given").replace(self._key, "***")[:300]
        if told.get("code") == _SPENT:
            return Unavailable(f"The account of {KEY_VARIABLE} at {self._server} is used up: {said}")
        if 300 <= code < 400 or code == 404:
            return Unavailable(
                f"{self._url} answers {code}, not with embeddings: set {URL_VARIABLE} to the interface's own address."
            )
        return BadInput(f"{self._server} refuses the texts ({code}): {said}")


def _server(base: str) -> str:
    """The host of an address that messages may show."""
    try:
        address = urlsplit(base)
        plain = address.scheme in ("http", "https") and address.port != 0 and address.username is None
    except ValueError:  # brackets without an end, a port that is no number: its message would repeat the address
        plain = False
    if not plain or not address.hostname or address.query or address.fragment:
        raise BadInput(
            f"{URL_VARIABLE} must be an address such as {DEFAULT_URL}, without a user name or a query in it."
        )
    return address.hostname


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    """A redirection would carry the key to wherever it points."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


def _batches(texts: Sequence[str]) -> list[list[str]]:
    batches: list[list[str]] = []
    size = 0
    for text in texts:
        if not batches or len(batches[-1]) == _BATCH_TEXTS or size + len(text) > _BATCH_CHARACTERS:
            batches.append([])
            size = 0
        batches[-1].append(text)
        size += len(text)
    return batches


def _told(body: bytes) -> Mapping[str, Any]:
    """The `error` of a refusal; empty where the body is not of that form."""
    try:
        told = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError):
        return {}
    return told if isinstance(told, Mapping) else {}


def _seconds(header: str | None) -> float | None:
    """What Retry-After asks for, where it is a number of seconds."""
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
