"""Cuts the power of one mounted file system: what was not synced is gone for good.

usage: cut.py MOUNT_POINT   says "ready", waits for a line, cuts, says "cut"

FS_IOC_SHUTDOWN with NOLOGFLUSH: from that moment no page, no journal block and no inode of this file system
reaches the device any more, and every call on it fails with EIO. Needs root.
"""

import fcntl
import os
import struct
import sys

FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2

mount_point = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
print("ready", flush=True)
sys.stdin.readline()
fcntl.ioctl(mount_point, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
print("cut", flush=True)
