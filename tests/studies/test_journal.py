"""Optuna's journal with one writer."""

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweeper.errors import StoreError
from sweeper.store.append_log import mend_torn_line
from sweeper.studies.journal import SingleWriterJournal


def _add_trials(path, n_trials):
    journal = SingleWriterJournal(path)
    study = optuna.create_study(storage=JournalStorage(journal), study_name="s", load_if_exists=True)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=n_trials)
    journal.commit()
    journal.close()
    return study


def test_plain_optuna_reads_what_the_single_writer_wrote(tmp_path):
    path = tmp_path / "studies.journal"
    study = _add_trials(path, 5)
    plain = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(path))))
    assert [(t.number, t.params, t.value) for t in plain.trials] == [(t.number, t.params, t.value) for t in study.trials]


@pytest.mark.parametrize("torn", [b"{", b'{"op_code": 4, "study', b"\xff\xfe", b'{"op_code": 6}'])
def test_a_line_that_a_crash_tore_is_cut_off_and_the_study_goes_on(tmp_path, torn):
    path = tmp_path / "studies.journal"
    _add_trials(path, 3)
    with path.open("ab") as file:
        file.write(torn)
    study = _add_trials(path, 2)
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3, 4]


def test_an_append_that_was_torn_at_any_byte_leaves_no_part_of_a_decision(tmp_path):
    path = tmp_path / "studies.journal"
    journal = SingleWriterJournal(path)
    study = optuna.create_study(storage=JournalStorage(journal), study_name="s")
    journal.commit()
    before = path.read_bytes()
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    trial.report(0.5, 1)
    study.tell(trial, 1.0)
    journal.commit()
    journal.close()
    whole = path.read_bytes()
    for n_bytes in range(len(before), len(whole) + 1):
        path.write_bytes(whole[:n_bytes])
        again = SingleWriterJournal(path)
        trials = optuna.load_study(study_name="s", storage=JournalStorage(again)).trials
        again.close()
        kept = before if n_bytes < len(whole) else whole
        assert (len(trials), path.read_bytes()) == (int(n_bytes == len(whole)), kept), n_bytes


def test_a_journal_of_an_earlier_version_has_no_counts_and_is_read_to_its_end(tmp_path):
    path = tmp_path / "studies.journal"
    storage = JournalStorage(JournalFileBackend(str(path)))  # it writes record by record, as we once did
    study = optuna.create_study(storage=storage, study_name="s")
    trial = study.ask()
    trial.suggest_float("x", 0, 1)
    written = path.read_bytes()
    n_whole = len(written.splitlines())
    assert _add_trials(path, 2).trials[0].params == trial.params
    assert path.read_bytes().splitlines()[:n_whole] == written.splitlines()


def test_mending_says_how_many_bytes_it_cut_off(tmp_path):
    path = tmp_path / "log"
    assert mend_torn_line(path) == 0
    for content, torn in [(b"", 0), (b"a\nb\n", 0), (b"a\nbc", 2), (b"abc", 3), (b"a\n" + b"x" * 200_000, 200_000)]:
        path.write_bytes(content)
        assert mend_torn_line(path) == torn
        assert path.read_bytes() == content[: len(content) - torn]


def test_a_journal_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(StoreError, match=r"absent/studies\.journal: cannot open the journal of the studies: No such file or directory"):
        SingleWriterJournal(tmp_path / "absent" / "studies.journal")


def test_nothing_reaches_the_file_before_the_commit_and_everything_with_it(tmp_path):
    path = tmp_path / "studies.journal"
    journal = SingleWriterJournal(path)
    study = optuna.create_study(storage=JournalStorage(journal), study_name="s")
    study.tell(study.ask(), 1.0)
    assert path.read_bytes() == b""
    assert study.best_value == 1.0
    journal.commit()
    assert len(path.read_bytes().splitlines()) == 3  # study created, trial created, trial told
    journal.close()


COUNTED = b'{"op_code": 4, "worker_id": "y", "records": %s}'


@pytest.mark.parametrize(
    "line",
    [b"\x00\x00\x00", b"[]", b"7", b'{"op_code": 4}', b'{"op_code": "x", "worker_id": "y"}', b"not json", COUNTED % b"0", COUNTED % b'"2"'],
)
def test_a_damaged_line_in_the_middle_is_named(tmp_path, line):
    path = tmp_path / "studies.journal"
    _add_trials(path, 2)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], line + b"\n", *lines[1:]]))
    with pytest.raises(StoreError, match=r"studies\.journal: line 2 is no record of Optuna's journal: the file is damaged"):
        _add_trials(path, 1)


def test_a_line_that_was_taken_out_of_the_middle_is_noticed_and_nothing_is_cut_off(tmp_path):
    path = tmp_path / "studies.journal"
    for _ in range(3):
        _add_trials(path, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = b"".join(lines[:1] + lines[2:])
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match=r"line \d+ is no record of Optuna's journal: the file is damaged"):
        _add_trials(path, 1)
    assert path.read_bytes() == damaged


def test_a_journal_that_is_deleted_while_it_is_written_is_an_error_and_not_a_silent_loss(tmp_path):
    path = tmp_path / "studies.journal"
    journal = SingleWriterJournal(path)
    optuna.create_study(storage=JournalStorage(journal), study_name="s")
    path.unlink()
    with pytest.raises(StoreError, match="the journal of the studies was deleted while the sweep was running"):
        journal.commit()
