"""A model of a user's own for sweeps that keep weights: with a weight of two names, batch normalisation, dropout, an argument, a buffer."""

import torch
from torch import nn


class Scaled(nn.Module):
    def __init__(self, num_classes, height, width, hidden=32):
        super().__init__()
        self.pool = nn.AvgPool2d((height // 4, width // 4))
        self.stem = nn.Sequential(nn.Linear(48, hidden), nn.BatchNorm1d(hidden), nn.Dropout(0.2))
        self.first = nn.Linear(hidden, hidden)
        self.second = nn.Linear(hidden, hidden)
        self.second.weight = self.first.weight
        self.head = nn.Linear(hidden, num_classes)
        self.register_buffer("scale", torch.full((48,), 0.5))

    def forward(self, images):
        features = self.stem(self.pool(images).flatten(1) * self.scale)
        return self.head(torch.relu(self.second(torch.relu(self.first(features)))))
