"""OpenAI's protocol, spoken by a server on this machine: batches, order, retries, refusals, and the key in no message."""

import hashlib
import json
import threading
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from neonblue_lab.errors import BadInput, Corrupt, NeonBlueError, Unavailable
from neonblue_lab.knowledge.openai import KEY_VARIABLE, URL_VARIABLE, OpenAIEmbedder

KEY = "sk-test-0123456789abcdef"
Answer = tuple[int, dict[str, str], Any]


def vector(text: str) -> np.ndarray:
    """A direction fixed by the text, of norm 1."""
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    drawn = np.random.default_rng(seed).normal(size=1536)
    return drawn / np.linalg.norm(drawn)


def embeddings(body: dict[str, Any]) -> Answer:
    """What the interface answers, the last first: the order is told by `index` alone."""
    rows = [
        {"object": "embedding", "index": i, "embedding": vector(text).tolist()} for i, text in enumerate(body["input"])
    ]
    return 200, {}, {"object": "list", "data": rows[::-1], "model": body["model"], "usage": {"prompt_tokens": 1}}


def refusal(code: int, message: str = "", kind: str = "", **headers: str) -> Answer:
    return code, headers, {"error": {"message": message, "type": "x", "param": None, "code": kind}}


class Server:
    """Answers POST /v1/embeddings by the next of `answers`, then by embeddings; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.paths: set[str] = set()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(body)
                server.keys.add(self.headers["Authorization"])
                server.paths.add(self.path)
                code, headers, content = server.answers.pop(0) if server.answers else embeddings(body)
                if code == 0:  # hang up in the middle of the answer
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
                    return
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    served = Server()
    thread = threading.Thread(target=served.http.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    monkeypatch.setenv(URL_VARIABLE, served.url + "/")
    yield served
    served.http.shutdown()
    thread.join()
    served.http.server_close()


def failing(work: Callable[[], object], kind: type[NeonBlueError], sentence: str) -> None:
    with pytest.raises(kind, match=sentence) as caught:
        work()
    told = f"{caught.value!r} {caught.value.__cause__!r}"
    assert KEY not in told
    assert KEY[8:] not in told


def test_vectors_come_in_batches_and_in_the_order_of_the_texts(server: Server) -> None:
    texts = [f"text {i}" for i in range(600)]
    vectors = OpenAIEmbedder().embed(texts)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, [vector(text) for text in texts], atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert [len(body["input"]) for body in server.asked] == [256, 256, 88]
    expected = {"model": "text-embedding-3-small", "dimensions": 1536, "encoding_format": "float"}
    assert all({name: body[name] for name in expected} == expected for body in server.asked)
    assert (server.keys, server.paths) == ({f"Bearer {KEY}"}, {"/v1/embeddings"})


def test_long_texts_make_smaller_batches(server: Server) -> None:
    OpenAIEmbedder().embed(["x" * 90_000] * 5)
    assert [len(body["input"]) for body in server.asked] == [2, 2, 1]


def test_nothing_asked_for_no_texts(server: Server) -> None:
    assert OpenAIEmbedder().embed([]).shape == (0, 1536)
    assert server.asked == []


@pytest.mark.parametrize("answer", [refusal(429, Retry_After="0"), refusal(500), refusal(503, "busy"), (0, {}, b"")])
def test_what_passes_is_asked_for_again(server: Server, answer: Answer) -> None:
    server.answers = [answer, answer]
    np.testing.assert_allclose(OpenAIEmbedder(first_wait=0.001).embed(["a"])[0], vector("a"), atol=1e-7)
    assert len(server.asked) == 3


def test_a_server_that_stays_busy_or_is_away_is_said_to_be(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.answers = [refusal(503)] * 10
    failing(
        lambda: OpenAIEmbedder(first_wait=0.001).embed(["a"]), Unavailable, "127.0.0.1 answers 503, after 6 attempts"
    )
    assert len(server.asked) == 6
    monkeypatch.setenv(URL_VARIABLE, "http://127.0.0.1:9/v1")
    failing(lambda: OpenAIEmbedder(first_wait=0.001).embed(["a"]), Unavailable, "cannot be reached .*refused")


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        (refusal(401, f"Incorrect API key provided: {KEY}."), Unavailable, "refuses the key .401.: set OPENAI_API_KEY"),
        (
            refusal(400, f"maximum context length is 8192 tokens {KEY}"),
            BadInput,
            "refuses the texts .400.: maximum context length",
        ),
        (refusal(429, "You exceeded your quota", "insufficient_quota"), Unavailable, "used up: You exceeded"),
        (refusal(404), Unavailable, "set OPENAI_BASE_URL"),
        ((200, {}, b"<html>"), Corrupt, "no list of embeddings"),
        ((200, {}, {"data": []}), Corrupt, "answered 1 texts with 0 vectors"),
        ((200, {}, {"data": [{"index": 0, "embedding": [1.0, 0.0]}]}), Corrupt, "one of 1536 numbers for each"),
        ((200, {}, {"data": [{"index": 0, "embedding": [0.0] * 1536}]}), Corrupt, "zero or not finite"),
        ((400, {}, b"plain text"), BadInput, "no reason given"),
    ],
)
def test_what_does_not_pass_is_told_at_once(
    server: Server, answer: Answer, kind: type[NeonBlueError], sentence: str
) -> None:
    server.answers = [answer]
    failing(lambda: OpenAIEmbedder().embed(["a"]), kind, sentence)
    assert len(server.asked) == 1


def test_the_key_follows_no_redirection(server: Server) -> None:
    server.answers = [
        refusal(307, Location=f"{server.url}/elsewhere"),
        refusal(302, Location=f"{server.url}/elsewhere"),
    ]
    for code in (307, 302):
        failing(lambda: OpenAIEmbedder().embed(["a"]), Unavailable, f"answers {code}, not with embeddings")
    assert server.paths == {"/v1/embeddings"}


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    failing(lambda: OpenAIEmbedder().embed(["a", " "]), BadInput, "Text 1 of 2 is blank")
    failing(lambda: OpenAIEmbedder().embed("a"), BadInput, "put the one text into a list")
    for address in (
        *(
            "ftp://host/v1",
            "api.openai.com",
            "https://user:word@host/v1",
            "https://:word@host/v1",
            "https://user@host/v1",
        ),
        *("https://host/v1?api-key=word", "https://host/v1#word", "http://[word", "http://host:word/v1"),
    ):
        monkeypatch.setenv(URL_VARIABLE, address)
        with pytest.raises(BadInput, match="OPENAI_BASE_URL must be an address") as error:
            OpenAIEmbedder()
        assert "word" not in "".join(traceback.format_exception(error.value)).split("BadInput")[-1]
    for key in ("sk-word\nsk-other", "sk-wörd", "sk-word\x7f"):
        monkeypatch.setenv(KEY_VARIABLE, key)
        failing(OpenAIEmbedder, Unavailable, "or a character that no key has")
    monkeypatch.delenv(KEY_VARIABLE)
    failing(OpenAIEmbedder, Unavailable, "set OPENAI_API_KEY")
    assert server.asked == []
