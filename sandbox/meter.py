"""Holds one tree of processes to the limits that neither an rlimit nor the kernel holds whole.

May touch: what limits.py and cgroup.py may. Where the command has a control group, the kernel
bounds memory and processes and is only asked; else the tree is walked. Processor time always is.
"""

from sandbox.action import Limits
from sandbox.cgroup import Group
from sandbox.limits import Limit, cpu_s, memory, resident, tasks, tree

SAMPLE_S = 0.02  # a fork bomb doubles many times in a tenth of a second
SLOWLY = 5  # samples between two looks at what is dear to look at


class Meter:
    """Samples one tree; call `sample` every SAMPLE_S until it names the limit that was met."""

    def __init__(
        self, root_pid: int, limits: Limits, cgroups: tuple[str, ...], own_processes: int
    ) -> None:
        self._root_pid, self._limits, self._cgroups = root_pid, limits, cgroups
        self._group: Group | None = None
        self._is_inside = self._bounds_memory = False
        self._most_processes = limits.processes + own_processes
        self._samples = 0
        self.peak_memory_bytes = 0

    def sample(self) -> Limit | None:
        """Return the limit that the tree exceeds now; the caller kills it then."""
        self._samples += 1
        is_thorough = self._samples % SLOWLY == 0
        pids = tree(self._root_pid, self._most_processes + 1)
        # Counted in any case: what was born before the move may still be outside the group.
        if tasks(pids) > self._most_processes:
            return "processes"
        if not self._is_inside and self._cgroups:
            self._enter_group()
        if is_thorough and cpu_s(pids) > self._limits.cpu_s:
            return "cpu"
        return "memory" if self._is_out_of_memory(pids, is_thorough=is_thorough) else None

    def stop_births(self) -> None:
        """Let no process be born any more, where a group can hold that; before the tree's end."""
        if self._group is not None:
            self._group.stop_births()

    def ended(self) -> Limit | None:
        """Return the limit for which the kernel ended the tree, between two samples."""
        is_bound = self._group is not None and self._group.was_out_of_memory()
        return "memory" if is_bound else None

    def close(self) -> None:
        """End what is left in the control group, and remove it; the tree itself has ended."""
        if self._group is not None:
            self._group.kill()
            self._group.close()

    def _enter_group(self) -> None:
        """Hand the tree to the kernel's bounds, a part of it at each sample if it is large already.

        Where that fails, sampling goes on alone.

        Not before the first sample: a move stops every fork on the host for one grace period of
        RCU, which is longer than most commands run.
        """
        try:
            if self._group is None:
                self._group = Group.make(self._cgroups)
                self._group.bound(self._limits.memory_bytes, self._most_processes)
                self._bounds_memory = "memory" in self._group.bounds
            self._is_inside = self._group.enter(self._root_pid)
        except OSError:
            self._is_inside, self._bounds_memory = True, False

    def _is_out_of_memory(self, pids: list[int], *, is_thorough: bool) -> bool:
        most = self._limits.memory_bytes
        if self._group is not None and self._bounds_memory:
            is_out = self._group.was_out_of_memory()
            held = most if is_out else self._group.held_bytes() if is_thorough else 0
            # What was held before the tree entered is charged to nobody in the group.
            is_large = is_thorough and not is_out and resident(pids) > most
            held = max(held, memory(pids)) if is_large else held
            self.peak_memory_bytes = max(self.peak_memory_bytes, held)
            return is_out or (is_large and held > most)
        if not is_thorough and resident(pids) <= most:
            return False
        held = memory(pids)
        self.peak_memory_bytes = max(self.peak_memory_bytes, held)
        return held > most
