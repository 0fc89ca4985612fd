"""A bundle checked over ssh: a real sshd on loopback, a real client, a real bundle."""

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

import runtime
from compressor.device import ssh_check
from compressor.device.wheel import write_wheel
from runtime.errors import InputError, MissingDependencyError
from runtime.results.scores import to_json

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")


def make_key(path):
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)],
        check=True,
        capture_output=True,
    )
    return path.with_name(f"{path.name}.pub").read_text().split()[:2]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An sshd that lets us in with a key; its port, and the folder of the keys."""
    if SSHD is None:
        pytest.skip("no sshd is here; see tools/test_programs.sh")
    folder = tmp_path_factory.mktemp("sshd")
    host_key = make_key(folder / "host")
    mine = make_key(folder / "mine")
    make_key(folder / "other")
    (folder / "authorized").write_text(" ".join(mine) + "\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "known").write_text(f"[127.0.0.1]:{port} {' '.join(host_key)}\n")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # where root's sshd locks itself in
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder / 'host'}",
        f"AuthorizedKeysFile {folder / 'authorized'}",
        f"PidFile {folder / 'pid'}",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "PermitRootLogin prohibit-password",
        "StrictModes no",
        "UsePAM no",
    ]
    (folder / "config").write_text("\n".join(lines) + "\n")
    log = (folder / "log").open("w")
    process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "config")], stderr=log)
    for _ in range(100):
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    yield folder, port
    process.terminate()
    process.wait()
    log.close()


@pytest.fixture
def reach(server, monkeypatch):
    """`reach(key, known)`: the address; ssh is told which key to show and which hosts it knows."""
    folder, port = server

    def go(key="mine", known="known"):
        lines = [
            f"IdentityFile {folder / key}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {folder / known}",
            "GlobalKnownHostsFile /dev/null",
            "BatchMode yes",
        ]
        config = folder / f"client-{key}-{known}"
        config.write_text("\n".join(lines) + "\n")
        monkeypatch.setenv(ssh_check.SSH, f"ssh -F {config}")
        return f"ssh://{getpass.getuser()}@127.0.0.1:{port}"

    destination = go()
    there = subprocess.run(
        [*os.environ[ssh_check.SSH].split(), "--", destination, "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    if there.returncode:
        pytest.skip(f"sshd lets nobody in on this machine: {there.stderr.strip()}")
    return go


WITHOUT_INSTALLING = ssh_check.CheckOptions(python=sys.executable, install=False)


def left_behind():
    return sorted(Path.home().glob(".edge-compressor-check.*"))


@pytest.fixture
def tidy():
    before = left_behind()
    yield
    assert left_behind() == before


def go(bundle, destination, options=WITHOUT_INSTALLING, *, out):
    return ssh_check.check(bundle, destination, options, out, lambda line: None)


# --- the check -------------------------------------------------------------------------------


def test_the_report_comes_back_and_nothing_stays(reach, sound_bundle, tmp_path, tidy):
    from runtime.bundle import bundle as bundles
    from runtime.bundle import golden
    from runtime.evaluation.check import check
    from runtime.results.report import load

    there = go(sound_bundle, reach(), out=tmp_path / "report")
    assert there.verdict.passed
    assert load(tmp_path / "report") == there
    assert "## Ledger" in (tmp_path / "report" / "report.md").read_text()
    here = check(bundles.load(sound_bundle), golden.load(sound_bundle / "golden"))
    for one, other in zip(there.ledger, here.ledger, strict=True):
        assert without_times(one) == without_times(other)


def without_times(entry):
    return {k: value for k, value in to_json(entry).items() if not k.startswith("latency")}


def test_a_venv_of_its_own_needs_nothing_but_python(reach, sound_bundle, tmp_path, tidy):
    """The wheel and its backend come from the registry, into a venv that goes again."""
    report = go(sound_bundle, reach(), ssh_check.CheckOptions(python=sys.executable), out=tmp_path)
    assert report.verdict.passed
    assert "torch" not in report.machine.libraries


def test_kept_where_that_is_wanted(reach, sound_bundle, tmp_path):
    before = left_behind()
    options = ssh_check.CheckOptions(python=sys.executable, install=False, keep=True)
    try:
        go(sound_bundle, reach(), options, out=tmp_path)
        (kept,) = set(left_behind()) - set(before)
        assert kept.stat().st_mode & 0o077 == 0  # nobody else's business
        assert (kept / "bundle" / "manifest.json").is_file()
    finally:
        for folder in set(left_behind()) - set(before):
            shutil.rmtree(folder)


def test_the_command_ends_with_the_code_of_the_verdict(reach, make_bundle, tmp_path, tidy):
    strict = make_bundle(require={"size_mb": 1e-6})
    words = ["check", strict, "--on", reach(), "--python", sys.executable, "--no-install"]
    done = command(*words, "--out", tmp_path / "report", "--json", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["verdict"]["passed"] is False
    assert "failed (missed size_mb)" in done.stderr
    assert (tmp_path / "report" / "report.json").is_file()


def command(*words, cwd):
    return subprocess.run(
        [sys.executable, "-m", "compressor", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(runtime.__file__).parents[1])},
        capture_output=True,
        text=True,
    )


# --- what can go wrong -----------------------------------------------------------------------


def test_a_host_whose_key_is_not_known(reach, sound_bundle, tmp_path, tidy):
    with pytest.raises(MissingDependencyError, match="Host key verification failed") as caught:
        go(sound_bundle, reach(known="nobody"), out=tmp_path)
    assert "Connect once by hand" in str(caught.value)


def test_a_key_that_is_not_let_in(reach, sound_bundle, tmp_path, tidy):
    with pytest.raises(MissingDependencyError, match="Permission denied"):
        go(sound_bundle, reach(key="other"), out=tmp_path)


def test_nobody_there(reach, sound_bundle, tmp_path):
    reach()
    with pytest.raises(MissingDependencyError, match="ssh cannot connect"):
        go(sound_bundle, "ssh://127.0.0.1:1", out=tmp_path)


def test_a_python_that_is_not_there(reach, sound_bundle, tmp_path, tidy):
    with pytest.raises(MissingDependencyError, match=r"starting python9 failed there"):
        go(sound_bundle, reach(), ssh_check.CheckOptions(python="python9"), out=tmp_path)


def test_a_backend_that_is_not_there(reach, sound_bundle, tmp_path, tidy):
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    options = ssh_check.CheckOptions(python=str(bare / "bin" / "python"), install=False)
    with pytest.raises(MissingDependencyError, match="No module named 'click'"):
        go(sound_bundle, reach(), options, out=tmp_path / "report")
    assert not (tmp_path / "report").exists()


def test_the_refusal_of_the_check_comes_back_with_its_code(reach, make_bundle, tmp_path, tidy):
    nonsense = make_bundle(models={"onnx-fp32": b"nonsense"})
    with pytest.raises(InputError, match=r"^on ssh://.*cannot load this file") as caught:
        go(nonsense, reach(), out=tmp_path / "report")
    assert "Traceback" not in str(caught.value)
    assert not (tmp_path / "report").exists()


def test_an_unsound_bundle_is_not_sent(sound_bundle, tmp_path):
    folder = shutil.copytree(sound_bundle, tmp_path / "bundle")
    (folder / "bundle.json").write_text("{}")
    with pytest.raises(InputError, match=r"altered: bundle\.json"):
        go(folder, "nowhere", out=tmp_path)


@pytest.mark.parametrize(
    "destination", ["-oProxyCommand=touch x", "a b", "", "host;touch x", "$(touch x)@host"]
)
def test_an_address_is_no_option_and_no_command(sound_bundle, tmp_path, destination):
    with pytest.raises(InputError, match="is not an address"):
        go(sound_bundle, destination, out=tmp_path)


@pytest.mark.parametrize("destination", ["me:secret@host", "ssh://me:secret@host:22"])
def test_a_password_is_refused_and_not_repeated(sound_bundle, tmp_path, destination):
    with pytest.raises(InputError, match="a password") as caught:
        go(sound_bundle, destination, out=tmp_path)
    assert "secret" not in str(caught.value)


def test_no_ssh_here(sound_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv(ssh_check.SSH, "no-such-ssh")
    with pytest.raises(MissingDependencyError, match="no-such-ssh: not found"):
        go(sound_bundle, "host", out=tmp_path)


# --- the wheel -------------------------------------------------------------------------------


def test_the_wheel_holds_the_runtime_alone(tmp_path):
    with zipfile.ZipFile(write_wheel(tmp_path)) as wheel:
        names = wheel.namelist()
        about = next(name for name in names if name.endswith("METADATA"))
        stated = wheel.read(about).decode()
    assert {name.split("/")[0] for name in names} == {"runtime", about.split("/")[0]}
    assert "Requires-Dist: numpy" in stated
    assert "torch" not in stated
    assert "Provides-Extra: cpu\nProvides-Extra: gpu\n" in stated


def test_the_same_code_is_the_same_wheel(tmp_path):
    (tmp_path / "again").mkdir()
    one, other = write_wheel(tmp_path), write_wheel(tmp_path / "again")
    assert one.read_bytes() == other.read_bytes()
