"""Seccomp: the system calls a program in a sandbox may make, as an allow list compiled to a BPF program.

Why it is compiled here: libseccomp and its bindings would have to be in every image and root directory. This needs
nothing but any Python 3.9, and loads the same bits everywhere, so that a grade can name them.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_ERRNO, _ALLOW, _KILL = 0x00050000, 0x7FFF0000, 0x80000000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW… flag of clone(2)
_X32 = 0x40000000
_LAST_KNOWN = 462  # system calls above are newer than this list: ENOSYS lets programs fall back

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
# name, dumpable, death signal, timer slack, subreaper, huge pages, no_new_privs and the questions about them, VMA names
_PRCTL = (1, 2, 3, 4, 15, 16, 21, 23, 29, 30, 36, 37, 38, 39, 41, 42, 0x53564D41)

# Filters cannot look behind pointers, and a missing call makes the C library use an older one that can be filtered.
PRETEND_MISSING = {"clone3": (435, 435), "memfd_create": (319, 279), "io_uring_setup": (425, 425)}
# F_GETLK, F_SETLK, F_SETLKW, the same three of open files, F_SETLEASE, F_GETLEASE, F_NOTIFY
_LOCKS = (5, 6, 7, 36, 37, 38, 1024, 1025, 1026)
_SHARED_INODES = ("flock", "inotify_init", "inotify_init1", "inotify_add_watch")

# name:number on x86_64:number on aarch64 ("-" where it has none). From the kernel's unistd.h.
_ALLOWED = """
read:0:63 write:1:64 open:2:- close:3:57 stat:4:- fstat:5:80 lstat:6:- poll:7:- lseek:8:62 mmap:9:222
mprotect:10:226 munmap:11:215 brk:12:214 rt_sigaction:13:134 rt_sigprocmask:14:135 rt_sigreturn:15:139
ioctl:16:29 pread64:17:67 pwrite64:18:68 readv:19:65 writev:20:66 access:21:- pipe:22:- select:23:-
sched_yield:24:124 mremap:25:216 msync:26:227 mincore:27:232 madvise:28:233 dup:32:23 dup2:33:- pause:34:-
nanosleep:35:101 getitimer:36:102 alarm:37:- setitimer:38:103 getpid:39:172 sendfile:40:71 socket:41:198
connect:42:203 accept:43:202 sendto:44:206 recvfrom:45:207 sendmsg:46:211 recvmsg:47:212 shutdown:48:210
bind:49:200 listen:50:201 getsockname:51:204 getpeername:52:205 socketpair:53:199 setsockopt:54:208
getsockopt:55:209 clone:56:220 fork:57:- vfork:58:- execve:59:221 exit:60:93 wait4:61:260 kill:62:129
uname:63:160 fcntl:72:25 flock:73:32 fsync:74:82 fdatasync:75:83 truncate:76:45 ftruncate:77:46 getdents:78:-
getcwd:79:17 chdir:80:49 fchdir:81:50 rename:82:- mkdir:83:- rmdir:84:- creat:85:- link:86:- unlink:87:-
symlink:88:- readlink:89:- chmod:90:- fchmod:91:52 chown:92:- fchown:93:55 lchown:94:- umask:95:166
gettimeofday:96:169 getrlimit:97:163 getrusage:98:165 sysinfo:99:179 times:100:153 getuid:102:174 getgid:104:176
setuid:105:146 setgid:106:144 geteuid:107:175 getegid:108:177 setpgid:109:154 getppid:110:173 getpgrp:111:-
setsid:112:157 setreuid:113:145 setregid:114:143 getgroups:115:158 setgroups:116:159 setresuid:117:147
getresuid:118:148 setresgid:119:149 getresgid:120:150 getpgid:121:155 setfsuid:122:151 setfsgid:123:152
getsid:124:156 capget:125:90 capset:126:91 rt_sigpending:127:136 rt_sigtimedwait:128:137 rt_sigqueueinfo:129:138
rt_sigsuspend:130:133 sigaltstack:131:132 utime:132:- mknod:133:- personality:135:92 statfs:137:43
fstatfs:138:44 getpriority:140:141 setpriority:141:140 sched_getparam:143:121 sched_getscheduler:145:120
sched_get_priority_max:146:125 sched_get_priority_min:147:126 sched_rr_get_interval:148:127 mlock:149:228
munlock:150:229 mlockall:151:230 munlockall:152:231 prctl:157:167 arch_prctl:158:- setrlimit:160:164 sync:162:81
gettid:186:178 readahead:187:213 setxattr:188:5 lsetxattr:189:6 fsetxattr:190:7 getxattr:191:8 lgetxattr:192:9
fgetxattr:193:10 listxattr:194:11 llistxattr:195:12 flistxattr:196:13 removexattr:197:14 lremovexattr:198:15
fremovexattr:199:16 tkill:200:130 time:201:- futex:202:98 sched_setaffinity:203:122 sched_getaffinity:204:123
epoll_create:213:- getdents64:217:61 set_tid_address:218:96 restart_syscall:219:128 fadvise64:221:223
timer_create:222:107 timer_settime:223:110 timer_gettime:224:108 timer_getoverrun:225:109 timer_delete:226:111
clock_gettime:228:113 clock_getres:229:114 clock_nanosleep:230:115 exit_group:231:94 epoll_wait:232:-
epoll_ctl:233:21 tgkill:234:131 utimes:235:- waitid:247:95 inotify_init:253:- inotify_add_watch:254:27
inotify_rm_watch:255:28 openat:257:56 mkdirat:258:34 mknodat:259:33 fchownat:260:54 futimesat:261:-
newfstatat:262:79 unlinkat:263:35 renameat:264:38 linkat:265:37 symlinkat:266:36 readlinkat:267:78
fchmodat:268:53 faccessat:269:48 pselect6:270:72 ppoll:271:73 set_robust_list:273:99 get_robust_list:274:100
splice:275:76 tee:276:77 sync_file_range:277:84 utimensat:280:88 epoll_pwait:281:22 signalfd:282:-
timerfd_create:283:85 eventfd:284:- fallocate:285:47 timerfd_settime:286:86 timerfd_gettime:287:87
accept4:288:242 signalfd4:289:74 eventfd2:290:19 epoll_create1:291:20 dup3:292:24 pipe2:293:59
inotify_init1:294:26 preadv:295:69 pwritev:296:70 rt_tgsigqueueinfo:297:240 recvmmsg:299:243 prlimit64:302:261
syncfs:306:267 sendmmsg:307:269 getcpu:309:168 renameat2:316:276 getrandom:318:278 execveat:322:281
membarrier:324:283 mlock2:325:284 copy_file_range:326:285 preadv2:327:286 pwritev2:328:287 statx:332:291
rseq:334:293 pidfd_send_signal:424:424 pidfd_open:434:434 close_range:436:436 openat2:437:437 faccessat2:439:439
epoll_pwait2:441:441 landlock_create_ruleset:444:444 landlock_restrict_self:446:446 futex_waitv:449:449 fchmodat2:452:452
""".split()  # noqa: SIM905 a list of 243 lines says no more


def architecture() -> str:
    """The architecture a filter is made for; OSError where there is no table for it."""
    machine = os.uname().machine
    if machine not in _ARCHITECTURES:
        raise OSError(f"no seccomp table for {machine}; known: {', '.join(_ARCHITECTURES)}")
    return machine


def compile_filter(profile: str = "default", shared_inodes: bool = False, machine: str = "") -> bytes:
    """The BPF program. `profile` "strict" leaves out sockets (pairs stay), locks and watches.

    `shared_inodes`: files of the system are the very inodes other sandboxes see, so calls that would let two
    sandboxes talk through them (locks, watches) are left out.
    """
    no_locks = shared_inodes or profile == "strict"
    column, audit_arch = _ARCHITECTURES[machine or architecture()]
    numbers = {name: values[column] for name, *values in (entry.split(":") for entry in _ALLOWED)}
    allowed = {name: int(number) for name, number in numbers.items() if number != "-"}
    if no_locks:
        for name in _SHARED_INODES:
            allowed.pop(name, None)
    code = [_load(4), _jump(0x15, audit_arch, 1, 0), _return(_KILL), _load(0)]
    if column == 0:
        code += [_jump(0x35, _X32, 0, 1), _return(_ERRNO | _EPERM)]
    rules = _argument_rules(profile)
    if no_locks:
        rules["fcntl"] = _none_of(1, _LOCKS)
    for name, rule in rules.items():
        body = [*rule, _return(_ALLOW)]
        code += [_jump(0x15, allowed.pop(name), 0, len(body)), *body]
    for missing in PRETEND_MISSING.values():
        code += [_jump(0x15, missing[column], 0, 1), _return(_ERRNO | _ENOSYS)]
    for first, last in _ranges(sorted(allowed.values())):
        code += [_jump(0x35, first, 0, 2), _jump(0x25, last, 1, 0), _return(_ALLOW)]
    code += [_jump(0x25, _LAST_KNOWN, 0, 1), _return(_ERRNO | _ENOSYS), _return(_ERRNO | _EPERM)]
    return b"".join(code)


def fingerprint(program: bytes) -> str:
    """A short hash that names a filter in a grade."""
    return hashlib.sha256(program).hexdigest()[:16]


class _SockFprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def loadable(program: bytes) -> ctypes.Structure:
    """What prctl(PR_SET_SECCOMP) takes."""
    return _SockFprog(len(program) // 8, program)


def allowed_names() -> list[str]:
    """Every system call of the list."""
    return [entry.split(":")[0] for entry in _ALLOWED]


def allowed_values(profile: str) -> dict[str, tuple[int, ...]]:
    """Per system call whose first argument is restricted: the values it may have."""
    domains = () if profile == "strict" else (_AF_UNIX, _AF_INET, _AF_INET6)
    return {
        "socket": domains,
        "socketpair": (_AF_UNIX,),
        "prctl": _PRCTL,
        "personality": _PERSONALITIES,
        "prlimit64": (0,),
        "sched_setaffinity": (0,),
        "setpriority": (0,),
    }


def _argument_rules(profile: str) -> dict[str, list[bytes]]:
    """Per system call: what must hold for its arguments; each rule returns an error itself where it does not."""
    values = allowed_values(profile)
    own = _only(0, (0,), _EPERM)
    return {
        "clone": [_load_argument(0), _jump(0x45, NEW_NAMESPACES, 0, 1), _return(_ERRNO | _EPERM)],
        "socket": _only(0, values["socket"], _EAFNOSUPPORT),
        "socketpair": _only(0, values["socketpair"], _EAFNOSUPPORT),
        "ioctl": _none_of(1, _TERMINAL_INJECTION),
        "prctl": _only(0, values["prctl"], _EPERM),
        "personality": _only(0, values["personality"], _EPERM),
        "prlimit64": own,  # not the limits of its supervisor, which has the same uid
        "sched_setaffinity": own,
        "setpriority": [*own, *_only(1, (0,), _EPERM)],
        "sync": [_return(_ERRNO)],  # flushing the host's disks is a way to slow others down: it says 0, does nothing
        "syncfs": [_return(_ERRNO)],
    }


def _only(argument: int, values: tuple[int, ...], error: int) -> list[bytes]:
    tests = [_jump(0x15, value, len(values) - index, 0) for index, value in enumerate(values)]
    return [_load_argument(argument), *tests, _return(_ERRNO | error)]


def _none_of(argument: int, values: tuple[int, ...]) -> list[bytes]:
    tests = [_jump(0x15, value, len(values) - index, 0) for index, value in enumerate(values)]
    return [_load_argument(argument), *tests, _jump(0x05, 1, 0, 0), _return(_ERRNO | _EPERM)]


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def _instruction(code: int, jump_true: int, jump_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, jump_true, jump_false, value)


def _load(offset: int) -> bytes:
    return _instruction(0x20, 0, 0, offset)


def _load_argument(index: int) -> bytes:
    return _load(16 + 8 * index)  # the low half, on little-endian machines; every argument tested here is an int


def _jump(code: int, value: int, jump_true: int, jump_false: int) -> bytes:
    return _instruction(code, jump_true, jump_false, value)


def _return(value: int) -> bytes:
    return _instruction(0x06, 0, 0, value)
