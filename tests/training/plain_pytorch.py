"""One trial trained the way a PyTorch tutorial would: nn.Module, optim.SGD, StepLR, image by image. The engine's oracle."""

import hashlib

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.parameter import is_lazy
from torchvision.transforms import v2

from sweeper.data import split
from sweeper.training.augment import draw_epoch

FILL = (125, 122, 115)
"""The mean colour of the noise of ``toy_trials``, in bytes: 255 times what it says of itself."""


class PlainConvNet(nn.Module):
    """The notebook's network, its linear layers sized by the images."""

    def __init__(self, height, width, n_classes):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.conv2 = nn.Conv2d(4, 8, 3)
        height, width = ((((side - 2) // 2) - 2) // 2 for side in (height, width))
        self.fc1 = nn.Linear(8 * height * width, 32)
        self.fc2 = nn.Linear(32, n_classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def plain_loss(parameters, logits, labels, reduction):
    """The loss of one trial, written from its formula with PyTorch's own pieces."""
    name = parameters["loss"]
    n_classes = logits.shape[1]
    onehot = F.one_hot(labels, n_classes).to(logits.dtype)
    p = logits.softmax(1)
    nll = F.cross_entropy(logits, labels, reduction="none")
    p_true = p.gather(1, labels[:, None])[:, 0]
    if share := parameters.get("label_smoothing"):
        target = (1 - share) * onehot + share / n_classes
        if name in {"l1", "mae", "mse"}:  # distances from the target
            onehot = target
        else:  # means over the target: the loss if each class were the true one, weighted
            of_class = [
                plain_loss({**parameters, "label_smoothing": 0}, logits, torch.full_like(labels, c), "per image") for c in range(n_classes)
            ]
            return (torch.stack(of_class, 1) * target).sum(1).mean() / (n_classes if name == "focal" and reduction == "elements" else 1)
    per_image = {
        "l1": lambda: F.l1_loss(logits, onehot, reduction="none").sum(1),
        "cross_entropy": lambda: nll,
        "focal": lambda: (1 - p_true) ** parameters["gamma"] * nll,
        "mae": lambda: F.l1_loss(p, onehot, reduction="none").sum(1),
        "mse": lambda: F.mse_loss(p, onehot, reduction="none").sum(1),
        "label_smoothing": lambda: F.cross_entropy(logits, labels, reduction="none", label_smoothing=parameters["smoothing"]),
        "generalized_cross_entropy": lambda: (1 - p_true ** parameters["q"]) / parameters["q"],
        "poly1": lambda: nll + parameters["epsilon"] * (1 - p_true),
    }[name]()
    if reduction == "per image":
        return per_image
    elementwise = name in {"l1", "focal", "mae", "mse"}
    return per_image.mean() / (n_classes if elementwise and reduction == "elements" else 1)


def normalised(dataset, image):
    """ToTensor and Normalize of one image."""
    mean, std = (torch.tensor(figures)[:, None, None] for figures in (dataset.mean, dataset.std))
    return (torch.from_numpy(image.copy()).permute(2, 0, 1).float().div(255) - mean) / std


def augmented(image, offset, flip):
    """One image cropped out of its black border, and mirrored or not."""
    height, width = image.shape[:2]
    bordered = np.pad(image, ((4, 4), (4, 4), (0, 0)))
    top, left = offset
    cropped = bordered[top : top + height, left : left + width]
    return cropped[:, ::-1] if flip else cropped


def edited(policy, image, edits):
    """One image as ``cutout`` or ``randaugment`` leaves it; the latter by torchvision's own class."""
    if policy == "cutout":
        image, side = image.copy(), min(image.shape[:2]) // 2
        top, left = (max(0, centre - side // 2) for centre in edits)
        bottom, right = (centre - side // 2 + side for centre in edits)
        image[top:bottom, left:right] = FILL
        return image
    own = v2.RandAugment(num_ops=2, magnitude=9)
    planes = torch.from_numpy(image.copy()).permute(2, 0, 1)
    for code in edits:
        name, (magnitudes_of, is_signed) = list(own._AUGMENTATION_SPACE.items())[code // 2]
        magnitudes = magnitudes_of(own.num_magnitude_bins, *planes.shape[1:])
        magnitude = 0.0 if magnitudes is None else float(magnitudes[own.magnitude])
        magnitude *= -1 if is_signed and code % 2 else 1
        planes = own._apply_image_or_video_transform(planes, name, magnitude, interpolation=own.interpolation, fill=own._fill)
    return planes.permute(1, 2, 0).numpy()


def plain_optimizer(weights, parameters):
    """PyTorch's own optimiser with the parameters of a trial; AdamW decays no biases."""
    rate, decay = parameters["learning_rate"], parameters["weight_decay"]
    if parameters.get("optimizer") != "adamw":
        nesterov = parameters.get("nesterov", False)
        return torch.optim.SGD(weights, rate, momentum=parameters["momentum"], weight_decay=decay, nesterov=nesterov)
    groups = [
        {"params": [each for each in weights if each.ndim > 1], "weight_decay": decay},
        {"params": [each for each in weights if each.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, rate, betas=(parameters.get("beta1", 0.9), parameters.get("beta2", 0.999)))


def plain_schedule(optimizer, parameters, n_epochs):
    """PyTorch's own scheduler, behind one of warm-up where a trial has that."""
    schedulers, warmup = torch.optim.lr_scheduler, parameters.get("warmup_epochs", 0)
    rest = n_epochs - warmup
    main = {
        "step": lambda: schedulers.StepLR(optimizer, parameters["step_size"], parameters["step_gamma"]),
        "cosine": lambda: schedulers.CosineAnnealingLR(optimizer, rest),
        "linear": lambda: schedulers.LinearLR(optimizer, 1.0, 0.0, rest),
        "constant": lambda: schedulers.ConstantLR(optimizer, 1.0),
    }[parameters.get("schedule", "step")]()
    if not warmup:
        return main
    rising = schedulers.LinearLR(optimizer, 1 / (warmup + 1), 1.0, warmup)
    return schedulers.SequentialLR(optimizer, [rising, main], [warmup])


class PlainTrial:
    """A trial on its own, epoch by epoch."""

    def __init__(self, dataset, settings, config, build=None):
        """``build``: makes the network, by default the notebook's."""
        self.dataset, self.settings, self.config = dataset, settings, config
        with torch.random.fork_rng():
            torch.manual_seed(config.seed)
            self.net = build() if build else PlainConvNet(*dataset.train_images.shape[1:3], len(dataset.classes))
            if any(map(is_lazy, self.net.parameters())):
                self.net(torch.zeros(1, 3, *dataset.train_images.shape[1:3]))
        parameters = config.parameters
        self.optimizer = plain_optimizer([each for each in self.net.parameters() if each.requires_grad], parameters)
        self.schedule = plain_schedule(self.optimizer, parameters, settings.epochs)
        everything = np.arange(len(dataset.train_labels))
        self.train_index, self.validation_index = (
            (everything, None) if settings.validation is None else split(dataset.train_labels, settings.validation, config.seed)
        )
        self.epoch = 0

    def train_epoch(self):
        """Train loss, train accuracy, own loss on the evaluation split, learning rate."""
        self.epoch += 1
        self.net.train()
        policy = self.config.parameters.get("augment", self.settings.policy)
        draws = draw_epoch(self.config.seed, self.epoch, len(self.train_index), policy, self.dataset.train_images.shape[1:3])
        size = self.config.parameters["batch_size"]
        loss_sum = n_right = 0.0
        for start in range(0, len(self.train_index), size):
            images, labels = [], []
            for position in range(start, min(start + size, len(self.train_index))):
                index = self.train_index[draws.order[position]]
                image = self.dataset.train_images[index]
                if policy != "none":
                    offset = [4, 4] if policy == "flip" else draws.offsets[position].tolist()
                    image = augmented(image, offset, bool(draws.flips[position]))
                if draws.edits is not None:
                    image = edited(policy, image, draws.edits[position])
                images.append(normalised(self.dataset, image))
                labels.append(int(self.dataset.train_labels[index]))
            labels = torch.tensor(labels)
            self.optimizer.zero_grad()
            with torch.random.fork_rng():
                digest = hashlib.blake2b(f"{self.config.seed}/{self.epoch}/{start // size + 1}/network".encode(), digest_size=4).digest()
                torch.manual_seed(int.from_bytes(digest, "little"))
                logits = self.net(torch.stack(images))
            loss = plain_loss(self.config.parameters, logits, labels, self.settings.reduction)
            loss.backward()
            if self.config.parameters.get("gradient_clip"):
                nn.utils.clip_grad_norm_(self.net.parameters(), self.config.parameters["gradient_clip"])
            self.optimizer.step()
            loss_sum += loss.item() * len(labels)
            n_right += (logits.argmax(1) == labels).sum().item()
        learning_rate = self.optimizer.param_groups[0]["lr"]
        self.schedule.step()
        logits, labels = self.predict(self.settings.evaluate_on)
        val_loss = plain_loss(self.config.parameters, logits, labels, self.settings.reduction).item()
        return loss_sum / len(self.train_index), n_right / len(self.train_index), val_loss, learning_rate

    @torch.no_grad()
    def predict(self, on):
        """Logits and labels of a split, in file order."""
        self.net.eval()
        if on == "test":
            images, labels = self.dataset.test_images, self.dataset.test_labels
        else:
            images, labels = self.dataset.train_images[self.validation_index], self.dataset.train_labels[self.validation_index]
        return self.net(torch.stack([normalised(self.dataset, image) for image in images])), torch.from_numpy(labels.copy())

    def weights(self):
        """Weights that have learnt, by name, as arrays."""
        return {name: tensor.detach().numpy() for name, tensor in self.net.named_parameters() if tensor.grad is not None}
