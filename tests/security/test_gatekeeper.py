"""The guard and the introductions together: what happens when a disk takes nothing."""

from pathlib import Path

import pytest

from mabeam_p2p.errors import KeyFileError
from mabeam_p2p.ids import PeerId
from mabeam_p2p.messages import JoinRefusal, JoinWelcome
from mabeam_p2p.security import files
from mabeam_p2p.security.gatekeeper import STORAGE, Gatekeeper
from mabeam_p2p.security.guard import Guard
from mabeam_p2p.security.keyring import Keyring, open_keyring
from mabeam_p2p.security.secrets import Secret
from mabeam_p2p.wire.joining import JoinCodec

SERVER, CLIENT = PeerId("1" * 16), PeerId("2" * 16)
LINE = b"line"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    tmp_path.chmod(0o700)
    folders = tmp_path / "server", tmp_path / "client"
    for folder in folders:
        folder.mkdir(mode=0o700)
    return folders


def meet(server: Gatekeeper, client: Gatekeeper) -> tuple[str, bytes]:
    """One introduction; why there was none, and the last word of the server."""
    visit = client.visits()[0]
    word, answer = visit.first, b""
    while not visit.has_ended:
        answer = server.answer(LINE, client.pair.public, word, 4711, 0.0)
        word = visit.receive(answer) or b""
    return visit.refusal, answer


def full(path: Path, content: object) -> None:
    raise KeyFileError("the disk of the test is full", path=str(path))


@pytest.mark.parametrize("whose", ["server", "client"])
def test_who_cannot_keep_an_introduction_says_so_and_it_is_tried_anew(
    whose: str, folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the server the use of a code, on the client the join secret: neither lets an exception out
    into the loop, and neither counts before it is durable."""
    codec = JoinCodec()
    host = open_keyring(folders[0], None)
    assert host.gate is not None
    token = host.invite(seconds=10, once=True, wall=0.0)
    guest = open_keyring(folders[1], None, joins_gate=host.gate)
    server = Gatekeeper(Guard(SERVER, host, wall=lambda: 1.0), codec)
    client = Gatekeeper(Guard(CLIENT, guest, token=token), codec)
    write = files.write

    def fail(path: Path, content: object) -> None:
        full(path, content) if path.parent.name == whose else write(path, content)

    monkeypatch.setattr(files, "write", fail)
    for _ in range(2):
        refusal, answer = meet(server, client)
        assert refusal == STORAGE
        if whose == "server":
            assert codec.decode(answer) == JoinRefusal(STORAGE)
            assert server.speaker(client.pair.public) is None
        assert not guest.has_joined
    monkeypatch.setattr(files, "write", write)
    refusal, answer = meet(server, client)
    assert refusal == ""
    assert isinstance(codec.decode(answer), JoinWelcome)
    assert secrets(folders[1]) == secrets(folders[0])


def secrets(folder: Path) -> Secret | None:
    keyring: Keyring = open_keyring(folder, None)
    return keyring.current
