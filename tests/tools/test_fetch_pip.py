import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools import fetch_pip
from tools.fetch_pip import FetchError, configuration, fetch, pages

WHEEL = b"not really a wheel"
DIGEST = hashlib.sha256(WHEEL).hexdigest()
NAME = "pip-25.1-py3-none-any.whl"


class Index(ThreadingHTTPServer):
    """Answers from a table of path to media type and body; keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.answers: dict[str, tuple[str, bytes]] = {f"/files/{NAME}": ("x/wheel", WHEEL)}
        self.authorizations: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"


class Answer(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        self.server.authorizations.append(self.headers.get("Authorization"))
        media_type, body = self.server.answers.get(self.path, ("", b""))
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    server = Index()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", server.url)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def html(*anchors: str) -> tuple[str, bytes]:
    return "text/html", "".join(f"<a {anchor}>x</a>" for anchor in anchors).encode()


def test_html_page_with_relative_link_and_hash_gives_the_wheel(
    index: Index, tmp_path: Path
) -> None:
    index.answers["/simple/pip/"] = html(f'href="../../files/{NAME}#sha256={DIGEST}"')
    assert fetch(tmp_path).read_bytes() == WHEEL


def test_json_page_gives_the_wheel(index: Index, tmp_path: Path) -> None:
    entry = {"filename": NAME, "url": f"/files/{NAME}", "hashes": {"sha256": DIGEST}}
    body = json.dumps({"files": [entry]}).encode()
    index.answers["/simple/pip/"] = ("application/vnd.pypi.simple.v1+json", body)
    assert fetch(tmp_path).name == NAME


def test_wrong_hash_is_refused(index: Index, tmp_path: Path) -> None:
    index.answers["/simple/pip/"] = html(f'href="/files/{NAME}#sha256={"0" * 64}"')
    with pytest.raises(FetchError, match="declares 0000"):
        fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_newest_release_that_fits_is_chosen(index: Index, tmp_path: Path) -> None:
    index.answers["/simple/pip/"] = html(
        'href="/files/pip-9.0.3-py3-none-any.whl"',
        f'href="/files/{NAME}" data-requires-python="&gt;=3.9"',
        'href="/files/pip-26.0b1-py3-none-any.whl"',
        'href="/files/pip-26.1-py3-none-any.whl" data-yanked="broken"',
        'href="/files/pip-27.0-py3-none-any.whl" data-requires-python="&gt;=99"',
        'href="/files/pip-28.0.tar.gz"',
    )
    assert fetch(tmp_path).name == NAME


def test_credentials_in_the_address_are_sent_and_not_shown(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("//", "//ann:s%40cret@"))
    with pytest.raises(FetchError) as raised:
        fetch(tmp_path)
    assert index.authorizations == ["Basic YW5uOnNAY3JldA=="]
    assert "HTTP 404" in str(raised.value)
    assert "cret" not in str(raised.value)


def test_index_that_does_not_answer_is_named_and_nothing_else_is_tried(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.server_close()
    monkeypatch.setattr(fetch_pip, "_debian_wheel", pytest.fail)
    with pytest.raises(FetchError, match=r"127\.0\.0\.1:\d+/simple/pip/: .*refused"):
        fetch(tmp_path)


def test_folder_of_wheels_is_enough(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels, target = tmp_path / "wheels", tmp_path / "target"
    wheels.mkdir()
    target.mkdir()
    (wheels / NAME).write_bytes(WHEEL)
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert fetch(target).read_bytes() == WHEEL
    assert index.authorizations == []


def test_environment_outranks_the_user_file_which_outranks_the_shared_one(tmp_path: Path) -> None:
    shared, user = tmp_path / "shared" / "pip", tmp_path / "user" / "pip"
    shared.mkdir(parents=True)
    user.mkdir(parents=True)
    (shared / "pip.conf").write_text("[global]\nproxy = a\ntimeout = 1\ntrusted_host = a\n")
    (user / "pip.conf").write_text("[global]\nproxy = b\n[install]\ntimeout = 2\n")
    environment = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_DIRS": str(tmp_path / "shared"),
        "XDG_CONFIG_HOME": str(tmp_path / "user"),
        "PIP_TIMEOUT": "3",
    }
    options = configuration(environment)
    assert (options["proxy"], options["timeout"], options["trusted-host"]) == ("b", "3", "a")


def test_chosen_configuration_file_takes_the_place_of_the_users(tmp_path: Path) -> None:
    user, chosen = tmp_path / "pip" / "pip.conf", tmp_path / "chosen.conf"
    user.parent.mkdir()
    user.write_text("[global]\nproxy = user\n")
    chosen.write_text("[global]\nindex-url = http://index.example/simple/\n")
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "PIP_CONFIG_FILE": str(chosen)}
    options = configuration(environment | {"HOME": str(tmp_path)})
    assert options["index-url"] == "http://index.example/simple/"
    assert options.get("proxy") != "user"


def test_indexes_are_asked_after_the_links() -> None:
    options = {
        "index-url": "https://one.example/simple",
        "extra-index-url": "https://two.example/s/ https://three.example/s",
        "find-links": "https://links.example/",
    }
    assert pages(options) == [
        "https://links.example/",
        "https://one.example/simple/pip/",
        "https://two.example/s/pip/",
        "https://three.example/s/pip/",
    ]


@pytest.mark.parametrize(
    ("specifier", "fits"),
    [
        ("", True),
        (">=3.9", True),
        (">=3", True),
        (">=99", False),
        (">=3.9, <4", True),
        ("<3", False),
    ],
)
def test_only_bounds_of_the_python_version_exclude(specifier: str, fits: bool) -> None:
    assert fetch_pip.runs_here(specifier) is fits


def test_lower_bound_is_inclusive() -> None:
    here = ".".join(str(part) for part in sys.version_info[:3])
    assert fetch_pip.runs_here(f">={here}")
    assert not fetch_pip.runs_here(f">{here}")
