"""An application whose function is two graphs with Python between, for `almaflow profile`."""

import sys

import torch

torch.manual_seed(0)
first, second = torch.nn.Linear(64, 64), torch.nn.Linear(64, 8)


def predict(batch: torch.Tensor) -> int:
    hidden = torch.relu(first(batch))
    if int((hidden.sum() < 0).item()):  # the graph ends here
        return -1
    return int(second(hidden).argmax().item())


if __name__ == "__main__":
    answers = [predict(torch.full((16, 64), float(number))) for number in range(int(sys.argv[1]))]
    sys.stdout.write(f"answers: {len(answers)}\n")
