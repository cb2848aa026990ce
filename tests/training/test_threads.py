import pytest
import torch

from sweeper.training.threads import on_one_thread


@pytest.mark.parametrize("n_threads", [1, 3])
def test_an_operator_runs_on_one_thread_and_the_next_on_as_many_as_before(n_threads):
    torch.set_num_threads(n_threads)
    assert on_one_thread(torch.get_num_threads) == 1
    assert torch.get_num_threads() == n_threads


def test_the_number_of_threads_is_back_after_an_error():
    torch.set_num_threads(3)
    with pytest.raises(RuntimeError):
        on_one_thread(torch.bmm, torch.ones(1), torch.ones(1))
    assert torch.get_num_threads() == 3
