"""Each refused system call with arguments that do no harm where nothing refuses it."""

import errno
import os
from dataclasses import dataclass

BAD = 1  # no address
ALL = -1
NOBODY = 0x3FFFFFFF  # no process, no user
SET_UID, SET_GID = 0o4755, 0o2755
CHARACTER_DEVICE, BLOCK_DEVICE = 0o20600, 0o60600


@dataclass(frozen=True)
class Case:
    name: str
    arguments: tuple[int, ...]
    answer: int = errno.EPERM

    def __str__(self) -> str:
        return f"{self.name}{self.arguments}"


REFUSED = [
    Case("mount", (BAD, BAD, BAD, 0, 0)), Case("umount2", (BAD, ALL)),
    Case("pivot_root", (BAD, BAD)), Case("chroot", (BAD,)), Case("swapon", (BAD, ALL)),
    Case("move_mount", (ALL, BAD, ALL, BAD, ALL)), Case("fsconfig", (ALL, ALL, BAD, BAD, 0)),
    Case("fsmount", (ALL, ALL, ALL)), Case("quotactl", (ALL, BAD, 0, BAD)),
    Case("quotactl_fd", (ALL, ALL, 0, BAD)), Case("swapoff", (BAD,)), Case("acct", (BAD,)),
    Case("unshare", (ALL,)), Case("setns", (ALL, ALL)), Case("ptrace", (ALL, NOBODY, 0, 0)),
    Case("process_vm_readv", (NOBODY, BAD, 0, BAD, 0, ALL)),
    Case("process_vm_writev", (NOBODY, BAD, 0, BAD, 0, ALL)),
    Case("kcmp", (NOBODY, NOBODY, ALL, 0, 0)), Case("pidfd_getfd", (ALL, ALL, ALL)),
    Case("bpf", (ALL, BAD, 0)), Case("perf_event_open", (BAD, 0, 0, 0, 0)),
    Case("userfaultfd", (ALL,)), Case("add_key", (BAD, BAD, BAD, 0, 0)),
    Case("request_key", (BAD, BAD, BAD, 0)), Case("keyctl", (ALL,)),
    Case("init_module", (BAD, 1, BAD)), Case("finit_module", (ALL, BAD, ALL)),
    Case("delete_module", (BAD, 0)), Case("kexec_load", (0, 1 << 20, BAD, ALL)),
    Case("kexec_file_load", (ALL, ALL, 0, 0, ALL)), Case("reboot", (0, 0, 0, 0)),
    Case("settimeofday", (BAD, 0)), Case("clock_settime", (0, BAD)),
    Case("clock_adjtime", (0, BAD)), Case("adjtimex", (BAD,)), Case("sethostname", (BAD, ALL)),
    Case("setdomainname", (BAD, ALL)), Case("syslog", (ALL, 0, 0)), Case("vhangup", ()),
    Case("lookup_dcookie", (0, BAD, 0)), Case("fanotify_init", (ALL, 0)), Case("iopl", (4,)),
    Case("ioperm", (ALL, ALL, 0)), Case("modify_ldt", (0, BAD, 8)), Case("uselib", (BAD,)),
    Case("lsm_set_self_attr", (ALL, BAD, 0, ALL)),
    Case("open_by_handle_at", (ALL, BAD, ALL)),
    Case("name_to_handle_at", (ALL, BAD, BAD, BAD, ALL)),
]  # fmt: skip
MISSING = [
    Case(name, arguments, errno.ENOSYS)
    for name, arguments in {
        "clone3": (BAD, 0), "openat2": (ALL, BAD, BAD, 0), "io_uring_setup": (0, BAD),
        "io_uring_enter": (ALL, 0, 0, ALL, 0, 0), "io_uring_register": (ALL, ALL, 0, 0),
        "statmount": (BAD, BAD, 0, ALL), "listmount": (BAD, BAD, 0, ALL),
        "open_tree": (ALL, BAD, ALL), "open_tree_attr": (ALL, BAD, ALL, BAD, 0),
        "fsopen": (BAD, ALL), "fspick": (ALL, BAD, ALL), "mount_setattr": (ALL, BAD, ALL, BAD, 0),
        "process_madvise": (ALL, BAD, 0, 0, ALL), "vmsplice": (ALL, BAD, 0, ALL),
        "memfd_secret": (ALL,), "io_setup": (0, 0),
    }.items()
]  # fmt: skip
BY_ARGUMENT = [
    # CLONE_THREAD alone is an error, so no child is made where the flag is not refused.
    *(Case("clone", (1 << bit | 0x10000, 0, 0, 0, 0)) for bit in (15, 17, *range(25, 31))),
    *(Case("personality", (odd,)) for odd in (0x0400000, 0x0040000)),
    *(Case("ioctl", (ALL, request, 0)) for request in (0x5412, 0x541C, 0x5423)),
    Case("socket", (16, 3, 12)), Case("socket", (2, 3, 1)), Case("socket", (10, 3 | 0o2000000, 58)),
    Case("socket", (2, 1, 132), errno.EPROTONOSUPPORT),
    Case("socket", (2, 1, 262), errno.EPROTONOSUPPORT),
    Case("socketpair", (30, 1, 0, BAD), errno.EAFNOSUPPORT),
    *(Case("mknod", (BAD, mode, 0)) for mode in (CHARACTER_DEVICE, BLOCK_DEVICE, SET_UID)),
    *(Case("mknodat", (ALL, BAD, mode, 0)) for mode in (CHARACTER_DEVICE, BLOCK_DEVICE, SET_GID)),
    *(Case(name, (BAD, mode)) for name in ("chmod", "creat") for mode in (SET_UID, SET_GID)),
    Case("fchmod", (ALL, SET_UID)), Case("fchmod", (ALL, SET_GID)),
    *(Case(name, (ALL, BAD, SET_UID, 0)) for name in ("fchmodat", "fchmodat2")),
    *(Case(name, (ALL, BAD, SET_GID, 0)) for name in ("fchmodat", "fchmodat2")),
    *(Case("open", (BAD, flags, SET_UID)) for flags in (os.O_CREAT, os.O_TMPFILE)),
    *(Case("openat", (ALL, BAD, flags, SET_GID)) for flags in (os.O_CREAT, os.O_TMPFILE)),
    Case("renameat2", (ALL, BAD, ALL, BAD, 4)), Case("move_pages", (NOBODY, 0, 0, 0, 0, ALL)),
    Case("migrate_pages", (NOBODY, 0, BAD, BAD)), Case("prlimit64", (NOBODY, 7, 0, 0)),
    Case("fcntl", (ALL, 1024, 1)), Case("fallocate", (ALL, 0x1, 0, 4096), errno.EOPNOTSUPP),
    Case("fallocate", (ALL, 0x11, 0, 4096), errno.EOPNOTSUPP),
]  # fmt: skip
# Where other processes can be named, and nothing else keeps signals from them.
AMONG_OTHERS = [
    *(Case(name, (NOBODY, 0)) for name in ("kill", "tkill")), Case("tgkill", (NOBODY, NOBODY, 0)),
    Case("rt_sigqueueinfo", (NOBODY, 9, BAD)), Case("rt_tgsigqueueinfo", (NOBODY, NOBODY, 9, BAD)),
    Case("pidfd_send_signal", (ALL, 0, 0, 0)),
    *(Case("fcntl", (ALL, command, NOBODY)) for command in (8, 10, 15)),
    *(Case("ioctl", (ALL, request, BAD)) for request in (0x8901, 0x8902)),
    Case("sched_setparam", (NOBODY, BAD)),
    Case("sched_setscheduler", (NOBODY, 0, BAD)), Case("sched_setaffinity", (NOBODY, 8, BAD)),
    Case("sched_setattr", (NOBODY, BAD, 0)), Case("setpriority", (0, NOBODY, 19)),
    Case("setpriority", (2, NOBODY, 19)), Case("ioprio_set", (1, NOBODY, 0)),
    Case("ioprio_set", (3, NOBODY, 0)),
    Case("socketpair", (1, 2, 0, BAD)), Case("socketpair", (1, 3, 0, BAD)),
]  # fmt: skip
ON_THE_HOST = [
    *(Case(name, (BAD, 0o644)) for name in ("chmod", "truncate", "utime", "utimes")),
    Case("fchmod", (ALL, 0o644)),
    *(Case(name, (ALL, BAD, 0o644, 0)) for name in ("fchmodat", "fchmodat2")),
    *(Case(name, (BAD, 0, 0)) for name in ("chown", "lchown")), Case("fchown", (ALL, 0, 0)),
    Case("fchownat", (ALL, BAD, 0, 0, 0)), Case("futimesat", (ALL, BAD, 0)),
    *(Case(name, (BAD, BAD, BAD, 0, 0)) for name in ("setxattr", "lsetxattr")),
    Case("fsetxattr", (ALL, BAD, BAD, 0, 0)), Case("setxattrat", (ALL, BAD, 0, BAD, BAD, 0)),
    *(Case(name, (BAD, BAD)) for name in ("removexattr", "lremovexattr")),
    Case("fremovexattr", (ALL, BAD)), Case("removexattrat", (ALL, BAD, ALL, BAD)),
    Case("utimensat", (ALL, BAD, BAD, ALL)), Case("file_setattr", (ALL, BAD, BAD, 0, ALL)),
    Case("inotify_init", ()), Case("inotify_init1", (ALL,)),
    *(Case("ioctl", (ALL, request, BAD)) for request in (0x40086602, 0x401C5820)),
    Case("shmget", (0, 0, 0)), *(Case(name, (ALL, BAD, ALL)) for name in ("shmat", "shmctl")),
    Case("msgget", (NOBODY, 0)), Case("msgsnd", (ALL, BAD, 0, 0)),
    Case("msgrcv", (ALL, BAD, 0, 0, 0)), Case("msgctl", (ALL, ALL, BAD)),
    Case("semget", (NOBODY, ALL, 0)), Case("semop", (ALL, BAD, 0)),
    Case("semtimedop", (ALL, BAD, 0, 0)), Case("semctl", (ALL, 0, ALL, 0)),
    Case("mq_open", (BAD, 0, 0, 0)), Case("mq_unlink", (BAD,)),
    Case("process_mrelease", (ALL, ALL)),
]  # fmt: skip
# A process without rights is told the same by the kernel, and so is one that asks for a protocol
# this kernel was built without: only marked answers show there that the filter gave them.
TOLD_ANYWAY = {
    "pivot_root", "move_mount", "fsmount", "swapoff", "acct", "reboot", "sethostname",
    "setdomainname", "syslog", "vhangup", "fanotify_init", "socket",
}  # fmt: skip
