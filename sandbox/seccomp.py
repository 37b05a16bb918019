"""System calls a sandboxed command may not make, as a classic BPF program.

Pure: names to bytes. The stage inside the sandbox installs the bytes; the filter only ever
refuses, so it cannot widen what the namespaces and Landlock allow. Calls newer than these tables
look missing: nobody has judged them yet, and every caller of a new call has an older way.
Source: seccomp(2); numbers from the kernel's syscall tables.
"""

import errno
from dataclasses import dataclass
from functools import cache
from typing import Final

from sandbox.bpf import ALLOW, ERRNO, Answer, assemble, bits, one_of

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
NEWEST = 469  # file_setattr, Linux 6.17; new calls have one number on every architecture
MODERN = 424  # from here on a program expects that a call may be missing

_Table = dict[str, tuple[int | None, int | None]]
# name: number on x86_64, number on aarch64 (None: the architecture lacks the call)
_REFUSED: Final[_Table] = {
    # mounts and roots
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "move_mount": (429, 429), "fsconfig": (431, 431), "fsmount": (432, 432), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89),
    # namespaces
    "unshare": (272, 97), "setns": (308, 268),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438),
    # the kernel's state
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "syslog": (103, 116), "vhangup": (153, 58), "lookup_dcookie": (212, 18),
    "fanotify_init": (300, 262), "iopl": (172, None), "ioperm": (173, None),
    "modify_ldt": (154, None), "uselib": (134, None), "lsm_set_self_attr": (460, 460),
    # names the path checks cannot see
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
}  # fmt: skip
# Refused as if missing: their arguments lie behind a pointer, or callers have an older way.
_MISSING: Final[_Table] = {
    "clone3": (435, 435), "openat2": (437, 437), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "statmount": (457, 457),
    "listmount": (458, 458), "open_tree": (428, 428), "open_tree_attr": (467, 467),
    "fsopen": (430, 430), "fspick": (433, 433), "mount_setattr": (442, 442),
    "process_madvise": (440, 440), "vmsplice": (278, 75), "memfd_secret": (447, 447),
    "io_setup": (206, 0),  # contexts are counted once for the whole host
}  # fmt: skip
_BY_ARGUMENT: Final[_Table] = {
    "clone": (56, 220), "personality": (135, 92), "ioctl": (16, 29), "fcntl": (72, 25),
    "socket": (41, 198), "socketpair": (53, 199), "chmod": (90, None), "fchmod": (91, 52),
    "fchmodat": (268, 53), "fchmodat2": (452, 452), "creat": (85, None), "mknod": (133, None),
    "mknodat": (259, 33), "open": (2, None), "openat": (257, 56), "renameat2": (316, 276),
    "move_pages": (279, 239), "migrate_pages": (256, 238), "prlimit64": (302, 261),
    "fallocate": (285, 47),
}  # fmt: skip
_SIGNALS: Final[_Table] = {
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424),
}  # fmt: skip
# What a process may set for another one of its user; its number comes first.
_FOR_OTHERS: Final[_Table] = {
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119),
    "sched_setaffinity": (203, 122), "sched_setattr": (314, 274),
    # its kind first, then its number
    "setpriority": (141, 140), "ioprio_set": (251, 30),
}  # fmt: skip
# What a file says of itself; Landlock does not see these calls.
_METADATA: Final[_Table] = {
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "removexattrat": (466, 466), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "truncate": (76, 45),
    "file_setattr": (469, 469),
}  # fmt: skip
# Nor these, which namespaces keep apart: names in directories, messages, memory.
_OF_THE_HOST: Final[_Table] = {
    "inotify_init": (253, None), "inotify_init1": (294, 26), "shmget": (29, 194),
    "shmat": (30, 196), "shmctl": (31, 195), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "semget": (64, 190), "semop": (65, 193),
    "semtimedop": (220, 192), "semctl": (66, 191), "mq_open": (240, 180), "mq_unlink": (241, 181),
    "process_mrelease": (448, 448),
}  # fmt: skip
# What programs that only look need besides.
_LOOKING: Final[_Table] = {
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "stat": (4, None), "fstat": (5, 80),
    "lstat": (6, None), "poll": (7, None), "lseek": (8, 62), "mprotect": (10, 226),
    "munmap": (11, 215), "brk": (12, 214), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66),
    "access": (21, None), "pipe": (22, None), "select": (23, None), "mremap": (25, 216),
    "madvise": (28, 233), "dup": (32, 23), "dup2": (33, None), "nanosleep": (35, 101),
    "alarm": (37, None), "setitimer": (38, 103), "getpid": (39, 172), "recvfrom": (45, 207),
    "sendmsg": (46, 211), "recvmsg": (47, 212), "getsockname": (51, 204),
    "setsockopt": (54, 208), "getsockopt": (55, 209), "fork": (57, None), "vfork": (58, None),
    "exit": (60, 93), "wait4": (61, 260), "uname": (63, 160), "getdents": (78, None),
    "getcwd": (79, 17), "chdir": (80, 49), "fchdir": (81, 50), "readlink": (89, None),
    "umask": (95, 166), "getrlimit": (97, 163), "sysinfo": (99, 179), "times": (100, 153),
    "getuid": (102, 174), "getgid": (104, 176), "geteuid": (107, 175), "getegid": (108, 177),
    "getppid": (110, 173), "getpgrp": (111, None), "getgroups": (115, 158), "capget": (125, 90),
    "sigaltstack": (131, 132), "statfs": (137, 43), "fstatfs": (138, 44), "prctl": (157, 167),
    "arch_prctl": (158, None), "gettid": (186, 178), "futex": (202, 98), "getdents64": (217, 61),
    "set_tid_address": (218, 96), "restart_syscall": (219, 128), "fadvise64": (221, 223),
    "clock_gettime": (228, 113), "clock_nanosleep": (230, 115), "exit_group": (231, 94),
    "newfstatat": (262, 79), "readlinkat": (267, 78), "faccessat": (269, 48), "pselect6": (270, 72),
    "ppoll": (271, 73), "set_robust_list": (273, 99), "dup3": (292, 24), "pipe2": (293, 59),
    "getrandom": (318, 278), "execveat": (322, 281), "statx": (332, 291), "rseq": (334, 293),
    "close_range": (436, 436), "faccessat2": (439, 439), "mseal": (462, 462),
}  # fmt: skip
_LOOKING_BY_ARGUMENT: Final[_Table] = {
    "bind": (49, 200), "connect": (42, 203), "sendto": (44, 206), "mmap": (9, 222),
}  # fmt: skip
_NUMBERS: Final[_Table] = (
    _REFUSED | _MISSING | _BY_ARGUMENT | _SIGNALS | _FOR_OTHERS | _METADATA | _OF_THE_HOST
    | _LOOKING | _LOOKING_BY_ARGUMENT
)  # fmt: skip

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
NETLINK_ROUTE, NETLINK_SOCK_DIAG = 0, 4
NETLINK_ADDRESS_BYTES = 12  # an internet address takes at least 16
SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_TYPE_MASK = 1, 2, 5, 0xF
EVERYDAY_PROTOCOLS = (0, 1, 6, 17, 58)  # ICMP, TCP, UDP, ICMPv6: no module is loaded for them
NEW_NAMESPACE_FLAGS = 0x7E020000
CLONE_PARENT = 0x8000  # the child would be a child of the stage
# TIOCSTI, TIOCLINUX, TIOCSETD
TERMINAL_INJECTION: Final[tuple[int, ...]] = (0x5412, 0x541C, 0x5423)
TERMINAL_QUESTIONS = (0x5401, 0x5413)  # TCGETS, TIOCGWINSZ
IOCTL_OWNER = (0x8901, 0x8902)  # FIOSETOWN, SIOCSPGRP: who gets a descriptor's signals
IOCTL_ATTRIBUTES = (0x40086602, 0x401C5820)  # FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR
FCNTL_OWNER = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX
FCNTL_LEASE: Final[tuple[int, ...]] = (1024,)  # F_SETLEASE: who opens the file waits, on the host
KEEP_SIZE, PUNCH_HOLE = 1, 2  # blocks beyond a file's end count for no limit of its size
FCNTL_EVERYDAY = (0, 1, 2, 3, 4, 1030)  # F_DUPFD … F_SETFL, F_DUPFD_CLOEXEC
PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)  # 32 bits, an old version, "which is it?"
PRIO_PROCESS, IOPRIO_WHO_PROCESS = 0, 1
_CHANGES_MODE = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}  # where the mode is
SET_ID, DEVICE = 0o6000, 0o020000  # S_IFCHR and S_IFBLK hold this bit, files and FIFOs do not
RENAME_WHITEOUT = 4  # leaves a device where the file was, which Landlock does not see
CREATES = 0o20000100  # O_CREAT | __O_TMPFILE: only then the mode argument means anything
NOT_FOR_READING = 0o20003101  # __O_TMPFILE O_APPEND O_TRUNC O_CREAT O_WRONLY
O_RDWR, O_LARGEFILE = 2, 0o100000
MAP_SHARED = 1

_EPERM, _ENOSYS, _EROFS = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS, ERRNO | errno.EROFS
_NO_FAMILY, _NO_PROTOCOL = ERRNO | errno.EAFNOSUPPORT, ERRNO | errno.EPROTONOSUPPORT
_OTHERS: Final[dict[int, Answer]] = {0: ALLOW, NEWEST + 1: _ENOSYS}  # x32's numbers too
_NOT_LOOKING: Final[dict[int, Answer]] = {0: _EROFS, MODERN: _ENOSYS}


@dataclass(frozen=True, slots=True)
class Calls:
    """What one profile may ask of the kernel, beyond what nobody may."""

    families: tuple[int, ...]  # for socket(2); a connected pair of AF_UNIX is always allowed
    netlink: tuple[int, ...]
    may_signal: bool = True
    sees_others: bool = False  # its pid namespace is the host's; it changes nothing at all
    shares_host: bool = False  # it has no namespace at all


@cache
def build(calls: Calls, machine: str) -> bytes:
    """Return the filter program for one architecture, 8 bytes per instruction.

    Raises:
        KeyError: the architecture has no table here.
    """
    return _program(machine, _for_everyone() | _for_profile(calls), _OTHERS)


@cache
def extra(calls: Calls, machine: str) -> bytes:
    """Return what `build(calls, machine)` refuses beyond the part that is the same for all.

    Stacked on `build` of the widest calls it leaves `calls`, since the strictest answer wins; it
    cannot give back what the wide one refuses. Empty when there is nothing to take away.
    """
    wide = _for_profile(Calls((AF_UNIX, AF_INET, AF_INET6), (NETLINK_ROUTE,)))
    less = {name: each for name, each in _for_profile(calls).items() if each != wide.get(name)}
    return _program(machine, less, {0: ALLOW}) if less else b""


def looking_only(machine: str) -> bytes:
    """Return the filter for `ss`, `lsof`, `df` … where no namespace or Landlock holds them.

    An allow-list, for it is their only layer. Other calls answer EROFS, or EPERM where another
    process is meant, or ENOSYS where an older way exists. The stage must execute the program by
    descriptor (`os.execve(fd, …)`: execveat), for execve is refused, and set RLIMIT_FSIZE to 0:
    lsof opens /dev/null for reading and writing, and a filter cannot see which file is opened.
    What is left: a program taken over from inside may call execveat, or send datagrams on the one
    kind of socket fuser needs.
    """
    return _program(machine, _for_looking(), _NOT_LOOKING)


def _for_everyone() -> dict[str, Answer]:
    answers: dict[str, Answer] = dict.fromkeys(_REFUSED, _EPERM)
    answers |= dict.fromkeys(_MISSING, _ENOSYS)
    answers["clone"] = bits(0, NEW_NAMESPACE_FLAGS | CLONE_PARENT, _EPERM)
    answers["personality"] = one_of(0, PERSONALITIES, ALLOW, _EPERM)
    answers["renameat2"] = bits(4, RENAME_WHITEOUT, _EPERM)
    hidden = bits(1, KEEP_SIZE, ERRNO | errno.EOPNOTSUPP)
    answers["fallocate"] = bits(1, PUNCH_HOLE, ALLOW, hidden)
    for name, mode in {**_CHANGES_MODE, "creat": 1}.items():
        answers[name] = bits(mode, SET_ID, _EPERM)
    for name, mode in (("mknod", 1), ("mknodat", 2)):
        answers[name] = bits(mode, SET_ID | DEVICE, _EPERM)
    for name, flags in (("open", 1), ("openat", 2)):
        answers[name] = bits(flags, CREATES, bits(flags + 1, SET_ID, _EPERM))
    # A stage that waits for the command has limits and pages of its own, even in a namespace.
    for name in ("move_pages", "migrate_pages", "prlimit64"):
        answers[name] = one_of(0, (0,), ALLOW, _EPERM)
    return answers


def _for_profile(calls: Calls) -> dict[str, Answer]:
    answers: dict[str, Answer] = {"socket": _sockets(calls)}
    # An end of a datagram pair can still be sent or connected to any address.
    kinds = (SOCK_STREAM, SOCK_SEQPACKET, *((SOCK_DGRAM,) if AF_UNIX in calls.families else ()))
    pair = one_of(1, kinds, ALLOW, _EPERM, SOCK_TYPE_MASK)
    answers["socketpair"] = one_of(0, (AF_UNIX,), pair, _NO_FAMILY)
    commands, ioctls = FCNTL_LEASE, TERMINAL_INJECTION
    if not calls.may_signal:
        answers |= dict.fromkeys(_SIGNALS, _EPERM)
        commands += FCNTL_OWNER
        ioctls += IOCTL_OWNER
    if calls.sees_others or calls.shares_host:
        answers |= _own_process_only() | dict.fromkeys((*_METADATA, *_CHANGES_MODE), _EPERM)
        ioctls += IOCTL_ATTRIBUTES
    if calls.shares_host:
        answers |= dict.fromkeys(_OF_THE_HOST, _EPERM)
    answers["fcntl"] = one_of(1, commands, _EPERM, ALLOW)
    return answers | {"ioctl": one_of(1, ioctls, _EPERM, ALLOW)}


def _own_process_only() -> dict[str, Answer]:
    own = one_of(0, (0,), ALLOW, _EPERM)
    itself = one_of(1, (0,), ALLOW, _EPERM)
    return dict.fromkeys(_FOR_OTHERS, own) | {
        "setpriority": one_of(0, (PRIO_PROCESS,), itself, _EPERM),
        "ioprio_set": one_of(0, (IOPRIO_WHO_PROCESS,), itself, _EPERM),
    }


def _sockets(calls: Calls) -> Answer:
    everyday = one_of(2, EVERYDAY_PROTOCOLS, ALLOW, _NO_PROTOCOL)
    internet = one_of(1, (SOCK_STREAM, SOCK_DGRAM), everyday, _EPERM, SOCK_TYPE_MASK)
    answer = one_of(0, tuple(f for f in calls.families if f != AF_UNIX), internet, _NO_FAMILY)
    if AF_UNIX in calls.families:
        answer = one_of(0, (AF_UNIX,), ALLOW, answer)
    netlink = one_of(2, calls.netlink, ALLOW, _EPERM)
    return one_of(0, (AF_NETLINK,), netlink, answer)


def _for_looking() -> dict[str, Answer]:
    answers: dict[str, Answer] = dict.fromkeys((*_SIGNALS, "connect"), _EPERM)
    answers |= dict.fromkeys(_LOOKING, ALLOW)
    answers |= {name: _for_everyone()[name] for name in ("clone", "openat2", "prlimit64")}
    answers["name_to_handle_at"] = ALLOW  # ss names a socket's control group so
    netlink = one_of(2, (NETLINK_ROUTE, NETLINK_SOCK_DIAG), ALLOW, _EPERM)
    # fuser learns from a datagram socket which device all sockets are on; it is never connected.
    datagram = one_of(1, (SOCK_DGRAM,), one_of(2, (0,), ALLOW, _EPERM), _EPERM, SOCK_TYPE_MASK)
    family = one_of(0, (AF_INET,), datagram, _NO_FAMILY)
    answers["socket"] = one_of(0, (AF_NETLINK,), netlink, family)
    answers["bind"] = one_of(2, (NETLINK_ADDRESS_BYTES,), ALLOW, _EPERM)
    answers["sendto"] = one_of(5, (0, NETLINK_ADDRESS_BYTES), ALLOW, _EPERM)
    answers["ioctl"] = one_of(1, TERMINAL_QUESTIONS, ALLOW, ERRNO | errno.ENOTTY)
    answers["fcntl"] = one_of(1, FCNTL_EVERYDAY, ALLOW, _EPERM)
    answers["mmap"] = bits(3, MAP_SHARED, _EPERM)
    for name, flags in (("open", 1), ("openat", 2), ("open_by_handle_at", 2)):
        both_ways = one_of(flags, (O_RDWR, O_RDWR | O_LARGEFILE), ALLOW, _EROFS)
        answers[name] = bits(flags, NOT_FOR_READING, _EROFS, bits(flags, O_RDWR, both_ways))
    return answers


def _program(machine: str, answers: dict[str, Answer], others: dict[int, Answer]) -> bytes:
    column = list(AUDIT_ARCH).index(machine)
    numbered = ((_NUMBERS[name][column], answer) for name, answer in answers.items())
    calls = {number: answer for number, answer in numbered if number is not None}
    return assemble(AUDIT_ARCH[machine], calls, others)
