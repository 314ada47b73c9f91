"""Who works on what, and when: queues, leases, and what is taken from whom.

1. A queued task that is due seeks an agent at once: `placement` chooses among those that can do
   it. The agent works on it if it has a free slot and enough of what is required; else another
   that has room for it does; else it joins the chosen one's queue. If all queues are as long as
   they may be, or nobody can do it, it waits for any.
2. An agent with room takes the first by (priority, submission) of its own queue and of what waits
   for any. What does not fit holds back all else that needs the same capability, also what could
   be taken over: the large are not overtaken for ever by the small.
3. If there is none, it takes over: a task from the queue of the agent where waiting is longest,
   else one that a slow agent works on for too long. RENDEZVOUS is not taken from anybody.
4. A task is overdue if its attempt takes OVERDUE_FACTOR of the mean of its name and a second. It
   is taken by an agent of SLOW_FACTOR the pace, or by any once HUNG_FACTOR has passed: a few times
   at most, since an attempt is lost each time.
5. An agent that works and is silent for its lease loses all that it holds, and gets nothing until
   it is heard of.
"""

from bisect import insort
from collections.abc import Iterator
from heapq import nsmallest

from msgspec.structs import replace

from mabeam_p2p.config import Limits
from mabeam_p2p.events import MachineEvent, TaskChanged, TaskRevoked, WorkerChanged
from mabeam_p2p.ids import AgentId, TaskId
from mabeam_p2p.machine.core import DeadlineKind, Deadlines, Entry
from mabeam_p2p.machine.tasks.placement import choose
from mabeam_p2p.machine.tasks.table import Table, next_deadline, stripped
from mabeam_p2p.machine.tasks.workers import (
    Place,
    Requires,
    Worker,
    WorkerState,
    draw,
    needs,
    place_of,
    remove,
)
from mabeam_p2p.records import Strategy, Task, TaskStatus

CANDIDATES_MAX = 64
"""How many agents are compared for one task; of more, so many from a place that is drawn."""

LOOK_AHEAD = 32
"""How far a queue, or the overdue tasks, are searched for one that fits."""

VICTIMS_MAX = 4
"""Queues that are searched for a task to take over."""

OVERDUE_FACTOR = 2
HUNG_FACTOR = 100
SLOW_FACTOR = 2
OVERDUE_FLOOR = 1_000_000
"""Microseconds: what is short is not worth the loss of an attempt."""

FIRST_LOOK = 5_000_000
"""When it is looked at an attempt of which nobody knows how long it takes."""


class Schedule:
    """The agents that work, and the tasks among them."""

    def __init__(
        self, limits: Limits, deadlines: Deadlines, events: list[MachineEvent], table: Table
    ) -> None:
        self._limits = limits
        self._deadlines = deadlines
        self._events = events
        self._table = table
        self.workers: dict[AgentId, Worker] = {}
        """In order of their first offers."""
        self._by_name: dict[str, list[Worker]] = {}
        """Sorted by id."""
        self._waiting: dict[str, dict[Requires, list[Place]]] = {}
        """Tasks in nobody's queue, by name and what they require, sorted."""
        self._overdue: dict[TaskId, None] = {}
        self._watched: dict[TaskId, int] = {}
        """The open deadline of each task that has one."""
        self._hungry: dict[AgentId, None] = {}
        """Who may have room for more, to be fed before the command ends."""

    # ---- agents ----------------------------------------------------------------------------

    def offer(self, entry: Entry, worker: Worker, names: tuple[str, ...], slots: int) -> None:
        """What the agent can do from now on. What it can no longer do leaves its queue."""
        self.workers.setdefault(worker.agent, worker)
        self._unlist(worker)
        worker.names = dict.fromkeys(names)
        worker.slots = slots
        for name in worker.names:
            insort(self._by_name.setdefault(name, []), worker, key=_agent_of)
        for _, _, task_id in tuple(worker.queue):
            task = self._table.open[task_id]
            if not worker.covers(task.order.name, task.order.requires):
                worker.dequeue(task)
                self.place(entry, self._changed(replace(task, agent=AgentId(""))))
        self.hear(entry, worker)
        if worker.look_clock:
            # The lease may be another one.
            self._deadlines.remove(DeadlineKind.TASK, _deadline_of(worker))
            self._watch_worker(worker)
        worker.changed_index = entry.index
        self._hungry[worker.agent] = None
        self._events.append(WorkerChanged(worker.record()))

    def hear(self, entry: Entry, worker: Worker) -> None:
        """The agent has said something."""
        worker.heard_clock = entry.clock
        if worker.is_silent:
            worker.is_silent = False
            self._hungry[worker.agent] = None
            self._events.append(WorkerChanged(worker.record()))

    def depart(self, entry: Entry, worker: Worker) -> None:
        """The agent has gone: what it held is queued again."""
        del self.workers[worker.agent]
        self._unlist(worker)
        self._hungry.pop(worker.agent, None)
        if worker.look_clock:
            self._deadlines.remove(DeadlineKind.TASK, _deadline_of(worker))
        worker.names = {}
        worker.slots = 0
        self._events.append(WorkerChanged(worker.record()))
        self._lose_all(entry, worker)

    def look_at(self, entry: Entry, agent: AgentId) -> None:
        """The agent's deadline is past: has it been heard of?"""
        worker = self.workers[agent]
        self._deadlines.remove(DeadlineKind.TASK, _deadline_of(worker))
        worker.look_clock = 0
        if not worker.running:
            return
        if worker.heard_clock + worker.lease > entry.clock:
            self._watch_worker(worker)
            return
        worker.is_silent = True
        self._events.append(WorkerChanged(worker.record()))
        self._lose_all(entry, worker)

    def _lose_all(self, entry: Entry, worker: Worker) -> None:
        held = [self._table.open[task] for task in worker.running]
        for task in sorted(held, key=place_of):
            self.release(entry, task, "lost")
            lost = replace(task, losses=task.losses + 1)
            if lost.losses > self._limits.task_losses_max:
                self.end(entry, lost, TaskStatus.DEAD, "lost")
            else:
                self.queue(entry, lost)
        for _, _, task_id in tuple(worker.queue):
            task = self._table.open[task_id]
            worker.dequeue(task)
            self.place(entry, self._changed(replace(task, agent=AgentId(""))))

    def _unlist(self, worker: Worker) -> None:
        for name in worker.names:
            listed = self._by_name.get(name, [])
            if worker in listed:
                listed.remove(worker)
                if not listed:
                    del self._by_name[name]

    # ---- the way of a task -----------------------------------------------------------------

    def queue(self, entry: Entry, task: Task, due_clock: int = 0) -> None:
        """A task that nobody works on is queued: now, or once the clock has reached due_clock."""
        task = replace(
            task,
            status=TaskStatus.QUEUED,
            agent=AgentId(""),
            leased_clock=0,
            look_clock=0,
            is_overdue=False,
            due_clock=due_clock,
        )
        self._changed(task)
        if due_clock:
            self._tell(task)
        else:
            self.place(entry, task)

    def place(self, entry: Entry, task: Task) -> None:
        """A queued task that is due and in no queue gets an agent, a queue, or waits for any."""
        candidates = self._candidates(task)
        if not candidates:
            self._wait(task)
            self._tell(task)
            # Queues may be full of what is held back, and their agents have room for this.
            listed = self._by_name.get(task.order.name, ())[:CANDIDATES_MAX]
            able = [one for one in listed if one.has_slot and one.fits(task.order)]
            self._hungry.update(dict.fromkeys(one.agent for one in able))
            return
        worker = self._chosen(task, candidates)
        others = [] if _is_sticky(task) or not self._limits.task_steals_max else candidates
        able = [one for one in (worker, *others) if one.has_slot and one.fits(task.order)]
        idle = [one for one in able if not one.queue]
        if idle and not self._waiting:
            chosen = worker if idle[0] is worker else min(idle, key=_pace_of)
            self._lease(entry, chosen, task)
            return
        # What waits already may have to go first: rule 2.
        task = self._changed(replace(task, agent=worker.agent))
        worker.enqueue(task)
        self._tell(task)
        self._hungry.update(dict.fromkeys(one.agent for one in able))

    def release(self, entry: Entry, task: Task, reason: str) -> None:
        """A lease ends. What becomes of the task, the caller says."""
        worker = self.workers.get(task.agent)
        self._overdue.pop(task.id, None)
        if worker is not None:
            worker.drop(task)
            worker.changed_index = entry.index
            self._hungry[worker.agent] = None
        if reason:
            revoked = TaskRevoked(task.id, task.order.name, task.agent, task.token, reason)
            self._events.append(revoked)

    def withdraw(self, task: Task) -> None:
        """A queued task leaves the queue that it is in."""
        if task.agent:
            self.workers[task.agent].dequeue(task)
        elif not task.due_clock:
            classes = self._waiting[task.order.name]
            places = classes[task.order.requires]
            remove(places, place_of(task))
            if not places:
                del classes[task.order.requires]
            if not classes:
                del self._waiting[task.order.name]

    def end(self, entry: Entry, task: Task, status: TaskStatus, reason: str = "") -> None:
        """An open task that is in no queue and that nobody works on any more has come to this."""
        self._unwatch(task.id)
        ended = replace(
            task,
            status=status,
            look_clock=0,
            is_overdue=False,
            due_clock=0,
            finished_index=entry.index,
            finished_clock=entry.clock,
            reason=reason,
        )
        self._tell(self._table.finish(ended))

    def measure(self, entry: Entry, task: Task) -> None:
        """A task was done by its agent: learn from how long it took."""
        name = self._table.name_to_change(task.order.name)
        worker = self.workers[task.agent]
        worker.done += 1
        worker.paces.add(name.learn(entry.clock - task.leased_clock))

    def expire(self, entry: Entry, task_id: TaskId) -> None:
        """A queued task is due, or an attempt is looked at. Its ends are decided before."""
        task = self._table.open[task_id]
        if task.status is TaskStatus.QUEUED:
            self.place(entry, self._changed(replace(task, due_clock=0)))
            return
        task = self._changed(self._looked_at(entry, task))
        # It may be overdue no more: its name has been found to take longer meanwhile.
        self._overdue.pop(task.id, None)
        if task.is_overdue:
            self._overdue[task.id] = None
            thieves = [
                worker
                for worker in self._by_name.get(task.order.name, ())[:CANDIDATES_MAX]
                if not worker.queue and self._may_take(entry, worker, task)
            ]
            if thieves:
                self._take_over(entry, min(thieves, key=_pace_of), task)

    def feed(self, entry: Entry) -> None:
        """Let everybody with room work. Every command ends with this."""
        while self._hungry:
            agent = next(iter(self._hungry))
            del self._hungry[agent]
            worker = self.workers[agent]
            while worker.has_slot:
                blocked: dict[str, None] = {}
                task = self._next_of(worker, blocked)
                if task is not None:
                    self.withdraw(task)
                    self._lease(entry, worker, task)
                    continue
                task = self._next_of_others(entry, worker, blocked)
                if task is None:
                    break
                self._take_over(entry, worker, task)

    # ---- choosing --------------------------------------------------------------------------

    def can_be_done(self, task: Task) -> bool:
        """Whether some agent, heard of or not, offers the task and has what it requires."""
        order = task.order
        listed = self._by_name.get(order.name, ())
        return any(worker.covers(order.name, order.requires) for worker in listed)

    def _candidates(self, task: Task) -> list[Worker]:
        """Who can do it and has room in its queue, sorted by id."""
        order, listed = task.order, self._by_name.get(task.order.name, [])
        turned = listed
        if not _needs_all(task) and len(listed) > CANDIDATES_MAX:
            start = draw(task.id) % len(listed)
            turned = listed[start:] + listed[:start]
        longest = self._limits.open_tasks_max if _is_sticky(task) else self._limits.task_backlog_max
        found: list[Worker] = []
        for worker in turned:
            if (
                not worker.is_silent
                and len(worker.queue) < longest
                and worker.covers(order.name, order.requires)
            ):
                found.append(worker)
                if turned is not listed and len(found) == CANDIDATES_MAX:
                    break
        if turned is not listed:
            found.sort(key=_agent_of)
        return found

    def _chosen(self, task: Task, candidates: list[Worker]) -> Worker:
        order = task.order
        last = self._table.name(order.name).last_agent
        worker = choose(order, candidates, last, draw(task.id), order.key or task.id)
        if order.strategy is Strategy.ROUND_ROBIN:
            self._table.name_to_change(order.name).last_agent = worker.agent
        return worker

    def _next_of(self, worker: Worker, blocked: dict[str, None]) -> Task | None:
        """Of its own queue and of what waits for any: the first that it has room for. If there is
        none, `blocked` holds the capabilities that are kept for those before."""
        for _, _, task_id in sorted(self._places_for(worker)):
            task = self._table.open[task_id]
            requires = task.order.requires
            lacking = worker.lacks(requires)
            if not lacking and not needs(requires, blocked):
                return task
            blocked.update(dict.fromkeys(lacking))
        return None

    def _places_for(self, worker: Worker) -> Iterator[Place]:
        yield from worker.queue[:LOOK_AHEAD]
        for name in worker.names:
            for requires, places in self._waiting.get(name, {}).items():
                if worker.covers(name, requires):
                    yield places[0]

    def _next_of_others(self, entry: Entry, thief: Worker, blocked: dict[str, None]) -> Task | None:
        """What a worker with room, and nothing of its own that fits, takes over."""
        if not self._limits.task_steals_max:
            return None
        others = (one for one in self.workers.values() if one.queue and one is not thief)
        for victim in nsmallest(VICTIMS_MAX, others, key=lambda one: (-one.wait, one.agent)):
            for _, _, task_id in victim.queue[:LOOK_AHEAD]:
                task = self._table.open[task_id]
                is_free = not _is_sticky(task) and not needs(task.order.requires, blocked)
                if is_free and thief.fits(task.order):
                    return task
        overdue = (self._table.open[task_id] for task_id in self._overdue)
        for task in nsmallest(LOOK_AHEAD, overdue, key=lambda one: (one.leased_clock, one.id)):
            is_free = not needs(task.order.requires, blocked)
            if is_free and self._may_take(entry, thief, task):
                return task
        return None

    def _may_take(self, entry: Entry, thief: Worker, task: Task) -> bool:
        """Rule 4."""
        victim = self.workers[task.agent]
        elapsed = entry.clock - task.leased_clock
        is_hung = elapsed >= HUNG_FACTOR * self._table.name(task.order.name).mean + OVERDUE_FLOOR
        return (
            victim is not thief
            and (is_hung or victim.pace >= SLOW_FACTOR * thief.pace)
            and task.steals < self._limits.task_steals_max
            and not _is_sticky(task)
            and thief.has_slot
            and thief.fits(task.order)
        )

    def _take_over(self, entry: Entry, thief: Worker, task: Task) -> None:
        if task.status is TaskStatus.LEASED:
            self.release(entry, task, "stolen")
            task = replace(task, steals=task.steals + 1)
        else:
            self.withdraw(task)
        self._lease(entry, thief, task)

    # ---- transitions -----------------------------------------------------------------------

    def _lease(self, entry: Entry, worker: Worker, task: Task) -> None:
        mean = self._table.name(task.order.name).mean
        first_look = OVERDUE_FACTOR * mean + OVERDUE_FLOOR if mean else FIRST_LOOK
        leased = replace(
            task,
            status=TaskStatus.LEASED,
            agent=worker.agent,
            # Several deadlines may pass at one index.
            token=max(entry.index, task.token + 1),
            leased_clock=entry.clock,
            look_clock=0 if _is_sticky(task) else entry.clock + first_look,
            is_overdue=False,
            due_clock=0,
        )
        if not worker.running:
            worker.heard_clock = entry.clock
        worker.take(leased)
        worker.changed_index = entry.index
        if not worker.look_clock:
            self._watch_worker(worker)
        self._changed(leased)
        self._tell(leased)

    def _looked_at(self, entry: Entry, task: Task) -> Task:
        """An attempt that was looked at: is it overdue, and when is the next look?"""
        mean = self._table.name(task.order.name).mean
        elapsed = entry.clock - task.leased_clock
        if not mean:
            return replace(task, look_clock=entry.clock + max(elapsed, FIRST_LOOK))
        is_overdue = elapsed >= OVERDUE_FACTOR * mean + OVERDUE_FLOOR
        factor = HUNG_FACTOR if is_overdue else OVERDUE_FACTOR
        next_look = factor * mean + OVERDUE_FLOOR
        look_clock = task.leased_clock + next_look if elapsed < next_look else 0
        return replace(task, look_clock=look_clock, is_overdue=is_overdue)

    def _wait(self, task: Task) -> None:
        order = task.order
        classes = self._waiting.setdefault(order.name, {})
        insort(classes.setdefault(order.requires, []), place_of(task))

    def _changed(self, task: Task) -> Task:
        """Keep an open task as it now is, with its deadline."""
        self._table.open[task.id] = task
        due = next_deadline(task)
        if due != self._watched.get(task.id, 0):
            self._unwatch(task.id)
            if due:
                self._watched[task.id] = due
                self._deadlines.add(DeadlineKind.TASK, f"task {task.id}", due)
        return task

    def _unwatch(self, task_id: TaskId) -> None:
        if self._watched.pop(task_id, 0):
            self._deadlines.remove(DeadlineKind.TASK, f"task {task_id}")

    def _watch_worker(self, worker: Worker) -> None:
        worker.look_clock = worker.heard_clock + worker.lease
        self._deadlines.add(DeadlineKind.TASK, _deadline_of(worker), worker.look_clock)

    def _tell(self, task: Task) -> None:
        self._events.append(TaskChanged(stripped(task)))

    # ---- snapshots -------------------------------------------------------------------------

    def state(self) -> tuple[WorkerState, ...]:
        return tuple(worker.state() for worker in self.workers.values())

    def load(self, state: tuple[WorkerState, ...]) -> None:
        """The table has been loaded before."""
        self.workers = {stored.agent: Worker.of(stored) for stored in state}
        self._by_name, self._waiting = {}, {}
        self._overdue, self._watched, self._hungry = {}, {}, {}
        for worker in self.workers.values():
            for name in worker.names:
                insort(self._by_name.setdefault(name, []), worker, key=_agent_of)
            if worker.look_clock:
                self._deadlines.add(DeadlineKind.TASK, _deadline_of(worker), worker.look_clock)
        for task in self._table.open.values():
            self._changed(task)
            if task.status is TaskStatus.LEASED:
                self.workers[task.agent].take(task)
                if task.is_overdue:
                    self._overdue[task.id] = None
            elif task.agent:
                self.workers[task.agent].enqueue(task)
            elif not task.due_clock:
                self._wait(task)


def _is_sticky(task: Task) -> bool:
    """Whether it belongs to the agent that was chosen."""
    return task.order.strategy is Strategy.RENDEZVOUS


def _needs_all(task: Task) -> bool:
    """Whether the strategy means something among all agents alone."""
    return task.order.strategy in (Strategy.RENDEZVOUS, Strategy.ROUND_ROBIN)


def _agent_of(worker: Worker) -> AgentId:
    return worker.agent


def _pace_of(worker: Worker) -> int:
    return worker.pace


def _deadline_of(worker: Worker) -> str:
    return f"agent {worker.agent}"
