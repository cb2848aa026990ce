"""The training of `plain.py` as a loop for `sweep run compare.yaml`: a trial says how to train, and is told what was learnt."""

from collections.abc import Generator

import torch
from torch.nn import functional as F
from torchvision.models.resnet import BasicBlock, ResNet

import sweeper

OPTIMIZERS = {"adamw": torch.optim.AdamW, "sgd": lambda *given, **options: torch.optim.SGD(*given, momentum=0.9, nesterov=True, **options)}


def train(trial: "sweeper.Trial") -> Generator:
    """Yields the metrics and the state of each epoch; returns the logits of the test split, and the weights."""
    chosen, data, device = trial.parameters, trial.data, trial.device
    net = ResNet(BasicBlock, [chosen["blocks"]] * 4, num_classes=len(data.classes)).to(device)  # 2 blocks: ResNet-18
    optimizer = OPTIMIZERS[chosen["optimizer"]](net.parameters(), lr=chosen["learning_rate"], weight_decay=chosen["weight_decay"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, trial.epochs)
    kept = {"net": net, "optimizer": optimizer, "schedule": schedule}
    for name, part in kept.items():
        if trial.state is not None:  # interrupted, and now continued
            part.load_state_dict(trial.state[name])

    def logits_of(images) -> torch.Tensor:
        net.eval()
        with torch.no_grad():
            return torch.cat([net(batch) for batch, _ in images.batches(1000)])

    for _ in trial.remaining():
        net.train()
        rate, losses = schedule.get_last_lr()[0], []
        for images, labels in data.train.batches(chosen["batch_size"], shuffle=True):
            is_flipped = torch.rand(len(images), 1, 1, 1, device=device) < 0.5
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = F.cross_entropy(net(torch.where(is_flipped, images.flip(3), images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        schedule.step()
        logits, labels = logits_of(data.validation), data.validation.labels
        metrics = {
            "accuracy": (logits.argmax(1) == labels).float().mean(),
            "nll": F.cross_entropy(logits, labels),
            "confidence": logits.softmax(1).amax(1).mean(),
            "train_loss": torch.stack(losses).mean(),
            "learning_rate": rate,
        }
        yield metrics, {name: part.state_dict() for name, part in kept.items()}

    logits = logits_of(data.test)
    return {
        "confidence": logits.softmax(1).amax(1).mean(),
        "logits": logits,
        "validation_logits": logits_of(data.validation),
        "weights": net.state_dict(),
    }
