"""
What a directory does, told line by line: run in a union and in a plain directory, it has to tell the same.

Usage: file_checks.py DIRECTORY. The directory holds what union-semantics.root.test.ts puts into it. Needs root: some of it
is done as somebody else, in a process of its own.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import socket
import stat
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
os.chdir(sys.argv[1])
os.umask(0o22)


def say(*words):
    print(*words)


def attempt(label, action):
    try:
        say(label, action())
    except OSError as error:
        say(label, errno.errorcode.get(error.errno, error.errno))


def looks(path):
    status = os.lstat(path)
    own = () if stat.S_ISDIR(status.st_mode) else (status.st_size, status.st_nlink)
    return (oct(status.st_mode), status.st_uid, status.st_gid) + own


def elsewhere(action, uid=1000, gid=1000):
    """In another process, as somebody else."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
            try:
                told = repr(action())
            except OSError as error:
                told = errno.errorcode.get(error.errno, str(error.errno))
            os.write(writing, told.encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    told = os.read(reading, 65536).decode()
    os.close(reading)
    return told


def put(path, text, mode="w"):
    with open(path, mode) as file:
        file.write(text)


def get(path):
    with open(path) as file:
        return file.read()


def rename2(old, new, flags):
    if libc.renameat2(-100, old.encode(), -100, new.encode(), flags) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")
    return "done"


def owners_and_modes():
    os.chmod(".", 0o777)
    os.mkdir("public")
    os.chmod("public", 0o777)
    say("file", elsewhere(lambda: (os.umask(0o27), put("public/file", "x"), looks("public/file"))))
    say("directory", elsewhere(lambda: (os.umask(0o2), os.mkdir("public/d"), looks("public/d"))))
    say("symlink", elsewhere(lambda: (os.symlink("a", "public/s"), looks("public/s"))))
    say("fifo", elsewhere(lambda: (os.mkfifo("public/f"), looks("public/f"))))
    os.mkdir("group")
    os.chown("group", 0, 77)
    os.chmod("group", 0o2777)
    say("in setgid", elsewhere(lambda: (put("group/f", "x"), os.mkdir("group/d"), os.symlink("q", "group/l"))))
    say(looks("group/f"), looks("group/d"), looks("group/l"))
    create = os.O_CREAT | os.O_WRONLY
    say("setgid lost", elsewhere(lambda: (os.close(os.open("group/x", create, 0o2775)), looks("group/x"))))
    os.chmod("low/dir", 0o2777)
    os.chown("low/dir", 3, 88)
    say("in setgid below", elsewhere(lambda: (put("low/dir/f", "x"), looks("low/dir/f"))))
    say("write", elsewhere(lambda: put("low/file", "x")))
    say("chmod", elsewhere(lambda: os.chmod("low/file", 0o777)))
    say("unlink", elsewhere(lambda: os.unlink("low/sub/deep")))
    say("read", elsewhere(lambda: get("low/secret")))
    os.mkdir("sticky")
    os.chmod("sticky", 0o1777)
    put("sticky/root", "x")
    say("sticky", elsewhere(lambda: os.unlink("sticky/root")))


def set_id_bits():
    def write(path):
        file = os.open(path, os.O_WRONLY)
        os.write(file, b"y")
        os.close(file)

    ways = {
        "write": write,
        "truncate": lambda path: os.truncate(path, 1),
        "open": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)),
    }
    for way, act in ways.items():
        path = "low/bits_" + way
        os.chmod(path, 0o6777)
        say(way, elsewhere(lambda: act(path)), looks(path))
    os.chmod("low/bits_chown", 0o6777)
    os.chown("low/bits_chown", 5, 5)
    say("chown", looks("low/bits_chown"))
    put("bits", "abc" * 100000)
    os.chmod("bits", 0o6777)
    with open("bits"):
        say("while read", elsewhere(lambda: put("bits", "q", "r+")), looks("bits"))
    os.chmod("bits", 0o6777)
    put("bits", "q", "r+")
    say("by root", looks("bits"))


def failures():
    attempt("mkdir on a directory", lambda: os.mkdir("low"))
    attempt("unlink a directory", lambda: os.unlink("low"))
    attempt("rmdir a file", lambda: os.rmdir("low/file"))
    attempt("rmdir a full one", lambda: os.rmdir("low"))
    attempt("exclusively", lambda: os.open("low/file", os.O_CREAT | os.O_EXCL))
    attempt("through a file", lambda: os.stat("low/file/x"))
    attempt("nothing", lambda: os.stat("low/none"))
    attempt("long name", lambda: os.stat("n" * 256))
    attempt("long file", lambda: put("n" * 256, "x"))
    attempt("longest file", lambda: (put("n" * 255, "x"), os.unlink("n" * 255)))
    attempt("write a directory", lambda: os.open("low", os.O_WRONLY))
    attempt("no link", lambda: os.open("low/link", os.O_RDONLY | os.O_NOFOLLOW))
    attempt("loop", lambda: (os.symlink("loop", "loop"), os.stat("loop")))
    attempt("directory over file", lambda: os.rename("public", "low/file"))
    attempt("file over directory", lambda: os.rename("low/file", "public"))
    attempt("into itself", lambda: os.rename("public", "public/d/x"))
    attempt("over a full one", lambda: (os.mkdir("e1"), os.rename("e1", "public")))
    attempt("over an empty one", lambda: (os.mkdir("e2"), os.rename("e1", "e2"), os.listdir("e2")))
    attempt("link a directory", lambda: os.link("public", "public2"))
    attempt("link over a file", lambda: os.link("low/file", "bits"))
    attempt("link a link", lambda: (os.link("low/link", "l2", follow_symlinks=False), os.readlink("l2")))
    attempt("negative", lambda: os.truncate("low/file", -1))
    attempt("truncate a directory", lambda: os.truncate("low", 0))
    attempt("readlink a file", lambda: os.readlink("low/file"))
    attempt("rmdir .", lambda: os.rmdir("public/."))


def renames():
    attempt("not over", lambda: rename2("low/file", "low/other", 1))
    attempt("not over nothing", lambda: rename2("low/other", "low/third", 1))
    attempt("exchange", lambda: (rename2("low/file", "low/third", 2), get("low/file"), get("low/third")))
    attempt("with nothing", lambda: rename2("low/file", "low/none", 2))
    os.mkdir("xd")
    put("xd/inside", "1")
    attempt("directory and file", lambda: (rename2("xd", "low/third", 2), os.listdir("low/third"), looks("xd")))
    os.makedirs("pure/sub")
    put("pure/sub/b", "2")
    os.rename("pure", "pure2")
    with open("pure2/sub/b") as file:
        os.rename("pure2", "pure3")
        say("moved", os.listdir("pure3"), get("pure3/sub/b"), file.read())


def hard_links():
    number = os.stat("low/h1").st_ino
    say(looks("low/h1"), looks("low/h2"), os.stat("low/h2").st_ino == number)
    put("low/h2", "changed")
    say("copied", get("low/h1"), looks("low/h1"), looks("low/h2"))
    say("number", os.stat("low/h1").st_ino == number, os.stat("low/h2").st_ino == number)
    os.link("low/h1", "h3")
    say("three", looks("low/h2"), looks("h3"))
    os.unlink("low/h1")
    say("two", looks("low/h2"))
    os.rename("low/h2", "h2")
    say("moved", looks("h3"), get("h2"))
    os.unlink("h3")
    say("one", looks("h2"))
    os.unlink("low/g1")
    say("other", looks("low/g2"))


def open_files():
    number = os.stat("low/big").st_ino
    with open("low/big", "rb") as reader, open("low/big", "r+b") as writer:
        reader.read(10)
        writer.write(b"CHANGED")
        writer.flush()
        listed = [entry.inode() for entry in os.scandir("low") if entry.name == "big"]
        say("number", os.stat("low/big").st_ino == number, listed == [number])
        say("anew", get("low/big")[:10])
    with open("low/small", "rb") as reader, open("low/small", "r+b") as writer:
        writer.write(b"CHANGED")
        writer.flush()
        say("small", reader.read())
    with open("low/gone", "r+") as file:
        os.unlink("low/gone")
        say("gone", file.read(), os.fstat(file.fileno()).st_nlink)
        file.seek(0)
        file.write("zzz")
        file.seek(0)
        say("written", file.read())
    with open("low/gone2") as file:
        os.unlink("low/gone2")
        os.fchmod(file.fileno(), 0o600)
        say("changed", oct(os.fstat(file.fileno()).st_mode), file.read())
    directory = os.open("low/empty", os.O_RDONLY)
    os.rmdir("low/empty")
    say("removed", os.listdir(directory), os.fstat(directory).st_nlink)
    attempt("inside", lambda: os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.close(directory)
    nameless = os.open("low", os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(nameless, b"text")
    say("nameless", oct(os.fstat(nameless).st_mode), os.fstat(nameless).st_nlink)
    libc.linkat(-100, b"/proc/self/fd/%d" % nameless, -100, b"low/named", 0x400)
    os.close(nameless)
    attempt("named", lambda: (get("low/named"), looks("low/named")))
    one = os.open("low/append", os.O_WRONLY | os.O_APPEND)
    two = os.open("low/append", os.O_WRONLY | os.O_APPEND)
    for file, text in ((one, b"one"), (two, b"two"), (one, b"three")):
        os.write(file, text)
    say("append", get("low/append"))


def memory():
    with open("low/mapped", "r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        pages[5:8] = b"XYZ"
        pages.flush()
        say("large", get("low/mapped")[:10])
    with open("low/little", "r+b") as file:
        with mmap.mmap(file.fileno(), 0) as pages:
            pages[1:3] = b"QQ"
        say("small", get("low/little"))
        with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as pages:
            pages[1:3] = b"PP"
            say("private", pages[:6], get("low/little"))


def locks():
    def locked(lock):
        with open("low/little", "r+") as file:
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return "free"

    with open("low/little", "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        say("flock", elsewhere(lambda: locked(fcntl.flock), 0, 0), elsewhere(lambda: locked(fcntl.lockf), 0, 0))
        fcntl.lockf(file, fcntl.LOCK_EX)
        say("lockf", elsewhere(lambda: locked(fcntl.lockf), 0, 0))
    say("afterwards", elsewhere(lambda: locked(fcntl.flock), 0, 0), elsewhere(lambda: locked(fcntl.lockf), 0, 0))


def holes():
    # Copied. Of what somebody may write to by memory nobody can say where its holes are.
    open("low/sparse", "r+b").close()
    with open("low/sparse", "rb") as file:
        say(os.lseek(file.fileno(), 0, os.SEEK_DATA) > 0, os.lseek(file.fileno(), 0, os.SEEK_HOLE))
    status = os.stat("low/sparse")
    say("copied", status.st_blocks * 512 < 200_000, status.st_size)
    with open("allocated", "w+b") as file:
        os.posix_fallocate(file.fileno(), 0, 100_000)
        say("allocated", os.fstat(file.fileno()).st_size)
        file.write(b"a" * 100_000)
        file.flush()
        say("punched", libc.fallocate(file.fileno(), 3, 8192, 8192))
        file.seek(8192)
        say(file.read(4))
    with open("low/mapped", "rb") as source, open("copy", "w+b") as copy:
        count = os.copy_file_range(source.fileno(), copy.fileno(), 5000, 100)
        say("copied", count, copy.read()[:20] == get("low/mapped")[100:120].encode())


def attributes():
    os.setxattr("low/attr", "user.x", b"1")
    say(sorted(os.listxattr("low/attr")), os.getxattr("low/attr", "user.low"))
    attempt("none", lambda: os.getxattr("low/attr", "user.none"))
    attempt("remove", lambda: os.removexattr("low/attr", "user.low"))
    attempt("again", lambda: os.removexattr("low/attr", "user.low"))
    attempt("create", lambda: os.setxattr("low/attr", "user.x", b"2", os.XATTR_CREATE))
    attempt("replace", lambda: os.setxattr("low/attr", "user.none", b"2", os.XATTR_REPLACE))
    attempt("of a link", lambda: os.setxattr("low/link", "user.x", b"2", follow_symlinks=False))
    os.setxattr("low/link", "trusted.x", b"2", follow_symlinks=False)
    say("trusted", os.getxattr("low/link", "trusted.x", follow_symlinks=False))
    say("not trusted", elsewhere(lambda: os.setxattr("public/file", "trusted.x", b"1")))
    key = "security.capability"
    value = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr("low/capable", key, value)
    os.chmod("low/capable", 0o700)
    say("capable", os.getxattr("low/capable", key) == value)
    put("low/capable", "new")
    attempt("written", lambda: os.getxattr("low/capable", key))
    # An access list: the owner, user 1000 may read, the group and others nothing, at most what the mask says.
    entries = ((1, 6, 0xFFFFFFFF), (2, 4, 1000), (4, 0, 0xFFFFFFFF), (16, 4, 0xFFFFFFFF), (32, 0, 0xFFFFFFFF))
    packed = b"\x02\0\0\0" + b"".join(
        tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, rights, who in entries
    )
    os.setxattr("low/listed", "system.posix_acl_access", packed)
    say("listed", looks("low/listed"), elsewhere(lambda: get("low/listed")))
    say("another", elsewhere(lambda: get("low/listed"), 1001, 1001))
    os.mkdir("hands")
    os.setxattr("hands", "system.posix_acl_default", packed)
    put("hands/down", "x")
    os.mkdir("hands/below")
    say("handed down", looks("hands/down"), os.getxattr("hands/down", "system.posix_acl_access") == packed)
    say(os.getxattr("hands/below", "system.posix_acl_default") == packed)


def times():
    os.utime("low/times", ns=(1_000_000_001, 2_000_000_002))
    say(os.stat("low/times").st_atime_ns, os.stat("low/times").st_mtime_ns)
    os.utime("low/dated", ns=(5, -7))
    say("before 1970", os.stat("low/dated").st_mtime_ns)
    before = os.stat("low/holder").st_mtime_ns
    os.chmod("low/holder/f", 0o600)
    say("kept", os.stat("low/holder").st_mtime_ns == before)
    os.unlink("low/holder/f")
    say("new", os.stat("low/holder").st_mtime_ns != before)


def directories():
    os.mkdir("many")
    for number in range(1000):
        os.close(os.open(f"many/f{number}", os.O_CREAT | os.O_WRONLY))
    count = 0
    for entry in os.scandir("many"):
        os.unlink(entry.path)
        count += 1
    say("removed while read", count, os.listdir("many"))
    say(sorted(os.listdir("low")))


def special_files():
    os.mknod("null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    say(os.stat("null").st_rdev, elsewhere(lambda: open("null", "wb").write(b"x"), 0, 0))
    os.mknod("large", stat.S_IFBLK | 0o600, os.makedev(300, 70000))
    say(os.major(os.stat("large").st_rdev), os.minor(os.stat("large").st_rdev))
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind("socket")
        listener.listen()
        client.connect("socket")
        os.rename("socket", "socket2")
        say(looks("socket2"), socket.socket(socket.AF_UNIX).connect("socket2"))
    pipe = os.O_RDWR | os.O_NONBLOCK
    say("fifo", looks("low/fifo"), elsewhere(lambda: os.close(os.open("low/fifo", pipe)), 0, 0))
    os.chmod("low/program", 0o755)
    say("run", os.popen("low/program").read())
    say(os.statvfs(".").f_namemax)


for part in (
    owners_and_modes,
    set_id_bits,
    failures,
    renames,
    hard_links,
    open_files,
    memory,
    locks,
    holes,
    attributes,
    times,
    directories,
    special_files,
):
    say("---", part.__name__)
    part()
