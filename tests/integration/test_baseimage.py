"""The base image on a real engine: who gets in, what is inside, and how it ends."""

import contextlib
import io
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import docker
import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from docker.models.containers import Container

from compute.adapters.engine.baseimage import (
    BaseImage,
    BaseImageSettings,
    Origin,
    ensure_base_image,
    find_base_image,
)

pytestmark = pytest.mark.engine
# What the miner grants a lease.
CAPABILITIES = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
    "SYS_CHROOT",
]


@dataclass
class Key:
    """A fresh key in the forms that OpenSSH and paramiko read."""

    private: Ed25519PrivateKey

    @classmethod
    def make(cls) -> "Key":
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @property
    def pem(self) -> str:
        """The private half, as `ssh-keygen` writes it."""
        return self.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        ).decode()

    @property
    def line(self) -> str:
        """The public half, as in `authorized_keys`."""
        encoding, form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
        return self.private.public_key().public_bytes(encoding, form).decode()

    @property
    def paramiko(self) -> paramiko.PKey:
        """For paramiko."""
        return paramiko.Ed25519Key(file_obj=io.StringIO(self.pem))


@dataclass
class Lease:
    """A running container with the folder that its keys are read from."""

    container: Container
    keys: Path
    host: Key
    renter: Key

    def supply(self) -> None:
        """Write the keys, the host key last."""
        self.write("authorized_keys", self.renter.line + "\n", 0o644)
        self.write("host_key", self.host.pem, 0o600)

    def write(self, name: str, text: str, mode: int) -> None:
        """Put a file in place whole."""
        part = self.keys / f".{name}"
        part.write_text(text)
        part.chmod(mode)
        part.rename(self.keys / name)

    def port(self) -> int:
        """Where the SSH port is published on this host."""
        self.container.reload()
        return int(self.container.ports["22/tcp"][0]["HostPort"])

    def login(self, user: str = "renter", **how: object) -> paramiko.SSHClient:
        """Log in, with the renter's key unless told otherwise, to the pinned host key."""
        self.await_banner()
        client = paramiko.SSHClient()
        name = f"[127.0.0.1]:{self.port()}"
        client.get_host_keys().add(name, "ssh-ed25519", self.host.paramiko)
        options = {"pkey": self.renter.paramiko} | how
        client.connect(
            "127.0.0.1", self.port(), user, allow_agent=False, look_for_keys=False, **options
        )
        return client

    def await_banner(self) -> None:
        """Wait until the server greets."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port()), timeout=2) as probe,
            ):
                if probe.recv(8).startswith(b"SSH-2.0"):
                    return
            time.sleep(0.02)
        raise AssertionError(self.container.logs().decode())


def run(client: paramiko.SSHClient, command: str) -> str:
    _, out, err = client.exec_command(command, timeout=30)
    text = out.read().decode()
    assert out.channel.recv_exit_status() == 0, err.read().decode()
    return text.strip()


@pytest.fixture
def start(
    engine_client: docker.DockerClient, base_image: BaseImage, tmp_path: Path
) -> Iterator[Callable[..., Lease]]:
    """Starts containers of the base image as the miner does, and removes them."""
    made: list[Container] = []

    def begin(*, supply: bool = True, **options: object) -> Lease:
        keys = tmp_path / f"keys{len(made)}"
        keys.mkdir(mode=0o755)
        lease = Lease(None, keys, Key.make(), Key.make())  # type: ignore[arg-type]
        if supply:
            lease.supply()
        lease.container = engine_client.containers.run(
            base_image.id,
            detach=True,
            cap_drop=["ALL"],
            cap_add=CAPABILITIES,
            security_opt=["no-new-privileges"],
            ports={"22/tcp": ("127.0.0.1", None)},
            volumes={str(keys): {"bind": "/run/compute", "mode": "ro"}},
            **options,
        )
        made.append(lease.container)
        return lease

    yield begin
    for container in made:
        container.remove(force=True)


@pytest.mark.parametrize(("user", "uid"), [("renter", "1000"), ("root", "0")])
def test_the_leases_key_opens_both_accounts(start: Callable[..., Lease], user: str, uid: str):
    """The renter logs in as himself and as root, to the host key that the lease was given."""
    with start().login(user) as client:
        assert run(client, "id -u") == uid


def test_no_other_key_and_no_password_gets_in(start: Callable[..., Lease]):
    """A stranger's key and any password are refused, and passwords are not even offered."""
    lease = start()
    with pytest.raises(paramiko.AuthenticationException):
        lease.login(pkey=Key.make().paramiko)
    with pytest.raises(paramiko.BadAuthenticationType) as refused:
        lease.login("root", pkey=None, password="")
    assert refused.value.allowed_types == ["publickey"]


def test_replaced_keys_count_at_once(start: Callable[..., Lease]):
    """Exchanging the authorized keys needs no restart: the new one works, the old one fails."""
    lease = start()
    lease.login().close()
    fresh = Key.make()
    lease.write("authorized_keys", fresh.line + "\n", 0o644)
    lease.login(pkey=fresh.paramiko).close()
    with pytest.raises(paramiko.AuthenticationException):
        lease.login()


def test_a_container_may_wait_for_its_keys(start: Callable[..., Lease]):
    """A container started without keys opens its port only once they are there."""
    lease = start(supply=False)
    time.sleep(0.5)
    lease.container.reload()
    assert lease.container.status == "running"
    assert b"listening" not in lease.container.logs()
    lease.supply()
    lease.login().close()


def test_a_container_without_keys_gives_up(start: Callable[..., Lease]):
    """Keys that never come end the container with a status and a line that say so."""
    lease = start(supply=False, environment={"COMPUTE_KEY_WAIT_S": "1"})
    assert lease.container.wait(timeout=10)["StatusCode"] == 64
    assert b"no host key within 1 s" in lease.container.logs()


@pytest.mark.parametrize("supply", [True, False])
def test_sigterm_ends_it_at_once(start: Callable[..., Lease], *, supply: bool):
    """A stop needs no kill, whether the server runs or still waits for its keys."""
    lease = start(supply=supply)
    if supply:
        lease.await_banner()
    else:
        time.sleep(0.3)
    begun = time.monotonic()
    lease.container.stop(timeout=10)
    assert time.monotonic() - begun < 5
    assert lease.container.wait()["StatusCode"] in {0, 143}


def test_sessions_see_the_containers_environment(start: Callable[..., Lease]):
    """Variables of the lease reach commands unchanged, quotes and all; our own do not."""
    odd = 'a "quoted" \\ value # with $HOME and %h'
    lease = start(environment={"ODD": odd, "PLAIN": "1", "COMPUTE_KEY_WAIT_S": "9", "TWO": "x\ny"})
    with lease.login() as client:
        assert run(client, "printenv ODD") == odd
        assert run(client, "printenv PLAIN") == "1"
        assert "COMPUTE_" not in run(client, "env")
        assert run(client, "bash -lc 'echo $PATH'") == run(client, "echo $PATH")


def test_a_password_works_only_where_one_was_asked_for(start: Callable[..., Lease]):
    """With a password file the renter may use his password, and root still may not."""
    lease = start(supply=False)
    # openssl passwd -6 -salt compute 'correct horse'
    hashed = (
        "$6$compute$w4J48WwYIchsisKlbSWKhIUE8LZ07ljPiJG."
        "RcJAiR1TG.Q2ocaX3zVAKXfcFinbvLtPDlSG5rDrGz.2Cuxtk/"
    )
    lease.write("password", f"renter:{hashed}\n", 0o600)
    lease.supply()
    with pytest.raises(paramiko.AuthenticationException):
        lease.login("root", pkey=None, password="correct horse")
    lease.login(pkey=None, password="correct horse").close()


def test_ports_can_be_forwarded(start: Callable[..., Lease]):
    """A renter reaches a service inside the container through his SSH session."""
    with start().login() as client:
        serve = (
            "import socket; socket.create_server(('127.0.0.1', 7000)).accept()[0].send(b'hello')"
        )
        client.exec_command(f'python3 -c "{serve}"')
        transport = client.get_transport()
        assert transport is not None
        deadline = time.monotonic() + 10
        while True:
            try:
                channel = transport.open_channel("direct-tcpip", ("127.0.0.1", 7000), ("", 0))
                break
            except paramiko.ChannelException:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        assert channel.recv(5) == b"hello"


def test_files_can_be_copied(start: Callable[..., Lease]):
    """SFTP works without a helper program in the image."""
    with start().login() as client, client.open_sftp() as sftp:
        with sftp.open("note", "w") as file:
            file.write("kept")
        assert run(client, "cat ~/note") == "kept"


def test_orphans_are_reaped(start: Callable[..., Lease]):
    """A process whose parent is gone leaves no zombie behind."""
    with start().login() as client:
        run(client, "sh -c '(sleep 0.1 &) ; true'")
        time.sleep(0.5)
        assert "Z" not in run(client, "ps -eo stat=")


def test_what_a_renter_expects_is_inside(start: Callable[..., Lease]):
    """Python with NumPy and pip, a compiler, and the tools to look around are there."""
    with start().login() as client:
        assert run(client, "python3 -c 'import numpy; print(numpy.arange(4).sum())'") == "6"
        assert run(client, "python -m pip --version").startswith("pip ")
        source = "int main(void){return 0;}"
        run(client, f"echo '{source}' > a.c && gcc a.c -o a && g++ -x c++ a.c -o b && ./a && ./b")
        run(client, "command -v make curl ip ps ss")


def test_no_secret_is_in_the_image(engine_client: docker.DockerClient, base_image: BaseImage):
    """The image carries no host key, no authorized key, no password and no machine id."""
    script = (
        "find / -xdev \\( -name 'ssh_host_*' -o -name authorized_keys \\) ; cat /etc/machine-id;"
        " cut -d: -f2 /etc/shadow | grep -v '^[*!]*$'; true"
    )
    shown = engine_client.containers.run(
        base_image.id, ["-c", script], entrypoint="/bin/sh", remove=True
    )
    assert shown == b""


def test_the_server_holds_strangers_at_bay(start: Callable[..., Lease]):
    """The server's effective settings allow keys only and cut off those who try."""
    lease = start()
    lease.await_banner()
    command = "/usr/sbin/sshd -T -f /etc/ssh/compute_sshd.conf"
    settings = lease.container.exec_run(command).output.decode().lower().splitlines()
    for line in (
        "passwordauthentication no",
        "kbdinteractiveauthentication no",
        "permitrootlogin without-password",
        "permitemptypasswords no",
        "maxauthtries 4",
        "logingracetime 20",
        "x11forwarding no",
        "permittunnel no",
        "allowtcpforwarding yes",
        "authorizedkeysfile /run/compute/authorized_keys",
    ):
        assert line in settings


def test_a_second_call_finds_the_first_ones_image(
    engine_client: docker.DockerClient, base_image: BaseImage, engine_state: Path, tmp_path: Path
):
    """Nothing is made twice, whatever state folder asks, and the record says what it is."""
    again = ensure_base_image(engine_client, BaseImageSettings(state=tmp_path))
    assert (again.id, again.built) == (base_image.id, False)
    record = (tmp_path / "baseimage" / "image.json").read_text()
    assert base_image.id in record
    assert again.origin.name.lower() in record
    assert engine_state != tmp_path


def test_an_image_that_a_renter_built_on_it_is_not_mistaken_for_it(
    engine_client: docker.DockerClient, base_image: BaseImage, tmp_path: Path
):
    """A derived image inherits the recipe's label, and still is not the base image."""
    text = f"FROM {base_image.id}\nRUN touch /derived\n".encode()
    derived, _ = engine_client.images.build(
        fileobj=io.BytesIO(text), tag="compute-test-derived", rm=True
    )
    try:
        found = find_base_image(engine_client, BaseImageSettings(state=tmp_path).recipe())
        assert found is not None
        assert found.id == base_image.id != derived.id
    finally:
        engine_client.images.remove("compute-test-derived", force=True)


@pytest.mark.slow
def test_a_base_that_the_engine_holds_is_built_upon(
    engine_client: docker.DockerClient, base_image: BaseImage, tmp_path: Path
):
    """With a base image at hand the Dockerfile gives the same kind of image, and says from what."""
    base = f"compute-base:{base_image.recipe[:12]}"
    settings = BaseImageSettings(state=tmp_path, base=base)
    image = ensure_base_image(engine_client, settings)
    try:
        assert (image.origin, image.built) == (Origin.HELD, True)
        assert image.base == f"{base}@{base_image.id}"
        config = engine_client.images.get(image.id).attrs["Config"]
        assert config["Entrypoint"] == ["/usr/local/sbin/compute-entry"]
        assert config["Labels"]["io.compute.managed"] == "1"
    finally:
        engine_client.images.remove(image.id, force=True)
