import pytest
import torch

from sweeper.training.optimizer import sgd_step_, step_learning_rate


def test_every_member_steps_like_torch_sgd_with_its_own_settings():
    generator = torch.Generator().manual_seed(1)
    rates, momenta, decays = (0.1, 0.01, 0.5), (0.9, 0.0, 0.5), (0.0, 1e-2, 1e-3)
    start = torch.randn(3, 7, generator=generator)
    plain = [row.clone().requires_grad_() for row in start]
    optimizers = [
        torch.optim.SGD([row], lr=lr, momentum=momentum, weight_decay=decay)
        for row, lr, momentum, decay in zip(plain, rates, momenta, decays, strict=True)
    ]
    weights, velocity = start.clone(), torch.zeros_like(start)
    columns = {
        name: torch.tensor(values)[:, None] for name, values in (("learning_rate", rates), ("momentum", momenta), ("weight_decay", decays))
    }
    for _ in range(5):
        gradient = torch.randn(3, 7, generator=generator)
        sgd_step_(weights, velocity, gradient, **columns)
        for row, optimizer, own in zip(plain, optimizers, gradient, strict=True):
            row.grad = own.clone()
            optimizer.step()
    torch.testing.assert_close(weights, torch.stack([row.detach() for row in plain]))


def test_one_members_nan_stays_its_own():
    weights, velocity = torch.ones(2, 3), torch.zeros(2, 3)
    column = torch.full((2, 1), 0.1)
    sgd_step_(weights, velocity, torch.tensor([[1.0, 1, 1], [torch.nan] * 3]), learning_rate=column, momentum=column, weight_decay=column)
    assert weights[0].isfinite().all()
    assert weights[1].isnan().all()


@pytest.mark.parametrize(("step_size", "step_gamma"), [(1, 0.5), (5, 0.5), (3, 0.1), (100, 0.3), (2, 1.0), (2, 1.7)])
def test_the_schedule_is_that_of_step_lr(step_size, step_gamma):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size, step_gamma)
    for epoch in range(1, 31):
        assert step_learning_rate(0.1, step_size, step_gamma, epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        schedule.step()
