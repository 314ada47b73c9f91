import pytest
from hypothesis import given
from hypothesis import strategies as st

from mabeam_p2p.errors import AddressError, InvalidJoinCode
from mabeam_p2p.security.codes import (
    ALPHABET,
    GATE_BYTES,
    TOKEN_BYTES,
    JoinCode,
    decode,
    encode,
)
from mabeam_p2p.security.secrets import Secret

GATE = Secret(bytes(range(GATE_BYTES)))
TOKEN = Secret(bytes(range(100, 100 + TOKEN_BYTES)))
CODE = encode(JoinCode("192.0.2.7:7946", GATE, TOKEN))

ports = st.integers(1, 65_535)
hosts = st.one_of(
    st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(lambda address: f"[{address}]")
)
names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


@given(hosts, ports, st.binary(min_size=GATE_BYTES, max_size=GATE_BYTES), names)
def test_a_code_says_what_was_put_into_it(host: str, port: int, gate: bytes, name: str) -> None:
    code = JoinCode(f"{host}:{port}", Secret(gate), TOKEN, name)
    read = decode(encode(code))
    assert (read.gate, read.token, read.cluster) == (code.gate, TOKEN, name)
    assert read.address == code.address


def test_a_code_of_the_default_cluster_is_eleven_groups_of_four() -> None:
    prefix, *groups = CODE.split("-")
    assert prefix == "MB1"
    assert [len(group) for group in groups] == [4] * 11


@pytest.mark.parametrize(
    "typed",
    [CODE.lower(), CODE.replace("-", ""), CODE.replace("-", " - "), f"  {CODE}\n",
     CODE.replace("0", "O").replace("1", "l"),
     CODE.replace("MB1", "MBI")],
)  # fmt: skip
def test_how_a_code_is_typed_does_not_matter(typed: str) -> None:
    assert decode(typed) == decode(CODE)


@given(st.integers(4, len(CODE) - 1), st.sampled_from(ALPHABET))
def test_one_wrong_letter_is_named_a_typing_error(place: int, letter: str) -> None:
    if CODE[place] in ("-", letter):
        return
    with pytest.raises(InvalidJoinCode, match="typing error"):
        decode(CODE[:place] + letter + CODE[place + 1 :])


@given(st.integers(4, len(CODE) - 2))
def test_two_letters_in_the_wrong_order_are_a_typing_error(place: int) -> None:
    one, other = CODE[place], CODE[place + 1]
    if "-" in (one, other) or one == other:
        return
    with pytest.raises(InvalidJoinCode, match="typing error"):
        decode(CODE[:place] + other + one + CODE[place + 2 :])


@pytest.mark.parametrize("count", range(1, 30))
def test_a_code_that_was_cut_is_refused(count: int) -> None:
    with pytest.raises(InvalidJoinCode, match="a part of it is missing"):
        decode(CODE[:-count])


def test_a_letter_that_is_in_no_code_is_named_with_its_group() -> None:
    with pytest.raises(InvalidJoinCode, match="'U' in group 2"):
        decode(CODE[:9] + "U" + CODE[10:])


@pytest.mark.parametrize(
    ("text", "told"),
    [("", "no join code"), ("hello", "no join code"), ("MB2-0000", "version MB2")],
)
def test_what_is_no_code_of_this_release_is_told_apart(text: str, told: str) -> None:
    with pytest.raises(InvalidJoinCode, match=told):
        decode(text)


@given(st.text(min_size=8, max_size=80))
def test_what_is_refused_is_not_repeated(text: str) -> None:
    with pytest.raises(InvalidJoinCode) as caught:
        decode("MB1-" + text)
    assert text not in str(caught.value)


def test_a_code_needs_an_ip_address() -> None:
    with pytest.raises(AddressError, match="no IP address"):
        encode(JoinCode("ant.example:7946", GATE, TOKEN))


def test_a_code_does_not_show_its_secrets() -> None:
    shown = repr(decode(CODE))
    assert "redacted" in shown
    assert repr(TOKEN.reveal())[2:-1] not in shown
