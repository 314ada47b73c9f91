"""Hostile words of introductions, which are all that a peer reads of who has proved nothing yet.
Nobody is let in by them, nobody is believed, and who is right is introduced as before."""

from functools import cache

from mabeam_p2p.errors import RemoteProtocolError
from mabeam_p2p.messages import JoinChallenge, JoinProof, JoinRefusal, JoinWelcome
from mabeam_p2p.security.gatekeeper import Gatekeeper
from tests.hostile import archive
from tests.hostile.entrances import JOINING
from tests.hostile.mutation import mutated
from tests.transport.keys import Cluster

PORT = 4_711


def conversation(server: Gatekeeper, client: Gatekeeper, line: bytes = b"line") -> list[bytes]:
    """What both say, one after the other, until the client has met the server."""
    visit = client.visits()[0]
    said = [visit.first]
    while not visit.has_ended:
        said.append(server.answer(line, client.pair.public, said[-1], PORT, 0.0))
        said.append(visit.receive(said[-1]) or b"")
    assert visit.found == (server.pair.public, PORT)
    return said[:-1]


@cache
def words() -> tuple[bytes, ...]:
    """The corpus, and what was said once in the same cluster, as it was and changed a little."""
    kept = archive.files_of("joining").values()
    cluster = Cluster()
    overheard = conversation(cluster.gatekeeper(), cluster.gatekeeper())
    return *kept, *overheard, *mutated(overheard, 2_000, seed=20_263)


def test_no_word_lets_anybody_in_but_the_proof_that_is_due() -> None:
    cluster = Cluster()
    server, client = cluster.gatekeeper(), cluster.gatekeeper()
    for number, data in enumerate(words()):
        line = b"%d" % number
        server.answer(line, client.pair.public, client.visits()[0].first, PORT, 0.0)
        answer = JOINING.decode(server.answer(line, client.pair.public, data, PORT, 0.0))
        assert isinstance(answer, JoinChallenge | JoinRefusal), data.hex()
        assert server.speaker(client.pair.public) is None, data.hex()
    assert server.undecodable_count > 100
    conversation(server, client)
    assert server.speaker(client.pair.public) == client.guard.peer


def test_a_client_believes_no_word_but_that_of_who_knows_the_secret() -> None:
    cluster = Cluster()
    client = cluster.gatekeeper()
    for data in words():
        visit = client.visits()[0]
        assert visit.receive(data) is None, data.hex()
        assert visit.found is None
        assert visit.has_ended
    assert client.guard.keyring.current == cluster.secret
    conversation(cluster.gatekeeper(), client)


def test_a_word_in_the_place_of_the_welcome_ends_an_introduction_and_nothing_else() -> None:
    """Whoever says it has proved the secret by then: it may say welcome, and no other."""
    cluster = Cluster()
    server, client = cluster.gatekeeper(), cluster.gatekeeper()
    for data in words():
        visit = client.visits()[0]
        proof = visit.receive(server.answer(b"line", client.pair.public, visit.first, PORT, 0.0))
        assert isinstance(JOINING.decode(proof or b""), JoinProof)
        assert visit.receive(data) is None
        assert visit.has_ended
        assert visit.found is None or is_welcome(data), data.hex()
    assert client.guard.keyring.current == cluster.secret


def is_welcome(data: bytes) -> bool:
    try:
        return isinstance(JOINING.decode(data), JoinWelcome)
    except RemoteProtocolError:
        return False
