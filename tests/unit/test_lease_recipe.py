"""Renters' Dockerfile instructions: what they become, and what is refused."""

import subprocess

import pytest

from compute.domain.recipe import read_recipe
from compute.errors import Code, LeaseError

BASE = {"PATH": "/usr/bin:/bin", "HOME": "/root"}


def run(text: str, cwd: object) -> subprocess.CompletedProcess[str]:
    recipe = read_recipe(text, BASE)
    return subprocess.run(
        ["sh", "-c", recipe.script], capture_output=True, text=True, cwd=str(cwd), check=False
    )


def test_instructions_run_in_order(tmp_path):
    """Environment, folders, continued lines, comments and both forms of RUN do what they say."""
    done = run(
        f"""# a comment
ENV NAME=world GREETING="hello there"
ARG WHERE={tmp_path}/new
WORKDIR $WHERE
RUN echo "$GREETING $NAME" > said && \\
    # in between
    pwd
RUN ["sh", "-c", "echo 'it'\\"'\\"'s' >> said"]
""",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new" / "said").read_text() == "hello there world\nit's\n"
    assert f"{tmp_path}/new\n" in done.stdout


def test_environment_is_expanded_as_in_a_dockerfile():
    """Names stand for what came before, the image's own included; ARG is not kept."""
    recipe = read_recipe(
        "ENV PATH=/opt/bin:$PATH\nARG A=1\nENV B=${A}x C=$UNKNOWN. D='$HOME'\nENV OLD one  two",
        BASE,
    )
    assert recipe.environment == {
        "PATH": "/opt/bin:/usr/bin:/bin",
        "B": "1x",
        "C": ".",
        "D": "/root",
        "OLD": "one  two",
    }


def test_values_are_never_code(tmp_path):
    """A value with shell syntax in it stays a value."""
    done = run("ENV X='$(touch hacked);`touch hacked`' \nRUN printf '%s' \"$X\" > value", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "value").read_text() == "$(touch hacked);`touch hacked`"
    assert not (tmp_path / "hacked").exists()


def test_the_first_failure_ends_it_and_is_named(tmp_path):
    """Later instructions do not run, and the line that failed is in the output."""
    done = run("RUN true\nRUN echo going down; exit 7\nRUN touch late", tmp_path)
    assert done.returncode == 7
    assert done.stdout.splitlines()[-2:] == ["going down", "line 2 ended with 7"]
    assert not (tmp_path / "late").exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("FROM other", Code.UNSUPPORTED),
        ("COPY . /", Code.UNSUPPORTED),
        ("ADD http://example.com/x /x", Code.UNSUPPORTED),
        ("ENTRYPOINT sh", Code.UNSUPPORTED),
        ("USER nobody", Code.UNSUPPORTED),
        ("ENV NVIDIA_VISIBLE_DEVICES=all", Code.UNSUPPORTED),
        ("ENV A=1 LD_PRELOAD=/evil.so", Code.UNSUPPORTED),
        ("RUN cat <<EOF\nx\nEOF", Code.UNSUPPORTED),
        ("RUN", Code.MALFORMED),
        ("RUN [1]", Code.MALFORMED),
        ("RUN [broken", Code.MALFORMED),
        ("ENV 1X=2", Code.MALFORMED),
        ("ENV X='open", Code.MALFORMED),
    ],
)
def test_what_is_not_offered_is_refused_by_line(text: str, code: Code):
    """Nothing is ignored silently."""
    with pytest.raises(LeaseError, match="line 2") as refused:
        read_recipe(f"# first\n{text}", BASE)
    assert refused.value.code is code
