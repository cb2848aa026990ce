"""A plain script: ResNet-18 on CIFAR-10 with AdamW, a cosine schedule and mixed precision. `docs/own_loop.md` makes a comparison of it."""

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets, models, transforms

EPOCHS, BATCH_SIZE, LEARNING_RATE, WEIGHT_DECAY = 10, 128, 1e-3, 0.05
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


def main(train_set: Dataset, test_set: Dataset, epochs: int = EPOCHS) -> float:
    """Accuracy on the test split after the last epoch."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = models.resnet18(num_classes=10).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    train_batches = DataLoader(train_set, BATCH_SIZE, shuffle=True)
    test_batches = DataLoader(test_set, 1000)
    accuracy = 0.0
    for epoch in range(epochs):
        net.train()
        for images, labels in train_batches:
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = F.cross_entropy(net(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        net.eval()
        n_right = n_images = 0
        with torch.no_grad():
            for images, labels in test_batches:
                n_right += int((net(images.to(device)).argmax(1).cpu() == labels).sum())
                n_images += len(labels)
        accuracy = n_right / n_images
        print(f"epoch {epoch + 1}: accuracy {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    to_tensor = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    augmented = transforms.Compose([transforms.RandomHorizontalFlip(), *to_tensor])
    main(
        datasets.CIFAR10("data", train=True, download=True, transform=augmented),
        datasets.CIFAR10("data", train=False, download=True, transform=transforms.Compose(to_tensor)),
    )
