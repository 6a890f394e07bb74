import contextlib
import os
from pathlib import Path

import pytest
from tiny import random_text, tiny_params, tiny_text, write_params

from timemachine.pipeline import params
from timemachine.retraining import inbox as inbox_module
from timemachine.retraining.inbox import Inbox

GOOD = random_text(1)


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    write_params(tmp_path, tiny_params())
    (tmp_path / "text.txt").write_text(tiny_text())
    for folder in ("inbox", "accepted"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        (tmp_path / "data" / folder / "README.md").write_text("")
    return Inbox(params.load(tmp_path / "params.yaml"), tmp_path)


def take(inbox: Inbox) -> dict[str, str]:
    return {decision.path.name: decision.outcome for decision in inbox.take()}


def waiting(inbox: Inbox) -> set[str]:
    return {path.name for path in inbox.folder.iterdir()} - {"README.md", "rejected"}


def test_good_texts_are_taken_and_bad_ones_put_aside_with_the_reason(inbox: Inbox) -> None:
    (inbox.folder / "good.txt").write_text(GOOD)
    (inbox.folder / "short.txt").write_text("It was.")
    (inbox.folder / "latin.txt").write_bytes(b"caf\xe9 " * 500)
    (inbox.folder / "empty.txt").touch()
    assert take(inbox) == {
        "empty.txt": "rejected",
        "good.txt": "accepted",
        "latin.txt": "rejected",
        "short.txt": "rejected",
    }
    assert (inbox.accepted / "good.txt").read_text() == GOOD
    assert (inbox.rejected / "short.txt").read_text() == "It was."
    assert "at least 500" in (inbox.rejected / "short.txt.reason").read_text()
    assert (
        (inbox.rejected / "latin.txt.reason").read_text().startswith("not UTF-8 at byte 3; it looks like Windows")
    )
    assert waiting(inbox) == set()


def test_a_licence_is_cut_off_and_what_is_no_plain_text_is_rejected_with_what_to_do(inbox: Inbox) -> None:
    licensed = (
        f"** Start of this Project Gutenberg EBook **\r\n{GOOD}\r\nEnde dieses Projekt Gutenberg Etextes\r\n"
    )
    garbled = "It’s “late”. ".encode().decode("latin-1") * 200
    for name, content in {
        "cut.txt": licensed,
        "garbled.txt": garbled,
        "left.txt": f"A book of Project Gutenberg.\n{GOOD}",
        "page.txt": f"<!DOCTYPE html>\n{GOOD}",
    }.items():
        (inbox.folder / name).write_bytes(content.encode())
    decisions = {decision.path.name: decision for decision in inbox.take()}
    assert decisions.pop("cut.txt").outcome == "accepted"
    assert (inbox.accepted / "cut.txt").read_text() == GOOD
    assert decisions["garbled.txt"].reason.endswith(
        "repair it with `iconv -f UTF-8 -t ISO-8859-1 garbled.txt > converted_garbled.txt`, or get the text again"
    )
    assert decisions["left.txt"].reason.startswith("line 1, 'A book of Project Gutenberg.', belongs to a header")
    assert decisions["page.txt"].reason == "this is HTML; the plain-text version is needed"
    assert all((inbox.rejected / f"{name}.reason").is_file() for name in decisions)


def test_examining_changes_nothing_and_says_what_taking_does(inbox: Inbox) -> None:
    (inbox.folder / "a.txt").write_text(GOOD)
    (inbox.folder / "b.txt").write_text(GOOD)
    examined = [(decision.outcome, decision.reason) for decision in inbox.examine()]
    assert waiting(inbox) == {"a.txt", "b.txt"}
    assert not (inbox.accepted / "a.txt").exists()
    assert [(decision.outcome, decision.reason) for decision in inbox.take()] == examined
    assert [outcome for outcome, _ in examined] == ["accepted", "rejected"]
    assert "100.0% of its runs" in examined[1][1]


def test_a_text_of_a_known_name_replaces_it_unless_it_is_the_same(inbox: Inbox) -> None:
    licensed = f"*** START OF THE PROJECT GUTENBERG EBOOK A ***\r\n{GOOD}"
    for text, outcome in ((GOOD, "accepted"), (licensed, "unchanged"), (GOOD + random_text(2), "changed")):
        (inbox.folder / "good.txt").write_text(text)
        assert take(inbox) == {"good.txt": outcome}
        assert waiting(inbox) == set()
    assert (inbox.accepted / "good.txt").read_text() == GOOD + random_text(2)


def test_what_is_no_text_is_left_where_it_lies(inbox: Inbox) -> None:
    for name in ("notes.pdf", "half.txt.part", ".hidden.txt", "README.md"):
        (inbox.folder / name).write_text(GOOD)
    (inbox.folder / "folder").mkdir()
    assert take(inbox) == {"notes.pdf": "left", "half.txt.part": "left", "folder": "left"}
    assert waiting(inbox) == {"notes.pdf", "half.txt.part", ".hidden.txt", "folder"}


def test_links_pipes_and_folders_named_like_texts_are_rejected_unread(inbox: Inbox, tmp_path: Path) -> None:
    (inbox.folder / "dangling.txt").symlink_to(tmp_path / "nowhere")
    (inbox.folder / "link.txt").symlink_to(tmp_path / "text.txt")
    (inbox.folder / "folder.txt").mkdir()
    os.mkfifo(inbox.folder / "pipe.txt")
    assert set(take(inbox).values()) == {"rejected"}
    assert len(list(inbox.rejected.glob("*.reason"))) == 4
    assert waiting(inbox) == set()


@pytest.mark.parametrize(
    "name", ["A.TXT", "ä ö.txt", "-rf.txt", "a\nb.txt", "x" * 251 + ".txt", os.fsdecode(b"\xe4.txt")]
)
def test_odd_names_become_safe_ones_and_stay_apart(name: str, inbox: Inbox) -> None:
    for seed in (1, 2):  # the second time it replaces its older version, nobody else's
        (inbox.folder / name).write_text(random_text(seed))
        [decision] = inbox.take()
        assert decision.line().isprintable()
    [accepted] = inbox.accepted.glob("*.txt")
    assert accepted.name == decision.name
    assert decision.name.isascii()
    assert decision.name[0] != "-"
    (inbox.folder / name).write_text("It was.")
    assert take(inbox) == {name: "rejected"}
    assert waiting(inbox) == set()


def test_an_earlier_rejected_text_of_other_content_is_kept(inbox: Inbox) -> None:
    for text in ("It was.", "It was not.", "It was."):
        (inbox.folder / "a.txt").write_text(text)
        assert take(inbox) == {"a.txt": "rejected"}
    kept = {path.name: path.read_text() for path in inbox.rejected.glob("*.txt")}
    assert kept == {"a.txt": "It was.", "a-2.txt": "It was not."}


def test_one_that_cannot_be_moved_does_not_stop_the_others(inbox: Inbox) -> None:
    inbox.rejected.write_text("a file where the folder should be")
    (inbox.folder / "a.txt").write_text("It was.")
    (inbox.folder / "b.txt").write_text(GOOD)
    assert take(inbox) == {"a.txt": "left", "b.txt": "accepted"}
    assert waiting(inbox) == {"a.txt"}


def test_a_text_that_grows_while_it_is_read_is_left_for_the_next_round(inbox: Inbox) -> None:
    path = inbox.folder / "a.txt"
    path.write_text(GOOD)
    decisions = inbox.take()
    with pytest.MonkeyPatch.context() as monkeypatch:
        original = inbox_module.refusal

        def meanwhile(*arguments):
            path.write_text(GOOD + random_text(2))
            return original(*arguments)

        monkeypatch.setattr(inbox_module, "refusal", meanwhile)
        assert next(decisions).reason == "it is still being written"
    assert take(inbox) == {"a.txt": "accepted"}
    assert (inbox.accepted / "a.txt").read_text() == GOOD + random_text(2)


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it is done."""


@pytest.mark.parametrize("text", [GOOD, "It was."])
@pytest.mark.parametrize("num_steps", range(6))
def test_a_kill_before_any_step_loses_nothing_and_the_next_round_goes_on(
    inbox: Inbox, text: str, num_steps: int
) -> None:
    (inbox.folder / "a.txt").write_text(text)
    steps = iter(range(num_steps))
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("replace", "rename", "unlink", "mkdir"):
            original = getattr(Path, name)

            def counted(self, *arguments, original=original, **options):
                if next(steps, None) is None:
                    raise Killed
                return original(self, *arguments, **options)

            monkeypatch.setattr(Path, name, counted)
        with contextlib.suppress(Killed):
            take(inbox)
    kept = [*inbox.folder.glob("*.txt"), *inbox.accepted.glob("*.txt"), *inbox.rejected.glob("*.txt")]
    assert kept
    assert all(path.read_text() == text for path in kept)
    take(inbox)
    assert waiting(inbox) == set()


def test_held_out_text_that_somebody_put_among_the_accepted_ones_is_found(inbox: Inbox) -> None:
    inbox.check_accepted()
    (inbox.accepted / "book.txt").write_text(tiny_text())
    with pytest.raises(ValueError, match=r"data/accepted/book\.txt: it has 100\.0% .* remove it"):
        inbox.check_accepted()
