"""System calls a sandboxed command may not make, as a classic BPF program built here.

Pure: names to bytes. The stage inside the sandbox installs the bytes; the filter only ever
refuses (EPERM or ENOSYS), so it cannot widen what the namespaces and Landlock allow.
Source: seccomp(2), linux/filter.h; numbers from the kernel's syscall tables.
"""

import errno
import struct
from dataclasses import dataclass

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000

# name: number on x86_64, number on aarch64 (None: the architecture lacks the call)
_NUMBERS: dict[str, tuple[int | None, int | None]] = {
    # mounts and roots
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "statmount": (457, 457), "listmount": (458, 458),
    "open_tree_attr": (467, 467), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "nfsservctl": (180, 42),
    # namespaces
    "unshare": (272, 97), "setns": (308, 268), "clone": (56, 220), "clone3": (435, 435),
    "listns": (470, 470),
    # other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "process_madvise": (440, 440),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    # kernel state
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "clock_adjtime": (305, 266),
    "adjtimex": (159, 171), "sethostname": (170, 161), "setdomainname": (171, 162),
    "syslog": (103, 116), "personality": (135, 92), "vhangup": (153, 58),
    "lookup_dcookie": (212, 18), "fanotify_init": (300, 262), "iopl": (172, None),
    "ioperm": (173, None), "modify_ldt": (154, None), "vmsplice": (278, 75),
    "memfd_secret": (447, 447), "lsm_set_self_attr": (460, 460),
    # names the path checks cannot see
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "openat2": (437, 437),
    # looked at argument by argument
    "ioctl": (16, 29), "socket": (41, 198), "chmod": (90, None), "fchmod": (91, 52),
    "fchmodat": (268, 53), "fchmodat2": (452, 452), "creat": (85, None), "mknod": (133, None),
    "mknodat": (259, 33), "open": (2, None), "openat": (257, 56), "mkdir": (83, None),
    "mkdirat": (258, 34),
    # signals
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "pidfd_open": (434, 434),
}  # fmt: skip

# Their arguments lie behind a pointer, or a caller falls back to an older call.
_MISSING = frozenset(
    {
        "clone3", "openat2", "io_uring_setup", "io_uring_enter", "io_uring_register", "statmount",
        "listmount", "open_tree", "open_tree_attr", "fsopen", "fspick", "mount_setattr",
    }
)  # fmt: skip
_BY_ARGUMENT = frozenset(
    {
        "clone", "ioctl", "socket", "chmod", "fchmod", "fchmodat", "fchmodat2", "creat", "mknod",
        "mknodat", "open", "openat", "mkdir", "mkdirat",
    }
)  # fmt: skip
SIGNALS = frozenset({"kill", "tkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "pidfd_send_signal"})
_NOT_REFUSED = SIGNALS | {"tgkill", "pidfd_open"}

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
NETLINK_ROUTE, NETLINK_SOCK_DIAG = 0, 4
SOCK_RAW, SOCK_PACKET, SOCK_TYPE_MASK = 3, 10, 0xF
NEW_NAMESPACE_FLAGS = 0x7E020000
TERMINAL_INJECTION = (0x5412, 0x541C, 0x5423)  # TIOCSTI, TIOCLINUX, TIOCSETD
SET_ID = 0o6000
CREATES = 0o20000100  # O_CREAT | __O_TMPFILE: only then the mode argument means anything

_LD, _JEQ, _JGE, _JSET, _AND, _RET = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_KILL, _ERRNO, _ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_EPERM = _ERRNO | errno.EPERM
_ENOSYS = _ERRNO | errno.ENOSYS
_EAFNOSUPPORT = _ERRNO | errno.EAFNOSUPPORT


@dataclass(frozen=True, slots=True)
class Calls:
    """What one profile may ask of the kernel, beyond what nobody may."""

    families: tuple[int, ...]  # for socket(2); socketpair(2) is always allowed
    netlink: tuple[int, ...]
    may_signal: bool = True


def build(calls: Calls, machine: str) -> bytes:
    """Return the filter program for one architecture, 8 bytes per instruction.

    Raises:
        KeyError: the architecture has no table here.
    """
    program = _Program(machine)
    for name in _NUMBERS:
        if name not in _BY_ARGUMENT and name not in _NOT_REFUSED:
            program.refuse(name, _ENOSYS if name in _MISSING else _EPERM)
    if not calls.may_signal:
        for name in sorted(SIGNALS):
            program.refuse(name, _EPERM)
    program.refuse_bits("clone", 0, NEW_NAMESPACE_FLAGS)
    program.refuse_values("ioctl", 1, TERMINAL_INJECTION)
    for name, argument in (("chmod", 1), ("fchmod", 1), ("fchmodat", 2), ("fchmodat2", 2),
                           ("creat", 1), ("mknod", 1), ("mknodat", 2), ("mkdir", 1),
                           ("mkdirat", 2)):  # fmt: skip
        program.refuse_bits(name, argument, SET_ID)
    program.refuse_bits("open", 2, SET_ID, only_if=(1, CREATES))
    program.refuse_bits("openat", 3, SET_ID, only_if=(2, CREATES))
    program.sockets(calls)
    return program.finish()


class _Program:
    """Instructions so far; the accumulator holds the call number between checks."""

    def __init__(self, machine: str) -> None:
        self._column = list(AUDIT_ARCH).index(machine)
        self._code: list[tuple[int, int, int, int]] = [
            (_LD, 0, 0, 4),
            (_JEQ, 1, 0, AUDIT_ARCH[machine]),
            (_RET, 0, 0, _KILL),
            (_LD, 0, 0, 0),
        ]
        if machine == "x86_64":
            self._code += [(_JGE, 0, 1, X32_BIT), (_RET, 0, 0, _ENOSYS)]

    def refuse(self, name: str, answer: int) -> None:
        self._when(name, [(_RET, 0, 0, answer)])

    def refuse_bits(
        self, name: str, argument: int, bits: int, *, only_if: tuple[int, int] | None = None
    ) -> None:
        body = [_argument(argument), (_JSET, 0, 1, bits), (_RET, 0, 0, _EPERM)]
        if only_if is not None:
            body = [_argument(only_if[0]), (_JSET, 0, len(body), only_if[1]), *body]
        self._when(name, body)

    def refuse_values(self, name: str, argument: int, values: tuple[int, ...]) -> None:
        body = [_argument(argument)]
        for value in values:
            body += [(_JEQ, 0, 1, value), (_RET, 0, 0, _EPERM)]
        self._when(name, body)

    def sockets(self, calls: Calls) -> None:
        netlink = [_argument(2)]
        for protocol in calls.netlink:
            netlink += [(_JEQ, 0, 1, protocol), (_RET, 0, 0, _ALLOW)]
        netlink.append((_RET, 0, 0, _EPERM))
        body = [_argument(0), (_JEQ, 0, len(netlink), AF_NETLINK), *netlink]
        for family in calls.families:
            raw = [
                _argument(1),
                (_AND, 0, 0, SOCK_TYPE_MASK),
                (_JEQ, 1, 0, SOCK_RAW),
                (_JEQ, 0, 1, SOCK_PACKET),
                (_RET, 0, 0, _EPERM),
                (_RET, 0, 0, _ALLOW),
            ]
            body += [(_JEQ, 0, len(raw), family), *raw]
        self._when("socket", [*body, (_RET, 0, 0, _EAFNOSUPPORT)])

    def finish(self) -> bytes:
        code = [*self._code, (_RET, 0, 0, _ALLOW)]
        return b"".join(struct.pack("=HBBI", op, yes, no, k) for op, yes, no, k in code)

    def _when(self, name: str, body: list[tuple[int, int, int, int]]) -> None:
        number = _NUMBERS[name][self._column]
        if number is not None:
            # The number is loaded again, since the body may have replaced it.
            self._code += [(_JEQ, 0, len(body) + 1, number), *body, (_LD, 0, 0, 0)]


def _argument(index: int) -> tuple[int, int, int, int]:
    return (_LD, 0, 0, 16 + 8 * index)  # low half; both architectures are little-endian
