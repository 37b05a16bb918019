import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.profile import (
    BY_STRENGTH,
    COVERED,
    TABLE,
    NoProfile,
    Profile,
    Programs,
    Touch,
    covers,
    derive,
)

W = "/w"
touches = st.builds(
    Touch,
    st.sampled_from([*TABLE, "net.connect", "never.heard.of"]),
    st.sampled_from(["/w/a", "/x/a", "/tmp/a", "/dev/null", "/", "/proc/1/status", "/sys/*", "$X"]),
    st.sampled_from(["exact", "pattern", "dynamic"]),
)


def of(*found: Touch, read_roots: tuple[str, ...] = ()) -> Profile:
    profile = derive(found, workspace=W, read_roots=read_roots)
    assert isinstance(profile, Profile)
    return profile


def test_nothing_touched_is_read():
    assert of().name == "read"


@pytest.mark.threat("T25")
@given(st.lists(touches, max_size=5), touches)
def test_another_touch_never_leads_to_a_profile_that_allows_less(found, another):
    before = derive(found, workspace=W, read_roots=())
    after = derive([*found, another], workspace=W, read_roots=())
    if isinstance(before, NoProfile):
        assert isinstance(after, NoProfile) or after.name == "unconfined"
    elif isinstance(after, Profile):
        # What wrote one file alone now inspects besides, and still writes that file alone.
        assert covers(after.name, before.name) or (before.name, bool(after.output)) == (
            "write",
            True,
        )
        assert set(after.read_roots) >= set(before.read_roots)
        assert set(after.write_paths) >= set(before.write_paths)


@pytest.mark.threat("T25")
@given(st.lists(touches, max_size=5))
def test_the_host_itself_is_only_given_when_one_touch_needs_it_alone(found):
    profile = derive(found, workspace=W, read_roots=())
    alone = [derive([touch], workspace=W, read_roots=()) for touch in found]
    is_needed = any(isinstance(each, Profile) and each.name == "unconfined" for each in alone)
    assert (isinstance(profile, Profile) and profile.name == "unconfined") == is_needed


def test_covering_is_an_order():
    for a in BY_STRENGTH:
        assert covers(a, a)
        for b in BY_STRENGTH:
            assert not (covers(a, b) and covers(b, a) and a != b)
            for c in COVERED[b] if covers(a, b) else ():
                assert covers(a, c)


@pytest.mark.threat("T09")
@pytest.mark.parametrize(
    "more",
    [
        Touch("fs.write", "/w/b", "exact"), Touch("fs.delete", "/w/a", "exact"),
        Touch("code.exec", "/w/a", "exact"), Touch("fs.write", "/x/a", "exact"),
        Touch("fs.write", "/w/*", "pattern"), Touch("fs.perm", "/w/a", "exact"),
    ],
)  # fmt: skip
def test_inspecting_the_host_while_writing_more_than_one_file_has_to_be_split(more):
    one = [Touch("proc.inspect", "", "exact"), Touch("fs.write", "/w/a", "exact")]
    answer = derive([*one, more], workspace=W, read_roots=())
    assert isinstance(answer, NoProfile)
    assert "Split it" in answer.reason
    alone = of(*one, Touch("fs.create", "/w/a", "exact"), Touch("fs.read", "/w/b", "exact"))
    assert (alone.name, alone.output, alone.write_paths) == ("inspect", "/w/a", ())
    assert of(Touch("fs.write", "/w/a", "exact")).output == ""


def test_permitted_paths_elsewhere_are_shown_as_what_they_were_permitted_for():
    profile = of(
        Touch("fs.read", "/x/r", "exact"),
        Touch("fs.write", "/x/w", "exact"),
        Touch("fs.list", "/x/l", "exact"),
        Touch("fs.write", "/x/unknown", "dynamic"),
        read_roots=("/roots",),
    )
    assert (profile.read_roots, profile.write_paths, profile.list_paths) == (
        ("/roots", "/x/r"), ("/x/w",), ("/x/l",)
    )  # fmt: skip


@pytest.mark.threat("T10")
@pytest.mark.parametrize("path", ["/", "/home", "/tmp", "/run", "/var"])
def test_a_path_that_would_show_the_host_is_hidden_and_said(path):
    profile = of(Touch("fs.read", path, "exact"))
    assert (profile.read_roots, profile.hidden) == ((), (path,))


def test_deleting_elsewhere_needs_the_host_and_scratch_does_not():
    assert of(Touch("fs.delete", "/x/a", "exact")).name == "unconfined"
    assert of(Touch("fs.delete", "/tmp/a", "exact")).name == "write"
    assert of(Touch("fs.write", "/tmp/a", "exact")).write_paths == ()


def test_writing_to_dev_null_is_reading():
    assert of(Touch("fs.write", "/dev/null", "exact")).name == "read"


@pytest.mark.threat("T09")
def test_git_may_place_protected_names_only_when_nothing_else_runs():
    git = Touch("git.write", "/w", "exact")
    assert of(git).git_places_files
    assert not of(git, Touch("code.exec", "/w/x", "exact")).git_places_files
    assert not of(Touch("fs.write", "/w/x", "exact")).git_places_files
    for names, is_git in ((("cd", "/usr/bin/git"), True), (("cp", "git"), False)):
        found = derive([git], workspace=W, read_roots=(), programs=Programs(names=names))
        assert isinstance(found, Profile)
        assert found.git_places_files == is_git
