"""Where this machine gets its own packages from, read from its apt sources.

No mirror is named in the code: the base image comes from wherever the machine itself does.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from compute.errors import Code, EngineError

APT = Path("/etc/apt")
OS_RELEASE = Path("/etc/os-release")
_FAMILIES = ("debian", "ubuntu")
_MAIN = "main"


@dataclass(frozen=True, slots=True)
class Source:
    """One line of apt sources: packages of some suites at one address.

    Attributes:
        uri: address of the archive.
        suites: for example `bookworm`, `bookworm-updates`.
        components: for example `main`.
        keyring: file that its signatures are checked with; empty for the system's default.
    """

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    keyring: str = ""

    def lines(self) -> list[str]:
        """The source in the one-line form, for the image's own sources."""
        components = " ".join(self.components)
        return [f"deb {self.uri} {suite} {components}" for suite in self.suites]


@dataclass(frozen=True, slots=True)
class Mirror:
    """What a bootstrap needs to know.

    Attributes:
        suite: the release's code name.
        primary: the source that holds the release itself.
        sources: all sources of this release: also its updates and security updates.
    """

    suite: str
    primary: Source
    sources: tuple[Source, ...]


def find_mirror(apt: Path = APT, os_release: Path = OS_RELEASE) -> Mirror:
    """Read this machine's own mirror.

    Raises:
        EngineError: `HOST_UNFIT` if it is no Debian or Ubuntu, or no source has its release.
    """
    release = _read_os_release(os_release)
    family = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    suite = release.get("UBUNTU_CODENAME") or release.get("VERSION_CODENAME", "")
    if not suite or not family.intersection(_FAMILIES):
        raise EngineError(Code.HOST_UNFIT, "this machine is no Debian or Ubuntu")
    sources = [source for source in read_sources(apt) if _MAIN in source.components]
    primary = next((source for source in sources if suite in source.suites), None)
    if primary is None:
        raise EngineError(Code.HOST_UNFIT, f"no apt source has {suite}")
    kept = {suite, f"{suite}-updates", f"{suite}-security"}
    own = (replace(s, suites=tuple(n for n in s.suites if n in kept)) for s in sources)
    return Mirror(suite=suite, primary=primary, sources=tuple(s for s in own if s.suites))


def read_sources(apt: Path) -> list[Source]:
    """All enabled binary sources, in either of the two forms that apt knows."""
    one_line = [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]
    found = [s for path in one_line if path.is_file() for s in _parse_lines(path.read_text())]
    for path in sorted((apt / "sources.list.d").glob("*.sources")):
        found += _parse_stanzas(path.read_text())
    return [source for source in found if source.uri]


def _parse_lines(text: str) -> Iterator[Source]:
    pattern = re.compile(r"deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<rest>.+)")
    for line in text.splitlines():
        match = pattern.match(line.partition("#")[0].strip())
        if not match:
            continue
        suite, *components = match["rest"].split()
        options = dict(o.split("=", 1) for o in (match["options"] or "").split() if "=" in o)
        keyring = _keyring(options.get("signed-by", ""))
        yield Source(_resolve(match["uri"]), (suite,), tuple(components), keyring)


def _parse_stanzas(text: str) -> Iterator[Source]:
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", kept):
        fields = _parse_fields(stanza.splitlines())
        enabled = fields.get("enabled", "yes").lower() not in {"no", "false", "0"}
        if not enabled or "deb" not in fields.get("types", "").split():
            continue
        uris = fields.get("uris", "").split()
        yield Source(
            _resolve(uris[0]) if uris else "",
            tuple(fields.get("suites", "").split()),
            tuple(fields.get("components", "").split()),
            _keyring(fields.get("signed-by", "")),
        )


def _parse_fields(lines: Iterable[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in lines:
        if line[:1].isspace():
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.lower()
            fields[name] = value.strip()
    return fields


def _resolve(uri: str) -> str:
    """The first address of a `mirror+file:` list; any other address as it is."""
    scheme, _, rest = uri.partition(":")
    if scheme == "mirror+file":
        try:
            lines = Path("/" + rest.lstrip("/")).read_text().split("\n")
        except OSError:
            return ""
        return next((line.split()[0] for line in lines if line and line[0] != "#"), "")
    return uri if scheme in {"http", "https", "file"} else ""


def _keyring(value: str) -> str:
    """A key ring's path; an inline key or a fingerprint is left to the bootstrap's default."""
    return value if value.startswith("/") and " " not in value else ""


def _read_os_release(path: Path) -> dict[str, str]:
    try:
        pairs = (line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)
    except OSError:
        return {}
    return {key: value.strip('"') for key, value in pairs}
