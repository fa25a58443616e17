"""The server: permissions by token, pages, limits, faults on demand; every word held to GitHub's description."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from conda_concept.github import Hub, Surroundings
from tests.support.fakegithub import issues, releases, schema
from tests.support.fakegithub.answers import ROUTES, Ask, Refusal
from tests.support.fakegithub.state import State

#: Requests in an hour with the token of a job.
HOURLY = 1000
#: Seconds: longer than the tests' clients wait.
SILENCE = 3.0


@dataclass
class Fault:
    """What goes wrong with requests that match: `kind` says how.

    before, after: 502 before or after the write. lost: the write is done, and the connection ends without an answer.
    silent: the write is done, and no answer comes for a long time.
    secondary, rate: GitHub's limits. forbidden: 403. truncated: half of an artifact.
    """

    method: str
    path: str
    kind: str
    times: int = 1


@dataclass
class FakeGitHub:
    """A running fake. `invalid` has every request or answer that is not as GitHub describes it: tests look at it."""

    state: State
    url: str
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    denied: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    #: So many writes are still done; then nothing is answered any more, as for a runner that dies. Negative: for ever.
    life: int = -1
    #: How many requests are left of this hour. Who asks without one is told to wait, and then a new hour begins.
    left: int = HOURLY
    #: How often that was said.
    exceeded: int = 0
    #: Called before a request is answered: (method, path) -> None. A head that moves between two calls.
    before: Callable[[str, str], None] = lambda method, path: None  # noqa: ARG005 - does nothing
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def writes(self) -> int:
        """How many changes were asked for."""
        return sum(method != "GET" and not path.startswith("/_") for method, path, _ in self.asked)

    def hub(self, token: str = "all", run: int = 7, **more: str) -> Hub:  # noqa: S107 - a name for a set of permissions
        """The program's own door to this fake, as a job of a run has it, but without waiting between two changes."""
        environ = {"GITHUB_REPOSITORY": self.state.name, "GITHUB_TOKEN": token, "GITHUB_API_URL": self.url}
        environ |= {"CONDA_CONCEPT_GITHUB_PACE": "0", "GITHUB_RUN_ID": str(run), **more}
        return Hub(Surroundings.of(environ))

    def count(self, method: str, path: str) -> int:
        """How often something was asked."""
        return sum(1 for how, where, _ in self.asked if how == method and re.search(path, where))

    @classmethod
    @contextmanager
    def serve(cls, state: State) -> Iterator["FakeGitHub"]:
        """On a port of the loopback device until the block ends."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        server.daemon_threads = True
        fake = cls(state, f"http://127.0.0.1:{server.server_port}")
        server.fake = fake  # type: ignore[attr-defined] # the handler finds it there
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield fake
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: Any) -> None:
        """Nothing: tests look at `asked`."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        fake: FakeGitHub = self.server.fake  # type: ignore[attr-defined] # set by `serve`
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        parts = urlsplit(self.path)
        path = unquote(parts.path)
        with fake.lock:
            fake.before(method, path)
            token = (self.headers.get("Authorization") or "").rpartition(" ")[2]
            fake.asked.append((method, path, token))
            if path.startswith("/_"):
                self._beside(fake, method, path, raw)
                return
            query = parse_qs(parts.query)
            kind = self.headers.get("Content-Type") or ""
            self._api(fake, method, path, Ask(fake.state, fake.url, method, path, query, _json(raw), token, raw, kind))

    def _beside(self, fake: FakeGitHub, method: str, path: str, raw: bytes) -> None:
        """What is not the API: the store of artifacts, which takes no token."""
        _, _, what, rest = path.split("/", 3)
        if what == "blob" and method == "GET":
            found = next(one for one in fake.state.artifacts if one.number == int(rest))
            data = found.data[: len(found.data) // 2] if self._fault(fake, method, path, "truncated") else found.data
            self._send(200, data, "application/zip", {})
        elif what == "upload" and method == "PUT":
            run, name, member = rest.split("/", 2)
            fake.state.keep(int(run), name, {member: raw})
            self._send(200, b"{}", "application/json", {})

    def _fault(self, fake: FakeGitHub, method: str, path: str, *kinds: str) -> Fault | None:
        for fault in fake.faults:
            if fault.times and fault.kind in kinds and fault.method == method and re.search(fault.path, path):
                fault.times -= 1
                return fault
        return None

    def _api(self, fake: FakeGitHub, method: str, path: str, ask: Ask) -> None:
        if fake.life == 0:
            self._json(502, {"message": "Bad gateway"}, {})
            return
        fake.life -= 1 if method != "GET" and fake.life > 0 else 0
        if fake.left == 0:
            fake.left, fake.exceeded = HOURLY, fake.exceeded + 1
            self._json(*_EXCEEDED)
            return
        fake.left -= 1
        fault = self._fault(fake, method, path, "before", "secondary", "forbidden", "rate")
        if fault:
            slower = {"message": "You have exceeded a secondary rate limit."}
            kinds: dict[str, tuple[int, dict[str, str], dict[str, str]]] = {
                "before": (502, {"message": "Bad gateway"}, {}),
                "secondary": (403, slower, {"Retry-After": "0"}),
                "forbidden": (403, {"message": "Resource not accessible by integration"}, {}),
                "rate": _EXCEEDED,
            }
            self._json(*kinds[fault.kind])
            return
        try:
            status, value, headers = self._route(fake, ask)
        except Refusal as refusal:
            if refusal.status == 403:
                fake.denied.append(f"{method} {path} with {ask.token or 'no token'}: {refusal}")
            self._json(refusal.status, {"message": str(refusal)}, {})
            return
        if self._fault(fake, method, path, "silent"):
            self.close_connection = True
            threading.Event().wait(SILENCE)
            return
        if self._fault(fake, method, path, "lost"):
            self.close_connection = True  # it is done, and nobody hears of it
            return
        if self._fault(fake, method, path, "after"):
            self._json(502, {"message": "Bad gateway"}, {})
            return
        if not schema.answers(method, path, status):
            fake.invalid.append(f"{method} {path} -> {status} is not described")
        if status in (200, 201):
            described = schema.answer_schema(method, path, status)
            value = schema.filled(described, value)
            some = value[:2] + value[-1:] if isinstance(value, list) else value  # a hundred alike take seconds
            fake.invalid += [f"{method} {path} -> {one}" for one in schema.problems(described, some)]
        self._json(status, value, headers)

    def _route(self, fake: FakeGitHub, ask: Ask) -> tuple[int, Any, dict[str, str]]:
        for route in (*ROUTES, *issues.ROUTES, *releases.ROUTES):
            found = re.fullmatch(f"/repos/{re.escape(ask.state.name)}{route.pattern}", ask.path)
            if found and route.method == ask.method:
                ask.allow(route.scope, route.level)
                if schema.operation(ask.method, ask.path) is None:
                    fake.invalid.append(f"{ask.method} {ask.path} is not described")
                asked = schema.query_problems(ask.method, ask.path, ask.query)
                fake.invalid += [f"{ask.method} {ask.path} ?- {one}" for one in asked]
                # PyGithub sends labels as a bare list, which GitHub takes and does not describe.
                body = {"labels": ask.body} if isinstance(ask.body, list) else ask.body
                wrong = schema.problems(schema.body_schema(ask.method, ask.path), body) if body else []
                fake.invalid += [f"{ask.method} {ask.path} <- {one}" for one in wrong]
                answer = route.answer(ask, *found.groups())
                return self._paged(ask, answer) if isinstance(answer[1], list) else (*answer, {})
        fake.invalid.append(f"{ask.method} {ask.path} is nothing that this fake has")
        raise Refusal(404, f"Not Found: {ask.method} {ask.path}")

    def _paged(self, ask: Ask, answer: tuple[int, Any]) -> tuple[int, Any, dict[str, str]]:
        status, items = answer
        size = min(int(ask.query.get("per_page", ["30"])[0]), 100)
        page = int(ask.query.get("page", ["1"])[0])
        headers = {}
        if page * size < len(items):
            rest = "&".join(f"{key}={one[0]}" for key, one in ask.query.items() if key != "page")
            headers["Link"] = f'<{ask.url}{ask.path}?{rest}&page={page + 1}>; rel="next"'
        return status, items[(page - 1) * size : page * size], headers

    def _json(self, status: int, value: Any, headers: dict[str, str]) -> None:
        if status == 302:
            self._send(status, b"", "text/plain", headers | {"Location": value["location"]})
        else:
            self._send(status, b"" if status == 204 else json.dumps(value).encode(), "application/json", headers)

    def _send(self, status: int, data: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


_EXCEEDED = (
    403,
    {"message": "API rate limit exceeded"},
    {"X-RateLimit-Limit": str(HOURLY), "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"},
)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        return None
