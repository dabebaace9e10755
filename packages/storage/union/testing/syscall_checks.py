"""
What system calls on names answer, told line by line: run in a union and in a plain directory, it has to tell the same.

Usage: syscall_checks.py prepare|tell DIRECTORY. `prepare` fills a directory, which becomes a layer below; `tell` does every call on
every kind of path, each in a set of files of its own, and tells its error, and what became of the file and of the directory
that it is in. Then rights: what the owner, one of the group and others may do. Needs root.
"""

import ctypes
import errno
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)
libc.mknod.argtypes = [ctypes.c_char_p, ctypes.c_uint, ctypes.c_ulong]
CLOCK_REALTIME_COARSE = 5
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
LONG = "n" * 255


def put(path, text="text"):
    with open(path, "w") as file:
        file.write(text)


def kinds(call):
    """A path of every kind that a call may meet, in the set of that call."""
    return {
        "file": f"{call}/file",
        "empty": f"{call}/empty",
        "one of two names": f"{call}/one",
        "directory": f"{call}/directory",
        "full directory": f"{call}/full",
        "link": f"{call}/link",
        "link to a directory": f"{call}/dirlink",
        "dangling link": f"{call}/dangling",
        "loop": f"{call}/loop",
        "fifo": f"{call}/fifo",
        "socket": f"{call}/socket",
        "device": f"{call}/device",
        "block device": f"{call}/block",
        "long name": f"{call}/{LONG}",
        "too long a name": f"{call}/{LONG}n",
        "too long a path": f"{call}/" + "d/" * 2050 + "f",
        "nothing": f"{call}/nothing",
        "below nothing": f"{call}/nothing/x",
        "below a file": f"{call}/file2/x",
        "below a loop": f"{call}/loop2/x",
        "below a long name": f"{call}/{LONG}n/x",
        "in a directory": f"{call}/full2/inside",
        "file as directory": f"{call}/file3/",
        "directory with a slash": f"{call}/directory2/",
        "nothing with a slash": f"{call}/nothing2/",
        "link with a slash": f"{call}/dirlink2/",
        "itself": f"{call}/full3/.",
        "above": f"{call}/full3/..",
        "no name": "",
    }


def prepare_set(call):
    os.mkdir(call)
    for name in ("file", "file2", "file3", "one"):
        put(f"{call}/{name}")
        os.chmod(f"{call}/{name}", 0o6755)
    os.link(f"{call}/one", f"{call}/two")
    put(f"{call}/empty", "")
    for name in ("directory", "directory2", "full", "full2", "full3"):
        os.mkdir(f"{call}/{name}")
    for name in ("full", "full2", "full3"):
        put(f"{call}/{name}/inside")
    os.symlink("file", f"{call}/link")
    os.symlink("directory", f"{call}/dirlink")
    os.symlink("directory2", f"{call}/dirlink2")
    os.symlink("missing", f"{call}/dangling")
    for name in ("loop", "loop2"):
        os.symlink(name, f"{call}/{name}")
    os.mkfifo(f"{call}/fifo")
    os.mknod(f"{call}/device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    # Of no driver.
    os.mknod(f"{call}/block", stat.S_IFBLK | 0o600, os.makedev(240, 250))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{call}/socket")


def rename2(old, new, flags):
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def opened(path, flags, act=lambda file: None):
    # Who opens a fifo waits for nobody.
    file = os.open(path, flags | os.O_NONBLOCK, 0o644)
    try:
        return act(file)
    finally:
        os.close(file)


def around(path):
    return path.split("/")[0]


calls = {
    "open": lambda p: opened(p, os.O_RDONLY, lambda f: os.fstat(f).st_size if not os.path.isdir(p) else None),
    "open_write": lambda p: opened(p, os.O_WRONLY),
    "open_truncate": lambda p: opened(p, os.O_WRONLY | os.O_TRUNC),
    "open_create": lambda p: opened(p, os.O_RDWR | os.O_CREAT),
    "open_exclusive": lambda p: opened(p, os.O_RDWR | os.O_CREAT | os.O_EXCL),
    "open_nofollow": lambda p: opened(p, os.O_RDONLY | os.O_NOFOLLOW),
    "open_directory": lambda p: opened(p, os.O_RDONLY | os.O_DIRECTORY),
    "open_nameless": lambda p: opened(p, os.O_TMPFILE | os.O_RDWR),
    "write": lambda p: opened(p, os.O_WRONLY | os.O_APPEND, lambda f: os.write(f, b"more")),
    "truncate": lambda p: os.truncate(p, 2),
    "extend": lambda p: os.truncate(p, 10_000),
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "mknod": lambda p: os.mknod(p, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    "symlink": lambda p: os.symlink("target", p),
    "symlink_long": lambda p: os.symlink("t" * 4095, p),
    "symlink_to_nothing": lambda p: os.symlink("", p),
    "readlink": os.readlink,
    "link_from": lambda p: os.link(p, f"{around(p)}/made-{kinds_of(p)}", follow_symlinks=False),
    "link_following": lambda p: os.link(p, f"{around(p)}/made-{kinds_of(p)}"),
    "link_to": lambda p: os.link("open/file", p),
    "rename_from": lambda p: os.rename(p, f"{around(p)}/made-{kinds_of(p)}"),
    "rename_file_to": lambda p: os.rename(f"{around(p)}/sources/f-{kinds_of(p)}", p),
    "rename_directory_to": lambda p: os.rename(f"{around(p)}/sources/d-{kinds_of(p)}", p),
    "rename_into_itself": lambda p: os.rename(p, f"{p}/below"),
    "rename_noreplace": lambda p: rename2(f"{around(p)}/sources/f-{kinds_of(p)}", p, RENAME_NOREPLACE),
    "rename_exchange": lambda p: rename2(f"{around(p)}/sources/f-{kinds_of(p)}", p, RENAME_EXCHANGE),
    "rename_bad_flags": lambda p: rename2(p, f"{around(p)}/made", 3),
    "chmod": lambda p: os.chmod(p, 0o4711),
    "chown": lambda p: os.chown(p, 5, 6),
    "chown_nothing": lambda p: os.chown(p, -1, -1),
    "lchown": lambda p: os.lchown(p, 5, 6),
    "utimes": lambda p: os.utime(p, ns=(1_000_000_001, 2_000_000_002)),
    "lutimes": lambda p: os.utime(p, ns=(5_000_000_000_000_000_007, -9_000_000_001), follow_symlinks=False),
    "touch": os.utime,
    "access": lambda p: [os.access(p, mode) for mode in (os.F_OK, os.R_OK, os.W_OK, os.X_OK)],
    "stat": lambda p: stat.S_IFMT(os.stat(p).st_mode),
    "lstat": lambda p: stat.S_IFMT(os.lstat(p).st_mode),
    "statvfs": lambda p: os.statvfs(p).f_namemax,
    "chdir": lambda p: subprocess.call(["true"], cwd=p),
    "readdir": lambda p: sorted(os.listdir(p)),
    "setxattr": lambda p: os.setxattr(p, "user.x", b"v"),
    "lsetxattr": lambda p: os.setxattr(p, "trusted.x", b"v", follow_symlinks=False),
    "getxattr": lambda p: os.getxattr(p, "user.none"),
    "removexattr": lambda p: os.removexattr(p, "user.none"),
    "listxattr": os.listxattr,
    "execute": lambda p: os.execv(p, ["x"]) if not os.path.isfile(p) else None,
}
numbers = {}


def kinds_of(path):
    """A number for the path within its set: names of what is made beside it."""
    return numbers.get(path, 0)


def looks(path):
    try:
        status = os.lstat(path)
    except OSError:
        return None
    own = () if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_nlink)
    return (oct(status.st_mode), status.st_uid, status.st_gid) + own


def moments(path):
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns


def tick():
    """What happens from now on has other times than what has happened."""
    before = time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
    while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) == before:
        time.sleep(0.001)


def attempt(act):
    try:
        return act()
    except OSError as error:
        return errno.errorcode.get(error.errno, error.errno)


def tell_calls():
    for call, act in calls.items():
        for number, (kind, path) in enumerate(kinds(call).items()):
            numbers[path] = number
            directory = os.path.dirname(path.rstrip("/")) or "."
            watched = len(path) < 1000 and path != ""
            before = (moments(path), moments(directory)) if watched else None
            if kind in ("file", "directory", "nothing", "one of two names"):
                tick()
            told = attempt(lambda: act(path))
            after = (moments(path), moments(directory)) if watched else None
            changed = []
            # Where a nameless file is made the directory is copied.
            if watched and call != "open_nameless" and kind in ("file", "directory", "nothing", "one of two names"):
                # Looking at a file changes no time that is told here; whether it was looked at is not told.
                for what, old, new in zip(("it", "directory"), before, after):
                    if old is not None and new is not None:
                        changed += [f"{what}.{time}" for time, one, two in zip(("mtime", "ctime"), old, new) if one != two]
            print(call, "|", kind, "|", told, "|", looks(path) if watched else "", "|", *changed)
        print(call, sorted(os.listdir(call)), looks(f"{call}/two"))


def rights():
    """As whom, on what, with which rights."""
    os.mkdir("rights")
    for mode in range(8):
        for place in ("low", "new"):
            for shift in (6, 3, 0):
                base = f"rights-low/{mode}-{shift}" if place == "low" else f"rights/{mode}-{shift}"
                if place == "new":
                    prepare_rights(base, mode << shift)
                user = {6: (1000, 1), 3: (1, 1000), 0: (1, 1)}[shift]
                print(place, mode, shift, as_user(*user, lambda: uses(base)))


def prepare_rights(base, mode):
    os.mkdir(base)
    for name in ("file", "written", "cut", "timed", "attributed", "moved", "linked"):
        put(f"{base}/{name}", "#!/bin/true\n")
        os.chown(f"{base}/{name}", 1000, 1000)
        os.chmod(f"{base}/{name}", mode)
    os.mkdir(f"{base}/directory")
    for name in ("inside", "gone", "moved"):
        put(f"{base}/directory/{name}")
    os.chown(f"{base}/directory", 1000, 1000)
    os.chmod(f"{base}/directory", mode)
    os.chmod(base, 0o777)


def uses(base):
    return [
        attempt(lambda: opened(f"{base}/file", os.O_RDONLY)),
        attempt(lambda: opened(f"{base}/written", os.O_WRONLY, lambda f: os.write(f, b"x"))),
        attempt(lambda: opened(f"{base}/file", os.O_RDWR | os.O_TRUNC)),
        [os.access(f"{base}/file", mode) for mode in (1, 2, 4)],
        attempt(lambda: os.truncate(f"{base}/cut", 1)),
        attempt(lambda: os.utime(f"{base}/timed")),
        attempt(lambda: os.utime(f"{base}/timed", (1, 1))),
        attempt(lambda: os.setxattr(f"{base}/attributed", "user.x", b"1")),
        attempt(lambda: os.chmod(f"{base}/file", 0o6777)),
        attempt(lambda: os.chown(f"{base}/file", 2, -1)),
        attempt(lambda: os.chown(f"{base}/file", -1, os.getgid())),
        looks(f"{base}/file"),
        attempt(lambda: os.link(f"{base}/linked", f"{base}/linked2")),
        attempt(lambda: sorted(os.listdir(f"{base}/directory"))),
        attempt(lambda: os.stat(f"{base}/directory/inside").st_size),
        attempt(lambda: opened(f"{base}/directory/made", os.O_CREAT | os.O_WRONLY)),
        attempt(lambda: os.mkdir(f"{base}/directory/made-directory")),
        attempt(lambda: os.unlink(f"{base}/directory/gone")),
        attempt(lambda: os.rename(f"{base}/directory/moved", f"{base}/directory/moved2")),
        attempt(lambda: os.rename(f"{base}/moved", f"{base}/directory/moved3")),
        attempt(lambda: os.mknod(f"{base}/device", stat.S_IFCHR | 0o600, os.makedev(1, 3))),
    ]


def as_user(uid, gid, act, groups=()):
    """In another process, as somebody else."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(list(groups))
            os.setgid(gid)
            os.setuid(uid)
            os.write(writing, repr(attempt(act)).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    os.waitpid(child, 0)
    return text


def sticky():
    for place in ("sticky-low", "sticky-new"):
        if place == "sticky-new":
            prepare_sticky(place)
        for who in (1000, 2000, 3000):
            for name in ("by1000", "by2000"):
                print(place, who, "unlink", name, as_user(who, who, lambda: os.unlink(f"{place}/u{who}/{name}")))
                print(place, who, "rename", name, as_user(who, who, lambda: os.rename(f"{place}/r{who}/{name}", f"{place}/r{who}/new-{name}")))
                print(place, who, "over", name, as_user(who, who, lambda: (put(f"{place}/o{who}/own-{name}"), os.rename(f"{place}/o{who}/own-{name}", f"{place}/o{who}/{name}"))[1]))
                print(place, who, "rmdir", name, as_user(who, who, lambda: os.rmdir(f"{place}/d{who}/{name}")))


def prepare_sticky(place):
    os.mkdir(place)
    for who in (1000, 2000, 3000):
        for what in "urod":
            directory = f"{place}/{what}{who}"
            os.mkdir(directory)
            for owner in (1000, 2000):
                path = f"{directory}/by{owner}"
                os.mkdir(path) if what == "d" else put(path)
                os.chown(path, owner, owner)
            os.chown(directory, 1000, 1000)
            os.chmod(directory, 0o1777)


def set_id():
    for place in ("setid-low", "setid-new"):
        if place == "setid-new":
            prepare_set_id(place)
        ways = {
            "write": lambda path: opened(path, os.O_WRONLY, lambda f: os.write(f, b"x")),
            "nothing": lambda path: opened(path, os.O_WRONLY, lambda f: os.write(f, b"")),
            "truncate": lambda path: os.truncate(path, 1),
            "fallocate": lambda path: opened(path, os.O_WRONLY, lambda f: os.posix_fallocate(f, 0, 100)),
            "copy": lambda path: opened(path, os.O_WRONLY, lambda f: opened("open/program2", os.O_RDONLY, lambda from_: os.copy_file_range(from_, f, 100))),
            "chgrp": lambda path: os.chown(path, -1, 2000),
            "same": lambda path: os.chown(path, -1, -1),
            "chmod": lambda path: os.chmod(path, 0o6755),
            "utime": lambda path: os.utime(path),
            "xattr": lambda path: os.setxattr(path, "user.x", b"1"),
            "read": lambda path: opened(path, os.O_RDONLY, lambda f: os.read(f, 4)),
        }
        for mode in ("6755", "6777", "2745", "2755"):
            for way, act in ways.items():
                path = f"{place}/{way}-{mode}"
                told = as_user(1000, 1000, lambda: act(path), groups=(2000,))
                print(place, mode, way, told, looks(path))


def prepare_set_id(place):
    os.mkdir(place)
    for mode in ("6755", "6777", "2745", "2755"):
        for way in ("write", "nothing", "truncate", "fallocate", "copy", "chgrp", "same", "chmod", "utime", "xattr", "read"):
            path = f"{place}/{way}-{mode}"
            put(path)
            os.chown(path, 1000, 1000)
            os.chmod(path, int(mode, 8))


def nameless():
    def link(file, path, how="/proc/self/fd/%d"):
        if libc.linkat(-100, (how % file).encode(), -100, path.encode(), 0x400) < 0:
            raise OSError(ctypes.get_errno(), "linkat")

    for place in ("nameless-low", "nameless-new"):
        if place == "nameless-new":
            os.mkdir(place)
            os.chmod(place, 0o2777)
        os.chown(place, 0, 77)
        print(attempt(lambda: opened(place, os.O_TMPFILE | os.O_RDONLY)))
        for flags in (0, os.O_EXCL):
            file = os.open(place, os.O_TMPFILE | os.O_RDWR | flags, 0o6777)
            os.write(file, b"content")
            print(os.fstat(file).st_nlink, oct(os.fstat(file).st_mode), os.fstat(file).st_gid, sorted(os.listdir(place)))
            for name in ("first", "second", "first"):
                print(name, attempt(lambda: link(file, f"{place}/{name}")), os.fstat(file).st_nlink, looks(f"{place}/{name}"))
            os.fchmod(file, 0o640)
            os.setxattr(file, "user.x", b"1")
            os.ftruncate(file, 3)
            for name in ("first", "second"):
                attempt(lambda: os.unlink(f"{place}/{name}"))
            print("none", os.fstat(file).st_nlink, os.fstat(file).st_size, attempt(lambda: link(file, f"{place}/late")))
            os.close(file)
        print(as_user(1000, 1000, lambda: opened(place, os.O_TMPFILE | os.O_RDWR, lambda f: (oct(os.fstat(f).st_mode), os.fstat(f).st_uid, os.fstat(f).st_gid))))


def utimes():
    class Spec(ctypes.Structure):
        _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

    def set_times(path, one, other):
        pair = (Spec * 2)(Spec(7, one), Spec(8, other))
        if libc.utimensat(-100, path.encode(), pair, 0) < 0:
            raise OSError(ctypes.get_errno(), "utimensat")

    def relative(path):
        status = os.stat(path)
        return [("now" if value > 10**18 else value) for value in (status.st_atime_ns, status.st_mtime_ns)]

    for number, (one, other) in enumerate(
        (a, b) for a in (5, UTIME_NOW, UTIME_OMIT, 10**9) for b in (6, UTIME_NOW, UTIME_OMIT, -1)
    ):
        for who in ("owner", "writer", "reader", "root"):
            path = f"utimes-low/{who}-{number}"
            uid = {"owner": 1000, "writer": 2000, "reader": 3000, "root": 0}[who]
            gid = 2000 if who == "writer" else 4000
            print(number, who, as_user(uid, gid, lambda: set_times(path, one, other)), relative(path))


def limits():
    def limited(act):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        return act()

    put("limited", "x" * 500)
    print("write", as_user(0, 0, lambda: limited(lambda: opened("limited", os.O_WRONLY, lambda f: os.pwrite(f, b"y" * 800, 600)))), looks("limited"))
    print("beyond", as_user(0, 0, lambda: limited(lambda: opened("limited", os.O_WRONLY, lambda f: os.pwrite(f, b"y", 1000)))))
    print("truncate", as_user(0, 0, lambda: limited(lambda: os.truncate("limited", 2000))))
    print("fallocate", as_user(0, 0, lambda: limited(lambda: opened("limited", os.O_WRONLY, lambda f: os.posix_fallocate(f, 0, 2000)))))
    print("largest", attempt(lambda: os.truncate("limited", 1 << 62)))


def programs():
    for place in ("open/program", "program"):
        if place == "program":
            subprocess.check_call(["cp", "/bin/sleep", place])
        with open(place, "r+b"):
            print(place, "written", attempt(lambda: subprocess.call([f"./{place}", "0"])))
        running = subprocess.Popen([f"./{place}", "100"])
        print(place, "running", attempt(lambda: opened(place, os.O_WRONLY)), attempt(lambda: os.truncate(place, 1)))
        os.rename(place, f"{place}2")
        print(place, "renamed", attempt(lambda: opened(f"{place}2", os.O_WRONLY)), looks(f"{place}2"))
        running.kill()
        running.wait()


def above():
    """Where ".." leads after a directory has moved."""
    os.makedirs("up/one/deep")
    os.mkdir("up/two")
    inside = os.open("up/one/deep", os.O_RDONLY)
    os.rename("up/one/deep", "up/two/deep")
    print(os.stat("..", dir_fd=inside).st_ino == os.stat("up/two").st_ino)
    print(attempt(lambda: os.stat("../../two/deep", dir_fd=inside).st_ino == os.stat("up/two/deep").st_ino))
    os.rmdir("up/two/deep")
    print(attempt(lambda: os.stat("..", dir_fd=inside).st_ino == os.stat("up/two").st_ino))
    print(attempt(lambda: os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=inside)), attempt(lambda: os.listdir(inside)))


def prepare():
    for call in calls:
        prepare_set(call)
        if call in ("rename_file_to", "rename_directory_to", "rename_noreplace", "rename_exchange"):
            os.mkdir(f"{call}/sources")
            for number in range(len(kinds(call))):
                put(f"{call}/sources/f-{number}")
    subprocess.check_call(["cp", "/bin/sleep", "open/program"])
    os.mkdir("rights-low")
    for mode in range(8):
        for shift in (6, 3, 0):
            prepare_rights(f"rights-low/{mode}-{shift}", mode << shift)
    prepare_sticky("sticky-low")
    prepare_set_id("setid-low")
    os.mkdir("nameless-low")
    os.chmod("nameless-low", 0o2777)
    os.mkdir("utimes-low")
    for number in range(16):
        for who in ("owner", "writer", "reader", "root"):
            path = f"utimes-low/{who}-{number}"
            put(path)
            os.chown(path, 1000, 2000)
            os.chmod(path, 0o664)
            os.utime(path, ns=(1, 2))


os.chdir(sys.argv[2])
os.umask(0o22)
if sys.argv[1] == "prepare":
    prepare()
else:
    # Directories of layers below do not move in a union: here those are moved that are new.
    for index in range(len(kinds("rename_directory_to"))):
        os.mkdir(f"rename_directory_to/sources/d-{index}")
    for call in ("rename_from", "rename_exchange"):
        for name in ("directory", "directory2", "full"):
            shutil.rmtree(f"{call}/{name}")
            os.mkdir(f"{call}/{name}")
        put(f"{call}/full/inside")
    for part in (tell_calls, programs, rights, sticky, set_id, nameless, utimes, limits, above):
        print("---", part.__name__)
        part()
