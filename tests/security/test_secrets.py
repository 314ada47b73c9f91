import copy
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.security.keyring import KeyFile, SecretFile, new_key_pair
from mabeam_p2p.security.secrets import Secret, is_mac, label, mac, masked

CANARY = b"canary-canary-canary-canary-1234"
KEY = Secret(bytes(32))
parts = st.lists(st.binary(max_size=8), max_size=4)


@pytest.mark.parametrize(
    "value",
    [Secret(CANARY), KeyFile(1, b"", CANARY), SecretFile(1, CANARY, CANARY), new_key_pair()],
    ids=lambda value: type(value).__name__,
)
def test_a_secret_shows_itself_nowhere(value: object) -> None:
    shown = f"{value} {value!r} {[value]}"
    assert "redacted" in shown
    assert "canary" not in shown
    told = traceback.format_exception(ValueError(value))
    assert "canary" not in "".join(told)


def test_a_secret_is_neither_pickled_nor_copied() -> None:
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy(Secret(CANARY))


@given(parts, parts)
def test_parts_that_differ_have_other_codes(one: list[bytes], other: list[bytes]) -> None:
    assert (mac(KEY, "p", *one) == mac(KEY, "p", *other)) == (one == other)


def test_a_code_is_of_one_secret_one_purpose_and_its_parts() -> None:
    code = mac(KEY, "p", b"a", b"b")
    assert is_mac(code, KEY, "p", b"a", b"b")
    assert not is_mac(code, Secret(b"\1" * 32), "p", b"a", b"b")
    assert not is_mac(code, KEY, "q", b"a", b"b")
    assert not is_mac(code, KEY, "p", b"ab", b"")
    assert not is_mac(code[:-1], KEY, "p", b"a", b"b")


def test_who_has_the_key_of_a_pad_reads_the_secret_and_nobody_else() -> None:
    secret = Secret(CANARY)
    hidden = masked(secret, KEY, b"once")
    assert masked(Secret(hidden), KEY, b"once") == CANARY
    assert masked(Secret(hidden), KEY, b"twice") != CANARY
    assert masked(Secret(hidden), Secret(b"\1" * 32), b"once") != CANARY


def test_a_label_is_the_secrets_own() -> None:
    assert label(Secret(CANARY)) == label(Secret(CANARY)) != label(KEY)
    assert label(Secret(CANARY)) not in CANARY
