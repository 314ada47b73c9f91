"""Bugs that let others in: local users, second daemons, bytes that were not expected."""

from tools.planted.base import Edit, Mutant

SOCKETS = "mabeam_p2p/api/sockets.py"
SERVER = "mabeam_p2p/daemon/server.py"
FOLDER = "mabeam_p2p/storage/folder.py"
ADDRESSES = "mabeam_p2p/addresses.py"
CLIENT = "mabeam_p2p/daemon/client.py"
TURNS = "mabeam_p2p/daemon/turns.py"
LAYOUT = "mabeam_p2p/storage/layout.py"
CBOR = "mabeam_p2p/wire/cbor.py"
LINKS = "mabeam_p2p/protocol/links.py"
LANE = "mabeam_p2p/runtime/lane.py"
CODEC = "mabeam_p2p/wire/codec.py"

DRIVER = "mabeam_p2p/runtime/driver.py"
INBOX = "mabeam_p2p/transport/inbox.py"
RECEPTION = "mabeam_p2p/transport/reception.py"
STRIKES = "mabeam_p2p/transport/strikes.py"
OPTIONS = "mabeam_p2p/transport/options.py"
THROTTLE = "mabeam_p2p/discovery/throttle.py"
MDNS = "mabeam_p2p/discovery/mdns.py"

FLOODS = ("tests/transport/test_inbox.py", "tests/hostile/test_through_a_peer.py")
RECEIVED = ("tests/transport/test_inbox.py", "tests/transport/test_reception.py")
MULTICAST = ("tests/discovery/test_throttle.py", "tests/discovery/test_mdns.py")
ROOM = ("tests/daemon/test_room.py",)
HEARD = ("tests/daemon/test_turns.py",)
ROWS = ("tests/storage/test_rows.py",)
LOCAL = ("tests/api/test_sockets.py", "tests/hostile/test_other_users.py")
STARTS = ("tests/hostile/test_starts.py",)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "T21-scope",
        "an address that libzmq does not take stops the peer that dials it",
        (Edit(ADDRESSES, "_SCOPE.fullmatch(scope) is not None", "bool(scope)"),),
        ("tests/test_addresses.py", "tests/transport/test_zeromq.py"),
    ),
    Mutant(
        "H1",
        "the local socket is open to others until its mode is set",
        (Edit(SOCKETS, "umask = os.umask(0o177)", "umask = os.umask(0)"),),
        LOCAL,
    ),
    Mutant(
        "H2",
        "of daemons with one name each takes the socket of the one before",
        (
            Edit(
                SOCKETS,
                "        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
                "        pass\n",
            ),
        ),
        ("tests/api/test_sockets.py", *STARTS),
    ),
    Mutant(
        "H2-late",
        "a daemon whose name was taken a moment ago has it, too, in another folder",
        (Edit(SOCKETS, "and error.errno == errno.EADDRINUSE:", "and not error.errno:"),),
        LOCAL,
    ),
    Mutant(
        "H3",
        "a daemon that has lost its name removes the socket of the next one",
        (
            Edit(
                SOCKETS,
                "        if self._lock >= 0:\n            self.path",
                "        if True:\n            self.path",
            ),
        ),
        LOCAL,
    ),
    Mutant(
        "H4",
        "a child of a daemon gives up its name",
        (
            Edit(
                SOCKETS,
                "        if lock >= 0:\n            os.close",
                "        if lock >= 0:\n            fcntl.flock(lock, fcntl.LOCK_UN)\n"
                "            os.close",
            ),
        ),
        LOCAL,
    ),
    Mutant(
        "H5",
        "a folder of another user is good enough for sockets",
        (Edit(SOCKETS, "    if facts.st_uid != os.getuid():", "    if False:"),),
        LOCAL,
    ),
    Mutant(
        "H6",
        "a symbolic link is good enough for sockets",
        (Edit(SOCKETS, "facts = folder.lstat()", "facts = folder.stat()"),),
        LOCAL,
    ),
    Mutant(
        "H7",
        "the daemon serves whoever gets at its socket",
        (Edit(SERVER, "if not is_own(user):", "if False:"),),
        ("tests/daemon/test_server.py", *LOCAL),
    ),
    Mutant(
        "H8",
        "a client talks to the daemon of another user",
        (Edit(SOCKETS, "    if not is_own(user):", "    if False:"),),
        LOCAL,
    ),
    Mutant(
        "H9",
        "the lock of a name follows a symbolic link",
        (
            Edit(
                SOCKETS,
                "os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW",
                "os.O_RDWR | os.O_CREAT | os.O_CLOEXEC",
            ),
        ),
        LOCAL,
    ),
    Mutant(
        "H10",
        "a data folder that others can write to is used",
        (Edit(FOLDER, "    elif mode & OTHERS_WRITE:", "    elif mode & stat.S_IWOTH:"),),
        LOCAL,
    ),
    Mutant(
        "H11",
        "a data folder of another user is used",
        (Edit(FOLDER, "    elif facts.st_uid != os.getuid():", "    elif False:"),),
        LOCAL,
    ),
    Mutant(
        "H12",
        "a data folder is reached by way of a symbolic link",
        (Edit(FOLDER, "    facts = os.lstat(path)", "    facts = os.stat(path)"),),
        LOCAL,
    ),
    Mutant(
        "H13",
        "two processes use one data folder",
        (
            Edit(
                FOLDER,
                "        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)\n",
                "        pass\n",
            ),
        ),
        ("tests/storage/test_sqlite.py", *STARTS),
    ),
    Mutant(
        "H14",
        "a message may hold maps, which cost most",
        (Edit(CBOR, "object_hook=_no_map if immutable else None,", "object_hook=None,"),),
        ("tests/wire/test_cbor.py",),
    ),
    Mutant(
        "H15",
        "one command of many may take the room of all of them",
        (Edit(CBOR, "        if count > item_count_max and", "        if False and"),),
        ("tests/wire/test_cbor.py",),
    ),
    Mutant(
        "H16",
        "a refusal repeats all that came in the log",
        (
            Edit(
                CBOR,
                'kind("cbor", detail[:DETAIL_LENGTH_MAX])',
                'kind("cbor", detail)',
            ),
        ),
        ("tests/wire/test_cbor.py",),
    ),
    Mutant(
        "H17",
        "a frame is sent that no peer reads",
        (
            Edit(
                CODEC,
                "return len(data) <= self._limits.frame_bytes_max and cbor.grows_little(data)",
                "return len(data) <= self._limits.frame_bytes_max",
            ),
        ),
        ("tests/wire/test_codec.py",),
    ),
    Mutant(
        "H18",
        "a frame that does not fit is sent whole",
        (Edit(LANE, "not self._codec.fits(data)", "False"),),
        ("tests/runtime/test_lane.py",),
    ),
    Mutant(
        "H19",
        "unfinished messages of many clients fill the memory",
        (Edit(CLIENT, "                        self._keep_room()\n", ""),),
        ROOM,
    ),
    Mutant(
        "H20",
        "answers that nobody reads fill the memory",
        (Edit(CLIENT, "        if may_refuse and is_large and", "        if False and"),),
        ROOM,
    ),
    Mutant(
        "H21",
        "a command that was done is answered as not done, for want of room",
        (Edit(CLIENT, "        if may_refuse and is_large and", "        if is_large and"),),
        ROOM,
    ),
    Mutant(
        "H22",
        "what a client leaves unread is held for ever",
        (Edit(CLIENT, "        self._outgoing.discard()\n", ""),),
        ROOM,
    ),
    Mutant(
        "H22-stopped",
        "who has stopped reading keeps large answers from all others, for ever",
        (Edit(CLIENT, "among=Client.is_unread", "among=lambda _: False"),),
        ROOM,
    ),
    Mutant(
        "H22-given",
        "who was given much at once is cut off before it can read it",
        (Edit(CLIENT, "among=Client.is_unread", "among=lambda _: True"),),
        ROOM,
    ),
    Mutant(
        "H22-taken",
        "who has read all that there was is said to have stopped",
        (Edit(CLIENT, "                    self.handed_at = math.inf\n", ""),),
        ROOM,
    ),
    Mutant(
        "H22-slow",
        "who reads one large message slowly is said to have stopped",
        (
            Edit(CLIENT, "for start in range(0, len(data), WRITE_BYTES):", "if data:"),
            Edit(CLIENT, "data[start : start + WRITE_BYTES]", "data"),
        ),
        ROOM,
    ),
    Mutant(
        "H23",
        "clients take the descriptors of everything else",
        (
            Edit(
                SERVER,
                "if len(self._clients) >= self.clients_max + CLIENTS_SPARE + CLIENTS_TOLD:",
                "if False:",
            ),
        ),
        ROOM,
    ),
    Mutant(
        "H23-spare",
        "agents take the last places, of those who would look why there are so many",
        (Edit(SERVER, "(0 if greet.name else CLIENTS_SPARE)", "CLIENTS_SPARE"),),
        ROOM,
    ),
    Mutant(
        "H23-log",
        "clients that are refused fill the log",
        (Edit(SERVER, "if now < self._refusal_told_at + REFUSAL_SECONDS:", "if False:"),),
        ROOM,
    ),
    Mutant(
        "H24",
        "a row of another shape breaks the start",
        (
            Edit(
                LAYOUT,
                "    except (msgspec.MsgspecError, ValueError, RecursionError) as error:",
                "    except KeyError as error:",
            ),
        ),
        ROWS,
    ),
    Mutant(
        "H25",
        "a record is taken for that of another name",
        (Edit(LAYOUT, "    if name_of(record) != name:", "    if False:"),),
        ROWS,
    ),
    Mutant(
        "H26",
        "a batch of nothing stands in the log",
        (Edit(LAYOUT, "    if not (index and count):", "    if False:"),),
        ROWS,
    ),
    Mutant(
        "H27",
        "many small parts of a message take any memory",
        (Edit(CBOR, "        if room < 0:", "        if False:"),),
        ("tests/wire/test_cbor.py",),
    ),
    Mutant(
        "H28",
        "a long message is weighed to its end, however long that takes",
        (Edit(CBOR, "while position < end and count <= ITEM_COUNT_MAX:", "while position < end:"),),
        ("tests/wire/test_cbor.py",),
    ),
    Mutant(
        "H29",
        "one party takes the turns of all others",
        (Edit(INBOX, "while queue and share > 0 and", "while queue and"),),
        FLOODS,
    ),
    Mutant(
        "H29-loop",
        "a client that says very much has the loop for itself",
        (Edit(TURNS, "                await asyncio.sleep(0)\n", ""),),
        HEARD,
    ),
    Mutant(
        "H29-each",
        "each of many clients has as much of a turn as one alone",
        (
            Edit(
                TURNS,
                "            if self._seconds >= self._seconds_max:\n"
                "                self._seconds = 0.0\n",
                "        if self._seconds >= self._seconds_max:\n"
                "            if True:\n"
                "                self._seconds = 0.0\n",
            ),
        ),
        HEARD,
    ),
    Mutant(
        "H29-nonsense",
        "nonsense takes no time",
        (
            Edit(
                TURNS,
                "            finally:\n",
                "            except TimeoutError:\n                raise\n            else:\n",
            ),
        ),
        HEARD,
    ),
    Mutant(
        "H29-reading",
        "whatever waits of a client is heard in one turn",
        (Edit(CLIENT, "self._reader.read(READ_BYTES)", "self._reader.read(262_144)"),),
        HEARD,
    ),
    Mutant(
        "H30",
        "what waits of one party fills the memory",
        (Edit(INBOX, "self._bytes.get(party, 0) >= WAITING_BYTES_MAX", "False"),),
        FLOODS,
    ),
    Mutant(
        "H30-time",
        "a party whose messages take long has the loop for itself",
        (Edit(INBOX, " and paid_at - now <= BURST_SECONDS", ""),),
        RECEIVED,
    ),
    Mutant(
        "H30-turn",
        "a party has a turn for as long as its messages take",
        (Edit(INBOX, " and now <= end", ""),),
        RECEIVED,
    ),
    Mutant(
        "H30-debt",
        "what a party has used of the loop is forgotten with the turn",
        (Edit(INBOX, "            self._paid_at[party] = paid_at\n", ""),),
        RECEIVED,
    ),
    Mutant(
        "H30-silent",
        "who was silent for long has the loop for as long",
        (Edit(INBOX, "max(paid_at, began) + (now", "paid_at + (now"),),
        RECEIVED,
    ),
    Mutant(
        "H30-wake",
        "each arrival has a turn of its own, and another one after that",
        (Edit(RECEPTION, "if not self._is_next:", "if True:"),),
        RECEIVED,
    ),
    Mutant(
        "H30-woken",
        "who rests is served when somebody speaks",
        (Edit(RECEPTION, "self._booked = self._loop.call_later(seconds, self._turn)", "pass"),),
        RECEIVED,
    ),
    Mutant(
        "H30-many",
        "each connection of a member has a share of its own",
        (Edit(RECEPTION, "inbox.put(party,", "inbox.put(connection,"),),
        RECEIVED,
    ),
    Mutant(
        "H30-long",
        "who has said one thing that took long is not heard for as long again",
        (
            Edit(
                INBOX,
                "                paid_at = min(paid_at, now + BURST_SECONDS + REST_SECONDS_MAX)\n",
                "",
            ),
        ),
        RECEIVED,
    ),
    Mutant(
        "H30-short",
        "short messages that wait fill the memory",
        (Edit(INBOX, "        size += MESSAGE_BYTES\n", ""),),
        RECEIVED,
    ),
    Mutant(
        "H30-nonsense",
        "nonsense that waits already is read for ever",
        (
            Edit(
                RECEPTION,
                "if self._strikes.is_out(connection, self._loop.time()):",
                "if False:",
            ),
        ),
        RECEIVED,
    ),
    Mutant(
        "H31",
        "nonsense is read for ever",
        (Edit(DRIVER, "            self._transport.blame()\n", ""),),
        FLOODS,
    ),
    Mutant(
        "H32",
        "a connection that once talked nonsense is never read again",
        (Edit(STRIKES, " and now < known[0]", ""),),
        FLOODS,
    ),
    Mutant(
        "H33",
        "short nonsense costs its sender nothing",
        (Edit(STRIKES, "count += max(size, MESSAGE_BYTES)", "count += size"),),
        FLOODS,
    ),
    Mutant(
        "H34",
        "frames of one connection that wait in the socket take 4 GB",
        (Edit(OPTIONS, "RECEIVED_MAX = 64", "RECEIVED_MAX = 1000"),),
        FLOODS,
    ),
    Mutant(
        "H34-ping",
        "links ping, which ends a process that has stood still in libzmq 4.3.5",
        (
            Edit(
                OPTIONS,
                "        Option(zmq.TCP_MAXRT, 2000,",
                '        Option(zmq.HEARTBEAT_IVL, 500, "ms"),\n'
                "        Option(zmq.TCP_MAXRT, 2000,",
            ),
        ),
        ("tests/transport/test_zeromq.py",),
    ),
    Mutant(
        "H35",
        "every multicast packet of a flood is read",
        (Edit(THROTTLE, "        if self._room < 1:", "        if False:"),),
        MULTICAST,
    ),
    Mutant(
        "H36",
        "nothing stands before the sockets of mDNS",
        (Edit(MDNS, "        await throttle.install(self._stack.zeroconf)\n", ""),),
        MULTICAST,
    ),
    Mutant(
        "H37",
        "a name that cannot be said again stops the questions of mDNS",
        (Edit(THROTTLE, "        if not self._is_sound(data):", "        if False:"),),
        (*MULTICAST, "tests/hostile/test_hints.py"),
    ),
    Mutant(
        "H38",
        "whoever takes a peer's own name can have it give up",
        (Edit(LINKS, 'if source == self._peer and refuse.reason != "identity":', "if False:"),),
        ("tests/protocol/test_links.py",),
    ),
)
