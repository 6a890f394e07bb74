"""One round of retraining, which a scheduler may start at any time, and the rollback.

The last verdict, with its state and its store, is written last, so after a kill at any moment the state has no
verdict, and the next round continues. The old champion is served until the alias `champion` moves.
"""

import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from timemachine.base import compute
from timemachine.base.errors import UserError
from timemachine.base.files import write_json
from timemachine.pipeline import dvc
from timemachine.pipeline import params as parameters
from timemachine.retraining.busy import check_no_dvc, one_at_a_time, when_free
from timemachine.retraining.commands import notify, run_dvc
from timemachine.retraining.inbox import Inbox
from timemachine.tracking.address import hide_secrets, sqlite_file, tracking_uri

PROMOTED, FAILED, NOTHING_NEW, REJECTED = 0, 1, 10, 11
# Below the repository root: the last verdict, and a promotion whose notification is not finished.
VERDICT, PENDING = "data/retraining/verdict.json", "data/retraining/pending.json"
# Types of the values of a pending promotion and of its challenger that a round reads.
_PENDING_TYPES = dict.fromkeys(["verdict", "state", "key", "when", "store", "version", "run_id"], str) | {
    "reasons": list,
    "champion": dict | None,
    "baseline": dict,
}


def run_round(root: Path, command: str = "", say: Callable[[str], None] = print, wait_minutes: float = 0.0) -> int:
    """Run one round and return its exit code.

    Args:
        root: the repository root.
        command: run with the JSON report after a round that judged or failed; empty: none.
        say: called with each line of output.
        wait_minutes: time to wait for another round or a DVC that runs in the repository.

    Raises:
        UserError: the round failed. The champion is unchanged unless the message says otherwise.
    """
    try:
        hook = shlex.split(command)
    except ValueError as error:
        raise UserError(f"--notify: {error}; the command is not shown because it may contain a secret") from None

    def run() -> int:
        with _alone(root, say, hook) as one:
            return one.run()

    try:
        return when_free(run, wait_minutes, say)
    except Exception as error:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        notify(hook, {"verdict": "failed", "error": " ".join(str(error).split()), "when": now}, root)
        raise


def dry_run(root: Path, say: Callable[[str], None] = print, wait_minutes: float = 0.0) -> int:
    """Report what a round would do, without doing it; return 0 if there is something to do, else 10 or 12.

    Raises:
        UserError: the params are wrong, the book is not available, or `dvc status` fails.
    """

    def examine() -> int:
        with _alone(root, say) as one:
            return one.examine()

    return when_free(examine, wait_minutes, say)


def undo_promotion(root: Path, say: Callable[[str], None] = print, wait_minutes: float = 0.0) -> int:
    """Make the previous champion champion again and return the exit code. A running DVC does not matter.

    Raises:
        UserError: there is no previous champion, or the store cannot be reached.
    """

    def undo() -> int:
        with _alone(root, say) as one:
            return one.undo()

    return when_free(undo, wait_minutes, say)


@contextmanager
def _alone(root: Path, say: Callable[[str], None], hook: Sequence[str] = ()) -> Iterator["_Round"]:
    """Yield a round that holds the lock of the repository.

    Raises:
        BusyError: another process holds it.
    """
    # First, so that nothing is written in a folder that is not a repository.
    params = parameters.load(root / "params.yaml")
    with one_at_a_time(root) as lock:
        yield _Round(root, params, lock, hook, say)


def store_address(root: Path) -> str:
    """Return the address of the MLflow store without a password."""
    return hide_secrets(tracking_uri(root))


def is_judged(root: Path) -> bool:
    """Return whether the last verdict is about the last published state and the present store."""
    paths = (root / "data/published.json", root / VERDICT)
    store = store_address(root)
    if (database := sqlite_file(store)) and not database.exists():
        return False
    try:
        published, verdict = (json.loads(path.read_bytes()) for path in paths)
        return bool(published["state"] == verdict["state"] and verdict["store"] == store)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_pending(root: Path) -> dict[str, Any] | None:
    """Return the report of an unfinished promotion; None if there is none or the file is damaged."""
    try:
        report: dict[str, Any] = json.loads((root / PENDING).read_bytes())
        values = report | report["challenger"]
        return report if all(isinstance(values[key], kind) for key, kind in _PENDING_TYPES.items()) else None
    except (FileNotFoundError, ValueError, LookupError, TypeError, RecursionError):
        return None


@dataclass(frozen=True)
class _Round:
    root: Path
    params: parameters.Params
    lock: int
    hook: Sequence[str]
    say: Callable[[str], None]

    def changed_stages(self) -> list[str]:
        """Return the stages whose code, params, inputs or outputs changed since their last run."""
        stages = json.loads(self._dvc("status", "--json") or "{}")
        return [name for name in stages if not name.endswith(".dvc")]

    def _dvc(self, *arguments: str, lock: int | None = None) -> str:
        return run_dvc(self.root, self.params.retraining.max_hours, *arguments, lock=lock)

    def examine(self) -> int:
        """Say what `run` would do."""
        check_no_dvc(self.root)
        waits = []
        pending = read_pending(self.root)
        if pending and pending["store"] == store_address(self.root):
            waits.append("a promotion is to be finished")
        taken = False
        with ThreadPoolExecutor(1) as pool:  # DVC needs as long as the texts
            changed = pool.submit(self.changed_stages)
            for decision in Inbox(self.params, self.root).examine():
                self.say(decision.line())
                taken |= decision.outcome in ("accepted", "changed")
            stages = dict.fromkeys([*(["preprocess"] if taken else []), *changed.result()])
        if stages:
            waits.append(f"would run, with what depends on them: {', '.join(stages)}")
        elif not waits and not is_judged(self.root):
            waits.append("the last published state is to be judged")
        for line in waits or ["nothing new"]:
            self.say(line)
        return PROMOTED if waits else NOTHING_NEW

    def undo(self) -> int:
        """Make the previous champion champion again."""
        from timemachine.retraining.promotion import restore_previous
        from timemachine.tracking import verdicts

        with verdicts.open_verdicts(self.root, self.params.publish.experiment) as store:
            report = restore_previous(store)
            run_id = verdicts.record_verdict(store, report["key"], report, _figures(report), self.root)
            store.client.set_terminated(run_id, "FINISHED")
            verdicts.record_over_time(store)
        self.say(report["reasons"][0])
        return PROMOTED

    def run(self) -> int:
        """Run the steps of the round; each step skips what an earlier round has done."""
        check_no_dvc(self.root)  # before the texts move
        begun_s = time.monotonic()
        dvc.prepare(self.root, self.say)
        if (code := self._finish_pending()) is not None:
            return code
        inbox = Inbox(self.params, self.root)
        for decision in inbox.take():
            self.say(decision.line())
        if not self.changed_stages() and is_judged(self.root):
            self.say("nothing new")
            return NOTHING_NEW
        corpus = self.params.compare_models.corpus
        if all(recipe.corpus != corpus for recipe in self.params.train_rnn.values()):
            raise UserError(
                f"params.yaml: no recipe of train_rnn trains on {corpus!r}, the corpus that compare_models.corpus "
                "names, so there is no challenger"
            )
        inbox.check_accepted()
        self._dvc("repro", lock=self.lock)

        from timemachine.retraining import promotion
        from timemachine.tracking import verdicts
        from timemachine.tracking.publish import publish_state

        compute.set_up(self.params.compute)  # now that torch is imported
        receipt = publish_state(self.params, self.root, self.root / "data")
        with verdicts.open_verdicts(self.root, self.params.publish.experiment) as store:
            candidates = promotion.read_candidates(store, receipt)
            earlier, report = verdicts.find_verdict(store, candidates.key), None
            if candidates.champion == candidates.challenger:
                reason = "is champion already"
            # Without a champion, the alias was removed after an earlier promotion, so it is judged again.
            elif earlier == "rejected" or (earlier and candidates.champion):
                reason = "was judged already"
            else:
                report = promotion.judge_candidates(store, candidates, self.params, self.root / "data")
                reason = "is the champion again"
                if report:
                    report |= {"num_texts": inbox.num_accepted, "minutes": (time.monotonic() - begun_s) / 60}
            reasons = [f"version {candidates.challenger.number} {reason}"]
            nothing = {"verdict": "nothing new", "reasons": reasons, "state": candidates.state}
            report = {"store": store_address(self.root)} | (report or nothing)
            if report["verdict"] == "nothing new":
                self.say(f"nothing to promote: {reasons[0]}")
                write_json(self.root / VERDICT, report)
                return NOTHING_NEW
            if report["verdict"] == "promoted":
                write_json(self.root / PENDING, report)
                promotion.promote(store, candidates, report)
        return self._finish(report)

    def _finish_pending(self) -> int | None:
        """Finish a promotion that an earlier round left unfinished; return None if there is none."""
        report = read_pending(self.root)
        if report is None:
            if (self.root / PENDING).exists():
                warning = f"{self.root / PENDING} is damaged; it is removed"
                print(f"timemachine: warning: {warning}", file=sys.stderr, flush=True)
                (self.root / PENDING).unlink()
            return None
        if report["store"] != store_address(self.root):
            return None  # it is finished with its own store
        from timemachine.tracking import registry, verdicts

        with verdicts.open_verdicts(self.root, self.params.publish.experiment) as store:
            champion = registry.aliased(store, "champion")
        if champion is None or champion.run_id != report["challenger"]["run_id"]:
            # The alias did not move, or was rolled back since.
            (self.root / PENDING).unlink()
            return None
        self.say(f"version {champion.number} was promoted by an earlier round, which is finished now")
        return self._finish(report)

    def _finish(self, report: dict[str, Any]) -> int:
        """Record a verdict in MLflow, push, notify, and write `verdict.json`."""
        from timemachine.tracking import verdicts

        version, promoted = report["challenger"]["version"], report["verdict"] == "promoted"
        for reason in report["reasons"]:
            self.say(f"version {version} {report['verdict']}: {reason}")
        with verdicts.open_verdicts(self.root, self.params.publish.experiment) as store:
            run_id = verdicts.record_verdict(store, report["key"], report, _figures(report), self.root)
            if promoted:
                try:
                    has_remote = bool(self._dvc("remote", "list").strip())
                    if has_remote:
                        self._dvc("push", "--run-cache", lock=self.lock)
                    report = report | {"pushed": has_remote}
                except UserError as error:
                    fault = f"version {version} is champion now, but {error}; the next round tries again"
                    raise UserError(fault) from None
            notify(self.hook, report, self.root)
            store.client.set_terminated(run_id, "FINISHED")
            verdicts.record_over_time(store)
        write_json(self.root / VERDICT, report)
        if promoted:
            (self.root / PENDING).unlink(missing_ok=True)
        return PROMOTED if promoted else REJECTED


def _figures(report: dict[str, Any]) -> dict[str, float]:
    """Return the figures of the models in a report, named for MLflow."""
    return {
        f"{model}_{name}": float(value)
        for model in ("challenger", "champion", "baseline")
        for name, value in (report.get(model) or {}).items()
        if isinstance(value, int | float)
    }
