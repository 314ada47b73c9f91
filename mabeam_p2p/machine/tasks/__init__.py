"""Tasks: work that agents offer to do, each with one accepted result.

Rules
1. A task is queued, leased to an agent, and done, dead or cancelled in the end. What has ended does
   not change, but a dead task may be asked for anew.
2. Who works on it holds a lease, whose token grows with each grant: its log index. A result or a
   failure counts if it comes from that agent with that token while the lease stands; any other is
   refused as `stale_token`. So each task has one accepted result, however often it was begun.
3. A lease ends with a result, a failure, the end of its agent's session, its agent's silence, the
   attempt's timeout, a cancellation, or a faster agent that takes the task over. At that index the
   task is queued again, after a failure not before a pause, or given up.
4. An agent gets no lease beyond its slots, nor beyond what it has of a capability. Who lowers its
   slots keeps the leases that it has.
5. Which agent gets a task is a function of the log alone: `placement` says which, `schedule` when.
"""

from mabeam_p2p.machine.tasks.tasks import Tasks, TasksState

__all__ = ["Tasks", "TasksState"]
