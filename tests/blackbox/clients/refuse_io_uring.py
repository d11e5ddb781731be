"""Becomes the program given, with io_uring refused as container runtimes refuse it.

usage: refuse_io_uring.py PROGRAM ARGUMENT...

A seccomp filter answers io_uring_setup(2) with EPERM; it holds for this process alone and needs no privilege.
"""

import ctypes
import os
import struct
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, EPERM = 0x7FFF0000, 0x00050000, 1
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
IO_URING_SETUP = 425  # on every architecture


def main():
    program = b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in (
            (LOAD_WORD, 0, 0, 0),  # seccomp_data.nr
            (JUMP_IF_EQUAL, 0, 1, IO_URING_SETUP),
            (RETURN, 0, 0, SECCOMP_RET_ERRNO | EPERM),
            (RETURN, 0, 0, SECCOMP_RET_ALLOW),
        )
    )
    octets = ctypes.create_string_buffer(program)
    sock_fprog = ctypes.create_string_buffer(struct.pack("HP", len(program) // 8, ctypes.addressof(octets)))
    libc = ctypes.CDLL(None, use_errno=True)
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, sock_fprog, 0, 0)):
        if libc.prctl(*call) != 0:
            sys.exit("refuse_io_uring: %s" % os.strerror(ctypes.get_errno()))
    os.execvp(sys.argv[1], sys.argv[1:])


main()
