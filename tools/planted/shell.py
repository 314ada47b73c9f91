"""Rules of the shell: of what runs around the node, and of its ways to others."""

from tools.planted.base import Edit, Mutant

LANE = "mabeam_p2p/runtime/lane.py"
MDNS = "mabeam_p2p/discovery/mdns.py"
SOCKETS = "mabeam_p2p/transport/zeromq.py"
FILES = "mabeam_p2p/security/files.py"
CODES = "mabeam_p2p/security/codes.py"

LANE_TESTS = ("tests/runtime/test_lane.py",)

ENDINGS = "mabeam_p2p/runtime/endings.py"
THREAD = "mabeam_p2p/runtime/thread.py"
BULK = "mabeam_p2p/runtime/bulk.py"
FORK = ("tests/runtime/test_thread.py",)

MUTANTS = (
    Mutant(
        "SH7",
        "who closes a peer in a forked child waits for ever",
        (
            Edit(
                THREAD,
                "        self._ended = Future()\n        self._ended.set_result(None)\n",
                "",
            ),
        ),
        FORK,
    ),
    Mutant(
        "SH8",
        "what waits for an answer in a forked child waits for ever",
        (Edit(THREAD, "            backend.forget()\n", "            pass\n"),),
        FORK,
    ),
    Mutant(
        "SH9",
        "a command that was under way at a fork is denied in the child",
        (Edit(THREAD, "under_way(asked.request, self._closed())", "self._closed()"),),
        FORK,
    ),
    Mutant(
        "SH11",
        "of what a peer may have done when it ends, all but a numbered command is denied",
        (Edit(ENDINGS, "isinstance(request, EFFECTS):", "isinstance(request, EFFECTS[:1]):"),),
        ("tests/runtime/test_thread.py", "tests/api/test_attachment.py"),
    ),
    Mutant(
        "SH10",
        "in a forked child the thread of bulk data never ends",
        (Edit(BULK, "        self.ended = Future()\n        self.ended.set_result(None)\n", ""),),
        (
            "tests/runtime/test_bulk.py::test_in_a_forked_child_the_thread_has_ended_and_its_transport_is_left_alone",
        ),
    ),
    Mutant(
        "SH1",
        "the rest of a turn happens, and is written, after the peer has failed within it",
        (
            Edit(
                LANE,
                "                        if self._is_halted:  # By whoever was told.\n"
                "                            return\n",
                "",
            ),
        ),
        LANE_TESTS,
    ),
    Mutant(
        "SH2",
        "a peer that has failed hears that its write is durable",
        (Edit(LANE, "            if not self._is_halted:\n", "            if True:\n"),),
        LANE_TESTS,
    ),
    Mutant(
        "SH3",
        "a peer without keys that listens on loopback greets the network",
        (
            Edit(
                SOCKETS,
                "self._may_listen_anywhere and not is_loopback(host)",
                "insecure or (keys is not None and not is_loopback(host))",
            ),
        ),
        (
            "tests/transport/test_zeromq.py::"
            "test_a_peer_without_keys_that_may_leave_its_machine_and_listens_on_loopback_stays_there",
        ),
    ),
    Mutant(
        "SH4",
        "an address that changes while mDNS is opened anew is never announced",
        (
            Edit(
                MDNS,
                "            await self._open()\n"
                "        except Exception:\n"
                "            self._is_away = True\n"
                "            raise\n"
                "        return False\n",
                "            await self._open()\n"
                "        except Exception:\n"
                "            self._is_away = True\n"
                "            raise\n"
                "        self._is_away = False\n"
                "        return False\n",
            ),
        ),
        (
            "tests/discovery/test_mdns.py::"
            "test_an_address_that_changes_while_everything_is_opened_anew_is_opened_too",
        ),
    ),
    Mutant(
        "SH5",
        "a text of a kept file that is no UTF-8 ends the start without its name",
        (Edit(FILES, "(msgspec.MsgspecError, ValueError, RecursionError)", "msgspec.DecodeError"),),
        ("tests/security/test_keyring.py",),
    ),
    Mutant(
        "SH6",
        "a join code whose version was read with an I is none",
        (
            Edit(CODES, ".upper().translate(LOOK_ALIKE)", ".upper()"),
            Edit(
                CODES,
                "digits.removeprefix(PREFIX)\n",
                "digits.removeprefix(PREFIX).translate(LOOK_ALIKE)\n",
            ),
        ),
        ("tests/security/test_codes.py",),
    ),
)
