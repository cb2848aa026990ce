"""Optuna's journal with one writer."""

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sweeper.errors import StoreError
from sweeper.journal import SingleWriterJournal, mend_torn_line


def _study(path):
    return optuna.create_study(storage=JournalStorage(SingleWriterJournal(path)), study_name="s", load_if_exists=True)


def test_plain_optuna_reads_what_the_single_writer_wrote(tmp_path):
    path = tmp_path / "studies.journal"
    study = _study(path)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=5)
    plain = optuna.load_study(study_name="s", storage=JournalStorage(JournalFileBackend(str(path))))
    assert [(t.number, t.params, t.value) for t in plain.trials] == [(t.number, t.params, t.value) for t in study.trials]


@pytest.mark.parametrize("torn", [b"{", b'{"op_code": 4, "study', b"\xff\xfe", b'{"op_code": 6}'])
def test_a_line_that_a_crash_tore_is_cut_off_and_the_study_goes_on(tmp_path, torn):
    path = tmp_path / "studies.journal"
    _study(path).optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=3)
    with path.open("ab") as file:
        file.write(torn)
    study = _study(path)
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3, 4]


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
