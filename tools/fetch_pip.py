"""Fetches pip's wheel with the standard library alone, for a Python that came without pip.

It asks the package index that this machine is configured for, as pip would: environment, then
pip's configuration files. Where none is named, Debian's own wheel of pip is taken, since only
Debian and its children ship a Python without ensurepip. Called by environment.py.

1. A hash that the index declares is verified; a wrong one ends the run.
2. Only final releases as pure wheels count; yanked ones and those for a newer Python do not.
3. Nothing is installed here: the answer is the path of one wheel.
"""

import base64
import configparser
import hashlib
import json
import netrc
import operator
import os
import re
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
WHEEL = re.compile(r"pip-(\d+(?:\.\d+)*)-py3-none-any\.whl")
DEBIAN_WHEELS = Path("/usr/share/python-wheels")
DEBIAN_PACKAGE = "python3-pip-whl"
BOUNDS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
TRIES = 3


class FetchError(Exception):
    """No pip was found: the message lists every place that was asked, and why it failed."""


@dataclass(frozen=True)
class Link:
    """One file that a page offers. url: absolute. sha256: hexadecimal, empty if undeclared."""

    url: str
    sha256: str = ""
    requires_python: str = ""
    yanked: bool = False

    @property
    def version(self) -> tuple[int, ...]:
        """The release, or () for what is no final pure wheel of pip."""
        name = urllib.parse.unquote(urllib.parse.urlsplit(self.url).path.rpartition("/")[2])
        match = WHEEL.fullmatch(name)
        return tuple(int(part) for part in match[1].split(".")) if match else ()


def configuration(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Pip's options by their long names, read in pip's order: the last one wins."""
    options: dict[str, str] = {}
    for path in _configuration_files(environment):
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError, OSError) as error:
            raise FetchError(f"{path} cannot be read: {error}") from error
        for section in ("global", "install"):
            if parser.has_section(section):
                options |= {key.replace("_", "-"): text for key, text in parser.items(section)}
    for key, text in environment.items():
        if key.startswith("PIP_") and key != "PIP_CONFIG_FILE" and text:
            options[key.removeprefix("PIP_").lower().replace("_", "-")] = text
    return options


def _configuration_files(environment: Mapping[str, str]) -> list[Path]:
    chosen = environment.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return []
    home = Path(environment.get("HOME") or Path.home())
    shared = environment.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    files = [Path(folder, "pip", "pip.conf") for folder in reversed(shared.split(os.pathsep))]
    files.append(Path("/etc/pip.conf"))
    if not (chosen and Path(chosen).exists()):
        files += [
            home / ".pip" / "pip.conf",
            home / "Library" / "Application Support" / "pip" / "pip.conf",
            Path(environment.get("XDG_CONFIG_HOME") or home / ".config", "pip", "pip.conf"),
        ]
    files.append(Path(sys.prefix, "pip.conf"))
    return files + ([Path(chosen)] if chosen else [])


def pages(options: Mapping[str, str]) -> list[str]:
    """Where pip's files may be listed, as URLs: find-links first, then the indexes."""
    found = [_as_url(place) for place in options.get("find-links", "").split()]
    if not _forbids_indexes(options):
        indexes = [options.get("index-url", ""), *options.get("extra-index-url", "").split()]
        found += [_as_url(index).rstrip("/") + "/pip/" for index in indexes if index]
    return found


def _forbids_indexes(options: Mapping[str, str]) -> bool:
    return options.get("no-index", "").lower() in {"1", "true", "yes", "on"}


def _as_url(place: str) -> str:
    if re.match(r"(https?|file):", place):
        return place
    path = Path(place).expanduser().resolve()
    return path.as_uri() + ("/" if path.is_dir() else "")


class Client:
    """Reads URLs as pip would: its certificates, proxy, credentials, trusted hosts, timeout."""

    def __init__(self, options: Mapping[str, str], environment: Mapping[str, str] = os.environ):
        named = (environment.get(key) for key in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
        bundle = options.get("cert") or next(filter(None, named), None)
        folder = bundle is not None and Path(bundle).is_dir()
        try:
            # Without a bundle the default applies, which heeds SSL_CERT_FILE and SSL_CERT_DIR.
            verified = ssl.create_default_context(
                cafile=None if folder else bundle, capath=bundle if folder else None
            )
        except OSError as error:
            raise FetchError(f"the certificates in {bundle} cannot be read: {error}") from error
        unverified = ssl.create_default_context()
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        proxy = options.get("proxy")
        proxies = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else None)
        self._verifying, self._trusting = (
            urllib.request.build_opener(proxies, urllib.request.HTTPSHandler(context=context))
            for context in (verified, unverified)
        )
        self._trusted_hosts = options.get("trusted-host", "").split()
        self._timeout_seconds = float(
            options.get("timeout") or options.get("default-timeout") or 15
        )

    def read(self, url: str) -> tuple[bytes, str, str]:
        """Body, media type and final URL. Raises OSError, which URLError and HTTPError are."""
        parts = urllib.parse.urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        request = urllib.request.Request(
            parts._replace(netloc=host, fragment="").geturl(), headers={"Accept": ACCEPT}
        )
        if credentials := _credentials(parts):
            token = base64.b64encode(credentials.encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {token}")
        trusted = host in self._trusted_hosts or (parts.hostname or "") in self._trusted_hosts
        opener = self._trusting if trusted else self._verifying
        for tries_left in reversed(range(TRIES)):
            try:
                with opener.open(request, timeout=self._timeout_seconds) as answer:
                    return answer.read(), answer.headers.get_content_type(), answer.url
            except urllib.error.HTTPError as error:
                error.close()
                if error.code < 500 or not tries_left:
                    raise
            except OSError:
                if not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")


def _credentials(parts: urllib.parse.SplitResult) -> str:
    if parts.username is not None:
        return urllib.parse.unquote(f"{parts.username}:{parts.password or ''}")
    if not parts.scheme.startswith("http"):
        return ""
    try:
        entry = netrc.netrc().authenticators(parts.hostname or "")
    except (OSError, netrc.NetrcParseError):
        return ""
    return f"{entry[0]}:{entry[2]}" if entry else ""


def links(client: Client, page: str) -> list[Link]:
    """Every link of a page: a folder, or a simple index in JSON (PEP 691) or HTML (PEP 503)."""
    path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(page).path))
    if page.startswith("file:") and path.is_dir():
        if not (path / "index.html").exists():
            return [Link(file.as_uri()) for file in sorted(path.glob("pip-*.whl"))]
        page = (path / "index.html").as_uri()
    body, media_type, base = client.read(page)
    if media_type.endswith("json"):
        return list(_json_links(json.loads(body), base))
    parser = _Anchors(base)
    parser.feed(body.decode("utf-8", errors="replace"))
    return parser.links


def _json_links(document: dict[str, list[dict[str, object]]], base: str) -> Iterator[Link]:
    for entry in document["files"]:
        hashes = entry.get("hashes")
        yield Link(
            urllib.parse.urljoin(base, str(entry["url"])),
            sha256=str(hashes.get("sha256", "")) if isinstance(hashes, dict) else "",
            requires_python=str(entry.get("requires-python") or ""),
            yanked=bool(entry.get("yanked", False)),
        )


class _Anchors(HTMLParser):
    def __init__(self, base: str) -> None:
        super().__init__()
        self.links: list[Link] = []
        self._base = base

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "base" and named.get("href"):
            self._base = urllib.parse.urljoin(self._base, str(named["href"]))
        if tag == "a" and named.get("href"):
            url, _, fragment = urllib.parse.urljoin(self._base, str(named["href"])).partition("#")
            sha256 = urllib.parse.parse_qs(fragment).get("sha256", [""])[0]
            requires_python = named.get("data-requires-python") or ""
            self.links.append(Link(url, sha256, requires_python, "data-yanked" in named))


def runs_here(requires_python: str) -> bool:
    """Whether this Python meets every bound of the specifier; other clauses than bounds pass."""
    for clause in requires_python.split(","):
        match = re.fullmatch(r"\s*(>=|<=|<|>)\s*(\d+(?:\.\d+)*)\s*", clause)
        if match:
            major, minor, micro, *_ = [*(int(part) for part in match[2].split(".")), 0, 0]
            if not BOUNDS[match[1]](sys.version_info[:3], (major, minor, micro)):
                return False
    return True


def fetch(folder: Path) -> Path:
    """The newest fitting wheel of pip, written into `folder`. Raises FetchError."""
    options = configuration()
    client = Client(options)
    failures: list[str] = []
    candidates: list[Link] = []
    for page in pages(options):
        try:
            candidates += links(client, page)
        except (OSError, ValueError, KeyError, TypeError) as error:
            failures.append(f"{_without_credentials(page)}: {_reason(error)}")
    fitting = [
        link
        for link in candidates
        if link.version and not link.yanked and runs_here(link.requires_python)
    ]
    if not fitting and not options.get("index-url") and not _forbids_indexes(options):
        return _debian_wheel(folder, failures)
    if not fitting:
        raise _nothing_found(failures)
    newest = max(fitting, key=lambda link: link.version)
    try:
        body, _, _ = client.read(newest.url)
    except OSError as error:
        raise FetchError(f"{_without_credentials(newest.url)}: {_reason(error)}") from error
    digest = hashlib.sha256(body).hexdigest()
    if newest.sha256 and digest != newest.sha256.lower():
        raise FetchError(
            f"{_without_credentials(newest.url)} has the sha256 {digest}, "
            f"but its index declares {newest.sha256}; nothing was installed"
        )
    wheel = folder / f"pip-{'.'.join(map(str, newest.version))}-py3-none-any.whl"
    wheel.write_bytes(body)
    return wheel


def _debian_wheel(folder: Path, failures: list[str]) -> Path:
    """Debian's wheel of pip: as installed, else downloaded by apt, which needs no root for that."""
    installed = sorted(DEBIAN_WHEELS.glob("pip-*-py3-none-any.whl"))
    if installed:
        return Path(shutil.copy(installed[-1], folder))
    # apt and dpkg look for tools of their own, wherever the caller's PATH ends.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/bin", "/bin"])
    apt, dpkg = shutil.which("apt-get", path=path), shutil.which("dpkg-deb", path=path)
    if apt is None or dpkg is None:
        raise _nothing_found(failures)
    # A state and cache of its own: apt's lists may be missing, and may not be ours to write.
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True)
    state = [f"-oDir::State::Lists={folder}/lists", f"-oDir::Cache={folder}/cache"]
    for command in (
        [apt, *state, "-qq", "update"],
        [apt, *state, "-qq", "download", DEBIAN_PACKAGE],
        ["sh", "-c", f"{dpkg} -x {DEBIAN_PACKAGE}_*.deb debian"],
    ):
        environment = os.environ | {"PATH": path}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            failures.append(f"{' '.join(command[-2:])}: {done.stderr.strip()}")
            break
    for wheel in (folder / "debian").glob("usr/share/python-wheels/pip-*.whl"):
        return wheel
    raise _nothing_found(failures)


def _nothing_found(failures: list[str]) -> FetchError:
    asked = "".join(f"\n  {failure}" for failure in failures) or " no place offers a wheel of it"
    return FetchError(
        f"pip is missing and cannot be fetched:{asked}\n"
        "Install python3-venv or pip, or set PIP_INDEX_URL (and PIP_CERT, https_proxy) "
        "to a package index that answers."
    )


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"{reason.verify_message}: install ca-certificates, or set PIP_CERT to your bundle"
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code} {error.reason}"
    return str(reason)


def _without_credentials(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
