"""The base image's recipe: what it is found by, and where its packages come from."""

from dataclasses import replace
from pathlib import Path

import pytest

from compute.adapters.engine.baseimage import BaseImageSettings, Recipe, default_base
from compute.adapters.engine.baseimage.mirror import find_mirror, read_sources
from compute.adapters.engine.baseimage.registry import registry_host
from compute.errors import Code, EngineError

DEBIAN = 'ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian"\n'
UBUNTU = "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\n"
MINT = 'ID=linuxmint\nID_LIKE="ubuntu debian"\nVERSION_CODENAME=wilma\nUBUNTU_CODENAME=noble\n'


@pytest.fixture
def host(tmp_path: Path):
    """Writes a machine's apt sources and release, and returns what `find_mirror` takes."""

    def write(release: str, **files: str) -> tuple[Path, Path]:
        (tmp_path / "os-release").write_text(release)
        (tmp_path / "sources.list.d").mkdir(exist_ok=True)
        for name, text in files.items():
            folder = tmp_path if name == "main" else tmp_path / "sources.list.d"
            file = "sources.list" if name == "main" else name.replace("_", ".")
            (folder / file).write_text(text)
        return tmp_path, tmp_path / "os-release"

    return write


def test_a_one_line_source_is_read(host):
    """Options, comments, source packages and other releases do not confuse the reading."""
    text = """
    # deb http://old.example/debian bookworm main
    deb-src http://a.example/debian bookworm main
    deb [arch=amd64 signed-by=/k/k.gpg] http://a.example/debian bookworm main contrib
    deb http://a.example/debian bookworm-updates main
    deb http://s.example/security bookworm-security main # patches
    deb http://b.example/debian trixie main
    deb http://c.example/debian bookworm-backports main
    """
    mirror = find_mirror(*host(DEBIAN, main=text))
    assert mirror.suite == "bookworm"
    assert mirror.primary.uri == "http://a.example/debian"
    assert mirror.primary.components == ("main", "contrib")
    assert mirror.primary.keyring == "/k/k.gpg"
    assert [line for source in mirror.sources for line in source.lines()] == [
        "deb http://a.example/debian bookworm main contrib",
        "deb http://a.example/debian bookworm-updates main",
        "deb http://s.example/security bookworm-security main",
    ]


def test_a_stanza_source_is_read(host):
    """The newer form works, with several suites, folded fields, comments and disabled stanzas."""
    text = """\
Types: deb deb-src
# a comment inside
URIs: http://a.example/ubuntu/
Suites: noble noble-updates noble-backports
Components: main
 universe
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.gpg

Types: deb
URIs: http://off.example/ubuntu
Suites: noble
Components: main
Enabled: no

Types: deb
URIs: http://s.example/ubuntu
Suites: noble-security
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
"""
    mirror = find_mirror(*host(UBUNTU, ubuntu_sources=text))
    assert mirror.primary.uri == "http://a.example/ubuntu/"
    assert mirror.primary.components == ("main", "universe")
    assert mirror.primary.keyring == "/usr/share/keyrings/ubuntu-archive-keyring.gpg"
    assert [source.suites for source in mirror.sources] == [
        ("noble", "noble-updates"),
        ("noble-security",),
    ]
    assert mirror.sources[1].keyring == ""


def test_a_list_of_mirrors_is_followed(host, tmp_path: Path):
    """Cloud images name their mirror in a file of their own."""
    mirrors = tmp_path / "mirrors.list"
    mirrors.write_text("# nearest first\nhttp://near.example/debian priority:1\n")
    text = f"Types: deb\nURIs: mirror+file:{mirrors}\nSuites: bookworm\nComponents: main\n"
    mirror = find_mirror(*host(DEBIAN, debian_sources=text))
    assert mirror.primary.uri == "http://near.example/debian"


def test_a_derivative_uses_the_release_that_it_is_made_from(host):
    """The code name is Ubuntu's where a derivative has its own."""
    text = "deb http://a.example/ubuntu noble main\n"
    assert find_mirror(*host(MINT, main=text)).suite == "noble"


@pytest.mark.parametrize(
    ("release", "text"),
    [
        ("ID=fedora\nVERSION_CODENAME=x\n", "deb http://a.example/debian x main"),
        (DEBIAN, "deb http://a.example/debian trixie main"),
        (DEBIAN, "deb cdrom:[Debian]/ bookworm main"),
        (DEBIAN, "deb http://a.example/tools bookworm contrib"),
        (DEBIAN, ""),
    ],
)
def test_a_machine_without_a_mirror_is_told_so(host, release: str, text: str):
    """No release, no address or no main component is an error, never a guess."""
    with pytest.raises(EngineError) as caught:
        find_mirror(*host(release, main=text))
    assert caught.value.code is Code.HOST_UNFIT


def test_this_machines_sources_can_be_read():
    """Reading the real files raises nothing, whatever they hold."""
    read_sources(Path("/etc/apt"))


def test_any_change_makes_another_recipe():
    """Base, a file's content and a file's name all count; the same recipe keeps its hash."""
    one = Recipe("debian:bookworm-slim")
    changed = {**one.files, "entry.sh": one.files["entry.sh"] + b"\n"}
    renamed = {name + "x": content for name, content in one.files.items()}
    others = [Recipe("debian:trixie-slim"), *(replace(one, files=f) for f in (changed, renamed))]
    assert len({one.digest, *(other.digest for other in others)}) == 4
    assert Recipe("debian:bookworm-slim").digest == one.digest


def test_the_base_follows_the_hardware(tmp_path: Path):
    """PyTorch with CUDA where GPUs are, slim Debian where none is, unless one is configured."""
    settings = BaseImageSettings(state=tmp_path, gpu=True)
    assert settings.recipe().base == default_base(gpu=True) != default_base(gpu=False)
    assert replace(settings, base="own:1").recipe().base == "own:1"


@pytest.mark.parametrize(
    ("reference", "host_name"),
    [
        ("debian:bookworm-slim", "registry-1.docker.io"),
        ("pytorch/pytorch:2.7.0", "registry-1.docker.io"),
        ("registry.example/team/image:1", "registry.example"),
        ("localhost:5000/image", "localhost:5000"),
        ("localhost/image@sha256:aa", "localhost"),
    ],
)
def test_a_references_registry_is_known(reference: str, host_name: str):
    """The part before the first slash is a registry only if it looks like a host."""
    assert registry_host(reference) == host_name
