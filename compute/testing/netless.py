"""Keeps a child process from watching this machine's network interfaces.

A browser drops every connection, those on loopback too, whenever an interface comes or goes; and
container engines make and remove interfaces all the time. A browser that cannot ask the kernel for
such news takes the network as it is.
"""

import ctypes
import platform
import struct

_AF_NETLINK = 16
_EAFNOSUPPORT = 97
_SOCKET = {"x86_64": 41, "aarch64": 198}  # number of the system call
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2
_RETURN_ERROR, _ALLOW = 0x0005_0000 | _EAFNOSUPPORT, 0x7FFF_0000
_LOAD, _JUMP_UNLESS, _RETURN = 0x20, 0x15, 0x06
_ARGUMENT = 16  # offset of the call's first argument


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))


def deny_netlink() -> None:
    """Deny this process and its children netlink sockets; for a `preexec_fn`.

    Does nothing on machines whose system calls it does not know.
    """
    number = _SOCKET.get(platform.machine())
    if number is None:
        return
    steps = (
        (_LOAD, 0, 0, 0),
        (_JUMP_UNLESS, 0, 3, number),
        (_LOAD, 0, 0, _ARGUMENT),
        (_JUMP_UNLESS, 0, 1, _AF_NETLINK),
        (_RETURN, 0, 0, _RETURN_ERROR),
        (_RETURN, 0, 0, _ALLOW),
    )
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(steps), ctypes.cast(held, ctypes.c_void_p))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0)
