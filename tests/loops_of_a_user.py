"""Training loops as users write them, right and wrong; those that go wrong do so in real trials, and not when they are tried."""

import math

import torch
from torch import nn
from torch.nn import functional as F


def small(trial):
    """A loop that does all it may: dropout, a schedule, a state, logits, weights, a metric of its own."""
    chosen, data = trial.parameters, trial.data
    net = nn.Sequential(nn.AvgPool2d(8), nn.Flatten(), nn.LazyLinear(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, len(data.classes)))
    net(data.train.normalised(slice(0, 2)))
    optimizer = getattr(torch.optim, chosen.get("optimizer", "AdamW"))(net.parameters(), lr=chosen.get("rate", 0.01))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, trial.epochs)
    parts = {"net": net, "optimizer": optimizer, "schedule": schedule}
    for name, part in parts.items():
        if trial.state is not None:
            part.load_state_dict(trial.state[name])
    for epoch in trial.remaining():
        net.train()
        for images, labels in data.train.batches(chosen.get("batch_size", 32), shuffle=True):
            loss = F.cross_entropy(net(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        (trial.folder / "epoch.txt").write_text(str(epoch))
        net.eval()
        with torch.no_grad():
            logits = net(data.validation.normalised())
        right = (logits.argmax(1) == data.validation.labels).float().mean()
        metrics = {"accuracy": right, "f1": float(right) / 2, "train_loss": loss}
        yield metrics, {name: part.state_dict() for name, part in parts.items()}
    net.eval()  # a trial that goes on behind its last epoch has not come by the line above
    with torch.no_grad():
        logits = {"logits": net(data.test.normalised()), "validation_logits": net(data.validation.normalised())}
    return {"f1": 0.5, **logits, "weights": net.state_dict()}


def wrong(trial):
    """A loop that goes wrong in the way of its parameter `how`, at the second epoch or at its end, where it is trained for two."""
    how, is_real = trial.parameters["how"], trial.epochs > 1
    for epoch in trial.remaining():
        metrics = {"accuracy": 0.1 * epoch, "f1": 0.2}
        if is_real and epoch == 2:
            if how == "raises":
                raise ValueError("the user's mistake")
            if how == "too few":
                break
            if how == "missing":
                del metrics["f1"]
            if how == "undeclared":
                metrics["f11"] = 0.5
            if how == "no number":
                metrics["f1"] = "high"
            if how == "nan":
                metrics["f1"] = math.nan
            if how == "no mapping":
                yield 0.5
            if how == "state":
                metrics = metrics, {"net": lambda: None}
        yield metrics
    if is_real and how == "too many":
        yield {"accuracy": 0.5, "f1": 0.5}
    if is_real and how == "no test":
        return None
    if is_real and how == "logits":
        return {"f1": 0.5, "logits": torch.zeros(3, 2)}
    return {"accuracy": 0.5, "f1": 0.5}


def no_generator(trial):
    return {"accuracy": 0.5}


def two_arguments(trial, learning_rate):
    yield {"accuracy": learning_rate}


def no_arguments():
    yield {"accuracy": 0.5}


def of_options(trial, verbose=False, **options):
    yield {"accuracy": 0.5}


def fails_at_once(trial):
    yield {"accuracy": nn.Linear(3, 3)(torch.zeros(1, 4)).mean()}


def forgets_its_state(trial):
    if trial.state is not None:
        raise KeyError("net")
    yield {"accuracy": 0.5}, {"epoch": 1}
    return {"accuracy": 0.5}


def of_numbers(trial):
    """A loop without a state, that only counts."""
    for epoch in range(1, trial.epochs + 1):
        yield {"accuracy": epoch / 100, "val_nll": 1.0}
    return {"test_accuracy": 0.5, "loss": 2}
