"""Where the agents of this peer ask: each request goes to the core that answers it."""

from typing import assert_never

from mabeam_p2p.config import Timing
from mabeam_p2p.inquiries import EvidenceAnswer, Figures, ReadEvidence, ReadFigures
from mabeam_p2p.key_requests import Introduced
from mabeam_p2p.machine.subjects import subject_of
from mabeam_p2p.machine.versions import is_known
from mabeam_p2p.protocol.core import Outbox
from mabeam_p2p.protocol.links import Links
from mabeam_p2p.protocol.mail import Mail
from mabeam_p2p.protocol.membership import Membership
from mabeam_p2p.protocol.node.application import Application
from mabeam_p2p.protocol.node.changes import VoterChanges
from mabeam_p2p.protocol.node.credentials import Keys
from mabeam_p2p.protocol.node.evidence import Witness
from mabeam_p2p.protocol.node.figures import Gauges
from mabeam_p2p.protocol.node.fitness import Fitness
from mabeam_p2p.protocol.node.handover import Handover
from mabeam_p2p.protocol.node.report import Report
from mabeam_p2p.protocol.pending import Pending
from mabeam_p2p.protocol.variables import Variables
from mabeam_p2p.protocol.waits import Waits
from mabeam_p2p.requests import (
    AgentQuery,
    Await,
    ChangeVoters,
    Done,
    Members,
    NodeRequest,
    Read,
    ReadMembers,
    ReadStatus,
    ReadVariables,
    Refused,
    SendMail,
    SetFitness,
    SetVariables,
    StatusAnswer,
    Submit,
    Suggest,
    TakeMail,
    TransferLeadership,
)
from mabeam_p2p.requests import Variables as VariablesAnswer


class Desk:
    """Every request but Leave, which is the node's own."""

    def __init__(
        self,
        timing: Timing,
        *,
        links: Links,
        membership: Membership,
        pending: Pending,
        waits: Waits,
        variables: Variables,
        mail: Mail,
        changes: VoterChanges,
        application: Application,
        report: Report,
        handover: Handover,
        fitness: Fitness,
        keys: Keys,
        outbox: Outbox,
    ) -> None:
        self._timing = timing
        self._links = links
        self._membership = membership
        self._pending = pending
        self._waits = waits
        self._variables = variables
        self._mail = mail
        self._changes = changes
        self._application = application
        self._report = report
        self._handover = handover
        self._fitness = fitness
        self._keys = keys
        self._outbox = outbox
        self._witness = Witness(
            links=links,
            membership=membership,
            replication=report.replication,
            machine=report.machine,
            variables=variables,
            handover=handover,
            fitness=fitness,
            unready=report.unready,
        )
        self._gauges = Gauges(
            links=links,
            membership=membership,
            pending=pending,
            waits=waits,
            variables=variables,
            mail=mail,
            report=report,
        )

    def request(self, token: int, request: NodeRequest, now: float) -> None:
        outbox = self._outbox
        match request:
            case Submit(command=command, timeout=timeout):
                version = self._report.machine.version
                if is_known(command, version):
                    self._pending.submit(token, command, self._deadline(timeout, now))
                else:
                    text = f"the log is of machine version {version}, which has no such command"
                    outbox.resolve(token, Refused("earlier_version", text))
            case Read(query=query, linearizable=linearizable):
                if linearizable:
                    self._waits.read(token, request, self._deadline(request.timeout, now))
                else:
                    outbox.resolve(token, self._application.find(query, False, now))
            case Await():
                self._wait(token, request, now)
            case SetVariables():
                self._variables.write(token, request, now)
            case ReadVariables():
                answer = VariablesAnswer(self._variables.read(request.name))
                outbox.resolve(token, answer, self._variables.written)
            case ReadStatus():
                outbox.resolve(token, StatusAnswer(self._report.status(now)))
            case ReadMembers():
                agents = self._application.find(AgentQuery(), False, now).agents
                outbox.resolve(token, Members(self._membership.view(), agents))
            case SendMail():
                self._mail.send(token, request, now)
            case TakeMail():
                self._mail.take(token, request)
            case ChangeVoters(timeout=timeout):
                self._changes.request(token, request, self._deadline(timeout, now), now)
            case TransferLeadership():
                self._handover.request(token, request, now)
            case SetFitness():
                self._fitness.set(request)
                outbox.resolve(token, Done())
            case ReadEvidence(peer=peer):
                outbox.resolve(token, EvidenceAnswer(self._witness.evidence(peer, now)))
            case ReadFigures():
                outbox.resolve(token, Figures(self._gauges.figures(now)))
            case Introduced():
                self._keys.introduced(request.peer, request.key)
                outbox.resolve(token, Done())
            case Suggest():
                for address in request.addresses:
                    self._links.suggest(address, now)
                outbox.resolve(token, Done())
            case _:
                assert_never(request)

    def cancel(self, token: int) -> None:
        self._pending.cancel(token)
        self._waits.cancel(token)
        self._variables.cancel(token)
        self._mail.cancel(token)
        self._changes.cancel(token)
        self._handover.cancel(token)

    def _wait(self, token: int, request: Await, now: float) -> None:
        subject = subject_of(request.query)
        if subject is None:
            refusal = Refused("invalid", f"{type(request.query).__name__} cannot be waited for")
            self._outbox.resolve(token, refusal)
        else:
            self._waits.wait(token, request.query, subject, self._deadline(request.timeout, now))

    def _deadline(self, timeout: float | None, now: float) -> float:
        return now + (self._timing.request_timeout_seconds if timeout is None else timeout)
