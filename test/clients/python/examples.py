"""Ordinary programs with Docker's Python library (Debian's python3-docker), one function each.

Run as `examples.py NAME`, with DOCKER_HOST at the daemon, IMAGE a busybox image it has, REGISTRY a registry that may
be written to and PREFIX the beginning ("10.1.2.") of addresses nobody else has. The first line of each function's documentation is the name of the test. An example ends with an
exception if anything is other than it should be.
"""

import io
import os
import socket
import sys
import tarfile
import tempfile
import threading
import urllib.request

import docker
from docker.types import IPAMConfig, IPAMPool, LogConfig, Mount, Ulimit

IMAGE = os.environ["IMAGE"]
REGISTRY = os.environ["REGISTRY"]
PREFIX = os.environ["PREFIX"]


def ping_version_info(client):
    """the daemon introduces itself"""
    assert client.ping() is True
    version = client.version()
    assert version["Os"] == "linux"
    assert [int(part) for part in version["ApiVersion"].split(".")] >= [1, 41]
    info = client.info()
    assert info["OSType"] == "linux"
    assert info["NCPU"] == os.cpu_count()
    usage = client.df()
    assert isinstance(usage["LayersSize"], int)
    assert docker.DockerClient.from_env(version="auto").ping()


def run_to_the_end(client):
    """run answers with the output"""
    assert client.containers.run(IMAGE, "echo hello world") == b"hello world\n"
    assert client.containers.run(IMAGE, ["sh", "-c", "echo out; echo err >&2"], stderr=True, remove=True) in (
        b"out\nerr\n",
        b"err\nout\n",
    )
    assert client.containers.run(IMAGE, ["sh", "-c", "echo out; echo err >&2"], remove=True) == b"out\n"
    lines = client.containers.run(IMAGE, ["sh", "-c", "echo 1; echo 2"], stream=True)
    assert b"".join(lines) == b"1\n2\n"
    assert len(client.containers.prune()["ContainersDeleted"]) == 2


def run_that_fails(client):
    """run raises ContainerError, ImageNotFound and APIError"""
    try:
        client.containers.run(IMAGE, ["sh", "-c", "echo why >&2; exit 3"], remove=True)
        raise AssertionError("exit code 3 went unnoticed")
    except docker.errors.ContainerError as error:
        assert error.exit_status == 3
        assert error.stderr == b"why\n", error.stderr
    try:
        client.containers.run(IMAGE, "no-such-command", name="failing")
        raise AssertionError("a missing command went unnoticed")
    except docker.errors.APIError as error:
        assert error.status_code == 400, error
        assert "executable file not found in $PATH" in error.explanation
    client.containers.get("failing").remove()
    try:
        client.images.get("no/such/image")
        raise AssertionError("a missing image went unnoticed")
    except docker.errors.ImageNotFound as error:
        assert error.explanation == "No such image: no/such/image:latest", error.explanation
    try:
        client.containers.get("nobody")
        raise AssertionError("a missing container went unnoticed")
    except docker.errors.NotFound as error:
        assert error.explanation == "No such container: nobody"


def run_detached(client):
    """a detached container: its environment, labels, logs, states, and its end"""
    container = client.containers.run(
        IMAGE,
        ["sh", "-c", "echo $GREETING; hostname; pwd; id -u; exec sleep 1000"],
        name="detached",
        detach=True,
        environment={"GREETING": "good day"},
        hostname="somewhere",
        labels={"made.by": "python"},
        working_dir="/tmp",
        user="1000:1000",
    )
    assert container.name == "detached"
    assert container.labels["made.by"] == "python"
    assert IMAGE in container.image.tags
    lines = container.logs(stream=True, follow=True)
    text = b""
    while text.count(b"\n") < 4:
        text += next(lines)
    assert text == b"good day\nsomewhere\n/tmp\n1000\n", text
    assert container.logs(tail=1) == b"1000\n"
    assert container.logs(timestamps=True).startswith(b"20")
    container.reload()
    assert container.status == "running"
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.rename("renamed")
    assert client.containers.get("renamed").id == container.id
    assert [found.id for found in client.containers.list(filters={"label": "made.by=python"})] == [container.id]
    top = container.top()
    assert "PID" in top["Titles"]
    assert any("sleep 1000" in " ".join(process) for process in top["Processes"])
    # The shell says its last line before it becomes the sleep.
    for _ in range(600):
        named = " ".join(container.top(ps_args="-o pid,comm")["Processes"][0])
        if "sleep" in named:
            break
        threading.Event().wait(0.05)
    assert "sleep" in named, named
    container.update(mem_limit="64m", memswap_limit="64m")
    container.reload()
    assert container.attrs["HostConfig"]["Memory"] == 64 << 20
    container.kill(signal="KILL")
    assert container.wait() == {"StatusCode": 137}, container.wait()
    container.reload()
    assert container.status == "exited"
    container.restart(timeout=0)
    container.reload()
    assert container.status == "running"
    container.stop(timeout=0)
    assert container.wait(condition="not-running")["StatusCode"] == 137
    assert client.containers.list() == []
    assert [found.id for found in client.containers.list(all=True)] == [container.id]
    container.remove()
    assert client.containers.list(all=True) == []


def create_with_resources(client):
    """limits and options are what inspect says"""
    container = client.containers.create(
        IMAGE,
        "true",
        mem_limit="128m",
        nano_cpus=500_000_000,
        pids_limit=50,
        cap_add=["NET_ADMIN"],
        cap_drop=["MKNOD"],
        ulimits=[Ulimit(name="nofile", soft=100, hard=200)],
        sysctls={"net.ipv4.ip_forward": "1"},
        tmpfs={"/scratch": "size=1m"},
        shm_size="16m",
        read_only=True,
        init=True,
        extra_hosts={"elsewhere": "10.1.2.3"},
        dns=["10.9.9.9"],
        restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
        log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "1m"}),
        security_opt=["no-new-privileges"],
        healthcheck={"test": ["CMD", "true"], "interval": 10**9, "retries": 2},
        stop_signal="SIGINT",
        tty=True,
        stdin_open=True,
    )
    host = container.attrs["HostConfig"]
    assert host["Memory"] == 128 << 20
    assert host["NanoCpus"] == 500_000_000
    assert host["PidsLimit"] == 50
    assert host["CapAdd"] == ["NET_ADMIN"]
    assert host["Ulimits"] == [{"Name": "nofile", "Soft": 100, "Hard": 200}]
    assert host["Tmpfs"] == {"/scratch": "size=1m"}
    assert host["ShmSize"] == 16 << 20
    assert host["ReadonlyRootfs"] is True
    assert host["ExtraHosts"] == ["elsewhere:10.1.2.3"]
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 2}
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "1m"}}
    config = container.attrs["Config"]
    assert config["Healthcheck"]["Test"] == ["CMD", "true"]
    assert config["StopSignal"] == "SIGINT"
    assert config["Tty"] is True
    assert container.status == "created"
    container.remove()


def ports(client):
    """a published port is found and answers"""
    container = client.containers.run(
        IMAGE,
        ["sh", "-c", "mkdir /www; echo served >/www/index.html; exec httpd -f -p 80 -h /www"],
        detach=True,
        ports={"80/tcp": ("127.0.0.1", None), "81/udp": None},
    )
    container.reload()
    published = container.ports["80/tcp"]
    assert len(published) == 1 and published[0]["HostIp"] == "127.0.0.1", published
    assert int(container.ports["81/udp"][0]["HostPort"]) > 0
    url = "http://127.0.0.1:%s/index.html" % published[0]["HostPort"]
    body = None
    for _ in range(1200):
        try:
            body = urllib.request.urlopen(url, timeout=5).read()
            break
        except OSError:
            threading.Event().wait(0.05)
    assert body == b"served\n", body
    assert client.api.port(container.id, 80) == published
    container.remove(force=True)


def volumes(client):
    """volumes, binds and mounts keep what is written"""
    volume = client.volumes.create(name="python-data", driver="local", labels={"kind": "test"})
    assert volume.name == "python-data"
    assert volume.attrs["Labels"] == {"kind": "test"}
    with tempfile.TemporaryDirectory() as directory:
        client.containers.run(
            IMAGE,
            ["sh", "-c", "echo kept >/data/file; echo outside >/bound/file; echo third >/mounted/x"],
            volumes={"python-data": {"bind": "/data", "mode": "rw"}, directory: {"bind": "/bound", "mode": "rw"}},
            mounts=[Mount(target="/mounted", source="python-more", type="volume")],
            remove=True,
        )
        with open(os.path.join(directory, "file")) as file:
            assert file.read() == "outside\n"
    again = client.containers.run(IMAGE, "cat /data/file", volumes=["python-data:/data:ro"], remove=True)
    assert again == b"kept\n"
    try:
        client.containers.run(IMAGE, "touch /data/more", volumes=["python-data:/data:ro"], remove=True)
        raise AssertionError("written to a read-only volume")
    except docker.errors.ContainerError as error:
        assert b"Read-only file system" in error.stderr
    assert [found.name for found in client.volumes.list(filters={"label": "kind=test"})] == ["python-data"]
    holder = client.containers.create(IMAGE, "true", volumes=["python-data:/data"])
    try:
        volume.remove()
        raise AssertionError("a volume in use was removed")
    except docker.errors.APIError as error:
        assert error.status_code == 409
    holder.remove()
    volume.remove()
    client.volumes.get("python-more").remove()
    anonymous = client.volumes.create()
    assert anonymous.id in client.volumes.prune()["VolumesDeleted"]


def exec_run(client):
    """exec_run: output, apart and as a stream, exit codes, environment, and a socket"""
    container = client.containers.run(IMAGE, "sleep 1000", detach=True)
    assert container.exec_run("echo hi") == (0, b"hi\n")
    assert container.exec_run(["sh", "-c", "exit 5"]).exit_code == 5
    code, output = container.exec_run(["sh", "-c", "echo out; echo err >&2"], demux=True)
    assert (code, output) == (0, (b"out\n", b"err\n")), output
    assert container.exec_run("pwd", workdir="/tmp").output == b"/tmp\n"
    assert container.exec_run(["sh", "-c", "echo $A"], environment={"A": "b"}).output == b"b\n"
    assert container.exec_run("id -u", user="65534").output == b"65534\n"
    stream = container.exec_run(["sh", "-c", "echo 1; echo 2"], stream=True).output
    assert b"".join(stream) == b"1\n2\n"
    assert container.exec_run("tty", tty=True, stdin=True).output.startswith(b"/dev/pts/")
    detached = container.exec_run("touch /made", detach=True)
    assert detached.output == ""
    assert container.exec_run("no-such").exit_code == 127

    handle = client.api.exec_create(container.id, ["cat"], stdin=True)["Id"]
    connection = client.api.exec_start(handle, socket=True)
    connection._sock.sendall(b"through the socket\n")
    connection._sock.shutdown(socket.SHUT_WR)
    frames = b"".join(chunk for _, chunk in docker.utils.socket.frames_iter(connection, tty=False))
    assert frames == b"through the socket\n", frames
    seen = client.api.exec_inspect(handle)
    assert seen["ExitCode"] == 0 and seen["Running"] is False
    assert seen["ProcessConfig"]["entrypoint"] == "cat"
    container.remove(force=True)


def attach_socket(client):
    """what is written to an attached container's input comes back"""
    container = client.containers.create(IMAGE, "cat", stdin_open=True)
    connection = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    connection._sock.sendall(b"line\n")
    stream, chunk = next(docker.utils.socket.frames_iter(connection, tty=False))
    assert (stream, chunk) == (1, b"line\n")
    connection._sock.close()
    container.remove(force=True)

    speaker = client.containers.create(IMAGE, ["sh", "-c", "echo out; echo err >&2"])
    output = speaker.attach(stdout=True, stderr=True, stream=True, demux=True)
    speaker.start()
    assert sorted(output, key=str) == sorted([(b"out\n", None), (None, b"err\n")], key=str)
    speaker.remove()


def terminal(client):
    """a terminal of a size of its own"""
    container = client.containers.run(IMAGE, "sh", tty=True, stdin_open=True, detach=True)
    container.resize(height=33, width=111)
    connection = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    connection._sock.sendall(b"stty size\nexit 4\n")
    text = b""
    while b"33 111" not in text:
        chunk = connection._sock.recv(4096)
        assert chunk, text
        text += chunk
    assert container.wait()["StatusCode"] == 4
    container.remove()


def stats(client):
    """statistics, once and as a stream"""
    container = client.containers.run(IMAGE, "sleep 1000", detach=True, mem_limit="64m")
    once = container.stats(stream=False)
    assert once["id"] == container.id
    assert once["memory_stats"]["limit"] == 64 << 20
    assert once["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert once["precpu_stats"]["cpu_usage"]["total_usage"] >= 0
    assert once["pids_stats"]["current"] == 1
    assert once["networks"]["eth0"]["rx_bytes"] >= 0
    samples = container.stats(decode=True)
    first, second = next(samples), next(samples)
    assert second["preread"] == first["read"]
    container.remove(force=True)


def events(client):
    """events of a container's life, live and afterwards"""
    live = client.events(decode=True, filters={"type": "container", "label": "watched"})
    container = client.containers.run(IMAGE, "true", detach=True, labels=["watched"], name="watched")
    container.wait()
    container.remove()
    seen = []
    for event in live:
        seen.append(event)
        if event["Action"] == "destroy":
            break
    live.close()
    assert [event["Action"] for event in seen] == ["create", "start", "die", "destroy"], seen
    die = seen[2]
    assert die["id"] == container.id and die["from"] == IMAGE and die["status"] == "die"
    assert die["Actor"]["Attributes"]["exitCode"] == "0"
    assert die["Actor"]["Attributes"]["name"] == "watched"
    assert die["timeNano"] // 10**9 == die["time"]
    later = client.events(
        since=seen[0]["time"], until=seen[-1]["time"] + 1, decode=True, filters={"container": container.id}
    )
    assert [event["Action"] for event in later] == ["create", "start", "die", "destroy"]


def archives(client):
    """put_archive and get_archive"""
    container = client.containers.create(IMAGE, "cat /tmp/in.txt")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("in.txt")
        entry.size = 7
        entry.mode = 0o640
        tar.addfile(entry, io.BytesIO(b"content"))
    assert container.put_archive("/tmp", packed.getvalue()) is True
    container.start()
    container.wait()
    assert container.logs() == b"content"
    chunks, stat = container.get_archive("/tmp/in.txt")
    assert stat["name"] == "in.txt" and stat["size"] == 7 and stat["mode"] & 0o777 == 0o640
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        assert tar.getnames() == ["in.txt"]
        assert tar.extractfile("in.txt").read() == b"content"
    assert {"Path": "/tmp/in.txt", "Kind": 1} in container.diff()
    try:
        container.get_archive("/no/such")
        raise AssertionError("a missing path went unnoticed")
    except docker.errors.NotFound as error:
        assert "Could not find the file /no/such in container" in error.explanation, error.explanation
    exported = tarfile.open(fileobj=io.BytesIO(b"".join(container.export())))
    assert "tmp/in.txt" in exported.getnames()
    container.remove()


def commit(client):
    """commit makes an image that runs"""
    container = client.containers.run(IMAGE, ["sh", "-c", "echo new >/new"], detach=True)
    container.wait()
    image = container.commit(repository="python/committed", tag="1", message="why", changes=["CMD cat /new"])
    assert image.tags == ["python/committed:1"]
    assert client.containers.run("python/committed:1", remove=True) == b"new\n"
    assert image.history()[0]["Comment"] == "why"
    container.remove()
    client.images.remove("python/committed:1")


def images(client):
    """images are tagged, pushed, pulled, listed, saved, loaded and removed"""
    name = REGISTRY + "/python/busybox"
    image = client.images.get(IMAGE)
    assert image.id.startswith("sha256:")
    assert image.tag(name, tag="1") is True
    image.reload()
    assert name + ":1" in image.tags
    lines = list(client.images.push(name, tag="1", stream=True, decode=True))
    assert not [line for line in lines if "error" in line], lines
    assert any("aux" in line and line["aux"]["Tag"] == "1" for line in lines)
    client.images.remove(name + ":1")
    pulled = client.images.pull(name, tag="1")
    assert pulled.id == image.id
    assert pulled.attrs["RepoDigests"][0].startswith(name + "@sha256:")
    progress = list(client.api.pull(name, tag="1", stream=True, decode=True))
    assert progress[-1]["status"] == "Status: Image is up to date for %s:1" % name
    registry_data = client.images.get_registry_data(name + ":1")
    assert registry_data.id == pulled.attrs["RepoDigests"][0].split("@")[1]
    assert registry_data.has_platform("linux/amd64") or registry_data.has_platform("linux/arm64")
    assert [found.id for found in client.images.list(name=name)] == [image.id]
    assert client.images.list(filters={"dangling": True}) == []
    saved = b"".join(pulled.save(named=name + ":1"))
    client.images.remove(name + ":1")
    loaded = client.images.load(saved)
    assert [found.id for found in loaded] == [image.id]
    assert name + ":1" in loaded[0].tags
    client.images.remove(name + ":1")
    try:
        client.images.pull(REGISTRY + "/no/such", tag="1")
        raise AssertionError("a missing image was pulled")
    except docker.errors.NotFound as error:
        assert "manifest unknown" in error.explanation or "not found" in error.explanation, error.explanation
    imported = client.api.import_image_from_data(tar_of("hello", b"x"), repository="python/imported")
    assert "sha256:" in imported
    client.images.remove("python/imported")
    assert "ImagesDeleted" in client.images.prune()


def networks(client):
    """a network of its own, with aliases, an address and a subnet"""
    pool = IPAMPool(subnet=PREFIX + "0/24", gateway=PREFIX + "1")
    network = client.networks.create(
        "python-net", driver="bridge", ipam=IPAMConfig(pool_configs=[pool]), labels={"kind": "test"}
    )
    assert network.attrs["IPAM"]["Config"] == [{"Subnet": PREFIX + "0/24", "Gateway": PREFIX + "1"}]
    server = client.containers.run(IMAGE, "sleep 1000", detach=True, name="server", network="python-net")
    server.reload()
    assert server.attrs["NetworkSettings"]["Networks"]["python-net"]["IPAddress"].startswith(PREFIX)
    other = client.containers.run(IMAGE, "sleep 1000", detach=True, name="other")
    network.connect(other, aliases=["second"], ipv4_address=PREFIX + "50")
    other.reload()
    endpoint = other.attrs["NetworkSettings"]["Networks"]["python-net"]
    assert endpoint["IPAddress"] == PREFIX + "50"
    assert "second" in endpoint["Aliases"]
    assert sorted(other.attrs["NetworkSettings"]["Networks"]) == ["bridge", "python-net"]
    assert server.exec_run("ping -c 1 -w 5 second").exit_code == 0
    assert other.exec_run("ping -c 1 -w 5 server").exit_code == 0
    network.reload()
    assert sorted(found.name for found in network.containers) == ["other", "server"]
    assert [found.name for found in client.networks.list(names=["python-net"])] == ["python-net"]
    network.disconnect(other)
    assert server.exec_run("ping -c 1 -w 2 second").exit_code != 0
    try:
        network.remove()
        raise AssertionError("a network in use was removed")
    except docker.errors.APIError as error:
        assert error.status_code == 403 and "has active endpoints" in error.explanation, error
    server.remove(force=True)
    other.remove(force=True)
    network.remove()
    unused = client.networks.create("python-unused")
    assert unused.name in client.networks.prune()["NetworksDeleted"]


def tar_of(name, content):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


if __name__ == "__main__":
    globals()[sys.argv[1]](docker.from_env(timeout=60))
