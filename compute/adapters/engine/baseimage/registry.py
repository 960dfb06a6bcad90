"""Whether an image registry answers, asked before the engine waits for one that does not."""

import http.client
import ssl

import docker

# The registry of references that name none.
_DEFAULT = "registry-1.docker.io"
_TIMEOUT_S = 5.0


def registry_host(reference: str) -> str:
    """The registry of an image reference, by the engine's own rule."""
    first, slash, _ = reference.partition("/")
    named = slash and ("." in first or ":" in first or first == "localhost")
    return first if named else _DEFAULT


def registry_answers(client: docker.DockerClient, reference: str) -> bool:
    """Whether pulling this reference makes sense: its registry answers, or the engine has a way.

    An engine with a mirror or a proxy may reach what this process cannot.
    """
    info = client.info()
    mirrors = (info.get("RegistryConfig") or {}).get("Mirrors") or []
    if mirrors or info.get("HttpsProxy"):
        return True
    return _answers(registry_host(reference))


def _answers(host: str) -> bool:
    local = host.partition(":")[0] in {"localhost", "127.0.0.1"}
    connection = (
        http.client.HTTPConnection(host, timeout=_TIMEOUT_S)
        if local
        else http.client.HTTPSConnection(
            host, timeout=_TIMEOUT_S, context=ssl.create_default_context()
        )
    )
    try:
        connection.request("GET", "/v2/")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return status in {http.client.OK, http.client.UNAUTHORIZED}
