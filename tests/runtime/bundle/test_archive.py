"""A bundle packed and unpacked; what is no bundle's tar leaves nothing behind."""

import io
import shutil
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.bundle import archive, bundle
from runtime.errors import InputError
from runtime.files import sha256_of


@pytest.fixture
def packed(sound_bundle, tmp_path):
    path = tmp_path / "bundle.tar"
    archive.pack(sound_bundle, path)
    return path


@pytest.fixture
def into(tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    return folder


def write(path, *members):
    """A tar of `(name, content)`, or of TarInfo as they are."""
    with tarfile.open(path, "w") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                name, content = member
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def info(name, kind, link=""):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, link
    return member


def refused(path, into, said):
    with pytest.raises(InputError, match=said):
        archive.unpack(path, into)
    assert not list(into.iterdir())


# --- there and back --------------------------------------------------------------------------


def test_what_comes_out_is_what_went_in(sound_bundle, packed, into):
    folder = archive.unpack(packed, into)
    assert folder == into / sound_bundle.name
    assert sha256_of(folder) == sha256_of(sound_bundle)
    assert bundle.load(folder).document == bundle.load(sound_bundle).document


def test_the_same_bundle_is_the_same_tar(sound_bundle, packed, tmp_path):
    copy = shutil.copytree(sound_bundle, tmp_path / "copy" / sound_bundle.name)
    (copy / "bundle.json").touch()
    archive.pack(copy, tmp_path / "again.tar")
    assert sha256_of(tmp_path / "again.tar") == sha256_of(packed)


def test_a_tar_inside_the_bundle_is_refused_and_nothing_is_written(sound_bundle, tmp_path):
    (tmp_path / "link").symlink_to(sound_bundle)
    for place in (sound_bundle / "bundle.tar", tmp_path / "link" / "golden" / "b.tar"):
        with pytest.raises(InputError, match="sealed: it could not be opened any more"):
            archive.pack(sound_bundle, place)
    assert bundle.load(sound_bundle)


def test_other_programs_read_it(packed, sound_bundle, into):
    shutil.unpack_archive(packed, into, "tar", filter="data")
    assert sha256_of(into / sound_bundle.name) == sha256_of(sound_bundle)


def test_what_is_there_already_stays(packed, into):
    folder = archive.unpack(packed, into)
    (folder / "mine").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        archive.unpack(packed, into)
    assert (folder / "mine").read_text() == "mine"


def test_a_packed_bundle_is_not_checked_but_explained(packed):
    with pytest.raises(InputError, match=r"packed\. First: python -m runtime unpack"):
        bundle.load(packed)


# --- hostile ones ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../escape",
        "bundle/../../escape",
        "bundle/a/../../../x",
        "bundle\\..\\x",
        ".",
    ],
)
def test_names_that_point_outside(tmp_path, into, name):
    refused(write(tmp_path / "a.tar", ("bundle/a", b"a"), (name, b"x")), into, "points outside")
    assert not (tmp_path / "escape").exists()


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices(tmp_path, into, kind):
    path = write(tmp_path / "a.tar", ("bundle/a", b"a"), info("bundle/b", kind, "/etc/passwd"))
    refused(path, into, "'bundle/b' is a link or a device")


def test_a_link_and_then_a_file_through_it(tmp_path, into):
    link = info("bundle/out", tarfile.SYMTYPE, str(tmp_path))
    refused(write(tmp_path / "a.tar", link, ("bundle/out/x", b"x")), into, "link or a device")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "names", [("bundle/a", "bundle/a"), ("bundle/a", "bundle/a/b"), ("bundle/a/b", "bundle/a")]
)
def test_a_name_that_comes_twice(tmp_path, into, names):
    refused(write(tmp_path / "a.tar", *((name, b"x") for name in names)), into, "is in it twice")


def test_absurd_sizes(tmp_path, into, monkeypatch):
    big = info("bundle/big", tarfile.REGTYPE)
    big.size = 5_000_000_000
    path = tmp_path / "a.tar"
    path.write_bytes(big.tobuf())  # a header that promises what is not there
    refused(path, into, "not a complete tar")
    monkeypatch.setattr(archive, "MAX_BYTES", 10)
    refused(write(tmp_path / "c.tar", ("bundle/a", b"0123456789ab")), into, "the most a bundle")
    monkeypatch.setattr(archive, "MAX_FILES", 3)
    many = [(f"bundle/{n}", b"") for n in range(5)]
    refused(write(tmp_path / "b.tar", *many), into, "more than 3 files")


def test_a_name_no_file_can_have(tmp_path, into):
    refused(write(tmp_path / "a.tar", ("bundle/" + "a" * 300, b"")), into, "not a valid file name")


@pytest.mark.parametrize("names", [("a/x", "b/y"), ("lonely",), ()])
def test_what_is_not_one_folder(tmp_path, into, names):
    refused(
        write(tmp_path / "a.tar", *((name, b"x") for name in names)), into, "expected one folder"
    )


def test_no_tar_at_all(tmp_path, into, packed):
    (tmp_path / "a.tar").write_bytes(b"nonsense" * 500)
    refused(tmp_path / "a.tar", into, "not a complete tar|a kind that no bundle has")
    refused(tmp_path / "nowhere.tar", into, "no such file")
    half = tmp_path / "half.tar"
    for cut in range(512, packed.stat().st_size - 10_240, 700):
        half.write_bytes(packed.read_bytes()[:cut])
        refused(
            half,
            into,
            "not a complete tar|does not match its manifest|not a bundle|expected one folder",
        )


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 2000), value=st.integers(0, 255))
def test_a_damaged_tar_is_refused_or_harmless(tmp_path_factory, sound_bundle, at, value):
    """A byte of the first headers changed: refused, or it changed nothing that counts."""
    folder = tmp_path_factory.mktemp("damaged")
    archive.pack(sound_bundle, folder / "a.tar")
    content = bytearray((folder / "a.tar").read_bytes())
    content[at] = value
    (folder / "a.tar").write_bytes(content)
    into = folder / "into"
    into.mkdir()
    try:
        found = archive.unpack(folder / "a.tar", into)
    except InputError:
        assert not list(into.iterdir())
        return
    assert sha256_of(found) == sha256_of(sound_bundle)


# --- what lies in wait -----------------------------------------------------------------------


def header(name, kind=b"0", size=0, magic=b"ustar\x0000"):
    """A raw header of a tar, with a right checksum; `size` may be the 12 bytes themselves."""
    field = size if isinstance(size, bytes) else b"%011o\0" % size
    raw = name.ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2 + field + b"00000000000\0"
    raw += b" " * 8 + kind + b"\0" * 100 + magic + b"\0" * 247
    total = sum(raw)
    return raw[:148] + b"%06o\0 " % total + raw[156:]


def pax(content):
    return header(b"x", b"x", len(content)) + content.ljust(-(-len(content) // 512) * 512, b"\0")


MINUS_512 = b"\xff" * 10 + b"\xfe\x00"
HUGE = b"\x80" + b"\x7f" * 11
ODD = {
    "a size below zero": header(b"b/x", size=MINUS_512),
    "a folder with a size below zero": header(b"b/x", b"5", size=MINUS_512),
    "a header that leads back to itself": header(b"b/x", b"x", size=MINUS_512),
    "a size beyond all disks": header(b"b/x", size=HUGE),
    "a size that is no number": header(b"b/x", size=b"zzzzzzzzzzz\0"),
    "a name as large as the file": header(b"b/x", b"L", 2**20) + b"a" * 2**20,
    "a name longer than the file": header(b"b/x", b"L", 2**40),
    "a second size below zero": pax(b"13 size=-512\n") + header(b"b/x"),
    "a second size beyond all disks": pax(b"28 size=99999999999999999999\n") + header(b"b/x"),
    "a second size that is no number": pax(b"11 size=xx\n") + header(b"b/x"),
    "a sparse file": header(b"b/x", b"S", 0),
    "a sparse file in other words": pax(b"22 GNU.sparse.major=1\n") + header(b"b/x"),
    "a name with a zero byte": pax(b"14 path=b/x\0y\n") + header(b"b/x"),
    "a name that is no text": pax(b"13 path=b/\xff\xfe\n") + header(b"b/x"),
    "a name without an end": pax(b"99999 path=b/x\n") + header(b"b/x"),
    "a kind that nobody knows": header(b"b/x", b"Z"),
    "a file in parts": header(b"b/x", b"M"),
    "another label": header(b"b/x", b"V"),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.timeout(20)
def test_odd_entries_are_refused_at_once(tmp_path, into, name):
    path = tmp_path / "odd.tar"
    path.write_bytes(ODD[name] + b"\0" * 1024)
    refused(path, into, "refused|complete tar|not a bundle|expected one folder|points outside")


@settings(deadline=None, max_examples=60)
@given(
    kind=st.sampled_from([bytes([each]) for each in b"\x00123456789xgLKSVMDNZ"]),
    size=st.one_of(st.integers(0, 2**33 - 1), st.binary(min_size=12, max_size=12)),
    content=st.binary(max_size=1200),
)
@pytest.mark.timeout(120)
def test_any_header_ends_in_words(tmp_path_factory, kind, size, content):
    folder = tmp_path_factory.mktemp("any")
    path, into = folder / "any.tar", folder / "into"
    into.mkdir()
    path.write_bytes(header(b"bundle/x", kind, size) + content + b"\0" * 1536)
    with pytest.raises(InputError):
        archive.unpack(path, into)
    assert not list(into.iterdir())


@pytest.mark.parametrize("lying", ["elsewhere", "nowhere", "a file"])
@pytest.mark.parametrize("name", ["bundle", ".bundle.unpacking", ".unpacking"])
def test_a_link_that_lies_in_wait_is_never_followed(packed, into, tmp_path, lying, name):
    """Somebody else may write to the folder too, such as /tmp."""
    goal = tmp_path / "elsewhere"
    if lying == "elsewhere":
        goal.mkdir()
        (goal / "kept.txt").write_text("kept")
    elif lying == "a file":
        goal.write_text("kept")
    (into / name).symlink_to(goal)
    if name == "bundle":
        with pytest.raises(InputError, match="exists already"):
            archive.unpack(packed, into)
    else:
        assert bundle.load(archive.unpack(packed, into)).folder == into / "bundle"
    assert (into / name).is_symlink()
    if lying == "elsewhere":
        assert [each.name for each in goal.iterdir()] == ["kept.txt"]
    else:
        assert goal.exists() == (lying == "a file")


def test_an_unpacked_bundle_can_be_read_by_others(packed, into):
    assert archive.unpack(packed, into).stat().st_mode & 0o777 == 0o755
